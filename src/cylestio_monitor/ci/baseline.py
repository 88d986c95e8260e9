"""Baselines: the accepted findings of a project, so that a build fails for new ones only."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from cylestio_monitor.errors import CylestioError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cylestio_monitor.ci.findings import PlacedFinding

_VERSION = 1


def load(path: Path) -> Counter[tuple[str, str, str]]:
    """Reads a baseline: how often each combination of rule, file and match hash is accepted.

    Raises:
        CylestioError: The file cannot be read, or is no baseline.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        entries = document["findings"]
        if document["version"] != _VERSION:
            raise CylestioError(f"{path}: has version {document['version']}, this release reads version {_VERSION}")
        return Counter({(one["rule"], one["file"], one["hash"]): int(one["count"]) for one in entries})
    except OSError as error:
        raise CylestioError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CylestioError(f"{path}: is no baseline of `cylestio`") from error


def save(path: Path, findings: Iterable[PlacedFinding]) -> None:
    """Writes a baseline that accepts these findings. It holds keyed hashes of the matches, never the matches."""
    counts = Counter(map(_identity, findings))
    entries: list[dict[str, Any]] = [
        {"rule": rule, "file": file, "hash": match_hash, "count": count}
        for (rule, file, match_hash), count in sorted(counts.items())
    ]
    try:
        path.write_text(json.dumps({"version": _VERSION, "findings": entries}, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise CylestioError(f"{path}: {error.strerror}") from error


def new(findings: Iterable[PlacedFinding], accepted: Counter[tuple[str, str, str]]) -> list[PlacedFinding]:
    """Returns the findings that exceed the baseline; a finding that has moved within its file is still accepted."""
    left = Counter(accepted)
    result = []
    for finding in findings:
        identity = _identity(finding)
        if left[identity] > 0:
            left[identity] -= 1
        else:
            result.append(finding)
    return result


def _identity(finding: PlacedFinding) -> tuple[str, str, str]:
    return finding.rule_id, PurePath(finding.file).as_posix(), finding.match_hash
