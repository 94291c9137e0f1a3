"""Directions for Newton's method on l_p regression: the exact one, and cheaper ones that it is compared with.

All of them work in an orthonormal basis Q of the range of A (`nnla.problems.lp_regression.Design`). There the Hessian
is Q' diag(w) Q, and a multiple of the identity but for the scatter of the weights w. Most of that scatter is in the few
rows with the largest weights, which `PartialHessian` puts back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import get_lapack_funcs

from nnla.errors import OptionError
from nnla.problems.lp_regression import LpRegression

__all__ = [
    "STEPS",
    "ExactHessian",
    "KeptFactor",
    "NewtonState",
    "PartialHessian",
    "QuasiNewton",
    "Step",
    "largest_weights",
    "partial_direction",
]


_posv, _potrf, _potrs = get_lapack_funcs(("posv", "potrf", "potrs"), dtype=np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class NewtonState:
    """What a direction may be made from, at one iterate of the scaled problem.

    Attributes
    ----------
    problem : LpRegression
    z : (k,) coefficients of ``problem.design.basis``, Q
    r : (m,) residuals Q z - ``problem.target``
    s, w : (m,) first and second derivatives of the objective by the residuals
    gradient : (k,) Q's
    value : of the objective
    size : ||Q's|| / ||s||, the cosine of the angle between s and the range of A
    eps : smoothing, above the problem's while that is still approached
    iteration : steps before this one
    move, change : (k,) last step and what it changed of the gradient; None at the start
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
    """Newton's direction: the Hessian by one product of matrices, solved by Cholesky.

    Notes
    -----
    Cost: m n^2 multiplications, half of them where the BLAS sees the symmetry, as NumPy's products do; n^3 / 3 more.
    Stored: m n numbers, kept from step to step. Where Cholesky's factorisation breaks down, as with weights that
    differ by 1e16, the direction is a least squares solution, by the SVD.
    """

    def __init__(self) -> None:
        self.half = np.zeros((0, 0))

    def hessian(self, state: NewtonState) -> np.ndarray:
        """Q' diag(w) Q, (k, k)."""
        basis = state.problem.design.basis
        if self.half.shape != basis.shape:
            self.half = np.empty(basis.shape)
        np.multiply(basis, np.sqrt(state.w)[:, None], out=self.half)
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

    The rows left take the mean of their weights, which gives a multiple of the identity. The last step corrects the
    inverse (BFGS), as in quasi-Newton methods. Symmetric positive definite: the direction descends.

    Parameters
    ----------
    rows : how many are exact; None for n

    Notes
    -----
    Cost: see `partial_direction`.
    """

    def __init__(self, rows: int | None = None) -> None:
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 0):
            raise OptionError(f"rows must be an integer, not negative, or None, got {rows!r}")
        self.rows = rows

    def __call__(self, state: NewtonState) -> np.ndarray | None:
        m, n = state.problem.design.basis.shape
        top, rest = largest_weights(state.w, min(n if self.rows is None else self.rows, m - 1))
        return partial_direction(state, state.problem.design.basis[top], state.w[top], rest)


def largest_weights(w: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Indices (k,) of the largest weights, and the mean of the others.

    Examples
    --------
    >>> top, rest = largest_weights(np.array([1.0, 7.0, 3.0, 2.0]), 1)
    >>> top.tolist(), rest
    ([1], 2.0)
    """
    m = w.size
    top = w.argpartition(m - k)[m - k :] if k else np.zeros(0, np.int64)
    return top, (float(w.sum()) - float(w[top].sum())) / (m - k)


def partial_direction(state: NewtonState, rows: np.ndarray, weights: np.ndarray, rest: float) -> np.ndarray | None:
    """Direction of the Hessian rest I + rows' diag(weights - rest) rows; None where there is none.

    Parameters
    ----------
    rows : (k, n) some rows of the basis
    weights : (k,) theirs; what is below ``rest`` counts as ``rest``
    rest : weight of all others

    Notes
    -----
    The last step corrects the inverse by BFGS.

    Cost: k n^2 + n^3 / 3 multiplications, or k^2 n + k^3 / 3 for k < n.

    References
    ----------
    Nocedal, Wright, Numerical Optimization (2006), section 6.1 (BFGS). The approximation is this package's.
    """
    if not rest > 0:
        return None
    move, change, q, share, curvature = state.move, state.change, -state.gradient, 0.0, 0.0
    if move is not None and change is not None and (curvature := float(move @ change)) > 0:
        share = float(move @ q) / curvature
        q = q - share * change
    d = _solve(rows * np.sqrt(np.maximum(weights - rest, 0.0) / rest)[:, None], q)
    if d is None:
        return None
    d /= rest
    if curvature > 0 and move is not None:
        d += (share - float(change @ d) / curvature) * move
    return d


def _solve(rows: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """(I + rows' rows)^-1 q, by Woodbury's formula where that is smaller."""
    k, n = rows.shape
    if k < n:
        S = rows @ rows.T
        S.ravel()[:: k + 1] += 1
        _, y, info = _posv(S.T, rows @ q, overwrite_a=True)
        return q - rows.T @ y if info == 0 else None
    H = rows.T @ rows
    H.ravel()[:: n + 1] += 1
    _, d, info = _posv(H.T, q, overwrite_a=True)
    return d if info == 0 else None


class QuasiNewton:
    """L-BFGS directions, from the mean of w as the first guess of the Hessian.

    In the basis that is the factor of A'A, kept for all steps.

    Parameters
    ----------
    pairs : of steps and changes of the gradient that are kept

    Notes
    -----
    Cost: 4 n multiplications a pair.

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

    def __call__(self, state: NewtonState) -> np.ndarray:
        if state.iteration == 0 or state.eps != self.eps:
            self.kept, self.eps = [], state.eps
        if state.move is not None and state.change is not None:
            curvature = float(state.move @ state.change)
            if curvature > 0:
                self.kept = [*self.kept, (state.move, state.change, curvature)][-self.pairs :]
        d, shares = -state.gradient, []
        for move, change, curvature in reversed(self.kept):
            shares.append(float(move @ d) / curvature)
            d = d - shares[-1] * change
        d = d / (float(state.w.sum()) / state.w.size)
        for (move, change, curvature), share in zip(self.kept, reversed(shares), strict=True):
            d += (share - float(change @ d) / curvature) * move
        return d


# What may be named as ``step=``, besides "exact" and "learned"
STEPS: dict[str, Callable[[], Step]] = {"kept": KeptFactor, "partial": PartialHessian, "lbfgs": QuasiNewton}
