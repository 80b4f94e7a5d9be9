"""What the policy makes of a resolved model, without Compose, git or an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.config import Allow
from agent.errors import DeployError
from agent.planning import policy
from agent.planning.findings import Findings
from agent.planning.rules import Rules
from agent.planning.tree import Tree

ROOT = "/scratch"
FILES = {
    "compose.yaml": "100644",
    "Dockerfile": "100644",
    "api/Dockerfile.dev": "100644",
    "conf/app.ini": "100644",
    "src/app.py": "100644",
    "away": "120000",
    "home": "120000",
}
LINKS = {"away": "/etc", "home": "src"}


@dataclass(frozen=True, slots=True)
class Judged:
    checked: policy.Checked
    refusals: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def web(self) -> Mapping[str, Any]:
        return self.checked.services["web"]


def judge(
    web: Mapping[str, Any] | None = None,
    *,
    allow: Allow | None = None,
    variables: Mapping[str, str] | None = None,
    **model: Any,
) -> Judged:
    """Judge a model whose service `web` has these fields; there is always a service `db`."""
    services = {"web": {"image": "nginx", **(web or {})}, "db": {"image": "mariadb:11"}}
    findings = Findings(lambda _subject, _field: "compose.yaml", project="shop")
    rules = Rules(
        root=ROOT,
        tree=Tree(FILES, lambda path: LINKS[path]),
        instance="butai",
        stack="butai-main",
        domain="stage.test",
        allow=allow or Allow(),
        variables=variables or {},
    )
    checked = policy.check({"name": "butai-main", "services": services, **model}, rules=rules, findings=findings)
    refusals: tuple[str, ...] = ()
    try:
        findings.raise_refusals()
    except DeployError as error:
        refusals = tuple(error.message.splitlines())
    return Judged(checked, refusals, findings.notices)
