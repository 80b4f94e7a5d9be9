"""What a request says, checked: every problem of it is told at once, with the nearest name for a typo."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Request

from agent.errors import RequestError

MAX_BODY_BYTES = 64 * 1024

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


class Arguments:
    """Reads named values and collects what is wrong with them; `check` raises it as one RequestError.

    Until `check` has passed, values read are placeholders and must not be used.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._known: list[str] = []
        self._problems: list[str] = []

    @classmethod
    def of_query(cls, request: Request) -> Arguments:
        """The query string; a name given twice is a problem."""
        arguments = cls(request.args.to_dict())
        arguments._problems += [f"`{name}` is given twice" for name, all_ in request.args.lists() if len(all_) > 1]
        return arguments

    @classmethod
    def of_body(cls, request: Request, *, required: bool = True) -> Arguments:
        """The JSON object in the body. RequestError when it is not one; 415 when it does not claim to be."""
        if not required and not request.content_length:
            return cls({})
        request.max_content_length = MAX_BODY_BYTES
        if request.mimetype != "application/json":
            raise RequestError(
                "The body is not JSON.",
                hint="Send `Content-Type: application/json`.",
                code="unsupported-media-type",
                http_status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        try:
            # RecursionError: a hundred thousand "["; ValueError: also bad UTF-8 and integers of 5,000 digits.
            body = json.loads(request.get_data().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise RequestError("The body is not valid JSON.", code="malformed-json") from error
        if not isinstance(body, dict):
            raise RequestError("The body is not a JSON object.", code="malformed-json")
        return cls(body)

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        value = self._take(name, required=required)
        if value is None:
            return default
        if not _is_text(value) or (required and not value):
            self._problems.append(f"`{name}` must be {'a non-empty' if required else 'a'} text")
            return default
        return str(value)

    def texts(self, name: str, default: list[str]) -> list[str]:
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, list) or not value or not all(_is_text(item) for item in value):
            self._problems.append(f"`{name}` must be a non-empty list of texts")
            return default
        return [str(item) for item in value]

    def whole(self, name: str, default: int, *, low: int = 0, high: int = 2**53) -> int:
        """A whole number of the query string."""
        value = self._take(name)
        if value is None:
            return default
        if not _WHOLE.fullmatch(str(value)) or not low <= int(str(value)) <= high:
            self._problems.append(f"`{name}` must be a whole number from {low} to {high}")
            return default
        return int(str(value))

    def number(self, name: str, *, low: int, high: int) -> int:
        """A whole number of a JSON body; it must be there."""
        value = self._take(name, required=True)
        if value is None:
            return low
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._problems.append(f"`{name}` must be a whole number from {low} to {high}")
            return low
        return value

    def yes(self, name: str) -> bool:
        """`true` or `false` of a JSON body; false when absent."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            self._problems.append(f"`{name}` must be true or false")
        return value is True

    def seconds(self, name: str, *, high: float) -> float:
        """A duration in the query string, 0 when absent."""
        value = self._take(name)
        if value is None:
            return 0.0
        if not _DECIMAL.fullmatch(str(value)) or float(str(value)) > high:
            self._problems.append(f"`{name}` must be a number of seconds from 0 to {high:g}")
            return 0.0
        return float(str(value))

    def flag(self, name: str) -> bool:
        """`true` or `false` in the query string; false when absent."""
        return self.choice(name, ("true", "false")) == "true"

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self._take(name)
        if value is None or value in choices:
            return str(value or "")
        self._problems.append(f"`{name}` must be one of {', '.join(choices)}")
        return ""

    def check(self) -> None:
        """Raise everything that is wrong, names that nobody asked for included."""
        for name in self._given:
            if name not in self._known:
                [near] = difflib.get_close_matches(name, self._known, n=1) or [""]
                self._problems.append(f"`{name[:60]}` is unknown" + (f" (did you mean `{near}`?)" if near else ""))
        if self._problems:
            raise RequestError("; ".join(self._problems) + ".", hint="See /api/v1/openapi.json.", code="bad-arguments")

    def _take(self, name: str, *, required: bool = False) -> object:
        self._known.append(name)
        value = self._given.get(name)
        if value is None and required:
            self._problems.append(f"`{name}` is missing")
        return value


def _is_text(value: object) -> bool:
    """Whether it is text that can be written down: JSON can smuggle half a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
