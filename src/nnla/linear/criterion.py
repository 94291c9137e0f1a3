"""When a system counts as solved: the norms that a residual is judged by, and what rounding alone leaves of one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.operators.operator import Operator
from nnla.operators.spaces import Space

__all__ = ["Criterion", "backward_error", "criterion_of", "rounding_only"]

_EPS = float(np.finfo(np.float64).eps)
_UNIFORM = 10.0  # how much further than sqrt(n) a right-hand side has to be from uniform
_ROUNDINGS = 10.0  # of products and of x itself, in units of eps; one more for each sum of a row, at random
_FEW = 0.1  # share of the rows that may be light without a say
_LIGHT = 0.01  # share of the rows below which row sizes that are guesses may be too small by chance


class Criterion:
    """The norms that the residuals of a run are judged by, each in units of the 2-norm of its right-hand side.

    The first is that of b - A x in the user's units; where heavy rows dominate b, two more: ||D^-1/2 r|| and
    ||D^-1 r||, relative to the same of b, for the diagonal D of A.

    Parameters
    ----------
    space : of the vectors
    sizes : (k,) 2-norms of the right-hand sides
    weights : of each norm: None for 1, or (n,)
    factors : of each norm: (k,), by which it becomes comparable with ``sizes``; 0 where a column does not need it
    strict : (k,) by what the targets have to be multiplied for the 2-norm alone to guarantee all of them
    watched : norms to report that are not asked for, or None
    """

    def __init__(
        self,
        space: Space,
        sizes: np.ndarray,
        weights: list[Any],
        factors: list[np.ndarray],
        strict: np.ndarray,
        watched: Criterion | None = None,
    ) -> None:
        self.watched = watched
        self.space, self.sizes, self.strict = space, sizes, strict
        self.plain = len(weights) == 1 and weights[0] is None  # the 2-norm is all there is
        self._weights, self._factors = weights, factors

    def norms(self, r: Any, columns: np.ndarray | None = None) -> Any:
        """The largest of the norms of each column, a float for a vector, comparable with the targets; NaN stays.

        Cost: a pass over r for each norm.
        """
        if self.plain:
            return self.space.norm(r)
        parts = [self._norm(index, r, columns) for index in range(len(self._weights))]
        largest = np.maximum.reduce(parts)
        return float(largest[0]) if r.ndim == 1 else largest

    def relative(self, r: Any) -> tuple[float, float | None]:
        """The largest relative residual in the user's 2-norm, and in the others, watched or asked for; None without."""
        if self.watched is not None:
            return self.watched.relative(r)
        if self.plain and r.ndim == 1:
            return self.space.norm(r) / (float(self.sizes[0]) or 1.0), None
        sizes = np.where(self.sizes > 0, self.sizes, 1.0)
        parts = [float(np.max(self._norm(index, r, None) / sizes)) for index in range(len(self._weights))]
        return parts[0], max(parts[1:]) if len(parts) > 1 else None

    def users_norms(self, r: Any) -> np.ndarray:
        """The 2-norms (k,) in the user's units, but for the power of two of each column."""
        return self._weighted(0, r)

    def met_or_below(self, r: Any, targets: np.ndarray, floor: Any) -> bool:
        """Whether every norm of r meets its target, or is at most that of ``floor``."""
        for index in range(len(self._weights)):
            size = self._norm(index, r, None)
            if not np.all((size <= targets) | (size <= self._norm(index, floor, None))):
                return False
        return True

    def reorder(self, order: np.ndarray) -> Criterion:
        """The same for rows in another order (old numbers)."""
        if self.plain:
            return self
        weights = [None if w is None else w[order] for w in self._weights]
        return Criterion(self.space, self.sizes, weights, self._factors, self.strict)

    def _norm(self, index: int, r: Any, columns: np.ndarray | None) -> np.ndarray:
        factor = self._factors[index] if columns is None else self._factors[index][columns]
        return np.where(factor > 0, self._weighted(index, r) * factor, 0.0)

    def _weighted(self, index: int, r: Any) -> np.ndarray:
        """The norms (k,) of r times a weight."""
        weight = self._weights[index]
        weighted = r if weight is None else r * (weight if r.ndim == 1 else weight[:, None])
        return np.atleast_1d(self.space.norm(weighted))


def criterion_of(op: Operator, b: Any, sizes: np.ndarray, rows: np.ndarray | None) -> Criterion:
    """The norms for a system in the units of a run.

    Parameters
    ----------
    op : S A S
    b : its right-hand sides
    sizes : (k,) their 2-norms, 0 for zero
    rows : exponents of S, None for S = 1

    Notes
    -----
    With b uniform over the rows, ||b|| <= sqrt(10) d ||D^-1 b|| for the d that a tenth of the diagonal is not above,
    whatever the diagonal, and with b on that tenth ||b|| <= d ||D^-1 b||: such systems are judged by ||r|| alone. Where
    the left side exceeds 10 sqrt(n) d ||D^-1 b||, rows heavier than others dominate b (Dirichlet values by a penalty
    are the usual case), and ||r|| <= rtol ||b|| says little of those. Where fewer than a tenth of the rows are light,
    the norms are `watched`: reported, not asked for.
    ||D^-1/2 r|| is the residual of the equilibrated system, and ||D^-1 r|| is in units of x.

    Cost: none where the diagonal spreads by less than that; else a few passes over b.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23. Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 7.3.
    """
    one = np.ones_like(sizes)
    plain = Criterion(op.space, sizes, [None], [one], one)
    spreads = rows is not None and np.ptp(rows) > 0
    low, diagonal = _light(op, b, spreads)
    if diagonal is None:
        return plain
    space = op.space
    if spreads:
        assert rows is not None
        powers = rows.astype(float)
        with np.errstate(over="ignore"):
            weights = [np.exp2(-powers), diagonal**-0.5, np.exp2(powers) / diagonal]
    else:
        with np.errstate(over="ignore"):
            weights = [None, (diagonal / low) ** -0.5, low / diagonal]
    weights = [None if w is None else space.own(w) for w in weights]
    # not the lightest: a few odd rows are no sign of heavy ones elsewhere
    typical = float(np.quantile(diagonal, _FEW, method="higher")) / low
    unit = Criterion(space, sizes, weights, [one] * 3, one)
    parts = [unit._norm(index, b, None) for index in range(3)]
    light = _UNIFORM * math.sqrt(op.n) * parts[2]
    needed = (sizes > 0) & (spreads | (sizes > typical * light))
    if not needed.any():
        if not np.any((sizes > 0) & (sizes > light)):
            return plain
        factors = [np.divide(sizes, part, out=one * 0, where=part > 0) for part in parts]
        return Criterion(space, sizes, [None], [one], one, Criterion(space, sizes, weights, [one, *factors[1:]], one))
    factors = [np.where(needed, np.divide(sizes, part, out=one * 0, where=part > 0), 0.0) for part in parts]
    largest = [1.0 if w is None else float(np.max(space.host(w))) for w in weights]
    bounds = [np.where(f > 0, 1.0 / np.maximum(f * w, 1e-300), 1.0) for f, w in zip(factors, largest, strict=True)]
    factors[0] = np.where(sizes > 0, factors[0], 1.0) if spreads else one
    return Criterion(space, sizes, weights, factors, np.minimum(1.0, np.minimum.reduce(bounds)))


def _light(op: Operator, b: Any, spreads: bool) -> tuple[float, np.ndarray | None]:
    """The lightest diagonal entry and the diagonal (n,) on the host; None where it cannot matter, or is not known."""
    known = op.diagonal_range
    if known is not None:
        low, high = known
        if not spreads and not high > _UNIFORM * math.sqrt(op.n) * low:
            return low, None
        return low, op.space.host(op.scaling_diagonal())
    sizes = op.row_sizes
    if sizes is None or not float(sizes.max()) > 0:
        return 0.0, None
    low = float(np.quantile(sizes, _LIGHT))
    if not low > 0 or not float(sizes.max()) > _UNIFORM * math.sqrt(op.n) * low:
        return low, None
    return low, np.maximum(sizes, low)


def backward_error(op: Operator, b: Any, x: Any, r: Any) -> float:
    """||r|| / (||A|| ||x|| + ||b||), the largest over the columns, with a lower bound of the 2-norm of A.

    Notes
    -----
    A x = b holds exactly for a matrix and a right-hand side that differ by so much, relative to their norms. ||A|| is
    the larger of the largest diagonal entry and ||A x|| / ||x||: the result may be too large, by ||A|| over that
    entry at most, and is never too small.

    Cost: four norms.

    References
    ----------
    Rigal, Gaches, On the compatibility of a given solution with the data of a linear system, J. ACM 14 (1967) 543-548.
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 7.1.
    """
    if r.ndim == 1:  # NumPy's functions would cost more than a small product
        left, length, right, image = (op.space.norm(v) for v in (r, x, b, b - r))
        if 0.0 < left < math.inf and 1e-290 < length < math.inf:
            known = op.diagonal_range
            size = max(0.0 if known is None else known[1], image / length)
            return 1.0 / (size * (length / left) + right / left)
    left, length, right, image = (np.atleast_1d(op.space.norm(v)) for v in (r, x, b, b - r))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        inverse = _size(op, length, image) * (length / left) + right / left
        return float(np.max(np.where(left > 0, 1.0 / inverse, 0.0)))


def _size(op: Operator, length: np.ndarray, image: np.ndarray) -> float:
    """A lower bound of ||A||, from ||x|| and ||A x||, and the diagonal."""
    known = op.diagonal_range
    largest = 0.0 if known is None else known[1]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return max(largest, float(np.max(np.where(length > 0, image / length, 0.0))))


def rounding_only(op: Operator, criterion: Criterion, b: Any, x: Any, r: Any, targets: np.ndarray) -> bool:
    """Whether every residual that misses its target is no larger than what rounding makes of b - A x.

    Parameters
    ----------
    op, criterion, b : the system
    x, r : iterate and its true residual
    targets : (k,)

    Notes
    -----
    The exact solution rounded to float64 leaves eps ``|A| |x|`` in every row, or less, and to compute the residual
    adds about as much for each entry of the row, at random. Where the entries are unknown the backward error is asked.
    An x that A makes as small as rounding is one of the null vectors that a singular A has in float64: then nothing is
    said.

    Cost: a product and a copy of the entries.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections 3.1 and 12.2.
    """
    length, image = (np.atleast_1d(op.space.norm(v)) for v in (x, b - r))
    if np.any((length > 0) & (image <= _ROUNDINGS * _EPS * _size(op, length, image) * length)):
        return False
    per_row = 1.0 if op.nnz is None else op.nnz / op.n
    level = (_ROUNDINGS + math.sqrt(per_row)) * _EPS
    if op.row_sizes is not None or op.diagonal_range is None:
        return backward_error(op, b, x, r) <= level
    with np.errstate(over="ignore", invalid="ignore"):
        floor = op.rounding(x)
        if floor is None:
            return False
        return criterion.met_or_below(r, targets, level * (floor + abs(b)))
