"""What a `.dockerignore` leaves out, exactly as Docker's own clients decide it.

A port of github.com/moby/patternmatcher (`ignorefile.ReadAll`, `MatchesUsingParentResults`) and of the way BuildKit's
file sender walks with it. docker-py's matcher is no substitute: it ignores case, keeps `.dockerignore` itself, and
looks at one parent folder only.
"""

from __future__ import annotations

import posixpath
import re
import warnings
from collections.abc import Callable, Iterable

from agent.errors import DeployError

_STAR, _ONE, _FOLDERS, _ALL = "[^/]*", "[^/]", "(.*/)?", ".*"
_SIMPLE = {"*": _STAR, "?": _ONE, "[": "[", "]": "]"}
_WILD = (_STAR, _FOLDERS, _ALL)
_CHEAP = 2  # wildcards: with more, backtracking can be led to take minutes
_SPECIAL = frozenset(".+()|{}$")  # mean nothing in a pattern and something in a regular expression


class Ignore:
    """The patterns of one ignore file. Raises DeployError for one that Docker would refuse."""

    def __init__(self, text: str, *, file: str = ".dockerignore") -> None:
        self._rules = tuple(_rule(pattern, file) for pattern in _patterns(text))
        self._seen: dict[str, tuple[bool, tuple[bool, ...]]] = {"": (False, ())}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative to the context and without a final slash, stays out of it."""
        return self._look(path)[0]

    def _look(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """The verdict, and which rules matched the path or a folder above it."""
        if path in self._seen:
            return self._seen[path]
        above = self._look(posixpath.dirname(path))[1]
        excluded = False
        matched = []
        for at, (exception, matches) in enumerate(self._rules):
            # A rule that could not change the verdict is not tried, and then does not reach into the folder either.
            match = bool(above and above[at]) or (exception == excluded and matches(path))
            matched.append(match)
            if match:
                excluded = not exception
        verdict = (excluded, tuple(matched))
        self._seen[path] = verdict
        return verdict


def kept(paths: Iterable[str], ignore: Ignore) -> set[str]:
    """Those paths that are sent: what is not excluded, and the folders above it."""
    chosen: set[str] = set()
    for sent in paths:
        path = "" if ignore.excludes(sent) else sent
        while path and path not in chosen:
            chosen.add(path)
            path = posixpath.dirname(path)
    return chosen


def _patterns(text: str) -> list[str]:
    """ignorefile.ReadAll: comments and blanks gone, paths cleaned, a leading slash dropped."""
    patterns = []
    for raw in text.removeprefix("\ufeff").split("\n"):
        line = raw.removesuffix("\r")
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            continue
        exception = pattern.startswith("!")
        pattern = pattern[1:].strip() if exception else pattern
        if pattern:
            pattern = _clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        patterns.append("!" + pattern if exception else pattern)
    return patterns


def _clean(path: str) -> str:
    """Go's filepath.Clean; Python's normpath keeps two leading slashes."""
    return posixpath.normpath(re.sub(r"^/+", "/", path))


def _rule(pattern: str, file: str) -> tuple[bool, Callable[[str], bool]]:
    exception = pattern.startswith("!")
    cleaned = _clean(pattern.strip())[1 if exception else 0 :]
    if not cleaned:
        raise DeployError(f"`{file}` holds a `!` alone.", hint="Say what to keep after it.", code="bad-dockerignore")
    try:
        return exception, _matcher(cleaned)
    except re.error as error:
        raise DeployError(
            f"`{file}` holds the invalid pattern `{pattern}`.", hint=f"Correct it: {error}.", code="bad-dockerignore"
        ) from error


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Pattern.compile: a cheap comparison where there is one, a regular expression otherwise."""
    tokens, kind = _tokens(pattern)
    if kind == "exact":
        return lambda path: path == pattern
    if kind == "prefix":
        return lambda path: path.startswith(pattern[:-2])
    if kind == "suffix":
        suffix = pattern[2:]
        return lambda path: path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "[[" means more in other dialects
        compiled = re.compile("".join(tokens))
    if sum(token in _WILD for token in tokens) <= _CHEAP:
        return lambda path: compiled.fullmatch(path) is not None
    if "[" in pattern:
        raise re.error("too many wildcards beside a character class")
    return lambda path: _walk(tokens, path)


def _tokens(pattern: str) -> tuple[list[str], str]:
    """The pattern as pieces of a regular expression, and how it can be matched."""
    tokens: list[str] = []
    kind = "exact"
    at = 0
    while at < len(pattern):
        char = pattern[at]
        start = at
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 2 if pattern[at + 1 : at + 2] == "/" else 1
            if at < len(pattern):
                tokens, kind = [*tokens, _FOLDERS], "regexp"
            elif kind == "exact":
                kind = "prefix"
            else:
                tokens, kind = [*tokens, _ALL], "regexp"
            kind = "suffix" if start == 0 else kind
        elif char in _SIMPLE:
            tokens, kind = [*tokens, _SIMPLE[char]], "regexp"
        elif char == "\\" and at < len(pattern):
            tokens, kind = [*tokens, "\\" + pattern[at]], "regexp"
            at += 1
        else:
            tokens.append("\\" + char if char in _SPECIAL or char == "\\" else char)
    return tokens, kind


def _walk(tokens: list[str], path: str) -> bool:
    """Match in time proportional to both lengths, as Go does; Python's backtracking could take for ever.

    A place is twice the number of tokens done, plus one within folders that "**" has begun to swallow.
    """
    places = _onward(tokens, {0})
    for char in path:
        after: set[int] = set()
        for place in places:
            token = tokens[place // 2] if place // 2 < len(tokens) else ""
            if token == _FOLDERS:
                after.add(place | 1)
                if char == "/":
                    after.add((place | 1) + 1)
            elif token == _ALL or (token == _STAR and char != "/"):
                after.add(place)
            elif (token == _ONE and char != "/") or (token and token[-1] == char and token not in _WILD):
                after.add(place + 2)
        places = _onward(tokens, after)
        if not places:
            return False
    return 2 * len(tokens) in places


def _onward(tokens: list[str], places: set[int]) -> set[int]:
    """The places, and those that are reached by letting wildcards stand for nothing."""
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if not place & 1 and place // 2 < len(tokens) and tokens[place // 2] in _WILD and place + 2 not in places:
            places.add(place + 2)
            waiting.append(place + 2)
    return places
