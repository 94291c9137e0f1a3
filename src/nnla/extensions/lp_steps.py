"""Directions for Newton's method on l_p regression: the exact one, and cheaper ones that it is compared with.

All of them work on the scaled problem (`nnla.problems.lp_regression.LpRegression`). Where A stays, the Cholesky factor
of A'A does: with it G = (mean w A'A)^-1 is the Hessian's inverse but for the scatter of the weights w. Most of that
scatter is in the few rows with the largest weights, which `PartialHessian` puts back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import get_lapack_funcs

from nnla.errors import OptionError
from nnla.problems.lp_regression import LpRegression

__all__ = ["STEPS", "ExactHessian", "KeptFactor", "NewtonState", "PartialHessian", "QuasiNewton", "Step"]


_posv, _potrf, _potrs = get_lapack_funcs(("posv", "potrf", "potrs"), dtype=np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class NewtonState:
    """What a direction may be made from, at one iterate of the scaled problem.

    Attributes
    ----------
    problem : LpRegression
    z : (n,) coefficients of the columns of unit norm
    r : (m,) residuals ``problem.design.columns @ z - problem.target``
    s, w : (m,) first and second derivatives of the objective by the residuals
    gradient : (n,)
    value : of the objective
    size : norm of the gradient over that of s: the sine of the angle by which s misses the normal equations, or so
    eps : smoothing, above the problem's while that is still approached
    iteration : steps before this one
    move, change : (n,) last step and what it changed of the gradient; None at the start
    """

    problem: LpRegression
    z: np.ndarray
    r: np.ndarray
    s: np.ndarray
    w: np.ndarray
    gradient: np.ndarray
    value: float
    size: float
    eps: float
    iteration: int
    move: np.ndarray | None = None
    change: np.ndarray | None = None


Step = Callable[[NewtonState], Any]


class ExactHessian:
    """Newton's direction (n,): the Hessian by one product of matrices, solved by Cholesky.

    Notes
    -----
    Cost: m n^2 multiplications, half of them where the BLAS sees the symmetry, as NumPy's products do; n^3 / 3 more.
    Stored: m n numbers, kept from step to step. Where Cholesky's factorisation breaks down the direction is a least
    squares solution, by the SVD.
    """

    def __init__(self) -> None:
        self.half = np.zeros((0, 0))

    def hessian(self, state: NewtonState) -> np.ndarray:
        """A' diag(w) A of the scaled problem, (n, n)."""
        columns = state.problem.design.columns
        if self.half.shape != columns.shape:
            self.half = np.empty(columns.shape)
        np.multiply(columns, np.sqrt(state.w)[:, None], out=self.half)
        return self.half.T @ self.half

    def __call__(self, state: NewtonState) -> np.ndarray:
        _, d, info = _posv(self.hessian(state).T, -state.gradient, overwrite_a=True)
        if info == 0 and float(d @ state.gradient) < 0:
            return d
        root = np.sqrt(state.w)
        with np.errstate(divide="ignore", invalid="ignore"):
            target = np.where(root > 0, -state.s / root, 0.0)
        return np.linalg.lstsq(self.half, target, rcond=None)[0]


class KeptFactor:
    """Steps with the Cholesky factor of the first Hessian, kept for all of them.

    Cost: of a step two triangular solves; of the first one a Hessian and its factor.
    """

    def __init__(self) -> None:
        self.exact = ExactHessian()
        self.factor: np.ndarray | None = None
        self.eps = 0.0

    def __call__(self, state: NewtonState) -> np.ndarray | None:
        if state.iteration == 0 or state.eps != self.eps:
            factor, info = _potrf(self.exact.hessian(state).T, overwrite_a=True)
            self.factor, self.eps = factor if info == 0 else None, state.eps
        return None if self.factor is None else _potrs(self.factor, -state.gradient)[0]


class PartialHessian:
    """Newton's direction for a Hessian that is exact in the rows with the largest weights only.

    The rows left take the mean of their weights: a multiple of A'A, which is there once and for all. Symmetric positive
    definite, so that the direction always descends.

    Parameters
    ----------
    rows : how many are exact; None for n

    Notes
    -----
    Cost: rows n^2 + n^3 / 3 multiplications; A'A and its factor once a design.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows

    def __call__(self, state: NewtonState) -> np.ndarray | None:
        columns, w = state.problem.design.columns, state.w
        gram = state.problem.design.gram
        m, n = columns.shape
        k = min(self.rows or n, m - 1)
        top = np.argpartition(w, m - k)[m - k :] if k else np.zeros(0, np.int64)
        own = w[top]
        rest = (float(w.sum()) - float(own.sum())) / (m - k)
        if not rest > 0:
            return None
        half = np.sqrt(np.maximum(own - rest, 0.0))[:, None] * columns[top]
        H = half.T @ half
        H += rest * gram
        _, d, info = _posv(H.T, -state.gradient, overwrite_a=True)
        return d if info == 0 else None


class QuasiNewton:
    """L-BFGS directions, from the inverse of mean w A'A as the first guess of the Hessian's.

    Parameters
    ----------
    pairs : of steps and changes of the gradient that are kept

    Notes
    -----
    Cost: two triangular solves, and 4 n multiplications a pair.

    References
    ----------
    Liu, Nocedal, On the limited memory BFGS method for large scale optimization, Math. Program. 45 (1989) 503-528.
    """

    def __init__(self, pairs: int = 10) -> None:
        if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs < 1:
            raise OptionError(f"pairs must be a positive integer, got {pairs!r}")
        self.pairs = pairs
        self.kept: list[tuple[np.ndarray, np.ndarray, float]] = []
        self.eps = 0.0

    def __call__(self, state: NewtonState) -> np.ndarray | None:
        factor = state.problem.design.factor
        if factor is None:
            return None
        if state.iteration == 0 or state.eps != self.eps:
            self.kept, self.eps = [], state.eps
        if state.move is not None and state.change is not None:
            curvature = float(state.move @ state.change)
            if curvature > 0:
                self.kept = [*self.kept[1 - self.pairs :], (state.move, state.change, curvature)]
                self.kept = self.kept[-self.pairs :]
        d, shares = -state.gradient, []
        for move, change, curvature in reversed(self.kept):
            shares.append(float(move @ d) / curvature)
            d = d - shares[-1] * change
        d = _potrs(factor, d)[0] / (float(state.w.sum()) / state.w.size)
        for (move, change, curvature), share in zip(self.kept, reversed(shares), strict=True):
            d += (share - float(change @ d) / curvature) * move
        return d


# What may be named as ``step=``, besides "exact" and "learned"
STEPS: dict[str, Callable[[], Step]] = {"kept": KeptFactor, "partial": PartialHessian, "lbfgs": QuasiNewton}
