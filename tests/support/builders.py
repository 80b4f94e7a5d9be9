"""A repository to build from, both builders on it, and what an image is, down to each file."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import docker

from agent.adapters import process
from agent.adapters.compose import ComposeCli
from agent.adapters.docker import DockerEngine
from agent.model.release import BuildSpec
from agent.runtime.cancel import CancelToken
from tests.support.run import run_filter, run_id, run_labels

HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Program:
    """An executable file."""

    text: str


Content = str | Link | Program | None


@dataclass(frozen=True)
class Image:
    """What two builders must agree on. History and layers are how it came about, not what it is."""

    config: Mapping[str, Any]
    files: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


class Repository:
    """A git repository whose folder holds nothing but its files; a path whose content is None is removed."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        directory.mkdir()
        self._env = process.short_environment(
            GIT_DIR=str(directory.with_suffix(".git")),
            GIT_WORK_TREE=str(directory),
            GIT_CONFIG_GLOBAL="/dev/null",
            GIT_CONFIG_SYSTEM="/dev/null",
        )
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, files: Mapping[str, Content]) -> None:
        for name, content in files.items():
            path = self.dir / name
            if path.is_symlink() or path.exists():
                path.unlink()
            if content is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                path.symlink_to(content.target)
            else:
                path.write_text(content.text if isinstance(content, Program) else content)
                path.chmod(0o755 if isinstance(content, Program) else 0o644)
        for folder, _, _ in os.walk(self.dir):
            Path(folder).chmod(0o755)
        self._git("add", "--all", "--force")
        self._git(
            *("-c", "user.name=test", "-c", "user.email=test@localhost"),
            *("commit", "--quiet", "--allow-empty", "--message=Change"),
        )

    def archive(self, under: str = "") -> Iterator[bytes]:
        argv = ["git", "-c", "tar.umask=0022", "archive", "--format=tar", f"HEAD:{under}" if under else "HEAD"]
        return process.stream(argv, env=self._env, cwd=self.dir, timeout_s=60)

    def _git(self, *arguments: str) -> None:
        done = process.run(["git", *arguments], env=self._env, cwd=self.dir, timeout_s=60)
        assert done.ok, done.complaint


class Builders:
    """The Engine API and the Compose plugin, building the same repository under two tags; `with` removes the images."""

    def __init__(self, scratch_dir: Path) -> None:
        self.scratch_dir = scratch_dir
        self.client = docker.APIClient(HOST)
        self.engine = DockerEngine(HOST, "tests", scratch_dir=scratch_dir)
        self.compose = ComposeCli(HOST)
        self.name = f"butai-test/{run_id()}-{secrets.token_hex(3)}"
        self._first_name = self.name  # a test may go on under a longer one
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def by_engine(
        self,
        repository: Repository,
        build: Mapping[str, Any] | None = None,
        *,
        cancel: CancelToken | None = None,
        timeout_s: float = 120,
    ) -> str:
        """Build through the API; the tag. `build` is a compose file's section, without its context."""
        section = dict(build or {})
        context = str(section.pop("context", "."))
        spec = BuildSpec(
            context=context,
            dockerfile=section.pop("dockerfile", "Dockerfile"),
            inline=section.pop("dockerfile_inline", ""),
            labels={**run_labels(), **section.pop("labels", {})},
            **section,
        )
        tag = f"{self.name}:engine"
        self.lines.clear()
        self.engine.build(
            spec,
            repository.archive("" if context == "." else context),
            tag=tag,
            on_line=self.lines.append,
            cancel=cancel or CancelToken(),
            timeout_s=timeout_s,
        )
        return tag

    def by_compose(self, repository: Repository, build: Mapping[str, Any] | None = None) -> str:
        """Build by Compose; the tag."""
        section = dict(build or {})
        tag = f"{self.name}:compose"
        labels = {**run_labels(), **section.get("labels", {})}
        context = repository.dir / str(section.get("context", "."))
        model = {"services": {"web": {"image": tag, "build": {**section, "context": str(context), "labels": labels}}}}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "compose.json"
            path.write_text(json.dumps(model))
            self.compose.build(path, "web", on_line=self.lines.append, cancel=CancelToken(), timeout_s=120)
        return tag

    def image(self, tag: str) -> Image:
        """Everything about an image but its history."""
        inspected = cast("Any", self.client).inspect_image(tag)
        config = dict(inspected["Config"])
        config["Labels"] = {
            name: value
            for name, value in (config["Labels"] or {}).items()
            if not name.startswith("com.docker.compose.")
        }
        for dull in ("Hostname", "Domainname", "Image"):
            config.pop(dull, None)
        container = self.client.create_container(tag, command=["nothing"], labels=run_labels())["Id"]
        try:
            return Image(config, self._files(container))
        finally:
            self.client.remove_container(container, force=True, v=True)

    def remove(self) -> None:
        for image in self.client.images(filters=run_filter()):
            for tag in image["RepoTags"] or ():
                if tag.startswith(self._first_name):
                    self.client.remove_image(tag, force=True)
        for replaced in self.client.images(filters={**run_filter(), "dangling": True}):
            self.client.remove_image(replaced["Id"], force=True)
        self.client.close()

    def _files(self, container: str) -> dict[str, tuple[object, ...]]:
        files: dict[str, tuple[object, ...]] = {}
        with tempfile.TemporaryFile() as file:
            chunks, _ = self.client.get_archive(
                container, "/"
            )  # `export` leaves a mount behind for ever, with Engine 26
            for chunk in chunks:
                file.write(chunk)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                for member in archive:
                    reader = archive.extractfile(member) if member.isfile() else None
                    content = hashlib.sha256(reader.read()).hexdigest() if reader else ""
                    about = (member.type, oct(member.mode), member.uid, member.gid, member.linkname, content)
                    files[member.name.removeprefix("/")] = about
        return files
