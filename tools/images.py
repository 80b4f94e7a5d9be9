"""Makes sure that every image of the tests and the demo is on this machine: there already, pulled, or built here.

A second run asks the engine one question and is done. Nothing is ever built over an image that was pulled.
"""

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools import rootfs
from tools.console import SetupError, call, only_one, say, work

RECIPES_DIR = Path(__file__).resolve().parent.parent / "tests" / "images"
LOCAL_LABEL = "butai.images"
RECIPE_LABEL = "butai.images.recipe"
PULL_TIMEOUT_S = 300
BASE = "debian:bookworm-slim"
# In the order in which they are wanted first; what an image stands on is put before it.
IMAGES: Mapping[str, str] = {
    "busybox:1.37": "busybox",
    "traefik:v3.7.15": "traefik",
    BASE: "",
    "python:3.11-slim": "python",
    "node:20-slim": "node",
    "nginx:1.28": "nginx",
    "mariadb:11": "mariadb",
    "redis:7": "redis",
}
# A registry that answers "no such image" can still be asked for the next one; any other failure is the network's.
ANSWERED = re.compile(r"manifest unknown|not found|no matching manifest", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Present:
    """An image that is here, and the recipe it was built from; a pulled one has none."""

    name: str
    recipe: str | None


def parents(dockerfile: str) -> tuple[str, ...]:
    """Return the images that a Dockerfile starts from, its own stages and `scratch` left out."""
    starts = re.findall(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?", dockerfile, flags=re.MULTILINE | re.IGNORECASE)
    stages = {stage for _, stage in starts} | {"scratch"}
    return tuple(dict.fromkeys(name for name, _ in starts if name not in stages))


def in_order(wanted: Iterable[str], stands_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Put before each image what it stands on, and keep the order of need otherwise."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for parent in stands_on.get(name, ()):
            add(parent)
        if name not in ordered:
            ordered.append(name)

    for name in wanted:
        add(name)
    return tuple(ordered)


def missing(wanted: Iterable[str], present: Iterable[Present], recipes: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is not here, or was built here from another recipe than today's."""
    here = {each.name: each.recipe for each in present}
    return tuple(name for name in wanted if name not in here or here[name] not in (None, recipes[name]))


def recipes_of(folders: Mapping[str, str], stands_on: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return a fingerprint per image of all that decides what a local build of it holds, its parents' included."""
    prints: dict[str, str] = {}
    for name in in_order(folders, stands_on):
        digest = hashlib.sha256("".join(prints[parent] for parent in stands_on[name]).encode())
        for path in sorted((RECIPES_DIR / folders[name]).iterdir()) if folders[name] else ():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        if not folders[name]:
            digest.update(rootfs.recipe().encode())
        prints[name] = digest.hexdigest()[:16]
    return prints


def ensure() -> None:
    """Have every image, or raise SetupError."""
    stands_on = {
        name: parents((RECIPES_DIR / folder / "Dockerfile").read_text(encoding="utf-8")) if folder else ()
        for name, folder in IMAGES.items()
    }
    order = in_order(IMAGES, stands_on)
    recipes = recipes_of(IMAGES, stands_on)
    if not missing(order, _present(order), recipes):
        say("images", f"all {len(order)} images are here")
        return
    with only_one():
        lacking = missing(order, _present(order), recipes)
        say("images", f"{len(lacking)} of {len(order)} images are missing: {', '.join(lacking)}")
        for name in _pull(lacking):
            _build(name, recipes[name])


def _present(names: Iterable[str]) -> tuple[Present, ...]:
    """Ask the engine once; an image that is not there is only a line on its standard error."""
    printed = call(["docker", "image", "inspect", "--format", "{{json .RepoTags}}\t{{json .Config.Labels}}", *names])
    found = []
    for line in printed.stdout.split("\n"):
        if "\t" not in line:
            continue
        tags, labels = (json.loads(part) or {} for part in line.split("\t"))
        found += [Present(name, labels.get(RECIPE_LABEL)) for name in names if name in tags]
    return tuple(found)


def _pull(names: Iterable[str]) -> tuple[str, ...]:
    """Pull what can be pulled and return the rest; the first network failure ends the attempt for all."""
    left = list(names)
    for name in tuple(left):
        say("images", f"pulling {name} ...")
        done = call(["docker", "pull", "--quiet", name], timeout_s=PULL_TIMEOUT_S)
        if done.returncode == 0:
            left.remove(name)
            continue
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        say("images", f"cannot pull {name}: {reason[0]}")
        if not ANSWERED.search(done.stderr):
            say("images", "no registry can be reached: building stand-ins here instead")
            break
    return tuple(left)


def _build(name: str, recipe: str) -> None:
    labels = {LOCAL_LABEL: "local", RECIPE_LABEL: recipe}
    folder = IMAGES[name]
    if not folder:
        rootfs.build(name, labels)
        return
    argv = ["docker", "build", "--pull=false", "--tag", name]
    argv += [f"--label={key}={value}" for key, value in labels.items()]
    work("images", f"building {name}", [*argv, str(RECIPES_DIR / folder)])


def main() -> int:
    """Run from the Makefile."""
    try:
        ensure()
    except SetupError as error:
        say("images", f"cannot go on: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
