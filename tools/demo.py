"""Runs the main job on this machine: two repositories, a git server, an agent with its Traefik, a branch on stage.

Everything is real but the repositories, which are the sample projects of the tests. Whatever it makes carries a
label of its own and goes when it ends; the images that it stands on and Docker's build cache stay.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import httpx

from tests.support.agentd import BUTAI, Agentd
from tests.support.eventually import eventually
from tests.support.gitserver import GitServer
from tests.support.place import free_port
from tests.support.samples import sample
from tools.console import SetupError, say

DOMAIN = "localhost"
PROJECTS = ("classic", "team")
BRANCH = "feature/menu"
PAGE = "shop/page.py"
# Branches that begin at `main`, each with a file of its own to be told by.
BRANCHES = {
    "classic": {
        BRANCH: {PAGE: 'HEADLINE = "Classic shop, with a menu"\n'},
        "fix/typo": {PAGE: 'HEADLINE = "Classic shop, spelled right"\n'},
    },
    "team": {
        "feature/red": {"front/title.json": '{ "title": "Team, in red" }\n'},
    },
}
CHANGED = "Pushed a moment ago"
LIVE_S = 120.0


class Demo:
    """One run. Made by `opened`, which also takes everything away again."""

    def __init__(self, folder: Path, git: GitServer, agent: Agentd) -> None:
        self.folder = folder
        self.git = git
        self.agent = agent

    def deploy(self) -> str:
        """Put the first branch on stage with the real command; its URL."""
        say("demo", f"deploying {BRANCH} of classic, a Python application with MariaDB:")
        self.butai("deploy", BRANCH, "--project", "classic")
        url = self.agent.url("feature-menu")
        self.see("with a menu", f"{url} answers with the page of {BRANCH}")
        return url

    def push(self) -> None:
        """Change the page as a developer does: edit, commit, push."""
        say("demo", f"pushing a change of {PAGE} to {BRANCH} ...")
        clone = self.folder / "classic"
        (clone / PAGE).write_text(f'HEADLINE = "{CHANGED}"\n', encoding="utf-8")
        self.run("git", "-C", str(clone), "commit", "--quiet", "--all", "--message", "Change the headline")
        self.run("git", "-C", str(clone), "push", "--quiet")
        pushed_at = time.monotonic()
        self.see(CHANGED, "the pushed change is live")
        say("demo", f"from push to page: {time.monotonic() - pushed_at:.1f} s, found by the poll, without a webhook")

    def see(self, text: str, meaning: str) -> None:
        """Wait until the page, asked through Traefik, says `text`."""

        def page_says() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return text in self.agent.visit("feature-menu").text
            return False

        try:
            eventually(page_says, LIVE_S)
        except AssertionError as error:
            raise SetupError(f"the page never said {text!r}; it says:\n{self._page()}") from error
        say("demo", meaning)

    def butai(self, *arguments: str) -> None:
        """The command that people use, as they see it."""
        say("demo", f"$ butai {' '.join(arguments)}")
        self.run(BUTAI, "--config", str(self.agent.config_path), *arguments)

    def run(self, *argv: str) -> None:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SetupError(f"`{' '.join(argv)}` ended with status {done.returncode}\n{self.agent.log()[-3000:]}")

    def _page(self) -> str:
        with contextlib.suppress(httpx.TransportError):
            return self.agent.visit("feature-menu").text
        return "nothing"


@contextlib.contextmanager
def opened() -> Iterator[Demo]:
    """Repositories, git server, agent and Traefik; afterwards none of them."""
    folder = Path(tempfile.mkdtemp(prefix="butai-demo-"))
    folder.chmod(0o755)
    port = choose_port()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        say("demo", f"making two repositories with several branches below {folder} ...")
        git = stack.enter_context(GitServer(folder / "remotes"))
        make_repositories(git)
        say("demo", f"git serves them at {git.url('classic')} and {git.url('team')}")
        agent = Agentd(
            {name: {"remote": git.url(name)} for name in PROJECTS},
            instance=f"demo{secrets.token_hex(3)}",
            domain=DOMAIN,
            http_port=port,
            base_dir=folder / "agent",
            limits={"poll_interval_s": 1},
        )
        demo = Demo(folder, git, agent)
        stack.callback(close, demo)
        who = "as an unprivileged user" if os.geteuid() == 0 else "as you"
        say("demo", f"starting the agent {who}, and Traefik on 127.0.0.1:{port} ...")
        agent.start()
        say("demo", "the agent and Traefik are ready")
        clone(git, folder / "classic")
        yield demo


def make_repositories(git: GitServer) -> None:
    """Each sample project with its branches."""
    for name in PROJECTS:
        repository = git.create(name, sample(name))
        for branch, files in BRANCHES[name].items():
            repository.commit(branch, files, base="main", message=f"Begin {branch}")


def clone(git: GitServer, folder: Path) -> None:
    """A clone to push from, with a name to commit under."""
    subprocess.run(["git", "clone", "--quiet", "--branch", BRANCH, git.url("classic"), str(folder)], check=True)
    for key, value in (("user.name", "You"), ("user.email", "you@example.com"), ("push.default", "current")):
        subprocess.run(["git", "-C", str(folder), "config", key, value], check=True)


def choose_port() -> int:
    """80 when nobody has it, for URLs without a port; else any."""
    with socket.socket() as asking:
        asking.settimeout(1)
        if asking.connect_ex(("127.0.0.1", 80)) != 0 and _may_bind(80):
            return 80
    port = free_port()
    say("demo", f"port 80 is taken, so the URLs end in :{port}")
    return port


def _may_bind(port: int) -> bool:
    """Docker binds it, not we: not being allowed to is no sign that somebody else has it."""
    with socket.socket() as binding:
        binding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            binding.bind(("127.0.0.1", port))
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def close(demo: Demo) -> None:
    """Take everything away, whatever is pressed meanwhile, and look whether it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    say("demo", "taking everything down: agent, containers, networks, volumes, images, folders ...")
    demo.agent.clean_up()
    shutil.rmtree(demo.folder, ignore_errors=True)
    left = objects_of(demo.agent.instance) + [str(path) for path in (demo.folder,) if path.exists()]
    if left:
        raise SetupError(f"these are left: {', '.join(left)}")
    say("demo", "nothing is left")


def objects_of(instance: str) -> list[str]:
    """What Docker still holds of an instance, asked by a command of its own."""
    found = []
    for kind, fields in (("container", "{{.Names}}"), ("network", "{{.Name}}"), ("volume", "{{.Name}}")):
        every = ["--all"] if kind == "container" else []
        argv = ["docker", kind, "ls", *every, "--filter", f"label=butai.instance={instance}", "--format", fields]
        found += subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    argv = ["docker", "image", "ls", "--all", "--filter", f"label=butai.instance={instance}", "--quiet"]
    return found + subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def things_to_try(demo: Demo, url: str) -> str:
    """Commands to copy: each works as it stands, in another terminal."""
    bin_dir = Path(BUTAI).parent
    front = demo.agent.url("feature-red")
    return f"""
  {url}

Open it in a browser, or in another terminal:

  export PATH="{bin_dir}:$PATH" BUTAI_CONFIG="{demo.agent.config_path}"
  curl {url}/

Push a change and see it live a moment later:

  cd {demo.folder / "classic"}
  echo 'HEADLINE = "Mine"' > {PAGE}
  git commit -am "Mine" && git push
  curl {url}/

Look around:

  butai list
  butai show {BRANCH}
  butai logs {BRANCH} web
  butai exec {BRANCH} mysql -- sh -c 'mariadb -u$MARIADB_USER -p$MARIADB_PASSWORD $MARIADB_DATABASE -e "SHOW TABLES"'

Put other branches beside it, each with its own database; `team` is Node, Python, Redis and a worker:

  butai deploy fix/typo
  butai deploy feature/red
  curl {front}/

Take one away again:

  butai destroy fix/typo --yes

Ctrl-C here ends it all and leaves nothing running.
"""


def run(*, once: bool) -> None:
    """The demo. SetupError says why it cannot go on."""
    began = time.monotonic()
    with opened() as demo:
        url = demo.deploy()
        if once:
            demo.push()
        else:
            print(things_to_try(demo, url), flush=True)
            threading.Event().wait()
    say("demo", f"done in {time.monotonic() - began:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run by `make demo`."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description="Run the main job on this machine.")
    parser.add_argument("--once", action="store_true", help="check it without a person, and exit")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started us ignores Ctrl-C
        signal.signal(number, _interrupt)
    try:
        run(once=options.once)
    except KeyboardInterrupt:
        return 0
    except SetupError as error:
        say("demo", f"cannot go on: {error}")
        return 1
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
