"""Each check of `.ci/check_code.py` finds what it is there for, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUPPRESSION = "# no" + "qa"


@pytest.fixture(scope="module")
def checks():
    spec = importlib.util.spec_from_file_location("check_code", ROOT / ".ci" / "check_code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def found(checks, tmp_path):
    """The places of each check in a tree of the given files, without their line's text."""

    def places(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        made = checks.places(sorted(tmp_path.rglob("*.py")), tmp_path)
        return {check: [line.split(": ")[0] for line in lines] for check, lines in made.items() if lines}

    return places


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (f"import a  {SUPPRESSION}", True),
        (f"import a  {SUPPRESSION}: F401", True),
        (f"import a  {SUPPRESSION}: F401, E402", True),
        (f"import a  {SUPPRESSION}: F401 --", True),
        (f"import a  {SUPPRESSION}: F401 used by name", True),
        (f"import a  {SUPPRESSION}: F401 -- used by name", False),
        (f"import a  {SUPPRESSION}: F401, E402 -- used by name", False),
        (f'text = "{SUPPRESSION}"', False),
        ("import a  # a note", False),
    ],
)
@pytest.mark.parametrize("folder", ["src", "tests"])
def test_a_suppression_has_a_reason(found, text, reported, folder):
    expected = {"noqa": [f"{folder}/m.py:1"]} if reported else {}
    assert found({f"{folder}/m.py": text + "\n"}) == expected


@pytest.mark.parametrize(
    ("handler", "reported"),
    [
        ("except Exception:\n    pass", True),
        ("except BaseException as error:\n    print(error)", True),
        ("except (ValueError, Exception):\n    pass", True),
        ("except:\n    pass", True),
        (f"except Exception:  {SUPPRESSION}: BLE001\n    pass", True),
        (f"except Exception:  {SUPPRESSION}: BLE001 -- a repr may raise anything\n    pass", False),
        ("except Exception:  # a repr may raise anything\n    pass", False),
        ("except Exception:\n    # A repr may raise anything.\n    pass", False),
        ("except Exception:\n    pass  # later", True),
        ("except BaseException:\n    undo()\n    raise", False),
        ("except ValueError:\n    pass", False),
    ],
)
def test_a_broad_handler_says_why_nothing_may_pass(found, handler, reported):
    expected = {"broad except": ["src/m.py:3"]} if reported else {}
    places = found(
        {"src/m.py": f"try:\n    go()\n{handler}\n", "tests/m.py": "try:\n    go()\nexcept Exception:\n    pass\n"}
    )
    assert {check: lines for check, lines in places.items() if check != "noqa"} == expected


@pytest.mark.parametrize(
    "text",
    [
        '"""{} it is."""\n',
        'class A:\n    """{} it is."""\n',
        'def a():\n    """{} it is."""\n',
        'async def a():\n    """\n    {} it is."""\n',
        'class A:\n    b = 1\n    """{} it is."""\n',
        'if b:\n    a = 1\n    """{} it is."""\n',
    ],
)
@pytest.mark.parametrize(
    ("opening", "reported"),
    [("What", True), ("Whether", True), ("Which", True), ("How", True), ("However", False), ("A", False)],
)
def test_a_docstring_does_not_open_like_a_question(found, text, opening, reported):
    places = found({"src/m.py": text.format(opening), "tests/m.py": text.format(opening)})
    assert ("docstrings" in places) is reported
    assert all(place.startswith("src/") for lines in places.values() for place in lines)


def test_a_class_name_has_one_meaning_in_the_package(found):
    files = {
        "src/a.py": "class Event: ...\nclass Row: ...\n",
        "src/b.py": "class _Event: ...\nclass Rows: ...\n",
        "src/c.py": "if x:\n    class Row_: ...\nelse:\n    class Row_: ...\n",
        "tests/d.py": "class Row: ...\n",
    }
    assert found(files) == {"class names": ["src/a.py:1"]}


def test_a_folder_has_at_most_fourteen_modules(found):
    files = {f"src/{folder}/m{number}.py": "" for folder, count in (("a", 14), ("b", 15)) for number in range(count)}
    files |= {f"src/{folder}/__init__.py": "" for folder in "ab"}
    assert found(files) == {"folders": ["src/b"]}


def test_no_check_is_over_its_limit_and_every_limit_is_a_check(checks):
    made = checks.places(checks.tracked())
    assert made.keys() == checks.LIMITS.keys()
    assert {check: len(lines) for check, lines in made.items() if len(lines) > checks.LIMITS[check]} == {}
