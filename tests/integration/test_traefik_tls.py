"""HTTPS by certificate files: served for every name, renewed without a restart, refused in words when unusable."""

from __future__ import annotations

import datetime
import http.client
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.errors import ConfigError
from tests.support.edgehouse import DOMAIN, EdgeHouse, edge_house
from tests.support.eventually import eventually

pytestmark = pytest.mark.docker

SETTINGS = 'certificate_file = "wild.crt"\nkey_file = "wild.key"'


def make_certificate(directory: Path, *, name: str = "wild") -> int:
    """A self-signed wildcard certificate and its key; the serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{DOMAIN}")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = directory / f"{name}.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate.serial_number


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def house(directory: Path) -> Iterator[EdgeHouse]:
    make_certificate(directory)
    with edge_house(directory, traefik=SETTINGS) as house:
        yield house


def served(house: EdgeHouse, directory: Path, path: str = "/") -> tuple[int, bytes, int]:
    """Status, body and the certificate's serial number, the certificate verified against the file."""
    context = ssl.create_default_context(cafile=str(directory / "wild.crt"))
    host = house.hostname("secure")
    address = ("127.0.0.1", house.settings.traefik.https_port)
    with (
        socket.create_connection(address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=host) as secured,
    ):
        secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secured)
        answer.begin()
        certificate = secured.getpeercert()
        assert certificate is not None
        return answer.status, answer.read(), int(str(certificate["serialNumber"]), 16)


def test_the_site_is_served_over_https_with_the_given_certificate(house: EdgeHouse, directory: Path) -> None:
    house.put(house.table("secure", house.backend("secure", "safe")))
    assert served(house, directory)[:2] == (200, b"safe\n")
    assert house.probe("secure") == (418, "1" * 40)


def test_plain_http_is_sent_to_https_on_the_published_port_and_not_for_ever(house: EdgeHouse) -> None:
    host = house.hostname("secure")
    status, headers, _ = house.ask(f"{host}:{house.settings.traefik.http_port}", "/a?b=c")
    assert status in (302, 307)
    assert headers["Location"] == f"https://{host}:{house.settings.traefik.https_port}/a?b=c"


def test_only_the_owner_may_read_the_copied_key(house: EdgeHouse) -> None:
    (key,) = (house.settings.state_dir / "edge" / "certificates").glob("*.key")
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_renewed_certificate_is_taken_up_without_a_restart(house: EdgeHouse, directory: Path) -> None:
    house.put(house.table("secure", house.backend("renewed", "safe")))
    (before,) = house.api.containers(filters={"name": house.traefik.container})
    serial = make_certificate(directory)
    house.traefik.ensure()

    def renewed() -> bool:
        try:
            return served(house, directory)[2] == serial
        except ssl.SSLError:  # the old one, which the new file does not verify
            return False

    eventually(renewed)
    house.traefik.ensure()
    assert len(list((house.settings.state_dir / "edge" / "certificates").iterdir())) == 2
    (after,) = house.api.containers(filters={"name": house.traefik.container})
    assert after["Id"] == before["Id"]


def test_a_certificate_without_its_key_is_refused_and_the_old_one_stays(house: EdgeHouse, directory: Path) -> None:
    key = directory / "wild.key"
    good = key.read_bytes()
    make_certificate(directory, name="other")
    key.write_bytes((directory / "other.key").read_bytes())
    with pytest.raises(ConfigError, match=r"traefik\.certificate_file"):
        house.traefik.ensure()
    key.write_bytes(good)
    house.put(house.table("secure", house.backend("kept", "kept")))
    assert served(house, directory)[:2] == (200, b"kept\n")
