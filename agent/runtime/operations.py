"""What a person or a forge can ask. Writes the wish and an event, wakes the controller, answers at once.

Nothing here talks to git, Docker or Slack: a request is a few rows, so it is answered in
milliseconds and survives everything that happens afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.config import Settings
from agent.errors import RequestError
from agent.model.care import Shortage
from agent.model.deployment import Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.notice import Notice
from agent.model.slug import slug_for
from agent.planning.addresses import block_count
from agent.planning.branches import check_branch, matches, nearest
from agent.runtime.ports import Clock
from agent.store import Store


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request: the wish is written; `text` says so in one sentence."""

    environment: Environment
    deployment: Deployment | None
    new: bool
    text: str


class Operations:
    """Every trigger is one of these calls, whoever makes it.

    `wake` tells the controller that an environment has something new, `poke` the poller that a
    project's branches should be listed now, `expect` git what a branch may be at. They only set a flag. `shortage`
    says which disk is nearly full, as it was last measured.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        clock: Clock,
        wake: Callable[[Slug], None],
        poke: Callable[[str], None],
        expect: Callable[[str, str, Revision], None],
        shortage: Callable[[], Shortage | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._wake = wake
        self._poke = poke
        self._expect = expect
        self._shortage = shortage

    def deploy(self, branch: str, *, project: str | None, caller: str, notice: Notice | None = None) -> Accepted:
        """Put a branch on stage, or bring it up to date. RequestError: bad name, unknown project, no room."""
        branch = check_branch(branch)
        name = self._project_of(branch, project)
        with self._store.transaction():
            known = self._store.environments.find(branch, project=name)
            environment = known[0] if known else self._create(name, branch, caller)
            change = self._store.environments.update if environment.pinned else self._store.environments.ask
            environment = change(
                environment.slug, wanted=Wanted.RUNNING, failed_revision=None, failed_config="", repairs=0
            )
            deployment = self._begin(environment, cause=f"asked by {caller}", caller=caller)
            self._record(environment, "deploy", caller=caller, notice=notice, text=f"{branch} asked for")
        self._wake(environment.slug)
        verb = "Updating" if known else "Deploying"
        return Accepted(environment, deployment, not known, f"{verb} `{branch}` of {name}.")

    def redeploy(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Build again and replace every container, data kept. RequestError while a disk is nearly full."""
        self._check_room()
        with self._store.transaction():
            environment = self._existing(slug)
            change = self._store.environments.update if environment.pinned else self._store.environments.ask
            environment = change(
                slug,
                wanted=Wanted.RUNNING,
                salt=environment.salt + 1,
                failed_revision=None,
                failed_config="",
                repairs=0,
            )
            self._supersede(slug)
            deployment = self._begin(environment, cause=f"redeploy asked by {caller}", caller=caller)
            self._record(environment, "redeploy", caller=caller, notice=notice, text="redeploy asked for")
        self._wake(slug)
        return Accepted(environment, deployment, False, f"Redeploying `{environment.branch}`.")

    def sleep(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Stop its containers and keep its data."""
        with self._store.transaction():
            if self._existing(slug).wanted is Wanted.ABSENT:
                raise RequestError(
                    f"`{slug}` is being removed with its data.",
                    hint="Deploy it again when it is needed.",
                    code="being-removed",
                    http_status=409,
                )
            self._supersede(slug)
            environment = self._store.environments.update(slug, wanted=Wanted.ASLEEP)
            self._record(environment, "sleep", caller=caller, notice=notice, text="sleep asked for")
        self._wake(slug)
        return Accepted(environment, None, False, f"Putting `{environment.branch}` to sleep; its data is kept.")

    def wake(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Run a sleeping environment again, at the newest revision of its branch."""
        with self._store.transaction():
            environment = self._existing(slug)
            if environment.wanted is Wanted.RUNNING and self._store.deployments.current(slug) is None:
                self._record(environment, "wake", caller=caller, notice=None, text="wake asked for: awake already")
                return Accepted(environment, None, False, f"`{environment.branch}` is awake already.")
            environment = self._store.environments.update(slug, wanted=Wanted.RUNNING, repairs=0)
            deployment = self._begin(environment, cause=f"woken by {caller}", caller=caller)
            self._record(environment, "wake", caller=caller, notice=notice, text="wake asked for")
        self._wake(slug)
        return Accepted(environment, deployment, False, f"Waking `{environment.branch}`.")

    def pin(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Keep it at the revision it has: pushes are ignored until it is unpinned."""
        return self._set_pinned(slug, True, caller=caller, notice=notice)

    def unpin(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Follow pushes again, beginning with those that were missed."""
        return self._set_pinned(slug, False, caller=caller, notice=notice)

    def destroy(self, slug: Slug, *, caller: str, notice: Notice | None = None) -> Accepted:
        """Remove the environment with its data. Asking twice is the same as asking once."""
        with self._store.transaction():
            self._existing(slug)
            self._supersede(slug)
            environment = self._store.environments.update(slug, wanted=Wanted.ABSENT)
            self._record(environment, "destroy", caller=caller, notice=notice, text="destroy asked for")
        self._wake(slug)
        return Accepted(environment, None, False, f"Removing `{environment.branch}` and its data.")

    def push(
        self, project: str, branch: str, *, deleted: bool, caller: str, revision: Revision | None = None
    ) -> Slug | None:
        """A branch may have moved, to `revision`. A hint: what to deploy is always read from the remote afterwards."""
        if deleted:
            self._poke(project)
            return None
        known = self._pushed(project, branch, caller=caller)
        if known is not None and known.pinned:
            return None
        if known is not None:
            if revision is not None:
                self._expect(project, branch, revision)
            self._wake(known.slug)
            return known.slug
        patterns = self._settings().projects[project].auto_deploy
        if not matches(patterns, branch):
            return None
        cause = "first push of a branch that matches auto_deploy"
        with self._store.transaction():
            environment = self._create(project, check_branch(branch), caller)
            environment = self._store.environments.ask(environment.slug)
            self._begin(environment, cause=cause, caller=caller)
            self._record(environment, "deploy", caller=caller, notice=None, text=cause)
        self._wake(environment.slug)
        return environment.slug

    def recover(self, cause: str) -> None:
        """Everything that should run may have stopped, cleanly even: bring all of it up again."""
        for environment in self._store.environments.all():
            if environment.wanted is Wanted.RUNNING and environment.deployed_revision is not None:
                with self._store.transaction():
                    deployment = self._begin(environment, cause=cause, caller="agent")
                    if not environment.needs_fetch:  # else the remote says which it is about
                        self._store.deployments.update(deployment.id, revision=environment.wish)
            self._wake(environment.slug)

    def find(self, reference: str, *, project: str | None = None) -> Environment:
        """The environment that a person means by a slug or a branch. RequestError 404 or 409."""
        found = self._store.environments.find(reference, project=project)
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            projects = ", ".join(sorted(environment.project for environment in found))
            raise RequestError(
                f"Branch `{reference}` is on stage for several projects: {projects}.",
                hint="Name the project as well.",
                code="ambiguous-branch",
                http_status=409,
            )
        for environment in self._store.environments.all():
            if environment.slug == reference and project in (None, environment.project):
                return environment
        names = [environment.branch for environment in self._store.environments.all()]
        raise RequestError(
            f"No environment for `{reference}`.",
            hint=_suggest("On stage", nearest(reference, names)) or "Deploy it first.",
            code="no-such-environment",
            http_status=404,
        )

    def branches(self, project: str | None, *, near: str = "") -> tuple[tuple[str, str], ...]:
        """(project, branch) pairs from the cached listings, nearest to `near` first."""
        wanted = [project] if project else sorted(self._settings().projects)
        pairs = [(name, branch) for name in wanted for branch in sorted(self._store.branches.of(name))]
        if not near:
            return tuple(pairs)
        order = nearest(near, [branch for _, branch in pairs], limit=len(pairs))
        return tuple((name, branch) for wish in dict.fromkeys(order) for name, branch in pairs if branch == wish)

    def _create(self, project: str, branch: str, caller: str) -> Environment:
        settings = self._settings()
        if len(self._store.environments.all()) >= settings.limits.environments:
            raise RequestError(
                f"This host holds its limit of {settings.limits.environments} environments.",
                hint="Destroy one that nobody needs, or raise limits.environments.",
                code="too-many-environments",
                http_status=409,
            )
        self._check_room()
        return self._store.environments.create(
            project=project,
            branch=branch,
            slugs=slug_for(branch, project=project, template=settings.projects[project].hostname),
            caller=caller,
            now=self._clock.now(),
            blocks=block_count(settings.docker.address_pool, settings.docker.block_prefix),
        )

    def _check_room(self) -> None:
        """What is on stage stays there, and its pushes go on as far as they build nothing."""
        shortage = self._shortage()
        if shortage is not None:
            raise RequestError(
                str(shortage),
                hint="Destroy what nobody needs; the agent cleans up, and `butai events` says when there is room.",
                code="disk-nearly-full",
                http_status=409,
            )

    def _project_of(self, branch: str, project: str | None) -> str:
        projects = self._settings().projects
        if project is not None:
            if project in projects:
                return project
            raise RequestError(
                f"No project `{project}`.",
                hint=_suggest("Projects", sorted(projects)),
                code="no-such-project",
                http_status=404,
            )
        if len(projects) == 1:
            return next(iter(projects))
        holders = [name for name in sorted(projects) if branch in self._store.branches.of(name)]
        if len(holders) == 1:
            return holders[0]
        if holders:
            raise RequestError(
                f"Branch `{branch}` exists in several projects: {', '.join(holders)}.",
                hint="Name the project as well.",
                code="ambiguous-branch",
                http_status=409,
            )
        for name in sorted(projects):
            self._poke(name)
        known = [f"{found} ({holder})" for holder, found in self.branches(None, near=branch)[:5]]
        raise RequestError(
            f"No project has a branch `{branch}`.",
            hint=f"{_suggest('Nearest', known)} If it was pushed just now, ask again in a few seconds.".strip(),
            code="no-such-branch",
            http_status=404,
        )

    def _begin(self, environment: Environment, *, cause: str, caller: str) -> Deployment:
        """The deployment that will answer this request: a waiting one is joined, not doubled.

        One that failed already and only goes back to the last good version answers nobody who asks now.
        """
        current = self._store.deployments.current(environment.slug)
        if current is not None and current.failure is None:
            return current
        self._supersede(environment.slug)
        return self._store.deployments.begin(environment, cause=cause, caller=caller, now=self._clock.now())

    def _supersede(self, slug: Slug) -> None:
        current = self._store.deployments.current(slug)
        if current is not None:
            self._store.deployments.finish(current.id, Phase.SUPERSEDED, now=self._clock.now(), failure=current.failure)

    def _pushed(self, project: str, branch: str, *, caller: str) -> Environment | None:
        """Write down that a branch on stage may have moved; its environment, None when it is not on stage."""
        with self._store.transaction():
            known = self._store.environments.find(branch, project=project)
            if not known:
                return None
            if not known[0].pinned:
                return self._store.environments.ask(known[0].slug)
            self._store.events.add(
                "push",
                slug=known[0].slug,
                caller=caller,
                text="push ignored: the environment is pinned",
                now=self._clock.now(),
            )
            return known[0]

    def _set_pinned(self, slug: Slug, pinned: bool, *, caller: str, notice: Notice | None) -> Accepted:
        with self._store.transaction():
            self._existing(slug)
            change = self._store.environments.update if pinned else self._store.environments.ask
            environment = change(slug, pinned=pinned)
            kind = "pin" if pinned else "unpin"
            self._record(environment, kind, caller=caller, notice=None, text=f"{kind} asked for")
        self._wake(slug)
        text = "is pinned: pushes are ignored" if pinned else "follows pushes again"
        return Accepted(environment, None, False, f"`{environment.branch}` {text}.")

    def _existing(self, slug: Slug) -> Environment:
        environment = self._store.environments.get(slug)
        if environment is None:
            raise RequestError(
                f"No environment `{slug}`.", hint="Deploy it first.", code="no-such-environment", http_status=404
            )
        return environment

    def _record(self, environment: Environment, kind: str, *, caller: str, notice: Notice | None, text: str) -> None:
        now = self._clock.now()
        self._store.events.add(kind, slug=environment.slug, caller=caller, text=text, now=now)
        if notice is not None:
            self._store.notices.open(environment.slug, notice, request=environment.request, kind=kind, now=now)


def _suggest(label: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{label}: {listed}." if listed else ""
