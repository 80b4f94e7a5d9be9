"""What goes wrong leaves the last good version serving, says why to everybody who asked, and is put right by a push."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.eventually import eventually
from tests.support.samples import page, tiny
from tests.support.theatre import LIVE, Files, Theatre

GOOD = tiny()


@dataclass(frozen=True)
class Defect:
    """One thing a push can break: `says` is in the reason, `service` is to blame, `log` is among its last lines."""

    files: Files
    says: str
    service: str = ""
    log: str = ""


def compose(rest: str) -> Files:
    return {"compose.yaml": f"services:\n  web:\n    build: .\n    ports: ['8080']\n{rest}"}


DEFECTS = {
    "a-dockerfile-that-does-not-build": Defect(
        {"Dockerfile": "FROM busybox:1.37\nRUN echo compiling && no-such-compiler\n"},
        says="no-such-compiler",
        service="web",
        log="no-such-compiler: not found",
    ),
    "a-dockerfile-with-a-syntax-error": Defect(
        {"Dockerfile": "FROM busybox:1.37\nCOYP www /www\n"}, says="COYP", service="web"
    ),
    "an-unhealthy-service": Defect(
        compose("    healthcheck: {test: ['CMD', 'false'], interval: 1s, retries: 1}\n"),
        says="unhealthy",
        service="web",
    ),
    "a-service-that-exits": Defect(
        compose("    command: sh -c 'echo cannot find the settings; exit 3'\n"),
        says="exits again and again",
        service="web",
        log="cannot find the settings",
    ),
    "no-entry-service": Defect(
        compose("  admin:\n    build: .\n    ports: ['8080']\n"),
        says="admin",
    ),
    "a-field-that-is-refused": Defect(compose("    privileged: true\n"), says="privileged", service="web"),
    "a-compose-file-that-is-no-yaml": Defect({"compose.yaml": "services: [\n"}, says="compose.yaml"),
    "no-compose-file": Defect({"README": "gone\n"}, says="compose"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_bad_push_leaves_the_good_version_serving_and_says_why(theatre: Theatre, name: str) -> None:
    defect = DEFECTS[name]
    theatre.push("tiny", name, page("good"))
    theatre.agent.person().types(f"deploy {name} in tiny")
    theatre.said(name, LIVE.search)
    slug = theatre.slug("tiny", name)
    good = theatre.agent.visit(slug).headers["X-Butai-Revision"]

    deleted = ["compose.yaml"] if name == "no-compose-file" else []
    theatre.push("tiny", name, {**page("never seen"), **defect.files}, delete=deleted, message="Break it")
    last = theatre.failure("tiny", name)

    failure = last["failure"]
    told = "\n".join((failure["message"], failure["hint"], *failure["log_tail"]))
    assert defect.says in told
    assert failure["service"] == defect.service
    assert not defect.log or any(defect.log in line for line in failure["log_tail"]), failure["log_tail"]
    answer = theatre.agent.visit(slug)
    assert (answer.status_code, answer.text) == (200, "good\n")
    assert answer.headers["X-Butai-Revision"] == good
    message = theatre.said(name, lambda text: "could not be updated" in text)
    assert defect.says in message.text
    assert "Break it" in message.text, "whose commit it was"
    assert "still serves" in message.text
    shown = theatre.agent.cli("show", name, "--project", "tiny").stdout
    assert defect.says in shown
    assert good[:10] in shown


def test_the_push_that_puts_it_right_is_live_again(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "mended", page("good"))
    theatre.push("tiny", "mended", {**page("broken"), **DEFECTS["a-dockerfile-that-does-not-build"].files})
    theatre.failure("tiny", "mended")

    theatre.push("tiny", "mended", {**page("mended"), "Dockerfile": GOOD["Dockerfile"]})

    theatre.shows(slug, "mended")
    eventually(lambda: theatre.phase("tiny", "mended") == "ready", 20)
    eventually(lambda: theatre.shown("tiny", "mended")["plan"]["converged"], 20)


def test_a_failed_push_is_not_tried_again_and_again(theatre: Theatre) -> None:
    theatre.stage("tiny", "told-once", page("good"))
    theatre.push("tiny", "told-once", DEFECTS["a-field-that-is-refused"].files)
    failed = theatre.failure("tiny", "told-once")

    asked = len(theatre.git.requests)
    theatre.push("tiny", "something-else", page("unrelated"))
    theatre.deploy("tiny", "something-else")

    assert len(theatre.git.requests) > asked
    assert theatre.last("tiny", "told-once")["id"] == failed["id"]


def test_an_operator_can_allow_what_was_refused(theatre: Theatre) -> None:
    """The refusal names the setting; taking it up needs neither a restart nor a push."""
    theatre.push("tiny", "needs-a-cap", compose("    cap_add: [SYS_PTRACE]\n"))
    done = theatre.agent.cli("deploy", "needs-a-cap", "--project", "tiny", check=False)
    assert done.returncode == 1
    assert "allow.capabilities" in done.stderr

    theatre.agent.configure(projects={"tiny": {"allow": {"capabilities": ["SYS_PTRACE"]}}})

    theatre.shows("needs-a-cap", "one")
