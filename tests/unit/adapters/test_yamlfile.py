"""YAML is read within bounds: the hostile ends at once with a reason, the ordinary arrives as it was written."""

from __future__ import annotations

import pytest

from agent.adapters.yamlfile import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, parse
from agent.errors import DeployError


def test_anchors_and_merge_keys_mean_what_compose_makes_of_them() -> None:
    text = b"""
x-base: &base {a: "1", b: ~, c: [yes, 0o10]}
one: {<<: *base, b: two}
two: {<<: [*base, {d: 4, a: 5}]}
three: *base
"""
    parsed = parse(text, path="c.yaml")
    assert parsed["one"] == {"a": "1", "b": "two", "c": ["yes", "0o10"]}
    assert parsed["two"] == {"a": "1", "b": None, "c": ["yes", "0o10"], "d": "4"}
    assert parsed["three"] == parsed["x-base"]


def test_the_tags_of_compose_are_passed_over() -> None:
    assert parse(b"services: {a: {ports: !reset [], image: !override x}}", path="c.yaml") == {
        "services": {"a": {"ports": [], "image": "x"}}
    }


@pytest.mark.parametrize(
    ("data", "parsed"), [(b"", None), (b"# only a comment", None), (b"\xef\xbb\xbfa: 1", {"a": "1"})]
)
def test_odd_but_honest_files_are_read(data: bytes, parsed: object) -> None:
    assert parse(data, path="c.yaml") == parsed


def bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 6)}]" for n in range(1, 10)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bomb(), "values once its aliases are followed"),
        (b"a: &a [" + b", ".join([b"x"]) + b"]\nb: [" + b", ".join([b"*a"] * (MAX_ALIASES + 1)) + b"]", "aliases"),
        (b"a: &a [*a]", "contains itself"),
        (b"[" * 100_000, "levels deep"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "levels deep"),
        (b"a" * (MAX_BYTES + 1), "larger than 256 KB"),
        (b"- x\n" * 30_000, "values"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: the key `a` appears twice"),
        (b"a: 1\n---\nb: 2\n", "more than one YAML document"),
        (b"a:\n\t- b\n", "not valid YAML: line 2"),
        (b"a: \0", "not valid YAML"),
        (b"a: \xff", "not UTF-8"),
        ("a: 1".encode("utf-16"), "not UTF-8"),
        (b"{", "not valid YAML"),
        (b"? [a]\n: b\n", "a key is not plain text"),
        (b"!!binary aW5jbHVkZQ==: x", "uses the YAML tag"),
        (b"a: !!python/object/apply:os.system [id]", "uses the YAML tag"),
        (b"a: *absent", "not valid YAML"),
    ],
)
def test_what_is_hostile_is_refused_with_the_file_and_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DeployError) as caught:
        parse(data, path="deploy/compose.yaml")
    assert "`deploy/compose.yaml`" in caught.value.message
    assert reason in caught.value.message
    assert caught.value.code == "compose-unreadable"
