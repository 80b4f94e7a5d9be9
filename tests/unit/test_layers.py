"""The arrows: imports only point down, siblings do not know each other, and each library has one home.

    cli, daemon > web > runtime > planning | adapters | store > config, logs > model > errors

An import inside a function or for types only counts like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The lowest first. What stands in one row may not import its neighbours.
ROWS = (
    ("errors",),
    ("model",),
    ("config", "logs"),
    ("planning", "adapters", "store"),
    ("runtime",),
    ("web",),
    ("daemon",),
    ("cli",),  # beside the daemon in the drawing; `butai serve` is what starts it
)
RANK = {layer: rank for rank, row in enumerate(ROWS) for layer in row}

HOMES = {
    "boto3": "agent.adapters.aws",
    "botocore": "agent.adapters.aws",
    "click": "agent.cli",
    "dns": "agent.adapters.nameservers",
    "docker": "agent.adapters.docker",
    "flask": "agent.web",
    "git": "agent.adapters.git",
    "gitdb": "agent.adapters.git",
    "httpx": "agent.cli",
    "requests": "agent.adapters.docker",
    "rich": "agent.cli",
    "slack_sdk": "agent.adapters.slack",
    "sqlite3": "agent.store.database",
    "subprocess": "agent.adapters.process",
    "urllib3": "agent.adapters.docker",
    "waitress": "agent.web",
    "watchfiles": "agent.adapters.watch",
    "werkzeug": "agent.web",
    "yaml": "agent.adapters.yamlfile",
}
# The one place that starts programs, the one that reads YAML and the one that reads registries' excuses serve siblings.
SHARED_ADAPTERS = ("agent.adapters.process", "agent.adapters.registries", "agent.adapters.yamlfile")
PURE = ("agent.errors", "agent.model", "agent.planning")  # decisions and nouns: no library at all
BARRED = {
    *("asyncio", "multiprocessing", "pty"),  # threads only, and programs only through adapters/process
    *("pickle", "shelve", "marshal"),  # what is read back must never run
}


@dataclass(frozen=True)
class Import:
    """One import. `target` is the module as far as it is one of ours or a library's first name."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target}"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "agent").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All of them, however deep; expressions hold none, and are most of a tree."""
    for node in body:
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, block, ()))


def imports_of(module: str, tree: ast.Module, *, is_package: bool) -> Iterator[Import]:
    for node in statements(tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node, is_package=is_package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(module, inner if inner in MODULES else base, node.lineno)


def _base(module: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *([node.module] if node.module else [])])


IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in imports_of(module, ast.parse(path.read_text()), is_package=path.name == "__init__.py")
]


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def unit(module: str) -> str:
    """The file or folder in a layer: `agent.adapters.docker` for everything in that folder."""
    return ".".join(module.split(".")[:3])


def within(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def climbs(found: Import) -> bool:
    if not within(found.target, "agent") or not layer(found.module) or not layer(found.target):
        return False
    above, below = layer(found.module), layer(found.target)
    return above != below and RANK[below] >= RANK[above]


def is_homeless(found: Import) -> bool:
    library = found.target.partition(".")[0]
    return library in HOMES and not within(found.module, HOMES[library])


def meets_a_sibling(found: Import) -> bool:
    both_adapters = layer(found.module) == layer(found.target) == "adapters" and "." in found.target[6:]
    return both_adapters and unit(found.module) != unit(found.target) and unit(found.target) not in SHARED_ADAPTERS


def told(found: list[Import]) -> str:
    return "\n".join(map(str, found))


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer(module) for module in MODULES} - {""} <= set(RANK)


def test_imports_only_point_down() -> None:
    climbing = [found for found in IMPORTS if climbs(found)]
    assert not climbing, told(climbing)


def test_adapters_do_not_know_each_other() -> None:
    siblings = [found for found in IMPORTS if meets_a_sibling(found)]
    assert not siblings, told(siblings)


def test_each_library_has_one_home() -> None:
    homeless = [found for found in IMPORTS if is_homeless(found)]
    assert not homeless, told(homeless)


def test_nouns_and_decisions_see_no_library() -> None:
    seen = [
        found
        for found in IMPORTS
        if any(within(found.module, pure) for pure in PURE)
        and found.target.partition(".")[0] not in {"agent", *sys.stdlib_module_names}
    ]
    assert not seen, told(seen)


def test_nothing_starts_programs_or_revives_objects_by_another_way() -> None:
    barred = [found for found in IMPORTS if found.target.partition(".")[0] in BARRED]
    assert not barred, told(barred)


def test_nothing_in_the_agent_sleeps_where_it_could_wait_to_be_stopped() -> None:
    sleeping = [
        f"{module}, line {node.lineno}"
        for module, path in MODULES.items()
        if "sleep" in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert not sleeping, sleeping


@pytest.mark.parametrize(
    ("module", "line", "is_wrong"),
    [
        ("agent.store.events", "import agent.runtime.ports", climbs),
        ("agent.planning.plan", "from agent import store", climbs),
        ("agent.config.settings", "from agent.logs import Redactor", climbs),
        ("agent.model.names", "def f():\n    from agent.config import Settings", climbs),
        ("agent.adapters.slack", "from .docker import engine", meets_a_sibling),
        ("agent.adapters.slack", "from agent.adapters.docker.engine import Engine", meets_a_sibling),
        ("agent.runtime.poller", "from docker.errors import NotFound", is_homeless),
        ("agent.web.api", "import subprocess", is_homeless),
        ("agent.web.api", "try:\n    pass\nexcept OSError:\n    import subprocess", is_homeless),
        ("agent.web.api", "match 1:\n    case 1:\n        with f():\n            import subprocess", is_homeless),
    ],
)
def test_this_test_notices(module: str, line: str, is_wrong: object) -> None:
    [found] = imports_of(module, ast.parse(line), is_package=False)
    assert is_wrong(found)  # type: ignore[operator]
