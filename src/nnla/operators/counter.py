"""Counters that several threads may share."""

from __future__ import annotations

import threading

__all__ = ["Counter"]


class Counter:
    """A number that every thread counts for itself.

    What a call counts between its begin and its end is its own, whatever others do with the same operator meanwhile;
    and no count is lost where two threads add at the same time.

    Examples
    --------
    >>> counter = Counter()
    >>> counter.add(3)
    >>> counter.value
    3
    """

    def __init__(self) -> None:
        self._values: dict[int, int] = {}  # by thread; each thread writes at its own key only

    @property
    def value(self) -> int:
        """What this thread has added."""
        return self._values.get(threading.get_ident(), 0)

    def add(self, count: int) -> None:
        """Add to the number of this thread."""
        thread = threading.get_ident()
        self._values[thread] = self._values.get(thread, 0) + count

    def reset(self) -> None:
        """Set the number of this thread back to 0."""
        self._values.pop(threading.get_ident(), None)
