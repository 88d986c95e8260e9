"""The places of files: settings, database, caches. It also decides if a settings file may be trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor import yamlfile
from cylestio_monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.config.settings import Settings

FILE_NAME = "cylestio.yaml"
CONFIG_VARIABLE = "CYLESTIO_CONFIG"

_APPLICATION = "cylestio-monitor"
_WRITABLE_BY_OTHERS = 0o022


class SettingsFile(NamedTuple):
    """A settings file that was found and read.

    Attributes:
        path: Its path.
        text: Its content.
        trusted: The user named it, or it is in the user's configuration folder. Another file can only tighten settings.
    """

    path: Path
    text: str
    trusted: bool


def database_path(settings: Settings) -> Path:
    """Returns the file of the local store."""
    if settings.store.path:
        return Path(settings.store.path).expanduser()
    import platformdirs  # noqa: PLC0415 -- a process that names its paths does not need it

    return Path(platformdirs.user_data_dir(_APPLICATION, appauthor=False)) / "cylestio.db"


def cache_folder() -> Path:
    """Returns the folder in which processes share compiled rules."""
    import platformdirs  # noqa: PLC0415 -- as above

    return Path(platformdirs.user_cache_dir(_APPLICATION, appauthor=False))


def settings_files(
    environ: Mapping[str, str], named: str | Path | None, problems: list[ConfigError]
) -> list[SettingsFile]:
    """Reads the settings files, the weakest first.

    A file that the caller or `CYLESTIO_CONFIG` names replaces all others. Without one that can be read, the file of the
    user's configuration folder is used, and the one in the working directory if its owner and mode allow it.

    Args:
        environ: The environment.
        named: A settings file that the caller names.
        problems: Receives the files that cannot be used.
    """
    named = named or environ.get(CONFIG_VARIABLE)
    if named:
        file = Path(named).expanduser()
        if not file.exists():
            problems.append(
                ConfigError("no such file", source=str(file), used="Cylestio looks for another settings file")
            )
        elif found := _read(file, problems, trusted=True):
            return [found]
    import platformdirs  # noqa: PLC0415 -- as above

    own = Path(platformdirs.user_config_dir(_APPLICATION, appauthor=False)) / FILE_NAME
    local = Path(FILE_NAME)
    files = [_read(own, problems, trusted=True)] if _exists(own) else []
    if _exists(local) and not _is_same(own, local):
        files.append(_read(local, problems, trusted=False))
    return [file for file in files if file is not None]


def is_inside(path: str, folder: Path) -> bool:
    """Tells if a path, followed through every link, stays inside a folder. A path with ``~`` does not."""
    if path.startswith("~") or "\0" in path:
        return False
    try:
        root = folder.resolve()
        target = (root / path).resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    return target != root and target.is_relative_to(root)


def _read(path: Path, problems: list[ConfigError], *, trusted: bool) -> SettingsFile | None:
    try:
        text = yamlfile.read_text(path) if trusted else _read_local(path)
    except ConfigError as error:
        problems.append(error.but_used("Cylestio does not use this file"))
        return None
    return SettingsFile(path, text, trusted)


def _read_local(path: Path) -> str:
    """Reads a file of the working directory.

    Raises:
        ConfigError: Others than the user may have written it, or replaced it.
    """

    def check(status: os.stat_result) -> None:
        _check_owner(path, status, "the file")
        _check_owner(path, path.absolute().parent.stat(), "its folder")

    if path.is_symlink():
        raise _unused(path, "it is a symbolic link")
    return yamlfile.read_text(path, check)


def _check_owner(path: Path, status: os.stat_result, what: str) -> None:
    """Refuses what another user owns or may write."""
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        raise _unused(path, f"{what} belongs to another user")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise _unused(path, f"{what} is writable by other users")


def _unused(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"is not used: {reason}; {CONFIG_VARIABLE} names a trusted file", source=str(path))


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):  # also a folder that may not be searched
        return False
    return True


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
