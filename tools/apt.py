"""What this machine's apt knows: its mirrors, read at run time, so that no host name is ever written down here.

Understands both the deb822 format (`*.sources`) and the one-line format (`*.list`).
"""

import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tools.console import SetupError, call, work

APT_DIR = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
LOW_PRIORITY = 100
HIGH_PRIORITY = 600
# Settings that a build inside an image needs as much as the host does: proxies, and mirrors with old signatures.
SHARED_SETTINGS = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One apt source: where, which suites, which components, and the key that signs them."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


def parse_deb822(text: str) -> tuple[Source, ...]:
    """Read `*.sources` text; entries that are disabled or only name source packages are left out."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", "\n".join(lines), flags=re.MULTILINE))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no":
            continue
        found += [
            Source(
                uri=uri.rstrip("/"),
                suites=tuple(fields.get("Suites", "").split()),
                components=tuple(fields.get("Components", "").split()),
                signed_by=fields.get("Signed-By", ""),
            )
            for uri in fields.get("URIs", "").split()
        ]
    return tuple(found)


def parse_list(text: str) -> tuple[Source, ...]:
    """Read `*.list` text, one source a line."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>[^#]*)", line)
        if match is None:
            continue
        signed = re.search(r"signed-by=(\S+)", match["options"] or "")
        found.append(
            Source(
                uri=match["uri"].rstrip("/"),
                suites=(match["suite"],),
                components=tuple(match["rest"].split()),
                signed_by=signed[1] if signed else "",
            )
        )
    return tuple(found)


def configured_sources(apt_dir: Path = APT_DIR) -> tuple[Source, ...]:
    """Every source of this machine, in the order in which apt reads the files; our own file is not among them."""
    files = [apt_dir / "sources.list", *sorted((apt_dir / "sources.list.d").glob("*"))]
    found: list[Source] = []
    for path in files:
        if not path.is_file() or path.name.startswith("butai-"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += parse_deb822(text) if path.suffix == ".sources" else parse_list(text)
    return tuple(found)


def mirror_of(sources: Iterable[Source], suite: str) -> Source | None:
    """Return the source that serves `suite` with its `main` component, or None."""
    return next((each for each in sources if suite in each.suites and "main" in each.components), None)


def os_release(path: Path = OS_RELEASE) -> dict[str, str]:
    """Read the machine's name and release; empty where there is no such file."""
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


def sources_text(source: Source, suites: Iterable[str]) -> str:
    """Say in deb822 where `suites` are, on the same mirror as `source`."""
    fields = {"Types": "deb", "URIs": source.uri, "Suites": " ".join(suites), "Components": "main"}
    if source.signed_by:
        fields["Signed-By"] = source.signed_by
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def pin_text(suite: str, packages: Iterable[str]) -> str:
    """Prefer `suite` for `packages` only, so that nothing else on the machine is ever upgraded to it."""
    return (
        f"Package: *\nPin: release n={suite}\nPin-Priority: {LOW_PRIORITY}\n\n"
        f"Package: {' '.join(packages)}\nPin: release n={suite}\nPin-Priority: {HIGH_PRIORITY}\n"
    )


def shared_settings() -> str:
    """Return the apt settings of this machine that an image must share, as an apt.conf file."""
    printed = call(["apt-config", "dump", *SHARED_SETTINGS]).stdout
    return "".join(f"{line}\n" for line in printed.splitlines() if re.search(r'"[^"]+";$', line))


def update(topic: str) -> None:
    """Refresh apt's package lists."""
    work(topic, "refreshing apt's package lists", ["apt-get", "update", "-q"], env=_environment())


def install(topic: str, packages: Iterable[str]) -> None:
    """Install Debian packages without their recommendations; needs root."""
    names = sorted(packages)
    if os.geteuid() != 0:
        raise SetupError(f"Debian packages are missing: {' '.join(names)}. Run as root, or install them yourself.")
    argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *names]
    work(topic, f"installing Debian packages: {' '.join(names)}", argv, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
