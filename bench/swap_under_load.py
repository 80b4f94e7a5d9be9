"""200 requests a second through Traefik while a service is rebuilt and swapped 20 times; none may fail.

Every tenth is a download that lasts half a second, so that some are open at every switch. Afterwards a WebSocket is
held through a sync. There is no baseline: `docker compose up -d --build` drops requests for about a second each time.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import count
from threading import Event, Lock, Thread
from typing import Any

from bench import report
from bench.browser import Browser
from bench.pushing import last_once_ended
from bench.stage import theatre
from tests.support.samples import SAMPLES_DIR, sample
from tests.support.theatre import Theatre
from tests.support.websocket import WebSocket

SWAPS = 20
REQUESTS_A_SECOND = 200
LEAST_REQUESTS = 10_000
_THREADS = 32
_EVERY_SLOW = 10
_SLOW_S = 0.5
_WHOLE = b"." * 10
_BRANCH = "stage"


def run(swaps: int = SWAPS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({"lasting": sample("lasting")}) as stage:
        host = stage.agent.host(stage.stage("lasting", _BRANCH, {"www/index.html": "staged\n"}))
        load = _Load(stage.agent.port, host)
        with closing(Browser(stage.agent.port, host, patience_s=0.05)) as browser:
            load.start()
            took = [_swap(stage, browser, f"swap {number}") for number in range(swaps)]
            load.stop(LEAST_REQUESTS if swaps == SWAPS else 0)
            is_held = _holds_through_a_sync(stage, browser, host)
    failed = {words: times for words, times in load.seen.items() if words != "ok"}
    return {
        "bench": "swap_under_load",
        "n": len(took),
        "requests": load.seen.total(),
        "failed": sum(failed.values()),
        "failures": failed,
        "requests_a_second": round(load.rate),
        "p50_s": sorted(took)[len(took) // 2],
        "websocket_held": is_held,
        "target": 0,
        "ok": not failed and is_held and load.seen.total() >= (LEAST_REQUESTS if swaps == SWAPS else 1),
    }


def _swap(stage: Theatre, browser: Browser, version: str) -> float:
    """Push a change of the program; the seconds until the new one answers and the deployment is ready."""
    program = (SAMPLES_DIR / "lasting" / "app.py").read_text().replace('VERSION = "one"', f'VERSION = "{version}"')

    def push() -> None:
        revision = stage.push("lasting", _BRANCH, {"app.py": program})
        assert stage.agent.webhook(stage.git.url("lasting"), _BRANCH, after=revision) == 202
        browser.until(version, "/version")

    took = report.seconds(push)
    last_once_ended(stage, "lasting", _BRANCH)  # else the next push supersedes it, and holds its change as well
    report.progress(f"swap_under_load {version}: {took:.2f} s")
    return round(took, 3)


def _holds_through_a_sync(stage: Theatre, browser: Browser, host: str) -> bool:
    with closing(browser), WebSocket(stage.agent.port, host) as held:
        before = held.echo(b"before")
        revision = stage.push("lasting", _BRANCH, {"www/index.html": "synced\n"})
        assert stage.agent.webhook(stage.git.url("lasting"), _BRANCH, after=revision) == 202
        browser.until("synced")
        echoes = (before, held.echo(b"after"))
    return echoes == (b"before", b"after") and any(
        "synced" in words for words in last_once_ended(stage, "lasting", _BRANCH)["done"]
    )


class _Load:
    """Threads that take turns at a steady rate, each over a connection that is kept."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._host = host
        self._numbers = count()
        self._lock = Lock()
        self._over = Event()
        self._began_at = self._ended_at = 0.0
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(_THREADS)]
        self.seen: Counter[str] = Counter()

    @property
    def rate(self) -> float:
        return self.seen.total() / (self._ended_at - self._began_at)

    def start(self) -> None:
        self._began_at = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self, least: int) -> None:
        """End it, once there were so many requests."""
        while self.seen.total() < least:
            time.sleep(0.1)
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._ended_at = time.monotonic()

    def _work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._over.is_set():
            with self._lock:
                number = next(self._numbers)
            self._over.wait(max(0.0, self._began_at + number / REQUESTS_A_SECOND - time.monotonic()))
            words = self._ask(connection, is_slow=number % _EVERY_SLOW == 0)
            with self._lock:
                self.seen[words] += 1
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, *, is_slow: bool) -> str:
        try:
            connection.request("GET", f"/slow?s={_SLOW_S}" if is_slow else "/", headers={"Host": self._host})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        if answer.status != http.HTTPStatus.OK:
            return str(answer.status)
        return "ok" if not is_slow or body == _WHOLE else "cut short"


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
