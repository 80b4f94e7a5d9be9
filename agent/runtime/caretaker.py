"""Copies the database and removes what nobody needs any more, on a timer and when a disk is nearly full.

What goes is decided in planning, on complete listings that were read just now. A job that fails is told once and tried
again; nothing waits for any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError
from agent.model.care import Shortage
from agent.model.labels import INSTANCE, SLUG
from agent.planning import care as planning
from agent.runtime import steplog
from agent.runtime.care_ports import CareEngine, Host
from agent.runtime.ports import Clock
from agent.store import Store

log = structlog.get_logger(__name__)

JOBS = ("backup", "history", "step_logs", "images", "build_cache")

_TICK_S = 1.0
_FIRST_CLEAN_S = 60.0  # after a start there is better to do
_URGENT_S = 300.0  # between two attempts to make room
_BACKUP_AGAIN_S = 600.0  # after one that failed


class Caretaker:
    """`run` is a thread's main loop; the properties may be read from any thread."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        engine: CareEngine,
        host: Host,
        clock: Clock,
        shortage: Callable[[], Shortage | None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._host = host
        self._clock = clock
        self._shortage = shortage
        self._complaints: dict[str, str] = {}
        self._clean_at = clock.monotonic() + _FIRST_CLEAN_S
        self._urgent_at = 0.0  # not before
        self._backup_at = 0.0
        self.cache_bytes: int | None = None
        self.freed_bytes = 0
        self.removed = dict.fromkeys(("image", "tag", "step_log", "backup", "deployment", "event"), 0)

    def run(self, stop: Event) -> None:
        """Do what is due, until told to stop."""
        before = self._settings().care
        while not stop.wait(_TICK_S):
            care = self._settings().care
            if care != before:
                before, self._backup_at = care, 0.0
                self._clean_at = min(self._clean_at, self._clock.monotonic() + care.clean_interval_s)
            self.tick()

    def tick(self) -> None:
        """One look at the clock and the disk, and what follows."""
        now = self._clock.monotonic()
        urgent = self._told_of_shortage()
        if now >= self._backup_at:
            self._backup_at = now + self._back_up_in_time()
        if now >= self._clean_at or (urgent and now >= self._urgent_at):
            self._urgent_at = now + _URGENT_S if urgent else 0.0
            self._clean_at = now + self._settings().care.clean_interval_s
            self.clean(urgent=urgent)

    def clean(self, *, urgent: bool) -> None:
        """Everything that may go, each kind by itself: a Docker that is away keeps no log from going."""
        self._try("history", self._forget)
        self._try("step_logs", self._clean_logs)
        self._try("images", lambda: self._clean_images(urgent=urgent))
        self._try("build_cache", lambda: self._cut_cache(urgent=urgent))

    def failing(self) -> frozenset[str]:
        """Those of JOBS that did not work the last time."""
        return frozenset(job for job in JOBS if self._complaints.get(job))

    def last_backup_at(self) -> datetime | None:
        return planning.newest_backup(file.name for file in self._host.files(self._backup_dir(), "*"))

    # -- jobs --------------------------------------------------------------------------------------------------

    def _back_up_in_time(self) -> float:
        """Copy the database when that is due; after how many seconds to ask again."""
        care = self._settings().care
        names = [file.name for file in self._host.files(self._backup_dir(), "*")]
        due_s = planning.backup_due_s(names, now=self._clock.now(), care=care)
        if due_s is None:
            return care.backup_interval_s
        if due_s > 0:
            return due_s
        return care.backup_interval_s if self._try("backup", self._back_up) else _BACKUP_AGAIN_S

    def _back_up(self) -> None:
        directory, care = self._backup_dir(), self._settings().care
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            why = f"{directory} cannot be made: {error.strerror or error}."
            raise OutsideError(why, hint="Check the owner of the state directory.", code="backup-failed") from error
        unfinished = [file.name for file in self._host.files(directory, ".butai-*")]  # of an agent that was killed
        self._host.remove_files(directory, unfinished)
        name = planning.backup_name(self._clock.now())
        self._store.copy_to(directory / name)
        old = planning.old_backups((file.name for file in self._host.files(directory, "*")), care, made=name)
        self._host.remove_files(directory, old)
        self.removed["backup"] += len(old)
        log.info("the database was copied", path=str(directory / name))

    def _forget(self) -> None:
        """What happened long ago. Little by little, so that whoever writes meanwhile waits for milliseconds."""
        before = self._clock.now() - timedelta(seconds=self._settings().care.history_age_s)
        store = self._store
        deployments = partial(store.deployments.prune, before, keep=steplog.KEPT, most=planning.MOST_DEPLOYMENTS)
        self.removed["deployment"] += sum(iter(deployments, 0))
        events = partial(store.events.prune, before, keep=planning.LAST_EVENTS, most=planning.MOST_EVENTS)
        self.removed["event"] += sum(iter(events, 0))
        store.outbox.prune(before)

    def _clean_logs(self) -> None:
        settings = self._settings()
        directory = steplog.log_path(settings.state_dir, 0).parent
        found = self._host.files(directory, "*.log")
        kept = self._store.deployments.newest(steplog.KEPT)  # asked after: what was begun meanwhile is in it
        old = planning.old_logs(found, kept=kept, care=settings.care)
        self._host.remove_files(directory, old)
        self.removed["step_log"] += len(old)

    def _clean_images(self, *, urgent: bool) -> None:
        settings = self._settings()
        images = self._engine.stored_images({INSTANCE: settings.instance})
        # Asked after the images, and the store last: what was made meanwhile is used by somebody.
        containers = self._engine.containers({})
        slugs = {container.labels.get(SLUG, "") for container in containers}
        removal = planning.unused_images(
            images,
            instance=settings.instance,
            used={container.image_id for container in containers},
            slugs=slugs | {str(environment.slug) for environment in self._store.environments.all()},
            now=self._clock.now(),
            care=settings.care,
            urgent=urgent,
        )
        for tag in removal.tags:
            self._engine.untag(tag)
            self.removed["tag"] += 1
        gone = [image_id for image_id in removal.dangling if self._engine.drop_image(image_id)]
        self.removed["image"] += len(gone)
        if gone or removal.tags:
            log.info("unused images removed", images=len(gone), tags=list(removal.tags))

    def _cut_cache(self, *, urgent: bool) -> None:
        self.cache_bytes = self._engine.cache_bytes()
        keep = planning.cache_to_keep(self._settings().care, urgent=urgent)
        if keep is None or self.cache_bytes <= keep:
            return
        freed = self._engine.prune_cache(keep)
        self.freed_bytes += freed
        self.cache_bytes = self._engine.cache_bytes()
        log.info("the build cache was cut", freed_bytes=freed, left_bytes=self.cache_bytes)

    # -- telling -----------------------------------------------------------------------------------------------

    def _try(self, job: str, act: Callable[[], None]) -> bool:
        """Whether it worked."""
        problem = kind = ""
        try:
            act()
        except AgentError as error:
            problem, kind = str(error), error.code
        except Exception:  # stages are served and pushed to without this: it must not end the agent
            log.exception("looking after itself failed by a mistake of ours", job=job)
            problem = kind = "a mistake of ours; the agent's log has it"
        name = job.replace("_", " ")
        self._say(job, kind, f"{name}: {problem}", f"{name}: works again")
        return not problem

    def _told_of_shortage(self) -> bool:
        shortage = self._shortage()
        what = shortage.what if shortage is not None else ""
        self._say("disk", what, str(shortage), "the disks have room again")
        return shortage is not None

    def _say(self, subject: str, kind: str, begun: str, over: str) -> None:
        """Once for each kind of thing that went wrong, and once when it is over."""
        before = self._complaints.get(subject, "")
        self._complaints[subject] = kind
        if kind and kind != before:
            log.warning("looking after itself", subject=subject, problem=begun)
        elif before and not kind:
            log.info("looking after itself", subject=subject, over=over)
        else:
            return
        try:
            text = begun if kind else over
            self._store.events.add("care", caller="agent", text=text, now=self._clock.now())
        except AgentError as error:  # a full disk is what this is about
            log.warning("not written down", subject=subject, error=str(error))

    def _backup_dir(self) -> Path:
        return self._settings().state_dir / "backups"
