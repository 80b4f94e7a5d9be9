"""Which texts can name a branch, which branches somebody may have meant, and which are deployed by themselves."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from agent.errors import RequestError

LONGEST = 255  # characters; GitHub's limit

_BELOW = 0.5  # how alike two names must be to be worth suggesting (difflib's ratio)
_FORBIDDEN = re.compile(r"[ ~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock/")


def check_branch(text: str) -> str:
    """`text` unchanged when git would take it as refs/heads/<text> and no program as an option.

    The rules of git-check-ref-format(1), plus: no leading hyphen, no control characters of any kind, Unicode
    text only. Raises RequestError ("bad-branch") with the reason.
    """
    reason = _refusal(text)
    if reason:
        shown = ascii(text[:60])
        raise RequestError(
            f"{shown} cannot be the name of a branch: {reason}.",
            hint="Give the branch exactly as git shows it, for example feature/login.",
            code="bad-branch",
        )
    return text


def nearest(text: str, names: Iterable[str], limit: int = 5) -> tuple[str, ...]:
    """The names that somebody who typed `text` most likely meant, best first; the first ones when `text` is empty."""
    if not text:
        return tuple(sorted(names)[:limit])
    wanted = text[:LONGEST].casefold()
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    ranked = []
    for name in names:
        rank = _unlikeness(wanted, name.casefold(), matcher)
        if rank is not None:
            ranked.append((rank, len(name), name))
    return tuple(name for _, _, name in sorted(ranked)[:limit])


def matches(patterns: Sequence[str], branch: str) -> bool:
    """Whether `projects.NAME.auto_deploy` wants this branch.

    As on GitHub: `*` is anything but a slash, `**` is anything, a pattern that starts with `!` takes back what
    earlier ones gave. `?` is one character but a slash. Upper and lower case differ, as they do in git.
    """
    wanted = False
    for pattern in patterns:
        takes_back = pattern.startswith("!")
        if re.fullmatch(_expression(pattern.removeprefix("!")), branch, re.DOTALL):
            wanted = not takes_back
    return wanted


def _refusal(text: str) -> str:
    if not text:
        return "it is empty"
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if text.startswith("-"):
        return "it starts with a hyphen, like an option"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        return "it holds a control character"
    if found := _FORBIDDEN.search(text):
        return f"git allows no {found.group()!a} in it"
    if text.startswith(("/", ".")) or text.endswith(("/", ".", ".lock")):
        return "git allows no such beginning or end"
    return ""


def _unlikeness(wanted: str, name: str, matcher: difflib.SequenceMatcher[str]) -> float | None:
    """0 is the same name; None is nothing like it."""
    if name == wanted:
        return 0.0
    if wanted.endswith(f"/{name}") or name.endswith(
        f"/{wanted}"
    ):  # `origin/main` for `main`, `login` for `feature/login`
        return 0.1
    if name.startswith(wanted):
        return 0.2
    if wanted in name:
        return 0.3
    matcher.set_seq1(name)
    # The two quick ratios are upper bounds: they spare the slow one for most of two thousand branches.
    if matcher.real_quick_ratio() < _BELOW or matcher.quick_ratio() < _BELOW:
        return None
    ratio = matcher.ratio()
    return 1.4 - ratio if ratio >= _BELOW else None


def _expression(pattern: str) -> str:
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", pattern))
