"""The composition root: the parts, the life of the agent that is made of them, and the commands that need both."""

from __future__ import annotations

from agent.daemon.commands import doctor, fix, main, rebuild_database, wall
from agent.daemon.life import Daemon

__all__ = ["Daemon", "doctor", "fix", "main", "rebuild_database", "wall"]
