"""What explains a failure, in one folder: log, database, plans, containers and their logs, routes, Slack."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.support.agentd import INSTANCE_LABEL, SLUG_LABEL, Agentd

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
    slugs = {container["Labels"].get(SLUG_LABEL, "") for container in agent.all_containers()} - {""}
    for slug in sorted(slugs):
        _keep_answer(agent, folder / f"show-{slug}.json", f"/environments/{slug}")


def _keep_answer(agent: Agentd, path: Path, question: str) -> None:
    try:
        answer = json.dumps(agent.ask(question), indent=1)
    except (AssertionError, httpx.TransportError) as error:
        answer = repr(error)
    path.write_text(answer, encoding="utf-8")


def _keep_output(path: Path, argv: Sequence[str]) -> None:
    with path.open("wb") as file, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=30, check=False)
