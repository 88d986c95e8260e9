"""The exceptions that this package raises on purpose, and the words that messages share.

Monitoring itself never raises into the application; these are for what the user asked for: a block that was switched
on, and a setting or rule that cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.model import Finding


class CylestioError(Exception):
    """The base of every error of this package."""


class BlockedError(CylestioError, ValueError):
    """A call was refused before anything left the process, because the user switched blocking on.

    Attributes:
        findings: What the refusal rests on, the most severe first. Never the matched text.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        """Keeps the findings beside the message.

        Args:
            message: One sentence for the log: what was blocked, by which rule.
            findings: The findings that led to the verdict.
        """
        super().__init__(message)
        self.findings = tuple(findings)


class RateLimitedError(BlockedError):
    """A call was refused because a limit is used up.

    Attributes:
        retry_after: Seconds until a call fits again.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = (), *, retry_after: float = 0.0) -> None:
        """Keeps the seconds beside the message.

        Args:
            message: One sentence for the log: the call and the limit.
            findings: The findings of the call.
            retry_after: Seconds until a call fits again.
        """
        super().__init__(message, findings)
        self.retry_after = retry_after


class ConfigError(CylestioError, ValueError):
    """A setting, a keyword list or a rule file that cannot be used.

    Attributes:
        source: The file, or the environment variable.
        line: The line in the file, from 1; ``None`` for an environment variable.
        key: The dotted key, such as ``store.max_bytes``; empty for the file as a whole.
        reason: What is wrong with it.
        used: What the package does instead, such as ``Cylestio uses "block"``; empty where it is not known.
    """

    def __init__(self, reason: str, *, source: str, line: int | None = None, key: str = "", used: str = "") -> None:
        """Builds the one line that names file, line and key.

        Args:
            reason: What is wrong, without the place.
            source: The file's path or the variable's name.
            line: The line from 1, where there is one.
            key: The dotted key.
            used: What the package does instead.
        """
        where = f"{source}:{line}" if line is not None else source
        text = f"{reason}; {used}" if used else reason
        super().__init__(f"{where}: {key}: {text}" if key else f"{where}: {text}")
        self.used = used
        self.source = source
        self.line = line
        self.key = key
        self.reason = reason

    def but_used(self, used: str) -> ConfigError:
        """Returns the same problem with what the package does instead, where nothing says that yet."""
        if self.used:
            return self
        return ConfigError(self.reason, source=self.source, line=self.line, key=self.key, used=used)


class StoreError(CylestioError):
    """The local store cannot be used: nothing can be written there, or a newer version of the package wrote it."""


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun in singular or plural, such as ``1 call`` and ``1,200 calls``.

    Args:
        count: How many there are.
        noun: The noun in singular; its plural must end in ``s``.
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"
