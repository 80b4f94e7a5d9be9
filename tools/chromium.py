"""Makes sure that Chromium is on this machine, for the tests that look at pages as a person does."""

import shutil

from tools import apt
from tools.console import SetupError, say

NAMES = ("chromium", "chromium-browser", "google-chrome")


def ensure() -> None:
    """Have a Chromium, or raise SetupError."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        if apt.os_release().get("ID") != "debian":
            raise SetupError(
                "the browser tests need Chromium: install it so that `chromium` starts it, and run this again"
            )
        apt.update("chromium")
        apt.install("chromium", ["chromium"])
        found = shutil.which(NAMES[0])
    say("chromium", f"{found} is here")
