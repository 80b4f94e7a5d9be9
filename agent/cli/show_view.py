"""How `butai show` reads: what is wanted, what runs, what comes next, and how the last attempt ended."""

from __future__ import annotations

import click

from agent.cli import render
from agent.cli.client import Json


def show(answer: Json, *, timing: bool) -> None:
    """The whole page, most important first; with `timing`, where the time of the last deployment went."""
    _wanted(answer)
    _containers(answer["observed"])
    _routes(answer["observed"])
    _plan(answer["plan"])
    if answer["deployment"]:
        _deployment(answer["deployment"])
        if timing:
            _timing(answer["deployment"])
    if answer["previous"]:
        _previous(answer["previous"])


def _wanted(answer: Json) -> None:
    environment = answer["environment"]
    branch, project = render.clean(environment["branch"]), render.clean(environment["project"])
    render.out(f"{click.style(branch, bold=True)} of {project}  {answer['url']}")
    pushes = "pinned: pushes are ignored" if environment["pinned"] else "follows pushes"
    _field("summary", render.word(render.clean(answer["summary"])))
    _field("wanted", f"{environment['wanted']}, {pushes}")
    _field("revision", _revisions(environment, answer["observed"]))
    if environment["edited"]:
        files = environment["edited_files"]
        counted = "1 file" if files == 1 else f"{files} files"
        _field("edited", f"by {render.clean(environment['edited_by'])}: {counted}")
    for service, url in answer["urls"].items():
        _field("also", f"{url} ({render.clean(service)})")
    _field("created", f"{environment['created_at']} by {render.clean(environment['created_by'])}")


def _revisions(environment: Json, world: Json) -> str:
    wanted, serves = environment["edited"] or environment["revision"], environment["deployed_revision"]
    parts = [f"{render.short(wanted)} wanted" if wanted else "not fetched yet"]
    if serves:
        parts.append("which serves" if serves == wanted else f"{render.short(serves)} serves")
    if environment["failed_revision"]:
        parts.append(f"{render.short(environment['failed_revision'])} failed")
    if world["checkout"] and world["checkout"] != wanted:
        parts.append(f"checkout at {render.short(world['checkout'])}")
    return ", ".join(parts)


def _containers(world: Json) -> None:
    _heading("Containers")
    rows = [
        (
            container["service"],
            container["state"],
            "" if container["health"] == "none" else container["health"],
            render.short(container["revision"]),
            container["name"],
            container["status"],
        )
        for container in world["containers"]
    ]
    if rows:
        render.table(("SERVICE", "STATE", "HEALTH", "REVISION", "NAME", "STATUS"), rows, indent="  ")
    else:
        render.out("  none")
    if world["volumes"]:
        _field("volumes", render.clean(", ".join(world["volumes"])))


def _routes(world: Json) -> None:
    routed = world["routed"]
    if not routed:
        return
    _heading("Routes")
    for route in routed["routes"]:
        answers = f"{route['service']}:{route['port']}" if routed["backend"] == "containers" else "a page of the agent"
        render.out(f"  {route['hostname']} -> {answers}")


def _plan(plan: Json) -> None:
    _heading("Plan")
    for line in plan["text"].splitlines():
        render.out(f"  {render.clean(line)}")


def _deployment(last: Json) -> None:
    took = f" after {render.seconds(last['seconds'])}" if last["seconds"] is not None else ""
    age = render.ago(last["finished_at"] or last["started_at"])
    _heading(f"Last deployment, {last['id']}")
    _field("phase", f"{render.word(last['phase'])}{took}, {age}")
    _field("cause", render.clean(last["cause"]))
    commit = last["commit"]
    if commit:
        words = f"{render.short(commit['revision'])} by {commit['author']}: {commit['subject']}"
        _field("commit", render.clean(words))
    if last["timings"]:
        _field("timings", ", ".join(f"{render.clean(name)} {taken:.1f} s" for name, taken in last["timings"].items()))
    for done in last["done"]:
        _field("done", render.clean(done))
    for notice in last["notices"]:
        _field("note", render.clean(notice))
    if last["failure"]:
        _failure(last["failure"])


def _timing(last: Json) -> None:
    """Steps that ran side by side may add up to more than all of it took."""
    _heading("Where the time went")
    spent = sorted(last["timings"].items(), key=lambda part: -part[1])
    rows = [(render.clean(part), f"{seconds * 1000:.1f} ms") for part, seconds in spent]
    if last["seconds"] is not None:
        rest = last["seconds"] - sum(last["timings"].values())
        rows += [("the rest", f"{max(rest, 0.0) * 1000:.1f} ms"), ("all of it", f"{last['seconds'] * 1000:.1f} ms")]
    render.table(("PART", "TIME"), rows, indent="  ")


def _failure(failure: Json) -> None:
    first, *more = render.clean_lines(failure["message"]) or [""]
    _field("failed", first)
    for line in more:
        _field("", line)
    if failure["service"]:
        _field("service", render.clean(failure["service"]))
    for line in failure["log_tail"]:
        render.out(f"    | {render.clean_log(line)}")
    if failure["hint"]:
        _field("hint", render.clean(failure["hint"]))


def _previous(deployments: list[Json]) -> None:
    _heading("Earlier")
    rows = [
        (
            str(one["id"]),
            one["phase"],
            render.seconds(one["seconds"]),
            render.short(one["revision"]),
            render.ago(one["finished_at"]),
            one["cause"],
        )
        for one in deployments
    ]
    render.table(("ID", "PHASE", "TOOK", "REVISION", "ENDED", "CAUSE"), rows, indent="  ")


def _heading(text: str) -> None:
    render.out()
    render.out(click.style(text, bold=True))


def _field(name: str, value: str) -> None:
    render.out(f"  {name:<9}{value}")
