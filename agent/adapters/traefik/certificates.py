"""What Traefik needs for HTTPS on disk: copies of given certificates, or a place where it keeps those that it gets.

What Traefik wrote itself is never changed and never removed: Let's Encrypt issues the same certificate only five times
a week, and an account and key that are lost cannot be had again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import ssl
import time
from pathlib import Path

from agent.adapters.traefik.folder import Folder
from agent.config import Settings
from agent.errors import ConfigError, OutsideError, Problem
from agent.model.edge import AcmeFiles

STORE = "acme.json"

_HOUR_S = 3_600
_TOKEN = "aws-token"  # noqa: S105 - the name of its file
_PRIVATE = 0o600  # Traefik refuses a store that others may read


def copy_pair(settings: Settings, keys: Folder) -> tuple[str, str] | None:
    """Copy the pair where Traefik sees it, under names made of its content: a renewed one is a new name."""
    traefik = settings.traefik
    if traefik.certificate_file is None or traefik.key_file is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            traefik.certificate_file, traefik.key_file, password=lambda: ""
        )
        pair = traefik.certificate_file.read_bytes(), traefik.key_file.read_bytes()
    except OSError as error:  # ssl.SSLError is one
        problem = Problem(
            "traefik.certificate_file",
            f"the certificate and its key cannot be used: {error.strerror or error}",
            "both in PEM, the key without a password, readable by the agent",
        )
        raise ConfigError((problem,)) from error
    digest = hashlib.sha256(b"\0".join(pair)).hexdigest()[:16]
    names = f"{digest}.crt", f"{digest}.key"
    for name, content in zip(names, pair, strict=True):
        if not (keys.path / name).exists():
            keys.put_file(name, content)
    return names


def acme_files(settings: Settings, keys: Folder, *, folder: Path) -> AcmeFiles | None:
    """Make ready what Traefik needs to get certificates and keep them in `folder`; None without ACME.

    ConfigError when the authority's own certificates cannot be used.
    """
    if settings.traefik.acme is None:
        return None
    authority = _copy_authority(settings.traefik.acme.ca_file, keys)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = folder / STORE
        if store.exists() and store.stat().st_mode & 0o777 != _PRIVATE:  # as backups bring it back
            store.chmod(_PRIVATE)
    except OSError as error:
        raise OutsideError(
            f"The folder of Traefik's certificates, {folder}, cannot be used: {error.strerror or error}.",
            hint="It and everything in it must belong to the agent's user.",
            code="acme-folder",
        ) from error
    if not read_token(keys):
        keys.put_file(_TOKEN, secrets.token_urlsafe(32).encode())
    return AcmeFiles(folder, _TOKEN, authority)


def attempt(settings: Settings, files: AcmeFiles | None) -> str:
    """Another text every hour for as long as Traefik has no certificate for our domain; "" when it has, or needs none.

    Five failures an hour are what Let's Encrypt puts up with.
    """
    if files is None:
        return ""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, or being written
        stored = json.loads((files.folder / STORE).read_bytes())
        issued = [one for resolver in stored.values() for one in resolver["Certificates"] or ()]
        if any(one["domain"]["main"] == settings.domain for one in issued):
            return ""
    return str(int(time.time() // _HOUR_S))


def read_token(keys: Folder) -> str:
    """What Traefik says when it asks for credentials; "" when it was given nothing to say."""
    with contextlib.suppress(FileNotFoundError):
        return (keys.path / _TOKEN).read_text("ascii")
    return ""


def _copy_authority(path: Path | None, keys: Folder) -> str:
    if path is None:
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(
            "traefik.acme.ca_file",
            f"holds no certificates that can be used: {error.strerror or error}",
            "in PEM, readable by the agent",
        )
        raise ConfigError((problem,)) from error
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.pem"
    if not (keys.path / name).exists():
        keys.put_file(name, content)
    return name
