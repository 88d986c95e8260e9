"""`cylestio ui` as a process of its own, and the session of a browser that opened its link."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Served(NamedTuple):
    """A running server.

    Attributes:
        origin: Its origin, such as ``http://127.0.0.1:8765``.
        link: The path of the login link; it works once.
        path: The database.
    """

    origin: str
    link: str
    path: Path

    def login(self, browser: Any) -> Any:
        """Opens the link in the browser; the session that comes of it, for other contexts."""
        context = browser.new_context()
        page = context.new_page()
        page.goto(self.origin + self.link)
        assert page.url == f"{self.origin}/", page.url
        state = context.storage_state()
        context.close()
        return state


def environ(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a user who has just logged in, and those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYLESTIO_", "XDG_"))}
    return {**kept, "HOME": str(home), **variables}


@contextmanager
def served(path: Path, *, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A server over a store.

    Args:
        path: The database; it may be missing.
        variables: Environment variables beside those of `environ`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).parent / "cylestio"), "--db", str(path), "ui"]
    with (path.parent / "ui.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=path.parent,
            env=environ(path.parent, variables or {}),
        )
        try:
            link = process.stdout.readline().strip()
            if not link:
                log.seek(0)
                raise AssertionError(log.read()[-3000:])
            parts = urlsplit(link)
            yield Served(f"{parts.scheme}://{parts.netloc}", parts.path, path)
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()
