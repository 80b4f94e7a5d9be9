"""Images by BuildKit through the Engine API: the context streamed to `/build?version=2`, its trace read as it comes.

Half the time of `docker compose build`, because no client session is set up. What needs one (`SessionNeeded`) is
refused here before anything is built. A failure arrives inside a 200, as the last object of the answer; a line that is
cut makes the engine stop the build.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.adapters.docker.archive import Archive
from agent.adapters.docker.client import Client, EngineRefused, Line, disk_full, is_disk_full
from agent.adapters.docker.detach import readable
from agent.adapters.docker.trace import Trace
from agent.adapters.docker.upload import Upload
from agent.adapters.process import Cancel
from agent.adapters.registries import is_unreachable
from agent.errors import AgentError, CancelledError, DeployError, OutsideError, SessionNeeded
from agent.model.release import BuildSpec

TAR = {"Content-Type": "application/x-tar"}
_AGAIN = "It is tried again."
# What the builder says beside the author's own words: `[build 2/3] RUN make`, `process "/bin/sh -c make" did not ...`
_NUMBERS = re.compile(r"^\[[^]]*\] ")
_EXITED = re.compile(r'^(?:failed to solve: )?process ".*" did not complete successfully: exit code: (\d+)$', re.DOTALL)
_NEEDS_SESSION = ("no active sessions", "no active session")


def run(
    client: Client,
    spec: BuildSpec,
    chunks: Iterable[bytes],
    *,
    tag: str,
    on_line: Callable[[str], None],
    cancel: Cancel,
    timeout_s: float,
    scratch_dir: Path | None,
) -> str:
    """Build and tag; the image id. DeployError, OutsideError, CancelledError, SessionNeeded."""
    if spec.needs_session:
        raise SessionNeeded("The build asks for secrets, ssh or further contexts.")
    trace = Trace()
    attempt = Attempt(client.line(), cancel, timeout_s)
    with (
        attempt,
        Archive.receive(chunks, scratch_dir=scratch_dir, check=attempt.check) as context,
        Upload(spec, context, tag=tag, scratch_dir=scratch_dir, check=attempt.check) as upload,
    ):
        try:
            attempt.line.request(
                "POST", "/build", params=_params(spec, upload, tag), body=attempt.guard(upload.body()), headers=TAR
            )
            image_id, problem = follow(attempt.line, trace, on_line)
        except EngineRefused as refused:
            image_id, problem = "", refused.message
        attempt.check()
        if problem:
            raise _error(problem, trace, upload)
        if not image_id:
            raise OutsideError("Docker ended the build without a result.", hint=_AGAIN, code="build-broke-off")
        return image_id


class Attempt:
    """One build under way: its line, and the two reasons to cut it."""

    def __init__(self, line: Line, cancel: Cancel, timeout_s: float) -> None:
        self.line = line
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._late = threading.Event()
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()
        self._take_back = self._cancel.on_cancel(self.line.cut)

    def __exit__(self, *_: object) -> None:
        self._take_back()
        self._timer.cancel()
        self.line.close()

    def check(self) -> None:
        """Raise when there is no point in going on."""
        if self._cancel.cancelled():
            raise CancelledError("The build was cancelled.")
        if self._late.is_set():
            raise DeployError(
                f"The build took longer than {self._timeout_s:g} s.",
                hint="Make the Dockerfile do less, or have the operator raise `limits.build_timeout_s`.",
                code="build-timeout",
            )

    def guard(self, body: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in body:
            self.check()
            yield chunk

    def _expire(self) -> None:
        self._late.set()
        self.line.cut()


def _params(spec: BuildSpec, upload: Upload, tag: str) -> dict[str, str]:
    params = {
        "version": "2",
        "t": tag,
        "dockerfile": upload.dockerfile,
        "target": spec.target,
        "platform": spec.platform,
        "buildargs": json.dumps(dict(spec.args)) if spec.args else "",
        "labels": json.dumps(dict(spec.labels)) if spec.labels else "",
        "nocache": "1" if spec.no_cache else "",
        "pull": "1" if spec.pull else "",
    }
    return {name: value for name, value in params.items() if value}


def follow(line: Line, trace: Trace, on_line: Callable[[str], None]) -> tuple[str, str]:
    """The image id and what went wrong, one of them empty."""
    image_id = problem = ""
    for answer in line.objects():
        if answer.get("id") == "moby.buildkit.trace":
            for text in trace.lines(answer["aux"]):
                on_line(readable(text))
        elif answer.get("id") == "moby.image.id":
            image_id = answer["aux"]["ID"]
        elif "errorDetail" in answer or "error" in answer:
            problem = str((answer.get("errorDetail") or {}).get("message") or answer.get("error"))
    return image_id, problem


def _error(problem: str, trace: Trace, upload: Upload) -> AgentError:
    lowered = problem.lower()
    step = trace.failed
    tail = tuple(step.tail) if step else ()
    if any(words in lowered for words in _NEEDS_SESSION):
        return SessionNeeded(problem)
    if is_disk_full(problem) or any(is_disk_full(text) for text in tail):
        return disk_full()
    if is_unreachable(problem):
        return OutsideError(f"The build could not fetch what it needs: {problem}", hint=_AGAIN, code="build-fetch")
    line = upload.line_of(step.name) if step else None
    where = f"{upload.name} line {line}" if line else upload.name
    at = f" at `{_NUMBERS.sub('', readable(step.name))}`" if step else ""
    exited = _EXITED.match(problem)
    reason = f"exit code {exited[1]}." if exited else problem
    return DeployError(f"The build failed{at}: {reason}", hint=f"Correct {where}.", code="build-failed", log_tail=tail)
