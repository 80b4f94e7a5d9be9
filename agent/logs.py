"""What the agent says about itself: text on a terminal, JSON elsewhere, and never a secret.

Into systemd's journal each line goes with its priority in front, so that `journalctl -p warning` works.

Everything passes through one handler on standard error, the libraries' own logs and the tracebacks of
uncaught errors included, so there is one place where secrets are taken out.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

STARS = "***"

# They tell at INFO what is of use to their own authors only.
_NOISY = ("docker", "git", "httpx", "urllib3", "watchfiles")
_MULTILINE = ("exception", "stack")
# A longer line is cut in two by journald (LineMax=48K), and the second half is no JSON and has no priority.
_LONGEST = 7_000  # characters of one value, each of which may need six bytes of JSON
# sd-daemon(3): what journald makes of "<3>" at the beginning of a line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


class KnowsSecrets(Protocol):
    """The settings, as seen from here."""

    @property
    def hidden(self) -> Sequence[str]: ...


class Redactor:
    """Puts stars in place of every known secret, also where it was escaped for JSON or a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {
            spelling
            for secret in secrets
            if secret
            for spelling in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), repr(secret)[1:-1])
        }
        # The longest first: one secret may be the beginning of another.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(STARS, text)

    def inside(self, value: Any) -> Any:
        """The same of every text in a value that becomes JSON; what JSON does not know becomes text."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.inside(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.inside(inner) for inner in value]
        return value if isinstance(value, (int, float, type(None))) else self(str(value))


def redactor(settings: KnowsSecrets) -> Redactor:
    """A redactor of all secrets in the settings, for the other sinks: step logs, messages, the database."""
    return Redactor(settings.hidden)


def configure(settings: KnowsSecrets, *, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error). Again after each change of the settings."""
    stream = stream or sys.stderr
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # To text at once and without local variables, which may be secrets.
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Formatter(before, redactor(settings), on_terminal=stream.isatty(), in_journal=_is_journal(stream))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """One line for a record. Secrets are taken out before rendering and, whatever the renderer did, after it."""

    def __init__(self, before: Sequence[Processor], redact: Redactor, *, on_terminal: bool, in_journal: bool) -> None:
        self._redact = redact
        self._in_journal = in_journal
        renderers: list[Processor] = [structlog.processors.JSONRenderer(default=str)]
        if on_terminal:
            plain = structlog.dev.plain_traceback
            renderers = [_escape_controls, structlog.dev.ConsoleRenderer(colors=True, exception_formatter=plain)]
        super().__init__(
            foreign_pre_chain=before,
            processors=[self.remove_processors_meta, self._redact_values, _shorten, *renderers],
        )

    def format(self, record: logging.LogRecord) -> str:
        line = self._redact(super().format(record))
        return f"<{_priority(record.levelno)}>{line}" if self._in_journal else line

    def _redact_values(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        return {key: self._redact.inside(value) for key, value in event.items()}


def _is_journal(stream: TextIO) -> bool:
    """Whether what is written here goes to journald, as systemd.exec(5) has one find out."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file at all, or closed
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)


def _shorten(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Both ends of a text that is too long: a traceback begins with where and ends with what."""
    return {key: _shortened(value) for key, value in event.items()}


def _shortened(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    half = _LONGEST // 2
    return f"{value[:half]} ... {len(value) - 2 * half} characters are left out ... {value[-half:]}"


def _escape_controls(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """No log line moves the cursor, hides text or pretends to be two lines."""
    return {key: _escaped(value, keep="\n\t" if key in _MULTILINE else "") for key, value in event.items()}


def _escaped(value: Any, *, keep: str) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in value
    )


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    structlog.get_logger(__name__).critical("uncaught error", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    thread = args.thread.name if args.thread else ""
    structlog.get_logger(__name__).critical(
        "uncaught error", thread=thread, exc_info=(args.exc_type, error, args.exc_traceback)
    )
