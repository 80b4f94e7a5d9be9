"""The metadata service of EC2 (IMDSv2): what this instance can tell of itself.

Each question carries a token, which is fetched anew before it ends or when the service has forgotten it. No proxy is
ever asked: the answer would be about the proxy's instance.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from urllib.parse import urlsplit

from agent.errors import OutsideError
from agent.model.facts import InstanceFacts

ENDPOINT = "http://169.254.169.254"
VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"  # where Amazon's own programs look for another one

_TIMEOUT_S = 2.0  # it answers within milliseconds, or there is none
_TOKEN_S = 21_600  # as long as it may live
_EARLY_S = 300.0
_LARGEST = 64 * 1024
# IP_MINTTL and IPV6_MINHOPCOUNT of Linux, which the socket module has no names for.
_LEAST_HOPS = {socket.AF_INET: (socket.IPPROTO_IP, 21), socket.AF_INET6: (socket.IPPROTO_IPV6, 73)}


class Imds:
    """The service at `endpoint`; http://[fd00:ec2::254] is its IPv6 address where that is enabled."""

    def __init__(self, endpoint: str = ENDPOINT, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._monotonic = monotonic
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        self._lock = Lock()
        self._token = ""
        self._token_ends = 0.0

    def public_ipv4(self) -> str | None:
        """Its public address, an associated Elastic IP included; None when it has none."""
        return self._address("public-ipv4")

    def ipv6(self) -> str | None:
        """The first IPv6 address of its first network interface; None when it has none."""
        return self._address("ipv6")

    def is_spot(self) -> bool:
        """Whether AWS may take it back at any time."""
        return self.get("instance-life-cycle") == "spot"

    def spot_announcements(self) -> tuple[str, str]:
        """What is said of an interruption and of a rebalance, as JSON; "" where nothing is."""
        return self.get("spot/instance-action") or "", self.get("events/recommendations/rebalance") or ""

    def facts(self) -> InstanceFacts:
        """What `butai doctor` judges an instance by; what cannot be asked stays unknown."""
        try:
            return InstanceFacts(
                id=self.get("instance-id") or "",
                vpc=tuple(self._vpc()),
                answers_without_token=self._answers_without_token(),
                crosses_to_containers=self._crosses_to_containers(),
                role=(self.get("iam/security-credentials/") or "").partition("\n")[0],
                public_ipv4=self.public_ipv4() or "",
                is_spot=self.is_spot(),
                interruption=self.get("spot/instance-action") or "",
            )
        except OutsideError:
            return InstanceFacts()

    def get(self, path: str) -> str | None:
        """The text at /latest/meta-data/`path`, None when there is no such thing. OutsideError without an answer."""
        try:
            return self._read(path, self._fresh_token(anew=False))
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.UNAUTHORIZED:
                raise _refused(error.code) from error
        try:  # the instance was moved or the service restarted: it knows our token no more
            return self._read(path, self._fresh_token(anew=True))
        except urllib.error.HTTPError as error:
            raise _refused(error.code) from error

    def _vpc(self) -> list[str]:
        mac = self.get("mac") or ""
        return (self.get(f"network/interfaces/macs/{mac}/vpc-ipv4-cidr-blocks") or "").split()

    def _answers_without_token(self) -> bool:
        """Whether version 1 is on: whoever can make somebody send a GET request is told everything."""
        try:
            self._ask("meta-data/", {}, method="GET")
        except urllib.error.HTTPError as error:
            return error.code != HTTPStatus.UNAUTHORIZED
        return True

    def _crosses_to_containers(self) -> bool:
        """Whether a token travels further than this host.

        The hop limit is the time to live of the packets that carry the token, and a container is one hop further. To be
        told the limit needs a permission of EC2's; to refuse packets that end here (IP_MINTTL, ip(7)) needs none. The
        connection is made before, so that silence has only one meaning.
        """
        connection = http.client.HTTPConnection(urlsplit(self._endpoint).netloc, timeout=_TIMEOUT_S)
        try:
            connection.connect()
            level, option = _LEAST_HOPS[connection.sock.family]
            connection.sock.setsockopt(level, option, 2)
            connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
            return connection.getresponse().status == HTTPStatus.OK
        except TimeoutError:
            return False
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable() from error
        finally:
            connection.close()

    def _address(self, path: str) -> str | None:
        text = self.get(path)
        try:
            return None if text is None else str(ipaddress.ip_address(text))
        except ValueError as error:
            raise OutsideError(
                "What answers in place of the metadata service of EC2 is none.",
                hint="Write dns.addresses.",
                code="imds-unreachable",
            ) from error

    def _read(self, path: str, token: str) -> str | None:
        try:
            return self._ask(f"meta-data/{path}", {"X-aws-ec2-metadata-token": token}, method="GET")
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _fresh_token(self, *, anew: bool) -> str:
        with self._lock:
            now = self._monotonic()
            if anew or not self._token or now >= self._token_ends:
                header = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
                try:
                    self._token = self._ask("api/token", header, method="PUT")
                except urllib.error.HTTPError as error:
                    raise _refused(error.code) from error
                self._token_ends = now + _TOKEN_S - _EARLY_S
            return self._token

    def _ask(self, path: str, headers: dict[str, str], *, method: str) -> str:
        request = urllib.request.Request(  # noqa: S310 - the endpoint is ours
            f"{self._endpoint}/latest/{path}", headers=headers, method=method
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return str(answer.read(_LARGEST).decode("utf-8", "replace")).strip()
        except urllib.error.HTTPError as error:
            error.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable() from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect is an answer like any other: an error."""


def _unreachable() -> OutsideError:
    return OutsideError(
        "The metadata service of EC2 does not answer.",
        hint="Is this an EC2 instance, and is its metadata service on? Elsewhere write dns.addresses.",
        code="imds-unreachable",
    )


def _refused(status: int) -> OutsideError:
    return OutsideError(
        f"The metadata service of EC2 refuses ({status}).",
        hint="See `aws ec2 modify-instance-metadata-options --http-endpoint enabled`, or write dns.addresses.",
        code="imds-refused",
    )
