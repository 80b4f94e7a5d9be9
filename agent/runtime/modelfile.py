"""The file in which Compose gets a checked model: JSON, which it reads as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.runtime.releases import write_private

# Raw in JSON, but not in YAML: what does not print there, and what breaks a line (YAML 1.2, 5.1 and 5.4).
_NOT_RAW = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def write_model(path: Path, model: Mapping[str, Any]) -> None:
    """Write it whole or not at all, readable by the agent alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, as_yaml(model))


def as_yaml(model: Mapping[str, Any]) -> str:
    r"""The model in words that mean the same in JSON and in YAML.

    JSON's usual escape for what lies beyond 16 bits is two halves of a surrogate pair, `\ud83d\ude80`, and no
    YAML reader puts them together: a branch called with an emoji could not be deployed.
    """
    return _NOT_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(model, sort_keys=True, ensure_ascii=False))
