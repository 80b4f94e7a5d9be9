"""Puts what a staging host needs into Docker's daemon.json without ever changing what is there; `install.sh` runs it.

It runs before anything else is installed, by the python3 of the host: only the standard library, and nothing newer
than Python 3.9, which is what Amazon Linux 2023 has. Hence here, and not in the agent.

Ends with status 0 when nothing is missing (or all of it was written), 3 when something would be written, and 1 when
what is there contradicts it: then nothing was touched, and each line on standard error says what to decide.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

CHANGES, CONFLICT = 3, 1
LOG_LIMITS = {"max-size": "20m", "max-file": "5"}  # strings: a number stops dockerd from starting
POOLS = [{"base": "10.201.0.0/16", "size": 26}]
AGENT_POOL = "10.200.0.0/16"
# defaultKeepStorage, which most advice names, is a floor that is kept, and bounds nothing.
CACHE = {"defaultReservedSpace": "5GB", "defaultMaxUsedSpace": "20GB", "defaultMinFreeSpace": "15GB"}
_LIMITED_BY_SIZE = ("json-file", "local")
# A directive that is a flag of dockerd and in the file, too, stops dockerd from starting.
_FLAGS = {
    "live-restore": "--live-restore",
    "log-driver": "--log-driver",
    "log-opts": "--log-opt",
    "default-address-pools": "--default-address-pool",
}
_FLAG_FILES = ("etc/sysconfig/docker", "etc/default/docker")

Table = dict[str, Any]


class Conflict(Exception):
    """What is there contradicts what is needed; one sentence each."""


def merge(present: Table, agent_pool: str = AGENT_POOL) -> tuple[Table, list[str]]:
    """The settings with what was missing, and a line for each thing that was. Raises Conflict, with every one found."""
    merged = json.loads(json.dumps(present))
    added: list[str] = []
    conflicts: list[str] = []
    for part in (_live_restore, _logs, _build_cache):
        part(merged, added, conflicts)
    _pools(merged, added, conflicts, agent_pool)
    if conflicts:
        raise Conflict("\n".join(conflicts))
    return merged, added


def _live_restore(merged: Table, added: list[str], conflicts: list[str]) -> None:
    if merged.get("live-restore", True) is not True:
        conflicts.append(
            '"live-restore" is not true: each restart of Docker would stop every environment.'
            " Remove it or set it to true (a swarm cannot have it: give the agent a host of its own)."
        )
    _add(merged, "live-restore", True, added)


def _logs(merged: Table, added: list[str], conflicts: list[str]) -> None:
    """A driver that somebody chose stays, and so do their options; files get a limit where they have none."""
    options = merged.get("log-opts", {})
    if not isinstance(options, dict):
        conflicts.append('"log-opts" is not a table: Docker would not start. Write {"max-size": "20m"}.')
        return
    if "log-driver" not in merged and not options:
        _add(merged, "log-driver", "local", added)
    if merged.get("log-driver", "json-file") not in _LIMITED_BY_SIZE:
        return  # kept elsewhere, for example in the journal
    if str(options.get("max-size", "")).startswith("-"):
        conflicts.append('"log-opts" has "max-size": "-1": logs would fill the disk. Remove it or write "20m".')
    bad = sorted(name for name, value in options.items() if not isinstance(value, str))
    if bad:
        conflicts.append(f'"log-opts" has values that are no strings ({", ".join(bad)}): Docker would not start.')
    for name, value in LOG_LIMITS.items():
        if name not in options:
            merged.setdefault("log-opts", {})[name] = value
            added.append(f'"log-opts": "{name}": {json.dumps(value)}')


def _build_cache(merged: Table, added: list[str], conflicts: list[str]) -> None:
    builder = merged.get("builder", {})
    collector = builder.get("gc", {}) if isinstance(builder, dict) else None
    if not isinstance(collector, dict):
        conflicts.append('"builder" or its "gc" is not a table: Docker would not start.')
        return
    if collector.get("enabled", True) is not True:
        conflicts.append('"builder": "gc" is switched off: the build cache would fill the disk. Remove "enabled".')
    if "policy" in collector:
        return  # rules of their own, beside which the defaults count for nothing
    collector = merged.setdefault("builder", {}).setdefault("gc", {})
    for name, value in {"enabled": True, **CACHE}.items():
        if name == "defaultReservedSpace" and "defaultKeepStorage" in collector:
            continue  # its older name
        if name not in collector:
            collector[name] = value
            added.append(f'"builder": "gc": "{name}": {json.dumps(value)}')


def _pools(merged: Table, added: list[str], conflicts: list[str], agent_pool: str) -> None:
    if "default-address-pools" in merged:
        try:
            bases = [IPv4Network(pool["base"]) for pool in merged["default-address-pools"] if ":" not in pool["base"]]
        except (TypeError, KeyError, ValueError):
            conflicts.append('"default-address-pools" is not a list of {"base": "10.201.0.0/16", "size": 26}.')
            return
        for base in bases:
            if base.overlaps(IPv4Network(agent_pool)):
                conflicts.append(
                    f'"default-address-pools" has {base}, which overlaps the agent\'s {agent_pool}: others would take'
                    " its addresses. Change the one here, or `address_pool` in the section [docker] of config.toml."
                )
        return
    _add(merged, "default-address-pools", POOLS, added)


def _add(merged: Table, name: str, value: Any, added: list[str]) -> None:
    if name not in merged:
        merged[name] = value
        added.append(f'"{name}": {json.dumps(value)}')


def read(path: Path) -> Table:
    """What the file says; nothing where there is none. Raises Conflict when it is not what Docker reads."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise Conflict(f"It is not JSON ({error}): Docker would not start. Mend it or move it away.") from error
    if not isinstance(found, dict):
        raise Conflict("It is not a JSON object: Docker would not start. Mend it or move it away.")
    return found


def clashing_flags(root: Path, wanted: Table, present: Table) -> list[str]:
    """One sentence for each directive that would be added to the file and is given to dockerd as a flag already."""
    found = []
    for name in _FLAG_FILES:
        path = root / name
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        for key, flag in _FLAGS.items():
            if flag in text and key in wanted and key not in present:
                found.append(f'/{name} has {flag}, and Docker refuses "{key}" twice: move it from there to the file.')
    return found


def write(path: Path, settings: Table, now: float | None = None) -> Path | None:
    """Put the settings in place, whole or not at all, and return where the file from before is kept, if there was one.

    Raises Conflict when the engine of this host would not start with them.
    """
    path = path.resolve()  # somebody's symbolic link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    beside.chmod(0o644)
    try:
        _validate(beside)
    except Conflict:
        beside.unlink()
        raise
    backup = None
    if path.exists():
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        backup = path.with_name(f"{path.name}.before-butai-{stamp}")
        shutil.copy2(str(path), str(backup))
        shutil.copymode(str(path), str(beside))
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    return backup


def _validate(path: Path) -> None:
    program = shutil.which("dockerd")
    if program is None:
        return  # it comes afterwards, and begins with this file
    argv = [program, "--validate", f"--config-file={path}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Conflict(f"Docker refuses it: {done.stderr.strip() or done.stdout.strip()}")


def main(arguments: list[str] | None = None) -> int:
    """Run by install.sh; without --write nothing is changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the host's files begin")
    parser.add_argument("--agent-pool", default=AGENT_POOL, help="docker.address_pool of the agent's settings")
    parser.add_argument("--write", action="store_true", help="write what is missing")
    options = parser.parse_args(arguments)
    path = options.root / "etc/docker/daemon.json"
    try:
        present = read(path)
        merged, added = merge(present, options.agent_pool)
        clashes = clashing_flags(options.root, merged, present)
        if clashes:
            raise Conflict("\n".join(clashes))
        backup = write(path, merged) if added and options.write else None
    except Conflict as conflict:
        for line in str(conflict).splitlines():
            print(f"/etc/docker/daemon.json: {line}", file=sys.stderr)
        return CONFLICT
    for line in added:
        print(f"/etc/docker/daemon.json: {line}")
    if backup:
        print(f"the file from before is {backup}")
    return CHANGES if added and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
