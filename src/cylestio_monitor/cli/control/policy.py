"""`cylestio policy`: check a policy, learn one, try one on the past, explain a decision."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, UNUSABLE
from cylestio_monitor.errors import counted
from cylestio_monitor.govern.policy import learn as learning
from cylestio_monitor.govern.policy import loader, replay
from cylestio_monitor.store.read import control
from cylestio_monitor.store.read.values import to_ns
from cylestio_monitor.store.sqlite import keys

if TYPE_CHECKING:
    from cylestio_monitor.cli.group import Context
    from cylestio_monitor.govern.policy import Policy

_WEEK = timedelta(days=7)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def policy() -> None:
    """Check, learn and try policies for tool calls.

    \b
    Example: cylestio policy test policy.yaml
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped


@policy.command()
@click.argument("file", type=_FILE)
@click.pass_context
def check(ctx: click.Context, file: Path) -> None:
    """Report what is wrong with a policy file, by line and key.

    \b
    Example: cylestio policy check policy.yaml
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    loaded = loader.read(file, bytes(32))
    for problem in loaded.problems:
        output.say(str(problem))
    if loaded.policy is None:
        ctx.exit(UNUSABLE)
    rules = len(loaded.policy.document.rules)
    output.hint(f"{file}: {counted(rules, 'rule')}, version {loaded.policy.version}")
    ctx.exit(NEGATIVE if loaded.problems else 0)


@policy.command()
@options.filters("since", "agent")
@click.pass_obj
def learn(obj: Context, *, since: datetime | None, agent: str | None) -> None:
    """Write the smallest policy that fits the tool calls of the store, to standard output.

    \b
    Example: cylestio policy learn --since 7d > policy.yaml
    """  # noqa: D301 -- as above
    with obj.store() as connection:
        learned = learning.learn(control.facts_since(connection, _ns(since), agent))
    click.echo(learning.to_yaml(learned), nl=False)
    calls = sum(tool.calls for tool in learned.tools)
    seen = f"{counted(calls, 'call')} of {counted(len(learned.tools), 'tool')}"
    output.hint(f"learned from {seen}; review each rule before you enforce it")


@policy.command("test")
@click.argument("file", type=_FILE)
@options.filters("since", "agent")
@options.json_document
@click.pass_context
def try_policy(ctx: click.Context, file: Path, *, since: datetime | None, agent: str | None, as_json: bool) -> None:
    """Replay stored tool calls under a policy: what it would have denied, asked about or redacted.

    \b
    Example: cylestio policy test policy.yaml --since 30d
    """  # noqa: D301 -- as above
    obj: Context = ctx.obj
    with obj.store() as connection:
        tried = _read(file, keys.match_key(obj.database))
        has_budget = any(rule.budget is not None for rule in tried.document.rules)
        found = replay.summary(tried, control.calls_since(connection, _ns(since), agent, uses=has_budget))
    if as_json:
        output.as_json(msgspec.to_builtins(found))
    else:
        rows = ((one.action, one.rule, one.calls, " ".join(trace[:8] for trace in one.traces)) for one in found.rules)
        output.console().print(output.table(("action", "rule", "calls#", "traces"), rows))
        output.hint(f"{counted(found.calls, 'call')} replayed under version {tried.version}")
        for rule, count in found.undecided.items():
            output.hint(f"rule {rule} was not tested on {counted(count, 'call')}: it needs content")
    ctx.exit(NEGATIVE if any(one.action in {"deny", "ask"} for one in found.rules) else 0)


@policy.command()
@click.argument("span_id", metavar="SPAN")
@options.json_document
@click.pass_context
def explain(ctx: click.Context, span_id: str, *, as_json: bool) -> None:
    """Show the decisions about one span.

    \b
    Example: cylestio policy explain 00f067aa0ba902b7
    """  # noqa: D301 -- as above
    obj: Context = ctx.obj
    with obj.store() as connection:
        rows = control.decisions_of(connection, span_id)
    if as_json:
        output.as_json([msgspec.structs.asdict(row) for row in rows])
    for row in rows if not as_json else ():
        output.say(
            f"{row.action}{'' if row.enforced else ' (recorded only)'}  rule {row.rule}  policy {row.policy_version}"
        )
        output.say(f"  {row.reason}")
    if not rows:
        output.hint(f"no decision about span {span_id} is stored")
        ctx.exit(NEGATIVE)


def _read(file: Path, key: bytes) -> Policy:
    loaded = loader.read(file, key)
    for problem in loaded.problems:
        output.hint(str(problem))
    if loaded.policy is None:
        raise click.ClickException(f"{file}: the policy cannot be used")
    return loaded.policy


def _ns(since: datetime | None) -> int:
    return to_ns(since or datetime.now(timezone.utc) - _WEEK)
