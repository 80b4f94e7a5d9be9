"""The agent as a wheel, of whatever version: what an operator takes to a host without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PARTS = ("agent", "requirements", "pyproject.toml", "README.md")


def wheel_of(folder: Path, version: str) -> Path:
    """Build it from a copy of this repository, which stays as it is; nothing is fetched."""
    copy = folder / f"source-{version}"
    for part in _PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    project = copy / "pyproject.toml"
    text, count = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text(encoding="utf-8"))
    assert count == 1
    project.write_text(text, encoding="utf-8")
    argv = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-build-isolation"]
    subprocess.run([*argv, "--no-deps", "--no-index", "--wheel-dir", str(folder), str(copy)], check=True, timeout=120)
    [built] = folder.glob(f"butai-{version}-*.whl")
    return built


def newer(wheel: Path, version: str) -> Path:
    """The same code under another version, beside it: what an upgrade installs."""
    old = wheel.name.split("-")[1]
    path = wheel.with_name(wheel.name.replace(old, version))
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if ".dist-info/" in name:
                content = content.replace(old.encode(), version.encode())
            after.writestr(name.replace(f"butai-{old}", f"butai-{version}"), content)
    return path
