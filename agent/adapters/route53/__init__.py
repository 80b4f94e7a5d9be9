"""Amazon Route53: the records of one hosted zone."""

from __future__ import annotations

from agent.adapters.route53.zone import Route53

__all__ = ["Route53"]
