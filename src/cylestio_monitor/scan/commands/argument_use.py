"""Decides by the names of tool and argument what happens to an argument: it is executed, written or searched for."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Use(Enum):
    """The use that a tool makes of an argument."""

    SHELL = "shell"
    SQL = "sql"
    CODE = "code"
    WRITTEN = "written"
    SEARCHED = "searched"
    UNKNOWN = "unknown"


def _names(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|_)(?:{'|'.join(words)})(?:_|s?$)")


_SHELL_TOOLS = _names(
    "bash", "z?sh", "shell", "terminal", "exec", "execute", "console", "powershell", "pwsh", "cmd", "command",
    "ssh", "run",
    "process", "subprocess", "spawn", "executor", "runner", "invoke", "cli", "(?:shell|bash|terminal)_?tool",
)  # fmt: skip
_SQL_TOOLS = _names(
    "sql", "psql", "postgres(?:ql)?", "mysql", "sqlite", "database", "db", "bigquery", "snowflake", "duckdb",
    "run_query",
    "execute_query", "query",
)  # fmt: skip
_CODE_TOOLS = _names(
    "python\\d?", "repl", "jupyter", "ipython", "notebook", "code", "node", "javascript", "js", "ruby", "perl",
    "eval",
    "interpreter", "sandbox",
)  # fmt: skip
_WRITING_TOOLS = _names(
    "write", "edit", "create", "update", "send", "post", "comment", "save", "append", "insert", "replace", "note",
    "memory",
    "remember", "e?mail", "message", "issue", "ticket", "page", "think", "ask", "reply", "publish", "notify",
    "document",
    "patch", "commit",
)  # fmt: skip
_SEARCHING_TOOLS = _names(
    "(?:web|file|code|doc|google)?search(?:er)?", "(?:rip)?grep", "rg", "find", "look_?up", "glob", "fetch",
    "retriev(?:e|er|al)", "browse", "web", "google", "bing", "duck_?duck_?go", "tavily", "serp(?:api|er)?", "brave",
    "exa", "perplexity", "wiki(?:pedia)?", "arxiv", "pubmed", "knowledge(?:_?base)?", "kb", "rag", "docs", "faq",
    "index", "vector_?(?:store|db)?", "recall",
)  # fmt: skip

_SHELL_KEYS = _names("command", "cmd", "commands", "shell", "bash", "keystrokes", "argv", "cmdline", "command_line")
_SQL_KEYS = _names("sql", "statement")
_CODE_KEYS = _names("code", "source_code", "snippet", "expression")
_WRITTEN_KEYS = _names(
    "content", "text", "body", "message", "description", "title", "comment", "new_str(?:ing)?", "old_str(?:ing)?",
    "file_text",
    "subject", "thought", "html", "markdown", "note", "summary", "answer", "question", "reason", "explanation",
    "diff", "patch",
    "data", "value",
)  # fmt: skip
_SEARCHED_KEYS = _names("pattern", "query", "regex", "q", "search", "keyword", "term", "grep", "filter", "needle")
_EITHER_KEYS = _names("query", "q")  # a search text, or what a tool of an unknown kind is to execute
_OPERAND_KEYS = _names("args?", "arguments", "options?", "flags?", "params")  # of a program, also of one that searches
_DESCRIBING_KEYS = _names(
    "description", "title", "comment", "thought", "reason", "explanation", "path", "cwd", "workdir", "timeout",
    "purpose",
    "file_path", "filename", "url", "name",
)  # fmt: skip
_CAMEL_HUMP = re.compile(r"([a-z0-9])([A-Z])")
_QUESTION = re.compile(
    r"\s*(?:what|how|why|when|who|which|does|do|is|are|can|could|should|would|will|explain|describe|tell|recover(?:ing)?|undo"
    r"|prevent(?:ing)?|avoid(?:ing)?|difference|documentation|about|meaning|examples?|tutorial|guide|best|safe|dangers?"
    r"|dangerous|the|an?|my|i)"
    r"\s[^;|&\n`$]*",
    re.IGNORECASE,
)
"""A question or a title in one sentence, without a sign that would begin another command."""

_SQL_START = re.compile(
    r"\s*(?:--[^\n]*\n|/\*.*?\*/|\s|\()*(?:select|with|insert\s+into|update\s+\S+\s+set|delete\s+from|drop|truncate"
    r"|alter|create|explain|begin|start\s+transaction|merge\s+into|grant|revoke|show|describe|pragma|set\s)\b",
    re.IGNORECASE | re.DOTALL,
)


@lru_cache(maxsize=4096)
def use_by_names(tool: str, key: str) -> Use:
    """Returns the use of an argument as far as the names say.

    Args:
        tool: Name of the tool; empty where it is not known.
        key: The nearest key above the argument.
    """
    tool, key = _snake(tool), _snake(key)
    describes = _DESCRIBING_KEYS.search(key) is not None
    if not describes:
        if _SQL_TOOLS.search(tool) and not _SHELL_KEYS.search(key):
            return Use.SQL
        if _CODE_TOOLS.search(tool) and not _WRITTEN_KEYS.search(key):
            return Use.SHELL if _SHELL_KEYS.search(key) else Use.CODE
        if _SHELL_TOOLS.search(tool):
            return Use.SQL if _SQL_KEYS.search(key) else Use.CODE if _CODE_KEYS.search(key) else Use.SHELL
    by_key = (
        (_WRITTEN_KEYS, Use.WRITTEN),
        (_SHELL_KEYS, Use.SHELL),
        (_SQL_KEYS, Use.SQL),
        (_SEARCHED_KEYS, Use.SEARCHED),
        (_CODE_KEYS, Use.WRITTEN if _WRITING_TOOLS.search(tool) else Use.CODE),
    )
    for names, use in by_key:
        if names.search(key):
            return use
    if _SEARCHING_TOOLS.search(tool) and not _OPERAND_KEYS.search(key):
        return Use.SEARCHED
    return Use.WRITTEN if describes or _WRITING_TOOLS.search(tool) else Use.UNKNOWN


def use_of(tool: str, key: str, text: str) -> Use:
    """Returns the use of an argument: by the names, and for a query by its content.

    A query to a tool whose name does not say that it searches is executed, unless it reads as a question or a title.

    Args:
        tool: Name of the tool; empty where it is not known.
        key: The nearest key above the argument.
        text: The argument.
    """
    use = use_by_names(tool, key)
    if use is not Use.SEARCHED or _SEARCHING_TOOLS.search(_snake(tool)):
        return use
    if _SQL_START.match(text):
        return Use.SQL
    is_query = _EITHER_KEYS.search(_snake(key)) is not None
    if is_query and _WRITING_TOOLS.search(_snake(tool)):
        return Use.WRITTEN
    return Use.SHELL if is_query and not _QUESTION.fullmatch(text) else use


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _CAMEL_HUMP.sub(r"\1_\2", name).lower())
