"""Fresh virtual environments with this package as its users install it, and programs run in them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from peers.environment import create

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, what it wrote, and how long it took in seconds."""

    code: int
    out: str
    err: str
    seconds: float


def build_wheel(folder: Path) -> Path:
    """The package as a wheel, built as a release is."""
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make(folder: Path, name: str, wheel: Path) -> Path:
    """A virtual environment with the wheel, beside exactly what `requirements/<name>.txt` holds."""
    create(folder, name)
    if importlib.util.find_spec("uv"):
        pip, target = [sys.executable, "-m", "uv", "pip"], ["--python", str(folder)]
    else:
        pip, target = [str(folder / "bin" / "python"), "-m", "pip"], []
    # A wheel that was just built has no locked hash. What it requires must be there already, as `check` tells.
    call(*pip, "install", "--quiet", *target, "--no-deps", str(wheel))
    call(*pip, "check", *target)
    return folder


def compile_rules(environment: Path, folder: Path) -> None:
    """Has the rules compiled into `folder/cache`, as they are on a machine where an agent ran for a while before."""
    program = (
        "from cylestio_monitor import config\n"
        "from cylestio_monitor.otel import setup\n"
        "assert setup.scanner(config.load(), bytes(32)).engine\n"
    )
    variables = environ(environment, folder, {"XDG_CACHE_HOME": str(folder / "cache")})
    call(str(environment / "bin" / "python"), "-c", program, environ=variables)


def call(*words: str, cwd: Path | None = None, environ: dict[str, str] | None = None) -> None:
    """Runs a command and fails with what it wrote."""
    done = subprocess.run(
        words, cwd=cwd, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environ(environment: Path, home: Path, variables: dict[str, str]) -> dict[str, str]:
    """The variables of a user who has just logged in, and those given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "CYLESTIO_", "PYTHON", "XDG_"))
    }
    kept["CYLESTIO_SUMMARY"] = "false"  # a test of its own looks at the last line
    return {**kept, "HOME": str(home), "PATH": f"{environment / 'bin'}{os.pathsep}{kept['PATH']}", **variables}
