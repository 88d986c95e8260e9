"""`cylestio approvals`, `approve` and `deny`: the calls that wait for a person."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE
from cylestio_monitor.store.control.approvals import StoredApprovals
from cylestio_monitor.store.read import control

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context

_reason = click.option("--reason", default="", metavar="TEXT", help="A sentence for the audit trail.")


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also requests that are decided or expired.")
@options.limited(50)
@options.json_lines
@click.pass_obj
def approvals(obj: Context, *, show_all: bool, limit: int, as_json: bool) -> None:
    """List tool calls that wait for approval.

    \b
    Example: cylestio approvals --all
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    with obj.store() as connection:
        rows = control.approvals(connection, waiting=not show_all, limit=limit)
    columns = (("id", 0), ("state", 0), ("left#", 0), ("tool", 0), ("rule", 0), ("arguments", 0))
    now = time.time_ns()

    def cells(row: control.ApprovalRow) -> tuple[object, ...]:
        left_s = max(0, (row.expires_ns - now) // 1_000_000_000)
        return row.id, row.state, f"{left_s} s", row.tool, row.rule, row.arguments

    output.listing(rows, as_json=as_json, empty="no call waits for approval", columns=columns, cells=cells)


@click.command()
@click.argument("request_id", metavar="ID")
@_reason
@click.pass_context
def approve(ctx: click.Context, request_id: str, *, reason: str) -> None:
    """Allow one waiting call to run once.

    \b
    Example: cylestio approve k3m9qz7w2h5t
    """  # noqa: D301 -- as above
    _decide(ctx, request_id, reason, allow=True)


@click.command()
@click.argument("request_id", metavar="ID")
@_reason
@click.pass_context
def deny(ctx: click.Context, request_id: str, *, reason: str) -> None:
    """Deny one waiting call.

    \b
    Example: cylestio deny k3m9qz7w2h5t
    """  # noqa: D301 -- as above
    _decide(ctx, request_id, reason, allow=False)


def _decide(ctx: click.Context, request_id: str, reason: str, *, allow: bool) -> None:
    obj: Context = ctx.obj
    with obj.store():  # a store that is missing is one clear line
        pass
    ledger = StoredApprovals(obj.database, obj.loaded.settings.store)
    if ledger.decide(request_id, allow=allow, by=control.user_name(), now_ns=time.time_ns(), reason=reason):
        output.hint(f"{request_id} is {'allowed to run once' if allow else 'denied'}")
        return
    state = ledger.state(request_id)
    if state is None:
        output.hint(f"there is no request {request_id}; `cylestio approvals` lists those that wait")
    else:
        output.hint(f"{request_id} does not wait any more: it is {'expired' if state == 'waiting' else state}")
    ctx.exit(NEGATIVE)
