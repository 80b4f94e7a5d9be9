"""The engine's event stream: a hint that something happened, never the truth about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.adapters.docker.client import Client, EngineRefused, refusal
from agent.model.labels import INSTANCE

# Without this list each health check of each container would arrive as three exec events.
_KINDS = ("create", "start", "restart", "die", "oom", "stop", "pause", "unpause", "destroy", "health_status")
_LOOK_UP_S = 0.5


def watch(client: Client, instance: str, stop: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
    """Container events of `instance` until the engine hangs up or, within half a second, `stop` says so."""
    filters = {"type": ["container"], "event": list(_KINDS), "label": [f"{INSTANCE}={instance}"]}
    line = client.line()
    done = threading.Event()

    def look_up() -> None:
        while not done.wait(_LOOK_UP_S):
            if stop():
                line.cut()
                return

    threading.Thread(target=look_up, name="docker-events-stop", daemon=True).start()
    try:
        line.request("GET", "/events", params={"filters": json.dumps(filters)})
        yield from line.objects()
    except EngineRefused as error:
        raise refusal("tell what happens", error.message) from error
    finally:
        done.set()
        line.close()
