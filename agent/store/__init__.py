"""Memory: the wish and the history, in SQLite; never the world.

`Store` is the only thing other layers see of it. It keeps what it is given and never knows why.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from agent.errors import RequestError
from agent.logs import Redactor
from agent.store.branches import Branches
from agent.store.database import Database
from agent.store.deployments import Deployments
from agent.store.environments import Environments
from agent.store.events import Events
from agent.store.notices import Notices
from agent.store.outbox import Outbox, Outgoing
from agent.store.seen import Seen
from agent.store.synced import Synced
from agent.store.threads import Thread, Threads

__all__ = ["Outgoing", "Store", "Thread"]


class Store:
    """Every repository over one database file, usable from any thread.

    Each call is durable when it returns. Every method may raise OutsideError (disk full, locked for
    too long: try again) and StateError (damaged).
    """

    def __init__(self, path: Path, redactor: Callable[[], Redactor]) -> None:
        self._database = Database(path)
        self.environments = Environments(self._database)
        self.deployments = Deployments(self._database, redactor)
        self.events = Events(self._database, redactor)
        self.notices = Notices(self._database)
        self.synced = Synced(self._database)
        self.threads = Threads(self._database)
        self.outbox = Outbox(self._database)
        self.branches = Branches(self._database)
        self.seen = Seen(self._database)

    @classmethod
    def open(cls, path: Path, *, redactor: Callable[[], Redactor] = lambda: Redactor(())) -> Store:
        """Check, migrate and open the file, made when absent. StateError when damaged or written by a newer agent."""
        store = cls(path, redactor)
        store._database.open()
        return store

    @classmethod
    def existing(cls, path: Path) -> Store:
        """The file as it is, for a look or a copy beside a running agent: neither made nor migrated.

        RequestError when there is none.
        """
        if not path.is_file():
            raise RequestError(
                f"There is no database {path}.",
                hint="`state_dir` in the settings says where it is; run this as root or as the agent's user.",
                code="no-database",
                http_status=404,
            )
        return cls(path, lambda: Redactor(()))

    def close(self) -> None:
        self._database.close()

    def copy_to(self, path: Path) -> None:
        """Write a whole copy of now to `path`, mode 0600, all or nothing; nobody waits for it."""
        self._database.copy_to(path)

    def checkpoint(self) -> None:
        """Bring everything into the one file, flushed, as far as nobody reads just now; nothing is lost without it."""
        self._database.checkpoint()

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Everything inside happens or nothing does. Takes the one write lock at once: keep it short, no I/O inside.

        Without `durable` a power cut just after it may undo it, the end of this process never: for what is
        found again by itself.
        """
        return self._database.transaction(durable=durable)
