"""Lends AWS credentials to Traefik, which needs them for a certificate: those of a role, else the agent's own.

Whoever reaches the agent may ask; only who has read the token, in a file that belongs to the agent's user, is answered.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, RequestError
from agent.model.aws import AwsKeys, LentKeys
from agent.planning.acme import lent_role
from agent.runtime.ports import Clock
from agent.runtime.roles import Assumer

log = structlog.get_logger(__name__)

# Amazon's client comes again five minutes before that, and a role's keys are replaced five minutes before they end.
_LENT_FOR = timedelta(minutes=10)


class Keys(Protocol):
    def current(self, zone: str) -> AwsKeys:
        """Keys of this host, with which `zone` can be changed, good for some minutes. AgentError without."""
        ...


class Lender:
    """`token` is what Traefik was told to say; "" when it was told nothing. Safe from any thread."""

    def __init__(
        self, *, settings: Callable[[], Settings], keys: Keys, roles: Assumer, token: Callable[[], str], clock: Clock
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._roles = roles
        self._token = token
        self._clock = clock

    def lend(self, said: str) -> LentKeys:
        """Keys for whoever says the token. RequestError 404 without `[traefik.acme]`, 401 for another token."""
        zone, token = self._settings().acme_zone, self._token()
        if not zone or not token:
            raise RequestError("No such path.", code="not-found", http_status=HTTPStatus.NOT_FOUND)
        if not hmac.compare_digest(said.encode("utf-8", "replace"), token.encode()):
            raise RequestError(
                "This is for Traefik, which has a token.", code="unauthorized", http_status=HTTPStatus.UNAUTHORIZED
            )
        try:
            wish = lent_role(self._settings())
            keys = self._keys.current(zone) if wish is None else self._roles.assume(wish).keys
            lent = LentKeys(keys, self._clock.now() + _LENT_FOR)
        except AgentError as error:  # Traefik would only tell that the answer was no
            log.warning("traefik gets no aws credentials, so no certificate", problem=str(error))
            raise
        log.info("aws credentials lent to traefik", zone=zone, role=wish.arn if wish else "")
        return lent
