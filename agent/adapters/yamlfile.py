"""The one reader of YAML: bounded before anything expands, so that no file can keep the agent or Compose busy.

An alias bomb of a kilobyte keeps Compose 2.26 busy for over ten minutes and makes it ignore the first SIGTERM,
so size, depth, aliases and the expanded number of values are limited here, before Compose sees a file. Scalars
stay text: what `yes` or `0o10` means is Compose's business.
"""

from __future__ import annotations

from typing import Any

import yaml

from agent.errors import DeployError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_VALUES = 20_000  # once aliases are followed; a large, honest file has two thousand

_PLAIN_TAGS = frozenset(
    [None, "!", "!reset", "!override"]
    + [f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")]
)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built in: ten times as fast


def parse(data: bytes, *, path: str) -> Any:
    """The single document in `data` as dicts, lists, text and None, with merge keys (`<<`) resolved.

    Raises DeployError that names `path`: too large, too deep, too many aliases or values, a key twice, a tag
    that is not plain YAML, several documents, or no YAML at all.
    """
    if len(data) > MAX_BYTES:
        raise _refused(path, f"is larger than {MAX_BYTES // 1024} KB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(path, "is not UTF-8 text") from None
    try:
        _check_events(text, path)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _refused(path, f"is not valid YAML: {_where(error)}") from None
    if node is None:
        return None
    _count(node, path, {})
    return _plain(node, path)


def _check_events(text: str, path: str) -> None:
    depth = aliases = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _refused(path, f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise _refused(path, f"uses more than {MAX_ALIASES} aliases")
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refused(path, "holds more than one YAML document")
        # A tag such as `!!binary` could spell a key that Compose reads and we do not.
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag not in _PLAIN_TAGS:
            raise _refused(path, f"uses the YAML tag {event.tag!r}")


def _count(node: yaml.Node, path: str, sizes: dict[int, int]) -> int:
    """How many values `node` holds once aliases are followed; each node is visited once."""
    known = sizes.get(id(node))
    if known is not None:
        if known == 0:
            raise _refused(path, "has an alias that contains itself")
        return known
    sizes[id(node)] = 0
    size = 1 + sum(_count(child, path, sizes) for child in _children(node))
    if size > MAX_VALUES:
        raise _refused(path, f"holds more than {MAX_VALUES} values once its aliases are followed")
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []


def _plain(node: yaml.Node, path: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, path) for child in node.value]
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    return None if plain and node.value in ("", "~", "null", "Null", "NULL") else str(node.value)


def _mapping(node: yaml.MappingNode, path: str) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refused(path, f"line {key_node.start_mark.line + 1}: a key is not plain text")
        key, value = str(key_node.value), _plain(value_node, path)
        if key == "<<":
            for source in value if isinstance(value, list) else [value]:
                if isinstance(source, dict):
                    merged = {**source, **merged}
        elif key in own:
            raise _refused(path, f"line {key_node.start_mark.line + 1}: the key `{key}` appears twice")
        else:
            own[key] = value
    return {**merged, **own}


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).partition("\n")[0]


def _refused(path: str, reason: str) -> DeployError:
    return DeployError(f"`{path}` {reason}.", hint="Correct the file and push again.", code="compose-unreadable")
