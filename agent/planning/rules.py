"""What a check of a compose model needs to know: the revision's files and the operator's relaxations."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from agent.config import Allow
from agent.model.labels import PREFIX
from agent.planning.findings import Findings
from agent.planning.tree import Outside, Place, Tree

_FOREIGN_LABELS = ("traefik.", "com.docker.compose.", PREFIX)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that decides about a field, beside the field."""

    root: str  # the folder that Compose resolved paths against: they are absolute in the model
    tree: Tree
    instance: str  # names that begin with it belong to environments
    stack: str
    domain: str
    allow: Allow
    variables: Mapping[str, str]  # the operator's, for configs and secrets that are read from the environment

    def place(self, path: str) -> Place:
        """Where an absolute path of the model leads in the repository. Raises Outside."""
        if path == self.root:
            return self.tree.find("")
        if not path.startswith(f"{self.root}/"):
            raise Outside(f"`{self._as_written(path)}` is outside the repository")
        return self.tree.find(path[len(self.root) + 1 :])

    def _as_written(self, path: str) -> str:
        """A path above our scratch folder was written with `..`; what it is called here is nobody's business."""
        first = self.root.split("/")[:2]
        return posixpath.relpath(path, self.root) if path.split("/")[:2] == first else path


@dataclass(frozen=True, slots=True)
class Subject:
    """What is under check, as people read it ("service web"), and where its findings go."""

    title: str
    rules: Rules
    findings: Findings

    @property
    def name(self) -> str:
        return self.title.partition(" ")[2]

    def refuse(self, field: str, reason: str, *, allow: str = "") -> None:
        """`allow` is the last part of the operator's setting that would permit it."""
        self.findings.refuse(self.title, field, reason, allow=allow)

    def note(self, text: str) -> None:
        self.findings.note(f"{self.title.removeprefix('service ')}: {text}")

    def labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Labels without those that steer Traefik, Compose or us."""
        kept = {name: value for name, value in labels.items() if not name.lower().startswith(_FOREIGN_LABELS)}
        for name in sorted(set(labels) - set(kept)):
            hint = "routes are made from the ports" if name.lower().startswith("traefik.") else "it is not yours to set"
            self.note(f"the label `{name}` was removed: {hint}.")
        return kept


def is_set(value: object) -> bool:
    """Whether a field says anything: Compose writes null, "" and empty collections for what nobody set."""
    return value not in (None, "", False, {}, [])
