"""How Docker reads the files that images are made by, for those who decide what a push does."""

from __future__ import annotations

from agent.adapters.docker.dockerfile import Instruction, scan
from agent.adapters.docker.ignore import Ignore


class Recipes:
    """Docker's own semantics, held against real builds."""

    def ignore(self, text: str) -> Ignore:
        """Raises DeployError for patterns that Docker refuses."""
        return Ignore(text)

    def scan(self, text: str) -> tuple[Instruction, ...]:
        """The instructions of a Dockerfile, in their order."""
        return scan(text)
