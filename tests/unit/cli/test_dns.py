"""`butai dns`: what it shows, how it ends, and what it asks before it takes records over."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.model.dns import Record
from agent.runtime.dns import DnsAnswer
from tests.support.fakes_api import House
from tests.unit.cli.conftest import Run


def test_wanted_and_observed_stand_side_by_side(house: House, run: Run) -> None:
    result = run("dns")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "staging.example.com in zone Z1, belongs to agent theirs",
        "",
        "NAME                   TYPE  WANTED               OBSERVED",
        "*.staging.example.com  A     203.0.113.10 (60 s)  203.0.113.99 (300 s)",
        "staging.example.com    A     -                    alias of lb.example.net",
    ]
    assert result.stderr.splitlines() == ["problem: The records belong to another agent.", "hint: See."]


def test_when_all_is_right_it_says_so(house: House, run: Run) -> None:
    seen = house.dns.seen
    house.dns.seen = replace(seen, owner="ours", observed=seen.wanted, problem=None)
    lines = run("dns").stdout.splitlines()
    assert lines[0] == "staging.example.com in zone Z1, looked after by this agent"
    assert lines[-1] == "Everything is as it should be."


def test_what_other_people_wrote_into_the_zone_steers_no_terminal(house: House, run: Run) -> None:
    house.dns.seen = replace(house.dns.seen, owner="\x1b[2Jx", observed=(Record("a", "A", 1, ("\x1b]0;x\x07",)),))
    assert "\x1b" not in run("dns").stdout


def test_programs_get_everything_as_json(house: House, run: Run) -> None:
    look = json.loads(run("dns", "--json").stdout)
    assert (look["owner"], look["problem"]["code"]) == ("theirs", "dns-foreign")
    assert json.loads(run("dns", "check", "--json").stdout)["ok"] is True


def test_a_wrong_answer_of_a_name_server_is_a_failure(house: House, run: Run) -> None:
    assert run("dns", "check").exit_code == 0
    wrong = DnsAnswer("ns2.example.net", "staging.example.com", "A", (), "should be 203.0.113.10")
    house.dns.answers = (*house.dns.answers, wrong)
    result = run("dns", "check")
    assert result.exit_code == 1
    assert [line.split(maxsplit=3) for line in result.stdout.splitlines()[1:]] == [
        ["ns1.example.net", "staging.example.com", "A", "203.0.113.10  fine"],
        ["ns2.example.net", "staging.example.com", "A", "should be 203.0.113.10"],
    ]


def test_adopting_names_what_will_be_lost_and_wants_a_yes(house: House, run: Run) -> None:
    result = run("dns", "adopt")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "The records of staging.example.com belong to agent theirs and will be replaced:",
        "  *.staging.example.com A 203.0.113.99 (300 s)",
        "  staging.example.com A alias of lb.example.net",
        "error: Nobody is here to confirm.",
        "hint: Add --yes.",
    ]
    assert house.dns.adopted == []


def test_adopting_is_an_event_with_its_caller(house: House, run: Run) -> None:
    result = run("dns", "adopt", "--yes")
    assert result.stdout == "The records of staging.example.com are this agent's now.\n"
    assert len(house.dns.adopted) == 1
    assert house.dns.adopted[0].startswith("unix:")
