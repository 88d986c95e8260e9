"""Files that another user puts beside the store, or where it is going to be: refused, never read, never waited for."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing

import pytest

from cylestio_monitor import config
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store import Store
from cylestio_monitor.store.audit import checkpoint, trail
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite import files, keys
from store.filling import Bench

SETTINGS = config.StoreSettings()
NOBODY = 65534
BESIDE = ("", *files.SIBLINGS[1:], *files.COMPANIONS)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def foreign(path):
    path.write_bytes(b"planted")
    os.chown(path, NOBODY, NOBODY)


def link(path):
    (path.parent / "victim").write_text("precious")
    path.symlink_to(path.parent / "victim")


def device(path):
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # reads as zeros without an end


def opened(mode):
    def plant(path):
        path.touch()
        path.chmod(mode)

    return plant


PLANTED = {
    "file of another user": foreign,
    "link": link,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "FIFO": os.mkfifo,
    "folder": os.mkdir,
    "device": device,
    "writable by all": opened(0o666),
    "writable by the group": opened(0o620),
}
NEEDS_ROOT = {"file of another user", "device"}


@pytest.mark.parametrize("suffix", BESIDE)
@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("is_new", [True, False], ids=["new store", "old store"])
def test_what_is_planted_beside_a_store_is_refused_and_left_as_it_is(tmp_path, suffix, kind, is_new):
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("only root can make it")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    path = folder / "s.db"
    if not is_new:
        Bench(path).close()
        (folder / f"s.db{suffix}").unlink(missing_ok=True)
    PLANTED[kind](folder / f"s.db{suffix}")
    before = {entry.name: entry.lstat() for entry in folder.iterdir()}
    with pytest.raises(StoreError):
        Store.open(path, SETTINGS)
    with pytest.raises(StoreError):
        trail.seal(path, SETTINGS)
    after = {entry.name: entry.lstat() for entry in folder.iterdir()}
    assert {name: (one.st_mode, one.st_size, one.st_mtime_ns) for name, one in after.items()} == {
        name: (one.st_mode, one.st_size, one.st_mtime_ns) for name, one in before.items()
    }


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "device", "file of another user"])
@pytest.mark.parametrize("suffix", files.SIBLINGS)
def test_a_reader_opens_nothing_that_is_planted(tmp_path, suffix, kind):
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("only root can make it")
    path = tmp_path / "s.db"
    Bench(path).close()
    (tmp_path / f"s.db{suffix}").unlink(missing_ok=True)
    PLANTED[kind](tmp_path / f"s.db{suffix}")
    with pytest.raises(StoreError), queries.connect(path):
        pass


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder", "device", "file of another user", "writable by all"])
def test_a_planted_file_is_neither_appended_to_nor_read_as_key_or_checkpoints(tmp_path, kind):
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("only root can make it")
    path = tmp_path / "s.db"
    PLANTED[kind](checkpoint.side_file(path))
    with pytest.raises((StoreError, OSError)):
        files.append_private(checkpoint.side_file(path), b"line", b"l")
    with pytest.raises((StoreError, OSError)):
        files.open_lock(checkpoint.side_file(path))
    PLANTED[kind](keys.key_file(path)) if kind != "link" else keys.key_file(path).symlink_to("victim")
    with pytest.raises(StoreError):
        keys.load(path)
    if kind == "link":
        assert (tmp_path / "victim").read_text() == "precious"


def test_nothing_is_appended_to_a_file_of_another_program_or_one_with_a_second_name(tmp_path):
    path = tmp_path / "s.db.checkpoints"
    path.write_text("alias ls=ls\n")
    path.chmod(0o600)
    with pytest.raises(StoreError, match="another program"):
        files.append_private(path, b'{"format":1}\n', b'{"format":')
    path.unlink()
    (tmp_path / "profile").touch(mode=0o600)
    os.link(tmp_path / "profile", path)
    with pytest.raises(StoreError, match="second name"):
        files.append_private(path, b'{"format":1}\n', b'{"format":')
    assert (tmp_path / "profile").read_bytes() == b""


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o730, 0o702])
def test_a_folder_that_others_may_write_is_refused(tmp_path, mode):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    for path in (tmp_path / "shared" / "s.db", tmp_path / "shared" / "missing" / "s.db"):
        with pytest.raises(StoreError, match="other users may replace"):
            Store.open(path, SETTINGS)
    assert list((tmp_path / "shared").iterdir()) == []


@as_root
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o755)
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    (tmp_path / "link").symlink_to(tmp_path)
    os.chown(tmp_path / "link", NOBODY, NOBODY, follow_symlinks=False)
    for folder in ("theirs", "theirs/new", "link"):
        with pytest.raises(StoreError, match="belongs to another user"):
            Store.open(tmp_path / folder / "s.db", SETTINGS)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_missing_folders_and_files_are_private_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        Bench(tmp_path / "a" / "b" / "c" / "s.db").close()
    finally:
        os.umask(before)
    modes = {entry.relative_to(tmp_path).as_posix(): entry.stat().st_mode & 0o777 for entry in tmp_path.rglob("*")}
    assert [modes.pop(folder) for folder in ("a", "a/b", "a/b/c")] == [0o700] * 3
    assert set(modes.values()) == {0o600}
    assert {"a/b/c/s.db", "a/b/c/s.db.key"} <= set(modes)


def test_a_file_that_others_may_only_read_is_made_private(tmp_path):
    path = tmp_path / "s.db"
    bench = Bench(path)
    bench.span("first")
    bench.flush()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"s.db{suffix}").chmod(0o644)
    files.prepare(path)
    assert {(tmp_path / f"s.db{suffix}").stat().st_mode & 0o777 for suffix in ("", "-wal", "-shm")} == {0o600}
    bench.close()


def test_in_a_shared_folder_the_side_files_are_reserved_before_anybody_plants_one(tmp_path):
    tmp_path.chmod(0o1777)
    path = tmp_path / "s.db"
    for name in ("first", "second"):
        with closing(Bench(path)) as bench:
            bench.span(name)
            bench.flush()
            assert {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "s.db-journal").read_bytes() == b""  # SQLite removed the first one when it created the file
    with queries.connect(path) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM span")] == ["first", "second"]
    if os.geteuid() == 0:
        plant = "import os, sys; os.seteuid(65534); os.replace(sys.argv[1], sys.argv[2])"
        (tmp_path / "planted").write_bytes(b"x")
        os.chown(tmp_path / "planted", NOBODY, NOBODY)
        command = [sys.executable, "-c", plant, str(tmp_path / "planted"), str(tmp_path / "s.db-journal")]
        assert b"PermissionError" in subprocess.run(command, capture_output=True, check=False).stderr


def planted_database(path):
    """A database of somebody else, with a trigger and a row of its own."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.executescript("CREATE TABLE span (name); INSERT INTO span VALUES ('PLANTED');")
    return path.read_bytes()


def hot_journal(pages):
    """A journal that rolls a database back to the given pages."""
    size = 8192
    count = len(pages) // size
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", count, 0, count, 512, size)
    parts = [head.ljust(512, b"\0")]
    for number in range(count):
        page = pages[number * size : (number + 1) * size]
        checksum = sum(page[place] for place in range(size - 200, 0, -200)) & 0xFFFFFFFF
        parts.append(struct.pack(">I", number + 1) + page + struct.pack(">I", checksum))
    return b"".join(parts)


def full_log(folder):
    """A write-ahead log with committed pages of another database."""
    path = folder / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")
        connection.executescript("CREATE TABLE span (name); INSERT INTO span VALUES ('PLANTED');")
        return (folder / "log.db-wal").read_bytes()


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
@pytest.mark.parametrize("state", ["no database", "empty database"])
def test_a_journal_or_log_that_lies_there_is_never_rolled_into_a_new_store(tmp_path, suffix, state):
    """Also where it belongs to the same user: of a program, say, that had a database there."""
    made = tmp_path / "made"
    made.mkdir()
    content = hot_journal(planted_database(made / "e.db")) if suffix == "-journal" else full_log(made)
    shutil.rmtree(made)
    path = tmp_path / "s.db"
    if state == "empty database":
        path.touch(mode=0o600)
    (tmp_path / f"s.db{suffix}").touch(mode=0o600)
    (tmp_path / f"s.db{suffix}").write_bytes(content)
    with closing(Bench(path)) as bench:
        bench.span("ours")
        bench.flush()
        assert [row["name"] for row in bench.rows("SELECT name FROM span")] == ["ours"]
    assert b"PLANTED" not in path.read_bytes()
    assert trail.verify(path).sound
