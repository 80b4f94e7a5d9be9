"""Traefik's folder and the questions asked of Traefik, without Traefik: nothing half-written, nothing of others."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent import config
from agent.adapters.traefik import Traefik
from agent.adapters.traefik.folder import Folder
from agent.adapters.traefik.probe import Probe
from agent.config import Settings
from agent.errors import OutsideError, StateError
from agent.model.edge import ContainerSpec, NetworkSpec
from agent.model.names import Hostname, Revision, Slug
from agent.model.route import ROUTE_HEADER, Backend, Route, RouteTable
from agent.planning import edge, routing

HOST = Hostname("main.staging.test")
TABLE = RouteTable(Slug("main"), Backend.CONTAINERS, Revision("1" * 40), (Route(HOST, "web", 80, ("10.0.0.9",)),))


class NoEngine:
    """Somebody else's Traefik needs nothing of the engine: every question is a mistake."""

    def ensure_network(self, spec: NetworkSpec) -> None:
        raise AssertionError(spec)

    def ensure_container(self, spec: ContainerSpec) -> None:
        raise AssertionError(spec)

    def joined(self, container: str) -> frozenset[str]:
        raise AssertionError(container)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    watched = tmp_path / "watched"
    watched.mkdir()
    text = f"""
domain = "staging.test"
state_dir = "state"
[traefik]
managed = false
directory = "{watched}"
agent_url = "http://127.0.0.1:8480"
[projects.shop]
remote = "https://git.example.com/shop.git"
"""
    return config.parse(text, tmp_path)


@pytest.fixture
def traefik(settings: Settings) -> Traefik:
    made = Traefik(lambda: settings, engine=NoEngine(), routing=routing, layout=edge)
    made.ensure()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "watched", staging=tmp_path / "staging", prefix="butai")
    made.prepare()
    return made


def test_what_was_written_is_read_and_removed_twice(traefik: Traefik) -> None:
    assert traefik.read(TABLE.slug) is None
    traefik.write(TABLE)
    assert traefik.read(TABLE.slug) == TABLE
    traefik.remove(TABLE.slug)
    traefik.remove(TABLE.slug)
    assert traefik.read(TABLE.slug) is None


def test_a_table_that_cannot_be_written_changes_nothing(traefik: Traefik, settings: Settings) -> None:
    traefik.write(TABLE)
    with pytest.raises(StateError):
        traefik.write(replace(TABLE, routes=(Route(HOST, "web`", 80, ("a",)),)))
    assert traefik.read(TABLE.slug) == TABLE
    assert settings.traefik.directory is not None
    assert {path.name for path in settings.traefik.directory.iterdir()} == {"butai.yml", "butai.main.yml"}


def test_files_of_others_are_not_ours(traefik: Traefik, settings: Settings) -> None:
    directory = settings.traefik.directory
    assert directory is not None
    for name in ("main.yml", "dashboard.yml", "butai2.main.yml", "butai.main.toml", "butai.Not A Slug.yml", "butai"):
        (directory / name).write_text("theirs")
    assert traefik.read(Slug("main")) is None
    traefik.remove(Slug("main"))
    assert (directory / "main.yml").read_text() == "theirs"


def test_the_base_file_is_written_only_when_it_changes(traefik: Traefik, settings: Settings) -> None:
    assert settings.traefik.directory is not None
    base = settings.traefik.directory / "butai.yml"
    before = base.stat().st_ino
    assert traefik.ensure() is False
    assert base.stat().st_ino == before
    base.write_text("broken: {")
    traefik.ensure()
    assert json.loads(base.read_text()) == routing.base_routes(settings, None)


def test_a_document_appears_whole_and_nothing_else_appears(folder: Folder) -> None:
    """A reader that looks all the time sees the old document or the new one."""
    small, large = {"v": "a"}, {"v": "b" * 200_000}
    folder.write("main", small)
    seen: list[object] = []
    names: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            names.update(path.name for path in folder.path.iterdir())
            seen.append(folder.read("main"))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(30):
        folder.write("main", large if number % 2 else small)
    done.set()
    reader.join()
    assert all(one in (small, large) for one in seen)
    assert names == {"butai.main.yml"}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system here")
def test_on_another_file_system_the_unfinished_file_has_no_suffix_that_traefik_reads(tmp_path: Path) -> None:
    far = Folder(tmp_path, staging=Path(f"/dev/shm/butai-test-{os.getpid()}"), prefix="butai")
    far.prepare()
    try:
        far.write("main", {"a": 1})
        assert far.read("main") == {"a": 1}
        assert [path.name for path in tmp_path.iterdir()] == ["butai.main.yml"]
    finally:
        Path(f"/dev/shm/butai-test-{os.getpid()}").rmdir()


def test_what_a_killed_writer_left_is_overwritten(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "staging" / ".butai.main.yml.new").write_text("half")
    folder.write("main", {"a": 1})
    assert folder.read("main") == {"a": 1}
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_folder_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = Folder(tmp_path / "file" / "routes", staging=tmp_path / "staging", prefix="butai")
    for act in (broken.prepare, lambda: broken.write("a", {}), lambda: broken.read("a")):
        with pytest.raises(OutsideError, match=r"The folder .* cannot be used"):
            act()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers with the host it was asked for, and counts connections."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(418)
            self.send_header("X-Asked", f"{self.headers['Host']}{self.path} from {self.client_address[1]}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_file_that_leads_to_the_same_places_confirms_the_one_after_it(
    traefik: Traefik, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traefik takes a tenth of a second and more to see a file; pushes may follow each other faster."""
    served = TABLE
    answer = lambda *_, **__: (418, {ROUTE_HEADER: routing.fingerprint(served, settings)})  # noqa: E731
    monkeypatch.setattr(Probe, "ask", answer)
    pushed, pushed_again = (replace(TABLE, revision=Revision(digit * 40)) for digit in "23")
    elsewhere = replace(pushed_again, routes=(Route(HOST, "web", 80, ("10.0.0.10",)),))

    assert traefik.confirms(TABLE), "an agent that was started anew knows it by its file"
    assert not traefik.confirms(pushed)
    for table in (TABLE, pushed, pushed_again):
        traefik.write(table)
    assert traefik.confirms(pushed_again)
    assert not traefik.confirms(elsewhere)
    traefik.write(elsewhere)
    assert not traefik.confirms(elsewhere)
    traefik.write(pushed_again)
    assert not traefik.confirms(pushed_again), "Traefik may see the file in between when it looks next"
    served = pushed_again
    assert traefik.confirms(pushed_again)


def test_after_other_settings_only_its_own_file_confirms_a_table(
    traefik: Traefik, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = lambda *_, **__: (418, {ROUTE_HEADER: routing.fingerprint(TABLE, settings)})  # noqa: E731
    monkeypatch.setattr(Probe, "ask", answer)
    traefik.write(TABLE)
    pushed = replace(TABLE, revision=Revision("2" * 40))
    traefik.write(pushed)
    assert traefik.confirms(pushed)
    monkeypatch.setattr(traefik, "_settings", lambda: replace(settings, domain="other.test"))
    traefik.write(pushed)
    assert not traefik.confirms(pushed)


def test_asking_again_uses_the_same_connection(server: ThreadingHTTPServer) -> None:
    probe = Probe()
    place = ("127.0.0.1", int(server.server_address[1]))
    answers = [probe.ask(place, HOST, secure=False) for _ in range(3)]
    assert {status for status, _ in answers} == {418}
    assert len({headers["X-Asked"] for _, headers in answers}) == 1
    assert answers[0][1]["X-Asked"].startswith("main.staging.test/.well-known/butai from ")


def test_nobody_there_is_no_answer(server: ThreadingHTTPServer) -> None:
    probe = Probe()
    place = ("127.0.0.1", int(server.server_address[1]))
    assert probe.ask(place, HOST, secure=False)[0] == 418
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert probe.ask(("127.0.0.1", unused.getsockname()[1]), HOST, secure=False) == (0, {})
    assert probe.ask(place, HOST, secure=True) == (0, {})  # plain HTTP where TLS was expected
