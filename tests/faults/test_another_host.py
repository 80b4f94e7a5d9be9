"""The host is started again, or gone and the next one has its state volume: what was served is served again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.samples import page, tiny
from tests.support.theatre import Theatre

_COPIED = "    develop: {watch: [{action: sync, path: ./www, target: /www}]}\n"
_HELD = """\
    tmpfs: ['/held']
    healthcheck: {test: ['CMD', 'test', '-e', '/held/go'], interval: 1s, retries: 60}
"""


def test_after_a_reboot_and_on_another_host_with_the_state_volume_everything_that_was_wanted_comes_back(
    another_theatre: BuildTheatre,
) -> None:
    """Each came to be in another way, and hardly one is what a fresh deployment of its branch would serve."""
    theatre = another_theatre(projects=("tiny",), limits={"poll_interval_s": 0.3})
    theatre.push("tiny", "synced", tiny(service=_COPIED))
    theatre.push("tiny", "held", tiny(service=_HELD))
    for branch in ("asleep", "broken", "pinned"):
        theatre.push("tiny", branch, page(branch))
    theatre.agent.send("/environments", {"branch": "held", "project": "tiny"})
    _deploy(theatre, "asleep", "broken", "pinned", "synced")
    _let_go(theatre)
    eventually(lambda: theatre.phase("tiny", "held") == "ready", 60, pause_s=0.1)
    theatre.agent.send("/environments/asleep/sleep")
    theatre.agent.send("/environments/pinned/pin")
    theatre.push("tiny", "pinned", page("too new"))
    theatre.push("tiny", "broken", {"Dockerfile": "FROM busybox:1.37\nRUN exit 3\n"})
    theatre.push("tiny", "synced", page("only in the container"))
    eventually(lambda: "synced 1 file to web" in theatre.last("tiny", "synced")["done"], 20, pause_s=0.1)
    eventually(lambda: _tells_its_revision(theatre, "synced"), 20, pause_s=0.1)
    theatre.failure("tiny", "broken")
    eventually(lambda: theatre.agent.visit("asleep").status_code == 503, 20, pause_s=0.1)
    before = _served(theatre)

    _starts_again(theatre, _every_container_ends)
    eventually(lambda: _says_that_it_starts(theatre), 20, pause_s=0.05)
    _let_go(theatre)
    eventually(lambda: _serves(theatre, before), 60, pause_s=0.1)

    _starts_again(theatre, _the_engine_is_a_new_one)
    _let_go(theatre)
    eventually(lambda: _serves(theatre, before), 60, pause_s=0.1)
    eventually(lambda: _is_calm(theatre), 30, pause_s=0.1)
    assert before["synced"][:2] == (200, "only in the container\n")
    assert theatre.agent.containers("asleep") == [], "nobody asked for it"


def _starts_again(theatre: Theatre, disaster: Callable[[Theatre], None]) -> None:
    """The host does, or another one with the same state: the kernel's mark of its boot differs."""
    theatre.agent.kill9()
    disaster(theatre)
    (theatre.agent.state_dir / "boot-id").write_text("of another boot\n")
    theatre.agent.launch()
    theatre.agent.wait_until_ready()


def _every_container_ends(theatre: Theatre) -> None:
    running = [one["Id"] for one in theatre.agent.all_containers() if one["State"] == "running"]
    with ThreadPoolExecutor() as pool:
        list(pool.map(theatre.agent.docker.api.kill, running))


def _the_engine_is_a_new_one(theatre: Theatre) -> None:
    theatre.agent.remove_objects()
    assert theatre.agent.objects() == []


def _deploy(theatre: Theatre, *branches: str) -> None:
    """Side by side, as one after the other takes long."""
    for branch in branches:
        theatre.agent.send("/environments", {"branch": branch, "project": "tiny"})
    for branch in branches:
        eventually(lambda one=branch: theatre.phase("tiny", one) == "ready", 60, pause_s=0.1)


def _let_go(theatre: Theatre) -> None:
    """The branch `held` takes as long to start as we like."""

    def done() -> bool:
        running = [one["Id"] for one in theatre.agent.containers("held") if one["State"] == "running"]
        for one in running:
            execution = theatre.agent.docker.api.exec_create(one, ["touch", "/held/go"])
            theatre.agent.docker.api.exec_start(execution["Id"])
        return bool(running)

    eventually(done, 60, pause_s=0.1)


def _says_that_it_starts(theatre: Theatre) -> bool:
    answer = theatre.agent.visit("held")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "3"), answer.text
    return True


def _served(theatre: Theatre) -> dict[str, tuple[int, str, str]]:
    """Status, page and revision of everything on stage."""
    answers = {branch: theatre.agent.visit(branch) for _, branch in theatre.on_stage()}
    return {
        branch: (answer.status_code, answer.text, answer.headers.get("X-Butai-Revision", ""))
        for branch, answer in answers.items()
    }


def _serves(theatre: Theatre, before: dict[str, tuple[int, str, str]]) -> bool:
    assert _served(theatre) == before
    return True


def _tells_its_revision(theatre: Theatre, branch: str) -> bool:
    """A push that is only copied is live first, and the header follows."""
    return bool(theatre.agent.visit(branch).headers["X-Butai-Revision"] == theatre.last("tiny", branch)["revision"])


def _is_calm(theatre: Theatre) -> bool:
    shown = [theatre.shown("tiny", branch) for _, branch in theatre.on_stage()]
    assert all(one["plan"]["converged"] for one in shown), [one["plan"]["text"] for one in shown]
    return True
