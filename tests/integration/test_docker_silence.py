"""The engine says nothing for hours when nothing happens; that is not a broken connection."""

from __future__ import annotations

import threading

import pytest

from agent.adapters.docker import DockerEngine, client


def test_a_silent_event_stream_stays_open_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.4)
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    engine = DockerEngine("unix:///var/run/docker.sock", "nobody-has-this-instance")
    assert list(engine.events(stop.is_set)) == []
    assert stop.is_set()
