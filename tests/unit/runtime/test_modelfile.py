"""What Compose is given says the same in JSON and in YAML, whatever a branch is called."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.modelfile import as_yaml, write_model

AWKWARD = (
    "🚀",
    "日本",
    "right\u202eleft",
    "zero\u200dwidth",
    "a\u2028b",
    "\x7f",
    "\x85",
    "\ufeffx",
    'quo"te\\',
    "a\tb\nc",
    "$HOME",
)


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_a_text_is_the_same_in_both(text: str) -> None:
    written = as_yaml({"environment": {"BUTAI_BRANCH": text}})

    assert json.loads(written) == yaml.safe_load(written) == {"environment": {"BUTAI_BRANCH": text}}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_the_same_in_both(text: str) -> None:
    written = as_yaml({"text": text})

    assert json.loads(written) == yaml.safe_load(written) == {"text": text}


def test_only_the_agent_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "create.json"

    write_model(path, {"name": "x"})

    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"name": "x"}
