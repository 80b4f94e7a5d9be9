"""Checks what the documents promise against what is there: links, `make` and `butai` commands, and settings.

Prose is not understood: what is checked is what stands between back-ticks and in blocks of code.
"""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent.cli.main import butai
from agent.config import Settings
from agent.config.project import Project
from agent.config.schema import Setting, settings_of
from agent.web.command import VERBS

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# At the beginning of a line, perhaps after a prompt, sudo, variables or its folder.
_COMMAND = re.compile(r"^\s*(?:[$#] )?(?:sudo (?:-\S+ \S+ )*)?(?:[A-Z_]+=\S+ )*(?:\S+/bin/)?butai ([^|;<>`]*)")
_PATH = re.compile(r"[a-z_]+(\.([a-z_]+|NAME))+")


@dataclass(frozen=True, slots=True)
class Snippet:
    """Something written as code: in a line of prose, or a block with its language."""

    line: int
    text: str
    language: str = ""
    is_block: bool = False


def documents(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the documents of the repository: those at its top, in docs/, and beside what they describe."""
    folders = ("docs", "systemd", "tests", "bench")
    found = [*root.glob("*.md"), *(path for folder in folders for path in (root / folder).rglob("*.md"))]
    return tuple(sorted(found))


def targets(makefile: str) -> frozenset[str]:
    """Return the commands that the Makefile offers."""
    return frozenset(re.findall(r"^([a-z]+):.*##", makefile, flags=re.MULTILINE))


def problems(document: Path, text: str, commands: frozenset[str]) -> tuple[str, ...]:
    """Return one line for each link, command, option or setting that is not there. `commands` are make's."""
    prose, snippets = _taken_apart(text)
    found = [(number, problem) for number, line in prose for problem in _links(document, line)]
    for snippet in snippets:
        found += [(snippet.line, problem) for problem in _claims(snippet, commands)]
    return tuple(f"{document}:{number}: {problem}" for number, problem in sorted(found))


def _taken_apart(text: str) -> tuple[list[tuple[int, str]], list[Snippet]]:
    """Split a document into numbered lines of prose and what is written as code."""
    prose: list[tuple[int, str]] = []
    snippets: list[Snippet] = []
    block: list[str] | None = None
    language, begins = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and block is None:
            block, language, begins = [], fence[1], number
        elif fence and block is not None:
            snippets.append(Snippet(begins, "\n".join(block), language, is_block=True))
            block = None
        elif block is not None:
            block.append(line)
        else:
            prose.append((number, line))
            snippets += [Snippet(number, code) for code in _CODE.findall(line)]
    return prose, snippets


def _links(document: Path, line: str) -> Iterator[str]:
    for link in _LINK.findall(line):
        name, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (document.parent / name) if name else document
        if not target.exists():
            yield f"the link {link} leads nowhere"
        elif anchor and anchor not in _anchors(target.read_text(encoding="utf-8")):
            yield f"the link {link} names no heading there"


def _anchors(text: str) -> frozenset[str]:
    """Return the headings of a document as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def _claims(snippet: Snippet, commands: frozenset[str]) -> Iterator[str]:
    text = snippet.text.replace("\\\n", " ")
    for name in re.findall(r"(?:^|\s)make ([a-z]+)", text) if not snippet.language else ():
        if name not in commands:
            yield f"there is no `make {name}`"
    for line in text.splitlines():
        for verb in re.findall(r"(?:^|\s)/butai ([a-z]+)", line):
            if verb not in VERBS:
                yield f"there is no `/butai {verb}`"
        if not snippet.language or snippet.language == "console":
            for words in _COMMAND.findall(line):
                yield from _command(words)
    if snippet.language == "toml":
        yield from _table(tomllib.loads(snippet.text), Settings, "")
    elif not snippet.is_block and _PATH.fullmatch(snippet.text):
        yield from _setting(snippet.text)


def _command(words: str) -> Iterator[str]:
    """Walk one `butai ...` along the commands and options of the CLI, as far as it is one."""
    try:
        tokens = shlex.split(words)
    except ValueError:
        return
    command: click.Command = butai
    value_follows = False
    for token in tokens:
        if token == "--":
            return
        if value_follows:
            value_follows = False
        elif token.startswith("-"):
            name, has_value, _ = token.partition("=")
            option = _option(command, name)
            if option is None:
                yield f"`{_called(command)}` has no option {name}"
            else:
                value_follows = not has_value and not option.is_flag
        elif isinstance(command, click.Group):
            if token in command.commands:
                command = command.commands[token]
            elif re.fullmatch(r"[a-z][a-z-]*", token):
                yield f"there is no `butai {token}`"
                return


def _option(command: click.Command, name: str) -> click.Option | None:
    for option in (*command.params, click.Option(["-h", "--help"], is_flag=True)):
        if isinstance(option, click.Option) and name in option.opts:
            return option
    return None


def _called(command: click.Command) -> str:
    return "butai" if command is butai else f"butai {command.name}"


def _setting(path: str) -> Iterator[str]:
    """Look a dotted path up in the settings; one that begins with no section of theirs is something else."""
    first, *rest = path.split(".")
    if first == "allow":
        yield from _below(Project, path, [first, *rest])
    elif any(setting.key == first and (setting.is_section or setting.table_of) for setting in settings_of(Settings)):
        yield from _below(Settings, path, [first, *rest])


def _below(kind: type, path: str, keys: list[str]) -> Iterator[str]:
    for position, key in enumerate(keys):
        setting = _find(kind, key)
        if setting is None:
            yield f"there is no setting `{path}`"
            return
        rest = keys[position + 1 :]
        if setting.table_of is not None:
            yield from _below(setting.table_of, path, rest[1:])
            return
        if not setting.is_section:
            if rest:
                yield f"there is no setting `{path}`"
            return
        kind = setting.type


def _table(table: Mapping[str, Any], kind: type, path: str) -> Iterator[str]:
    """Check the keys of an example in TOML; what is left out of it is nobody's business."""
    for key, value in table.items():
        setting = _find(kind, key)
        if setting is None:
            yield f"there is no setting `{path}{key}`"
        elif setting.table_of is not None:
            for name, each in value.items():
                yield from _table(each, setting.table_of, f"{path}{key}.{name}.")
        elif setting.is_section:
            yield from _table(value, setting.type, f"{path}{key}.")


def _find(kind: type, key: str) -> Setting | None:
    return next((setting for setting in settings_of(kind) if setting.key == key), None)


def main() -> int:
    """Run by `make check`."""
    commands = targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    pages = documents()
    found = [line for page in pages for line in problems(page, page.read_text(encoding="utf-8"), commands)]
    print("\n".join(found) or f"{len(pages)} documents hold what they promise")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
