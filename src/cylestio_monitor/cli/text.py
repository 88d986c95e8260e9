"""The one place where stored text becomes text that a terminal may be given.

What the store holds came from prompts, tool results and servers: it may hold escape sequences that move the cursor,
rename the window, write the clipboard or hide a line, and bidi controls that make a command read as another one.
"""

from __future__ import annotations

import unicodedata

MARK = "…"
"""Stands where text was cut."""


def printable(text: object, limit: int | None = None) -> str:
    r"""The text on one line with every character that is not simply a glyph or a space written as an escape.

    Escaped are C0 and C1 controls, DEL, bidi and other format characters, line and paragraph separators, lone
    surrogates, private and unassigned code points: ESC becomes ``\x1b``, a right-to-left override ``\u202e``.

    Args:
        text: Any value; what is no text is shown by its `str`.
        limit: Longest result in characters, the mark of a cut included.

    Returns:
        Text of printable characters and spaces only.
    """
    raw = text if isinstance(text, str) else str(text)
    if limit is not None:
        # An escape is longer than what it stands for, never shorter: no more than `limit` characters can be needed.
        raw, cut = raw[: limit + 1], len(raw) > limit
        shown = raw if raw.isprintable() else "".join(map(_shown, raw))
        return shown[: max(limit - 1, 0)] + MARK if cut or len(shown) > limit else shown
    return raw if raw.isprintable() else "".join(map(_shown, raw))


def _shown(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    code = ord(char)
    if code < 0x100:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
