"""Which singular values of a rounded matrix are more than rounding, and what an iteration makes of the others.

A matrix of low rank, once its entries are rounded, has singular values at rounding level where there were zeros, and
every product of an iteration adds its own. A polar iteration lifts them all to 1, and on the way it takes the others
down to where those are. What tells them apart is the size they started from: the transitions taken so far are one
scalar function, whose values say where a singular value of any size stands by now. Trusted are those of at least

    trust(u) u ||A||_F,

with the unit roundoff u of the dtype. No transition is made for smaller ones; once the trusted ones are near 1, what
is left below is taken to zero, and U is the partial isometry of the polar decomposition on A's row space, which is
unique (Higham, Functions of Matrices, theorem 8.1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.extensions._dense import frobenius, spectrum_ends, wide
from nnla.extensions.minimax import Stage
from nnla.extensions.transitions import Run

__all__ = ["Images", "backward_error", "project", "tolerated", "trust"]

# In units of u ||A||_F. On 600 generated matrices of rank 1 to 25 (3 x 2 to 256 x 256, four dtypes) the largest
# singular value made of rounding stood where one of 0.93 (double, single) or 0.62 (bfloat16, half) had gone.
_NOISE = 1.0
_PROJECTION = (0.0, 2.5, -1.5)  # x^3 (5 - 3 x^2) / 2: 1 stays, to second order, and what is below 0.81 goes to 0
_POINTS = 1500
_PROBE, _FEW = 32, 6  # Lanczos steps


def trust(eps: float) -> float:
    """The smallest singular value that counts, in units of eps ||A||_F: the more, the more sums round on the way.

    Products of bfloat16 and half are summed in single precision and rounded once.
    """
    return 8.0 if eps < 1e-4 else 2.0


def tolerated(eps: float) -> float:
    """The backward error beyond which a factor is not A's: a few transitions' share of `minimax.stage`, and slack."""
    return 1e-6 if eps < 1e-12 else 0.005 if eps < 1e-4 else 0.1


class Images:
    """Where singular values of all sizes stand after the transitions so far.

    Parameters
    ----------
    X : the matrix as it starts, of largest singular value about 1
    eps : unit roundoff of its dtype

    Attributes
    ----------
    trusted : the smallest singular value of X that counts
    noise : one that may be nothing but rounding
    """

    def __init__(self, X: Any, eps: float) -> None:
        size = eps * frobenius(X)
        self.trusted, self.noise = min(trust(eps) * size, 0.5), min(_NOISE * size, 0.25)
        self._start = np.geomspace(0.1 * self.noise, 1.0, _POINTS)
        self._now = self._start.copy()
        self._first = int(np.searchsorted(self._start, self.trusted))

    def follow(self, coefficients: tuple[float, ...], scale: float = 1.0) -> None:
        """Take the transition X <- X c(X'X) that follows a division by `scale`, a bound of what X has by now."""
        x = self._now / scale
        if scale != 1.0:
            x[x > 1.001] = np.nan  # X has no such singular value, or it would be beyond its bound
        p = coefficients if isinstance(coefficients, Stage) else Stage(coefficients, 0.0, 0.0, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            self._now = np.abs(p(x))

    @property
    def lower(self) -> float:
        """Where the lowest of the trusted ones is, or above."""
        return float(np.nanmin(self._now[self._first :], initial=1.0))

    def smallest(self, slack: float) -> float:
        """The smallest start that is within `slack` of 1 by now: where all are, X has no smaller singular value."""
        near = np.flatnonzero(np.abs(self._now - 1) <= slack)
        return float(self._start[near[0]]) if near.size else 1.0


def project(run: Run, X: Any, G: Any) -> tuple[Any, Any, float]:
    """(U, U'U, error): singular values near 1 taken to 1 and those far below to 0; error = ||(U'U)^2 - U'U||_2.

    Cost: three products a step, of which two or three do; one that started next to the threshold may take more.

    References
    ----------
    Higham, Functions of Matrices (2008), section 8.1 (the polar decomposition of a matrix of any rank).
    """
    previous = math.inf
    while True:
        ends = spectrum_ends(_defect(G), wide(G), _PROBE, run.rng)
        run.probes += 2 * ends.steps
        error = max(abs(ends.low), abs(ends.high))
        stuck = previous < 0.02 and error >= 0.5 * previous  # by rounding: a step squares what is so small
        if error <= 0.5 * run.rtol or stuck or len(run.steps) >= run.maxsteps:
            break
        previous = min(previous, error)
        X = run.multiply(X, run.take(G, _PROJECTION))
        G = run.multiply(X.T, X)
    run.checks += 1
    if wide(X) is not X:
        run.checks += 1
        G = run.multiply(wide(X).T, wide(X))
        ends = spectrum_ends(_defect(G), G, _PROBE, run.rng)
        error = max(abs(ends.low), abs(ends.high))
    return X, G, error


def _defect(G: Any) -> Any:
    G = wide(G)

    def apply(v: Any) -> Any:
        w = G @ v
        return G @ w - w

    return apply


def backward_error(run: Run, A: Any, U: Any) -> float:
    """||A - U H||_2 / ||A||_2 with the symmetric part H of U'A, by a few steps of Lanczos; A is tall.

    It does not ask whether U is orthogonal, only whether it is A's: what lost its direction on the way shows here.

    Cost: some 70 products with vectors.
    """
    A, U = wide(A), wide(U)

    def H(v: Any) -> Any:
        return 0.5 * (U.T @ (A @ v) + A.T @ (U @ v))

    def square(v: Any) -> Any:
        w = A @ v - U @ H(v)
        return A.T @ w - H(U.T @ w)

    error = spectrum_ends(square, A, _FEW, run.rng)
    size = spectrum_ends(lambda v: A.T @ (A @ v), A, _FEW, run.rng)
    run.probes += 13 * error.steps
    return math.sqrt(max(error.high, 0.0) / size.high)
