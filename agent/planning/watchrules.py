"""`develop.watch`: which rules a changed path falls under, and where in the container it belongs.

As Compose does it (pkg/compose/watch.go): every rule that matches counts, not only the first; `ignore` and `include`
are patterns of `.dockerignore` relative to the rule's path; what `.dockerignore` leaves out of the build is under no
rule. One thing differs: what a rule ignores and the image holds is still an input of the build.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from agent.model.release import ExecHook, WatchAction, WatchRule
from agent.planning.mounts import inside

Matches = Callable[[tuple[str, ...], str], bool]  # whether patterns of `.dockerignore` match a relative path

COPYING = (WatchAction.SYNC, WatchAction.SYNC_RESTART, WatchAction.SYNC_EXEC)


def watch_rules(service: Mapping[str, Any], note: Callable[[str], None]) -> tuple[WatchRule, ...]:
    """The rules of a checked service.

    One that runs an image as it is has nothing that its files belong to: only `restart` makes sense there.
    """
    rules = [_rule(body) for body in (service.get("develop") or {}).get("watch") or ()]
    if service.get("build"):
        return tuple(rules)
    kept = tuple(rule for rule in rules if rule.action is WatchAction.RESTART)
    if len(kept) < len(rules):
        note("`develop.watch` was left out: the service has no `build:` whose files could change.")
    return kept


def matching(rules: tuple[WatchRule, ...], path: str, matches: Matches) -> tuple[WatchRule, ...]:
    """Those rules that `path` falls under, in their order."""
    return tuple(rule for rule in rules if _covers(rule, path, matches))


def target_of(rule: WatchRule, path: str) -> str:
    """Where in the container a path under the rule belongs."""
    below = inside(path, rule.path)
    if not below and rule.target.endswith("/"):
        below = posixpath.basename(path)  # one file into a folder
    return posixpath.normpath(posixpath.join(rule.target, below or ""))


def rival(rules: tuple[WatchRule, ...], path: str, target: str, matches: Matches) -> WatchRule | None:
    """A rule that would copy another path to the same target; which one a build puts there nobody can tell here."""
    for rule in rules:
        below = inside(target, rule.target.rstrip("/") or "/")
        if rule.action not in COPYING or below is None:
            continue
        source = rule.path if not below else posixpath.normpath(posixpath.join(rule.path, below))
        if inside(source, path) is not None or inside(path, source) is not None:
            continue  # the same, or a folder where there is a file
        if _covers(rule, source, matches) and target_of(rule, source) == target:
            return rule
    return None


def words(rule: WatchRule) -> str:
    """The rule as it is named in causes."""
    path = rule.path if rule.path == "." else f"./{rule.path}"
    place = f" -> {rule.target}" if rule.action in COPYING else ""
    action = "" if rule.action is WatchAction.SYNC else f" ({rule.action})"
    return f"watch rule {path}{place}{action}"


def _covers(rule: WatchRule, path: str, matches: Matches) -> bool:
    below = inside(path, rule.path)
    if below is None:
        return False
    if rule.include and not (below and matches(rule.include, below)):
        return False
    return not (rule.ignore and below and matches(rule.ignore, below))


def _rule(body: Mapping[str, Any]) -> WatchRule:
    action = WatchAction(body["action"])
    return WatchRule(
        path=str(body["path"]),
        action=action,
        target=_target(_plain(body["target"])) if action in COPYING else "",
        ignore=tuple(_plain(pattern) for pattern in body.get("ignore") or ()),
        include=tuple(_plain(pattern) for pattern in body.get("include") or ()),
        exec=_hook(body["exec"]) if action is WatchAction.SYNC_EXEC else None,
    )


def _target(text: str) -> str:
    """Absolute, as Compose takes it (`/` joined with whatever it is); the final slash stays."""
    path = posixpath.normpath(f"/{text}").replace("//", "/")
    return f"{path}/" if text.endswith("/") and path != "/" else path


def _hook(body: Mapping[str, Any]) -> ExecHook:
    return ExecHook(
        command=tuple(_plain(word) for word in body["command"]),
        user=_plain(body.get("user") or ""),
        working_dir=_plain(body.get("working_dir") or ""),
        environment={
            name: _plain(value) for name, value in (body.get("environment") or {}).items() if value is not None
        },
    )


def _plain(value: object) -> str:
    """What Compose writes with doubled dollars."""
    return str(value).replace("$$", "$")
