"""What a path of the API names, and the one way to say that there is no such thing."""

from __future__ import annotations

from http import HTTPStatus

from agent.errors import RequestError
from agent.model.names import Slug
from agent.web.deps import Deps


def slug_of(text: str) -> Slug:
    """RequestError 404 for what can be no slug."""
    try:
        return Slug(text)
    except ValueError as error:
        raise missing("environment", text, hint="See `butai list`.") from error


def existing(deps: Deps, text: str) -> Slug:
    """A slug that is taken now: only `find` may mistake it for the branch of another environment."""
    slug = slug_of(text)
    if deps.store.environments.get(slug) is None:
        raise missing("environment", text, hint="See `butai list`.")
    return slug


def missing(what: str, name: str, *, hint: str) -> RequestError:
    return RequestError(
        f"No {what} `{name[:100]}`.", hint=hint, code=f"no-such-{what}", http_status=HTTPStatus.NOT_FOUND
    )
