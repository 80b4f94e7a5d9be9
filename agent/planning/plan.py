"""Plan: what to do next for one environment, why, and how it prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.model.deployment import Failure
from agent.model.route import RouteTable


class Verb(StrEnum):
    """One action on one system each; the executor has one method for each."""

    FETCH = "fetch"
    READ = "read"
    BUILD = "build"
    PULL = "pull"
    TAG = "tag"  # the image of the revision before, since it is this one's too
    ADOPT = "adopt"  # the release of the revision before, likewise
    DELTA = "delta"  # the image of the revision before, with the changed files on top
    SYNC = "sync"
    CATCH_UP = "catch up"  # an image that lags behind what containers hold already
    CHECKOUT = "checkout"
    CREATE = "create"
    START = "start"
    RESTART = "restart"  # because of what it depends on
    STOP = "stop"
    UNPAUSE = "unpause"
    JOIN = "join"  # Traefik into a network of the environment
    ROUTE = "route"
    UNROUTE = "unroute"
    REMOVE = "remove"  # containers
    UNTAG = "untag"
    LEAVE = "leave"  # Traefik out of a network
    REMOVE_NETWORK = "remove network"
    REMOVE_VOLUME = "remove volume"
    REMOVE_CHECKOUT = "remove checkout"
    FORGET = "forget"  # the row itself


@dataclass(frozen=True, slots=True)
class Step:
    """One action and why. `subject` is what it acts on, in words; `targets` are ids, names or tags."""

    verb: Verb
    subject: str
    cause: str
    targets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that may all run now, side by side; an empty plan means converged.

    `waiting` says what is being waited for when there is nothing to do yet, and `look_again_s` when
    to look at the latest. `failure` is the verdict that this revision cannot go on stage.
    """

    steps: tuple[Step, ...] = ()
    waiting: tuple[str, ...] = ()
    look_again_s: float | None = None
    failure: Failure | None = None
    live: bool = False  # the target answers at its URL; what is left is tidying up
    kept: tuple[str, ...] = ()  # services left alone, for the record
    route: RouteTable | None = None  # what the step ROUTE writes

    @property
    def converged(self) -> bool:
        return not self.steps and not self.waiting and self.failure is None

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps]
        lines += [f"wait for {what}" for what in self.waiting]
        if self.failure is not None:
            lines.append(f"fail: {self.failure.message}")
        return "\n".join(lines) or "nothing to do"
