"""After any sequence of pushes a container holds what a fresh one would, and no decision forgets a path."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model.change import Action, Change, Decision, Kind
from agent.model.release import BindMount, ServiceSpec, WatchAction, WatchRule
from agent.planning.changes import decide
from tests.support.changing import built, change, facts, stack
from tests.support.paperstage import Files, PaperStage
from tests.support.plans import service

MANY = int(os.environ.get("EXAMPLES", "60"))  # thousands find what a minute does not
PATHS = [
    "a",
    "b.tmp",
    "pkg.json",
    "src",
    "src/a",
    "src/b.tmp",
    "src/lib",
    "src/lib/c",
    "src/lib/d",
    "conf",
    "conf/x",
    "data/y",
]
FOLDERS = [".", "src", "src/lib", "conf", "data"]
STEPS = [
    "WORKDIR /app",
    "COPY . .",
    "COPY . /app",
    "COPY . /app/",
    "COPY src /app/src",
    "COPY src/ /srv",
    "COPY src/lib /app/lib",
    "COPY pkg.json /app/",
    "COPY pkg.json a /app/",
    "COPY *.json ./",
    "COPY src/* /app/",
    "COPY a /app/z",
    "COPY conf /etc/conf",
    "RUN make",
    "RUN --mount=type=bind,target=/x make",
    "VOLUME /app/data",
    "ENV A=1",
    "FROM first",
    "FROM scratch AS second",
    "COPY --from=first /app /app/first",
    "COPY --from=first / /out",
    "COPY --from=second / /second/",
]
PATTERNS = ["*.tmp", "**/*.tmp", "lib", "lib/d", "src/lib", "conf/", "**/d", "!src/lib/d", "a"]


# Made once: hypothesis examines a strategy anew for each draw that makes one.
PLAIN = st.tuples(st.sampled_from(["100644", "100755"]), st.sampled_from(["one", "two"]))
LINKED = PLAIN | st.tuples(st.just("120000"), st.sampled_from(["c", "../a", "/etc/passwd"]))
SIZES = (len(PATHS), 3, 3, 3, 3)
EDITS, LINKED_EDITS = (
    [st.dictionaries(st.sampled_from(PATHS), st.none() | content, min_size=1, max_size=size) for size in SIZES]
    for content in (PLAIN, LINKED)
)
LINES = st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)
TARGETS = st.sampled_from(["/app", "/app/src", "/app/lib", "/srv", "/etc/conf"])
MOUNTED = st.just({"/app": "."}) | st.dictionaries(TARGETS, st.sampled_from(FOLDERS), max_size=2)
OTHERS = st.sets(st.sampled_from(["/app/data", "/app/src/lib", "/cache"]), max_size=1)
EITHER = st.booleans()
WATCHED = st.sampled_from([*FOLDERS, "pkg.json", "a"])
ACTIONS = st.sampled_from(WatchAction)
IGNORED = st.lists(st.sampled_from(PATTERNS), max_size=2)
INCLUDED = st.lists(st.sampled_from(["**/*", "*.tmp", "lib"]), max_size=1)


@st.composite
def histories(draw: st.DrawFn, *, links: bool = False) -> list[Files]:
    """A few revisions, each with a change or three."""
    found: list[Files] = [{}]
    for edits in LINKED_EDITS if links else EDITS:
        merged = {**found[-1], **draw(edits)}
        there = {path: file for path, file in merged.items() if file is not None}
        found.append(
            {path: file for path, file in there.items() if not any(other.startswith(f"{path}/") for other in there)}
        )
    return found[1:]


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    known, kept = {"first"}, ["FROM scratch AS first"]
    for line in draw(LINES):
        if "--from=" in line and line.partition("--from=")[2].split()[0] not in known:
            continue
        known |= {"second"} if line == "FROM scratch AS second" else set()
        kept.append(line)
    return "\n".join(kept)


@st.composite
def mounts(draw: st.DrawFn) -> dict[str, object]:
    binds = [BindMount(source, target) for target, source in draw(MOUNTED).items()]
    if draw(EITHER):
        binds.append(BindMount("pkg.json", "/etc/pkg.json", is_file=True))
    return {"binds": tuple(binds), "other_mounts": tuple(draw(OTHERS))}


@st.composite
def rules(draw: st.DrawFn) -> WatchRule:
    path = draw(WATCHED)
    return WatchRule(
        path=path,
        action=draw(ACTIONS),
        target="/app" if path == "." else f"/app/{path}",
        ignore=tuple(draw(IGNORED)),
        include=tuple(draw(INCLUDED)),
    )


ignores = st.lists(st.sampled_from(PATTERNS), max_size=3).map("\n".join)


@settings(max_examples=MANY, deadline=None)
@given(histories(), dockerfiles(), ignores, mounts())
def test_what_is_mounted_over_its_image_is_seen_as_a_fresh_build_would_show_it(
    pushed: list[Files], dockerfile: str, dockerignore: str, mounted: dict[str, object]
) -> None:
    stage = PaperStage(built("web", **mounted), dockerfile, dockerignore, pushed[0])  # type: ignore[arg-type]
    for files in pushed[1:]:
        stage.push(files)
        assert stage.seen() == stage.fresh()


@settings(max_examples=MANY, deadline=None)
@given(histories(), mounts())
def test_what_only_mounts_the_checkout_sees_it_as_a_new_container_would(
    pushed: list[Files], mounted: dict[str, object]
) -> None:
    stage = PaperStage(service("db", **mounted), "", "", pushed[0])
    for files in pushed[1:]:
        stage.push(files)
        assert stage.seen() == stage.fresh()
        assert stage.actions[-1] in (Action.NOTHING, Action.RECREATE)


@settings(max_examples=MANY, deadline=None)
@given(
    histories(links=True),
    ignores,
    st.lists(rules(), min_size=1, max_size=3),
    mounts(),
)
def test_what_is_copied_as_the_build_copies_it_ends_as_a_fresh_build_would(
    pushed: list[Files], dockerignore: str, watch: list[WatchRule], mounted: dict[str, object]
) -> None:
    spec = built("web", *watch, **mounted)  # type: ignore[arg-type]
    stage = PaperStage(spec, "FROM scratch\nCOPY . /app", dockerignore, pushed[0])
    for files in pushed[1:]:
        stage.push(files)
        assert stage.seen() == stage.fresh()


LETTERS = [
    "A {}",
    "M {}",
    "x {}",
    "D {}",
    "L {} -> c",
    "L {} -> ../../x",
    "T {} -> c",
    "U {}",
    "-L {}",
    "G {}",
    "-G {}",
]
texts = st.builds(lambda letter, path: letter.format(path), st.sampled_from(LETTERS), st.sampled_from(PATHS))
pushes = st.lists(texts, max_size=6, unique_by=lambda text: text.split()[1])


CONTEXTS = st.sampled_from([".", "src"])
RULES = st.lists(rules(), max_size=3)
MOUNTS = mounts()


@st.composite
def stacks(draw: st.DrawFn) -> tuple[ServiceSpec, ...]:
    web = built("web", *draw(RULES), context=draw(CONTEXTS), **draw(MOUNTS))
    return (web, service("db", **draw(MOUNTS)))


def decided(services: tuple[ServiceSpec, ...], lines: list[str], dockerignore: str = "") -> Decision:
    known = facts(*lines, dockerignore=dockerignore, dockerfiles={"web": "FROM a\nCOPY pkg.json /\nRUN x\nCOPY . /app"})
    return decide([change(line) for line in lines], stack(*services, inputs=("conf/x",)), known)


@settings(max_examples=MANY, deadline=None)
@given(stacks(), pushes, ignores)
def test_every_changed_path_is_accounted_for_once(
    services: tuple[ServiceSpec, ...], lines: list[str], dockerignore: str
) -> None:
    decision = decided(services, lines, dockerignore)
    named = {path for verdict in decision.verdicts for cause in verdict.causes for path in cause.paths}
    assert named | set(decision.reread) | set(decision.unused) == {change(line).path for line in lines}
    assert not set(decision.unused) & (named | set(decision.reread))


@settings(max_examples=MANY, deadline=None)
@given(stacks(), pushes, pushes, ignores)
def test_more_changes_never_ask_for_less(
    services: tuple[ServiceSpec, ...], lines: list[str], more: list[str], dockerignore: str
) -> None:
    paths = {line.split()[1] for line in lines}
    more = [line for line in more if line.split()[1] not in paths]
    few, many = decided(services, lines, dockerignore), decided(services, lines + more, dockerignore)
    for less, greater in zip(few.verdicts, many.verdicts, strict=True):
        assert less.action <= greater.action
        assert less.recreate <= greater.recreate
        assert (less.restart or less.recreate) <= (greater.restart or greater.recreate)
    assert set(few.reread) <= set(many.reread)


@settings(max_examples=MANY, deadline=None)
@given(stacks(), pushes, st.randoms(use_true_random=False))
def test_the_order_of_changes_does_not_matter(services: tuple[ServiceSpec, ...], lines: list[str], by: object) -> None:
    shuffled = list(lines)
    by.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decided(services, shuffled) == decided(services, lines)


@settings(max_examples=MANY, deadline=None)
@given(stacks(), pushes, ignores)
def test_a_deletion_is_never_a_copy_and_a_copy_lies_below_its_rules_target(
    services: tuple[ServiceSpec, ...], lines: list[str], dockerignore: str
) -> None:
    changes: dict[str, Change] = {found.path: found for found in map(change, lines)}
    for verdict in decided(services, lines, dockerignore).verdicts:
        for file in verdict.files:
            assert (file.blob == "") is (changes[file.path].kind is Kind.DELETED)
            assert file.mode == changes[file.path].mode
            assert file.target == "/app" or file.target.startswith("/app/")
            assert ".." not in file.target.split("/")
        blobs = [bool(file.blob) for file in verdict.files]
        assert blobs == sorted(blobs)


@settings(max_examples=MANY, deadline=None)
@given(pushes)
def test_what_is_left_out_and_under_no_rule_and_in_no_mount_does_nothing(lines: list[str]) -> None:
    lines = [line for line in lines if "G " not in line]
    decision = decided((built("web"), service("db")), lines, "**")
    assert [verdict.action for verdict in decision.verdicts] == [Action.NOTHING, Action.NOTHING]


@settings(max_examples=MANY, deadline=None)
@given(stacks(), pushes, ignores)
def test_a_rebuild_carries_nothing_and_nothing_else_is_a_rebuild(
    services: tuple[ServiceSpec, ...], lines: list[str], dockerignore: str
) -> None:
    for verdict in decided(services, lines, dockerignore).verdicts:
        if verdict.action is Action.REBUILD:
            assert (verdict.files, verdict.execs, verdict.behind, verdict.mounted) == ((), (), False, 0)
            assert verdict.service == "web"
        assert bool(verdict.files) <= (verdict.action is not Action.NOTHING)
        assert (verdict.action is Action.NOTHING) is verdict.title.startswith(("nothing", "check out"))
