"""`cylestio alerts`: test the targets, list what was sent, and send what waits."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.errors import counted
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.alerts import rows as alert_rows
from cylestio_monitor.store.alerts import targets
from cylestio_monitor.store.alerts.alert_table import AlertMessage
from cylestio_monitor.store.alerts.sender import AlertRound
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    from cylestio_monitor import config
    from cylestio_monitor.cli.group import Context


@click.group()
def alerts() -> None:
    """Test, list and send alerts of the setting `alerts`.

    \b
    Example: cylestio alerts test
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


@alerts.command()
@click.argument("names", nargs=-1, metavar="[TARGET]...")
@click.pass_context
def test(context: click.Context, names: tuple[str, ...]) -> None:
    """Send a test message to each target, or to those that are named.

    Exit code 1 if one of them did not take it.

    \b
    Example: cylestio alerts test ops
    """  # noqa: D301 -- as above
    obj: Context = context.obj
    settings = _settings(obj)
    known = {one.name: one for one in settings.targets}
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"there is no target {unknown[0]}; there are {', '.join(known) or 'none'}")
    if not known:
        output.hint("no target is configured: see the setting `alerts.targets`")
        context.exit(NEGATIVE)
    failed = 0
    for name in names or known:
        try:
            targets.send(known[name], _example())
        except targets.DeliveryError as error:
            failed += 1
            output.say(f"{name}: not sent: {error}")
        else:
            output.say(f"{name}: sent")
    if failed:
        context.exit(NEGATIVE)


@alerts.command("list")
@options.limited(50)
@options.json_lines
@click.pass_obj
def list_all(obj: Context, *, limit: int, as_json: bool) -> None:
    """List alerts, the newest first: those that wait, were sent, or failed.

    \b
    Example: cylestio alerts list --limit 10
    """  # noqa: D301 -- as above
    with obj.store() as connection:
        rows = alert_rows.alerts(connection, limit=limit)
    columns = (
        *(("made (UTC)", 0), ("state", 0), ("severity", 0), ("condition", 4), ("target", 3), ("findings#", 5)),
        *(("group~", 2), ("problem~", 1)),
    )

    def cells(row: alert_rows.AlertRow) -> tuple[object, ...]:
        return (
            timestamp(row.created_ns)[:16],
            row.state,
            output.level(SEVERITIES[row.severity_number]),
            row.condition,
            row.target,
            row.findings,
            ", ".join(f"{name} {value}" for name, value in row.group.items() if value),
            row.error,
        )

    output.listing(rows, as_json=as_json, empty="no alerts", columns=columns, cells=cells)


@alerts.command()
@click.pass_context
def send(context: click.Context) -> None:
    """Make alerts of new findings and send what waits; for a scheduler, where no monitored program runs.

    Exit code 1 if a message could not be sent; it is tried again later.

    \b
    Example: cylestio alerts send
    """  # noqa: D301 -- as above
    obj: Context = context.obj
    settings = _settings(obj)
    with obj.store():  # a store that is missing is one clear line
        pass
    made = AlertRound(obj.database, obj.loaded.settings.store, settings)
    sent, failed = made.run(is_last=True)
    made.leave()
    output.say(f"{counted(sent, 'message')} sent, {failed} not sent")
    if failed:
        context.exit(NEGATIVE)


def _settings(obj: Context) -> config.AlertSettings:
    for problem in obj.loaded.problems:
        if problem.key and problem.key.startswith("alerts"):
            output.hint(str(problem))
    return obj.loaded.settings.alerts


def _example() -> AlertMessage:
    now_ns = time.time_ns()
    return AlertMessage(
        id=f"msg_test{secrets.token_hex(12)}",
        condition="test",
        target="test",
        severity_number=1,
        findings=0,
        suppressed=0,
        first_ns=now_ns,
        last_ns=now_ns,
        attempts=1,
        created_ns=now_ns,
        facts={"rule_id": "test message", "category": "test", "group": {}},
    )
