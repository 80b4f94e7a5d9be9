"""A build and a container on paper: what a decision leaves in a container, against what a fresh one would hold.

The builder knows a handful of instructions and no more than what Docker does with them. A step (RUN) leaves a file
whose content is all that it could read, so a build that should have run again shows.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from agent.adapters.docker.dockerfile import Instruction, scan
from agent.adapters.docker.ignore import Ignore
from agent.model.change import FOLDER, SYMLINK, Action, Change, Kind, Verdict
from agent.model.release import ServiceSpec
from agent.planning.changes import Facts, decide
from tests.support.changing import matches, stack

Files = Mapping[str, tuple[str, str]]  # path -> (mode, content or where a link leads)


def differences(old: Files, new: Files) -> list[Change]:
    """What `git diff --raw --no-renames` says."""
    found = []
    for path in sorted({*old, *new}):
        before, after = old.get(path, ("", "")), new.get(path, ("", ""))
        if before == after:
            continue
        kind = Kind.ADDED if not before[0] else Kind.DELETED if not after[0] else Kind.MODIFIED
        if kind is Kind.MODIFIED and SYMLINK in (before[0], after[0]) and before[0] != after[0]:
            kind = Kind.RETYPED
        found.append(Change(path, kind, after[0], after[1] if after[0] else "", before[0]))
    return found


def under(path: str, folder: str) -> bool:
    return folder in ("", ".", "/") or path == folder or path.startswith(f"{folder}/")


class PaperStage:
    """One service on its way through revisions."""

    def __init__(self, spec: ServiceSpec, dockerfile: str, dockerignore: str, files: Files) -> None:
        self.spec = spec
        self.dockerfile = dockerfile
        self.ignore = Ignore(dockerignore)
        self.files: Files = files
        self.actions: list[Action] = []
        self._rebuild(files)

    def push(self, files: Files) -> None:
        verdict = self._decide(self.files, files)
        self.actions.append(verdict.action)
        self._lose_folders(files)
        self.files = files
        if verdict.action is Action.RECREATE:
            verdict = self._decide(self.built_from, files)  # a new container begins with what its image holds
            self._create(self.image)
        if verdict.action is Action.REBUILD:
            self._rebuild(files)
            return
        for file in verdict.files:
            if not file.blob:
                self.layer.pop(file.target, None)
        for file in verdict.files:
            if file.blob:
                assert not any(under(other, file.target) and other != file.target for other in self.layer), file
                assert self._innermost(file.target) not in self._sources, "it would write into the checkout"
                self.layer[file.target] = (file.mode, file.blob)

    def seen(self) -> dict[str, tuple[str, str]]:
        """What a program in the container sees."""
        return self._view(self.layer, self.alive, self.pinned)

    def fresh(self) -> dict[str, tuple[str, str]]:
        """What it would see in a container that is made now, from an image that is built now."""
        fresh = PaperStage(self.spec, self.dockerfile, "", self.files)
        fresh.ignore = self.ignore
        fresh._rebuild(self.files)
        return fresh.seen()

    def _decide(self, old: Files, new: Files) -> Verdict:
        return decide(differences(old, new), stack(self.spec), self._facts(new)).verdicts[0]

    def _facts(self, files: Files) -> Facts:
        def mode(path: str) -> str:
            if path in files:
                return files[path][0]
            return FOLDER if any(under(other, path) for other in files) else ""

        return Facts(
            ignored=lambda _, path: self.ignore.excludes(path),
            dockerfile=lambda _: scan(self.dockerfile),
            matches=matches,
            mode=mode,
            readlink=lambda path: files[path][1],
            stood=lambda _: False,
        )

    def _rebuild(self, files: Files) -> None:
        kept = {path: file for path, file in files.items() if not self.ignore.excludes(path)}
        self.image = build(scan(self.dockerfile), kept)
        self.built_from = files
        self._create(self.image)

    def _create(self, image: Mapping[str, tuple[str, str]]) -> None:
        self.layer = dict(image)
        self.alive = {bind.target for bind in self.spec.binds if not bind.is_file}
        self.pinned = {bind.target: self.files.get(bind.source) for bind in self.spec.binds if bind.is_file}

    def _lose_folders(self, files: Files) -> None:
        """Git removes a folder with its last file; one that the agent made for a mount stays."""
        for bind in self.spec.binds:
            was, is_there = (any(under(path, bind.source) for path in which) for which in (self.files, files))
            if bind.source != "." and was and not is_there:
                self.alive.discard(bind.target)

    @property
    def _sources(self) -> dict[str, str]:
        return {bind.target: bind.source for bind in self.spec.binds}

    def _innermost(self, path: str) -> str:
        places = [*self._sources, *self.spec.other_mounts]
        return max((place for place in places if under(path, place)), key=len, default="")

    def _view(
        self,
        layer: Mapping[str, tuple[str, str]],
        alive: set[str],
        pinned: Mapping[str, tuple[str, str] | None],
    ) -> dict[str, tuple[str, str]]:
        view = {path: file for path, file in layer.items() if self._innermost(path) not in self._sources}
        for target, source in self._sources.items():
            if target in pinned:
                held = pinned[target]
                view |= {target: held} if held is not None else {}
            elif target in alive:
                for path, file in self.files.items():
                    if under(path, source):
                        place = posixpath.normpath(posixpath.join(target, posixpath.relpath(path, source)))
                        view |= {place: file} if self._innermost(place) == target else {}
        return view


def build(dockerfile: tuple[Instruction, ...], context: Files) -> dict[str, tuple[str, str]]:
    """The files of the last stage."""
    stages: dict[str, dict[str, tuple[str, str]]] = {}
    workdirs: dict[str, str] = {}
    tree: dict[str, tuple[str, str]] = {}
    name, workdir, steps = "", "/", 0
    for step in dockerfile:
        words = step.rest.split()
        if step.keyword == "FROM":
            tree, workdir = dict(stages.get(words[0], {})), workdirs.get(words[0], "/")
            name = words[-1] if len(words) > 1 else ""  # of `FROM base AS name`; else `base` stays what it was
            stages[name], workdirs[name] = tree, workdir
        elif step.keyword == "WORKDIR":
            workdirs[name] = workdir = posixpath.join(workdir, step.rest)
        elif step.keyword == "RUN":
            steps += 1
            reads = [sorted(tree.items()), sorted(context.items()) if step.flags else []]
            tree[f"/made/{steps}"] = ("100644", str(reads))
        elif step.keyword == "COPY":
            taken: Files = stages[str(step.flag("from"))] if step.flag("from") else context
            for source in words[:-1]:
                copy(taken, source, posixpath.join(workdir, words[-1]), into=tree)
    return tree


def copy(files: Files, source: str, destination: str, *, into: dict[str, tuple[str, str]]) -> None:
    """`COPY source destination` of what exists; a build with a source that does not exist is none of this paper's."""
    is_folder: Callable[[str], bool] = lambda path: path.endswith(("/", "/."))  # noqa: E731
    wanted = source.strip("/").removeprefix("./").split("/") if source.strip("/.") else []
    for path, file in list(files.items()):
        parts = path.strip("/").split("/")
        if len(parts) < len(wanted) or not all(map(fnmatchcase, parts, wanted)):
            continue
        below = parts[len(wanted) :] or ([parts[-1]] if is_folder(destination) else [])
        place = posixpath.normpath(posixpath.join(destination, *below))
        for other in [other for other in into if other != place and (under(other, place) or under(place, other))]:
            del into[other]
        into[place] = file
