"""SQLite's locks on the store stay, whatever else opens the file in the process.

POSIX drops all locks of a process on a file as soon as the process closes any descriptor of it. Another process then
takes itself for the last user, and removes the write-ahead log that this process still writes to.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from cylestio_monitor import config
from cylestio_monitor.store import Store, admin
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import database, files
from cylestio_monitor.store.sqlite.rows import Event

LAST_USER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM meta").fetchone()
connection.close()
"""


def event(name):
    return Event(None, name, "SYSTEM", "INFO", time.time_ns(), {})


def _writable(path, settings):
    with database.writable(path, settings) as connection:
        connection.execute("SELECT 1 FROM meta").fetchone()


def _reader(path, _):
    with queries.connect(path) as connection:
        connection.execute("SELECT 1 FROM meta").fetchone()


OPENINGS = {
    "nothing else": lambda path, settings: None,
    "an administrative operation": _writable,
    "a query": _reader,
    "the same store": Store.shared,
    "another store": lambda path, settings: Store.open(path, settings).close(),
    "a check of the file": lambda path, _: files.prepare(path),
    "the upkeep": admin.optimize,
}


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("opening", OPENINGS)
def test_another_process_does_not_remove_the_log_that_is_written(tmp_path, opening, is_new):
    path, settings = tmp_path / "s.db", config.StoreSettings()
    if not is_new:
        # By another process: this one has not seen the file before.
        making = "import sys, pathlib; from cylestio_monitor import config; from cylestio_monitor.store import Store; "
        making += "Store.open(pathlib.Path(sys.argv[1]), config.StoreSettings()).close()"
        subprocess.run([sys.executable, "-c", making, str(path)], check=True)
    with closing(Store.open(path, settings)) as store:
        store.add_event(event("before"))
        assert store.flush(5)
        OPENINGS[opening](path, settings)
        subprocess.run([sys.executable, "-c", LAST_USER, str(path)], check=True)
        assert Path(f"{path}-wal").exists(), "the log that this process has open was removed"
        store.add_event(event("after"))
        assert store.flush(5)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT event_type FROM event")}
    assert names == {"before", "after"}
