"""What `develop.watch` may ask: files of the repository, copied into its own container.

Nothing here is refused: a rule that cannot be kept is left out with a word, and then its paths are treated as if it
were not there, which at worst rebuilds.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from agent.model.release import WatchAction
from agent.planning.rules import Subject
from agent.planning.tree import Outside


def check_develop(body: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """The `develop:` section with those rules that can be kept; `path` is relative to the root of the repository."""
    rules = [_rule(rule, subject) for rule in body.get("watch") or ()]
    return {"watch": [rule for rule in rules if rule is not None]}


def _rule(rule: Mapping[str, Any], subject: Subject) -> dict[str, Any] | None:
    path = str(rule.get("path", "")).replace("$$", "$")
    shown = posixpath.relpath(path, subject.rules.root)
    try:
        place = subject.rules.place(path)
    except Outside as reason:
        problem = str(reason)
    else:
        problem = _problem(rule)
    if not problem:
        return {**rule, "path": place.path}
    subject.note(f"the `develop.watch` rule for `{shown}` was left out: {problem}.")
    return None


def _problem(rule: Mapping[str, Any]) -> str:
    action, hook = str(rule.get("action", "")), rule.get("exec") or {}
    if action not in tuple(WatchAction):
        return f"`{action}` is not an action that is known here"
    if "sync" in action and not rule.get("target"):
        return "it has no `target`"
    if action == WatchAction.SYNC_EXEC and not hook.get("command"):
        return "it has no command"
    return "a privileged command would hand over the host" if hook.get("privileged") else ""
