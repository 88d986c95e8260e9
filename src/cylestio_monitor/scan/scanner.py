"""The scanner: takes texts, values and tool definitions, gives findings and redacted content."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from cylestio_monitor.model import ALERT_OF, MASKED_CATEGORIES, Finding, incomplete
from cylestio_monitor.scan import learned, prompt_leak
from cylestio_monitor.scan.budget import Budget
from cylestio_monitor.scan.commands import tool_call
from cylestio_monitor.scan.matching import named_fields
from cylestio_monitor.scan.matching.confirm import Limits, Match
from cylestio_monitor.scan.matching.rule_set import RuleSet
from cylestio_monitor.scan.matching.search import Search, without_doubles
from cylestio_monitor.scan.readers import full_parsers
from cylestio_monitor.scan.results import system_prompt
from cylestio_monitor.scan.results.match_hash import match_hash
from cylestio_monitor.scan.results.own_data import is_own
from cylestio_monitor.scan.results.redaction import MaskedText, PrivateSpan, Redaction
from cylestio_monitor.scan.results.silences import Silences
from cylestio_monitor.scan.stream import TextStream
from cylestio_monitor.scan.walk import Leaf, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cylestio_monitor.config import Settings
    from cylestio_monitor.errors import ConfigError
    from cylestio_monitor.model import Subtype, Target, ToolDefinition
    from cylestio_monitor.rules import Rule
    from cylestio_monitor.scan.open_matches import OpenMatches

_log = logging.getLogger(__name__)
_BUNDLE = 4_000  # code points of texts of a value that the engine searches together
MAX_FINDINGS = 1_000
"""Findings of one value; with more of them the scan stops and is reported as incomplete."""


class Scanner:
    """Scans texts and values with all rules in force. Safe to use from any thread; never raises.

    Attributes:
        problems: Rules, packs and settings that could not be used; the others are in force.
    """

    def __init__(
        self, settings: Settings, *, key: bytes, cache_dir: Path | None = None, base_dir: Path | None = None
    ) -> None:
        """Prepares the rules.

        Args:
            settings: The settings in force.
            key: The secret of the deployment, 32 bytes: key of match hashes, masks and the cache of compiled rules.
            cache_dir: Private folder for compiled rules; ``None`` keeps none.
            base_dir: Folder that relative paths of packs start from.
        """
        self._rule_set = RuleSet(settings, cache_dir=cache_dir, key=key, base_dir=base_dir)
        self.problems: list[ConfigError] = self._rule_set.problems
        self._silences = Silences(settings.rules.silence, self.problems)
        if settings.scan.parsers == "installed":
            self.problems += full_parsers.load()
        self._search = Search(self._rule_set, max_length=settings.scan.max_bytes)
        self._prompts = prompt_leak.Prompts()
        self._overlap = self._rule_set.rule(prompt_leak.RULE)
        self._named_field = self._rule_set.rule(named_fields.RULE)
        self._learned = self._rule_set.rule(learned.RULE)
        self._judged_surfaces = learned.surfaces(self._learned)
        self._key = key[:64]
        self._enabled = settings.scan.enabled
        self._redaction = Redaction(self._search, self._named_field, self._hash)

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules in force by id, without their examples."""
        return self._rule_set.metadata

    @property
    def engine(self) -> str:
        """Name of the engine in use: ``hyperscan`` or ``python``."""
        return self._rule_set.engine

    def wait_compiled(self, timeout: float = 60.0) -> bool:
        """Waits until the compiled rules are in use; findings are the same before.

        Args:
            timeout: Longest wait, in seconds.

        Returns:
            Whether they are in use, or cannot be on this platform.
        """
        return self._rule_set.wait_compiled(timeout)

    def text(
        self, text: str, *, target: Target, subtype: Subtype, path: str = "", silenced: bool = False
    ) -> list[Finding]:
        """Scans one text.

        Args:
            text: Any text. One longer than `scan.max_bytes` is scanned at its two ends and reported as incomplete.
            target: The side of the call.
            subtype: The surface.
            path: The place of the text in the call.
            silenced: Whether silenced findings that require redaction are returned too, with the severity ``none``.

        Returns:
            Findings by place, offsets in code points of `text`.
        """
        if not self._enabled or not text:
            return []
        budget = Budget()
        found: list[Finding] = []
        try:
            matches = self._search.matches(text, target, subtype, limits=Limits(budget))
            if matches:
                found = self._findings(matches, text, target, subtype, path, silenced=silenced)
            found += self._judged(text, target, subtype, path, found)
        except Exception as error:  # noqa: BLE001 -- a fault of the scanner must not reach the application
            _log.exception("a text could not be scanned")
            budget.stop(type(error).__name__)
        return _sorted(found, budget, target, subtype, path)

    def value(  # noqa: PLR0912 -- the parts of a call share one budget
        self,
        value: object,
        *,
        target: Target,
        subtype: Subtype,
        path: str = "",
        tool: str | None = None,
        silenced: bool = False,
    ) -> list[Finding]:
        """Scans any JSON-like value, such as the arguments of a tool: each text with its key.

        Args:
            value: Mappings, sequences, texts, numbers, models. A part that contains itself or raises is survived.
            target: The side of the call.
            subtype: The surface.
            path: The place of the value; its texts get paths such as ``arguments.query``.
            tool: Name of the tool, scanned itself when it is called.
            silenced: As for `text`.
        """
        if not self._enabled:
            return []
        budget = Budget()
        limits = Limits(budget)
        found: list[Finding] = []
        try:
            if tool and subtype == "tool_call":
                matches = self._search.matches(tool, target, "tool_name", limits=limits)
                found += self._findings(matches, tool, target, subtype, "name", silenced=silenced)
            is_call = subtype == "tool_call"
            for some in _bundles(leaves(value, path, budget)):
                quiet = len(some) > 1 and self._search.quiet([leaf.text for leaf in some], target, subtype)
                for leaf in some:
                    matches = self._search.matches(leaf.text, target, subtype, limits=limits, quiet=quiet)
                    matches += named_fields.matches(self._named_field, leaf, target, subtype)
                    own: list[Finding] = []
                    if matches:
                        matches = without_doubles(matches)
                        own = self._findings(matches, leaf.text, target, subtype, leaf.path, silenced=silenced)
                    if is_call:
                        reading = tool_call.read_leaf(tool or "", leaf)
                        own = tool_call.judged(reading, own)
                        for text in reading.derived:
                            own += self._derived(text, leaf.text, leaf.path, target, own, limits)
                    found += own + self._judged(leaf.text, target, subtype, leaf.path, own)
                if len(found) > MAX_FINDINGS:
                    budget.stop("findings")
                if budget.spent() or len(found) > MAX_FINDINGS:
                    break
            if is_call:
                for derived in tool_call.derived_texts(value, tool or "", path):
                    reading = tool_call.read_text(derived.use, derived.text)
                    for text in (derived.text, *reading.derived):
                        more = self._derived(text, derived.text, derived.path, target, found, limits)
                        found += more if text is not derived.text else tool_call.judged(reading, more)
                    if budget.spent():
                        break
        except Exception as error:  # noqa: BLE001 -- a fault of the scanner must not reach the application
            _log.exception("a value could not be scanned")
            budget.stop(type(error).__name__)
        return _sorted(found, budget, target, subtype, path)

    def tool_definition(self, tool: ToolDefinition, *, target: Target, silenced: bool = False) -> list[Finding]:
        """Scans the name, the description and the parameters of a tool."""
        found: list[Finding] = []
        for field, text in (("name", tool.name), ("description", tool.description)):
            if text:
                place = _join(tool.path, field)
                found += self.text(text, target=target, subtype="tool_definition", path=place, silenced=silenced)
        place = _join(tool.path, "parameters")
        found += self.value(tool.parameters, target=target, subtype="tool_definition", path=place, silenced=silenced)
        if tool.extra is None:
            return found
        return found + self.value(
            tool.extra, target=target, subtype="tool_definition", path=tool.path, silenced=silenced
        )

    def stream(self, *, target: Target, subtype: Subtype, path: str = "", silenced: bool = False) -> TextStream:
        """Returns a scan of a text that arrives in chunks."""

        def findings(matches: list[Match], text: str) -> list[Finding]:
            return self._findings(matches, text, target, subtype, path, silenced=silenced)

        return TextStream(self._search, findings, target=target, subtype=subtype, path=path, enabled=self._enabled)

    def watch(self, prompts: tuple[str, ...]) -> prompt_leak.PromptLeakDetector | None:
        """Returns a detector of the given texts, the system prompt of a call, in its answers.

        Returns:
            ``None`` where nothing is to be detected.
        """
        rule = self._overlap
        if rule is None or not prompts or not self._enabled:
            return None
        prompt = self._prompts.of(prompts)

        def make(text: str, place: prompt_leak.Span, path: str) -> Finding | None:
            found = self._findings([Match(rule, place.start, place.end)], text, "output", "llm", path)
            return found[0] if found else None

        return prompt_leak.PromptLeakDetector(prompt, make) if prompt else None

    def complete_finding(self, finding: Finding, text: str) -> Finding | None:
        """Returns a finding that another part made of a text, with its match hash; ``None`` where it is silenced."""
        match_hash = self._hash(text[finding.start : finding.end])
        if self._silences and self._silences.covers(finding.rule_id, finding.path, match_hash):
            return None
        return replace(finding, match_hash=match_hash)

    def without_silenced(self, findings: list[Finding]) -> list[Finding]:
        """Returns the findings of other parts that no silence covers."""
        silences = self._silences
        if not silences:
            return findings
        return [one for one in findings if not silences.covers(one.rule_id, one.path, one.match_hash)]

    def mask(self, text: str) -> str:
        """Returns the text with secrets and personal data as tokens such as ``[secret:aws-access-key-id:3f9a2c]``."""
        return self._redaction.text(text)

    def masked(self, text: str, key: str = "") -> MaskedText:
        """Returns the text as `mask` does, with the ranges that were replaced.

        Args:
            text: The text.
            key: The nearest key above it, which may name a secret.
        """
        return self._redaction.masked(text, key)

    def text_hash(self, text: str) -> str:
        """Returns the keyed hash of a text: equal for equal texts of one deployment."""
        return self._hash(text)

    def mask_value(self, value: object) -> object:
        """Returns the value as plain JSON types with every text and every key in it redacted."""
        return self._redaction.value(value)

    def private(self, text: str, key: str = "") -> list[PrivateSpan]:
        """Returns the places of secrets and personal data in a text, in their order; silences do not apply.

        Args:
            text: The text.
            key: The nearest key above it, which may name a secret.

        Raises:
            UnsearchableError: The text could not be searched to its end.
        """
        return self._redaction.spans(text, key) if text else []

    def open_matches(self) -> OpenMatches | None:
        """Returns what tells, in a text that arrives in pieces, where the earliest match to be replaced is still open.

        The first call reads the expressions of the rules, which takes some tenths of a second.

        Returns:
            ``None`` where a rule in force may match across a whole text, so that none of it is decided before its end.
        """
        return self._watch() if self._watch is not None else None

    @cached_property
    def _watch(self) -> Callable[[], OpenMatches] | None:
        from cylestio_monitor.scan import open_matches  # noqa: PLC0415 -- few policies redact streamed answers

        rules = self._rule_set.masking()
        is_local = all(rule.regex and not (rule.least or rule.unfold or rule.reads_statement) for rule in rules)
        return partial(open_matches.OpenMatches, open_matches.automaton_of(tuple(rules))) if is_local else None

    def _derived(
        self, text: str, whole: str, path: str, target: Target, known: list[Finding], limits: Limits
    ) -> list[Finding]:
        """Returns the findings in a text that an argument executes in another shape, apart from those known.

        Args:
            text: The text.
            whole: The argument, in which the findings are placed as far as it contains the text.
            path: The place of the argument.
            target: The side of the call.
            known: Findings of the call.
            limits: Bounds of the search.
        """
        reported = {(one.rule_id, one.path) for one in known}
        matches = self._search.matches(text, target, "tool_call", limits=limits)
        found = [
            one
            for one in self._findings(without_doubles(matches), text, target, "tool_call", path)
            if one.category in tool_call.JUDGED and (one.rule_id, path) not in reported
        ]
        at = whole.find(text)
        start, end = (0, len(whole)) if at < 0 else (at, at + len(text))
        return [replace(one, start=start, end=end) for one in {one.rule_id: one for one in found}.values()]

    def _judged(
        self, text: str, target: Target, subtype: Subtype, path: str, found: Iterable[Finding]
    ) -> list[Finding]:
        """Returns the finding of the learned model where no rule found an injection; its reason names the features."""
        rule = self._learned
        if rule is None or (target, subtype) not in self._judged_surfaces or len(text) < learned.SHORTEST:
            return []
        if any(one.category in learned.CATEGORIES for one in found):
            return []
        judgement = learned.classifier().judge(text, subtype)
        if judgement is None:
            return []
        made = self._findings([Match(rule, judgement.start, judgement.end)], text, target, subtype, path)
        return [replace(one, reason=", ".join(judgement.features)) for one in made]

    def _findings(
        self,
        matches: Iterable[Match],
        text: str,
        target: Target,
        subtype: Subtype,
        path: str,
        *,
        silenced: bool = False,
    ) -> list[Finding]:
        found = []
        for rule, start, end in matches:
            match_hash = self._hash(text[start:end])
            severity, alert = rule.severity, rule.alert
            if subtype == "system" and system_prompt.is_wording(rule) and self._rule_set.has_package_severity(rule):
                severity, alert = system_prompt.MOST, ALERT_OF[system_prompt.MOST]
            if rule.category == "sensitive_data" and is_own(text, start, target, subtype):
                severity, alert = "none", "none"
            if self._silences and self._silences.covers(rule.rule_id, path, match_hash):
                if not (silenced and rule.category in MASKED_CATEGORIES):
                    continue
                severity, alert = "none", "none"
            found.append(
                Finding(
                    rule_id=rule.rule_id,
                    category=rule.category,
                    severity=severity,
                    alert=alert,
                    target=target,
                    subtype=subtype,
                    path=path,
                    start=start,
                    end=end,
                    owasp=rule.owasp,
                    atlas=rule.atlas,
                    match_hash=match_hash,
                )
            )
        return found

    def _hash(self, match: str) -> str:
        """Returns the hash of a matched text with the key of the deployment."""
        return match_hash(match, self._key)


def _sorted(found: list[Finding], budget: Budget, target: Target, subtype: Subtype, path: str) -> list[Finding]:
    """Returns the findings by place, and the finding of an incomplete scan at the end."""
    if len(found) > 1:
        found.sort(key=lambda finding: (finding.start, finding.rule_id))
    if budget.reason:
        found.append(incomplete(budget.reason, target=target, subtype=subtype, path=path))
    return found


def _bundles(found: Iterable[Leaf]) -> Iterator[list[Leaf]]:
    """Gives the leaves in bundles of about the size that is searched together."""
    some: list[Leaf] = []
    length = 0
    for leaf in found:
        some.append(leaf)
        length += len(leaf.text)
        if length >= _BUNDLE:
            yield some
            some, length = [], 0
    yield some


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
