"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import get_args

from cylestio_monitor import model, semconv

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAME = re.compile(r"^\| `([a-z_][\w.]*)` \| (\S+) \| (.+) \|$", re.MULTILINE)


def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def constants():
    return {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}


def test_generated_pages_are_what_the_code_would_write_now():
    for path, text in generate().pages().items():
        assert path.read_text("utf-8") == text, f"{path.name} is behind the code: run `make docs`"


def test_every_command_and_every_option_has_a_sentence():
    for path, command in generate().commands():
        assert command.help, " ".join(path)
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, f"{' '.join(path)} {parameter.name}"


def test_every_attribute_metric_and_event_is_documented_once_and_no_other():
    page = (DOCS / "reference" / "attributes.md").read_text("utf-8")
    listed = [name for name, _type, _meaning in NAME.findall(page)]
    headings = set(re.findall(r"^## The span event `([^`]+)`", page, re.MULTILINE))
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) | headings | {semconv.SCOPE, semconv.SCHEMA_URL} == constants()


def test_documented_values_are_the_values_of_the_model():
    meanings = {
        name: re.findall(r"`(\w+)`", text)
        for name, _type, text in NAME.findall((DOCS / "reference" / "attributes.md").read_text("utf-8"))
    }
    assert meanings[semconv.SEVERITY] == list(model.SEVERITIES)
    assert meanings[semconv.ALERT] == list(model.ALERTS)
    assert meanings[semconv.VERDICT] == list(get_args(model.Decision))
    assert meanings[semconv.ACTION] == list(get_args(model.Action))
    assert meanings[semconv.TARGET_SUBTYPE] == list(get_args(model.Subtype))
