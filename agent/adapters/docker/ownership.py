"""A short-lived container that is root where the agent is not.

Containers write into bind-mounted checkouts as root; the agent, who is not root, could then neither update nor
remove them. The container sees nothing but that one directory: no network, a read-only root, three capabilities.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, NotFound

from agent.adapters.docker import pull
from agent.adapters.docker.client import Client
from agent.errors import OutsideError, StateError
from agent.model.labels import INSTANCE, ROLE

_TREE = "/tree"
_DEADLINE_S = 300
_LEFT_OVER_S = 600  # a helper older than this lost its agent
_LAST_LINES = 5


class Ownership:
    """Acts on a whole tree as root. `image` needs `chown`, `find` and `rm`."""

    def __init__(self, client: Client, *, image: str, instance: str) -> None:
        self._client = client
        self._image = image
        self._labels = {INSTANCE: instance, ROLE: "helper"}

    def own(self, directory: Path, *, uid: int, gid: int) -> None:
        """chown -R, symbolic links themselves included and never followed."""
        self._run(directory, ["chown", "-R", "-h", f"{uid}:{gid}", _TREE])

    def empty(self, directory: Path) -> None:
        """Remove what is in `directory`; not with `-delete`, which some builds of busybox lack."""
        self._run(directory, ["find", _TREE, "-mindepth", "1", "-maxdepth", "1", "-exec", "rm", "-rf", "--", "{}", "+"])

    def _run(self, directory: Path, argv: list[str]) -> None:
        api = self._client.api
        with self._client.asking(f"tidy {directory}"):
            self._remove_left_over()
            helper = pull.create(self._client, self._config(directory, argv))
            try:
                api.start(helper)
                status = api.wait(helper, timeout=_DEADLINE_S)["StatusCode"]
                complaint = b"" if status == 0 else api.logs(helper, tail=_LAST_LINES)
            except (requests.Timeout, requests.ConnectionError) as error:
                raise OutsideError(f"Tidying {directory} took longer than {_DEADLINE_S} s.") from error
            finally:
                with contextlib.suppress(NotFound):
                    api.remove_container(helper, v=True, force=True)
        if status != 0:
            raise StateError(f"Files of root in {directory} stay: {complaint.decode('utf-8', 'replace').strip()}")

    def _config(self, directory: Path, argv: list[str]) -> dict[str, Any]:
        return {
            "Image": self._image,
            "Entrypoint": argv,
            "User": "0:0",
            "Labels": self._labels,
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [{"Type": "bind", "Source": str(directory), "Target": _TREE}],
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
                "SecurityOpt": ["no-new-privileges"],
                "PidsLimit": 16,
            },
        }

    def _remove_left_over(self) -> None:
        labels = [f"{name}={value}" for name, value in self._labels.items()]
        for entry in self._client.api.containers(all=True, filters={"label": labels}):
            if time.time() - entry["Created"] > _LEFT_OVER_S:
                with contextlib.suppress(APIError):
                    self._client.api.remove_container(entry["Id"], v=True, force=True)
