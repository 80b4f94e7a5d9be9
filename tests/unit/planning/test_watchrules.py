"""Rules that the Compose of this host may be too old for: they come from the resolved model, so they are read here."""

from __future__ import annotations

from typing import Any

import pytest

from agent.config import Allow
from agent.model.release import ExecHook, WatchAction, WatchRule
from agent.planning.findings import Findings
from agent.planning.policy_watch import check_develop
from agent.planning.rules import Rules, Subject
from agent.planning.tree import Tree
from agent.planning.watchrules import watch_rules


def read(rule: dict[str, Any], **service: Any) -> tuple[tuple[WatchRule, ...], tuple[str, ...]]:
    """The rule as it is kept, and what is said about it."""
    findings = Findings(lambda subject, field: "", project="shop")
    rules = Rules("/in", Tree({"src/a": "100644"}, lambda path: ""), "butai", "s", "d", Allow(), {})
    checked = check_develop(
        {"watch": [{"path": "/in/src", "target": "/app", **rule}]}, Subject("service web", rules, findings)
    )
    return watch_rules({"build": {"context": "."}, "develop": checked, **service}, findings.note), findings.notices


def test_a_command_is_read_with_its_user_folder_and_variables() -> None:
    hook = {
        "command": ["sh", "-c", "echo $$A"],
        "user": "www",
        "working_dir": "/app",
        "environment": {"A": "1", "B": None},
    }
    assert read({"action": "sync+exec", "exec": hook, "include": ["*.css"]}) == (
        (
            WatchRule(
                "src",
                WatchAction.SYNC_EXEC,
                "/app",
                include=("*.css",),
                exec=ExecHook(("sh", "-c", "echo $A"), "www", "/app", {"A": "1"}),
            ),
        ),
        (),
    )


def test_a_restart_is_kept_for_a_service_that_builds_nothing() -> None:
    assert read({"action": "restart"}, build=None) == ((WatchRule("src", WatchAction.RESTART),), ())


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"action": "teleport"}, "`teleport` is not an action that is known here"),
        ({"action": "sync", "target": ""}, "it has no `target`"),
        ({"action": "sync+exec", "exec": {"command": None}}, "it has no command"),
        (
            {"action": "sync+exec", "exec": {"command": ["a"], "privileged": True}},
            "a privileged command would hand over the host",
        ),
    ],
)
def test_a_rule_that_cannot_be_kept_is_left_out_with_a_word(rule: dict[str, Any], reason: str) -> None:
    assert read(rule) == ((), (f"web: the `develop.watch` rule for `src` was left out: {reason}.",))


@pytest.mark.parametrize(
    ("target", "kept"),
    [("/app/", "/app/"), ("/app/../etc", "/etc"), ("app", "/app"), ("//app", "/app"), ("/", "/"), ("/../..", "/")],
)
def test_a_target_is_absolute_and_plain(target: str, kept: str) -> None:
    ((rule,), _) = read({"action": "sync", "target": target})
    assert rule.target == kept
