"""How fast signed Slack commands and push webhooks are answered in a burst: 200 a second for 20 seconds.

The agent's own web server, signatures, operations, store and notifier run in one process, a Slack stand-in in
another. Requests leave on schedule whether or not earlier ones were answered, and are timed from their
schedule, so a stall counts for everybody it kept waiting. Each second of it alternates with one of the
baseline: the same load on a bare route of Flask and waitress, which verifies and keeps nothing.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread, local
from typing import Any, cast
from urllib.parse import urlencode

from bench import report
from tests.support.signed import Headers, github_headers, push, slack_headers

RATE = 200
SECONDS = 20
TARGET_S = 0.1
BRANCHES = 20
_CLIENTS = 48
_REMOTE = "https://github.com/acme/shop.git"
_HOST = "butai.staging.example.com"


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    body: bytes
    headers: Headers


def run(seconds: int = SECONDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with tempfile.TemporaryDirectory(prefix="butai-bench-") as name:
        slack = _Child(_serve_slack)
        agent = _Child(_serve_agent, name, slack.told)
        bare = _Child(_serve_bare)
        try:
            subject, baseline = _measure(agent.told, bare.told, seconds)
        finally:
            counts = agent.close()
            bare.close()
            slack.close()
    return _line(subject, baseline, counts)


def _measure(agent: int, bare: int, seconds: int) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(status, seconds) of each request to the agent and to the bare route, a second of each in turn."""
    subject: list[tuple[int, float]] = []
    baseline: list[tuple[int, float]] = []
    with ThreadPoolExecutor(_CLIENTS) as pool:
        _second(pool, bare, 0)
        for number in range(seconds):
            subject += _second(pool, agent, number)
            baseline += _second(pool, bare, number)
    return subject, baseline


def _line(
    subject: list[tuple[int, float]], baseline: list[tuple[int, float]], counts: dict[str, int]
) -> dict[str, Any]:
    times, bare_times = [took for _, took in subject], [took for _, took in baseline]
    answered = sum(status in (200, 202) for status, _ in subject)
    kept = counts["requests"]  # one more on an environment's row for every request that was taken
    lost = len(subject) - min(answered, kept)
    p99 = report.percentile(times, 0.99)
    line = report.line(
        "ack",
        times,
        baseline="Flask and waitress, no signature, nothing kept",
        baseline_samples=bare_times,
        target=TARGET_S,
        p99_s=round(p99, 4),
        max_s=round(max(times), 4),
        baseline_p99_s=round(report.percentile(bare_times, 0.99), 4),
        lost=lost,
        rate=RATE,
    )
    return line | {"ok": p99 <= TARGET_S and lost == 0}


def _second(pool: ThreadPoolExecutor, port: int, number: int) -> list[tuple[int, float]]:
    requests = [_request(number * RATE + at) for at in range(RATE)]
    begin = time.perf_counter() + 0.05
    waiting = [pool.submit(_send, port, request, begin + at / RATE) for at, request in enumerate(requests)]
    return [one.result() for one in waiting]


def _request(number: int) -> _Request:
    """A Slack command and a push in turn, over a few branches; signed now."""
    branch = f"auto/{number // 2 % BRANCHES}"
    if number % 2:
        body, headers = push(_REMOTE, branch)
        body = body[:-1] + b', "padding": "' + b"x" * 6_000 + b'"}'
        return _Request("/hooks/github", body, headers | github_headers(body))
    fields = {
        "team_id": "T0TEAM",
        "channel_id": "C0STAGE",
        "user_id": "U0ANNA",
        "command": "/butai",
        "text": f"deploy {branch} in shop",
        "trigger_id": f"{number}.{time.time_ns()}",
    }
    body = urlencode(fields).encode()
    return _Request("/slack/commands", body, slack_headers(body))


_connections = local()


def _send(port: int, request: _Request, due: float) -> tuple[int, float]:
    """Send at `due`, over a connection that is kept, as Traefik keeps its own."""
    time.sleep(max(0.0, due - time.perf_counter()))
    known: dict[int, http.client.HTTPConnection] = _connections.__dict__.setdefault("known", {})
    connection = known.get(port) or http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    known[port] = connection
    try:
        connection.request("POST", request.path, request.body, {**request.headers, "Host": _HOST})
        answer = connection.getresponse()
        answer.read()
    except OSError:
        connection.close()
        return 0, time.perf_counter() - due
    return answer.status, time.perf_counter() - due


class _Child:
    """A server in a process of its own: `told` is its port; `close` ends it and returns its last words."""

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        self._process.start()
        self.told: int = self._pipe.recv()

    def close(self) -> dict[str, int]:
        self._pipe.send("end")
        words: dict[str, int] = self._pipe.recv()
        self._process.join(10)
        return words


def _serve_agent(pipe: Connection, name: str, slack_port: int) -> None:
    from agent.adapters.clock import SystemClock
    from agent.web.app import create_app
    from agent.web.server import WebServer
    from tests.support.stage import build, settings_of

    directory, location = Path(name), f"127.0.0.1:{slack_port}"
    settings = settings_of(directory, api_url=f"http://{location}/api/", location=location, token=True)
    stage = build(directory, cast("Any", None), settings=settings, clock=cast("Any", SystemClock()))
    server, stop = WebServer(create_app(stage.deps)), Event()
    notifier = Thread(target=stage.notifier.run, args=(stop,))
    notifier.start()
    pipe.send(server.serve_tcp("127.0.0.1", 0))
    pipe.recv()
    server.close()
    stop.set()
    notifier.join()
    pipe.send({"requests": sum(one.request for one in stage.store.environments.all())})
    stage.store.close()


def _serve_bare(pipe: Connection) -> None:
    from flask import Flask

    from agent.web.server import WebServer

    app = Flask("bare")

    @app.post("/<path:path>")
    def taken(path: str) -> str:
        return ""

    server = WebServer(app)
    pipe.send(server.serve_tcp("127.0.0.1", 0))
    pipe.recv()
    server.close()
    pipe.send({})


def _serve_slack(pipe: Connection) -> None:
    from tests.support.slackd import Slackd

    with Slackd() as slack:
        pipe.send(int(slack.location.rpartition(":")[2]))
        pipe.recv()
    pipe.send({})


if __name__ == "__main__":
    result = run(int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
