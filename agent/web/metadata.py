"""What Amazon's libraries ask a metadata service for, in the words of IMDSv2: a token, credentials of a role, a region.

Nothing else that an instance's service tells is here: it would be about this host, or made up.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request

from agent.errors import RequestError
from agent.model.aws import RoleWish
from agent.planning.metadata import ADDRESS
from agent.runtime.metadata import LONGEST_TOKEN_S
from agent.web.deps import PEER, Deps

_TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105 - the name of a header
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


def blueprint(deps: Deps) -> Blueprint:
    routes = Blueprint("metadata", __name__)
    credentials = "/latest/meta-data/iam/security-credentials"

    def wish() -> RoleWish:
        return deps.metadata.wish(_peer(), request.headers.get(_TOKEN, ""))

    @routes.before_request
    def refuse_detours() -> None:
        """A browser in a container that is told another name for this address, and proxies: as Amazon's does."""
        if request.host not in (ADDRESS, f"{ADDRESS}:80") or "X-Forwarded-For" in request.headers:
            raise RequestError("Not by that name, and not by a proxy.", code="forbidden", http_status=403)

    @routes.put("/latest/api/token")
    def token() -> Response:
        ttl = request.headers.get(_TTL, "")
        if not (ttl.isascii() and ttl.isdecimal() and len(ttl) <= 5 and 1 <= int(ttl) <= LONGEST_TOKEN_S):
            raise RequestError(f"{_TTL} must be 1 to {LONGEST_TOKEN_S}.", code="bad-ttl")
        answer = _text(deps.metadata.token(_peer(), int(ttl)))
        answer.headers[_TTL] = ttl
        return answer

    @routes.get(f"{credentials}/", strict_slashes=False)
    def role() -> Response:
        return _text(wish().name)

    @routes.get(f"{credentials}/<name>")
    def keys(name: str) -> Response:
        try:
            found, lent = deps.metadata.keys(_peer(), request.headers.get(_TOKEN, ""))
        except RequestError as error:
            if error.http_status == HTTPStatus.UNAUTHORIZED:
                raise
            # How Amazon's says that the role cannot be had: an answer, so that nobody asks again and again.
            return jsonify(Code="AssumeRoleUnauthorizedAccess", Message=error.message, LastUpdated=_time(_now(deps)))
        if name != found.name:
            raise RequestError("There is no such role.", code="not-found", http_status=HTTPStatus.NOT_FOUND)
        return jsonify(
            Code="Success",
            LastUpdated=_time(_now(deps)),
            Type="AWS-HMAC",
            AccessKeyId=lent.keys.key_id,
            SecretAccessKey=lent.keys.secret,
            Token=lent.keys.session_token,
            Expiration=_time(lent.expires_at),
        )

    @routes.get("/latest/meta-data/placement/region")
    def region() -> Response:
        return _text(wish().region)

    @routes.get("/latest/meta-data/placement/availability-zone/", strict_slashes=False)
    def zone() -> Response:
        """For the AWS CLI, which cuts the letter off: there is no zone to tell."""
        return _text(f"{wish().region}a")

    @routes.get("/latest/dynamic/instance-identity/document")
    def identity() -> Response:
        """For libraries that look for the region here; without a signature it proves nothing to anybody."""
        return jsonify(region=wish().region)

    return routes


def _peer() -> str:
    return str(request.environ.get(PEER, ""))


def _now(deps: Deps) -> datetime:
    return deps.clock.now()


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(body: str) -> Response:
    return Response(body, content_type="text/plain; charset=utf-8")
