"""Checks of the tree that no linter has: module sizes, and that no file knows the machine it was written on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import check_code

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 400
# Where packages came from is the business of whoever installs them.
REGISTRY = re.compile(r"pypi\.org/simple|files\.pythonhosted\.org|--(?:extra-)?index-url|--find-links")
LOCK_FILES = re.compile(r"^requirements/.*\.txt$|(?:^|/)package-lock\.json$|\.lock$")
URL = re.compile(r"https?://")
# The checkout and what its owner installed; a system's own folders are the same on every machine.
OWN = [place for place in (ROOT, Path(sys.base_prefix)) if len(place.parts) > 2 and place.parts[1] != "usr"]
MACHINE = re.compile("|".join(rf"{re.escape(str(place))}(?![\w-])" for place in OWN) or "(?!)")


def main() -> int:
    """Prints one line for every violation, those of `check_code` too; the exit status is 1 where there is one."""
    violations = [violation for name in tracked() for violation in check(name)]
    print("\n".join(violations) or f"tree: no module over {MAX_LINES} lines, no machine path, no registry address")
    return bool(violations) | check_code.main()


def tracked() -> list[str]:
    """Every file of the project, relative to its root: tracked ones and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 -- git is where PATH has it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def check(name: str) -> list[str]:
    """The violations of one file, each as `file:line: what`."""
    try:
        lines = (ROOT / name).read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    found = []
    if name.endswith(".py") and len(lines) > MAX_LINES:
        found.append(f"{name}: {len(lines)} lines, more than {MAX_LINES}")
    for number, line in enumerate(lines, 1):
        if MACHINE.search(line):
            found.append(f"{name}:{number}: a path of this machine")
        if name != ".ci/check_tree.py" and REGISTRY.search(line) and not name.startswith("Makefile"):
            found.append(f"{name}:{number}: a package registry's address or option")
        if LOCK_FILES.search(name) and URL.search(line):
            found.append(f"{name}:{number}: an address in a lock file")
    return found


if __name__ == "__main__":
    sys.exit(main())
