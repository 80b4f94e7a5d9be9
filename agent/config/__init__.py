"""Settings: config.toml in, frozen and validated settings out, or every problem at once."""

from __future__ import annotations

from agent.config.loading import load, parse
from agent.config.project import Allow, Project
from agent.config.reload import files, keep, needs_restart
from agent.config.secret import Secret
from agent.config.sections import (
    Care,
    Dns,
    Docker,
    Firewall,
    Forges,
    GitHub,
    Limits,
    LoadBalancer,
    Server,
    Slack,
    Traefik,
)
from agent.config.settings import Settings

__all__ = [
    "Allow",
    "Care",
    "Dns",
    "Docker",
    "Firewall",
    "Forges",
    "GitHub",
    "Limits",
    "LoadBalancer",
    "Project",
    "Secret",
    "Server",
    "Settings",
    "Slack",
    "Traefik",
    "files",
    "keep",
    "load",
    "needs_restart",
    "parse",
]
