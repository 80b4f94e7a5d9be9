"""What is committed must name no host, and the documents must keep their word."""

from pathlib import Path

import pytest

from tools.docs_check import problems, targets
from tools.lock import NAMES, REQUIREMENTS_DIR, address_in
from tools.venv import ROOT, stamps


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_names_no_host_and_gives_hashes_for_everything(name: str) -> None:
    text = (REQUIREMENTS_DIR / f"{name}.txt").read_text(encoding="utf-8")
    assert address_in(text) is None
    pinned = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert pinned
    assert all(line.endswith("\\") for line in pinned), "a requirement without a hash"


@pytest.mark.parametrize("line", ["--index-url x", "--find-links /opt", "x @ https://host.test/x.whl"])
def test_an_address_in_a_lock_is_found(line: str) -> None:
    assert address_in(f"a==1 \\\n{line}\n") == line


def test_the_development_lock_holds_every_runtime_version() -> None:
    def pins(name: str) -> set[str]:
        lines = (REQUIREMENTS_DIR / name).read_text(encoding="utf-8").splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line}

    assert pins("runtime.txt") <= pins("dev.txt")


def test_the_stamp_changes_with_what_the_environment_is_made_from(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("bootstrap.txt", "dev.txt"):
        (tmp_path / "requirements" / name).write_text("a==1\n")
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 1\n')
    before = stamps(tmp_path)
    project.write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 2\n')
    assert stamps(tmp_path) == before, "how we lint is no reason to install anything again"
    project.write_text('[project]\nname = "y"\n')
    assert stamps(tmp_path)["project"] != before["project"]
    (tmp_path / "requirements" / "dev.txt").write_text("a==2\n")
    assert stamps(tmp_path)["lock"] != before["lock"]


def test_a_dead_link_and_an_unknown_command_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Part\n")
    text = "[a](there.md#part) [b](gone.md) [c](https://else.test)\n`make test` and `make coffee`\n"
    page = tmp_path / "page.md"
    assert problems(page, text, frozenset({"test"})) == (
        f"{page}:1: the link gone.md leads nowhere",
        f"{page}:2: there is no `make coffee`",
    )


def test_the_makefile_offers_the_commands_of_the_readme() -> None:
    offered = targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {"demo", "test", "check", "bench", "lock", "clean", "help"} <= offered
