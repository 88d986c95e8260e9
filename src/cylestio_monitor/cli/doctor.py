"""`cylestio doctor`: what is hooked here, what is not, why, and what would change it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cylestio_monitor.cli import options, output
from cylestio_monitor.cli.group import NEGATIVE, Context
from cylestio_monitor.otel import diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

STYLES = {"hooked": "green", "ready": "green", "absent": "dim"}
"""States that are in order; the others are shown as what they are: to be looked at."""


@click.command()
@click.option("--no-probe", is_flag=True, help="Judge by what is installed and set; start no process to try it.")
@options.json_document
@click.pass_obj
def doctor(obj: Context, *, no_probe: bool, as_json: bool) -> int:
    """Tell what is hooked, what is not, and why.

    For each SDK: the version found, hooked or not, the reason, and what would have it hooked. A version newer
    than the last one that this release was tested with is named as such. A process is started under the
    launcher, in this environment, and imports every installed SDK.
    Exit code 1 if an installed SDK is not hooked or something else needs attention.

    \b
    Example: cylestio doctor --no-probe
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    sdks = diagnosis.survey(obj.loaded)
    if not no_probe:
        sdks = diagnosis.probe(sdks)
    checks = diagnosis.checks(obj.loaded)
    if as_json:
        output.as_json({"sdks": [asdict(sdk) for sdk in sdks], "checks": [asdict(check) for check in checks]})
    else:
        console = output.console()
        console.print(sdk_table(sdks))
        console.print()
        for check in checks:
            console.print(output.cell(f"{'ok' if check.ok else '!!'}  {check.subject}: {check.found}"))
        for subject, remedy in (
            *((sdk.distribution, sdk.remedy) for sdk in sdks),
            *((check.subject, check.remedy) for check in checks),
        ):
            if remedy:
                console.print(output.cell(f"→  {subject}: {remedy}", "bold"))
    good = all(sdk.state in STYLES for sdk in sdks) and all(check.ok for check in checks)
    return 0 if good else NEGATIVE


def sdk_table(sdks: Sequence[diagnosis.SDK]) -> Table:
    """The SDKs as a table."""
    return output.table(
        ("SDK", "version", "supported", "state", "why~"),
        (
            (
                sdk.distribution,
                sdk.version or "-",
                sdk.supported,
                output.cell(sdk.state, STYLES.get(sdk.state, "bold red")),
                f"{sdk.reason}; newer than {sdk.newest_tested}, the last one tested"
                if sdk.is_newer_than_tested
                else sdk.reason,
            )
            for sdk in sdks
        ),
    )
