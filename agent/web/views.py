"""How our nouns look as JSON: the shapes of openapi.json, field by field.

Nothing leaves here by accident: a new field of a noun is shown only once it is named here and in the
document. Times are ISO 8601 in UTC, durations are seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agent.model.deployment import Commit, Deployment, Failure
from agent.model.edit import Edit, printable
from agent.model.environment import Environment
from agent.model.event import Event
from agent.model.finding import Finding
from agent.model.labels import REVISION
from agent.model.observed import Container, Observed
from agent.model.route import RouteTable
from agent.model.spot import SpotNotice
from agent.planning import spot as spot_planning
from agent.planning.plan import Plan
from agent.runtime.doctor import Examination
from agent.runtime.inspect import Listed, Shown
from agent.runtime.operations import Accepted

Json = dict[str, Any]


def time(moment: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds and a `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else time(moment)


def examination(found: Examination) -> Json:
    return {
        "at": time(found.at),
        "verdict": found.verdict,
        "summary": found.summary,
        "findings": [_finding(one) for one in found.findings],
    }


def health(found: Examination | None) -> Json | None:
    """The last look at the host in a line; None before the first."""
    return None if found is None else {"at": time(found.at), "verdict": found.verdict, "summary": found.summary}


def spot(notice: SpotNotice | None) -> Json | None:
    if notice is None:
        return None
    return {"action": notice.action, "at": optional_time(notice.at), "says": spot_planning.says(notice)}


def _finding(one: Finding) -> Json:
    return {
        "check": one.check,
        "verdict": one.verdict,
        "says": one.says,
        "repair": one.repair,
        "fixes": dict(one.raises),
    }


def environment(row: Environment) -> Json:
    return {
        "slug": row.slug,
        "project": row.project,
        "branch": row.branch,
        "wanted": row.wanted,
        "pinned": row.pinned,
        "created_at": time(row.created_at),
        "created_by": row.created_by,
        "revision": row.revision,
        "deployed_revision": row.deployed_revision,
        "failed_revision": row.failed_revision,
        "edited": row.edited,
        "edited_by": row.edited_by,
        "edited_files": row.edited_files,
    }


def edit(one: Edit) -> Json:
    return {
        "id": one.id,
        "at": time(one.at),
        "user": one.user,
        "revision": one.revision,
        "base": one.base,
        "files": [printable(path) for path in one.files],
    }


def failure(why: Failure | None) -> Json | None:
    if why is None:
        return None
    return {
        "code": why.code,
        "message": why.message,
        "hint": why.hint,
        "service": why.service,
        "log_tail": list(why.log_tail),
    }


def commit(made: Commit | None) -> Json | None:
    if made is None:
        return None
    return {
        "revision": made.revision,
        "author": made.author,
        "subject": made.subject,
        "committed_at": time(made.committed_at),
    }


def deployment(one: Deployment) -> Json:
    return {
        "id": one.id,
        "slug": one.slug,
        "project": one.project,
        "branch": one.branch,
        "cause": one.cause,
        "caller": one.caller,
        "phase": one.phase,
        "started_at": time(one.started_at),
        "finished_at": optional_time(one.finished_at),
        "seconds": one.seconds,
        "revision": one.revision,
        "commit": commit(one.commit),
        "url": one.url,
        "done": list(one.done),
        "notices": list(one.notices),
        "failure": failure(one.failure),
        "timings": dict(one.timings),
    }


def optional_deployment(one: Deployment | None) -> Json | None:
    return None if one is None else deployment(one)


def accepted(answer: Accepted) -> Json:
    return {
        "environment": environment(answer.environment),
        "deployment": optional_deployment(answer.deployment),
        "new": answer.new,
        "text": answer.text,
    }


def listed(line: Listed) -> Json:
    return {
        "environment": environment(line.environment),
        "url": line.url,
        "summary": line.summary,
        "services": line.services,
        "deployment": optional_deployment(line.deployment),
    }


def shown(all_of_it: Shown) -> Json:
    return {
        "environment": environment(all_of_it.environment),
        "url": all_of_it.url,
        "urls": dict(all_of_it.urls),
        "summary": all_of_it.summary,
        "deployment": optional_deployment(all_of_it.deployment),
        "previous": [deployment(one) for one in all_of_it.previous],
        "observed": observed(all_of_it.observed),
        "plan": plan(all_of_it.plan),
    }


def observed(world: Observed) -> Json:
    return {
        "containers": [container(one) for one in world.containers],
        "networks": list(world.networks),
        "volumes": list(world.volumes),
        "images": sorted(world.own_images or ()),
        "checkout": world.checkout,
        "routed": None if world.routed is None else routes(world.routed),
        "confirmed": world.confirmed,
    }


def container(one: Container) -> Json:
    return {
        "id": one.id,
        "name": one.name,
        "service": one.service,
        "number": one.number,
        "state": one.state,
        "health": one.health,
        "exit_code": one.exit_code,
        "status": one.status,
        "revision": one.labels.get(REVISION, ""),
        "created_at": time(datetime.fromtimestamp(one.created_at, tz=UTC)),
        "addresses": dict(one.addresses),
    }


def routes(table: RouteTable) -> Json:
    return {
        "backend": table.backend,
        "revision": table.revision,
        "routes": [
            {
                "hostname": route.hostname,
                "service": route.service,
                "port": route.port,
                "containers": list(route.containers),
            }
            for route in table.routes
        ],
    }


def plan(decided: Plan) -> Json:
    return {
        "converged": decided.converged,
        "steps": [{"verb": step.verb, "subject": step.subject, "cause": step.cause} for step in decided.steps],
        "waiting": list(decided.waiting),
        "kept": list(decided.kept),
        "look_again_s": decided.look_again_s,
        "failure": failure(decided.failure),
        "text": str(decided),
    }


def event(happened: Event) -> Json:
    return {
        "id": happened.id,
        "at": time(happened.at),
        "kind": happened.kind,
        "slug": happened.slug,
        "caller": happened.caller,
        "text": happened.text,
        "data": dict(happened.data),
    }
