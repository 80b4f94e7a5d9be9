"""A real ACME server, Pebble, that believes the name server of the test; what it signs is worth nothing elsewhere."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.eventually import eventually
from tests.support.place import free_port

_QUICK = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}  # else it dawdles and errs, to test its clients


@dataclass(frozen=True)
class Pebble:
    url: str  # of the directory
    ca_file: Path  # by which the server is recognised
    root_url: str
    log: Path

    def root(self) -> str:
        """The certificate that signs, another one at each start, in PEM."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(self.root_url, context=context) as answer:
            return str(answer.read().decode())

    def orders(self) -> int:
        """How many certificates were asked for so far."""
        return self.log.read_text().count("POST /order-plz")


@contextmanager
def pebble(directory: Path, *, address: str, dns_port: int) -> Iterator[Pebble]:
    """The server on an address of this host; it looks TXT records up at 127.0.0.1:`dns_port`."""
    port, management = free_port(), free_port()
    certificate, key = _own_certificate(directory, address)
    settings = {
        "listenAddress": f"{address}:{port}",
        "managementListenAddress": f"{address}:{management}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": 1,
        "tlsPort": 1,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    file, log = directory / "pebble.json", directory / "pebble.log"
    file.write_text(json.dumps({"pebble": settings}))
    server = Pebble(f"https://{address}:{port}/dir", certificate, f"https://{address}:{management}/roots/0", log)
    argv = ["pebble", "-config", str(file), "-dnsserver", f"127.0.0.1:{dns_port}"]
    with log.open("wb") as written:
        process = subprocess.Popen(argv, stdout=written, stderr=written, env={**os.environ, **_QUICK})
    try:
        eventually(lambda: _answers(server), 20)
        yield server
    finally:
        process.terminate()
        process.wait()


def _answers(server: Pebble) -> bool:
    try:
        return "BEGIN CERTIFICATE" in server.root()
    except OSError:
        return False


def _own_certificate(directory: Path, address: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pebble")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "pebble.crt", directory / "pebble.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(pem)
    return paths
