"""Ctrl-C at a moment that suits the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupt_asked"]


@contextmanager
def interrupt_asked() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C is only noted; the function that it yields says so. A second one interrupts.

    Where the program has a handler of its own for the signal, or outside of the main thread, nothing is changed.
    """
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield asked.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
