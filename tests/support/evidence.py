"""What explains a failure, in one folder: log, database, plans, containers and their logs, routes, Slack."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.agentd import INSTANCE_LABEL, Agentd

OUTPUT_DIR = Path(__file__).resolve().parents[2] / "test-output"


def keep(agent: Agentd, folder: Path) -> None:
    """Copy all of it; the agent goes on as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (agent.log_path, agent.config_path, *agent.state_dir.glob("butai.db*")):
        if path.exists():
            shutil.copy2(path, folder)
    for name in ("edge/routes", "logs"):
        if (agent.state_dir / name).is_dir():
            shutil.copytree(agent.state_dir / name, folder / name, dirs_exist_ok=True)
    if agent.slack is not None:
        lines = [f"{one.channel} {one.ts} {edit}" for one in agent.slack.messages for edit in one.edits]
        (folder / "slack.txt").write_text("\n".join(lines), encoding="utf-8")
    _keep_docker(agent, folder)
    if agent.running:
        _keep_answers(agent, folder)


def _keep_docker(agent: Agentd, folder: Path) -> None:
    mine = ("--filter", f"label={INSTANCE_LABEL}={agent.instance}")
    _keep_output(folder / "docker-ps.txt", ["docker", "ps", "--all", "--no-trunc", *mine])
    _keep_output(folder / "docker-networks.txt", ["docker", "network", "ls", *mine])
    for container in agent.all_containers():
        name = container["Names"][0].lstrip("/")
        _keep_output(folder / f"log-{name}.txt", ["docker", "logs", "--tail", "500", container["Id"]])


def _keep_answers(agent: Agentd, folder: Path) -> None:
    """What the agent itself says, by its API: a program for each answer would take minutes with forty environments."""
    for name, path in (("list", "/environments"), ("events", "/events")):
        _keep_answer(agent, folder / f"{name}.json", path)
    for environment in _suspects(agent):
        slug = environment["environment"]["slug"]
        _keep_answer(agent, folder / f"show-{slug}.json", f"/environments/{slug}")


def _suspects(agent: Agentd) -> list[dict[str, Any]]:
    """Those that are not well, and the newest: to look at each of forty would take longer than the test."""
    try:
        found = agent.ask("/environments")["environments"]
    except (AssertionError, httpx.TransportError):
        return []
    unwell = [one for one in found if (one["deployment"] or {}).get("phase") != "ready"]
    newest = sorted(found, key=lambda one: str(one["environment"]["created_at"]))[-2:]
    return [*unwell[:5], *(one for one in newest if one not in unwell)]


def _keep_answer(agent: Agentd, path: Path, question: str) -> None:
    try:
        answer = json.dumps(agent.ask(question), indent=1)
    except (AssertionError, httpx.TransportError) as error:
        answer = repr(error)
    path.write_text(answer, encoding="utf-8")


def _keep_output(path: Path, argv: Sequence[str]) -> None:
    with path.open("wb") as file, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=30, check=False)
