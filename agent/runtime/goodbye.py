"""Stopping a container for which nobody waits: a newer wish does not wait for it either."""

from __future__ import annotations

from threading import Event, Thread

from agent.errors import AgentError, CancelledError
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Engine


def stop(engine: Engine, container: str, *, grace_s: float, cancel: CancelToken) -> None:
    """Stop it; CancelledError when that takes longer than there is time. The engine goes on with it then.

    A server with a WebSocket open takes all of its grace.
    """
    ended, over = Event(), Event()
    failed: list[AgentError] = []

    def work() -> None:
        try:
            engine.stop(container, grace_s=grace_s)
        except AgentError as error:
            failed.append(error)
        finally:
            ended.set()
            over.set()

    take_back = cancel.on_cancel(over.set)
    Thread(target=work, name=f"stop-{container[:12]}", daemon=True).start()
    over.wait()
    take_back()
    if not ended.is_set():
        raise CancelledError("A newer wish came while an old container was stopping.")
    if failed:
        raise failed[0]
