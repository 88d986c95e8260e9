"""`cylestio collector-config`: the files of a collector, its back ends and dashboards."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

import cylestio_monitor
from cylestio_monitor.cli import output
from cylestio_monitor.errors import CylestioError, counted


@click.command("collector-config")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def collector_config(folder: Path) -> None:
    """Write the configuration files of the collector, its back ends and the dashboards.

    DIR is created; a file that exists there is an error, so that no change of yours is overwritten.

    \b
    Example: cylestio collector-config ./collector
    """  # noqa: D301 -- \b is click's mark for lines that are not to be wrapped
    source = _source()
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    targets = [folder / path.relative_to(source) for path in files]
    for target in targets:
        if target.exists():
            raise CylestioError(f"{target}: exists already; name another folder")
    try:
        for path, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    except OSError as error:
        raise CylestioError(f"{folder}: {error.strerror}") from error
    output.say(f"{folder}: {counted(len(files), 'file')}")
    output.say(f"Start with {folder / 'local.yaml'}, a collector on one machine.")


def _source() -> Path:
    """Returns the folder of the files: in an installed package, or in the checkout of an editable one.

    Raises:
        CylestioError: The installation has no such files.
    """
    package = Path(str(cylestio_monitor.__file__)).parent
    for folder in (package / "collector_config", package.parents[1] / "collector-config"):
        if (folder / "local.yaml").is_file():
            return folder
    raise CylestioError("this installation has no collector files: install the package from a wheel")
