"""`cylestio tools`: the tools that were called, and their pinned definitions: list, diff, approve, refuse, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from cylestio_monitor.ci import definitions as checking
from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.builds import findings_report
from cylestio_monitor.cli.group import NEGATIVE, UNUSABLE
from cylestio_monitor.cli.reading.lists import tools as called_tools
from cylestio_monitor.govern.definitions import Pins, difference, load_pins, save_pins
from cylestio_monitor.store import triage
from cylestio_monitor.store.read import control
from cylestio_monitor.store.read import definitions as reads
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context
    from cylestio_monitor.store.sqlite.records import DefinitionState

_DIGEST = 12
_STATES = ("seen", "approved", "changed", "refused")


def _called(**given: Any) -> None:
    """Lists the tools that were called, where no other command follows."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        context.invoke(called_tools, **given)


tools = click.Group(
    "tools", callback=_called, params=called_tools.params, help=called_tools.help, invoke_without_command=True
)


@tools.command("list")
@click.option("--state", type=click.Choice(_STATES), help="In this state only.")
@options.json_lines
@click.pass_obj
def list_definitions(obj: Context, *, state: str | None, as_json: bool) -> None:
    """List the definitions of tools that servers listed or that models were offered, with their states.

    \b
    Example: cylestio tools list --state changed
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = [one for one in reads.pinned_tools(connection) if state in {None, one.state}]
    columns = (
        ("tool", 0),
        ("state", 0),
        ("versions#", 1),
        ("version", 0),
        ("approved", 2),
        ("first (UTC)", 3),
        ("last (UTC)", 1),
        ("by", 4),
    )

    def cells(one: reads.PinnedTool) -> tuple[object, ...]:
        return (
            one.full_name,
            one.state,
            one.versions,
            one.digest[:_DIGEST],
            one.approved[:_DIGEST] or "-",
            timestamp(one.first_ns)[:16],
            timestamp(one.last_ns)[:16],
            one.decided_by or "-",
        )

    output.listing(rows, as_json=as_json, empty="no tool definitions", columns=columns, cells=cells)


@tools.command()
@click.argument("tool", metavar="TOOL")
@click.option("--from", "older", metavar="VERSION", help="The older version, instead of the approved or previous one.")
@click.option("--to", "newer", metavar="VERSION", help="The newer version, instead of the one in use.")
@options.json_document
@click.pass_context
def diff(ctx: click.Context, tool: str, *, older: str | None, newer: str | None, as_json: bool) -> None:
    """Show how the definition of a tool has changed: the version in use against the one that was approved.

    Where none was approved, the version before is taken. TOOL is server/tool, or a name that one server alone has. Exit
    code 1 if the versions differ.

    \b
    Example: cylestio tools diff mail/send_email
    """  # noqa: D301 -- as above
    obj: Context = ctx.obj
    with obj.store() as connection:
        found = reads.find_tool(connection, tool)
        after = reads.find_version(connection, found, newer or found.digest)
        if older:
            before = reads.find_version(connection, found, older)
        else:
            known = reads.versions(connection, found.server, found.name)
            before = reads.version_before(known, found, after.digest) or after
    names = [f"{found.full_name} {one.digest[:_DIGEST]} ({one.state})" for one in (before, after)]
    lines = difference(before.definition, after.definition, *names)
    if as_json:
        output.as_json({"from": msgspec.structs.asdict(before), "to": msgspec.structs.asdict(after), "diff": lines})
    for line in lines if not as_json else ():
        output.say(line)
    if not lines and not as_json:
        output.hint(f"{found.full_name}: there is no other version to compare with")
    ctx.exit(NEGATIVE if lines else 0)


@tools.command()
@click.argument("names", nargs=-1, metavar="[TOOL]...")
@click.option("--version", "digest", metavar="VERSION", help="This version, instead of the one in use.")
@click.option("--all", "every", is_flag=True, help="The versions in use of all tools that are not refused.")
@click.pass_obj
def approve(obj: Context, names: tuple[str, ...], *, digest: str | None, every: bool) -> None:
    """Approve the definition of a tool; a later change of it is then refused in mode block.

    \b
    Example: cylestio tools approve mail/send_email
    """  # noqa: D301 -- as above
    if every == bool(names):
        raise click.UsageError("name tools, or give --all")
    if every:
        with obj.store() as connection:
            names = tuple(one.full_name for one in reads.pinned_tools(connection) if one.state in {"seen", "changed"})
    _decide(obj, names, digest, "approved")


@tools.command()
@click.argument("names", nargs=-1, required=True, metavar="TOOL...")
@click.option("--version", "digest", metavar="VERSION", help="This version, instead of the one in use.")
@click.pass_obj
def refuse(obj: Context, names: tuple[str, ...], *, digest: str | None) -> None:
    """Refuse the definition of a tool: calls of the tool with this definition are refused in mode block.

    \b
    Example: cylestio tools refuse mail/send_email
    """  # noqa: D301 -- as above
    _decide(obj, names, digest, "refused")


def _decide(obj: Context, names: tuple[str, ...], digest: str | None, state: DefinitionState) -> None:
    if digest is not None and len(names) != 1:
        raise click.UsageError("--version goes with one tool")
    with obj.store() as connection:
        found = [reads.find_tool(connection, name) for name in names]
        chosen = [reads.find_version(connection, one, digest or one.digest) for one in found]
    for tool, version in zip(found, chosen, strict=True):
        triage.decide_tool(
            obj.database,
            obj.loaded.settings.store,
            server=version.server,
            name=version.name,
            digest=version.digest,
            state=state,
            by=control.user_name(),
        )
        output.hint(f"{tool.full_name} {version.digest[:_DIGEST]} is {state}")


@tools.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--pins",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("tools.lock.json"),
    show_default=True,
    help="File of the approved definitions, which is committed.",
)
@click.option("--update-pins", is_flag=True, help="Write the present definitions to the --pins file, as approved.")
@click.option("--start", is_flag=True, help="Start the servers that an mcp.json names, and ask them for their tools.")
@click.option("--timeout", type=click.IntRange(1, 600), default=60, show_default=True, help="Seconds for one server.")
@options.fail_on("low")
@options.report
@click.pass_obj
def check(
    obj: Context,
    paths: tuple[str, ...],
    *,
    pins: Path,
    update_pins: bool,
    start: bool,
    timeout: int,
    fail_on: str,
    report_format: str,
    output_file: Path | None,
    baseline: Path | None,
    update_baseline: bool,
) -> int:
    """Compare tool definitions with the approved ones, and scan them: for a build.

    FILE is an mcp.json, or the saved answer to tools/list. The servers of an mcp.json are programs of their own: they
    are started with --start only, and stopped after they have listed their tools. A definition that changed, that is
    not in the --pins file, that bears the name of another server's tool or refers to one is a finding.

    Exit code 1 if a finding reaches --fail-on, 3 if a file cannot be read or a server does not answer.

    \b
    Example: cylestio tools check mcp.json --start --format sarif --output tools.sarif
    """  # noqa: D301 -- as above
    scanner = obj.scanner()
    read = [checking.read(path, start=start, timeout_s=timeout) for path in paths]
    listings = [listing for one in read for listing in one.listings]
    problems = [problem for one in read for problem in one.problems]
    for problem in problems:
        output.hint(f"error: {problem}")
    pinned = load_pins(pins) if pins.exists() else Pins({})
    checked = checking.check(listings, pinned, scanner)
    if update_pins and not problems:
        save_pins(pins, checked.definitions)
        output.hint(f"{pins}: {len(checked.definitions)} definitions are approved from now on")
        checked = checking.check(listings, load_pins(pins), scanner)
    for name in checked.missing if not problems else ():
        output.hint(f"{name} is in {pins} and is not listed any more")
    for line in checked.diff if report_format == "text" and output_file is None else ():
        output.say(line)
    report = findings_report.Report(checked.findings, scanner.rules, [listing.file for listing in listings])
    code = findings_report.finish(
        report,
        fail_on=fail_on,
        report_format=report_format,
        output_file=output_file,
        baseline=baseline,
        update_baseline=update_baseline,
        document=lambda kept: {
            "tools": len(checked.definitions),
            "missing": checked.missing,
            "findings": [findings_report.row(finding) for finding in kept],
        },
    )
    return UNUSABLE if problems else code
