"""What polar and inverse-root iterations share: products counted, the spectrum looked at, transitions taken."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.extensions._dense import MatrixReport, combine, ends_of, rounding
from nnla.extensions.minimax import LEARNED, PARAMETERS, Stage, degrees_for, plan, stage
from nnla.report import Status, library_versions
from nnla.types import real_number

__all__ = ["Check", "Run", "next_transition"]

_LOOK = 32  # Lanczos steps on each Gram matrix
_RESOLVED = 0.7  # residual over Ritz value up to which the lower end counts as known
# What is assumed of a lower end (squared) that is not, relative to its Ritz value. Too low costs more than too high:
# a polynomial made for smaller values than there are takes others down to where those would be.
_SHRINK = 0.5
_DEFAULT_RTOL = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.05, "float16": 0.01}


@dataclass(frozen=True)
class Check:
    """Singular values behind a Gram matrix: ends, the error max |sigma^2 - 1|, whether the lower end is known.

    `lowest` is the smallest Ritz value of G - I as it is.
    """

    lower: float
    upper: float
    error: float
    resolved: bool
    lowest: float


class Run:
    """The counters of one iteration, and its transitions as they are taken."""

    def __init__(self, X: Any, rtol: float | None, maxsteps: int, seed: int, method: str) -> None:
        self.dtype = str(X.dtype).rsplit(".", 1)[-1]
        self.rtol = _DEFAULT_RTOL.get(self.dtype, 1e-5) if rtol is None else real_number(rtol, "rtol")
        if not self.rtol > 0:
            raise OptionError(f"rtol must be positive, got {rtol!r}")
        if isinstance(maxsteps, bool) or not isinstance(maxsteps, (int, np.integer)) or maxsteps < 1:
            raise OptionError(f"maxsteps must be a positive integer, got {maxsteps!r}")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise OptionError(f"seed must be an integer of at least 0, got {str(seed)[:60]}")
        self.started = time.perf_counter()
        self.eps, self.maxsteps, self.seed, self.method = rounding(X), maxsteps, seed, method
        self.rng = np.random.default_rng(seed)
        self.products = self.checks = self.probes = 0
        self.steps: list[int] = []
        self.coefficients: list[list[float]] = []
        self.history: list[float] = []
        self.fallback: str | None = None
        self.interval = (math.nan, math.nan)

    def multiply(self, X: Any, Y: Any) -> Any:
        self.products += 1
        return X @ Y

    def check(self, G: Any) -> Check:
        """Where the singular values behind the Gram matrix G are, by Lanczos on G - I.

        Raises
        ------
        NonFiniteError
        """
        ends = ends_of(G, _LOOK, self.rng)
        self.probes += ends.steps
        error = max(abs(ends.low), abs(ends.high))
        high = 1 + ends.high + min(ends.high_residual, 0.05 * abs(ends.high))
        low = max(1 + ends.low, 0.0)
        # a Ritz value is off by about residual^2 / gap, and at the lower end the gap is about the value itself
        share = ends.low_residual / low if low > 0 else math.inf
        resolved = share < _RESOLVED
        low = low * (1 - share**2) if resolved else _SHRINK * low
        floor = 16 * self.eps
        return Check(math.sqrt(max(low, floor**2)), math.sqrt(max(high, floor)), error, resolved, ends.low)

    def take(self, G: Any, coefficients: tuple[float, ...]) -> Any:
        """c(G): no product for degree 3, one for 5, two for 9 (Paterson and Stockmeyer), three for 17 (learned)."""
        c = [float(value) for value in coefficients]
        degree = LEARNED if len(c) == PARAMETERS else 2 * len(c) - 1
        self.steps.append(degree)
        self.coefficients.append(c)
        if len(c) == 2:
            return combine(c[0], [(c[1], G)])
        G2 = self.multiply(G, G)
        if len(c) == 3:
            return combine(c[0], [(c[1], G), (c[2], G2)])
        if degree == LEARNED:
            a1, a2, b1, b2, b3, b4, *c = c
            G4 = self.multiply(combine(0.0, [(1.0, G2), (a1, G)]), combine(0.0, [(1.0, G2), (a2, G)]))
            left, right = (combine(0.0, [(1.0, G4), (f, G2), (g, G)]) for f, g in ((b1, b2), (b3, b4)))
            return combine(c[0], [(c[1], G), (c[2], G2), (c[3], G4), (c[4], self.multiply(left, right))])
        tail = self.multiply(G2, combine(0.0, [(c[3], G), (c[4], G2)]))
        return combine(c[0], [(c[1], G), (c[2], G2), (1.0, tail)])

    def report(self, status: Status, error: float, bound: float, why: str | None = None, **known: Any) -> MatrixReport:
        """The report; `known` are the fields that not every iteration has."""
        return MatrixReport(
            status, status == Status.CONVERGED, self.method, error, bound, self.rtol, self.steps, self.products,
            self.checks, self.probes, self.coefficients, self.interval, self.history, self.fallback or why,
            self.dtype, self.seed, {"total": time.perf_counter() - self.started}, library_versions(), **known,
        )  # fmt: skip


def next_transition(seen: Check, tol: float, eps: float, extra: int = 0) -> Stage:
    """The transition to take from where the singular values are.

    The first of the planned ones where the lower end is known. Where it is not, the one that lifts small singular
    values most per product: its coefficients hardly depend on the lower end, the length of the plan does.

    Cost: that of `plan` or, for an unknown lower end, of `stage` for each degree; no products.

    References
    ----------
    As `nnla.extensions.minimax.plan`.
    """
    ratio = min(max(seen.lower / seen.upper, 1e-16), 1.0)
    if seen.resolved:
        steps = plan(ratio, max(tol, 2 * eps), eps=eps, extra=extra)
        return stage(steps[0] if steps else 3, ratio, eps)
    options = [stage(degree, ratio, eps) for degree in degrees_for(eps) if degree != LEARNED]
    return max(options, key=lambda p: math.log(p.low / p.high / ratio) / (p.products + extra))
