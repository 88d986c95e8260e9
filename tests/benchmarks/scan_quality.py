"""Findings of the scanner in corpora: rates by family and corpus, noisiest rules, personal data, evasions, parity."""

from __future__ import annotations

import base64
import codecs
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from corpora import Row, family, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cylestio_monitor.model import Finding
    from cylestio_monitor.scan import Scanner

Table = list[tuple[str, ...]]

KINDS = {
    "CREDIT_CARD": ("pii.card",),
    "IBAN_CODE": ("pii.iban",),
    "EMAIL_ADDRESS": ("pii.email",),
    "PHONE_NUMBER": ("pii.phone",),
    "US_SSN": ("pii.us-ssn", "pii.us-ssn-plain"),
    "IP_ADDRESS": ("pii.ipv4", "pii.ipv6"),
    "DOMAIN_NAME": ("pii.url",),
}
LEET = str.maketrans("aeiost", "431057")
EVASIONS: dict[str, Callable[[str], str]] = {
    "zero-width characters": "\u200b".join,
    "full-width letters": lambda text: text.translate({code: code + 0xFEE0 for code in range(33, 127)}),
    "look-alike letters": lambda text: text.translate(
        str.maketrans("aeopcxi", "\u0430\u0435\u043e\u0440\u0441\u0445\u0456")
    ),
    "combining marks": lambda text: "".join(c + "\u0301" if c.isalpha() else c for c in text),
    "tag characters": lambda text: "".join(chr(0xE0000 + ord(c)) if 31 < ord(c) < 127 else c for c in text),
    "upper case": str.upper,
    "doubled blanks": lambda text: text.replace(" ", "   "),
    "leetspeak": lambda text: text.translate(LEET),
    "letter spacing": " ".join,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "percent encoding": quote,
    "character references": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "ROT13": lambda text: codecs.encode(text, "rot13"),
    "escapes": lambda text: "".join(f"\\x{ord(c):02x}" if ord(c) < 256 else c for c in text),
}
LEAVES = " (by leaf)"


def scanned(scanner: Scanner, row: Row, value: object = None) -> list[Finding]:
    """The findings of a row that count: alarms, and of texts about secrets those of secrets only.

    Args:
        scanner: The scanner.
        row: The row.
        value: The arguments of a tool call, to be scanned leaf by leaf in place of the row's text.
    """
    places: dict[str, Any] = {"target": row.target, "subtype": row.surface}
    found = scanner.text(row.text, **places) if value is None else scanner.value(value, **places)
    found = [finding for finding in found if finding.alert != "none"]
    if row.kind in {"secret", "non-secret"}:
        found = [finding for finding in found if finding.category == "secret"]
    return found


class Tally:
    """Counts of texts, of texts with an alarm and of those with a dangerous one, by key; and rules of false alarms."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self.corpora: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        self.rules: Counter[str] = Counter()
        self.harmless = 0

    def add(self, row: Row, found: list[Finding], note: str = "") -> None:
        """Counts a row; `note` tells rows of one corpus apart that are scanned in two ways."""
        entry = self.corpora[row.label, family(row) + note, row.corpus, "unseen" if unseen(row) else "development"]
        entry[0] += 1
        entry[1] += bool(found)
        entry[2] += any(finding.alert == "dangerous" for finding in found)
        if not row.label and not note:
            self.harmless += 1
            self.rules.update({finding.rule_id for finding in found})

    def families(self) -> Table:
        """Rows by family and split."""
        merged: dict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for (label, name, _, split), counts in self.corpora.items():
            merged[label, name, split] = [a + b for a, b in zip(merged[label, name, split], counts, strict=True)]
        return [
            ("hostile" if label else "harmless", name, split, *rates(counts))
            for (label, name, split), counts in sorted(merged.items())
        ]

    def by_corpus(self) -> Table:
        """Rows by corpus and split."""
        ordered = sorted(self.corpora.items(), key=lambda item: (item[0][0], item[0][2:]))
        return [
            ("hostile" if label else "harmless", corpus + LEAVES * name.endswith(LEAVES), split, *rates(counts))
            for (label, name, corpus, split), counts in ordered
        ]

    def noisiest(self, most: int = 20) -> Table:
        """The rules with the most false alarms."""
        return [
            (f"`{rule}`", str(count), f"{100 * count / max(self.harmless, 1):.3f} %")
            for rule, count in self.rules.most_common(most)
        ]


def rates(counts: list[int]) -> tuple[str, str, str]:
    """Number of texts, and shares with an alarm and with a dangerous one."""
    texts, hits, grave = counts
    return f"{texts:,}", f"{100 * hits / texts:.2f} %", f"{100 * grave / texts:.2f} %"


def quality(scanner: Scanner, rows: Iterable[Row]) -> Tally:
    """Counts what is found in each row, and of tool calls whose text is JSON also what is found leaf by leaf."""
    tally = Tally()
    for row in rows:
        if row.kind == "pii":
            continue
        tally.add(row, scanned(scanner, row))
        if row.surface == "tool_call" and row.text.lstrip()[:1] in {"{", "["}:
            try:
                value = json.loads(row.text)
            except ValueError:
                continue
            tally.add(row, scanned(scanner, row, value), LEAVES)
    return tally


def personal(scanner: Scanner, rows: Iterable[Row]) -> Table:
    """Precision, recall and F1 per kind of personal data, by overlap."""
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        if row.kind != "pii":
            continue
        found = scanner.text(row.text, target="input", subtype="llm")
        for kind, rules in KINDS.items():
            mine = [f for f in found if f.rule_id in rules]
            real = [(start, end) for name, start, end in row.spans if name == kind]
            hit = sum(any(f.start < end and start < f.end for f in mine) for start, end in real)
            wrong = sum(not any(f.start < end and start < f.end for start, end in real) for f in mine)
            for place, count in enumerate((hit, len(real) - hit, wrong)):
                tally[kind][place] += count
    tally["all of these"] = [sum(column) for column in zip(*tally.values(), strict=True)] or [0, 0, 0]
    table = []
    for kind, (hit, missed, wrong) in tally.items():
        recall, precision = hit / max(hit + missed, 1), hit / max(hit + wrong, 1)
        f_score = 2 * hit / max(2 * hit + missed + wrong, 1)
        table.append((kind, f"{precision:.2f}", f"{recall:.2f}", f"{f_score:.2f}"))
    return table


def evasion(scanner: Scanner, rows: Iterable[Row], sample: int = 60) -> Table:
    """Recall kept under each evasion, of ASCII injections that rules find in plain."""
    plain = [
        row for row in rows if row.kind in {"injection", "jailbreak"} and row.text.isascii() and len(row.text) < 3000
    ]
    plain = [row for row in plain if any(f.rule_id != "learned.injection" for f in scanned(scanner, row))][:sample]
    table = []
    for name, disguise in EVASIONS.items():
        kept = sum(bool(scanned(scanner, row._replace(text=disguise(row.text)))) for row in plain)
        table.append((name, f"{100 * kept / max(len(plain), 1):.0f} %"))
    return table


def parity(scanner: Scanner, plain: Scanner, rows: list[Row], every: int = 8) -> str:
    """What both engines find in every so many texts, in one sentence; names the texts in which they differ."""
    chosen = rows[::every]
    different = [
        row.id
        for row in chosen
        for places in [{"target": row.target, "subtype": row.surface}]
        if scanner.text(row.text, **places) != plain.text(row.text, **places)  # type: ignore[arg-type]
    ]
    names = f": {', '.join(different[:20])}" if different else ""
    return f"Of {len(chosen):,} texts, the two engines find something else in {len(different)}{names}."
