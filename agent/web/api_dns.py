"""The calls about DNS: what is wanted and observed, what the zone's servers say, and taking records over."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint

from agent.errors import AgentError
from agent.model.dns import Record
from agent.runtime.dns import DnsAnswer, DnsLook
from agent.web.deps import Deps, caller

Json = dict[str, Any]


def add(routes: Blueprint, deps: Deps) -> None:
    """Put the calls on the API's blueprint."""

    @routes.get("/dns")
    def dns() -> tuple[Json, int]:
        return _looked(deps.dns.look()), HTTPStatus.OK

    @routes.get("/dns/check")
    def dns_check() -> tuple[Json, int]:
        answers = deps.dns.check()
        return {
            "ok": not any(one.problem for one in answers),
            "answers": [_answer(one) for one in answers],
        }, HTTPStatus.OK

    @routes.post("/dns/adopt")
    def dns_adopt() -> tuple[Json, int]:
        return {"text": deps.dns.adopt(caller=caller())}, HTTPStatus.OK


def _looked(look: DnsLook) -> Json:
    return {
        "domain": look.domain,
        "zone": look.zone,
        "agent": look.us,
        "owner": look.owner,
        "wanted": [_record(one) for one in look.wanted],
        "observed": [_record(one) for one in look.observed],
        "changes": [str(one) for one in look.changes],
        "problem": _problem(look.problem),
    }


def _record(one: Record) -> Json:
    return {
        "name": one.name,
        "type": one.type,
        "ttl_s": one.ttl_s,
        "values": list(one.values),
        "alias": one.alias.target if one.alias else "",
    }


def _problem(error: AgentError | None) -> Json | None:
    return None if error is None else {"code": error.code, "message": error.message, "hint": error.hint}


def _answer(one: DnsAnswer) -> Json:
    return {
        "server": one.server,
        "name": one.name,
        "type": one.type,
        "found": list(one.found),
        "problem": one.problem,
    }
