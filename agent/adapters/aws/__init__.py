"""Amazon's APIs: the records of hosted zones, roles of projects, and the keys of this host to both."""

from __future__ import annotations

from agent.adapters.aws.keys import HostKeys
from agent.adapters.aws.roles import Sts
from agent.adapters.aws.zone import Route53

__all__ = ["HostKeys", "Route53", "Sts"]
