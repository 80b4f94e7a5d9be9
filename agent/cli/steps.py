"""The step log of a deployment, read as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from agent.cli.client import WAIT_S, Client, Json

FINAL = ("ready", "failed", "superseded")

Ask = Callable[[Callable[[], Json]], Json]


class StepLog:
    """Remembers how far it was read, and holds back a line that is not complete."""

    def __init__(self, client: Client, number: int, ask: Ask) -> None:
        self._get = partial(client.get, f"/deployments/{number}/log")
        self._ask = ask
        self._offset = 0
        self._begun = ""

    def lines(self, phase: str) -> Iterator[str]:
        """What is new in this phase, until the deployment is in another one; all of it when it is over."""
        while True:
            params: Json = {"phase": phase, "offset": self._offset, "wait_s": 0 if phase in FINAL else WAIT_S}
            part = self._ask(partial(self._get, params))
            yield from self._complete(part)
            if part["offset"] == self._offset and (phase in FINAL or part["phase"] != phase):
                return
            self._offset = part["offset"]

    def now(self) -> Iterator[str]:
        """What there is, without waiting for more."""
        while (part := self._ask(partial(self._get, {"offset": self._offset})))["offset"] != self._offset:
            yield from self._complete(part)
            self._offset = part["offset"]
        if self._begun:
            yield self._begun

    def _complete(self, part: Json) -> list[str]:
        *lines, self._begun = f"{self._begun}{part['text']}".split("\n")
        if part["phase"] in FINAL and self._begun and part["offset"] == self._offset:
            lines, self._begun = [*lines, self._begun], ""
        return lines
