"""What a repository's `.env` says, and how `${...}` in a compose file reads from it.

Read here and not by Compose, because a `.env` with `COMPOSE_PROJECT_NAME=other` would take over another
environment and one with `DOCKER_HOST` another engine: keys that steer a program never pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_STEERING = re.compile(r"(COMPOSE|DOCKER|LD)_.*|PATH|HOME", re.ASCII)
_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*[=:][ \t]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$$"}


class Unset(ValueError):
    """A `${NAME:?message}` whose variable has no value, or a substitution that cannot be read."""


def parse(text: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that a `.env` sets, in its own order; those that `steers` names are not to be passed on.

    `given` are the operator's variables: a value may refer to them. Raises Unset, with the line's number.
    """
    found: dict[str, str] = {}
    position, text = 0, text.replace("\r\n", "\n").removeprefix("\ufeff")
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None:  # a comment, an empty line, or a bare name: that would be a variable of ours
            position = _line_end(text, position)
            continue
        try:
            value, position = _value(text, match.end(), {**found, **given})
        except Unset as error:
            raise Unset(f"line {text.count(chr(10), 0, match.start()) + 1}: {error}") from None
        found[match[1]] = value
    return found


def steers(name: str) -> bool:
    """Whether a variable of this name changes what a program does instead of what a compose file says."""
    return _STEERING.fullmatch(name) is not None


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """`text` with `$NAME`, `${NAME}`, `${NAME:-default}`, `:?` and `:+` replaced as Compose does; `$$` is a dollar."""
    result: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        result.append(text[position:dollar])
        value, position = _reference(text, dollar + 1, variables)
        result.append(value)
    result.append(text[position:])
    return "".join(result)


def _reference(text: str, start: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """The value of the reference whose `$` ends just before `start`, and where the text goes on."""
    if text.startswith("$", start):
        return "$", start + 1
    if text.startswith("{", start):
        end = _closing(text, start)
        return _braced(text[start + 1 : end], variables), end + 1
    match = _NAME.match(text, start)
    if match is None:
        return "$", start
    return variables.get(match[0], ""), match.end()


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    raise Unset(f"`{text[start - 1 :][:60]}` has no closing brace")


def _braced(inner: str, variables: Mapping[str, str]) -> str:
    match = _NAME.match(inner)
    if match is None:
        raise Unset(f"`${{{inner[:60]}}}` is not a substitution")
    value, rest = variables.get(match[0]), inner[match.end() :]
    if not rest:
        return value or ""
    empty_counts = not rest.startswith(":")  # `-` asks whether it is set, `:-` whether it is set and not empty
    operator, word = rest.lstrip(":")[:1], rest.lstrip(":")[1:]
    has_value = value is not None and (empty_counts or value != "")
    if operator == "-":
        return str(value) if has_value else substitute(word, variables)
    if operator == "+":
        return substitute(word, variables) if has_value else ""
    if operator == "?" and has_value:
        return str(value)
    raise Unset(f"the variable {match[0]} is not set" + (f": {word}" if operator == "?" and word else ""))


def _value(text: str, start: int, variables: Mapping[str, str]) -> tuple[str, int]:
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        end = _closing_quote(text, start)
        inner, after = text[start + 1 : end], _line_end(text, end)
        if quote == "'":
            return inner, after
        return substitute(re.sub(r"\\([ntr\"\\$])", lambda m: _ESCAPES[m[1]], inner), variables), after
    end = _line_end(text, start)
    line = re.split(r"(?:^|\s)#", text[start:end], maxsplit=1)[0].rstrip()
    return substitute(line.replace(r"\$", "$$"), variables), end


def _closing_quote(text: str, start: int) -> int:
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == quote:
            return position
        else:
            position += 1
    raise Unset("a quoted value has no closing quote")


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1
