"""What the agent makes of an engine that refuses, breaks off or falls silent: a scripted one, on its own socket."""

from __future__ import annotations

import base64
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters.docker import DockerEngine
from agent.errors import AgentError, CancelledError, DeployError, OutsideError, SessionNeeded
from agent.model.release import BuildSpec
from agent.runtime.cancel import CancelToken
from tests.unit.adapters.test_docker_trace import vertex

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDED = b"0\r\n\r\n"


class Scripted:
    """An engine that reads a request to its end and answers with `answer`; then it hangs up, or does nothing at all."""

    def __init__(self, path: Path) -> None:
        self.answer = b""
        self.hangs = False
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self.engine = DockerEngine(f"unix://{path}", "t", timeout_s=5)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                received = b""
                while not received.endswith(ENDED if b"chunked" in received[:500] else b"\r\n\r\n"):
                    received += connection.recv(65536)
                connection.sendall(self.answer)
                self.asked.set()
                if self.hangs:
                    self.let_go.wait(10)

    def close(self) -> None:
        self.let_go.set()
        self._socket.close()

    def build(self, cancel: CancelToken | None = None, *, timeout_s: float = 5) -> str:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("Dockerfile")
            text = b"FROM a\nCOPY . .\nRUN make it\n"
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        spec = BuildSpec(context=".", dockerfile="Dockerfile")
        chunks = [buffer.getvalue()]
        return self.engine.build(
            spec, chunks, tag="t:1", on_line=lambda line: None, cancel=cancel or CancelToken(), timeout_s=timeout_s
        )


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    scripted = Scripted(tmp_path / "docker.sock")
    yield scripted
    scripted.close()


def chunked(*objects: object) -> bytes:
    data = b"".join(json.dumps(each).encode() + b"\n" for each in objects)
    return b"%x\r\n%b\r\n" % (len(data), data)


def failed(message: str) -> object:
    return {"errorDetail": {"message": message}, "error": message}


def test_the_image_id_is_in_the_last_objects(scripted: Scripted) -> None:
    scripted.answer = OK + chunked({"id": "moby.image.id", "aux": {"ID": "sha256:1"}}) + ENDED
    assert scripted.build() == "sha256:1"


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        ("failed to copy files: write /x: no space left on device", OutsideError, "disk-full"),
        ("failed to solve: no active sessions", SessionNeeded, "build-needs-session"),
        ("busybox: failed to do request: Head: dial tcp: lookup x: no such host", OutsideError, "build-fetch"),
        ("toomanyrequests: You have reached your pull rate limit", OutsideError, "build-fetch"),
        ("pull access denied, repository does not exist", DeployError, "build-failed"),
        ("dockerfile parse error on line 2: unknown instruction: RAN", DeployError, "build-failed"),
    ],
)
def test_a_failure_inside_the_200_is_sorted_by_who_must_act(
    scripted: Scripted, message: str, kind: type[AgentError], code: str
) -> None:
    scripted.answer = OK + chunked(failed(message)) + ENDED
    with pytest.raises(kind) as caught:
        scripted.build()
    assert caught.value.code == code


def test_a_failing_step_is_named_with_its_line_in_the_dockerfile(scripted: Scripted) -> None:
    step = vertex("a", "[3/3] RUN make it", started=1, completed=2, error="exit code: 2")
    trace = {"id": "moby.buildkit.trace", "aux": base64.b64encode(step).decode()}
    problem = 'process "/bin/sh -c make it" did not complete successfully: exit code: 2'
    scripted.answer = OK + chunked(trace, failed(problem)) + ENDED
    with pytest.raises(DeployError) as caught:
        scripted.build()
    assert caught.value.message == "The build failed at `RUN make it`: exit code 2."
    assert caught.value.hint == "Correct Dockerfile line 3."


def test_a_step_that_did_not_begin_is_told_in_the_builders_words(scripted: Scripted) -> None:
    step = vertex("a", "[build 3/3] COPY dist /www", started=1, completed=2, error="not found")
    trace = {"id": "moby.buildkit.trace", "aux": base64.b64encode(step).decode()}
    problem = 'failed to compute cache key: "/dist": not found'
    scripted.answer = OK + chunked(trace, failed(problem)) + ENDED
    with pytest.raises(DeployError) as caught:
        scripted.build()
    assert caught.value.message == f"The build failed at `COPY dist /www`: {problem}"


def test_a_refusal_before_the_build_begins_is_told_in_the_engines_words(scripted: Scripted) -> None:
    body = json.dumps({"message": "invalid reference format"}).encode()
    scripted.answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with pytest.raises(DeployError, match="invalid reference format"):
        scripted.build()


@pytest.mark.parametrize("answer", [b"", OK, OK + chunked({"stream": "x"}), OK + b"ff\r\n{", b"garbage\r\n\r\n"])
def test_an_engine_that_goes_away_in_the_middle_is_waited_for(scripted: Scripted, answer: bytes) -> None:
    scripted.answer = answer
    with pytest.raises(OutsideError):
        scripted.build()


def test_a_build_that_ends_without_a_word_is_not_a_success(scripted: Scripted) -> None:
    scripted.answer = OK + ENDED
    with pytest.raises(OutsideError, match="without a result"):
        scripted.build()


@pytest.mark.parametrize("answer", [b"", OK])
def test_an_engine_that_hangs_does_not_outlast_a_cancel_or_the_deadline(scripted: Scripted, answer: bytes) -> None:
    scripted.answer, scripted.hangs = answer, True
    cancel = CancelToken()
    threading.Timer(0.2, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        scripted.build(cancel)
    assert time.monotonic() - started < 2
    scripted.let_go.set()
    scripted.let_go.clear()
    with pytest.raises(DeployError, match="took longer"):
        scripted.build(timeout_s=0.3)


def test_a_cut_before_the_connection_is_made_is_honoured(scripted: Scripted) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        scripted.build(cancel)
    assert not scripted.asked.is_set()
