"""Everything that can go wrong, sorted by who must act.

    AgentError                 code, message, hint, exit_code, http_status
    +-- ConfigError            the operator; carries every problem found         exit 78
    +-- RequestError           the caller, right now                             exit 2   4xx
    +-- DeployError            the branch's author; terminal for this revision   exit 1   422
    +-- OutsideError           nobody: wait; retried                             exit 69  503
    +-- StateError             us                                                exit 70  500

A message is one sentence about the situation, a hint is the next thing to do. Exceptions carry
data; the CLI, HTTP (RFC 9457) and chat render it, each in one place. This module imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass


class AgentError(Exception):
    """Parent of every error that a person or a program may be shown."""

    code = "agent-error"
    exit_code = 70
    http_status = 500

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings: where (`projects.shop.remote`), what, and what to do."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(AgentError):
    """The settings are wrong; `problems` holds all of them, never only the first."""

    code = "config-invalid"
    exit_code = 78

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class RequestError(AgentError):
    """The caller asked for something that cannot be; asking differently helps."""

    code = "bad-request"
    exit_code = 2
    http_status = 400

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        if http_status is not None:
            self.http_status = http_status


class DeployError(AgentError):
    """This revision cannot be put on stage until its author changes something.

    `service` names the failing service and `log_tail` its last lines, where there are any.
    """

    code = "deploy-failed"
    exit_code = 1
    http_status = 422

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        service: str = "",
        log_tail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.service = service
        self.log_tail = log_tail

    def blaming(self, service: str) -> DeployError:
        """The same error with the service to blame, unless it names one already."""
        blamed = self.service or service
        return DeployError(self.message, hint=self.hint, code=self.code, service=blamed, log_tail=self.log_tail)


class OutsideError(AgentError):
    """An outside system does not answer or refuses for now; nobody must act, it is retried."""

    code = "outside-unavailable"
    exit_code = 69
    http_status = 503


class StateError(AgentError):
    """We are wrong: a broken invariant or an unreadable state directory."""

    code = "state-broken"
    exit_code = 70
    http_status = 500


class CancelledError(AgentError):
    """Work stopped because a newer wish made it pointless; nobody must act."""

    code = "superseded"
    exit_code = 75
    http_status = 409


class SessionNeeded(AgentError):
    """A build that the Engine API alone cannot do as Compose would; whoever builds falls back to Compose."""

    code = "build-needs-session"


class NeedsRebuild(AgentError):
    """Files cannot be put into this container as its image would hold them; whoever syncs falls back to a build."""

    code = "sync-needs-rebuild"
