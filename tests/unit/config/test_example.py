"""config.example.toml is schema and reference at once: it says what the code does, for every key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import config
from agent.config.schema import FROM_TABLE, Setting, settings_of
from tools import settings as tool

TEXT = tool.FILE.read_text()
WITH_EVERYTHING = re.sub(r"^#(?=[\w\[])", "", TEXT, flags=re.MULTILINE)


def described(kind: type, table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Setting, Any]]:
    """Every setting of the code with the value that the example shows; KeyError when it shows none."""
    for setting in settings_of(kind):
        if FROM_TABLE in setting.marks:
            continue
        place = f"{path}.{setting.key}" if path else setting.key
        value = table[setting.key]
        if setting.table_of is not None:
            for name, inner in value.items():
                yield from described(setting.table_of, inner, f"{place}.{name}")
        elif setting.is_section:
            yield from described(setting.type, value, place)
        else:
            yield place, setting, value


def test_the_example_is_what_the_code_says() -> None:
    assert tool.example() == TEXT, "run `python -m tools.settings`"


def test_the_reference_page_is_what_the_code_says() -> None:
    assert tool.page() == tool.PAGE.read_text(), "run `python -m tools.settings`"
    for place, setting, _ in described(config.Settings, tomllib.loads(WITH_EVERYTHING)):
        assert f"| `{setting.key}` |" in tool.page(), place


def test_the_example_is_a_file_of_defaults() -> None:
    settings = config.parse(TEXT, Path("/nowhere"))
    short = 'domain = "staging.example.com"\n[projects.shop]\nremote = "git@github.com:example/shop.git"'
    assert settings == config.parse(short, Path("/nowhere"))


def test_every_key_is_there_with_its_default_or_an_example_and_a_comment() -> None:
    for place, setting, value in described(config.Settings, tomllib.loads(WITH_EVERYTHING)):
        shown = setting.default if setting.example is None else setting.example
        assert tool.toml(value) == tool.toml(shown), place
        assert setting.doc.endswith("."), place
        assert setting.required or setting.default is not None or setting.example is not None, place
        if setting.example is not None and not setting.required:
            assert setting.default in (None, "", (), {}), f"{place} has a default worth showing"


def test_everything_in_the_example_is_accepted(tmp_path: Path) -> None:
    for name in ("api-token", "slack-signing-secret", "slack-bot-token", "github-webhook-secret"):
        (tmp_path / name).write_text("a secret of more than 32 characters")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "keys").mkdir()
    for name in ("wildcard.crt", "wildcard.key", "keys/shop"):
        (tmp_path / name).write_text("PEM")
        (tmp_path / name).chmod(0o600)
    # The example shows both ways to run Traefik, of which a file can have one.
    text = WITH_EVERYTHING.replace("/etc/butai", str(tmp_path)).replace("managed = true", "managed = false", 1)
    text = re.sub(
        r"\[traefik\.acme\].*?(?=\n\[)", "", text, flags=re.DOTALL
    )  # as with files, and with a Traefik of ours
    text = text.replace('token_file = "credential:shop-token"', "")  # as with SSH and HTTPS: one of the two
    text = text.replace('listen = ""', 'listen = "192.0.2.1"')  # as with a role and a Traefik that is not ours
    text = text.replace('addresses = ["203.0.113.10"]', "")  # as with a load balancer
    settings = config.parse(text, tmp_path, credentials_dir=tmp_path)
    assert settings.slack is not None
    assert settings.projects["shop"].allow.capabilities == ("SYS_PTRACE",)
    assert len(settings.secrets()) == 4


def test_a_key_that_the_code_does_not_know_would_be_noticed() -> None:
    with pytest.raises(KeyError):
        list(described(config.Settings, {"domain": "x"}))
