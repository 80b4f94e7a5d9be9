"""Where Traefik fetches AWS credentials, in the words of Amazon's container credential provider.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

from datetime import UTC

from flask import Blueprint, Response, jsonify, request

from agent.planning.acme import LENDING_PATH
from agent.web.deps import Deps


def blueprint(deps: Deps) -> Blueprint:
    routes = Blueprint("lending", __name__)

    @routes.get(LENDING_PATH)
    def lend() -> Response:
        lent = deps.lender.lend(request.headers.get("Authorization", ""))
        return jsonify(
            {
                "AccessKeyId": lent.keys.key_id,
                "SecretAccessKey": lent.keys.secret,
                "Token": lent.keys.session_token,
                "Expiration": lent.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    return routes
