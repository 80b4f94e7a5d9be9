"""What is copied into a container stands there with the owner and the mode of a build, or it is built."""

from __future__ import annotations

import pytest

from tests.support.changing import Case, built, case, rule

WEB = built("web", rule("sync . -> /app"))
OWNED = "WORKDIR /app\nCOPY --chown=1000:1000 {} .\n"


def given(copied: str, **more: object) -> dict[str, object]:
    return {"dockerfiles": {"web": f"FROM a\n{copied}"}, **more}


SYNC = "sync 1 file to web\n  {}: watch rule . -> /app"
OWNER = "rebuild web\n  {}: watch rule . -> /app, but `--chown` gives it an owner"
MODE = "rebuild web\n  {}: watch rule . -> /app, but `--chmod` gives it a mode"

CASES = (
    case("a new file of nobody's", WEB, "A a.py", plan=SYNC.format("a.py"), **given("COPY . /app")),
    case("a changed file keeps its owner", WEB, "M a.py", plan=SYNC.format("a.py"), **given(OWNED.format("."))),
    case("and so it does with another mode", WEB, "x a.py", plan=SYNC.format("a.py"), **given(OWNED.format("."))),
    case("a deleted file has no owner", WEB, "D a.py", plan=SYNC.format("a.py"), **given(OWNED.format("."))),
    case("a new file in the destination itself", WEB, "A a.py", plan=OWNER.format("a.py"), **given(OWNED.format("."))),
    case(
        "a new file in a folder that was copied with its owner",
        WEB,
        "A lib/a.py",
        plan=SYNC.format("lib/a.py"),
        **given(OWNED.format("."), stood=("lib",)),
    ),
    case("a new file in a new folder", WEB, "A lib/a.py", plan=OWNER.format("lib/a.py"), **given(OWNED.format("."))),
    case(
        "a new file in a folder whose content is the destination's",
        WEB,
        "A lib/a.py",
        plan=OWNER.format("lib/a.py"),
        **given(OWNED.format("lib"), stood=("lib",)),
    ),
    case(
        "a source that cannot be read plainly",
        WEB,
        "A lib/a.py",
        plan=OWNER.format("lib/a.py"),
        **given(OWNED.format("*"), stood=("lib",)),
    ),
    case(
        "a mode that git does not have",
        WEB,
        "x lib/a.py",
        plan=MODE.format("lib/a.py"),
        **given("COPY --chmod=755 . /app", stood=("lib",)),
    ),
    case("content alone", WEB, "M a.py", plan=SYNC.format("a.py"), **given("COPY --chmod=755 . /app")),
)


@pytest.mark.parametrize("given", CASES, ids=lambda given: given.title)
def test_what_a_build_would_own_otherwise_is_built(given: Case) -> None:
    assert given.decision == given.plan
