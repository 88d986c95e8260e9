"""One exchange of each reader as it stands on the wire, from `recordings/`: request, answer, and events of a stream.

Each text that a model or a tool says or reads holds a mark, such as ``zq01x``, that stands nowhere else. A test changes
the rest, and looks for the marks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

MARK = re.compile(r"zq\d\dx")

_FOLDER = Path(__file__).with_name("recordings")


class Payloads(NamedTuple):
    """What is read of one call.

    Attributes:
        request: The body of the request.
        answer: The body of the answer.
        events: The events of the same answer, streamed.
    """

    request: Any = None
    answer: Any = None
    events: Any = ()


def recorded(name: str) -> Payloads:
    """The exchange of a file of the folder."""
    return Payloads(**json.loads((_FOLDER / f"{name}.json").read_text("utf-8"), object_hook=_value))


def names(prefix: str) -> dict[str, Payloads]:
    """The exchanges whose files have names that begin so, by the rest of the name."""
    found = sorted(path.stem for path in _FOLDER.glob(f"{prefix}*.json"))
    return {name.removeprefix(prefix): recorded(name) for name in found}


def _value(found: dict[str, Any]) -> Any:
    """An object of the JSON; bytes, which only an application can hand over, are written as ``{"$bytes": text}``."""
    return found["$bytes"].encode("latin-1") if found.keys() == {"$bytes"} else found
