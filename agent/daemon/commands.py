"""What a command does by itself, without an agent: serve, read a lost database back, look at the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent import config, logs
from agent.adapters import frontdoor, host, hostfacts, iptables, lock, sysctl
from agent.adapters.clock import SystemClock
from agent.adapters.compose import ComposeCli
from agent.adapters.docker import DockerEngine
from agent.adapters.traefik import Traefik
from agent.config import Settings
from agent.daemon.life import Daemon
from agent.daemon.parts import instance
from agent.errors import OutsideError
from agent.model.environment import Environment
from agent.planning import edge, firewall, routing
from agent.runtime.doctor import Doctor
from agent.runtime.firewall import FirewallKeeper
from agent.runtime.rebuild import rebuild
from agent.store import Store


def main(config_path: Path) -> int:
    """Run the agent until SIGTERM or SIGINT. ConfigError and StateError refuse to start."""
    settings = config.load(config_path)
    logs.configure(settings)
    with lock.only_one(settings.state_dir):
        daemon = Daemon(config_path, settings)
        daemon.run()
    return daemon.exit_code


def rebuild_database(settings: Settings) -> tuple[Environment, ...]:
    """Read lost environments back from Docker's labels; the agent must not be running (StateError).

    May be run as root: what it makes belongs to the owner of the state directory.
    """
    with lock.only_one(settings.state_dir):
        try:
            engine = DockerEngine(settings.docker.host, settings.instance)
            store = Store.open(settings.state_dir / "butai.db")
            traefik = Traefik(lambda: settings, engine=engine, routing=routing, layout=edge)
            found = rebuild(settings=settings, store=store, engine=engine, edge=traefik, clock=SystemClock())
            store.close()
        finally:
            host.hand_over(settings.state_dir)
    return found


def doctor(settings: Settings) -> Doctor:
    """Looks at this host without an agent, with the rights of whoever asks; nothing is begun and nothing changed."""
    return Doctor(
        settings=lambda: settings,
        clock=SystemClock(),
        host=hostfacts,
        disks=host,
        engine=DockerEngine(settings.docker.host, settings.instance),
        compose=ComposeCli(settings.docker.host),
        instance=instance(),
        door=frontdoor,
    )


def wall(settings: Settings) -> None:
    """Put up the wall before Docker starts, and with it the containers that ask for that. OutsideError when it cannot.

    The agent keeps it standing, but rules do not outlive the host's start, and it starts after Docker.
    """
    keeper = FirewallKeeper(settings=lambda: settings, firewall=iptables, plan=firewall.ahead)
    keeper.look()
    if keeper.problem:
        raise OutsideError(keeper.problem, hint="Needs CAP_NET_ADMIN, as butai-wall.service gives it.", code="no-wall")


def fix(repairs: Mapping[str, int]) -> None:
    """Raise these settings of the kernel, for now and for good. RequestError: only root may."""
    sysctl.raise_to(repairs)
