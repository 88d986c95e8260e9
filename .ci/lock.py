#!/usr/bin/env python3
"""Writes the lock files of requirements/: versions and hashes for every platform and Python, and no registry's address.

usage: .ci/lock.py [--upgrade] [NAME ...]

Each `requirements/NAME.in` becomes `requirements/NAME.txt`; without a name all do. A version that is locked already
stays unless the requirements exclude it or `--upgrade` is given. A package whose newest release does not run on the
oldest supported Python is locked once for each range of Pythons, with a marker.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
OLDEST_PYTHON = "3.10"
# Installed before the dependencies of the project, or without them.
WITHOUT_PROJECT = {"bootstrap", "browser", "docs"}
# What the launcher starts is what the rest of the suite is developed against.
AS_IN_DEV = {"launcher-bare", "launcher-sdk", "launcher-distro"}


def main() -> int:
    """Locks the environments that the command line names."""
    parser = argparse.ArgumentParser(description="Write the lock files of requirements/.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the requirements allow")
    parser.add_argument("names", nargs="*", metavar="NAME", help="environments; all without any")
    options = parser.parse_args()
    known = sorted(file.stem for file in FOLDER.glob("*.in"))
    if unknown := set(options.names) - set(known):
        parser.error(f"no requirements/{min(unknown)}.in; there are {', '.join(known)}")
    # Those that are constrained by another one come after it.
    names = sorted(options.names or known, key=lambda name: (name in AS_IN_DEV, name))
    return max(lock(name, upgrade=options.upgrade) for name in names)


def lock(name: str, *, upgrade: bool) -> int:
    """Writes one lock file; returns the exit status of the resolver, which has printed why when it is not 0."""
    project = [] if name in WITHOUT_PROJECT else ["pyproject.toml"]
    constraints = ["--constraint", "requirements/dev.txt"] if name in AS_IN_DEV else []
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"),
        *("--python-version", OLDEST_PYTHON, *constraints, *(["--upgrade"] if upgrade else [])),
        *(*project, f"requirements/{name}.in", "-o", f"requirements/{name}.txt"),
    ]
    print(f"lock: {name}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode  # noqa: S603 -- the command is built above


if __name__ == "__main__":
    sys.exit(main())
