"""What was found wrong or removed while a compose file was read: refusals all at once, notices one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import DeployError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One field that may not be. `subject` is "service web", "volume data" or "" for the file as a whole."""

    file: str
    subject: str
    field: str
    reason: str
    setting: str = ""  # what an operator may set to allow it; "" when nothing does

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.subject) if part)
        remedy = f" An operator may allow it with `{self.setting}`." if self.setting else ""
        return f"{where}: `{self.field}` is refused: {self.reason}.{remedy}"


class Findings:
    """Collects refusals and notices. `locate` names the file that sets a field of a subject."""

    def __init__(self, locate: Callable[[str, str], str], *, project: str) -> None:
        self._locate = locate
        self._project = project
        self._refusals: list[Refusal] = []
        self._notices: list[str] = []

    def refuse(self, subject: str, field: str, reason: str, *, allow: str = "") -> None:
        """`allow` is the last part of the setting below `projects.NAME.allow` that would permit it."""
        setting = f"projects.{self._project}.allow.{allow}" if allow else ""
        self._refusals.append(Refusal(self._locate(subject, field), subject, field, reason, setting))

    def add(self, refusals: tuple[Refusal, ...]) -> None:
        self._refusals += refusals

    def note(self, text: str) -> None:
        """One line for whoever asked: what was removed, and what to do instead."""
        self._notices.append(text)

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._notices))

    def raise_refusals(self) -> None:
        """Raise one DeployError with every refusal, if there is any."""
        refusals = tuple(dict.fromkeys(self._refusals))
        if not refusals:
            return
        service = next((r.subject.removeprefix("service ") for r in refusals if r.subject.startswith("service ")), "")
        raise DeployError(
            "\n".join(str(refusal) for refusal in refusals),
            hint="Remove what is refused, or keep it in an override file that is not used here.",
            code="compose-refused",
            service=service,
        )
