"""Commands that install and upgrade packages, as this host's own manager of them wants to be called."""

from __future__ import annotations

from agent.model.facts import Facts

# By whose packages they are; systemd/steps/packages.sh installs the same.
_ENGINE = {"docker": "docker-ce containerd.io", "debian": "docker.io containerd", "ubuntu": "docker.io containerd"}
_COMPOSE = {"docker": "docker-compose-plugin", "debian": "docker-compose", "ubuntu": "docker-compose-v2"}
# Amazon Linux has no package of it; the installer fetches the one of Docker's releases, where there is none.
_FETCH = "systemd/install.sh of a copy of the repository"
_FETCHED = "/usr/local/lib/docker/cli-plugins/docker-compose"


def install(facts: Facts, names: str) -> str:
    return f"dnf install {names}" if _has_dnf(facts) else f"apt-get update && apt-get install {names}"


def upgrade(facts: Facts, names: str) -> str:
    return f"dnf upgrade {names}" if _has_dnf(facts) else f"apt-get update && apt-get install --only-upgrade {names}"


def upgrade_engine(facts: Facts) -> str:
    return upgrade(facts, "docker containerd" if _has_dnf(facts) else _ENGINE[facts.host.docker_from])


def install_compose(facts: Facts) -> str:
    return _FETCH if _has_dnf(facts) else install(facts, _COMPOSE[facts.host.docker_from])


def upgrade_compose(facts: Facts) -> str:
    return f"rm {_FETCHED}, then {_FETCH}" if _has_dnf(facts) else upgrade(facts, _COMPOSE[facts.host.docker_from])


def _has_dnf(facts: Facts) -> bool:
    return facts.host.packager == "dnf"
