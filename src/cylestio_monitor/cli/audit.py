"""`cylestio audit`: verify the audit trail, seal it, export evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.errors import counted
from cylestio_monitor.incidents import bundle
from cylestio_monitor.store.audit import trail

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context
    from cylestio_monitor.incidents.bundle import BundleReport
    from cylestio_monitor.store.audit.verify import TrailReport

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Verify, seal and export the audit trail.

    \b
    Example: cylestio audit verify
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


@audit.command()
@click.option("--checkpoints", type=_FILE, metavar="FILE", help="Checkpoints that were kept elsewhere.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Check an exported file, or the bundle of an incident, instead of the store.",
)
@click.option("--public-key", metavar="HEX", help="With --evidence: the key that its checkpoints must be signed with.")
@options.json_document
@click.pass_context
def verify(
    context: click.Context, *, checkpoints: Path | None, evidence: Path | None, public_key: str | None, as_json: bool
) -> None:
    """Find what was edited, deleted, inserted, moved, cut off or replaced, and where.

    \b
    Example: cylestio audit verify --checkpoints checkpoints.jsonl
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    obj: Context = context.obj
    if (evidence is None) != (public_key is None):
        raise click.UsageError("--evidence and --public-key go together")
    checked: BundleReport | None = None
    if evidence is not None and public_key is not None and evidence.is_dir():
        checked = bundle.verify(evidence, public_key.lower())
        report = checked.trail
    elif evidence is not None and public_key is not None:
        report = trail.verify_evidence(evidence, public_key.lower())
    else:
        report = trail.verify(obj.database, checkpoints)
    if as_json:
        output.as_json(_document(report) if checked is None else {**_document(report), **_bundle_document(checked)})
    else:
        if checked is not None:
            _print_bundle(checked)
        _print(report)
    if not report.sound or (checked is not None and checked.problems):
        context.exit(NEGATIVE)


@audit.command()
@click.argument("target", type=_FILE, metavar="FILE")
@click.pass_obj
def export(obj: Context, target: Path) -> None:
    """Write evidence that a third party can verify with the public key alone.

    \b
    Example: cylestio audit export evidence.jsonl
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    lines = trail.export(obj.database, obj.loaded.settings.store, target)
    report = trail.verify(obj.database)
    output.say(f"{target}: {counted(lines, 'line')}")
    output.say(f"public key: {report.public_key}")


@audit.command()
@click.pass_obj
def checkpoint(obj: Context) -> None:
    """Sign the trail up to now and print the checkpoint, to be kept elsewhere.

    \b
    Example: cylestio audit checkpoint >> checkpoints.jsonl
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    made = trail.seal(obj.database, obj.loaded.settings.store)
    if made is None:
        output.hint("nothing came since the last checkpoint")
    else:
        output.as_json(msgspec.to_builtins(made), lines=True)


def _document(report: TrailReport) -> dict[str, object]:
    return {
        "sound": report.sound,
        "entries": report.entries,
        "removed": report.removed,
        "withheld": report.withheld,
        "last": report.last_seq,
        "sealed": report.sealed_seq,
        "unsealed": report.unsealed,
        "checkpoints": report.checkpoints,
        "public_key": report.public_key,
        "problems": [problem._asdict() for problem in report.problems],
    }


def _bundle_document(checked: BundleReport) -> dict[str, object]:
    sound = checked.trail.sound and not checked.problems
    return {"sound": sound, "files": checked.files, "records": checked.records, "bundle_problems": checked.problems}


def _print_bundle(checked: BundleReport) -> None:
    for problem in checked.problems:
        output.say(problem)
    intact = f"{counted(checked.files, 'file')} and {counted(checked.records, 'sealed record')}"
    output.say(f"as they were written: {intact}")
    problems = counted(len(checked.problems), "problem")
    output.say("the bundle is sound" if not checked.problems else f"the bundle is NOT sound: {problems}")


def _print(report: TrailReport) -> None:
    for problem in report.problems:
        output.say(f"{problem.what} at {problem.seq}: {problem.detail}")
    output.say(
        f"{report.entries} {'entry' if report.entries == 1 else 'entries'} checked, "
        f"{report.removed} removed by retention, sealed up to {report.sealed_seq} by "
        f"{counted(report.checkpoints, 'checkpoint')}, {report.unsealed} not sealed yet"
    )
    problems = counted(len(report.problems), "problem")
    output.say("the trail is sound" if report.sound else f"the trail is NOT sound: {problems}")
