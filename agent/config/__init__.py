"""Settings: config.toml in, frozen and validated settings out, or every problem at once."""

from __future__ import annotations

from agent.config.loading import load, parse
from agent.config.project import Allow, Project
from agent.config.reload import Live, Reloaded
from agent.config.secret import Secret
from agent.config.sections import Docker, Forges, GitHub, Limits, Server, Slack, Traefik
from agent.config.settings import Settings

__all__ = [
    "Allow",
    "Docker",
    "Forges",
    "GitHub",
    "Limits",
    "Live",
    "Project",
    "Reloaded",
    "Secret",
    "Server",
    "Settings",
    "Slack",
    "Traefik",
    "load",
    "parse",
]
