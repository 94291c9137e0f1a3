"""A limit of time for everything that a block of code computes, in native loops and in Python.

Native loops look for signals (Ctrl-C) and for the limit every twentieth of a second at least. Loops in Python call
`check` where an iteration may take long.
"""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType

from nnla.errors import OptionError, TimeLimitError
from nnla.kernels import native

__all__ = ["check", "remaining", "time_limit"]


class _Deadline(threading.local):
    """Of this thread, on the clock of `time.monotonic`."""

    at: float = math.inf


_deadline = _Deadline()


class time_limit:  # noqa: N801  (used as a context, like contextlib's)
    """Within it, native loops and `check` raise `TimeLimitError` once so many seconds have passed.

    Parameters
    ----------
    seconds : None for no limit of its own; 0 ends the first long loop

    Raises
    ------
    OptionError
        A negative number, or NaN.
    TimeLimitError
        Out of whatever runs inside. Objects under construction are released, those that were there stay usable;
        iterates are as the last whole iteration left them.

    Notes
    -----
    Cost: a microsecond. It holds for this thread. Of limits within each other the one that ends first counts.

    Examples
    --------
    >>> import nnla, numpy as np
    >>> with time_limit(60.0):
    ...     x, report = nnla.solve(nnla.problems.poisson2d(20), np.ones(400))
    >>> report.converged
    True
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not seconds >= 0:
            raise OptionError(f"a limit of time is a number of seconds, not negative, or None; got {seconds}")
        self._seconds = seconds
        self._outer: list[float] = []  # the same object may be used again, and within itself

    def __enter__(self) -> time_limit:
        outer = _deadline.at
        self._outer.append(outer)
        if self._seconds is not None:
            _set(min(outer, time.monotonic() + self._seconds))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outer = self._outer.pop()
        if self._seconds is not None:
            _set(outer)


def remaining() -> float:
    """Seconds until the limit of this thread, infinity without one; not below 0.

    >>> remaining()
    inf
    """
    return math.inf if _deadline.at == math.inf else max(0.0, _deadline.at - time.monotonic())


def check() -> None:
    """Raise `TimeLimitError` if the limit of this thread has passed. For loops in Python.

    >>> check()
    """
    if time.monotonic() >= _deadline.at:
        raise TimeLimitError("the limit of time is over; allow more seconds, or a larger tolerance")


def _set(deadline: float) -> None:
    _deadline.at = deadline
    if native is not None:
        native.set_deadline(None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
