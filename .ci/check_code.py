"""Checks of the sources that no linter has.

| check | what it finds |
|---|---|
| class names | a class name that two modules of the package define; a leading underscore makes no other name |
| noqa | a `noqa` without ` -- ` and its reason |
| broad except | an `except Exception` or `except BaseException` without a comment that says why nothing may pass |
| docstrings | a docstring that opens with What, Whether, Which or How |
| folders | a folder of the package with more than 14 modules, `__init__.py` apart |

usage: .ci/check_code.py [--list]

A check may be limited to a number above zero while that number is being brought down: it fails above it. `--list`
prints every place, also within the limits.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "src/"
MAX_MODULES = 14
# How many places of each check there may be. A number only falls.
LIMITS = {"class names": 0, "noqa": 0, "broad except": 0, "docstrings": 0, "folders": 0}
NOQA = re.compile(r"#\s*noqa\b(?P<codes>:\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?(?P<rest>.*)", re.IGNORECASE)
REASON = re.compile(r"\s*--\s*\S")
OPENING = re.compile(r"(?:What|Whether|Which|How)\b")
BROAD = {"Exception", "BaseException"}


def main() -> int:
    """Prints the places of every check that is over its limit; the exit status is 1 where there is one."""
    found = places(tracked())
    over = {check for check, lines in found.items() if len(lines) > LIMITS[check]}
    for check in found if "--list" in sys.argv[1:] else over:
        print("\n".join(f"{line} [{check}]" for line in found[check]))
    for check in over:
        print(f"code: {check}: {len(found[check])} places, {LIMITS[check]} are allowed")
    if not over:
        print("code: " + ", ".join(f"{check} {len(lines)}/{LIMITS[check]}" for check, lines in found.items()))
    return bool(over)


def tracked() -> list[Path]:
    """Every Python file of the project: tracked ones and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 -- a fixed command
    return sorted(ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def places(files: Iterable[Path], root: Path = ROOT) -> dict[str, list[str]]:
    """The places of each check, as `file:line: what`.

    Args:
        files: Python files below `root`. Those below `src/` are checked for everything, others for `noqa` only.
        root: The project's root.
    """
    found: dict[str, list[str]] = {check: [] for check in LIMITS}
    classes: dict[str, list[str]] = defaultdict(list)
    modules: dict[str, int] = defaultdict(int)
    for file in files:
        name = file.relative_to(root).as_posix()
        text = file.read_text("utf-8")
        found["noqa"] += [f"{name}:{line}: noqa without a reason" for line in bare_noqa(text)]
        if not name.startswith(PACKAGE):
            continue
        tree, lines = ast.parse(text), text.splitlines()
        modules[file.parent.relative_to(root).as_posix()] += file.name != "__init__.py"
        defined = {node.name.lstrip("_"): node.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        for own, line in defined.items():
            classes[own].append(f"{name}:{line}")
        found["broad except"] += [f"{name}:{line}: says not why nothing may pass" for line in silent(tree, lines)]
        found["docstrings"] += [f"{name}:{line}: opens with {word}" for line, word in questions(tree)]
    for own, where in sorted(classes.items()):
        if len(where) > 1:
            found["class names"].append(f"{where[0]}: {own} is also {', '.join(where[1:])}")
    for folder, count in sorted(modules.items()):
        if count > MAX_MODULES:
            found["folders"].append(f"{folder}: {count} modules, more than {MAX_MODULES}")
    return found


def bare_noqa(text: str) -> Iterator[int]:
    """The lines with a `noqa` that has no reason."""
    for number, line in enumerate(text.splitlines(), 1):
        match = NOQA.search(line)
        # In a text, such as the pattern above, no quotation mark is left open before a comment.
        if match and line[: match.start()].count('"') % 2 == 0 and not REASON.match(match["rest"]):
            yield number


def silent(tree: ast.Module, lines: list[str]) -> Iterator[int]:
    """The lines of broad handlers that have no comment on their own line or at the head of their block."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler) or not is_broad(node.type):
            continue
        head = lines[node.lineno - 1 : node.body[0].lineno - 1] or [lines[node.lineno - 1]]
        comments = [line.partition("#")[2].strip() for line in head if "#" in line]
        if not any(told(comment) for comment in comments) and not raises_again(node):
            yield node.lineno


def is_broad(caught: ast.expr | None) -> bool:
    """A bare `except`, or one of `Exception` or `BaseException`."""
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(name is None or (isinstance(name, ast.Name) and name.id in BROAD) for name in names)


def told(comment: str) -> bool:
    """A comment says something; a `noqa` does by its reason."""
    return bool(comment) and (not comment.startswith("noqa") or " -- " in comment)


def raises_again(node: ast.ExceptHandler) -> bool:
    """A handler that ends with a bare `raise` lets everything pass."""
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def questions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The docstrings that open like a question, as line and first word; those of attributes, too."""
    for node in ast.walk(tree):
        for statement in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                opening = OPENING.match(value.value.strip())
                if opening:
                    yield statement.lineno, opening[0]


if __name__ == "__main__":
    sys.exit(main())
