"""A remote: how git reaches it, with which credentials, and what its complaints mean.

Credentials never stand in an argument or a message: a token becomes a header in a file of mode 0600, a deploy key
is named by its path. Git reads that file and no other configuration.
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from agent.config import Secret
from agent.errors import OutsideError

_SCP = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/:@]+):(?!//)")  # git@example.com:team/shop.git
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_SHOWN_LINES = 3
_SSH_PORT = 22
# OpenSSH's words for a host whose key is not the known one; the file is named where there is one to mend.
_OTHER_KEY = re.compile(r"^Host key verification failed", re.MULTILINE)
_OFFENDING = re.compile(r"^Offending .*key .*in (?P<file>/.+):[0-9]+\s*$", re.MULTILINE)

# What git, curl, ssh and the big forges say when they know us and refuse, or when there is nothing to refuse. Held
# to the real git by tests/integration/test_git_remotes.py; git speaks English, as LC_ALL is ours.
_REFUSALS = re.compile(
    r"authentication failed|could not read (username|password)|terminal prompts disabled|access denied"
    r"|permission denied|returned error: 40[134]|repository not found"
    r"|repository '.*' not found|does not appear to be a git repository|does not exist|not allowed|dubious ownership",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a project's branches come from, and what lets us in: a token over HTTP, a key over SSH."""

    project: str
    url: str
    known_hosts: Path  # the keys of SSH hosts, as they were at the first contact
    deploy_key: Path | None = None
    username: str = ""  # whose token it is
    token: Secret | None = None

    @property
    def host(self) -> str:
        """The host, or the path of a local remote: what a person must look at when it does not answer."""
        if "://" in self.url:
            return self._parts.hostname or self._parts.path
        found = _SCP.match(self.url)
        return found["host"] if found else self.url

    def configuration(self, *, low_speed_s: int) -> str:
        """All the configuration that git gets to see, for this one project."""
        sections = [_FIXED.format(low_speed_s=low_speed_s), f'[remote "origin"]\n\turl = {_quote(self.url)}\n']
        if header := self.authorization():
            place = f"{self._parts.scheme}://{self._parts.netloc}"
            sections.append(f"[http {_quote(place)}]\n\textraHeader = {_quote(header)}\n")
        if path := self._local_path():
            # A local remote may belong to another user; git would call that dubious. The operator named it, it is not.
            names = (path, f"{path.rstrip('/')}/.git")
            sections.append("[safe]\n" + "".join(f"\tdirectory = {_quote(name)}\n" for name in names))
        return "".join(sections)

    def ssh_command(self) -> str:
        """What git runs to reach SSH remotes: never a question, and only our key where there is one."""
        options = [*_SSH, f"-oUserKnownHostsFile={self.known_hosts}"]
        if self.deploy_key is not None:
            options += ["-oIdentitiesOnly=yes", "-i", str(self.deploy_key)]
        return shlex.join(["ssh", "-F", "/dev/null", *options])

    def failure(self, complaint: str) -> OutsideError:
        """What a failed command means for people: refused (somebody must look), or not answering (it is retried)."""
        said = self._redact("; ".join(_telling(complaint)[-_SHOWN_LINES:])) or "no reason given"
        where = f"projects.{self.project}.remote"
        if _OTHER_KEY.search(complaint):
            return self._another_key(complaint)
        if _REFUSALS.search(complaint):
            return OutsideError(
                f"{self.host} refuses access to {self.project}: {said}",
                hint=f"Check `{where}` and the `token_file` or `deploy_key_file` beside it.",
                code="git-refused",
            )
        return OutsideError(
            f"Reading {self.project} from {self.host} failed: {said}",
            hint="It is tried again by itself.",
            code="git-unreachable",
        )

    def _another_key(self, complaint: str) -> OutsideError:
        """Nobody refuses us: it is we who do not know whom we talk to."""
        found = _OFFENDING.search(complaint)
        file = found["file"] if found else str(self.known_hosts)
        port = self._parts.port if "://" in self.url else None
        name = f"[{self.host}]:{port}" if port not in (None, _SSH_PORT) else self.host
        return OutsideError(
            f"Nothing of {self.project} is read: {self.host} shows another SSH host key than the one in {file}.",
            hint=f"Compare it with what {self.host} publishes. If it is right, run as the owner of that file"
            f" (`runuser -u USER --`): `ssh-keygen {shlex.join(['-R', name, '-f', file])}`.",
            code="git-host-key",
        )

    def silent(self, seconds: float) -> OutsideError:
        """The remote took longer than `limits.fetch_timeout_s` allows."""
        return OutsideError(
            f"{self.host} did not answer for {self.project} within {seconds:g} s.",
            hint="It is tried again by itself; a very large repository may need a higher `limits.fetch_timeout_s`.",
            code="git-timeout",
        )

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    def authorization(self) -> str:
        """The header that carries the token over HTTP; "" without one."""
        if self.token is None or self._parts.scheme not in ("http", "https"):
            return ""
        pair = f"{self.username}:{self.token.reveal()}"
        return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"

    def _local_path(self) -> str:
        if "://" in self.url:
            return unquote(self._parts.path) if self._parts.scheme == "file" else ""
        return "" if _SCP.match(self.url) else self.url

    def _redact(self, text: str) -> str:
        if self.token is not None:
            text = text.replace(self.token.reveal(), "***")
        return _USERINFO.sub("***@", text)  # a server may redirect to a URL that holds a password


def branch_is_missing(complaint: str) -> bool:
    """Whether the remote answered and has no such ref. Lines of the remote itself start with `remote:`."""
    return any(line.startswith("fatal: couldn't find remote ref") for line in _lines(complaint))


def _telling(complaint: str) -> list[str]:
    """The lines that say why, without progress and without advice."""
    lines = _lines(complaint)
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "ERROR", "remote: ERROR"))]
    return telling or lines[-1:]


def _lines(complaint: str) -> list[str]:
    return [line.strip() for line in re.split(r"[\r\n]+", complaint) if line.strip()]


def _quote(value: str) -> str:
    """A value as git-config(1) wants it between double quotes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


_SSH = [
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=3",
    "-oStrictHostKeyChecking=accept-new",
    "-oForwardAgent=no",
    "-oClearAllForwardings=yes",
    "-oPermitLocalCommand=no",
]

# Hooks, monitors, filters, submodules, helpers and automatic repacking: all off. `tar.umask` makes an archive's
# modes those of a checkout, so that an image built from it is the one that a laptop builds.
_FIXED = """\
[core]
	hooksPath = /dev/null
	fsmonitor = false
	attributesFile = /dev/null
	excludesFile = /dev/null
	quotePath = false
[credential]
	helper =
[protocol]
	allow = never
[protocol "http"]
	allow = always
[protocol "https"]
	allow = always
[protocol "ssh"]
	allow = always
[protocol "file"]
	allow = always
[http]
	lowSpeedLimit = 1000
	lowSpeedTime = {low_speed_s}
	followRedirects = initial
[fetch]
	recurseSubmodules = false
	writeCommitGraph = false
[submodule]
	recurse = false
[gc]
	auto = 0
	autoDetach = false
	packRefs = false
	writeCommitGraph = false
[maintenance]
	auto = false
[advice]
	detachedHead = false
[tar]
	umask = 0022
[user]
	name = Butai
	email = butai@localhost
"""
