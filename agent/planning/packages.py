"""Commands that install and upgrade packages, as this host's own manager of them wants to be called."""

from __future__ import annotations

from agent.model.facts import Facts


def install(facts: Facts, names: str) -> str:
    return f"dnf install {names}" if _has_dnf(facts) else f"apt-get update && apt-get install {names}"


def upgrade(facts: Facts, names: str, *, dnf: str = "") -> str:
    """`dnf` where the packages are called otherwise in Amazon Linux."""
    if _has_dnf(facts):
        return f"dnf upgrade {dnf or names}"
    return f"apt-get update && apt-get install --only-upgrade {names}"


def _has_dnf(facts: Facts) -> bool:
    return facts.host.packager == "dnf"
