"""The command group: which commands there are, the options they share, and how they fail."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from cylestio_monitor.cli.output import hint
from cylestio_monitor.errors import CylestioError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cylestio_monitor.config import Loaded
    from cylestio_monitor.scan import Scanner

COMMANDS = {
    "approvals": "control.approvals:approvals",
    "approve": "control.approvals:approve",
    "audit": "audit:audit",
    "check": "builds.check:check",
    "collector-config": "start.collector:collector_config",
    "config": "config:config",
    "deny": "control.approvals:deny",
    "demo": "start.demo:demo",
    "doctor": "doctor:doctor",
    "events": "reading.events:events",
    "findings": "reading.findings:findings",
    "flush": "delivery:flush",
    "incident": "response.incident:incident",
    "outbox": "delivery:outbox",
    "policy": "control.policy:policy",
    "report": "response.report:report",
    "rules": "rules:rules",
    "scan": "builds.scan:scan",
    "status": "status:status",
    "tail": "reading.events:tail",
    "ui": "ui:ui",
    "agents": "reading.lists:agents",
    "alerts": "response.alerts:alerts",
    "search": "reading.lists:search",
    "sessions": "reading.lists:sessions",
    "show": "reading.show:show",
    "tools": "control.tools:tools",
    "traces": "reading.lists:traces",
    "users": "reading.lists:users",
    "trace": "reading.trace:trace",
}
"""Every command and where it is defined below `cylestio_monitor.cli`; a module is imported when its command is used."""

START = "Record one: opentelemetry-instrument python agent.py\nSee an example: cylestio demo"
"""The hint of a command where there is no store."""

NEGATIVE = 1
"""Exit code of an answer that calls for action: a finding, a problem, a trace that does not exist."""

USAGE = 2
"""Exit code of a command line that cannot be understood."""

UNUSABLE = 3
"""Exit code when a store, a file or a rule cannot be read."""


class NoStoreError(StoreError):
    """No program was monitored yet."""


@dataclass
class Context:
    """The values of the options that all commands share.

    Attributes:
        config_file: `--config`, where it was given.
        database_file: `--db`, where it was given.
    """

    config_file: Path | None = None
    database_file: Path | None = None

    @cached_property
    def loaded(self) -> Loaded:
        """The settings as a monitored program started here would see them."""
        from cylestio_monitor import config  # noqa: PLC0415 -- imported on use

        overrides = {"store": {"path": str(self.database_file)}} if self.database_file else None
        return config.load(path=self.config_file, overrides=overrides)

    @property
    def database(self) -> Path:
        """The file of the local store."""
        from cylestio_monitor.config import database_path  # noqa: PLC0415 -- imported on use

        return database_path(self.loaded.settings)

    @contextmanager
    def store(self) -> Iterator[sqlite3.Connection]:
        """The store, to be read within limits: somebody else may have written it."""
        from cylestio_monitor.store.read import queries  # noqa: PLC0415 -- imported on use
        from cylestio_monitor.store.read.limits import ReadLimits, explained  # noqa: PLC0415 -- imported on use

        if not self.database.exists():
            raise NoStoreError(f"{self.database}: there is no store yet")
        with explained(self.database), queries.connect(self.database, ReadLimits()) as connection:
            yield connection

    def scanner(self) -> Scanner:
        """The scanner that monitoring would use here."""
        from cylestio_monitor.config import cache_folder  # noqa: PLC0415 -- imported on use
        from cylestio_monitor.scan import Scanner  # noqa: PLC0415 -- imported on use

        return Scanner(
            self.loaded.settings,
            key=bytes(32),  # hashes of matches are not shown, and nothing is masked
            cache_dir=cache_folder(),
            base_dir=self.loaded.source.parent if self.loaded.source else None,
        )


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, and whose failures are one clean line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Every command's name, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """The command of that name, imported now."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(f"cylestio_monitor.cli.{module}"), attribute)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 -- click's signature; failures always end here
        **extra: Any,
    ) -> Any:
        """Runs the command line; what goes wrong is one line without control characters, and an exit code."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            if error.ctx is not None:
                hint(f"usage: {error.ctx.command_path} --help")
            hint(f"error: {error.format_message()}")
            code = USAGE
        except click.ClickException as error:
            hint(f"error: {error.format_message()}")
            code = UNUSABLE
        except CylestioError as error:
            hint(f"error: {error}")
            if isinstance(error, NoStoreError):
                for line in START.splitlines():
                    hint(line)
            code = UNUSABLE
        except click.Abort:
            code = 130  # as a shell reports an interrupt
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    help="Settings file to use instead of the one looked for.",
)
@click.option(
    "--db",
    "database_file",
    type=click.Path(dir_okay=False),
    help="Store to read instead of the one the settings name.",
)
@click.version_option(package_name="cylestio-monitor", prog_name="cylestio")
@click.pass_context
def main(ctx: click.Context, config_file: str | None, database_file: str | None) -> None:
    """Show what monitored agents did, and what was found in it.

    \b
    Exit codes: 0 done; 1 the answer calls for action (a finding, a problem, no
    such trace); 2 the command line is wrong; 3 a store, file or rule cannot be
    read.

    \b
    Example: cylestio findings --severity high
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    from pathlib import Path  # noqa: PLC0415 -- imported on use

    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    elif config_file and ctx.invoked_subcommand != "config" and not Path(config_file).exists():
        raise CylestioError(f"{config_file}: there is no such settings file")
    ctx.obj = Context(Path(config_file) if config_file else None, Path(database_file) if database_file else None)
