"""A file of another program at the place of the store is refused and left as it is."""

from __future__ import annotations

import os
import sqlite3

import pytest

from cylestio_monitor import config
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store import Store, admin


def database(path, script):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


FOREIGN = {
    "key list": lambda path: path.write_bytes(b"ssh-ed25519 AAAA me\n"),
    "empty file": lambda path: path.touch(mode=0o644),
    "binary": lambda path: path.write_bytes(b"\x7fELF" * 1000),
    "short": lambda path: path.write_bytes(b"SQLite"),
    "another database": lambda path: database(path, "CREATE TABLE bookmarks (url); PRAGMA user_version = 77;"),
    "database with an id": lambda path: database(path, "CREATE TABLE a (b); PRAGMA application_id = 252006674;"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_file_of_another_program_is_left_as_it_is(tmp_path, kind, mode):
    path = tmp_path / "file"
    FOREIGN[kind](path)
    path.chmod(mode)
    if kind == "empty file" and mode == 0o600:
        pytest.skip("an empty private file is how a store begins")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"not a store of Cylestio|another program"):
        Store.open(path, config.StoreSettings())
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == mode


def test_an_unmarked_database_of_another_program_is_not_changed(tmp_path):
    path = tmp_path / "file"
    database(path, "CREATE TABLE bookmarks (url);")
    with pytest.raises(StoreError):
        Store.open(path, config.StoreSettings())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, make):
    make(tmp_path / "file")
    with pytest.raises(StoreError):
        Store.open(tmp_path / "file", config.StoreSettings())
    with pytest.raises(StoreError):
        admin.optimize(tmp_path / "file", config.StoreSettings())


def test_an_own_store_with_a_damaged_header_is_still_set_aside(tmp_path):
    path = tmp_path / "file"
    store = Store.open(path, config.StoreSettings())
    assert store.flush(5)
    store.close()
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    copy = path.read_bytes()
    path.unlink()
    path.write_bytes(copy)
    path.chmod(0o600)
    store = Store.open(path, config.StoreSettings())
    store.close()
    assert len(list(tmp_path.glob("file.damaged-*"))) >= 1
