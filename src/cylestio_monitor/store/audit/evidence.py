"""Evidence for a third party: records and signed checkpoints in one file, checked with a public key alone.

JSON lines. The first names the format, the store and the public key; then every entry of the trail with the values its
fingerprint is over, and every checkpoint after the entries it covers. The fingerprint is SHA-256 over the JSON list of
the values that are no bytes, a zero byte, and the values that are bytes, joined by zero bytes. An excerpt withholds the
values of the other records; their fingerprints stay, because the checkpoints are over these.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit import checkpoint as checkpoints
from cylestio_monitor.store.audit.chain import BREAK, BREAKS, GAP
from cylestio_monitor.store.audit.checkpoint import Checkpoint
from cylestio_monitor.store.audit.verify import Problem, TrailReport, What, records
from cylestio_monitor.store.sqlite.rows import seal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator

FORMAT: Final = "cylestio-evidence/1"


class _TrailLine(msgspec.Struct):
    """The form of a line that is an entry of the trail."""

    seq: int
    kind: str
    ref: int
    leaf: str
    values: list[Any] | None = None


def export(connection: sqlite3.Connection, wanted: Container[tuple[str, int]] | None = None) -> Iterator[bytes]:
    """The evidence, line by line. What came after the last checkpoint is in it, but no signature covers it.

    Args:
        connection: To the store, in a transaction of its own.
        wanted: Kind and id of the records whose values are in it; all without it.
    """
    held = [one for _, one in checkpoints.held(connection) if one is not None]
    key = held[-1].public_key if held else ""
    store = held[-1].store if held else ""
    yield _line({"format": FORMAT, "store": store, "public_key": key})
    waiting = iter(held)
    following = next(waiting, None)
    for seq, kind, ref, leaf, values in records(connection):
        while following is not None and following.seq < seq:
            yield _line({"checkpoint": following})
            following = next(waiting, None)
        entry: dict[str, Any] = {
            "seq": seq,
            "kind": kind,
            "ref": ref,
            "leaf": leaf.hex() if type(leaf) is bytes else "",
        }
        if values is not None and wanted is not None and (kind, ref) not in wanted:
            entry["withheld"] = True
        elif values is not None:
            entry["values"] = [_plain(value) for value in values]
        yield _line(entry)
    while following is not None:
        yield _line({"checkpoint": following})
        following = next(waiting, None)


def values_of(lines: Iterable[bytes]) -> Iterator[tuple[str, int, list[Any]]]:
    """The records of evidence whose values are in it: kind, id and values.

    Args:
        lines: Of the file.

    Raises:
        StoreError: The file is no evidence.
    """
    for number, line in enumerate(lines, 1):
        entry = _parse(line, number)
        if "values" in entry:
            yield entry["kind"], entry["ref"], [_bytes(value) for value in entry["values"]]


def verify(lines: Iterable[bytes], public_key: str) -> TrailReport:
    """Checks evidence with nothing but the public key.

    Args:
        lines: Of the file.
        public_key: 64 hexadecimal digits, from somewhere else than the file.

    Raises:
        StoreError: The file is no evidence.
    """
    report = TrailReport(public_key=public_key)
    covered, expected, previous, condensed = sha256(), 1, "", False
    for number, line in enumerate(lines, 1):
        entry = _parse(line, number)
        if number == 1:
            if entry.get("format") != FORMAT:
                raise StoreError("is no evidence file of a version that is known")
            continue
        if "checkpoint" in entry:
            one = entry["checkpoint"]
            _seal(report, one, covered.hexdigest(), previous, condensed=condensed)
            previous = sha256(one.line()).hexdigest()
            covered, condensed = sha256(), False
            continue
        seq, kind, ref, leaf = entry["seq"], entry["kind"], entry["ref"], bytes.fromhex(entry["leaf"])
        first = ref if kind == GAP else seq
        if first != expected:
            what: What = "deleted" if first > expected else "reordered"
            report.problems.append(Problem(what, expected, f"entry {expected} is missing, {first} stands there"))
        expected = seq + 1
        report.last_seq = max(report.last_seq, seq)
        covered.update(checkpoints.entry_bytes(seq, kind, ref, leaf))
        if kind == BREAK:
            report.problems.append(Problem("truncated", seq, BREAKS.get(leaf, "the end of the trail was changed")))
            continue
        if kind == GAP:
            report.removed += seq - first + 1
            condensed = True
            continue
        report.entries += 1
        values = entry.get("values")
        if values is None and entry.get("withheld") is True:
            report.withheld += 1
        elif values is None:
            report.problems.append(Problem("deleted", seq, f"{kind} {ref} is gone"))
        elif seal([_bytes(value) for value in values])[1] != leaf:
            report.problems.append(Problem("edited", seq, f"{kind} {ref} is not what it was"))
    return report


def _seal(report: TrailReport, one: Checkpoint, digest: str, previous: str, *, condensed: bool) -> None:
    if not checkpoints.is_genuine(one, report.public_key):
        report.problems.append(Problem("forged", one.seq, "the checkpoint was not signed with this key"))
    elif one.previous != previous:
        report.problems.append(Problem("deleted", one.seq, "a checkpoint before this one is missing"))
    elif condensed:
        # Retention took records out of what it covers: the digest is over entries that are no longer there.
        report.checkpoints += 1
    elif one.digest != digest:
        detail = f"entries {one.first} to {one.seq} are not those that were sealed"
        report.problems.append(Problem("edited", one.seq, detail))
    else:
        report.checkpoints += 1
        report.sealed_seq = max(report.sealed_seq, one.seq)


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        if "checkpoint" in entry:
            entry["checkpoint"] = msgspec.convert(entry["checkpoint"], Checkpoint)
        elif number > 1:
            msgspec.convert(entry, _TrailLine)
            bytes.fromhex(entry["leaf"])
            for value in entry.get("values") or ():
                _bytes(value)
    except (*checkpoints.UNREADABLE, KeyError) as error:
        raise StoreError(f"line {number} is no evidence") from error
    return entry


def _line(content: dict[str, Any]) -> bytes:
    return msgspec.json.encode(content) + b"\n"


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _bytes(value: Any) -> Any:
    return base64.b64decode(value["base64"], validate=True) if isinstance(value, dict) else value
