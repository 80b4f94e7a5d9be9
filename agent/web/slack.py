"""Slack's two doors: slash commands and buttons. Verify, parse, call an operation, answer within 100 ms.

Nothing here waits for git, Docker or Slack: what is answered comes from rows, what takes longer is
told by the notifier. Who may ask is decided by the ids of team, channel and user, never by names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify

from agent.errors import AgentError, RequestError
from agent.logs import redactor
from agent.model.deployment import Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.runtime import chat
from agent.runtime.inspect import summary_of
from agent.runtime.operations import Accepted
from agent.web.command import Command, parse
from agent.web.deps import Deps
from agent.web.slack_door import (
    Person,
    id_of,
    is_ssl_check,
    may_use,
    response_url_of,
    slack_settings,
    verified_fields,
)

_QUESTION_LIFE_S = 600
_NOT_YOU = "You may not use Butai here. Ask the person who runs it to allow your Slack user and this channel."


def blueprint(deps: Deps) -> Blueprint:
    """`/slack/commands` and `/slack/interactions`; both are 404 while the settings have no [slack]."""
    routes = Blueprint("slack", __name__, url_prefix="/slack")
    commands, buttons = _Commands(deps), _Buttons(deps)

    @routes.route("/commands", methods=["GET", "POST"])
    def slash() -> Response:
        if is_ssl_check(deps):
            return Response(status=HTTPStatus.OK)
        fields = verified_fields(deps)
        person = Person(
            fields.get("team_id", ""), fields.get("channel_id", ""), fields.get("user_id", ""), response_url_of(fields)
        )
        if not may_use(deps, person):
            return _private(_NOT_YOU)
        try:
            return commands.run(parse(fields.get("text", "")), person)
        except AgentError as error:
            return _private(chat.error(error))

    @routes.post("/interactions")
    def interaction() -> Response:
        if is_ssl_check(deps):
            return Response(status=HTTPStatus.OK)
        buttons.clicked(_payload(verified_fields(deps)))
        return Response(status=HTTPStatus.OK)  # Slack ignores what the answer to a click says

    return routes


def _private(text: str, blocks: list[dict[str, Any]] | None = None) -> Response:
    """An answer that only the person who asked sees."""
    return jsonify({"response_type": "ephemeral", "text": text, **({"blocks": blocks} if blocks else {})})


class _Commands:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def run(self, command: Command, person: Person) -> Response:
        """Do what was said, or raise an AgentError that says why not."""
        operations = self._deps.operations
        if command.verb == "help":
            return _private(chat.HELP)
        if command.verb == "list":
            return _private(chat.listing([self._line(environment) for environment in self._all()]))
        if command.verb == "deploy":
            asked = operations.deploy(
                command.branch, project=command.project, caller=person.caller, notice=person.notice
            )
            return self._taken(asked, person)
        environment = operations.find(command.branch, project=command.project)
        if command.verb == "status":
            return _private(chat.status(self._line(environment), self._last(environment)))
        if command.verb == "destroy":
            return self._ask(environment, person)
        act = {
            "redeploy": operations.redeploy,
            "sleep": operations.sleep,
            "wake": operations.wake,
            "pin": operations.pin,
            "unpin": operations.unpin,
        }[command.verb]
        accepted = act(environment.slug, caller=person.caller, notice=person.notice)
        if accepted.deployment is None and command.verb != "sleep":  # done already: nothing will follow
            return _private(chat.sentence(accepted.text))
        return self._taken(accepted, person, asleep=command.verb == "sleep")

    def _taken(self, accepted: Accepted, person: Person, *, asleep: bool = False) -> Response:
        """With a bot token the message is posted at once and edited; without, this answer is it."""
        self._deps.notifier.look_at(accepted.environment.slug)
        if slack_settings(self._deps).bot_token:
            return Response(status=HTTPStatus.OK)
        environment = accepted.environment
        text = (
            chat.falling_asleep(environment) if asleep else chat.progress(environment, Phase.QUEUED, user=person.user)
        )
        return jsonify({"response_type": "in_channel", "text": text})

    def _ask(self, environment: Environment, person: Person) -> Response:
        """Say what would be lost, with buttons. The answer is authorised again, so the value proves nothing."""
        text = chat.question(
            environment, url=self._url(environment), volumes=self._deps.inspector.volumes(environment.slug)
        )
        value = json.dumps(
            {
                "slug": environment.slug,
                "created": environment.created_at.isoformat(),
                "user": person.user,
                "asked": int(self._deps.clock.now().timestamp()),
            }
        )
        section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        destroy = {"type": "button", "action_id": "destroy", "style": "danger", "value": value}
        keep = {"type": "button", "action_id": "keep", "value": value}
        elements = [
            destroy | {"text": {"type": "plain_text", "text": "Destroy it"}},
            keep | {"text": {"type": "plain_text", "text": "Keep it"}},
        ]
        return _private(text, [section, {"type": "actions", "elements": elements}])

    def _all(self) -> tuple[Environment, ...]:
        return self._deps.store.environments.all()

    def _line(self, environment: Environment) -> chat.Line:
        return chat.Line(environment, self._url(environment), summary_of(environment, self._last(environment)))

    def _last(self, environment: Environment) -> Deployment | None:
        last = self._deps.store.deployments.last(environment.slug)
        return last and chat.redacted(last, redactor(self._deps.settings()))

    def _url(self, environment: Environment) -> str:
        settings = self._deps.settings()
        return settings.url(settings.hostname(environment.slug))


class _Buttons:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def clicked(self, payload: Mapping[str, Any]) -> None:
        """Act on one of our buttons; what it says is told in its message. Other interactions are not ours."""
        action = _first(payload.get("actions"))
        if payload.get("type") != "block_actions" or action.get("action_id") not in ("destroy", "keep"):
            return
        person = Person(
            id_of(payload.get("team")), id_of(payload.get("channel")), id_of(payload.get("user")),
            response_url_of(payload),
        )  # fmt: skip
        if not may_use(self._deps, person):
            self._say(person, _NOT_YOU, replace=False)
            return
        try:
            self._answered(action, person)
        except AgentError as error:
            self._say(person, chat.error(error))

    def _answered(self, action: Mapping[str, Any], person: Person) -> None:
        asked = _question(action.get("value"))
        if asked.get("user") != person.user:
            self._say(person, "Somebody else was asked this. Ask for it yourself.", replace=False)
            return
        environment = self._still_meant(asked)
        if action["action_id"] == "keep":
            self._say(person, f"{chat.name(environment)} stays.")
        elif environment.wanted is not Wanted.ABSENT:  # a second click is the same as the first
            self._deps.operations.destroy(environment.slug, caller=person.caller, notice=person.notice)
            if slack_settings(self._deps).bot_token:
                self._say(person, "")
            self._deps.notifier.look_at(environment.slug)

    def _still_meant(self, asked: Mapping[str, Any]) -> Environment:
        """The environment that the question was about. RequestError when it is another one, or too long ago."""
        try:
            slug = Slug(str(asked.get("slug")))
            age_s = self._deps.clock.now().timestamp() - float(asked.get("asked", 0))
        except (ValueError, TypeError) as error:
            raise _stale("I do not know this button.") from error
        environment = self._deps.store.environments.get(slug)
        if environment is None:
            raise _stale(f"`{slug}` is gone already.")
        if environment.created_at.isoformat() != asked.get("created"):
            raise _stale(f"`{slug}` was made anew since this was asked.")
        if not 0 <= age_s <= _QUESTION_LIFE_S:
            raise _stale("This question is too old.")
        return environment

    def _say(self, person: Person, text: str, *, replace: bool = True) -> None:
        if person.response_url:
            self._deps.notifier.answer_click(person.response_url, text, replace=replace)


def _stale(message: str) -> RequestError:
    return RequestError(message, hint="Ask again with `/butai destroy`.", code="stale-question")


def _payload(fields: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        payload = json.loads(fields.get("payload", ""))
    except (ValueError, RecursionError) as error:
        raise RequestError("The payload cannot be read.", code="bad-payload") from error
    if not isinstance(payload, dict):
        raise RequestError("The payload is not an object.", code="bad-payload")
    return payload


def _question(value: object) -> Mapping[str, Any]:
    """What a button of ours carries; {} when it is none of ours."""
    try:
        asked = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _first(value: object) -> Mapping[str, Any]:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}
