"""The evidence bundle of an incident: a folder that a third party verifies offline with a public key.

========================  =============================================================================
``records.jsonl``         everything that the store holds about the incident, a record a line
``audit.jsonl``           the audit trail with its signed checkpoints, and the values of these records
``report.html``, ``.md``  the report
``findings.ocsf.jsonl``   the findings as OCSF events
``VERIFY.md``             the way to verify the folder
``manifest.json``         SHA-256 of each file, and a signature over them
========================  =============================================================================
"""

from __future__ import annotations

import os
import sqlite3
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.incidents import ocsf, records
from cylestio_monitor.incidents.report import incident_document
from cylestio_monitor.store import triage
from cylestio_monitor.store.audit import checkpoint, evidence, trail
from cylestio_monitor.store.read import incidents, queries
from cylestio_monitor.store.sqlite import files, keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.verify import TrailReport
    from cylestio_monitor.store.read.incidents import Incident

FORMAT: Final = "cylestio-incident/1"
MANIFEST: Final = "manifest.json"
_AUDIT: Final = "audit.jsonl"
_RECORDS: Final = "records.jsonl"

_VERIFY: Final = """# How to verify this folder

You need Python, the package `cylestio-monitor[audit]`, and the public key of the store, which you should get by another
road than this folder. No network and no store are needed.

    cylestio audit verify --evidence FOLDER --public-key HEX

This checks that

1. every file has the SHA-256 that `manifest.json` names, and that the manifest is signed with the key;
2. the checkpoints in `audit.jsonl` are signed with the key, and the entries of the audit trail are those that were
   signed: none was edited, removed, inserted or moved;
3. the records in `records.jsonl` are the ones whose fingerprints the trail holds.

Records of the store that do not belong to the incident are withheld: the trail has their fingerprints alone. The
manifest covers the rows of the tables `part`, `value_origin`, `call_facts`, `decision`, `approval` and `note`; the
audit trail holds events about decisions, approvals and notes. Content is as it was recorded, with its masks; encrypted
content stays encrypted.
"""


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        files: Names of the files.
        public_key: The key that verifies them, 64 hexadecimal digits.
        manifest: SHA-256 of the manifest, hexadecimal.
    """

    files: tuple[str, ...]
    public_key: str
    manifest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The list of the files of a bundle.

    Attributes:
        format: The version of this form.
        incident: The incident.
        created: UTC, ISO 8601.
        public_key: The key that verifies the signature, hexadecimal.
        files: SHA-256 of each file, hexadecimal, by name.
        signature: Over the JSON of all the other fields, in this order; hexadecimal.
    """

    format: str
    incident: str
    created: str
    public_key: str
    files: dict[str, str]
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Returns the bytes that the signature covers."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        del fields["signature"]
        return msgspec.json.encode(fields)


class BundleReport(NamedTuple):
    """The result of a check of a bundle.

    Attributes:
        trail: The result for its audit trail.
        problems: One sentence for each file or record that is not as it was written.
        files: Number of files that are as they were written.
        records: Number of sealed records that are as they were sealed.
    """

    trail: TrailReport
    problems: list[str]
    files: int
    records: int


def export(database: Path, settings: config.StoreSettings, incident_id: str, target: Path, *, by: str) -> Exported:
    """Seals the audit trail and writes the bundle of an incident into a new or empty folder.

    Args:
        database: The store.
        settings: Its budget.
        incident_id: The id of the incident, or its first digits.
        target: The folder.
        by: Who exports it, for the audit trail.

    Raises:
        StoreError: There is no such incident, the folder is not empty or cannot be written, or `cryptography` is
            missing.
    """
    trail.seal(database, settings)
    signer = checkpoint.Signer(keys.load(database)[0])
    try:
        with queries.connect(database) as connection:
            connection.execute("BEGIN")
            incident = incidents.examine(connection, incidents.find(connection, incident_id))
            _new_folder(target)
            sums = dict(_write_files(connection, incident, target))
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{database}: {error}") from error
    draft = Manifest(
        format=FORMAT,
        incident=incident.row.id,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        public_key=signer.public_key,
        files=sums,
    )
    made = msgspec.structs.replace(draft, signature=signer.sign(draft.signed_bytes()))
    manifest = _write(target / MANIFEST, [msgspec.json.format(msgspec.json.encode(made)) + b"\n"])
    triage.record_export(database, settings, incident.row.id, by=by, manifest=manifest)
    return Exported((*sums, MANIFEST), signer.public_key, manifest)


def _new_folder(target: Path) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    if any(target.iterdir()):
        raise StoreError(f"{target}: is not empty; a bundle needs a folder of its own")


def _write_files(connection: sqlite3.Connection, incident: Incident, target: Path) -> Iterator[tuple[str, str]]:
    wanted = records.sealed(connection, incident)
    yield _AUDIT, _write(target / _AUDIT, evidence.export(connection, wanted))
    with (target / _AUDIT).open("rb") as audit:
        lines = records.lines(connection, incident, evidence.values_of(audit))
        yield _RECORDS, _write(target / _RECORDS, (msgspec.json.encode(one) + b"\n" for one in lines))
    spans = {(one.trace_id, one.span_id): one for one in incident.spans}
    events = (
        ocsf.detection_finding(one, spans.get((one.trace_id, one.span_id)), incident) for one in incident.findings
    )
    name = "findings.ocsf.jsonl"
    yield name, _write(target / name, (msgspec.json.encode(one) + b"\n" for one in events))
    document = incident_document(incident)
    for name, text in (
        ("report.html", document.html()),
        ("report.md", document.markdown()),
        ("VERIFY.md", _VERIFY),
    ):
        yield name, _write(target / name, [text.encode()])


def _write(path: Path, pieces: Iterable[bytes]) -> str:
    """Writes a private file; returns its SHA-256."""
    total = sha256()
    with os.fdopen(files.create(path), "wb") as file:
        for piece in pieces:
            file.write(piece)
            total.update(piece)
    return total.hexdigest()


def verify(folder: Path, public_key: str) -> BundleReport:
    """Checks a bundle with nothing but the public key.

    Args:
        folder: The bundle.
        public_key: 64 hexadecimal digits, from somewhere else than the bundle.

    Raises:
        StoreError: The folder cannot be read, or is no bundle.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        problems = _manifest_problems(folder, manifest, public_key)
        whole = len(manifest.files) - sum(problem.startswith("file ") for problem in problems)
        report = trail.verify_evidence(folder / _AUDIT, public_key)
        changed, count = _record_problems(folder)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise StoreError(f"{folder}: is no evidence bundle") from error
    return BundleReport(report, problems + changed, whole, count)


def _manifest_problems(folder: Path, manifest: Manifest, public_key: str) -> list[str]:
    if manifest.format != FORMAT:
        raise StoreError(f"{folder}: is no evidence bundle of a version that is known")
    found = []
    if not checkpoint.is_signed(manifest.signed_bytes(), manifest.signature, public_key):
        found.append("the manifest was not signed with this key")
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    found += (f"an additional file is in the folder: {name}" for name in sorted(present - set(manifest.files)))
    for name, expected in manifest.files.items():
        path = folder / name
        if name not in present or not path.is_file() or path.is_symlink():
            found.append(f"file {name} is missing")
        elif sha256(path.read_bytes()).hexdigest() != expected:
            found.append(f"file {name} is not what it was")
    return found


def _record_problems(folder: Path) -> tuple[list[str], int]:
    """Compares every sealed record with the values that the audit trail has of it."""
    with (folder / _AUDIT).open("rb") as audit:
        values = {(kind, ref): covered for kind, ref, covered in evidence.values_of(audit)}
    found, count = [], 0
    with (folder / _RECORDS).open("rb") as lines:
        for line in lines:
            record = msgspec.json.decode(line, type=dict[str, Any])
            key = (str(record.get("table")), record.get("id", 0))
            if key[0] not in {"span", "finding", "event"}:
                continue
            covered = values.pop(key, None)
            if covered is None or not records.is_as_sealed(record, covered):
                found.append(f"record {key[0]} {key[1]} is not what the audit trail sealed")
            else:
                count += 1
    found += (f"record {kind} {ref} is missing" for kind, ref in values)
    return found, count
