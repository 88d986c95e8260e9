"""The JSON log: events as lines of a file, rotated by size, readable by its owner alone."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.store import Event

log = logging.getLogger("cylestio_monitor")

_MIB = 1 << 20


class JsonLog:
    """Writes events as they come, a JSON object a line; thread-safe, and reopened in a forked child."""

    def __init__(self, settings: config.LogSettings) -> None:
        """Opens the file.

        Raises:
            OSError: It cannot be written.
        """
        path = Path(settings.file or "").expanduser()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._handler = _PrivateFile(
            path, maxBytes=settings.max_mb * _MIB, backupCount=settings.backups, encoding="utf-8"
        )

    def write(self, event: Event) -> None:
        """Appends one event."""
        self._handler.handle(logging.makeLogRecord({"msg": line(event)}))

    def close(self) -> None:
        """Closes the file."""
        self._handler.close()


def line(event: Event) -> str:
    """An event as one line of JSON, without its line end."""
    seconds, nanos = divmod(event.timestamp_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=nanos // 1000)
    fields: dict[str, Any] = {
        "timestamp": moment.isoformat().replace("+00:00", "Z"),
        "agent_id": event.agent_id,
        "event_type": event.event_type,
        "channel": event.channel,
        "level": event.level,
        "trace_id": event.trace_id,
        "span_id": event.span_id,
        "data": event.data,
    }
    return msgspec.json.encode(fields).decode()


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only its owner may read, whatever the umask."""

    def _open(self) -> IO[str]:  # type: ignore[override]
        def private(path: str, flags: int) -> int:
            return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the base class's name
        """Says at debug level that a line could not be written; the base class would print a traceback for each."""
        log.debug("A line of the JSON log could not be written: %s", record.getMessage()[:80])
