"""The outcome of control as it is recorded: facts, names and reason without secrets and personal data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from cylestio_monitor.govern.provenance.atoms import fold
from cylestio_monitor.govern.readings.hosts import hosts_of
from cylestio_monitor.govern.readings.numbers import magnitude, number_in, spelling
from cylestio_monitor.govern.readings.paths import folders_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.facts import ArgumentFact
    from cylestio_monitor.govern.outcome import ControlOutcome
    from cylestio_monitor.govern.redaction.redactor import Find

_HIDDEN: Final = "redacted"  # of characters that a path may have, so that the folders around it stay
_STEPS: Final = re.compile(r"[.\[\]]+")
_KEY: Final = re.compile(r"[^.\[\]]+")


class OutcomeMask(NamedTuple):
    """Masks the outcome of control for whoever reads it later.

    Attributes:
        name: Masks secrets and personal data in a name.
        find: Finds them in a value.
    """

    name: Callable[[str], str]
    find: Find

    def recorded(self, outcome: ControlOutcome) -> ControlOutcome:
        """Returns an outcome as it may be stored and shown; agent and session are names of the application's owner."""
        facts = outcome.facts
        stored = msgspec.structs.replace(
            facts,
            tool=self.name(facts.tool),
            server=self.name(facts.server),
            model=self.name(facts.model),
            user=self.name(facts.user),
            roles=tuple(map(self.name, facts.roles)),
            arguments=tuple(_stored(one, self.name, self.find) for one in facts.arguments),
            origins=tuple(
                msgspec.structs.replace(one, argument=self.name(one.argument), tool=self.name(one.tool))
                for one in facts.origins
            ),
        )
        origins = [
            one._replace(argument=self.name(one.argument), source=one.source._replace(tool=self.name(one.source.tool)))
            for one in outcome.origins
        ]
        decision = outcome.decision._replace(reason=self.name(outcome.decision.reason))
        return outcome._replace(facts=stored, decision=decision, origins=origins)


def _stored(fact: ArgumentFact, redact: Callable[[str], str], find: Find) -> ArgumentFact:
    """Returns a fact without its text, and without what a reading of the text has of a secret or of personal data."""
    stored = msgspec.structs.replace(fact, name=_masked_place(fact.name, redact), text=None)
    text, number = fact.text, fact.number
    if text is None or not (fact.hosts or number is not None or "/" in fact.folder):
        return stored
    if fact.kind == "number" and number is not None:
        text = spelling(abs(number))
    try:
        spans = find(text, _key(fact.name))
    except ValueError:  # not searched to its end: nothing of it is kept
        return msgspec.structs.replace(stored, hosts=(), folder="", other_folder="", number=None)
    if not spans:
        return stored
    if number is not None:
        number = magnitude(number)
    if fact.kind == "number":
        return msgspec.structs.replace(stored, number=number)
    visible, at = [], 0
    for span in spans:
        visible += [text[at : span.start], _HIDDEN]
        at = max(at, span.end)
    masked = "".join([*visible, text[at:]])
    folders = folders_of(masked)
    return msgspec.structs.replace(
        stored,
        hosts=_hosts(fact.hosts, masked, text),
        folder=folders[0] if folders else "",
        other_folder=folders[1] if len(folders) > 1 else "",
        number=number if number_in(text) is not None else None,
    )


def _masked_place(place: str, redact: Callable[[str], str]) -> str:
    """Returns the place of a value, masked as a whole and key by key: a dot beside a number hides what it is."""
    masked = redact(place)
    return masked if masked != place else _KEY.sub(lambda match: redact(match[0]), place)


def _hosts(hosts: tuple[str, ...], masked: str, text: str) -> tuple[str, ...]:
    """Returns the hosts that are no part of what is hidden: those outside of it, of e-mail addresses and of URLs."""
    seen, folded = set(hosts_of(masked)), fold(text)
    return tuple(host for host in hosts if host in seen or f"@{host}" in folded or f"//{host}" in folded)


def _key(name: str) -> str:
    """Returns the nearest key above a value: ``login.password[0]`` to ``password``."""
    return next((step for step in reversed(_STEPS.split(name)) if step and not step.isdigit()), "")
