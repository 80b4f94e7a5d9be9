"""The agent tells how it fares to those who may know, and its database can be copied while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from agent import config
from agent.planning.edge import agent_address
from agent.store import Store
from tests.support.agentd import NO_TLS, visit
from tests.support.eventually import eventually
from tests.support.samples import page
from tests.support.theatre import Theatre

PATHS = ("/healthz", "/readyz", "/metrics")
# What the figures and the parts are called: none of it may be in an answer to somebody else.
OURS = ("butai_", '"parts"', '"ok"')


@pytest.fixture(scope="module", name="slug")
def slug_fixture(theatre: Theatre) -> Any:
    yield theatre.stage("tiny", "watched-over", page("on stage"))
    theatre.destroy("tiny", "watched-over")


def on_socket(theatre: Theatre, path: str) -> httpx.Response:
    transport = httpx.HTTPTransport(uds=str(theatre.agent.socket_path), verify=NO_TLS)
    with httpx.Client(transport=transport, trust_env=False, timeout=20) as client:
        return client.get(f"http://butai{path}")


def test_whoever_may_use_the_socket_reads_how_the_agent_fares(theatre: Theatre, slug: str) -> None:
    assert on_socket(theatre, "/healthz").status_code == 200
    ready = eventually(lambda: _ready(theatre), 30)
    assert ready is not None
    assert ready["ready"]
    figures = on_socket(theatre, "/metrics").text
    for line in ("butai_engine_up 1", 'butai_ready{part="traefik"} 1', 'butai_disk_free_bytes{place="engine"} '):
        assert f"\n{line}" in figures
    assert '_count{kind="build",result="ready"} ' in figures


def _ready(theatre: Theatre) -> dict[str, Any]:
    answer = on_socket(theatre, "/readyz")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("path", PATHS)
def test_the_internet_reads_none_of_it(theatre: Theatre, slug: str, path: str) -> None:
    for host in (f"butai.{theatre.agent.domain}", theatre.agent.host("nobody"), "127.0.0.1", "localhost"):
        answer = visit(theatre.agent.port, host, path)
        assert answer.status_code == 404, (host, answer.text)
        assert not any(word in answer.text for word in OURS), (host, answer.text)


def test_a_stage_reads_none_of_it(theatre: Theatre, slug: str) -> None:
    address, port = agent_address(config.load(theatre.agent.config_path))
    for path in PATHS:
        fetch = ("wget", "-q", "-T", "3", "-O", "-", f"http://{address}:{port}{path}")
        told = theatre.agent.cli("exec", "watched-over", "--project", "tiny", "--", *fetch, check=False)
        assert told.returncode != 0
        assert not any(word in told.stdout for word in OURS), told.stdout


def test_the_database_is_copied_beside_the_agent_that_uses_it(theatre: Theatre, slug: str, tmp_path: Path) -> None:
    theatre.agent.cli("backup", str(tmp_path / "copy.db"))
    copy = Store.open(tmp_path / "copy.db")
    assert slug in {each.slug for each in copy.environments.all()}
    copy.close()
    assert theatre.agent.running
    made = list((theatre.agent.state_dir / "backups").iterdir())
    assert len(made) == 1, "the first one is made at the start"


def test_a_nearly_full_disk_refuses_what_is_new_and_holds_up_what_is_built(theatre: Theatre, slug: str) -> None:
    care = dict(theatre.agent.settings["care"])
    theatre.push("tiny", "too-late", page("too late"))
    try:
        theatre.agent.configure(care={"min_free_percent": 90})  # no disk of a test machine has that much

        eventually(lambda: "\nbutai_disk_nearly_full 1\n" in on_socket(theatre, "/metrics").text, 20)
        refused = theatre.agent.send("/environments", {"branch": "too-late", "project": "tiny"}, check=False)

        assert refused.status_code == 409
        assert "is nearly full" in refused.json()["detail"]
        assert refused.json()["hint"]
        theatre.push("tiny", "watched-over", page("after all"))
        eventually(lambda: _waits(theatre), 20)
        assert "on stage" in theatre.agent.visit(slug).text
    finally:
        theatre.agent.configure(care=care)
    theatre.shows(slug, "after all", seconds=60)
    assert [event["text"] for event in theatre.agent.ask("/events")["events"] if event["kind"] == "care"]


def _waits(theatre: Theatre) -> bool:
    notices = theatre.last("tiny", "watched-over")["notices"]
    assert any(line.startswith("Waiting: ") and "nearly full" in line for line in notices), notices
    return True
