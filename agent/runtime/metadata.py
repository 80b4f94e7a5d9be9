"""Who may have which credentials: answers containers in place of Amazon's metadata service (IMDSv2).

A container is known by the address that it connects from. Tokens are asked for as on an instance: a program that can be
made to fetch any URL cannot be made to send a PUT and a header, so it does not give the role away.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Event
from typing import Protocol

from agent.config import Settings
from agent.errors import RequestError
from agent.model.aws import LentKeys, RoleWish
from agent.model.environment import Environment
from agent.model.labels import INSTANCE, SLUG
from agent.model.observed import Container
from agent.planning import metadata as planning
from agent.planning.roles import wish
from agent.runtime.ports import Clock
from agent.runtime.roles import RoleKeeper
from agent.store import Store

LONGEST_TOKEN_S = 21_600

_LOOKS = 4  # Amazon's libraries wait a second
_BETWEEN_LOOKS_S = 0.1


class Engine(Protocol):
    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]: ...


class Metadata:
    """Safe from any thread. Tokens end with the agent; Amazon's libraries then ask for another."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        engine: Engine,
        roles: RoleKeeper,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._roles = roles
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._pause = Event()  # never set

    def serves(self, address: str) -> bool:
        """Whether there is a role for whoever has this IPv4 address."""
        return self._environment(address) is not None

    def token(self, address: str, ttl_s: int) -> str:
        """For the container that has this address just now. RequestError 403 for everybody else.

        The engine is asked, since Traefik has an address in every environment, too, and must get nothing.
        """
        environment = self._environment(address)
        if environment is None:
            raise _denied()
        if not self._is_containers(address, environment):
            raise _denied()
        ends = str(int(self._clock.now().timestamp()) + ttl_s)
        return f"{ends}.{self._signature(environment, address, ends)}"

    def keys(self, address: str, token: str) -> tuple[RoleWish, LentKeys]:
        """Credentials for whoever has a token. RequestError 401 without, and as `RoleKeeper.keys`."""
        return self._roles.keys(self._admitted(address, token))

    def wish(self, address: str, token: str) -> RoleWish:
        """The role, whether or not AWS gives it. RequestError 401 without a token."""
        found = wish(self._admitted(address, token), self._settings())
        if found is None:
            raise _denied()
        return found

    def _is_containers(self, address: str, environment: Environment) -> bool:
        """Looked at more than once: the engine's list has a container's address only after its first program began."""
        labels = {INSTANCE: self._settings().instance, SLUG: str(environment.slug)}
        for _ in range(_LOOKS):
            if any(address in container.addresses.values() for container in self._engine.containers(labels)):
                return True
            self._pause.wait(_BETWEEN_LOOKS_S)
        return False

    def _admitted(self, address: str, token: str) -> Environment:
        environment = self._environment(address)
        ends, _, signature = token.partition(".")
        if environment is not None and ends.isdecimal() and ends.isascii() and len(ends) <= 12:
            good = hmac.compare_digest(
                signature.encode("utf-8", "replace"), self._signature(environment, address, ends).encode()
            )
            if good and self._clock.now().timestamp() < int(ends):
                return environment
        raise RequestError(
            "This needs a token.",
            hint="PUT /latest/api/token with X-aws-ec2-metadata-token-ttl-seconds, as IMDSv2 has it.",
            code="unauthorized",
            http_status=HTTPStatus.UNAUTHORIZED,
        )

    def _environment(self, address: str) -> Environment | None:
        settings = self._settings()
        if not settings.has_roles:
            return None
        found = planning.environment_at(address, self._store.environments.all(), settings)
        return found if found is not None and wish(found, settings) is not None else None

    def _signature(self, environment: Environment, address: str, ends: str) -> str:
        text = f"{environment.slug} {environment.created_at.isoformat()} {address} {ends}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def _denied() -> RequestError:
    return RequestError("There is no role for you.", code="forbidden", http_status=HTTPStatus.FORBIDDEN)
