"""A git server and the agent's git adapter beside it, in a folder that other users can enter."""

from __future__ import annotations

import dataclasses
import encodings.idna  # noqa: F401 - name resolution loads it late, when `as_nobody` may not read it any more
import io
import multiprocessing
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType

from agent import config
from agent.adapters.git import GitMirrors
from agent.config import Settings
from agent.model.names import Revision, Slug
from tests.support.gitserver import GitServer, Repository

NOBODY = 65534

FILES = {
    "README.md": "# Shop\n",
    "compose.yaml": "services: {}\n",
    "src/app.py": "print('one')\n",
    "src/util.py": "pass\n",
}


class GitWorld:
    """One project, `shop`, on a server of its own. `git` is what tests look at."""

    def __init__(self, root: Path, server: GitServer) -> None:
        self.root = root
        self.server = server
        self.repository: Repository = server.create("shop", FILES)
        self.settings = settings_for(root / "state", server.url("shop"))
        self.git = GitMirrors(lambda: self.settings, reclaim=None)

    @property
    def mirror(self) -> Path:
        return self.settings.state_dir / "mirrors" / "shop.git"

    def use_remote(self, url: str, deploy_key: Path | None = None) -> None:
        """The same project from another place."""
        project = dataclasses.replace(self.settings.projects["shop"], remote=url, deploy_key_file=deploy_key)
        self.settings = dataclasses.replace(self.settings, projects=MappingProxyType({"shop": project}))

    def use_token(self, username: str, token: str) -> None:
        """What lets us in where the server asks."""
        secret = config.Secret(token, self.root / "token")
        project = dataclasses.replace(self.settings.projects["shop"], username=username, token=secret)
        self.settings = dataclasses.replace(self.settings, projects=MappingProxyType({"shop": project}))

    def allow_s(self, seconds: float) -> None:
        """How long the remote may be silent."""
        self.settings = allowing(self.settings, seconds)

    def fetch(self, branch: str = "main") -> Revision:
        revision = self.git.fetch("shop", branch)
        assert revision is not None
        return revision

    def checkout(self, slug: str = "main", branch: str = "main") -> Path:
        """The head of a branch, checked out; its folder."""
        self.git.checkout("shop", Slug(slug), self.fetch(branch))
        return self.git.checkout_dir("shop", Slug(slug))

    def archived(self, revision: Revision, under: str = "") -> dict[str, tarfile.TarInfo]:
        data = b"".join(self.git.archive("shop", revision, under=under))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {member.name: member for member in archive}

    def mirrored(self) -> Repository:
        """The mirror, for a look with git itself."""
        return Repository(self.mirror)


@contextmanager
def git_world() -> Iterator[GitWorld]:
    """A world that is gone afterwards, root's files in it too."""
    root = Path(tempfile.mkdtemp(prefix="butai-git-"))
    root.chmod(0o755)
    try:
        with GitServer(root / "served") as server:
            world = GitWorld(root, server)
            yield world
            world.git.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def allowing(settings: Settings, silence_s: float) -> Settings:
    """The same settings for a remote that may be silent so long."""
    return dataclasses.replace(settings, limits=dataclasses.replace(settings.limits, fetch_timeout_s=silence_s))


def settings_for(state_dir: Path, remote: str) -> Settings:
    """The settings of one project, `shop`, and nothing else that matters to git."""
    text = f'domain = "example.com"\nstate_dir = "{state_dir}"\n[projects.shop]\nremote = "{remote}"\n'
    return config.parse(text, state_dir)


def as_nobody(act: Callable[..., str], *arguments: object, reclaim: Callable[[Path], None]) -> str:
    """What `act(reclaim, *arguments)` returns in a process that is not root; only `reclaim` runs here, as root."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_nobody, args=(theirs, act, arguments))
    child.start()
    theirs.close()
    try:
        while True:
            kind, value = ours.recv()
            if kind == "reclaim":
                reclaim(Path(value))
                ours.send(None)
            elif kind == "raised":
                raise AssertionError(value)
            else:
                return str(value)
    finally:
        child.join(20)
        child.close()


def _nobody(pipe: Connection, act: Callable[..., str], arguments: tuple[object, ...]) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)

    def reclaim(path: Path) -> None:
        pipe.send(("reclaim", str(path)))
        pipe.recv()

    try:
        pipe.send(("returned", act(reclaim, *arguments)))
    except Exception as error:  # noqa: BLE001 - whatever it was, the test must hear of it
        pipe.send(("raised", repr(error)))
