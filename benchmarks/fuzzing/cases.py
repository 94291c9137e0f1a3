"""One call of the library with its judge, and what became of it."""

from __future__ import annotations

import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla import errors

#: What a case may come to; those of `FAILURES` are faults of the library.
OUTCOMES = ("right", "stated", "error", "wrong", "missed", "raw", "warned", "touched", "threads", "hang", "crash")
FAILURES = OUTCOMES[3:]
LIMIT = 10.0  # seconds of the processor's time for one call
PATIENCE = 6.0


class CallLimitError(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


class UsersError(Exception):
    """Raised by functions that a case hands over; it has to come out as it is."""


@dataclass
class Case:
    """One call and what is needed to judge it.

    Attributes
    ----------
    text : the call, for people
    call : makes it
    judge : (answer, whether the library warned) -> (outcome, why)
    arrays : must be the same, bit for bit, after the call
    refusals : names of the errors that are right here; None for any error of `nnla.errors`
    must_refuse : an answer is wrong
    """

    text: str
    call: Callable[[], Any]
    judge: Callable[[Any, bool], tuple[str, str]]
    arrays: list[np.ndarray] = field(default_factory=list)
    refusals: tuple[str, ...] | None = ()
    must_refuse: bool = False


def right(why: str = "") -> tuple[str, str]:
    return "right", why


def wrong(why: str) -> tuple[str, str]:
    return "wrong", why


def carry_out(case: Case, limit: float = LIMIT) -> tuple[str, str]:
    """Make the call and judge it: (outcome, why)."""
    kept = [array.tobytes() for array in case.arrays]
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            with time_limit(limit):
                answer = case.call()
    except CallLimitError:
        return "hang", f"no answer within {limit:g} s"
    except UsersError:
        outcome = "error", "the user's own"
    except errors.NNLAError as error:
        outcome = _judge_error(case, error)
    except Exception:
        outcome = "raw", traceback.format_exc(limit=-4)
    else:
        if case.must_refuse:
            return "wrong", f"accepted: {_short(answer)}"
        leaked = [w for w in heard if not _meant(w)]
        if leaked:
            return (
                "warned",
                f"{leaked[0].category.__name__}: {leaked[0].message} ({leaked[0].filename}:{leaked[0].lineno})",
            )
        outcome = case.judge(answer, bool(heard))
    if any(before != array.tobytes() for before, array in zip(kept, case.arrays, strict=True)):
        return "touched", "an argument was changed"
    return outcome


def _meant(warning: warnings.WarningMessage) -> bool:
    """A warning that the library gives on purpose, or one of PyTorch about itself."""
    own = getattr(errors, "NotConvergedWarning", None)
    return (own is not None and issubclass(warning.category, own)) or "beta state" in str(warning.message)


def _judge_error(case: Case, error: errors.NNLAError) -> tuple[str, str]:
    name, text = type(error).__name__, str(error)
    if name == "NNLAError":
        return "raw", f"the base class: {text}"
    if not text or "\n" in text:
        return "wrong", f"{name} without a one-line message: {text!r}"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if case.refusals is not None and not kinds.intersection(case.refusals):
        return ("wrong" if case.must_refuse else "missed"), f"{name}: {text}"
    return "error", name


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:200]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `CallLimitError` after so many seconds of the processor's time, or `PATIENCE` times as many by the clock.

    Where the system has no alarms, afterwards. A busy machine makes no call slow in this sense.
    """
    if not hasattr(signal, "setitimer"):
        started = time.process_time()
        yield
        if time.process_time() - started > seconds:
            raise CallLimitError
        return

    def ring(signum: int, frame: Any) -> None:
        raise CallLimitError

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE * seconds))
    old = [(number, signal.signal(number, ring)) for number, _, _ in timers]
    for _, timer, limit in timers:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0.0)
        for number, handler in old:
            signal.signal(number, handler)
