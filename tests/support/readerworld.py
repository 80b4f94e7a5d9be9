"""A repository, its mirror, and the reader on them: what a compose file becomes, without an engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent import config
from agent.adapters.compose import ComposeCli
from agent.adapters.git import GitMirrors
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.release import Release
from agent.runtime.reader import Reader


class ReaderWorld:
    """One project, `shop`. `more` is TOML that follows its table in the settings."""

    def __init__(self, root: Path, more: str = "", *, branch: str = "main", slug: str = "main") -> None:
        self.root = root
        self.repository = root / "repository"
        self.repository.mkdir(parents=True)
        self._git("init", "-q", "-b", "main")
        self.settings = config.parse(
            f'domain = "stage.test"\nstate_dir = "{root}/state"\n{_top(more)}'
            f'[projects.shop]\nremote = "{self.repository}"\n{_rest(more)}',
            root,
        )
        self.settings.state_dir.mkdir(exist_ok=True)
        self.git = GitMirrors(lambda: self.settings)
        self.compose = ComposeCli("unix:///var/run/docker.sock")
        self.reader = Reader(git=self.git, compose=self.compose, settings=lambda: self.settings)
        self.environment = Environment(
            slug=Slug(slug),
            project="shop",
            branch=branch,
            wanted=Wanted.RUNNING,
            block=0,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            created_by="test",
        )

    def commit(self, files: Mapping[str, str | bytes | Path]) -> Revision:
        """Commit these files and nothing else; a Path becomes a symbolic link to it."""
        for old in self._git("ls-files", "-z").split("\0"):
            (self.repository / old).unlink() if old else None
        for name, content in files.items():
            path = self.repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "change")
        revision = self.git.fetch("shop", "main")
        assert revision is not None
        return revision

    def read(self, files: Mapping[str, str | bytes | Path]) -> Release:
        """The release that a commit of these files becomes."""
        return self.reader.read(self.environment, self.commit(files))

    def _git(self, *arguments: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "a@b.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        return subprocess.run(
            ["git", "-C", str(self.repository), *arguments], env=env, check=True, capture_output=True, text=True
        ).stdout


def _top(more: str) -> str:
    """The part of the settings before the project's own keys: tables of other sections."""
    return more.partition("---\n")[0] if "---\n" in more else ""


def _rest(more: str) -> str:
    return more.partition("---\n")[2] if "---\n" in more else more
