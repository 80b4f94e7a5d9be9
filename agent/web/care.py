"""What watches the agent asks: `/healthz`, `/readyz` and `/metrics`.

Served like the API and no wider: on the Unix socket, and on TCP to whoever has the token. Traefik forwards the agent's
host name from the internet, and figures name projects, so that nobody else gets any of it there.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from agent.planning.metrics import CONTENT_TYPE
from agent.web.deps import Deps


def blueprint(deps: Deps) -> Blueprint:
    routes = Blueprint("care", __name__)

    @routes.get("/healthz")
    def healthz() -> tuple[dict[str, object], int]:
        """The process answers: nothing else is asked, as a restart would mend nothing else."""
        return {"status": "ok"}, HTTPStatus.OK

    @routes.get("/readyz")
    def readyz() -> tuple[dict[str, object], int]:
        """Whether the agent can deploy; which part keeps it from that."""
        parts = deps.vitals.parts()
        is_ready = not any(part.problem for part in parts)
        told = [{"name": part.name, "ready": not part.problem, "problem": part.problem} for part in parts]
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return {"ready": is_ready, "parts": told}, status

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(deps.figures.text(), content_type=CONTENT_TYPE)

    return routes
