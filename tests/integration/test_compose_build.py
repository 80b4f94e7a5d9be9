"""What only a client session can build is built by Compose, from the revision and with nothing but what was allowed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from agent.errors import DeployError
from agent.model.labels import INSTANCE
from agent.runtime.cancel import CancelToken
from tests.support.readerworld import ReaderWorld

pytestmark = pytest.mark.docker

SETTINGS = """
environment = {{ TOKEN = "canary-{canary}" }}
allow = {{ variables = ["TOKEN"], build_secrets = ["token", "plain"] }}
"""
FILE = """
services:
  web:
    ports: ["80"]
    build:
      context: ./web
      secrets: [token, plain]
      additional_contexts: {shared: ./shared}
      args: {PRICE: "5$$"}
secrets:
  token: {environment: TOKEN}
  plain: {file: ./plain.txt}
"""
DOCKERFILE = """
FROM busybox:1.37
ARG PRICE
COPY --from=shared file /shared
RUN --mount=type=secret,id=token --mount=type=secret,id=plain \\
    cat /run/secrets/token /run/secrets/plain | wc -c > /seen && echo "$PRICE" > /price
"""


class Builds:
    def __init__(self, root: Path) -> None:
        self.instance = f"t{secrets.token_hex(4)}"
        self.canary = secrets.token_hex(8)
        more = f'instance = "{self.instance}"\n---\n{SETTINGS.format(canary=self.canary)}'
        self.world = ReaderWorld(root, more)
        self.lines: list[str] = []

    def build(self, files: dict[str, str]) -> str:
        """Build `web` as the runtime does when the engine alone cannot; the tag."""
        release = self.world.read(files)
        spec = release.service("web")
        assert spec.build is not None
        assert spec.build.needs_session
        with self.world.reader.build_model(self.world.environment, release, spec) as path:
            self.world.compose.build(path, "web", on_line=self.lines.append, cancel=CancelToken(), timeout_s=60)
        return spec.image


@pytest.fixture
def builds(tmp_path: Path) -> Iterator[Builds]:
    builds = Builds(tmp_path)
    yield builds
    with closing(docker.from_env()) as client:
        for image in client.images.list(filters={"label": f"{INSTANCE}={builds.instance}"}):
            client.images.remove(image.id, force=True)


FILES = {"compose.yaml": FILE, "web/Dockerfile": DOCKERFILE, "shared/file": "from the side", "plain.txt": "12345"}


def test_secrets_and_other_contexts_reach_the_build_and_nothing_else_does(builds: Builds) -> None:
    tag = builds.build(FILES)
    with closing(docker.from_env()) as client:
        labels = client.api.inspect_image(tag)["Config"]["Labels"]
        said = client.containers.run(
            tag, ["cat", "/seen", "/price", "/shared"], remove=True, labels={INSTANCE: builds.instance}
        )
    assert said.decode().split("\n") == [str(len("canary-") + 16 + 5), "5$", "from the side"]
    assert labels[INSTANCE] == builds.instance
    assert not any(builds.canary in line for line in builds.lines)
    assert list((builds.world.settings.state_dir / "scratch").iterdir()) == []


def test_a_step_that_fails_is_told_with_its_last_lines(builds: Builds) -> None:
    with pytest.raises(DeployError) as caught:
        builds.build({**FILES, "web/Dockerfile": DOCKERFILE + "RUN echo about to fail && exit 7\n"})
    assert caught.value.service == "web"
    assert "exit code: 7" in caught.value.message
    assert any("about to fail" in line for line in caught.value.log_tail)
