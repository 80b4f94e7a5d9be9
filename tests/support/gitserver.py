"""A real git server on loopback: `git http-backend` behind Python's HTTP server, and repositories made by plumbing.

Used by tests, by the demo and by the benchmarks, so it needs nothing but git. It can also misbehave on
request: hang, trickle, refuse, ask for a password.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

AUTHOR = "Anna Author <anna@example.com>"
EPOCH = 1_700_000_000  # committer time of the first commit; each further one is a minute later

Content = str | bytes


@dataclass(frozen=True, slots=True)
class Symlink:
    """A file that is a symbolic link to `target`."""

    target: str


@dataclass(frozen=True, slots=True)
class Program:
    """A file that may be executed."""

    text: str


class Mood(Enum):
    """How the server answers."""

    WELL = "answers"
    HANGING = "accepts and never answers"
    STALLING = "sends the first 32 kB of a pack and nothing more"
    CLOSING = "closes the connection without a word"
    LOCKED = "401"
    FORBIDDEN = "403"
    GONE = "404"
    BROKEN = "500"


class Repository:
    """A bare repository that tests write to directly, as a push would, without a checkout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commits = 0

    @classmethod
    def create(cls, path: Path, *, branch: str = "main") -> Repository:
        """A new, empty repository that may be pushed to over HTTP."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _git("init", "--quiet", "--bare", f"--initial-branch={branch}", str(path))
        repository = cls(path)
        repository.git("config", "http.receivepack", "true")
        repository.git("config", "receive.denyDeleteCurrent", "ignore")
        return repository

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Any git command on this repository; its standard output."""
        return _git(f"--git-dir={self.path}", *arguments, stdin=stdin)

    def commit(
        self,
        branch: str,
        files: Mapping[str, Content | Symlink | Program],
        *,
        message: str = "Change something",
        base: str | None = None,
        delete: Sequence[str] = (),
        force: bool = False,
    ) -> str:
        """Add a commit to `branch` and return its hash. A new branch starts at `base` (a branch or a hash).

        With `force` the branch starts again at `base`, or from nothing: a force push.
        """
        parent = None if force else self.revision(branch)
        if parent is None and base is not None:
            parent = self.revision(base) or base
        self._commits += 1
        lines = [
            f"commit refs/heads/{branch}".encode(),
            f"committer {AUTHOR} {EPOCH + 60 * self._commits} +0000".encode(),
        ]
        lines += [_data(message.encode())]
        if parent is not None:
            lines.append(f"from {parent}".encode())
        lines += [b"D " + _quoted(path) for path in delete]
        for path, content in files.items():
            mode, data = _mode_and_data(content)
            lines += [b"M " + mode + b" inline " + _quoted(path), _data(data)]
        options = ["--force"] if force else []
        self.git("fast-import", "--quiet", "--date-format=raw", *options, stdin=b"\n".join(lines) + b"\n\n")
        return self.git("rev-parse", "--verify", f"refs/heads/{branch}").strip()

    def revision(self, branch: str) -> str | None:
        """The head of a branch; None when there is none."""
        found = self.git("for-each-ref", "--format=%(objectname) %(refname)", f"refs/heads/{branch}")
        for line in found.splitlines():
            revision, _, name = line.partition(" ")
            if name == f"refs/heads/{branch}":
                return revision
        return None

    def head(self, branch: str = "main") -> str:
        """The head of a branch that exists."""
        found = self.revision(branch)
        assert found is not None, f"no branch {branch} in {self.path.name}"
        return found

    def point(self, ref: str, revision: str) -> None:
        """Create or move a full ref, or many: tags, branches, anything."""
        self.git("update-ref", "--end-of-options", ref, revision)

    def branch_many(self, names: Sequence[str], revision: str) -> None:
        """Thousands of branches at one commit, in one process."""
        lines = "".join(f"create refs/heads/{name} {revision}\n" for name in names)
        self.git("update-ref", "--stdin", stdin=lines.encode())
        self.git("pack-refs", "--all")

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.git("update-ref", "-d", "--end-of-options", f"refs/heads/{branch}")


class GitServer:
    """Serves the repositories below `root` over smart HTTP at `url(name)` until it is closed."""

    def __init__(self, root: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.root = root
        self.mood = Mood.WELL
        self.far_s = 0.0  # how long every answer takes to come
        self.credentials: tuple[str, str] | None = None  # user and password that every request must carry
        self.requests: list[str] = []  # "GET /shop.git/info/refs", in order
        self.stopping = threading.Event()
        root.mkdir(parents=True, exist_ok=True)
        self._http = _Server((host, port), _Answer)
        self._http.git = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="git-server", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def url(self, name: str) -> str:
        """Where git finds the repository `name`."""
        return f"http://{self._http.server_address[0]!s}:{self.port}/{name}.git"

    def create(
        self, name: str, files: Mapping[str, Content | Symlink | Program] | None = None, *, branch: str = "main"
    ) -> Repository:
        """A new repository, with a first commit when there are `files`."""
        repository = Repository.create(self.root / f"{name}.git", branch=branch)
        if files is not None:
            repository.commit(branch, files, message="Begin")
        return repository

    def close(self) -> None:
        """Stop answering; whoever hangs is let go."""
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    git: GitServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what many tests are about: no traceback."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms each otherwise
    wbufsize = 64 * 1024
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name it overrides
        """Quiet: `requests` holds what was asked."""

    def _answer(self) -> None:
        git = self.server.git
        git.requests.append(f"{self.command} {urlsplit(self.path).path}")
        git.stopping.wait(git.far_s)
        if git.mood is Mood.HANGING:
            git.stopping.wait()
        if git.mood in (Mood.HANGING, Mood.CLOSING):
            self.close_connection = True
        elif git.mood in (Mood.LOCKED, Mood.FORBIDDEN, Mood.GONE, Mood.BROKEN):
            self._say(int(git.mood.value))
        elif not self._authorised():
            self._say(401)
        else:
            self._run_backend()

    def _authorised(self) -> bool:
        wanted = self.server.git.credentials
        if wanted is None:
            return True
        token = base64.b64encode(":".join(wanted).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {token}"

    def _say(self, status: int) -> None:
        self._drain()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()

    def _drain(self) -> None:
        for _ in self._body():
            pass

    def _body(self) -> Iterator[bytes]:
        """The request's body, whether it has a length or comes in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        elif length := int(self.headers.get("Content-Length") or 0):
            yield self.rfile.read(length)

    def _run_backend(self) -> None:
        backend = subprocess.Popen(
            [_backend()],
            env=self._cgi_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert backend.stdin is not None
        assert backend.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                for chunk in self._body():
                    backend.stdin.write(chunk)
                backend.stdin.close()
            self._relay(backend.stdout)
        finally:
            backend.kill()
            with contextlib.suppress(BrokenPipeError):
                backend.stdin.close()
            backend.stdout.close()
            backend.wait()

    def _cgi_environment(self) -> dict[str, str]:
        url = urlsplit(self.path)
        environment = _environment() | {
            "GIT_PROJECT_ROOT": str(self.server.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": self.client_address[0],
        }
        for header, name in (
            ("Content-Encoding", "HTTP_CONTENT_ENCODING"),
            ("Content-Length", "CONTENT_LENGTH"),
            ("Git-Protocol", "HTTP_GIT_PROTOCOL"),
        ):
            if header in self.headers:
                environment[name] = self.headers[header]
        return environment

    def _relay(self, output: IO[bytes]) -> None:
        status, headers = 200, []
        while line := output.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        while chunk := output.read1(32 * 1024):  # type: ignore[attr-defined]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            sent += len(chunk)
            if self.server.git.mood is Mood.STALLING and sent >= 32 * 1024:
                self.server.git.stopping.wait()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


@functools.cache
def _backend() -> str:
    """The program itself: by way of `git` it costs one process more for each request."""
    return str(Path(_git("--exec-path").strip()) / "git-http-backend")


def _environment() -> dict[str, str]:
    """Nothing of the machine's own git configuration, nor of a hook that runs the tests."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "LC_ALL": "C.UTF-8",
    }


def _git(*arguments: str, stdin: bytes = b"") -> str:
    git = shutil.which("git") or "git"
    done = subprocess.run(
        [git, *arguments], env=_environment(), input=stdin, capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def _mode_and_data(content: Content | Symlink | Program) -> tuple[bytes, bytes]:
    if isinstance(content, Symlink):
        return b"120000", content.target.encode()
    if isinstance(content, Program):
        return b"100755", content.text.encode()
    return b"100644", content.encode() if isinstance(content, str) else content


def _data(data: bytes) -> bytes:
    return b"data %d\n%s" % (len(data), data)


def _quoted(path: str) -> bytes:
    """A path as git-fast-import(1) wants it: always quoted, so that no name is special."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()
