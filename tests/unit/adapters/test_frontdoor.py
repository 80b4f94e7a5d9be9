"""A visitor's look at a host, on real sockets: its number, its certificate's end, and silence."""

from __future__ import annotations

import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from agent.adapters import frontdoor
from tests.support.httpd import answering


@pytest.mark.parametrize(("days", "subject"), [(30, "/"), (12_000, "/CN=TRAEFIK DEFAULT CERT")])
def test_the_end_of_a_certificate_is_read_whoever_signed_it(tmp_path: Path, days: int, subject: str) -> None:
    """Ends after 2049 are written in another form (RFC 5280, 4.1.2.5)."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", subject, "-keyout", str(key), "-out", str(certificate), "-days", str(days)]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        found = frontdoor.certificate(listener.getsockname(), "butai.staging.example.com")
        thread.join(5)

    assert found is not None
    assert abs(found.ends_at - datetime.now(UTC) - timedelta(days=days)) < timedelta(minutes=5)
    assert found.is_makeshift == (subject != "/")


def test_who_shows_no_certificate_has_none() -> None:
    with answering(lambda method, path, headers: (200, "plain")) as url:
        port = int(url.rpartition(":")[2])
        assert frontdoor.certificate(("127.0.0.1", port), "x") is None
    assert frontdoor.certificate(("127.0.0.1", port), "x") is None


def test_any_number_is_an_answer_and_nobody_is_none() -> None:
    with answering(lambda method, path, headers: (404, "not here")) as url:
        assert frontdoor.status(url) == 404
    assert frontdoor.status(url) == 0


def test_a_name_means_its_addresses() -> None:
    assert frontdoor.addresses("127.0.0.1") == ("127.0.0.1",)
    assert frontdoor.addresses("nobody.invalid") in ((), None)  # None where there is no resolver at all
