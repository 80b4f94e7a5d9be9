"""Makes `.venv` from the locked requirements, with every hash checked, and the project itself editable in it.

Does nothing when neither the lock nor the project's packaging has changed since the last time.
"""

import hashlib
import json
import os
import shutil
import sys
import tomllib
from pathlib import Path

from tools.console import SetupError, call, only_one, say, work

ROOT = Path(__file__).resolve().parent.parent
VENV_DIR = ROOT / ".venv"
PYTHON_PATH = VENV_DIR / "bin" / "python"
STAMP_PATH = VENV_DIR / "butai-stamp.json"
# The real one, for `python3` may be that of an activated .venv, which must not be rebuilt from itself.
INTERPRETER = str(Path(sys.executable).resolve())
OLDEST = (3, 11)


def stamps(root: Path = ROOT) -> dict[str, str]:
    """Return fingerprints of what `.venv` is made from; only the part that changed is done again."""
    locks = [root / "requirements" / name for name in ("bootstrap.txt", "dev.txt")]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    packaging = {key: project.get(key) for key in ("build-system", "project")}
    packaging["setuptools"] = project.get("tool", {}).get("setuptools")
    return {
        "interpreter": f"{INTERPRETER} {sys.version_info[:3]}",
        "lock": _digest(b"".join(path.read_bytes() for path in locks)),
        "project": _digest(f"{root} {json.dumps(packaging, sort_keys=True)}".encode()),
    }


def ensure() -> None:
    """Have `.venv` as the lock says, or raise SetupError."""
    if sys.version_info < OLDEST:
        raise SetupError(f"Python 3.11 or newer is needed; {INTERPRETER} is {sys.version.split()[0]}. Set PYTHON=...")
    wanted = stamps()
    if _done() == wanted:
        return
    with only_one():
        done = _done()
        if done.get("interpreter") != wanted["interpreter"]:
            _create()
            done = {}
        if done.get("lock") != wanted["lock"]:
            _install()
            done = {}
        if done.get("project") != wanted["project"]:
            _install_project()
        STAMP_PATH.write_text(json.dumps(wanted, indent=1), encoding="utf-8")


def _done() -> dict[str, str]:
    if not STAMP_PATH.is_file() or not PYTHON_PATH.exists():
        return {}
    found: dict[str, str] = json.loads(STAMP_PATH.read_text(encoding="utf-8"))
    return found


def _create() -> None:
    if VENV_DIR.is_dir():
        shutil.rmtree(VENV_DIR)
    if call([INTERPRETER, "-c", "import ensurepip"]).returncode != 0:
        raise SetupError(f"{INTERPRETER} cannot make virtual environments: `apt-get install python3-venv`, then again")
    work("venv", "creating .venv", [INTERPRETER, "-m", "venv", str(VENV_DIR)])


def _install() -> None:
    """Install with uv, ten times as fast as pip; where uv cannot reach the index, pip may be configured to."""
    pip = [str(PYTHON_PATH), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
    try:
        work("venv", "installing the installer", [*pip, str(ROOT / "requirements/bootstrap.txt")])
        sync = [str(PYTHON_PATH), "-m", "uv", "pip", "sync", "--quiet", "--require-hashes"]
        argv = [*sync, "--python", str(PYTHON_PATH), str(ROOT / "requirements/dev.txt")]
        work("venv", "installing the locked packages", argv, env=_environment())
    except SetupError as error:
        say("venv", f"{error}\nuv could not do it; trying pip, which takes a minute or two")
        work("venv", "installing the locked packages with pip", [*pip, str(ROOT / "requirements/dev.txt")])


def _install_project() -> None:
    argv = [str(PYTHON_PATH), "-m", "uv", "pip", "install", "--quiet", "--python", str(PYTHON_PATH), "--no-deps"]
    work(
        "venv", "installing butai itself", [*argv, "--no-build-isolation", "--editable", str(ROOT)], env=_environment()
    )


def _environment() -> dict[str, str]:
    """Let uv trust what this machine trusts."""
    return {**os.environ, "UV_NO_CONFIG": "1", "UV_SYSTEM_CERTS": "1"}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def main() -> int:
    """Run from the Makefile."""
    try:
        ensure()
    except SetupError as error:
        say("venv", f"cannot go on: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
