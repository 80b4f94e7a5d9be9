"""Makes sure that Pebble is on this machine: the small ACME server that certificates are fetched from in tests."""

import shutil

from tools import apt
from tools.console import SetupError, say


def ensure() -> None:
    """Have a Pebble, or raise SetupError."""
    if shutil.which("pebble") is None:
        if apt.os_release().get("ID") != "debian":
            raise SetupError(
                "the certificate tests need Pebble (https://github.com/letsencrypt/pebble): install it so that `pebble`"
                " starts it, and run this again"
            )
        apt.update("pebble")
        apt.install("pebble", ["pebble"])
    say("pebble", f"{shutil.which('pebble')} is here")
