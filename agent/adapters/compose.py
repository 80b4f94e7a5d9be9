"""The official Compose plugin: the only complete reader of compose files, and the creator of containers.

Every call has an environment of its own, made here: nothing of the agent's or of a repository's `.env` reaches
the program, and no file but those named is read. The plugin is called by its own name where it is found: through
`docker` each call takes 70 ms longer (measured with Compose 2.26).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.adapters import yamlfile
from agent.adapters.process import Cancel, Completed, run, short_environment
from agent.adapters.registries import is_unreachable
from agent.errors import DeployError, OutsideError

RESOLVE_TIMEOUT_S = 20.0
CREATE_TIMEOUT_S = 120.0

_NOWHERE = "/butai-has-no-home"  # what `~` and a bare HOME become while a file is resolved: refused by the policy
_PLUGIN_DIRS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_NO_REMOTES = {"COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"}
_NOISE = re.compile(r'time="[^"]*" level=\w+ msg="?|^WARN.*')
# The engine's own words for what passes by itself: something that just went, an engine that restarts.
_OUR_TROUBLE = (
    "Cannot connect to the Docker daemon",
    "No such image",
    "No such container",
    "Pool overlaps",
    " not found",
    "is already in use",
    "context deadline exceeded",
    "i/o timeout",
)
_TAIL_LINES = 20


class ComposeCli:
    """Compose for one engine. `docker_host` is the engine's address; resolving does not need it."""

    def __init__(self, docker_host: str) -> None:
        self._docker_host = docker_host
        self._program = _program()

    def parse(self, data: bytes, *, path: str) -> Any:
        """A compose file as plain data, within bounds. DeployError that names `path` when it cannot be read."""
        return yamlfile.parse(data, path=path)

    def resolve(
        self,
        directory: Path,
        *,
        files: Sequence[str],
        profiles: Sequence[str],
        environment: Mapping[str, str],
        stack: str,
    ) -> Mapping[str, Any]:
        """The resolved model of `files` in `directory`; paths in it are absolute, dollars doubled.

        `environment` is all that `${NAME}` and bare names are read from. Needs no engine. DeployError says in
        Compose's words what is wrong with the files, or that they took longer than 20 s.
        """
        ours = {**short_environment(**_NO_REMOTES), "HOME": _NOWHERE, "DOCKER_CONFIG": _NOWHERE}
        with tempfile.NamedTemporaryFile("w", suffix=".env", encoding="utf-8") as env_file:
            env_file.write("".join(f"{name}={_quoted(value)}\n" for name, value in environment.items()))
            env_file.flush()
            argv = [*self._program, "-p", stack, "--env-file", env_file.name]
            argv += [part for file in files for part in ("-f", str(directory / file))]
            argv += [part for profile in profiles for part in ("--profile", profile)]
            try:
                done = run([*argv, "config", "--format", "json"], env=ours, cwd=directory, timeout_s=RESOLVE_TIMEOUT_S)
            except OutsideError as error:
                if error.code == "program-missing":
                    raise
                raise _unreadable(files, f"it takes more than {RESOLVE_TIMEOUT_S:g} s or too much room") from error
        if not done.ok:
            raise _unreadable(files, _reason(done, directory))
        return _without(json.loads(done.stdout), ours)

    def version(self) -> str | None:
        """As it tells it; None where there is no Compose."""
        try:
            done = run([*self._program, "version", "--short"], env=short_environment(), timeout_s=RESOLVE_TIMEOUT_S)
        except OutsideError:
            return None
        return done.text.strip() if done.ok else None

    def create(self, stack: str, model_path: Path, *, scale: Mapping[str, int], cancel: Cancel) -> None:
        """Create networks, volumes and the missing containers up to `scale`.

        Existing containers are never touched (`--no-recreate`), as long as `scale` names every service of the model
        with at least the number there is: Compose removes what is above it. Images must be there.
        """
        argv = [*self._program, "-p", stack, "--env-file", os.devnull, "-f", str(model_path)]
        argv += ["create", "--no-recreate", "--no-build", "--pull", "never"]
        argv += [part for name, count in scale.items() for part in ("--scale", f"{name}={count}")]
        done = run(
            argv, env=self._engine_environment(), cwd=model_path.parent, timeout_s=CREATE_TIMEOUT_S, cancel=cancel
        )
        if done.ok:
            return
        reason = _reason(done, model_path.parent)
        if any(trouble in reason for trouble in _OUR_TROUBLE):
            raise OutsideError(f"Containers could not be created yet: {reason}", code="create-failed")
        raise DeployError(f"Containers could not be created: {reason}", hint=_HINT, code="create-failed")

    def build(
        self, model_path: Path, service: str, *, on_line: Callable[[str], None], cancel: Cancel, timeout_s: float
    ) -> None:
        """`compose build SERVICE`, for what needs a client session. DeployError carries the last lines."""
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            del lines[:-_TAIL_LINES]
            on_line(line)

        argv = [*self._program, "--env-file", os.devnull, "-f", str(model_path), "--progress", "plain"]
        done = run(
            [*argv, "build", service],
            env=self._engine_environment(session=True),
            cwd=model_path.parent,
            timeout_s=timeout_s,
            cancel=cancel,
            on_line=hear,
        )
        if done.ok:
            return
        reason = _reason(done, model_path.parent)
        if is_unreachable(reason):
            raise OutsideError(f"The build could not fetch what it needs: {reason}", code="build-fetch")
        raise DeployError(
            f"The image of service `{service}` could not be built: {reason}",
            hint="The step that failed is the last one in the build log.",
            code="build-failed",
            service=service,
            log_tail=tuple(lines),
        )

    def _engine_environment(self, *, session: bool = False) -> dict[str, str]:
        """A session may use the agent's own registry logins and, if it has one, its SSH agent."""
        env = short_environment(**_NO_REMOTES, DOCKER_HOST=self._docker_host, COMPOSE_IGNORE_ORPHANS="true")
        env["HOME"] = env["DOCKER_CONFIG"] = _NOWHERE
        if session:
            del env["DOCKER_CONFIG"]
            env |= {name: os.environ[name] for name in ("HOME", "DOCKER_CONFIG", "SSH_AUTH_SOCK") if name in os.environ}
        return env


_HINT = "Compare what it says with the compose file."


def _program() -> tuple[str, ...]:
    for folder in _PLUGIN_DIRS:
        if os.access(plugin := f"{folder}/docker-compose", os.X_OK):
            return (plugin,)
    return ("docker", "compose")


def _quoted(value: str) -> str:
    """A value for an env file such that Compose reads exactly it: nothing is expanded, nothing ends early."""
    escaped = re.sub(r'([\\"$])', r"\\\1", value).replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _without(model: Mapping[str, Any], ours: Mapping[str, str]) -> Mapping[str, Any]:
    """The model without variables of the program itself: a bare `PATH:` asks for the author's, not for ours."""
    for service in (model.get("services") or {}).values():
        environment = service.get("environment") or {}
        for name in [name for name, value in environment.items() if name in ours and value == ours[name]]:
            del environment[name]
    return model


def _reason(done: Completed, directory: Path) -> str:
    """What Compose said last, without our folder's name: its warnings come first, and some reasons take three lines."""
    lines = [_NOISE.sub("", line).strip().rstrip('"') for line in done.complaint.splitlines()]
    said = [line for line in lines if line and "variable is not set" not in line]
    text = " ".join(said[-3:]) if said else f"it ended with exit code {done.exit_code}"
    return text.replace(f"{directory}/", "").replace(str(directory), ".")


def _unreadable(files: Sequence[str], reason: str) -> DeployError:
    return DeployError(
        f"Compose cannot read {', '.join(files)}: {reason}.".replace("..", "."),
        hint="`docker compose config` says the same on your machine.",
        code="compose-unreadable",
    )
