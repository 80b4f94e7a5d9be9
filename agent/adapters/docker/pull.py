"""Pulling an image: progress as short lines, and refusals found inside the 200."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docker import auth
from docker.errors import ImageNotFound
from docker.utils import parse_repository_tag

from agent.adapters.docker.client import API_VERSION, Client, EngineRefused, is_disk_full, refusal
from agent.adapters.process import Cancel
from agent.adapters.registries import is_missing, is_unreachable
from agent.errors import AgentError, CancelledError, DeployError, OutsideError


def run(client: Client, reference: str, *, platform: str, on_line: Callable[[str], None], cancel: Cancel) -> None:
    """Pull `reference`. DeployError when no registry has it, OutsideError when none answers, CancelledError."""
    repository, tag = parse_repository_tag(reference)
    params = {"fromImage": repository, "tag": tag or "latest", **({"platform": platform} if platform else {})}
    headers = {}
    login = auth.get_config_header(client.api, auth.resolve_repository_name(repository)[0])
    if login:
        headers["X-Registry-Auth"] = login.decode()
    line = client.line()
    take_back = cancel.on_cancel(line.cut)
    try:
        line.request("POST", "/images/create", params=params, body=(), headers=headers)
        for text in _progress(line.objects(), reference):
            on_line(text)
        if cancel.cancelled():
            raise CancelledError(f"The pull of {reference} was cancelled.")
    except EngineRefused as error:
        raise pull_error(reference, error.message) from error
    finally:
        take_back()
        line.close()


def create(client: Client, config: Mapping[str, Any], *, name: str = "", version: str = API_VERSION) -> str:
    """Create a container of the agent's own, pulling its image first where it is missing; its id. Raises APIError."""
    try:
        return client.create(config, name=name, version=version)
    except ImageNotFound:
        run(client, config["Image"], platform="", on_line=_unheard, cancel=_Never())
        return client.create(config, name=name, version=version)


def pull_error(reference: str, why: str) -> AgentError:
    """Who must act: the author of a reference that does not exist, or nobody while a registry is away."""
    if is_disk_full(why):
        return refusal(f"pull {reference}", why)
    if is_missing(why) and not is_unreachable(why):
        return DeployError(
            f"There is no image `{reference}` to pull: {why}",
            hint="Correct the name or the tag, or have the operator log in to its registry.",
            code="no-such-image",
        )
    return OutsideError(
        f"The registry of `{reference}` does not deliver: {why}", hint="It is tried again.", code="registry-unreachable"
    )


def _progress(answers: Iterator[dict[str, Any]], reference: str) -> Iterator[str]:
    """One line per layer and state, not one per percentage."""
    said: set[str] = set()
    for answer in answers:
        if "error" in answer:
            raise pull_error(reference, str(answer["error"]))
        text = ": ".join(part for part in (answer.get("id", ""), answer.get("status", "")) if part)
        if text not in said:
            said.add(text)
            yield text


class _Never:
    """Nobody takes back what the agent needs for itself."""

    def cancelled(self) -> bool:
        return False

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]:
        return act


def _unheard(line: str) -> None:
    """Nobody watches either."""
