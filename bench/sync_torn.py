"""A file of 1 MB overwritten 60 times while three readers read it: how many find less than all of it, or nothing.

The readers run in the container, as an application does. The baseline is what `docker cp` and `docker compose watch`
do: `put_archive` straight to the place. Beside it, how long it takes until files are in their places.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import docker

from agent.adapters.docker import DockerEngine
from agent.model.sync import REGULAR, FileContent
from bench import report

OVERWRITES = 60
READERS = 3
PAUSE_S = 0.05  # between two overwrites, so that both ways meet about as many readers
SIZE = 1024 * 1024
LATENCIES = {1: 15, 10: 15, 100: 9, 1000: 3}  # files: rounds
_IMAGE = "busybox:1.37"
_FOLDER = "/srv/app"
_PATH = f"{_FOLDER}/big.bin"
_STOP = f"{_FOLDER}/stop"
_READ = f"while [ ! -e {_STOP} ]; do wc -c < {_PATH} 2>/dev/null || echo missing; done"


def run() -> dict[str, Any]:
    """Measure; the line to print."""
    with _Container() as container:
        torn = container.torn(container.put_in_place)
        ours = container.torn(container.sync)
        latencies = {files: container.latency(files, rounds) for files, rounds in LATENCIES.items()}
    return {
        "bench": "sync_torn",
        "n": OVERWRITES,
        "reads": ours.total(),
        "torn": ours["torn"],
        "missing": ours["missing"],
        "baseline": "put_archive",
        "baseline_reads": torn.total(),
        "baseline_torn": torn["torn"],
        "baseline_missing": torn["missing"],
        "target": 0,
        "ok": ours["torn"] + ours["missing"] == 0 and ours["whole"] >= OVERWRITES,
        "files_p50_s": {files: round(statistics.median(samples), 4) for files, samples in latencies.items()},
    }


class _Container:
    """A container with the readers' shell, and both ways to put files into it."""

    def __init__(self) -> None:
        self._client = docker.from_env(timeout=120)
        self._api = self._client.api
        self._engine = DockerEngine("unix:///var/run/docker.sock", "butai-bench")

    def __enter__(self) -> _Container:
        host = self._api.create_host_config(network_mode="none", init=True)
        command = ["sh", "-c", f"mkdir -p {_FOLDER}; while :; do sleep 1; done"]
        made = self._api.create_container(_IMAGE, command, host_config=host, labels={"butai.run": "bench"})
        self._id = str(made["Id"])
        self._api.start(self._id)
        self._engine.sync(self._id, [])
        return self

    def __exit__(self, *_: object) -> None:
        self._api.remove_container(self._id, v=True, force=True)
        self._client.close()

    def sync(self, files: Sequence[FileContent]) -> None:
        self._engine.sync(self._id, files)

    def put_in_place(self, files: Sequence[FileContent]) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for file in files:
                entry = tarfile.TarInfo(file.target.lstrip("/"))
                entry.size = len(file.data)
                archive.addfile(entry, io.BytesIO(file.data))
        self._api.put_archive(self._id, "/", packed.getvalue())

    def torn(self, put: Callable[[Sequence[FileContent]], None]) -> Counter[str]:
        """What readers found: whole, torn or missing files."""
        said: list[str] = []
        self._run(["rm", "-f", _STOP])
        put([FileContent(_PATH, REGULAR, b"0" * SIZE)])
        readers = [threading.Thread(target=lambda: said.append(self._run(["sh", "-c", _READ]))) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        pause = threading.Event()
        for at in range(OVERWRITES):
            pause.wait(PAUSE_S)
            put([FileContent(_PATH, REGULAR, bytes([65 + at % 26]) * SIZE)])
        self.sync([FileContent(_STOP, REGULAR)])
        for reader in readers:
            reader.join()
        found = Counter(line.strip() for text in said for line in text.splitlines())
        whole, missing = found.pop(str(SIZE), 0), found.pop("missing", 0)
        return Counter(whole=whole, missing=missing, torn=found.total())

    def latency(self, files: int, rounds: int) -> list[float]:
        """Seconds of a sync of so many files of 5 kB in 40 folders."""

        def once(at: int) -> None:
            self.sync(
                [
                    FileContent(f"{_FOLDER}/pkg{number % 40:02d}/m{number:04d}.py", REGULAR, b"%05d" % at * 1024)
                    for number in range(files)
                ]
            )

        once(0)
        return [report.seconds(lambda at=at: once(at)) for at in range(1, rounds + 1)]  # type: ignore[misc]

    def _run(self, command: list[str]) -> str:
        made = self._api.exec_create(self._id, command)["Id"]
        said: bytes = self._api.exec_start(made)
        return said.decode(errors="replace")


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
