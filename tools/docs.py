"""Writes docs/reference/cli.md from the commands, api.md from the OpenAPI document, and the table of doctor.md.

A unit test holds the files to the code; `python -m tools.docs` brings them up to date.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent.cli import main as cli
from agent.planning.doctor import CHECKS
from agent.web.api import PREFIX, document

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_DIR = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `python -m tools.docs`: change the code, not this file. -->"


def pages() -> dict[str, str]:
    """Return the text of each generated page, by file name."""
    return {
        "cli.md": "\n".join(_cli_lines()) + "\n",
        "api.md": "\n".join(_api_lines(document())) + "\n",
        "doctor.md": _with_checks((REFERENCE_DIR / "doctor.md").read_text(encoding="utf-8")),
    }


def _cli_lines() -> Iterator[str]:
    group = cli.butai
    context = click.Context(group, info_name="butai")
    yield from ("# The `butai` command", "", NOTE, "", _prose(group.help), "")
    yield from _options(group, context)
    yield from ("", "## Exit codes", "", *_exit_codes(), "")
    for name, command, child in commands(group, context):
        yield from (f"## `butai {name}`", "", _prose(command.help), "", "```", _usage(command, child), "```", "")
        options = list(_options(command, child))
        if options:
            yield from (*options, "")
    yield from _completion_lines()


def commands(
    group: click.Group, context: click.Context, before: str = ""
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every command, those of a group behind it."""
    for name, command in group.commands.items():
        child = click.Context(command, info_name=before + name, parent=context)
        yield before + name, command, child
        if isinstance(command, click.Group):
            yield from commands(command, context, f"{before}{name} ")


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join(("butai", str(context.info_name), *command.collect_usage_pieces(context)))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [option for option in command.params if isinstance(option, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(context))]
    if rows:
        yield from ("| Option | Does |", "|---|---|")
    for option, text in rows:
        yield f"| `{option}` | {_cell(text)} |"


def _exit_codes() -> Iterator[str]:
    """Yield the codes from where they are kept: the docstring of the CLI's main module."""
    listed = inspect.cleandoc(cli.__doc__ or "").partition("Exit codes: ")[2].replace("\n", " ").rstrip(".")
    yield from ("| Code | When |", "|---|---|")
    for entry in listed.split(", "):
        code, _, when = entry.partition(" ")
        yield f"| {code} | {when or 'done'} |"


def _completion_lines() -> Iterator[str]:
    yield from (
        "## Shell completion",
        "",
        "Commands, options, branches, slugs, projects and services are completed; names that a shell would interpret",
        "are left out. For bash: `butai completion bash > /etc/bash_completion.d/butai`; for zsh and fish, put the",
        "output of `butai completion zsh` or `butai completion fish` where the shell looks for it.",
    )


def _with_checks(page: str) -> str:
    """Return the page, its table made of the docstrings of the checks; all else on it is written by hand."""
    head, begin, rest = page.partition("<!-- checks: written by `python -m tools.docs` -->\n")
    _, end, tail = rest.partition("<!-- end of the checks -->\n")
    return "".join((head, begin, *(f"{line}\n" for line in _check_lines()), end, tail))


def _check_lines() -> Iterator[str]:
    yield from ("| Check | Looks at | Source |", "|---|---|---|")
    for check in CHECKS:
        looks_at, _, source = inspect.cleandoc(check.judge.__doc__ or "").partition("\n\nSource: ")
        yield f"| `{check.name}` | {_cell(looks_at)} | {_cell(source.rstrip('.'))} |"


def _api_lines(described: dict[str, Any]) -> Iterator[str]:
    yield from ("# The HTTP API", "", NOTE, "", described["info"]["description"], "")
    yield f"Every path begins with `{PREFIX}`; the document itself is at `{PREFIX}/openapi.json`."
    yield from ("", "## Calls", "")
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield from _operation_lines(described, f"{method.upper()} {path}", operation)
    yield from ("## Objects", "")
    for name, schema in described["components"]["schemas"].items():
        yield from _schema_lines(name, schema)


def _operation_lines(described: dict[str, Any], title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"### `{title}`", "", f"{operation['summary']}.", "")
    if "description" in operation:
        yield from (operation["description"], "")
    parameters = [_resolved(described, parameter) for parameter in operation.get("parameters", ())]
    if parameters:
        yield from ("| Parameter | In | Type | Meaning |", "|---|---|---|---|")
        for one in parameters:
            needed = "" if one["required"] else _default(one["schema"])
            kind, meaning = _type(one["schema"]), _cell(one["description"] + needed)
            yield f"| `{one['name']}` | {one['in']} | {kind} | {meaning} |"
        yield ""
    if "requestBody" in operation:
        [schema] = [content["schema"] for content in operation["requestBody"]["content"].values()]
        yield from (f"Body: {_type(schema)}", "")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            [(kind, content)] = answer["content"].items()
            yield from (f"{status}, `{kind}`: {_type(content['schema'])}. {answer['description']}", "")


def _schema_lines(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "")
    if "description" in schema:
        yield from (schema["description"], "")
    if "properties" not in schema:
        yield from (f"Type: {_type(schema)}", "")
        return
    yield from ("| Field | Type | Meaning |", "|---|---|---|")
    for field, kind in schema["properties"].items():
        optional = "" if field in schema.get("required", ()) else " Optional."
        yield f"| `{field}` | {_type(kind)} | {_cell((kind.get('description', '') + optional).strip())} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    """Return a type in words, with links to the objects of the page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    names = [kind] if isinstance(kind, str) else kind
    words = " or ".join(_NAMES.get((name, schema.get("format")), name) for name in names)
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "properties" in schema:
        return "object: " + ", ".join(f"`{field}` ({_type(kind)})" for field, kind in schema["properties"].items())
    if "minimum" in schema and "maximum" in schema:
        words += f", {schema['minimum']} to {schema['maximum']}"
    return words


_NAMES = {("string", None): "text", ("string", "date-time"): "time", ("string", "uri"): "URL"}


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    return f" Default: `{str(value).lower() if isinstance(value, bool) else value}`."


def _resolved(described: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in parameter:
        return parameter
    found: dict[str, Any] = described["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return found


def _prose(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Write every page that is not up to date, and say which."""
    REFERENCE_DIR.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = REFERENCE_DIR / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
