"""Makes the image that boots: a Debian with systemd as its first process, for tests of the installer. Never pulled."""

import hashlib

from tools import images
from tools.console import call, only_one, say, work

NAME = "butai.test/host:debian-13"
FOLDER = images.RECIPES_DIR / "host"
REQUIREMENTS_DIR = images.RECIPES_DIR.parent.parent / "requirements"


def recipe() -> str:
    """Return a fingerprint of all that decides what the image holds but what it stands on, which never changes."""
    digest = hashlib.sha256((REQUIREMENTS_DIR / "runtime.txt").read_bytes())
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def ensure() -> None:
    """Have the image, or raise SetupError. What it stands on is there: `images.ensure` ran before."""
    wanted = recipe()
    if _is_here(wanted):
        return
    with only_one():
        if _is_here(wanted):
            return
        argv = ["docker", "build", "--pull=false", "--tag", NAME, f"--build-context=requirements={REQUIREMENTS_DIR}"]
        argv += [f"--label={images.LOCAL_LABEL}=local", f"--label={images.RECIPE_LABEL}={wanted}", str(FOLDER)]
        work("images", f"building {NAME} (two minutes, once)", argv)


def _is_here(wanted: str) -> bool:
    asked = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{images.RECIPE_LABEL}"}}}}', NAME]
    here = call(asked).stdout.strip() == wanted
    if here:
        say("images", f"{NAME} is here")
    return here
