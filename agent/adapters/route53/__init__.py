"""Amazon Route53: the records of one hosted zone, and the keys to it."""

from __future__ import annotations

from agent.adapters.route53.keys import HostKeys
from agent.adapters.route53.zone import Route53

__all__ = ["HostKeys", "Route53"]
