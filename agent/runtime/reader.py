"""From one revision to its release: git objects, a scratch folder, Compose, policy, overlay.

Nothing is read from the worktree, where containers write: what is checked is what was committed. Only the files
that the scan found are given to Compose, so there is nothing else for it to open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from agent.config import Project, Settings
from agent.errors import DeployError
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.model.release import Release, ServiceSpec
from agent.planning import dotenv, overlay, policy, rawscan
from agent.planning.addresses import assign, subnets
from agent.planning.findings import Findings
from agent.planning.policy_mounts import MAX_FILE
from agent.planning.rules import Rules
from agent.planning.tree import Kind, Outside, Tree
from agent.runtime.buildmodel import build_model
from agent.runtime.ports import Compose, Git
from agent.runtime.releases import Releases, write_private

_MAX_COMPOSE_FILE = 256 * 1024
_MAX_RESOLVED = 64
_MAX_FILES = 64  # compose files, includes, env files: more is a trap, not a project


class Reader:
    """Reads a revision once and remembers the result for as long as settings and salt are the same."""

    def __init__(self, *, git: Git, compose: Compose, settings: Callable[[], Settings]) -> None:
        self._git = git
        self._compose = compose
        self._settings = settings
        self._releases = Releases(settings().state_dir / "releases")
        self._lock = Lock()
        self._resolved: dict[str, _Resolved] = {}

    def read(self, environment: Environment, revision: Revision) -> Release:
        """The release of `revision`, saved. DeployError with everything that is refused, or what Compose says."""
        settings = self._settings()
        project = settings.projects[environment.project]
        stack = f"{settings.instance}-{environment.slug}"
        source = _Source(self._git, self._compose, project, revision)
        with self._scratch() as scratch:
            resolved = self._resolve(source, scratch, stack)
        rules = Rules(
            root=resolved.root,
            tree=source.tree,
            instance=settings.instance,
            stack=resolved.stack,
            domain=settings.domain,
            allow=project.allow,
            variables={
                name: project.environment[name] for name in project.allow.variables if name in project.environment
            },
        )
        checked = policy.check(resolved.model, rules=rules, findings=source.findings)
        source.findings.raise_refusals()
        source.check_sizes(checked)
        staged = overlay.apply(checked, site=self._site(environment, revision, checked), findings=source.findings)
        release = dataclasses.replace(staged.release, inputs=tuple(sorted(source.inputs)))
        for path, content in staged.files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, content, mode=0o644)  # its folder is private; a container's user must read it
        self._releases.save(release, fingerprint=settings.fingerprint(environment.project), salt=environment.salt)
        return release

    def load(self, environment: Environment, revision: Revision) -> Release | None:
        """What `read` made of `revision` under the present settings and salt; None when it has to be read."""
        fingerprint = self._settings().fingerprint(environment.project)
        return self._releases.load(environment.slug, revision, fingerprint=fingerprint, salt=environment.salt)

    def adopt(self, environment: Environment, release: Release) -> None:
        """Keep a release that was derived from the one before, as if it had been read."""
        fingerprint = self._settings().fingerprint(environment.project)
        self._releases.save(release, fingerprint=fingerprint, salt=environment.salt)

    @contextlib.contextmanager
    def build_model(self, environment: Environment, release: Release, spec: ServiceSpec) -> Iterator[Path]:
        """A compose file that builds one service, beside the files of the revision, for as long as it is needed."""
        checkout = self._git.checkout_dir(environment.project, environment.slug)
        with self._scratch() as scratch:
            archive = self._git.archive(environment.project, release.revision)
            try:
                yield build_model(release, spec, archive=archive, scratch=scratch, checkout_dir=checkout)
            finally:
                archive.close()

    def has_files(self, slug: Slug) -> bool:
        return self._releases.has_files(slug)

    def forget(self, slug: Slug) -> None:
        """Remove everything that was read for an environment."""
        self._releases.forget(slug)

    def _resolve(self, source: _Source, scratch: Path, stack: str) -> _Resolved:
        """What Compose makes of the files; the same files with the same variables are not resolved twice.

        Most pushes and most new branches change no compose file, and Compose takes half of the time of a read.
        """
        key = source.export(scratch, stack=stack)
        with self._lock:
            known = self._resolved.get(key)
        if known is not None:
            return known
        model = self._compose.resolve(
            scratch,
            files=source.compose_files,
            profiles=source.project.profiles,
            environment=source.variables,
            stack=stack,
        )
        resolved = _Resolved(str(scratch), stack, model)
        with self._lock:
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.pop(next(iter(self._resolved)))
            self._resolved[key] = resolved
        return resolved

    def _site(self, environment: Environment, revision: Revision, checked: policy.Checked) -> overlay.Site:
        settings = self._settings()
        places = assign(_by_population(checked), self._releases.known_places(environment.slug))
        self._releases.remember_places(environment.slug, places)
        block = subnets(settings.docker.address_pool, settings.docker.block_prefix, block=environment.block)
        return overlay.Site(
            settings=settings,
            environment=environment,
            revision=revision,
            checkout_dir=self._git.checkout_dir(environment.project, environment.slug),
            files_dir=self._releases.directory(environment.slug) / "files",
            subnets={name: block[place] for name, place in places.items()},
            identify=functools.cache(lambda path: self._git.identity(environment.project, revision, path)),
        )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        parent = self._settings().state_dir / "scratch"
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix="read-") as name:
            yield Path(name).resolve()  # Compose resolves links too, and paths are compared


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A model as Compose resolved it, and the folder and stack under which it did."""

    root: str
    stack: str
    model: Mapping[str, Any]


class _Source:
    """The compose files of one revision and all that they name."""

    def __init__(self, git: Git, compose: Compose, project: Project, revision: Revision) -> None:
        self._git = git
        self._compose = compose
        self.project = project
        self._revision = revision
        files = git.files(project.name, revision)
        self.tree = Tree(files, lambda path: git.link(project.name, revision, path))
        self._documents: dict[str, Any] = {}
        self.findings = Findings(
            lambda subject, field: rawscan.locate(self._documents, subject, field), project=project.name
        )
        self.compose_files = project.compose_files or rawscan.default_files(files)
        if not self.compose_files:
            raise DeployError(
                "There is no compose file at the root of this branch.",
                hint=f"Add {rawscan.DEFAULT_FILES[0]}, or set `projects.{project.name}.compose_files`.",
                code="no-compose-file",
            )
        # A file that would be read if it were there counts too: adding it changes the model.
        self.inputs = set() if project.compose_files else {*rawscan.DEFAULT_FILES, *rawscan.DEFAULT_OVERRIDES}
        self._base = posixpath.dirname(self.compose_files[0])
        self.variables = self._variables()

    def export(self, scratch: Path, *, stack: str) -> str:
        """Scan the compose files and what they include, and write everything that Compose will open.

        Returns a digest of all that its answer depends on. Raises what the scan refuses, before Compose is called.
        """
        told = [list(self.compose_files), list(self.project.profiles), dict(self.variables)]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        names_stack = False
        todo = [
            rawscan.Mention(posixpath.normpath(file), rawscan.Use.COMPOSE, base=self._base)
            for file in self.compose_files
        ]
        seen: set[str] = set()
        while todo:
            mention = todo.pop(0)
            if mention.path in seen:
                continue
            seen.add(mention.path)
            if len(seen) > _MAX_FILES:
                raise DeployError(
                    f"The compose files name more than {_MAX_FILES} other files.", code="compose-unreadable"
                )
            data = self._read(mention)
            if data is None:
                continue
            target = scratch / mention.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            digest.update(f"\0{mention.path}\0{len(data)}\0".encode(errors="surrogateescape") + data)
            names_stack = names_stack or b"COMPOSE_PROJECT_NAME" in data
            if mention.use is rawscan.Use.COMPOSE:
                document = self._compose.parse(data, path=mention.path)
                self._documents[mention.path] = document
                scan = rawscan.scan(document, file=mention.path, base=mention.base, variables=self.variables)
                self.findings.add(scan.refusals)
                todo += scan.mentions
        self.findings.raise_refusals()
        if names_stack:
            digest.update(stack.encode())
        return digest.hexdigest()

    def check_sizes(self, checked: policy.Checked) -> None:
        """Configs and secrets are small files. DeployError names one that is not."""
        for bodies in (checked.configs, checked.secrets):
            for body in bodies.values():
                if "file" in body:
                    self._git.read(self.project.name, self._revision, body["file"], limit=MAX_FILE)

    def _variables(self) -> Mapping[str, str]:
        """The operator's variables over those of the repository's `.env`, without what would steer a program."""
        given = dict(self.project.environment)
        path = posixpath.join(self._base, ".env")
        data = self._read(rawscan.Mention(path, rawscan.Use.VALUES))
        if data is None:
            return given
        try:
            found = dotenv.parse(data.decode("utf-8", errors="replace"), given)
        except dotenv.Unset as error:
            raise DeployError(f"`{path}` cannot be read: {error}.", code="compose-unreadable") from None
        for name in sorted(filter(dotenv.steers, found)):
            self.findings.note(f"{path}: `{name}` was not passed on: it steers programs of this host.")
        return {**{name: value for name, value in found.items() if not dotenv.steers(name)}, **given}

    def _read(self, mention: rawscan.Mention) -> bytes | None:
        """The bytes of a mentioned file, links inside the repository followed; None, perhaps with a refusal."""
        try:
            place = self.tree.find(mention.path)
        except Outside as reason:
            self.findings.refuse(mention.subject, mention.field or mention.path, str(reason))
            return None
        self.inputs |= {mention.path, place.path}
        if place.kind is Kind.FILE:
            limit = _MAX_COMPOSE_FILE if mention.use is rawscan.Use.COMPOSE else MAX_FILE
            return self._git.read(self.project.name, self._revision, place.path, limit=limit)
        if mention.use is rawscan.Use.COMPOSE:
            self.findings.refuse(mention.subject, mention.field or "file", f"`{mention.path}` is not in the repository")
        return None  # Compose knows whether it needs a file of values that is not there


def _by_population(checked: policy.Checked) -> list[str]:
    """Networks of the environment's own, those with the most services first."""
    members = dict.fromkeys((name for name, body in checked.networks.items() if not body.get("external")), 0)
    for service in checked.services.values():
        for name in service.get("networks") or {"default": None}:
            if name in members:
                members[name] += 1
    return sorted(members, key=lambda name: (-members[name], name))
