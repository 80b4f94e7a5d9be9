"""A real agent, as an operator installs it: `butai serve` in a process of its own, not root, with its own Traefik.

Everything it makes in Docker carries its own instance's label, and clean-up removes exactly that.
Used by the end-to-end tests, the fault tests, the demo and the benchmarks.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import docker
import httpx
from docker.errors import APIError, NotFound

from tests.support.eventually import eventually
from tests.support.place import free_pool, free_port, merge, others_may_read, toml
from tests.support.signed import SIGNING_SECRET, WEBHOOK_SECRET, SlackPerson, over_http, push
from tests.support.slackd import TOKEN, Slackd

DOMAIN = "stage.localhost"
TEAM = "T0TEAM"
INSTANCE_LABEL = "butai.instance"
SLUG_LABEL = "butai.slug"
BUTAI = str(Path(sys.executable).parent / "butai")
DOCKER_SOCKET = Path("/var/run/docker.sock")
NOBODY = 65534  # user and group on every Debian; owns nothing
READY_S = 60.0
STOP_S = 40.0
# httpx reads all authorities of the host for each client it is not given this: forty milliseconds, for plain HTTP.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

_numbers = itertools.count(1)


class Agentd:
    """`with Agentd({"shop": {"remote": url}}) as agent:`; ready inside the block, gone with all it made after it."""

    def __init__(
        self,
        projects: Mapping[str, Mapping[str, Any]],
        *,
        slack: Slackd | None = None,
        bot_token: bool = True,
        limits: Mapping[str, Any] | None = None,
        traefik: Mapping[str, Any] | None = None,
        domain: str = DOMAIN,
        instance: str = "",
        base_dir: Path | None = None,
        http_port: int = 0,
    ) -> None:
        self.instance = instance or f"t{os.getpid()}x{next(_numbers)}"
        self.domain = domain
        self.slack = slack
        self.port = http_port or free_port()
        self.base_dir = base_dir or Path(tempfile.mkdtemp(prefix="butai-"))
        self.state_dir = self.base_dir / "state"
        self.config_path = self.base_dir / "config.toml"
        self.log_path = self.base_dir / "agent.log"
        self.socket_path = self.base_dir / "agent.sock"
        self._user = NOBODY if os.geteuid() == 0 else None
        self.docker = docker.from_env(timeout=120)
        self._process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {
            "domain": self.domain,
            "instance": self.instance,
            "state_dir": str(self.state_dir),
            "server": {"socket": str(self.socket_path)},
            "docker": {"address_pool": free_pool(self.docker)},
            "firewall": {"manage": False},  # this machine's is not ours: tests/integration/test_firewall.py has its own
            "traefik": {"address": "127.0.0.1", "http_port": self.port, **(traefik or {})},
            "care": {"min_free": "64m", "min_free_percent": 0, "min_free_inodes_percent": 0},  # whatever disk is here
            "limits": {"poll_interval_s": 1, "repair_interval_s": 30, **(limits or {})},
            "forges": {"github": {"webhook_secret_file": self._secret("webhook", WEBHOOK_SECRET)}},
            "projects": {name: dict(project) for name, project in projects.items()},
        }
        if slack is not None:
            self.settings["slack"] = {
                "signing_secret_file": self._secret("signing", SIGNING_SECRET),
                "team": TEAM,
                "api_url": slack.api_url,
                "response_hosts": [slack.location],
            }
            if bot_token:
                self.settings["slack"]["bot_token_file"] = self._secret("token", TOKEN)

    # -- its life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            sys.stderr.write(self.log()[-4000:])
            self.clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()

    def start(self, *, wait: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it can be used."""
        self._give_away()
        self.configure()
        self.launch()
        if wait:
            self.wait_until_ready()

    def launch(self) -> None:
        """Start the process with the settings as they are on disk."""
        assert self._process is None, "it runs already"
        _compile()
        home = self.base_dir / "home"
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C.UTF-8"}
        argv = [*self._unprivileged(), BUTAI, "serve", "--config", str(self.config_path)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                env=environment,
                cwd=self.base_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Until the socket and, through Traefik, the agent's pages answer."""
        eventually(self._is_ready, READY_S, pause_s=0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill9(self) -> None:
        """As the kernel does it: no last word, nothing tidied."""
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """As systemd does it; the exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._ended()

    def wait(self) -> int:
        """Until it ends by itself; the exit status."""
        return self._ended()

    def run_as_agent(self, *arguments: str) -> str:
        """`butai ARGUMENTS` as the user that the agent is; what it printed."""
        argv = [*self._unprivileged(), BUTAI, "--config", str(self.config_path), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def restart(self) -> None:
        self.stop()
        self.start()

    def clean_up(self) -> None:
        """Stop it and remove what it made, by its label, and its folder."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        if self._process is not None:
            self.kill9()
        self.remove_objects()
        self._remove_folder()
        self.docker.close()

    def remove_objects(self) -> None:
        """Every container, network, volume and image with this instance's label."""
        mine = {"label": f"{INSTANCE_LABEL}={self.instance}"}
        api = self.docker.api
        _each(lambda name: api.remove_container(name, v=True, force=True), _ids(api.containers(all=True, filters=mine)))
        _each(api.remove_network, _ids(api.networks(filters=mine)))
        _each(
            lambda name: api.remove_volume(name, force=True),
            [v["Name"] for v in api.volumes(filters=mine)["Volumes"] or ()],
        )
        _each(lambda name: api.remove_image(name, force=True), _ids(api.images(filters=mine)))

    # -- settings --------------------------------------------------------------------------------------------------

    def configure(self, **changes: Any) -> None:
        """Write config.toml; `changes` are merged into the settings, section by section."""
        merge(self.settings, changes)
        self.write_config(toml(self.settings))

    def write_config(self, text: str) -> None:
        """Any text, in one rename, as an editor or a configuration tool does it."""
        beside = self.config_path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        self._own(beside)
        beside.replace(self.config_path)

    def host(self, slug: str, service: str = "") -> str:
        label = f"{slug}--{service}" if service else slug
        return f"{label}.{self.domain}"

    def url(self, slug: str) -> str:
        """As people see it in Slack and on the terminal."""
        port = "" if self.port == 80 else f":{self.port}"
        return f"http://{self.host(slug)}{port}"

    # -- its users -------------------------------------------------------------------------------------------------

    def cli(
        self, *arguments: str, check: bool = True, timeout_s: float = 120, input_text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`butai ARGUMENTS`, as somebody on the host; with `check`, any exit code but 0 fails the test."""
        done = subprocess.run(
            [BUTAI, "--config", str(self.config_path), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            input=input_text,
        )
        if check:
            assert done.returncode == 0, f"butai {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def gated(self, line: str, *, allow: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """What sshd makes of `ssh HOST LINE` with a key that may run only some commands."""
        argv = [BUTAI, "--config", str(self.config_path), "ssh-gate", "anna", "--allow", allow]
        environment = {**os.environ, "SSH_ORIGINAL_COMMAND": line}
        return subprocess.run(argv, env=environment, input=data, capture_output=True, timeout=60, check=False)

    def json(self, *arguments: str) -> Any:
        """What a command with `--json` prints."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def ask(self, path: str, **params: str) -> dict[str, Any]:
        """GET of the API on the agent's socket: what `--json` prints, without starting a program."""
        with self._api() as client:
            answer = client.get(path, params=params)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def send(
        self, path: str, body: Mapping[str, object] | None = None, *, method: str = "POST", check: bool = True
    ) -> httpx.Response:
        """A request to the API on the agent's socket, as any program may make it."""
        with self._api() as client:
            answer = client.request(method, path, json=body)
        assert not check or answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def completions(self, *words: str) -> list[str]:
        """What bash would offer for the last of the words."""
        line = " ".join(("butai", *words))
        environment = {
            **os.environ,
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
            "_BUTAI_COMPLETE": "bash_complete",
            "BUTAI_SOCKET": str(self.socket_path),
        }
        done = subprocess.run([BUTAI], env=environment, capture_output=True, text=True, timeout=30, check=True)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    def visit(self, slug: str, path: str = "/", *, service: str = "", **headers: str) -> httpx.Response:
        """One request through Traefik, by somebody who follows no redirect and keeps no connection."""
        return visit(self.port, self.host(slug, service), path, **headers)

    def person(self, **who: Any) -> SlackPerson:
        """Somebody in Slack, whose requests come through Traefik."""
        assert self.slack is not None, "this agent has no Slack"
        send = over_http(f"http://127.0.0.1:{self.port}", host=f"butai.{self.domain}")
        return SlackPerson(self.slack, send, **who)

    def webhook(self, remote: str, branch: str, **fields: Any) -> int:
        """A signed push from GitHub, through Traefik; the status of the answer."""
        body, headers = push(remote, branch, **fields)
        send = over_http(f"http://127.0.0.1:{self.port}", host=f"butai.{self.domain}")
        return send("/hooks/github", body, headers)[0]

    # -- the world it made -----------------------------------------------------------------------------------------

    def containers(self, slug: str, service: str = "") -> list[dict[str, Any]]:
        """Containers of one environment, the engine's own list."""
        labels = [f"{INSTANCE_LABEL}={self.instance}", f"{SLUG_LABEL}={slug}"]
        labels += [f"butai.service={service}"] if service else []
        return list(self.docker.api.containers(all=True, filters={"label": labels}))

    def checkout(self, slug: str) -> Path:
        """The worktree of one environment."""
        return self.state_dir / "checkouts" / slug

    def leftovers(self, slug: str) -> list[str]:
        """Everything that still belongs to an environment: Docker's objects, image tags, routes, files."""
        labelled = {"label": [f"{INSTANCE_LABEL}={self.instance}", f"{SLUG_LABEL}={slug}"]}
        composed = {"label": f"com.docker.compose.project={self.instance}-{slug}"}
        found = self._objects(labelled) + self._objects(composed)
        found += [f"image {one['RepoTags']}" for one in self.docker.api.images(name=f"{self.instance}/{slug}/*")]
        names = {slug, f"{self.instance}.{slug}.yml"}
        # What people had edited in a checkout outlives it, in refs/butai/edits of the mirror.
        found += [f"file {path}" for path in self._files() if path.name in names and "edits" not in path.parts]
        return sorted(set(found))

    def objects(self) -> list[str]:
        """Every object in Docker with this instance's label."""
        return self._objects({"label": f"{INSTANCE_LABEL}={self.instance}"})

    def all_containers(self) -> list[dict[str, Any]]:
        """Those of every environment, and Traefik's."""
        return list(self.docker.api.containers(all=True, filters={"label": f"{INSTANCE_LABEL}={self.instance}"}))

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def _files(self) -> Iterator[Path]:
        """All in the state directory; what the agent removes meanwhile is no error, as it is to `rglob`."""
        for folder, folders, files in os.walk(self.state_dir):
            yield from (Path(folder, name) for name in (*folders, *files))

    # -- details ---------------------------------------------------------------------------------------------------

    def _api(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket_path), verify=NO_TLS)
        return httpx.Client(transport=transport, base_url="http://butai/api/v1", trust_env=False, timeout=60)

    def _objects(self, filters: dict[str, Any]) -> list[str]:
        api = self.docker.api
        found = [f"container {one['Names'][0]}" for one in api.containers(all=True, filters=filters)]
        found += [f"network {one['Name']}" for one in api.networks(filters=filters)]
        found += [f"volume {one['Name']}" for one in api.volumes(filters=filters)["Volumes"] or ()]
        found += [f"image {one['RepoTags'] or one['Id']}" for one in api.images(filters=filters)]
        return sorted(found)

    def _is_ready(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the agent ended by itself:\n{self.log()[-4000:]}")
        with contextlib.suppress(httpx.TransportError):
            self.ask("/health")
            answer = self.visit("nobody-asked-for-this")
            # "page not found" is Traefik's own, before it has our routes.
            return answer.status_code == 404 and "page not found" not in answer.text
        return False

    def _ended(self) -> int:
        assert self._process is not None
        status = self._process.wait(STOP_S)
        self._process = None
        return status

    def _unprivileged(self) -> list[str]:
        """The agent is not root, and can use Docker by its group alone."""
        if self._user is None:
            return []
        group = DOCKER_SOCKET.stat().st_gid
        argv = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", f"--groups={group}"]
        if not others_may_read(Path(BUTAI), Path(__file__)):
            # A clone below /root: to read what root owns is all that is added.
            return [*argv, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
        return [*argv, "--no-new-privs", "--"]

    def _secret(self, name: str, value: str) -> str:
        path = self.base_dir / "secrets" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(value)
        return str(path)

    def _give_away(self) -> None:
        """The agent's user owns its folder; others may look, as a person on the host does."""
        for path in (self.state_dir, self.base_dir / "home"):
            if not path.exists():
                path.mkdir(parents=True)
                self._own(path)
        self.base_dir.chmod(0o755)
        self._own(self.base_dir)
        for path in (self.base_dir / "secrets", *(self.base_dir / "secrets").iterdir()):
            self._own(path)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user, self._user)

    def _remove_folder(self) -> None:
        """Containers wrote into checkouts as root; where we are not root, a container removes it."""
        try:
            shutil.rmtree(self.base_dir)
        except FileNotFoundError:
            return
        except PermissionError:
            mount = f"{self.base_dir}:/base"
            labels = {INSTANCE_LABEL: self.instance}
            argv = ["find", "/base", "-mindepth", "1", "-maxdepth", "1", "-exec", "rm", "-rf", "--", "{}", "+"]
            self.docker.containers.run("busybox:1.37", argv, volumes=[mount], remove=True, labels=labels)
            shutil.rmtree(self.base_dir)


@functools.cache
def _compile() -> None:
    """As an installation does it: the agent's user may not write beside the modules and would compile at each start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", "import agent.daemon, agent.cli.main"], env=environment, check=True)


def _ids(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(one["Id"]) for one in found]


def _each(remove: Callable[[str], object], names: Iterable[str]) -> None:
    """Side by side: the engine takes most of a second for one of them. What is gone already is fine."""

    def gently(name: str) -> None:
        with contextlib.suppress(NotFound, APIError):
            remove(name)

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(gently, names))


def visit(port: int, host: str, path: str = "/", **headers: str) -> httpx.Response:
    """GET through the Traefik on 127.0.0.1:`port`, as `host`. Header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(trust_env=False, timeout=15, verify=NO_TLS) as client:
        return client.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host, **named})


@contextlib.contextmanager
def under_load(port: int, host: str, path: str = "/") -> Iterator[list[int]]:
    """Ask all the time while the block runs; the statuses that were not 200 (0: no answer)."""
    bad: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                status = visit(port, host, path).status_code
            except httpx.TransportError:
                status = 0
            if status != 200:
                bad.append(status)
            over.wait(0.01)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield bad
    finally:
        over.set()
        thread.join(20)
