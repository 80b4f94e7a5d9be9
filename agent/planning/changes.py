"""What a push does: changed paths and services in, the cheapest correct thing for each service out (DESIGN 7).

For each service, a changed path is, in this order:

1. part of how its image is made (Dockerfile, its ignore files, a submodule at or in its context): rebuild, whatever
   a watch rule or a mount says;
2. exactly what is mounted (a file, a config, a secret), or the last of a mounted folder: git puts another inode in
   its place, which only a new container sees; the rules below are asked as well;
3. under watch rules: all that match say what to do. A symbolic link is copied only when it stays below the rule's
   path; a folder that became a file is not copied, since what a program wrote into the folder is in the way; nor is
   a path that two rules copy other files to. What only `restart` says changes nothing about where the file is, so
   the next two are asked as well;
4. in a mounted folder: it is there already, if the checkout is what the container shows at that place. When it goes
   into the image too, `planning.recipe` must say that all copies of it lie under a mount and that no step of the
   build read them: source that is copied last is covered, `package.json` before `RUN npm ci` is not. In doubt,
   rebuild;
5. an input of its build (in a context, not left out by `.dockerignore`): rebuild;
6. nothing to it.

Compose files, env files and whatever else the release was read from, and every symbolic link, since a path of the
model may lead through it, mean that the model is read again; then `reread` decides.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agent.model.change import FOLDER, SYMLINK, Action, Cause, Change, Decision, FileSync, Kind, Verdict
from agent.model.release import BindMount, BuildSpec, ExecHook, Release, Reload, ServiceSpec, WatchAction, WatchRule
from agent.planning import delta, owners, watchrules
from agent.planning.mounts import inside, over
from agent.planning.recipe import Instruction, landing


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known of the wanted revision beside its changes. Each is asked for the few paths that need it."""

    ignored: Callable[[str, str], bool]  # (service, path in its context): does its ignore file leave it out
    dockerfile: Callable[[str], Sequence[Instruction] | None]  # of a service; None: absent, or another frontend's
    matches: watchrules.Matches
    mode: Callable[[str], str]  # git mode of a path, FOLDER for a folder, "" when it is not there
    readlink: Callable[[str], str]  # what a symbolic link says
    stood: Callable[[str], bool]  # whether a folder holds something that did not change


def decide(changes: Iterable[Change], release: Release, facts: Facts) -> Decision:
    """The verdict for every service of `release`; the order of the changes does not matter."""
    found = sorted(changes, key=lambda change: change.path)
    inputs = frozenset(release.inputs)
    reread = tuple(change.path for change in found if change.path in inputs or change.is_link)
    judges = [_Judge(spec, found, facts) for spec in release.services]
    used = {*reread, *(path for judge in judges for path in judge.judge_all())}
    return Decision(
        verdicts=tuple(judge.verdict() for judge in judges),
        reread=reread,
        unused=tuple(change.path for change in found if change.path not in used),
    )


def reread(changes: Iterable[Change], before: Release, after: Release, facts: Facts) -> Decision:
    """The verdicts once the model was read again: those of `decide`, and what the new model itself asks for."""
    decision = decide(changes, after, facts)
    known = {spec.name: spec for spec in before.services}
    verdicts = (
        _reconfigured(verdict, known.get(verdict.service), after.service(verdict.service))
        for verdict in decision.verdicts
    )
    return replace(decision, verdicts=tuple(verdicts), reread=())


def _reconfigured(verdict: Verdict, before: ServiceSpec | None, after: ServiceSpec) -> Verdict:
    if before is None:
        return _raised(verdict, after, "it is new", build=True)
    if after.build is not None and before.build != after.build:
        return _raised(verdict, after, "its `build:` changed", build=True)
    if after.build is not None and (before.binds, before.other_mounts) != (after.binds, after.other_mounts):
        return _raised(verdict, after, "other parts of its image are seen now", build=True)
    if before.config_hash != after.config_hash and not verdict.recreate:
        return _raised(verdict, after, "its configuration changed", build=False)
    return verdict


def _raised(verdict: Verdict, spec: ServiceSpec, why: str, *, build: bool) -> Verdict:
    action = Action.REBUILD if build and spec.build is not None else Action.RECREATE
    action = max(verdict.action, action)
    rebuilt = action is Action.REBUILD
    return replace(
        verdict,
        action=action,
        recreate=True,
        restart=False,
        files=() if rebuilt else verdict.files,
        execs=() if rebuilt else verdict.execs,
        behind=verdict.behind and not rebuilt,
        verbatim=False,
        causes=(*verdict.causes, Cause(why)),
    )


class _Judge:
    """Collects for one service what each change asks for."""

    def __init__(self, spec: ServiceSpec, changes: Sequence[Change], facts: Facts) -> None:
        self._spec = spec
        self._changes = changes
        self._facts = facts
        self._emptied = {folder for change in changes if change.kind is Kind.DELETED for folder in _above(change.path)}
        self._dockerfile: Sequence[Instruction] | None = None
        self._is_parsed = False
        self._bound = frozenset(bind.target for bind in spec.binds)
        self._places = (*self._bound, *spec.other_mounts)
        self._rebuild = self._recreate = self._restart = self._behind = False
        self._mounted = 0
        self._files: dict[str, FileSync] = {}
        self._changed: dict[str, Change] = {}  # by the same targets
        self._execs: list[ExecHook] = []
        self._causes: dict[str, list[str]] = {}

    def judge_all(self) -> set[str]:
        """Judge every change; returns the paths that mean something to this service."""
        for change in self._changes:
            self._judge(change)
        return {path for paths in self._causes.values() for path in paths}

    def verdict(self) -> Verdict:
        action = Action.NOTHING
        for is_asked, asked in (
            (bool(self._files or self._execs), Action.SYNC),
            (self._restart, Action.RESTART),
            (self._recreate, Action.RECREATE),
            (self._rebuild, Action.REBUILD),
        ):
            action = asked if is_asked else action
        copied = sorted(self._files.values(), key=lambda file: (bool(file.blob), file.target))
        return Verdict(
            service=self._spec.name,
            action=action,
            files=() if self._rebuild else tuple(copied),
            restart=self._restart and not self._recreate,
            recreate=self._recreate,
            execs=() if self._rebuild else tuple(self._execs),
            behind=self._behind and not self._rebuild,
            mounted=0 if self._rebuild else self._mounted,
            verbatim=action is Action.RESTART and bool(copied) and all(map(self._is_as_built, copied)),
            causes=tuple(Cause(why, tuple(paths)) for why, paths in self._causes.items()),
        )

    def _judge(self, change: Change) -> None:
        build = self._spec.build
        if build is not None and self._makes_image(change, build):
            return
        self._judge_mounts(change)
        in_context = inside(change.path, build.context) if build is not None else None
        is_ignored = bool(in_context) and self._facts.ignored(self._spec.name, in_context or "")
        is_input = build is not None and ((bool(in_context) and not is_ignored) or _in_additional(change.path, build))
        rules = () if is_ignored else watchrules.matching(self._spec.watch, change.path, self._facts.matches)
        if self._obey(change, rules, is_input=is_input):
            return
        binds = [bind for bind in self._spec.binds if inside(change.path, bind.source) is not None]
        if binds:
            self._judge_bound(change, binds, in_context, is_input=is_input)
        elif is_input:
            self._build_for(change, "it goes into the image")
        elif is_ignored:
            self._note(change, "left out by .dockerignore")

    def _makes_image(self, change: Change, build: BuildSpec) -> bool:
        dockerfile = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
        contexts = (build.context, *_additional(build))
        recipe = {posixpath.normpath(posixpath.join(context, ".dockerignore")) for context in contexts}
        recipe.add(f"{dockerfile}.dockerignore")
        if not build.inline:
            recipe.add(dockerfile)
        if change.path in recipe:
            self._build_for(change, "the image is made by it")
            return True
        if change.is_submodule and any(
            inside(change.path, context) is not None or inside(context, change.path) is not None for context in contexts
        ):
            self._build_for(change, "a submodule")
            return True
        return False

    def _judge_mounts(self, change: Change) -> None:
        """Git replaces a file and removes an empty folder: the mount keeps what was there."""
        for bind in self._spec.binds:
            below = inside(change.path, bind.source)
            is_gone = below and change.kind is Kind.DELETED and bind.source != "."
            if below == "":
                self._new_container_for(change, f"it is mounted at {bind.target}, and a checkout replaces it")
            elif is_gone and self._facts.mode(bind.source) != FOLDER:
                self._new_container_for(change, f"the folder that is mounted at {bind.target} is gone")

    def _obey(self, change: Change, rules: Sequence[WatchRule], *, is_input: bool) -> bool:
        """Do what the rules say; False when they do not say where the file is to be."""
        if not rules:
            return False
        for rule in rules:
            if rule.action is WatchAction.REBUILD:
                self._build_for(change, watchrules.words(rule))
                return True
        for rule in rules:
            if rule.action in (WatchAction.RESTART, WatchAction.SYNC_RESTART):
                self._restart = True
                self._note(change, watchrules.words(rule))
        copying = [rule for rule in rules if rule.action in watchrules.COPYING]
        for rule in copying:
            self._copy(change, rule)
            if rule.exec is not None and rule.exec not in self._execs:
                self._execs.append(rule.exec)
        self._behind |= bool(copying) and is_input
        return bool(copying)

    def _copy(self, change: Change, rule: WatchRule) -> None:
        target = watchrules.target_of(rule, change.path)
        words = watchrules.words(rule)
        reason = self._why_not(change, rule, target)
        if reason:
            self._build_for(change, f"{words}, but {reason}")
            return
        if over(target, self._places) in self._bound:
            self._mounted += 1
            self._note(change, f"{words}, where the checkout is mounted")
            return
        self._note(change, words)
        self._files[target] = FileSync(change.path, target, change.mode, change.blob)
        self._changed[target] = change

    def _why_not(self, change: Change, rule: WatchRule, target: str) -> str:
        """Why copying would not give what a build gives; "" when it would."""
        if change.is_submodule:
            return "it is a submodule"
        if change.mode == SYMLINK and not _stays(change.path, self._facts.readlink(change.path), rule.path):
            return "the link leaves that folder"
        if change.kind is not Kind.DELETED and change.path in self._emptied:
            return "a folder became a file"
        other = watchrules.rival(self._spec.watch, change.path, target, self._facts.matches)
        if other is not None:
            return f"{watchrules.words(other)} means the same place"
        return self._why_not_as_built(change)

    def _why_not_as_built(self, change: Change) -> str:
        build = self._spec.build
        if build is None or change.kind is Kind.DELETED:
            return ""
        return owners.doubt(
            self._recipe() or (),
            change,
            inside(change.path, build.context),
            stood=lambda folder: self._facts.stood(posixpath.normpath(posixpath.join(build.context, folder))),
        )

    def _is_as_built(self, file: FileSync) -> bool:
        build = self._spec.build
        return build is not None and delta.is_as_built(
            self._recipe(),
            build,
            self._changed[file.target],
            file,
            places=self._places,
            mode=self._mode_in(build),
        )

    def _judge_bound(
        self, change: Change, binds: Sequence[BindMount], in_context: str | None, *, is_input: bool
    ) -> None:
        """A path of the checkout that is mounted somewhere, perhaps under another mount."""
        shown = [bind for bind in binds if over(_join(bind, change.path), self._places) == bind.target]
        if is_input:
            landed = self._landing(change, in_context) if in_context and shown else None
            if landed is None:
                self._build_for(change, "it goes into the image, and a step of the build may read it")
                return
            if any(over(place, self._places) not in self._bound for place in landed):
                self._build_for(change, "it goes into the image, outside of what is mounted")
                return
            self._behind |= bool(landed)
        if any(change.path == bind.source for bind in binds):
            return  # said already, and it is not there until there is a new container
        if not shown:
            self._note(change, "mounted, but hidden by another mount")
            return
        if self._spec.reload is Reload.RESTART:
            self._restart = True
        self._mounted += 1
        self._note(change, f"already there: the checkout is mounted at {shown[0].target}")

    def _landing(self, change: Change, in_context: str) -> frozenset[str] | None:
        build = self._spec.build
        if build is None or _in_additional(change.path, build):
            return None
        recipe = self._recipe()
        if recipe is None:
            return None
        return landing(recipe, in_context, target=build.target, mode=self._mode_in(build))

    def _mode_in(self, build: BuildSpec) -> Callable[[str], str]:
        return lambda path: self._facts.mode(posixpath.normpath(posixpath.join(build.context, path)))

    def _recipe(self) -> Sequence[Instruction] | None:
        if not self._is_parsed:
            self._dockerfile = self._facts.dockerfile(self._spec.name)
            self._is_parsed = True
        return self._dockerfile

    def _build_for(self, change: Change, why: str) -> None:
        self._rebuild = True
        self._note(change, why)

    def _new_container_for(self, change: Change, why: str) -> None:
        self._recreate = True
        self._note(change, why)

    def _note(self, change: Change, why: str) -> None:
        paths = self._causes.setdefault(why, [])
        if change.path not in paths[-1:]:
            paths.append(change.path)


def _additional(build: BuildSpec) -> tuple[str, ...]:
    return tuple(str(path) for path in (build.raw.get("additional_contexts") or {}).values() if "://" not in str(path))


def _in_additional(path: str, build: BuildSpec) -> bool:
    return any(inside(path, context) is not None for context in _additional(build))


def _join(bind: BindMount, path: str) -> str:
    return posixpath.join(bind.target, inside(path, bind.source) or "").rstrip("/") or "/"


def _above(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path


def _stays(path: str, says: str, folder: str) -> bool:
    """Whether the link `path` leads to something in `folder`."""
    if says.startswith("/"):
        return False
    leads = posixpath.normpath(posixpath.join(posixpath.dirname(path), says))
    return not leads.startswith("..") and inside(leads, folder) is not None
