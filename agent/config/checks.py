"""What a single value must look like: each check returns quietly or raises UnfitError with the reason."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from agent.model.names import Hostname

LONGEST_INSTANCE = 12  # `<instance>-<slug>-<service>-<n>` must stay one DNS label of 63 characters

_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([0-9]{1,9})([bkmg])", re.ASCII)
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:\s-][^\s]*", re.ASCII)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_RESERVED_VARIABLES = ("BUTAI_", "COMPOSE_", "DOCKER_", "LD_")


class UnfitError(ValueError):
    """A value that cannot be used: the reason, and the next thing to do where there is one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def fits(pattern: str, what: str, hint: str = "") -> Callable[[str], None]:
    """The whole text is `what`, as `pattern` (ASCII) says."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> None:
        if not compiled.fullmatch(text):
            raise UnfitError(f"is not {what}", hint)

    return check


def between(low: float, high: float) -> Callable[[float], None]:
    """The number lies in the closed range."""

    def check(number: float) -> None:
        if not math.isfinite(number) or not low <= number <= high:
            raise UnfitError(f"must be between {low:g} and {high:g}")

    return check


def or_empty(check: Callable[[str], None]) -> Callable[[str], None]:
    """`check`, for a setting whose empty text has a meaning."""

    def checked(text: str) -> None:
        if text:
            check(text)

    return checked


instance = fits(
    rf"[a-z0-9]([a-z0-9-]{{0,{LONGEST_INSTANCE - 2}}}[a-z0-9])?",
    f"a name of 1 to {LONGEST_INSTANCE} lower-case letters, digits and hyphens",
)
project_name = fits(
    r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
    "a project's name: 1 to 40 lower-case letters, digits and hyphens",
)
service = fits(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", "the name of a service or profile of a compose file")
image = fits(r"[a-z0-9][a-zA-Z0-9._/:@-]*", "an image reference such as busybox:1.37")
name = fits(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", "a name: letters, digits, dots, hyphens and underscores")
capability = fits(r"[A-Z][A-Z0-9_]*", "a capability such as SYS_PTRACE", "Write it in capitals, without CAP_.")
slack_id = fits(r"[A-Z][A-Z0-9]+", "a Slack id such as U012AB3CD", "Names can be changed by anyone; ids cannot.")
zone = fits(
    r"[A-Z0-9]{1,32}",
    "the id of a hosted zone such as Z0123456789ABCDEFGHIJ",
    "`aws route53 list-hosted-zones` shows them; leave /hostedzone/ out.",
)
role = fits(
    r"arn:aws[a-z-]*:iam::[0-9]{12}:role/([\x21-\x7e]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,64}",
    "the ARN of a role such as arn:aws:iam::123456789012:role/shop-staging",
    "`aws iam list-roles` shows them.",
)
region = fits(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", "a region such as eu-west-1")
email = fits(r"[^@\s]{1,64}@([a-z0-9-]+\.)+[a-z0-9-]+", "an e-mail address such as ops@example.com")
network_location = fits(r"[a-z0-9.-]+(:[0-9]{1,5})?", "a host name")


def domain(text: str) -> None:
    """A DNS name that has room for a label in front of it."""
    if text.startswith("*."):
        raise UnfitError("must be the domain itself", f'Write "{text[2:].lower()}": the wildcard is understood.')
    if text != text.lower():
        raise UnfitError("must be in lower case", f'Write "{text.lower()}".')
    if "/" in text or ":" in text:
        raise UnfitError("must be a domain only, without scheme, port or path")
    try:
        Hostname(f"{'x' * 63}.{text}")
    except ValueError:
        raise UnfitError("is not a domain such as staging.example.com") from None
    if text.rpartition(".")[2].isdigit():
        raise UnfitError("is an address, and addresses have no subdomains", "Use a domain with a wildcard record.")


def dns_name(text: str) -> None:
    """A name with at least one dot, in lower case, without the final one."""
    try:
        Hostname(text)
    except ValueError:
        raise UnfitError("is not a DNS name in lower case") from None


def address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise UnfitError("is not an IP address such as 127.0.0.1") from None


def address_pool(text: str) -> None:
    """An IPv4 network without host bits, at least a /24 in size."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise UnfitError("is not an IPv4 network such as 10.200.0.0/16") from None
    if str(network) != text:
        raise UnfitError("is not the first address of a network", f'Did you mean "{network}"?')
    if not 8 <= network.prefixlen <= 24:
        raise UnfitError("must be between a /8 and a /24")


def web_url(text: str) -> None:
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise UnfitError("is not a URL such as https://example.com/")


def authority(text: str) -> None:
    """One of the two that Let's Encrypt has, or the address of another authority's directory (RFC 8555 wants TLS)."""
    if text in ("production", "staging"):
        return
    parts = _split(text)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise UnfitError('is neither "production" nor "staging" nor a URL that starts with https://')


def engine(text: str) -> None:
    parts = _split(text)
    is_socket = parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc
    if not is_socket and not (parts.scheme == "tcp" and parts.hostname):
        raise UnfitError("is not an engine's address such as unix:///var/run/docker.sock")


def size(text: str) -> None:
    if not _SIZE.fullmatch(text) or size_bytes(text) < 4 * 1024**2:
        raise UnfitError("is not a size from 4m up", 'Write a whole number and a unit: "512m" or "2g".')


def size_bytes(text: str) -> int:
    """ "256m" in bytes; units are powers of 1024, as Docker has it."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def remote(text: str) -> None:
    """HTTP(S), SSH in both spellings, file:// or an absolute path; nothing that git would run or take as an option.

    git's `ext::` transport runs any command, and a host that starts with a hyphen becomes an option of
    ssh (CVE-2017-1000117).
    """
    if _SCP.fullmatch(text) or (text.startswith("/") and not re.search(r"\s", text)):
        return
    parts = _split(text)
    host = parts.hostname or ""
    if "::" in text or parts.scheme not in ("http", "https", "ssh", "file") or re.search(r"\s", text):
        raise UnfitError("is not a remote", "Use https://…, ssh://…, git@host:path, file:///path or /path.")
    if parts.password is not None or (parts.username is not None and parts.scheme in ("http", "https")):
        raise UnfitError(
            "must not hold a user or a password", "Put the token into a file: `token_file`; its user is `username`."
        )
    if parts.scheme == "file":
        if host or not parts.path.startswith("/"):
            raise UnfitError("must be file:// and an absolute path: three slashes in a row")
    elif not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", host) or parts.path in ("", "/"):
        raise UnfitError("must name a host and a repository")
    elif parts.username is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", parts.username):
        raise UnfitError("holds an unusable user name")


def hostname_template(text: str) -> None:
    """`{branch}`, perhaps `{project}`, and letters, digits and hyphens around them."""
    unknown = [found for found in _PLACEHOLDER.findall(text) if found not in ("branch", "project")]
    if unknown:
        raise UnfitError(f"has an unknown placeholder {{{unknown[0]}}}", "There are {branch} and {project}.")
    if "{branch}" not in text:
        raise UnfitError("must hold {branch}: else all branches would want one name")
    if not re.fullmatch(r"[a-z0-9-]*", _PLACEHOLDER.sub("", text), re.ASCII):
        raise UnfitError("may hold lower-case letters, digits and hyphens beside {branch} and {project}")


def inner_path(text: str) -> None:
    """A path inside the repository."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or text.startswith(("-", "~")):
        raise UnfitError("must be a path inside the repository")


def variable(text: str) -> None:
    """A name that may be set for compose files: not one that steers Compose, Docker, the linker or us."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
        raise UnfitError("is not the name of a variable")
    if text.startswith(_RESERVED_VARIABLES) or text in ("PATH", "HOME"):
        raise UnfitError("is a name that steers Compose, Docker or Butai itself", "Choose another one.")


def branch(text: str) -> None:
    if not re.fullmatch(r"[^\s~^:?*\[\\-][^\s~^:?*\[\\]*", text):
        raise UnfitError("is not the name of a branch")


def pattern(text: str) -> None:
    if not text.removeprefix("!") or re.search(r"[\s~^:\\]", text):
        raise UnfitError("is not a pattern of branches such as feature/*")


def printable(text: str) -> None:
    if not text.isprintable():
        raise UnfitError("holds a control character")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise UnfitError("is not a URL") from None
    return parts
