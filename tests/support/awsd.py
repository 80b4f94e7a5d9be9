"""An AWS of our own: moto's server as a process, and one that gives the same answer to everything."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3.session
import pytest

from tests.support.eventually import eventually
from tests.support.httpd import answering
from tests.support.place import free_port

if TYPE_CHECKING:
    from mypy_boto3_route53 import Route53Client

_ERROR = """<?xml version="1.0"?>
<ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId>
</ErrorResponse>"""


@contextmanager
def moto(address: str = "127.0.0.1") -> Iterator[str]:
    """Where moto's server answers, on an address of this host."""
    port = free_port()
    url = f"http://{address}:{port}"
    argv = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        eventually(answers, 60)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def refusing(status: int, code: str, message: str = "No.") -> Iterator[str]:
    """Where every call of Route53 is refused in Amazon's words."""
    text = _ERROR.format(code=code, message=message)
    with answering(lambda method, path, headers: (status, text), content_type="text/xml") as url:
        yield url


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let boto3 ask `url`, with credentials that only an emulator takes, and nothing of this machine's own."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def client(url: str) -> Route53Client:
    """What the operator has: the whole API."""
    session = boto3.session.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1"
    )
    return session.client("route53", endpoint_url=url)
