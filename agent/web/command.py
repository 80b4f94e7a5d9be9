"""What a slash command says: Slack's text with its escapes, links and typographic quotes, as a verb and a branch."""

from __future__ import annotations

import difflib
import html
import re
from dataclasses import dataclass

from agent.errors import RequestError

VERBS = ("deploy", "list", "status", "redeploy", "sleep", "wake", "pin", "unpin", "destroy", "help")
_ALONE = ("list", "help")
_MAX_TEXT = 1_000

# <https://x|x>, <#C024|general>, <@U024|anna>, <!channel>: what Slack makes of what was typed.
# What a person types as < arrives as &lt;, so a real < always begins one of these.
_LINK = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")
_DASHES = re.compile(r"[‐‑‒–—―−]+")
_QUOTES = "\"'`‘’‚‛“”„‟«»‹›′″"


@dataclass(frozen=True, slots=True)
class Command:
    """`branch` and `project` are as typed: they are checked by the operations, like everybody's."""

    verb: str
    branch: str = ""
    project: str | None = None


def parse(text: str) -> Command:
    """Read `VERB [PROJECT:]BRANCH [in PROJECT]`. RequestError says what was not understood."""
    if len(text) > _MAX_TEXT:
        raise _unclear("That is longer than any branch name.")
    words = [word for word in (_bare(word) for word in unescape(text).split()) if word]
    if not words:
        return Command("help")
    verb = words[0].lower().removeprefix("--")
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f"Do you mean `{close[0]}`?" if close else "`/butai help` lists what there is."
        raise _unclear(f"There is no command `{_shown(words[0])}`.", hint=meant)
    return _with_branch(verb, words[1:])


def unescape(text: str) -> str:
    """What the person typed: a link becomes what it shows, entities become characters."""
    return html.unescape(_LINK.sub(_typed, text)).replace("\u00a0", " ")


def _with_branch(verb: str, words: list[str]) -> Command:
    branch, project = "", None
    while words:
        word, *words = words
        if word in ("in", "--project") and words and branch:
            project, *words = words
        elif word.startswith("--project="):
            project = word.partition("=")[2]
        elif not branch:
            branch = word
        else:
            raise _unclear(f"I do not understand `{_shown(word)}`.", hint=f"Say `/butai {verb} BRANCH in PROJECT`.")
    if verb in _ALONE or (verb == "status" and not branch):
        return Command("list" if verb == "status" else verb)
    if project is None and ":" in branch and "://" not in branch:  # git allows no colon in a branch name
        project, _, branch = branch.partition(":")
    if not branch:
        raise _unclear("Which branch?", hint=f"Say `/butai {verb} BRANCH`.")
    return Command(verb, branch, project or None)


def _typed(link: re.Match[str]) -> str:
    target, label = link[1], link[2]
    mark = target[:1] if target[:1] in ("#", "@") else ""
    return f"{mark}{label}" if label else target


def _bare(word: str) -> str:
    """Without the quotes somebody put around it, and with `--` where a keyboard made a dash of it."""
    word = word.strip(_QUOTES)
    dashes = _DASHES.match(word)
    return f"--{word[dashes.end() :]}" if dashes else word


def _shown(word: str) -> str:
    return word.replace("`", "'")[:80]


def _unclear(message: str, *, hint: str = "") -> RequestError:
    return RequestError(message, hint=hint or "`/butai help` lists what there is.", code="unclear-command")
