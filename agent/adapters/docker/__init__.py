"""Docker through docker-py's low-level client: the only place that imports it."""

from agent.adapters.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
