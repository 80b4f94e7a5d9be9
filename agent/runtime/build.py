"""Makes the images of a release: BuildKit through the Engine API, the Compose CLI where a client session is needed."""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore

from agent.config import Settings
from agent.errors import CancelledError, DeployError, OutsideError, SessionNeeded
from agent.logs import redactor
from agent.model.care import Shortage
from agent.model.deployment import Deployment
from agent.model.environment import Environment
from agent.model.release import BuildSpec, Release, ServiceSpec
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Compose, Engine, Git
from agent.runtime.reader import Reader
from agent.runtime.steplog import StepLog, log_path


class Builder:
    """`limits.builds` builds run at once, whoever asks: more only slow each other (measured on two cores)."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        git: Git,
        engine: Engine,
        compose: Compose,
        reader: Reader,
        shortage: Callable[[], Shortage | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._git = git
        self._engine = engine
        self._compose = compose
        self._reader = reader
        self._shortage = shortage
        self._hopeless: set[str] = set()
        self._slots = Semaphore(settings().limits.builds)

    def build(
        self,
        environment: Environment,
        release: Release,
        spec: ServiceSpec,
        deployment: Deployment | None,
        *,
        cancel: CancelToken,
    ) -> None:
        """Build one service's image. DeployError names the failing step; CancelledError when superseded.

        OutsideError while a disk is nearly full: a build that fills it would take the databases of all others along.
        """
        build = spec.build
        if build is None:
            return
        self._check_room()
        self._wait_for_slot(cancel)
        log = self._log(deployment)
        try:
            self._build_by_engine(environment, release, spec, build, log, cancel)
        except SessionNeeded as why:
            log.line(spec.name, f"{why.message} Compose builds it.")
            self._build_by_compose(environment, release, spec, log, cancel)
        finally:
            log.close()
            self._slots.release()

    def catch_up(self, environment: Environment, release: Release, spec: ServiceSpec, *, cancel: CancelToken) -> None:
        """Build an image that nobody waits for. One that fails is not tried again for this revision by this process."""
        try:
            self.build(environment, release, spec, None, cancel=cancel)
        except DeployError:
            self._hopeless.add(spec.image)
            raise

    def hopeless(self) -> frozenset[str]:
        """Image tags that could not be built in the background."""
        return frozenset(self._hopeless)

    def pull(self, release: Release, spec: ServiceSpec, deployment: Deployment | None, *, cancel: CancelToken) -> None:
        """Pull an image that the compose file names and this host lacks. OutsideError while a disk is nearly full."""
        self._check_room()
        log = self._log(deployment)
        platform = str(release.model["services"][spec.name].get("platform", ""))
        try:
            self._engine.pull(
                spec.image, platform=platform, on_line=lambda line: log.line(spec.name, line), cancel=cancel
            )
        finally:
            log.close()

    def _build_by_engine(
        self,
        environment: Environment,
        release: Release,
        spec: ServiceSpec,
        build: BuildSpec,
        log: StepLog,
        cancel: CancelToken,
    ) -> None:
        under = "" if build.context in ("", ".") else build.context
        context = self._git.archive(environment.project, release.revision, under=under)
        try:
            self._engine.build(
                build,
                context,
                tag=spec.image,
                on_line=lambda line: log.line(spec.name, line),
                cancel=cancel,
                timeout_s=self._settings().limits.build_timeout_s,
            )
        finally:
            context.close()

    def _build_by_compose(
        self, environment: Environment, release: Release, spec: ServiceSpec, log: StepLog, cancel: CancelToken
    ) -> None:
        with self._reader.build_model(environment, release, spec) as path:
            self._compose.build(
                path,
                spec.name,
                on_line=lambda line: log.line(spec.name, line),
                cancel=cancel,
                timeout_s=self._settings().limits.build_timeout_s,
            )

    def _log(self, deployment: Deployment | None) -> StepLog:
        settings = self._settings()
        path = log_path(settings.state_dir, deployment.id if deployment is not None else 0)
        return StepLog(path, redact=redactor(settings))

    def _check_room(self) -> None:
        shortage = self._shortage()
        if shortage is not None:
            raise OutsideError(
                shortage.what,  # told once for each text, and the figures are others at each try
                hint=f"{shortage.figures} It goes on by itself once there is room: destroy what nobody needs.",
                code="disk-nearly-full",
            )

    def _wait_for_slot(self, cancel: CancelToken) -> None:
        while not self._slots.acquire(timeout=0.2):
            if cancel.cancelled():
                raise CancelledError("A newer wish came while this build waited for its turn.")
        if cancel.cancelled():
            self._slots.release()
            raise CancelledError("A newer wish came while this build waited for its turn.")
