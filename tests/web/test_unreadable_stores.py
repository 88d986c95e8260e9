"""Each page over each kind of store that cannot be read: the reason, what helps, no trace-back, nothing changed."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import contextmanager

import pytest

from cylestio_monitor.store.sqlite import schema
from web.conftest import browsing
from web.recording import Page, trace_ids
from web.routes import ROUTES, path_of

NOBODY = 65_534


@pytest.fixture(scope="module")
def paths(demo):
    """An address of each page that exists while the store is sound."""
    connection = sqlite3.connect(demo)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (group,) = connection.execute("SELECT group_id FROM finding_group").fetchone()
    trace = trace_ids(demo)[0]
    (span,) = connection.execute("SELECT span_id FROM span WHERE trace_id = ?", (trace,)).fetchone()
    connection.close()
    ids = {"trace": trace, "span": span, "group": group, "tool": "run_sql"}
    return {route: path_of(route, ids) for route in ROUTES}


@contextmanager
def missing(path):
    path.unlink()
    yield


@contextmanager
def without_key(path):
    path.with_name(f"{path.name}.key").unlink()
    yield


@contextmanager
def with_a_damaged_key(path):
    path.with_name(f"{path.name}.key").write_text("zz")
    yield


@contextmanager
def no_database(path):
    path.write_bytes(b"something else " * 5000)
    yield


@contextmanager
def empty(path):
    path.write_bytes(b"")
    yield


@contextmanager
def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    yield


@contextmanager
def with_damaged_pages(path):
    data = bytearray(path.read_bytes())
    for begin in range(4096, len(data), 4096):
        data[begin : begin + 200] = b"\xff" * 200
    path.write_bytes(data)
    yield


@contextmanager
def of_version(path, version):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    yield


def newer(path):
    return of_version(path, schema.VERSION + 1)


def older(path):
    return of_version(path, schema.VERSION - 1)


@contextmanager
def a_folder(path):
    path.unlink()
    path.mkdir()
    yield


@contextmanager
def locked(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.close()


@contextmanager
def as_somebody_else():
    """Root may read everything: it becomes another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def forbidden(path):
    path.chmod(0)
    with as_somebody_else():
        yield
    path.chmod(0o600)


@contextmanager
def in_a_forbidden_folder(path):
    path.parent.chmod(0)
    with as_somebody_else():
        yield
    path.parent.chmod(0o700)


STATES = {
    missing: "There is no store yet",
    without_key: "The key of the store is missing",
    with_a_damaged_key: "The key of the store cannot be used",
    no_database: "The store is damaged",
    empty: "The store is damaged",
    cut: "The store is damaged",
    with_damaged_pages: "The store is damaged",
    newer: "The store is of a newer version",
    older: "The store is of an older version",
    a_folder: "The store cannot be read",
    locked: "The store is busy",
    forbidden: "The store cannot be opened",
    in_a_forbidden_folder: "The store cannot be opened",
}
ONLY_WITH_KEY = {"/policy"}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_each_page_says_why_the_store_cannot_be_read(demo, paths, tmp_path, monkeypatch, state):
    monkeypatch.setattr("cylestio_monitor.store.sqlite.database.BUSY_SECONDS", 0.01)
    path = tmp_path / "copy" / "store.db"
    shutil.copytree(demo.parent, path.parent)
    told = {}
    # The application reads the rules and the templates first; another user may not be allowed to.
    with browsing(path) as browser:
        browser.text("/")
        for route in ROUTES:
            browser.get(paths[route])
        with state(path):
            for route in ROUTES:
                answer = browser.get(paths[route])
                assert "Traceback" not in answer.text
                Page(answer.text)
                if answer.status_code == 503:
                    (told[route],) = re.findall(r"<h1>([^<]+)</h1>", answer.text)
                    assert "Load again" in answer.text
                else:
                    assert answer.status_code in {200, 404}, (route, answer.status_code)
    needs_key = state in {without_key, with_a_damaged_key}
    assert told == dict.fromkeys(ONLY_WITH_KEY if needs_key else ROUTES, STATES[state])
