"""DockerEngine: everything the runtime asks of Docker, as `agent.runtime.ports.Engine` says it.

Lists are one call with label filters, never an inspect of each; an object that is gone already counts as
removed; nothing here retries or decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from docker.errors import APIError, NotFound

from agent.adapters.docker import care, decode, edge, facts, visitors
from agent.adapters.docker.build import run as run_build
from agent.adapters.docker.client import Client, explanation, is_disk_full, refusal
from agent.adapters.docker.delta import run as run_delta
from agent.adapters.docker.events import watch
from agent.adapters.docker.livesync import LiveSync
from agent.adapters.docker.logs import Following, clean, read_logs
from agent.adapters.docker.ownership import Ownership
from agent.adapters.docker.pull import run as run_pull
from agent.adapters.process import Cancel
from agent.errors import AgentError, DeployError, OutsideError
from agent.model.care import EngineFigures, StoredImage
from agent.model.edge import ContainerSpec, NetworkSpec
from agent.model.facts import EngineFacts
from agent.model.observed import Container, Network
from agent.model.release import BuildSpec, ExecHook
from agent.model.sync import FileContent, SyncReport

_START_FAULTS = (  # of what the compose file asks for; all else that a start can fail of passes by itself
    "oci runtime",
    "unable to find user",
    "unable to find group",
    "cannot mkdir",
    "invalid mount",
    "error while creating mount source path",
    "linux runtime spec",
    "could not select device driver",
    "invalid ipam config",
)
_START_LACKS = (
    "cannot allocate memory",
    "resource temporarily unavailable",
    "too many open files",
    "deadline exceeded",
)


class DockerEngine:
    """One engine, seen by one agent. Threads share it; making it asks nothing of Docker.

    `timeout_s` bounds the silence within a short call, `scratch_dir` is where build contexts are held while they
    are filtered (None: the system's temporary folder), `ownership_image` needs a shell with chown and find.
    """

    def __init__(
        self,
        base_url: str,
        instance: str,
        *,
        timeout_s: float = 60.0,
        scratch_dir: Path | None = None,
        ownership_image: str = "busybox:1.37",
    ) -> None:
        self._instance = instance
        self._client = Client(base_url, timeout_s=timeout_s)
        self._api = self._client.api
        self._scratch_dir = scratch_dir
        self._livesync = LiveSync(self._client)
        self._ownership = Ownership(self._client, image=ownership_image, instance=instance)

    # -- what there is ---------------------------------------------------------------------------------------

    def version(self) -> str:
        """The engine's version; OutsideError when it does not answer, which makes this a ping as well."""
        with self._client.asking("tell its version"):
            return str(self._api.version()["Version"])

    def facts(self, *, edge: str) -> EngineFacts:
        """What `butai doctor` judges by; `edge` names Traefik's container."""
        return facts.read(self._client, instance=self._instance, edge=edge)

    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]:
        return tuple(decode.container(entry) for entry in self._listed({"label": _labels(filters)}))

    def images(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        with self._client.asking("list images"):
            images = self._api.images(filters={"label": _labels(labels)})
        return {tag: image["Id"] for image in images for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"}

    def image_id(self, reference: str) -> str | None:
        with self._client.asking(f"look at the image {reference}"):
            try:
                return str(cast("Any", self._api).inspect_image(reference)["Id"])
            except NotFound:
                return None

    def networks(self, labels: Mapping[str, str]) -> Mapping[str, Network]:
        with self._client.asking("list networks"):
            networks = self._api.networks(filters={"label": _labels(labels)})
        return {entry["Name"]: Network(entry["Id"], decode.subnets(entry)) for entry in networks}

    def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        with self._client.asking("list volumes"):
            answer = self._api.volumes(filters={"label": cast("Any", _labels(labels))})
        return tuple(volume["Name"] for volume in answer["Volumes"] or ())

    def joined(self, container: str) -> frozenset[str]:
        """Names of the networks that the container called exactly `container` is attached to; empty when it is gone."""
        for entry in self._listed({"name": [f"^/?{container}$"]}):
            return frozenset(decode.joined(entry))
        return frozenset()

    # -- images ----------------------------------------------------------------------------------------------

    def build(
        self,
        spec: BuildSpec,
        context: Iterable[bytes],
        *,
        tag: str,
        on_line: Callable[[str], None],
        cancel: Cancel,
        timeout_s: float,
    ) -> str:
        return run_build(
            self._client,
            spec,
            context,
            tag=tag,
            on_line=on_line,
            cancel=cancel,
            timeout_s=timeout_s,
            scratch_dir=self._scratch_dir,
        )

    def delta(self, base: str, files: Iterable[FileContent], *, tag: str, cancel: Cancel, timeout_s: float) -> str:
        return run_delta(self._client, base, files, tag=tag, cancel=cancel, timeout_s=timeout_s)

    def pull(self, reference: str, *, platform: str, on_line: Callable[[str], None], cancel: Cancel) -> str:
        run_pull(self._client, reference, platform=platform, on_line=on_line, cancel=cancel)
        image_id = self.image_id(reference)
        if image_id is None:
            raise OutsideError(f"The image {reference} vanished while it was pulled.")
        return image_id

    def tag(self, source: str, target: str) -> None:
        name, _, tag = target.rpartition(":")
        with self._client.asking(f"tag {source} as {target}"):
            self._api.tag(source, name, tag)

    def untag(self, reference: str) -> None:
        with self._client.asking(f"remove the tag {reference}"):
            try:
                self._api.remove_image(reference)
            except NotFound:
                return

    # -- containers ------------------------------------------------------------------------------------------

    def start(self, container: str) -> None:
        with self._client.asking(f"start {container}"):
            try:
                self._api.start(container)
            except APIError as error:
                raise self._start_error(container, explanation(error)) from error

    def stop(self, container: str, *, grace_s: float) -> None:
        with self._client.asking(f"stop {container}"):
            try:
                self._api.stop(container, timeout=round(grace_s))
            except NotFound:
                return

    def restart(self, container: str, *, grace_s: float) -> None:
        with self._client.asking(f"restart {container}"):
            try:
                self._api.restart(container, timeout=round(grace_s))
            except APIError as error:
                raise self._start_error(container, explanation(error)) from error

    def execute(self, container: str, hook: ExecHook) -> tuple[int, list[str]]:
        with self._client.asking(f"run {hook.command[0]} in {container}"):
            made = self._api.exec_create(
                container,
                list(hook.command),
                user=hook.user,
                workdir=hook.working_dir or None,
                environment=dict(hook.environment),
            )
            said = self._api.exec_start(made["Id"])
            status = self._api.exec_inspect(made["Id"])["ExitCode"]
        return int(status or 0), [clean(line) for line in said.splitlines()]

    def visitors(self, container: str, *, besides: Collection[str]) -> int | None:
        return visitors.count(self._client, container, besides=besides)

    def unpause(self, container: str) -> None:
        with self._client.asking(f"unpause {container}"):
            try:
                self._api.unpause(container)
            except APIError as error:
                if "is not paused" not in explanation(error):
                    raise

    def remove(self, container: str) -> None:
        with self._client.asking(f"remove {container}"):
            try:
                self._api.remove_container(container, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in explanation(error):
                    raise

    def logs(
        self, container: str, *, tail: int | None, since: float | None = None, timestamps: bool = False
    ) -> list[str]:
        return read_logs(self._client, container, tail=tail, since=since, timestamps=timestamps)

    def follow(self, container: str, *, tail: int | None) -> Following:
        return Following(self._client, container, tail=tail)

    def sync(self, container: str, files: Iterable[FileContent]) -> SyncReport:
        return self._livesync.sync(container, files)

    def stats(self, container: str) -> Mapping[str, float]:
        with self._client.asking(f"measure {container}"):
            return decode.stats(cast("dict[str, Any]", self._api.stats(container, stream=False, one_shot=True)))

    def events(self, stop: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
        return watch(self._client, self._instance, stop)

    # -- networks and volumes --------------------------------------------------------------------------------

    def connect(self, network: str, container: str) -> None:
        with self._client.asking(f"join {container} to the network {network}"):
            try:
                self._api.connect_container_to_network(container, network)
            except APIError as error:
                if "already exists in network" not in explanation(error):
                    raise

    def disconnect(self, network: str, container: str) -> None:
        with self._client.asking(f"take {container} out of the network {network}"):
            try:
                self._api.disconnect_container_from_network(container, network, force=True)
            except NotFound:
                return
            except APIError as error:
                if "is not connected to" not in explanation(error):
                    raise

    def remove_network(self, network: str) -> None:
        with self._client.asking(f"remove the network {network}"):
            try:
                self._api.remove_network(network)
            except NotFound:
                return

    def remove_volume(self, volume: str) -> None:
        with self._client.asking(f"remove the volume {volume}"):
            try:
                self._api.remove_volume(volume)
            except NotFound:
                return

    # -- what the agent itself runs --------------------------------------------------------------------------

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the network exist as said; StateError when one of that name has another subnet and is in use."""
        edge.ensure_network(self._client, spec)

    def ensure_container(self, spec: ContainerSpec) -> None:
        """Make the container run as said: started when stopped, replaced when its `butai.config` label differs."""
        edge.ensure_container(self._client, spec)

    def own_tree(self, directory: Path, *, uid: int, gid: int) -> None:
        """Give everything in `directory` to `uid`:`gid`, whoever owns it now."""
        self._ownership.own(directory, uid=uid, gid=gid)

    def empty_tree(self, directory: Path) -> None:
        """Remove everything in `directory`, whoever owns it; the directory itself stays."""
        self._ownership.empty(directory)

    # -- looking after it ------------------------------------------------------------------------------------

    def figures(self) -> EngineFigures:
        return care.figures(self._client)

    def stored_images(self, labels: Mapping[str, str]) -> tuple[StoredImage, ...]:
        return care.stored_images(self._client, _labels(labels))

    def drop_image(self, image_id: str) -> bool:
        return care.drop(self._client, image_id)

    def cache_bytes(self) -> int:
        return care.cache_bytes(self._client)

    def prune_cache(self, keep_bytes: int) -> int:
        return care.prune_cache(self._client, keep_bytes)

    def _listed(self, filters: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        with self._client.asking("list containers"):
            return cast("list[dict[str, Any]]", self._api.containers(all=True, filters=dict(filters)))

    def _start_error(self, container: str, why: str) -> AgentError:
        lowered = why.lower()
        passing = is_disk_full(why) or any(lack in lowered for lack in _START_LACKS)
        if passing or not any(fault in lowered for fault in _START_FAULTS):
            return refusal(f"start {container}", why)
        service = next((decode.container(entry).service for entry in self._listed({"id": [container]})), "")
        subject = f"Service `{service}`" if service else f"Container {container}"
        return DeployError(
            f"{subject} cannot start: {_innermost(why)}", hint=_START_HINT, code="start-failed", service=service
        )


_START_HINT = "Correct its command, entrypoint, user, working directory or mounts."


def _labels(wanted: Mapping[str, str]) -> list[str]:
    """Label filters; an empty value asks for the label with any value."""
    return [f"{name}={value}" if value else name for name, value in wanted.items()]


def _innermost(why: str) -> str:
    """What the author can act on, out of a chain of wrapped errors."""
    *_, last = why.removesuffix(": unknown").split("unable to start container process: ")
    return last
