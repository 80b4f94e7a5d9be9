"""Raises settings of the kernel, now and at every start of the host: what `butai doctor --fix` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.errors import RequestError

FILE = Path("etc/sysctl.d/60-butai.conf")
MODULES = Path("etc/modules-load.d/60-butai.conf")

_NETFILTER = "net.netfilter.nf_conntrack_"


def raise_to(values: Mapping[str, int], *, root: Path = Path("/")) -> None:
    """Set each in the kernel and write it down; what our file says of others stays. RequestError: only root may.

    The file comes first: a value that the kernel has and the file has not would be gone after the next start.
    """
    path = root / FILE
    try:
        _write(path, _with(path.read_text("utf-8") if path.exists() else "", values))
        if any(name.startswith(_NETFILTER) for name in values):
            _write(root / MODULES, "nf_conntrack\n")  # else there is nothing to set yet when the file is read
        for name, value in values.items():
            (root / "proc/sys" / name.replace(".", "/")).write_text(f"{value}\n", encoding="ascii")
    except OSError as error:
        raise RequestError(
            f"The kernel's settings cannot be raised: {error.strerror or error}.",
            hint="Only root may: `sudo butai doctor --fix`. In a container the host's root must.",
            code="not-root",
        ) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _with(text: str, values: Mapping[str, int]) -> str:
    """The file with these values: a line that sets one of them is replaced."""
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in values]
    head = kept or ["# Raised by `butai doctor --fix`: what a host of many containers needs."]
    return "\n".join([*head, *(f"{name} = {value}" for name, value in sorted(values.items()))]) + "\n"
