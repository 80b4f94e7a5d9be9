"""The engine's own words about itself, as versions of it write them."""

from __future__ import annotations

from agent.adapters.docker.facts import told
from agent.model.facts import EdgeContainer, EngineFacts, EngineNetwork
from agent.model.labels import INSTANCE

INFO = {
    "ServerVersion": "29.3.1",
    "DockerRootDir": "/data/docker",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]],
    "LoggingDriver": "local",
    "LiveRestoreEnabled": True,
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "SwapLimit": False,
    "DefaultAddressPools": [{"Base": "10.201.0.0/16", "Size": 26}],
    "RegistryConfig": {"Mirrors": ["https://mirror.gcr.io/"]},
}
NETWORKS = [
    {"Name": "butai-main", "IPAM": {"Config": [{"Subnet": "10.200.0.0/27"}]}, "Labels": {INSTANCE: "butai"}},
    {"Name": "other-main", "IPAM": {"Config": [{"Subnet": "10.99.0.0/27"}]}, "Labels": {INSTANCE: "other"}},
    {"Name": "host", "IPAM": {"Config": None}, "Labels": None},
]
WEB = {"NetworkSettings": {"Networks": {"butai-main": {}}}}
TRAEFIK = {"State": "running", "Image": "traefik:v3.7.15", "Command": "/entrypoint.sh --providers.file.watch=true"}


def test_everything_is_told_in_our_words() -> None:
    assert told(INFO, NETWORKS, [WEB, WEB], [TRAEFIK], instance="butai") == EngineFacts(
        version="29.3.1",
        places={"engine": "/data/docker"},
        storage_driver="overlay2",
        backing="xfs",
        log_driver="local",
        is_live_restoring=True,
        lacks=("swap",),
        pools=(("10.201.0.0/16", 26),),
        mirrors=("https://mirror.gcr.io/",),
        networks=(
            EngineNetwork("butai-main", ("10.200.0.0/27",), True, 2),
            EngineNetwork("other-main", ("10.99.0.0/27",), False, 0),
            EngineNetwork("host", (), False, 0),
        ),
        edge=EdgeContainer(True, "traefik:v3.7.15", ("/entrypoint.sh", "--providers.file.watch=true")),
    )


def test_what_an_engine_does_not_tell_is_empty() -> None:
    found = told({"RegistryConfig": {"Mirrors": None}}, [], [], [], instance="butai")
    assert found == EngineFacts(version="", lacks=("memory", "processors", "processes", "swap"))


def test_images_that_containerd_keeps_are_on_a_disk_of_their_own() -> None:
    info = {**INFO, "Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    found = told(info, [], [], [], instance="butai")
    assert found.places == {"engine": "/data/docker", "images": "/var/lib/containerd"}
