"""CG with what is kept: started from the better of two guesses, watched, and gone on from as `nnla.solve` does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.errors import TimeLimitError
from nnla.kernels.interruption import time_limit
from nnla.krylov.solution_space import SolutionSpace
from nnla.linear.decision import SHOWN
from nnla.linear.options import Options
from nnla.linear.polynomial import polynomial_stretches
from nnla.linear.preconditioner import PolynomialPreconditioner
from nnla.linear.prepare import Methods
from nnla.linear.report import solution_of
from nnla.linear.state import Run
from nnla.sequences.kept import SetUp
from nnla.sequences.systems import System
from nnla.types import Solution, Status

__all__ = ["best_start", "iterate", "take_to_the_end"]

_LOOK = 8  # iterations between looks at what runs, at least


def best_start(system: System, b: Any, x0: Any, space: SolutionSpace | None) -> Any:
    """Where CG starts: the caller's guess made better by old solutions, or these alone, whichever is nearer.

    Nearer in the A-norm: the squared norm of the error of x is that of zero minus b'x + r'x, with r = b - A x.

    Cost: two passes over the solutions; a product and two more passes where there is a guess of the caller's.
    """
    if space is None or not len(space) or b.ndim != 1:
        return x0
    alone, energy = space.guess(b)
    if x0 is None:
        return alone
    x = system.op.as_vector(x0, "x0")
    if x.shape != b.shape:
        return x0
    with np.errstate(all="ignore"):
        r = b - system.op.matvec(x)
        correction, more = space.guess(r)
        nearer = float(b @ x + r @ x) + more
    return x + correction if nearer > energy else alone


def take_to_the_end(
    run: Run, x0: Any, options: Options, timeout: float | None, work: Callable[[Run], None]
) -> Solution:
    """Start a run, do some work on it, and where that does not solve it go on from there as `nnla.solve` does."""
    run.deterministic = options.deterministic
    try:
        with time_limit(timeout):
            run.start(x0)
            if not run.finished:
                work(run)
            if not run.finished and run.iterations_left != 0 and run.status is not Status.TIMEOUT:
                run.restore_order()
                run.check()
                Methods(run, options, None).solve()
    except TimeLimitError:
        if timeout is None or time.perf_counter() - run.started < timeout:
            raise  # the caller's own limit
        run.time_out()
    return solution_of(run)


def iterate(run: Run, set_up: SetUp, system: System, step: float, alternative: float, reason: str) -> None:
    """CG with a set-up, left where the rest promises to take longer than the alternative does.

    Parameters
    ----------
    run : started
    set_up, system : the preconditioner and the matrix
    step : expected seconds of an iteration
    alternative : seconds; infinite to go to the end
    reason : for the report
    """
    if set_up.order is not None:
        run.enter_order(set_up.order, system.permuted(set_up.order))
    M = set_up.M
    if isinstance(M, PolynomialPreconditioner):
        run.reason = reason
        for stretch in polynomial_stretches(run, M):
            stretch.advance()
        return
    stretch = run.begin(M, set_up.method, scaling=M.name, reason=reason, note=M.note)
    if alternative < math.inf:
        stretch.advance(max(_LOOK, math.ceil(SHOWN * alternative / step)))
        while stretch.goes_on and _left(run, stretch.result.history) * step <= alternative:
            stretch.advance(max(_LOOK, stretch.result.iterations // 4))
        left = stretch.goes_on
    else:
        stretch.advance()
        left = False
    stretch.end()
    if left and not run.finished:
        run.give_up("what was kept was expected to take longer than setting up anew")


def _left(run: Run, history: list[float]) -> float:
    """Iterations that are left, at the rate of the second half of those done."""
    half = len(history) // 2
    if half < 1:
        return 0.0
    now = min(history[half:])
    gain = math.log(max(min(history[:half]), 1e-300) / max(now, 1e-300)) / (len(history) - half)
    target = float(np.min(run.targets / np.where(run.size > 0, run.size, 1.0)))
    left = math.log(max(now, 1e-300) / max(target, 1e-300))
    return max(left, 0.0) / gain if gain > 0.0 else math.inf
