"""Docker through docker-py's low-level client: the only place that imports it."""

from agent.adapters.docker.engine import DockerEngine
from agent.adapters.docker.recipes import Recipes

__all__ = ["DockerEngine", "Recipes"]
