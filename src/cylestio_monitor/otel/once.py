"""Parts that are made when they are first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Once(Generic[T]):
    """Makes a part once, in whichever thread needs it first; the others wait for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Makes nothing yet."""
        self._make = make
        self._made: T | None = None
        self._is_done = False
        self._is_making = False
        self.lock = threading.RLock()

    def __call__(self) -> T | None:
        """The part; `None` to what is done by the making itself, such as a span of the libraries it uses.

        Raises:
            Exception: What the making raises; the next who needs the part tries again.
        """
        if not self._is_done:
            with self.lock:
                if not self._is_done and not self._is_making:
                    self._is_making = True
                    try:
                        self._made = self._make()
                        self._is_done = True
                    finally:
                        self._is_making = False
        return self._made

    @property
    def made(self) -> T | None:
        """The part, if it was made."""
        return self._made

    def after_fork(self) -> None:
        """Lets go of a lock that a thread of the parent may have held."""
        self.lock = threading.RLock()
        self._is_making = False
