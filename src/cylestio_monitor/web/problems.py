"""The page in place of one that cannot be shown: the reason in plain words, and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.store.sqlite.keys import KEY_VARIABLE, KeyLostError

if TYPE_CHECKING:
    from pathlib import Path


class PageProblem(NamedTuple):
    """The content of the page in place of one that cannot be shown.

    Attributes:
        heading: The heading.
        text: The reason, one or two sentences.
        advice: What helps, one sentence each.
        commands: Commands that help, in the order in which they are run.
    """

    heading: str
    text: str
    advice: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


_NO_STORE: Final = "There is no store yet"
_BUSY: Final = ("locked", "busy")
_DAMAGED: Final = ("malformed", "not a database", "disk I/O error", "is damaged", "no such table", "no such column")
_CLOSED: Final = ("permission denied", "unable to open", "not permitted", "authorization denied", "readonly")
_KEY: Final = ("no key file", KEY_VARIABLE)


def explained(error: Exception, path: Path) -> PageProblem:
    """Explains an error of the store to the person who wanted to see a page.

    Args:
        error: A `StoreError`, or an error of `sqlite3`.
        path: The database.
    """
    message = str(error)
    if is_missing(path):
        commands = ("opentelemetry-instrument python agent.py", "cylestio demo")
        return PageProblem(_NO_STORE, f"{path} does not exist.", ("One of these commands makes one.",), commands)
    if isinstance(error, KeyLostError):
        return PageProblem(
            "The key of the store is missing",
            f"{message}. This page compares keyed hashes or shows sealed content, and can do neither without the key.",
            (
                f"Put the key file back from a backup, or set {KEY_VARIABLE} to the key and start this server again.",
                "The lists, the timelines and the spans do not need the key.",
            ),
        )
    if _has(message, _KEY):
        advice = f"Put the right key file back, or set {KEY_VARIABLE} to the key and start this server again."
        return PageProblem("The key of the store cannot be used", f"{message}.", (advice,))
    if _has(message, _BUSY):
        text = f"Another process holds {path} locked ({message.removeprefix(f'{path}: ')})."
        return PageProblem("The store is busy", text, ("Load the page again in a moment.",))
    if _has(message, _CLOSED):
        advice = "Start this server as the user who runs the monitored programs, or name another store with --db."
        return PageProblem("The store cannot be opened", f"{message}.", (advice,))
    if _has(message, _DAMAGED):
        return PageProblem(
            "The store is damaged",
            f"{message}. The file holds something else than this version has written.",
            (
                "The next monitored program sets the file aside, starts a new one and copies what can still be read.",
                "Nothing was changed by this page.",
            ),
        )
    return PageProblem("The store cannot be read", f"{message}.")


def is_missing(path: Path) -> bool:
    """Tells a store that is not there from one in a folder that may not be looked into."""
    try:
        return not path.exists()
    except OSError:
        return False


def _has(message: str, words: tuple[str, ...]) -> bool:
    folded = message.lower()
    return any(word.lower() in folded for word in words)
