"""Waiting at the terminal for what was asked: phases as they change, then the URL or the reason.

Only watching: the deployment goes on whether anybody looks or not, through a restart of the agent too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TypeVar

import click

from agent.cli import render
from agent.cli.client import WAIT_S, Client, Json
from agent.cli.steps import FINAL, StepLog
from agent.errors import OutsideError, RequestError

_PATIENCE_S = 60.0  # how long a restarting agent may be gone
_ASK_AGAIN_S = 0.5

LOOK_AGAIN_S = 2  # at a removal, should its last event be missed

Answer = TypeVar("Answer")


def deployment(client: Client, first: Json, *, verbose: bool) -> Json:
    """Follow a deployment to its end; one that is superseded is followed by the one that took its place."""
    current = first
    while True:
        current = _to_the_end(client, current, verbose=verbose)
        if current["phase"] != "superseded":
            return current
        newer = _newer(client, current)
        if newer is None:
            return current
        render.tell(f"superseded: following deployment {newer['id']} ({render.clean(newer['cause'])})")
        current = newer


def removal(client: Client, slug: str) -> bool:
    """Wait until the environment is gone; False when somebody wants it again meanwhile."""
    after = 0
    with _status(f"removing {slug}"):
        while True:
            try:
                last = _patiently(partial(_last, client, slug))
            except RequestError as error:
                if error.code == "no-such-environment":
                    return True
                raise
            if last is not None and last["phase"] not in FINAL:  # asking for its end superseded all before
                return False
            params: Json = {"slug": slug, "after": after, "wait_s": LOOK_AGAIN_S if after else 0}
            after = _patiently(partial(client.get, "/events", params))["after"]


def _to_the_end(client: Client, current: Json, *, verbose: bool) -> Json:
    path, log = f"/deployments/{current['id']}", steps(client, current["id"])
    while (phase := current["phase"]) not in FINAL:
        began, moves = time.monotonic(), render.on_terminal(err=True) and not verbose
        if not moves:
            render.tell(f"{phase} ...")
        if verbose:
            _tell_steps(log, phase)
        params: Json = {"phase": phase, "wait_s": WAIT_S}
        with _status(phase, shown=moves):
            while current["phase"] == phase:
                current = _patiently(partial(client.get, path, params))
        if moves:
            render.tell(f"{phase:<10}{render.seconds(time.monotonic() - began)}")
    if verbose:
        _tell_steps(log, current["phase"])
    return current


def steps(client: Client, number: int) -> StepLog:
    """The step log of a deployment, read through restarts of the agent."""
    return StepLog(client, number, _patiently)


def _tell_steps(log: StepLog, phase: str) -> None:
    terminal = render.on_terminal(err=True)
    for line in log.lines(phase):
        render.tell(render.clean_log(line) if terminal else line)


def _newer(client: Client, current: Json) -> Json | None:
    """The deployment that took its place; None when there is none, as after `sleep` and `destroy`."""
    try:
        last = _last(client, current["slug"])
    except RequestError:
        return None
    return last if last is not None and last["id"] > current["id"] else None


def _last(client: Client, slug: str) -> Json | None:
    found = client.get(f"/environments/{slug}/deployments", {"limit": 1})["deployments"]
    return dict(found[0]) if found else None


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask, and again while the agent is away for a restart."""
    deadline = time.monotonic() + _PATIENCE_S
    told = False
    while True:
        try:
            return ask()
        except OutsideError as error:
            if error.code != "agent-unreachable" or time.monotonic() > deadline:
                raise
        if not told:
            render.tell("the agent is away; waiting for it ...")
            told = True
        Event().wait(_ASK_AGAIN_S)


@contextmanager
def _status(text: str, *, shown: bool = True) -> Iterator[None]:
    """A moving line while something goes on, where somebody can see it move."""
    if not shown or not render.on_terminal(err=True):
        yield
        return
    from rich.console import Console  # here: slow to import, and only needed here
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(text, total=None)
        yield


def ctrl_c(what_goes_on: str) -> click.exceptions.Exit:
    """What to raise when somebody stops watching: 130, as a shell reports it."""
    render.tell(f"\n{what_goes_on}")
    return click.exceptions.Exit(130)
