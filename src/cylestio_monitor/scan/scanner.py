"""The one door to the scanner: texts, values and tool definitions in; findings and masked texts out."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cylestio_monitor.model import Finding
from cylestio_monitor.scan import learned, prompt_leak
from cylestio_monitor.scan.matching import named_fields
from cylestio_monitor.scan.matching.catalog import Catalog
from cylestio_monitor.scan.matching.confirm import Match
from cylestio_monitor.scan.matching.search import Search, without_doubles
from cylestio_monitor.scan.readers import full_parsers
from cylestio_monitor.scan.results import redaction
from cylestio_monitor.scan.results.silences import Silences
from cylestio_monitor.scan.stream import TextStream
from cylestio_monitor.scan.walk import Leaf, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from cylestio_monitor.config import Settings
    from cylestio_monitor.errors import ConfigError
    from cylestio_monitor.model import Subtype, Target, ToolDefinition
    from cylestio_monitor.rules import Rule

_log = logging.getLogger(__name__)
_BUNDLE = 4_000  # code points of a value's texts that are looked at together first


class Scanner:
    """Scans texts and values against all rules in force. Safe to use from any thread; never raises.

    Attributes:
        problems: Rules, packs and settings that could not be used; the rest works on.
    """

    def __init__(
        self, settings: Settings, *, key: bytes, cache_dir: Path | None = None, base_dir: Path | None = None
    ) -> None:
        """Prepares the rules.

        Args:
            settings: The settings in force.
            key: The deployment's secret, 32 bytes: what match hashes and masks hang on.
            cache_dir: Where compiled rules are kept, privately; ``None`` keeps none.
            base_dir: What relative paths of packs start from.
        """
        self._catalog = Catalog(settings, cache_dir=cache_dir, base_dir=base_dir)
        self.problems: list[ConfigError] = self._catalog.problems
        self._silences = Silences(settings.rules.silence, self.problems)
        if settings.scan.parsers == "installed":
            self.problems += full_parsers.load()
        self._search = Search(self._catalog, max_length=settings.scan.max_bytes)
        self._prompts = prompt_leak.Prompts()
        self._overlap = next((one for one in self._catalog.plans if one.rule_id == prompt_leak.RULE), None)
        self._learned = next((one for one in self._catalog.plans if one.rule_id == learned.RULE), None)
        self._judged_surfaces = learned.surfaces(self._learned)
        self._key = key[:64]
        self._enabled = settings.scan.enabled

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules in force by id, without their examples."""
        return self._catalog.rules

    @property
    def engine(self) -> str:
        """Name of the engine in use: ``hyperscan`` or ``python``."""
        return self._catalog.texts.engine.name

    def text(self, text: str, *, target: Target, subtype: Subtype, path: str = "") -> list[Finding]:
        """Scans one text.

        Args:
            text: Any text; of one longer than `scan.max_bytes` the two ends.
            target: The side of the call.
            subtype: The surface.
            path: The text's place in the call.

        Returns:
            Findings by place, offsets in code points of `text`.
        """
        if not self._enabled or not text:
            return []
        try:
            matches = self._search.matches(text, target, subtype)
            found = self._findings(matches, text, target, subtype, path) if matches else []
            found += self._judged(text, target, subtype, path, found)
            return self._sorted(found)
        except Exception:  # noqa: BLE001 -- no fault of the scanner reaches the application
            _log.exception("a text could not be scanned")
            return []

    def value(
        self, value: object, *, target: Target, subtype: Subtype, path: str = "", tool: str | None = None
    ) -> list[Finding]:
        """Scans any JSON-like value, such as a tool's arguments, leaf by leaf, with the key of each.

        Args:
            value: Mappings, sequences, texts, numbers, models; what holds itself or raises is survived.
            target: The side of the call.
            subtype: The surface.
            path: The value's place; leaves get paths such as ``arguments.query``.
            tool: Name of the tool, scanned itself when it is called.
        """
        if not self._enabled:
            return []
        found: list[Finding] = []
        try:
            if tool and subtype == "tool_call":
                matches = self._search.matches(tool, target, "tool_name")
                found += self._findings(matches, tool, target, subtype, "name")
            for some in _bundles(leaves(value, path)):
                quiet = len(some) > 1 and self._search.quiet([leaf.text for leaf in some], target, subtype)
                for leaf in some:
                    matches = self._search.matches(leaf.text, target, subtype, quiet=quiet)
                    matches += named_fields.matches(self._catalog, leaf, target, subtype)
                    own = (
                        self._findings(without_doubles(matches), leaf.text, target, subtype, leaf.path)
                        if matches
                        else []
                    )
                    found += own + self._judged(leaf.text, target, subtype, leaf.path, own)
        except Exception:  # noqa: BLE001 -- no fault of the scanner reaches the application
            _log.exception("a value could not be scanned")
        return self._sorted(found)

    def tool_definition(self, tool: ToolDefinition, *, target: Target) -> list[Finding]:
        """Scans what a tool says of itself: name, description, parameters."""
        found = self.text(tool.name, target=target, subtype="tool_definition", path=_join(tool.path, "name"))
        if tool.description:
            place = _join(tool.path, "description")
            found += self.text(tool.description, target=target, subtype="tool_definition", path=place)
        place = _join(tool.path, "parameters")
        found += self.value(tool.parameters, target=target, subtype="tool_definition", path=place)
        if tool.extra is None:
            return found
        return found + self.value(tool.extra, target=target, subtype="tool_definition", path=tool.path)

    def stream(self, *, target: Target, subtype: Subtype, path: str = "") -> TextStream:
        """A text that comes in chunks; see `TextStream`."""
        return TextStream(
            self._search, self._findings, target=target, subtype=subtype, path=path, enabled=self._enabled
        )

    def watch(self, prompts: tuple[str, ...]) -> prompt_leak.PromptLeakDetector | None:
        """What looks for these texts, the system prompt of a call, in its answers; ``None`` where there is no need."""
        plan = self._overlap
        if plan is None or not prompts or not self._enabled:
            return None
        prompt = self._prompts.of(prompts)

        def make(text: str, place: prompt_leak.Span, path: str) -> Finding | None:
            found = self._findings([Match(plan, place.start, place.end)], text, "output", "llm", path)
            return found[0] if found else None

        return prompt_leak.PromptLeakDetector(prompt, make) if prompt else None

    def settle(self, finding: Finding, text: str) -> Finding | None:
        """A finding that another part made of the text, with the hash of its match; ``None`` where it is silenced."""
        match_hash = self._hash(text[finding.start : finding.end])
        if self._silences and self._silences.covers(finding.rule_id, finding.path, match_hash):
            return None
        return replace(finding, match_hash=match_hash)

    def mask(self, text: str) -> str:
        """The text with secrets and personal data replaced by tokens such as ``[secret:aws-access-key-id:3f9a2c]``."""
        return redaction.mask(self._search, self._hash, text)

    def mask_value(self, value: object) -> object:
        """The value with every text in it masked: plain JSON types, keys kept."""
        return redaction.mask_value(self._catalog, self._search, self._hash, value)

    def _judged(
        self, text: str, target: Target, subtype: Subtype, path: str, found: Iterable[Finding]
    ) -> list[Finding]:
        """The finding of the learned model where no rule found an injection; its reason names what weighed most."""
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
        self, matches: Iterable[Match], text: str, target: Target, subtype: Subtype, path: str
    ) -> list[Finding]:
        found = []
        for plan, start, end in matches:
            match_hash = self._hash(text[start:end])
            if self._silences and self._silences.covers(plan.rule_id, path, match_hash):
                continue
            found.append(
                Finding(
                    rule_id=plan.rule_id,
                    category=plan.category,
                    severity=plan.severity,
                    alert=plan.alert,
                    target=target,
                    subtype=subtype,
                    path=path,
                    start=start,
                    end=end,
                    owasp=plan.owasp,
                    atlas=plan.atlas,
                    match_hash=match_hash,
                )
            )
        return found

    def _hash(self, match: str) -> str:
        """Keyed hash of a matched text: 16 hexadecimal digits, the same for the same text in one deployment."""
        return hashlib.blake2b(match.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).hexdigest()

    @staticmethod
    def _sorted(found: list[Finding]) -> list[Finding]:
        if len(found) > 1:
            found.sort(key=lambda finding: (finding.start, finding.rule_id))
        return found


def _bundles(found: Iterable[Leaf]) -> Iterator[list[Leaf]]:
    """The leaves, as many together as one look at all of them is worth."""
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
