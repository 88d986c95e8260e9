"""Each command's help has an example that the command understands."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from cylestio_monitor.cli import main
from cylestio_monitor.errors import counted

EXAMPLE = re.compile(r"^ *Example: (.+)$", re.MULTILINE)


def commands(path=("cylestio",), command=main):
    yield pytest.param(path, command, id=" ".join(path))
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            yield from commands((*path, name), command.get_command(context, name))


def parsed(words):
    """Returns the command that the words call, after its parser has taken them; no argument has to exist."""
    command, context = main, None
    while True:
        context = command.make_context(words[0], list(words[1:]), parent=context, resilient_parsing=True)
        unknown = [word for word in context.args if word.startswith("-")]
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not isinstance(command, click.Group):
            assert unknown == []
            return command
        if not rest:
            return command
        command, words = command.get_command(context, rest[0]), rest
        assert command is not None, f"no command {rest[0]}"


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_the_help_of_a_command_has_an_example_of_it(path, command):
    examples = EXAMPLE.findall(command.help or "")
    assert len(examples) == 1, f"{' '.join(path)}: {examples}"
    words = shlex.split(re.split(r" >>? ", examples[0])[0])
    assert words[0] == "cylestio"
    called = parsed(words)
    if not isinstance(command, click.Group):
        assert called is command
    elif not command.invoke_without_command:
        assert called is not command, "the example of a group is one of its commands"


def test_the_examples_are_shown(cylestio):
    assert "Example: cylestio findings" in cylestio("--help").out


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 findings"), (1, "1 finding"), (2, "2 findings"), (1200, "1,200 findings")]
)
def test_a_number_has_its_noun_in_singular_or_plural(count, text):
    assert counted(count, "finding") == text
