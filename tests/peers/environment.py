"""Virtual environments from the lock files in `requirements/`, each made once and kept outside the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_INSTALL_S = 900
_RUN_S = 900


def environment(name: str) -> Path:
    """The interpreter of the environment of `requirements/<name>.txt`, which holds this project's dependencies, too.

    `CYLESTIO_TEST_PYTHON` names another interpreter, with other releases, for all of them: `make compat` sets it.
    """
    if given := os.environ.get("CYLESTIO_TEST_PYTHON"):
        return Path(given)
    mark = hashlib.sha256(_lock_file(name).read_bytes() + str(sys.version_info[:3]).encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("cylestio-monitor-tests", appauthor=False)) / f"{name}-{mark}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not (folder / ".complete").exists():
            create(folder, name)
            (folder / ".complete").touch()
    return folder / "bin" / "python"


def create(folder: Path, name: str) -> None:
    """Makes a virtual environment with what `requirements/<name>.txt` holds, each package checked by its hash."""
    locked = ["--require-hashes", "-r", str(_lock_file(name))]
    python = str(folder / "bin" / "python")
    uv = [sys.executable, "-m", "uv"]
    if subprocess.run([*uv, "--version"], capture_output=True, check=False).returncode:
        _do([sys.executable, "-m", "venv", "--clear", str(folder)])
        _do([python, "-m", "pip", "install", "--quiet", *locked])
        return
    if "PIP_INDEX_URL" in os.environ:
        os.environ.setdefault("UV_DEFAULT_INDEX", os.environ["PIP_INDEX_URL"])
    _do([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    _do([*uv, "pip", "install", "--quiet", "--python", python, *locked])


def run(python: Path, program: Path, *args: str, **variables: str) -> Any:
    """Runs a program of this folder against the checkout's sources; what it prints as JSON.

    Args:
        python: The interpreter of an environment.
        program: The program.
        args: Its arguments.
        variables: Environment variables beside the inherited ones.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_", "COV"))}
    done = subprocess.run(
        [str(python), "-W", "ignore", str(program), *args],
        env={**inherited, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", **variables},
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
    )
    assert done.returncode == 0, f"{program.name} {args}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    # Some frameworks say a last word on standard output when the process ends.
    (printed,) = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    return {**json.loads(printed), "stderr": done.stderr}


def _lock_file(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; test workers run side by side."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
