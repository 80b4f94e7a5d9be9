"""What we say in chat: the one place that turns nouns and errors into Slack's mrkdwn. Pure text, no sending.

Everything that came from outside (branch names, log lines, commit subjects, errors) is escaped on its
way out: `&`, `<` and `>` as Slack asks, invisible and direction-changing characters by their number.
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agent.errors import AgentError, DeployError
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment
from agent.model.names import Revision
from agent.planning.reconcile import CRASHED

_MAX_LOG_LINES = 15
_MAX_LOG = 2_000  # characters as sent
_MAX_LINE = 300
_MAX_LISTED = 40
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_USER = re.compile(r"[A-Z0-9]{1,30}", re.ASCII)

_PROGRESS = {
    Phase.QUEUED: "waiting for its turn",
    Phase.FETCHING: "fetching the branch",
    Phase.BUILDING: "building",
    Phase.STARTING: "starting",
    Phase.SUPERSEDED: "starting over with something newer",
}

HELP = """\
*Put a branch on stage, at its own URL:*
• `/butai deploy BRANCH`: put it on stage, or bring it up to date; every later push follows by itself
• `/butai list`: what is on stage
• `/butai status BRANCH`: how it is, its URL, its last deployment
• `/butai redeploy BRANCH`: build again and replace every container; its data is kept
• `/butai sleep BRANCH` and `/butai wake BRANCH`: stop it and keep its data; run it again
• `/butai pin BRANCH` and `/butai unpin BRANCH`: keep the version it has; follow pushes again
• `/butai destroy BRANCH`: remove it with its data (asks first)
When several projects have the branch: `BRANCH in PROJECT`, or `PROJECT:BRANCH`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list: an environment in words."""

    environment: Environment
    url: str
    summary: str


def plain(text: str, *, limit: int = 300) -> str:
    """One line of at most `limit` characters (before escaping), harmless anywhere in a message."""
    return _escaped(_visible(cut(" ".join(text.split()), limit)))


def code(text: str) -> str:
    """`text` between back-ticks, whatever it holds."""
    return f"`{plain(text.replace('`', 'ˋ'))}`" if text.strip() else "``"


def sentence(text: str) -> str:
    """A sentence of ours with foreign names in it: its `code` marks stay, a fence cannot be opened."""
    return plain(re.sub(r"`{2,}", "ˋ", text), limit=600)


def fenced(lines: Sequence[str]) -> str:
    """The last lines in a block: cut by whole lines, and unable to leave the block."""
    kept: list[str] = []
    for line in reversed(lines[-_MAX_LOG_LINES:]):
        shown = _escaped(_visible(cut(line.rstrip(), _MAX_LINE)).replace("`", "ˋ"))
        if sum(map(len, kept)) + len(shown) > _MAX_LOG:
            break
        kept.append(shown)
    text = "\n".join(reversed(kept))
    return f"```\n{text}\n```" if text.strip() else ""


def redacted(deployment: Deployment, redact: Callable[[str], str]) -> Deployment:
    """The same without secrets. Before anything is cut or escaped: half a secret would not be found any more."""
    failure, commit = deployment.failure, deployment.commit
    return replace(
        deployment,
        notices=tuple(redact(notice) for notice in deployment.notices),
        commit=commit and replace(commit, author=redact(commit.author), subject=redact(commit.subject)),
        failure=failure
        and replace(
            failure,
            message=redact(failure.message),
            hint=redact(failure.hint),
            log_tail=tuple(redact(line) for line in failure.log_tail),
        ),
    )


def name(subject: Environment | Deployment) -> str:
    return f"{code(subject.branch)} of {plain(subject.project)}"


def seconds(value: float) -> str:
    if value < 100:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def progress(environment: Environment, phase: Phase, *, user: str = "", notes: Sequence[str] = ()) -> str:
    return _joined(
        [f":hourglass_flowing_sand: {name(environment)}: {_PROGRESS[phase]} …{_asked_by(user)}", *_notes(notes)]
    )


def last_word(text: str) -> str:
    """For a message that Slack will not let us edit much longer."""
    return f"{text}\nThis takes longer than Slack lets me edit a message: `/butai status` tells how it went."


def live(deployment: Deployment, *, url: str, took_s: float, again: bool = False) -> str:
    """The end everybody hopes for: where, and how long it took."""
    verb = "is live again" if again else "is live"
    first = f":white_check_mark: {name(deployment)} {verb} at {url} ({seconds(took_s)})"
    lasting = [note for note in deployment.notices if not note.startswith("Waiting:")]  # what held it up is over
    return _joined([first, _commit(deployment.commit), *_notes(lasting)])


def spot(domain: str, says: str, *, leaves: bool) -> str:
    """To every channel: what AWS announced of the host, and what that means for what is on stage."""
    if not leaves:
        return f":information_source: {code(domain)}: {sentence(says)} Nothing changes for now."
    return (
        f":warning: {code(domain)}: {sentence(says)} Everything on stage goes away then, and comes back by itself"
        " when the host or its replacement has started. What is asked for until then waits for that."
    )


def kept(deployment: Deployment) -> str:
    """To those who asked for it last: what was saved there is not what runs, and not lost."""
    return _joined([f":floppy_disk: {name(deployment)}: {sentence(deployment.cause)}.", *_notes(deployment.notices)])


def failed(deployment: Deployment, *, url: str, serving: Revision | None) -> str:
    """Why not, where to look, whose commit it was, and what to do next. `serving`: the good version people see."""
    failure = deployment.failure or Failure(code="unknown", message="The reason was not recorded.")
    crashed = failure.code == CRASHED
    verb = "crashed" if crashed else "could not be updated" if serving else "is not on stage"
    lines = [f":x: {name(deployment)} {verb}: {sentence(failure.message)}", *_details(failure)]
    lines.append(_commit(deployment.commit))
    if serving and not crashed:
        lines.append(f"Version {code(serving.short)} still serves at {url}")
    return _joined(lines)


def asleep(environment: Environment) -> str:
    return f":zzz: {name(environment)} sleeps. Its data is kept; `/butai wake` runs it again."


def falling_asleep(environment: Environment) -> str:
    return f":hourglass_flowing_sand: {name(environment)}: going to sleep …"


def removing(environment: Environment, *, user: str = "") -> str:
    return f":hourglass_flowing_sand: {name(environment)}: removing it with its data …{_asked_by(user)}"


def removed(branch: str, project: str) -> str:
    whose = f" of {plain(project)}" if project else ""
    return f":wastebasket: {code(branch)}{whose} was removed, with its data. Nothing was changed in git."


def overtaken(environment: Environment) -> str:
    """Somebody asked for something else in the meantime."""
    return f"{name(environment)}: somebody asked for something else since; it is now meant to be {environment.wanted}."


def error(failure: AgentError) -> str:
    """An error as an answer to the person who asked."""
    lines = [sentence(failure.message), sentence(failure.hint)]
    if isinstance(failure, DeployError):
        lines.insert(1, fenced(failure.log_tail))
    return _joined(lines)


def listing(lines: Sequence[Line]) -> str:
    if not lines:
        return "Nothing is on stage. `/butai deploy BRANCH` changes that."
    shown = [f"• {name(line.environment)}: {sentence(line.summary)}, {line.url}" for line in lines[:_MAX_LISTED]]
    if len(lines) > _MAX_LISTED:
        shown.append(f"… and {len(lines) - _MAX_LISTED} more: `butai list` on the host shows them all.")
    return "\n".join(shown)


def status(line: Line, deployment: Deployment | None) -> str:
    environment = line.environment
    pinned = " Pinned: pushes are ignored." if environment.pinned else ""
    lines = [f"{name(environment)}: {sentence(line.summary)}.{pinned}", line.url]
    if deployment is not None:
        lines.append(_commit(deployment.commit))
        if deployment.failure is not None:
            lines += _details(deployment.failure)
    return _joined(lines)


def question(environment: Environment, *, url: str, volumes: Iterable[str]) -> str:
    """What a destroy would take away."""
    kept = ", ".join(code(volume) for volume in volumes)
    data = f"the data in {kept}" if kept else "everything stored in it (databases, uploads)"
    return (
        f"Destroy {name(environment)}?\n"
        f"This removes {url}, its containers, and {data}. It cannot be undone. Nothing is changed in git."
    )


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _details(failure: Failure) -> list[str]:
    tail = fenced(failure.log_tail)
    lines = []
    if tail:
        lines.append(f"The last lines of {code(failure.service)}:\n{tail}" if failure.service else tail)
    elif failure.service:
        lines.append(f"Service: {code(failure.service)}")
    if failure.hint:
        lines.append(f"Next: {sentence(failure.hint)}")
    return lines


def _notes(notes: Sequence[str]) -> list[str]:
    return [f"• {sentence(note)}" for note in notes[-10:]]


def _commit(commit: Commit | None) -> str:
    if commit is None:
        return ""
    return f"{code(commit.revision.short)} by {plain(commit.author, limit=80)}: {plain(commit.subject, limit=200)}"


def _asked_by(user: str) -> str:
    return f" (asked by <@{user}>)" if _USER.fullmatch(user) else ""


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _visible(text: str) -> str:
    return "".join(
        f"\\u{ord(letter):04x}" if letter != "\t" and unicodedata.category(letter) in _HIDDEN else letter
        for letter in text
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
