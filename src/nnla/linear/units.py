"""Powers of two between the user's numbers and those that a solve computes with: nothing over- or underflows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError
from nnla.operators.operator import Operator
from nnla.operators.spaces import Space
from nnla.preconditioners.scalings import bind_scaling, declared_kind
from nnla.types import Kind

__all__ = ["ScaledPreconditioner", "Units", "comfortable", "scaled_preconditioner"]

_COMFORT = 90  # exponents within which entries and their images stay in the range of float32, for polynomials
_FLOAT = 1000  # exponents that are float64 numbers, with room


def comfortable(op: Operator) -> tuple[Operator, np.ndarray | None]:
    """The operator to compute with: itself where its entries are of moderate size, else S A S.

    Parameters
    ----------
    op : Operator, A

    Returns
    -------
    operator, exponents
        ``exponents`` (n,) of S, a diagonal of powers of two; None for A itself. All exponents are the same where that
        is enough; where the diagonal itself spreads over more than float64 likes, that of S A S is about 1.

    Notes
    -----
    Cost: nothing for matrices of moderate entries, else a copy. No rounding: powers of two are exact, and what
    underflows is below 1e-200 of the diagonal entries in its row and column.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23.
    """
    known = op.diagonal_range
    if known is None:
        if op.row_sizes is None:
            return op, None
        known = (float(op.row_sizes.max()),) * 2  # single rows of an unknown matrix cannot be told
    low, high = math.frexp(known[0])[1], math.frexp(known[1])[1]
    if low >= -_COMFORT and high <= _COMFORT:
        return op, None
    if high - low <= _COMFORT:
        exponents = np.full(op.n, -((low + high) // 4), dtype=np.int64)
    else:
        diagonal = op.space.host(op.scaling_diagonal())
        exponents = -(np.frexp(diagonal)[1].astype(np.int64) // 2)
    scaled = op.scaled(exponents)
    return (op, None) if scaled is None else (scaled, exponents)


@dataclass(frozen=True, eq=False)
class Units:
    """x = 2^(rows + columns) y and b = 2^(columns - rows) c between the user's A x = b and the run's S A S y = c.

    Attributes
    ----------
    space : of the vectors
    columns : (k,) exponents of the right-hand sides
    rows : (n,) exponents of S, None for S = 1
    """

    space: Space
    columns: np.ndarray
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, space: Space, b: Any, rows: np.ndarray | None) -> tuple[Units, Any, np.ndarray]:
        """The units in which the columns of b have norms in [1, 2), b in them (new), and its norms, 0 for zero.

        Cost: a norm and a pass over b.
        """
        norm = space.norm(b)
        if rows is None and isinstance(norm, float) and 1e-290 < norm < 1e300:
            mantissa, exponent = math.frexp(norm)
            units = cls(space, np.array([exponent - 1]))
            return units, b * math.ldexp(1.0, 1 - exponent), np.array([2.0 * mantissa])
        size = np.atleast_1d(norm)
        if rows is None and np.all((size == 0) | ((size > 1e-290) & (size < 1e300))):
            columns = np.where(size > 0, np.frexp(size)[1] - 1, 0)
            units = cls(space, columns)
            power = np.ldexp(1.0, columns)
            return units, b / space.row(power, b), size / power
        host = space.host(b)
        entries = host if host.ndim == 2 else host[:, None]
        largest = np.frexp(entries)[1].astype(np.int64) + (0 if rows is None else rows[:, None])
        columns = np.max(np.where(entries != 0, largest, -5000), axis=0)
        columns = np.where(columns > -5000, columns, 0)
        size = np.atleast_1d(space.norm(cls(space, columns, rows).enter(b)))
        columns = columns + np.where(size > 0, np.frexp(size)[1] - 1, 0)
        units = cls(space, columns, rows)
        scaled = units.enter(b)
        return units, scaled, np.atleast_1d(space.norm(scaled))

    def enter(self, b: Any) -> Any:
        """A right-hand side in the run's units; a new vector."""
        return self._shift(b, 1, -1)

    def enter_solution(self, x: Any) -> Any:
        """An iterate of the user's in the run's units; what overflows there is infinite."""
        return self._shift(x, -1, -1)

    def leave(self, y: Any) -> Any:
        """An iterate of the run in the user's units, a new vector; it may over- or underflow."""
        return self._shift(y, 1, 1)

    def solution(self, y: Any) -> tuple[Any, Any]:
        """x in the user's units, and the iterate of the run that it stands for: y, unless something underflowed.

        Raises
        ------
        NonFiniteError
            Entries of x are beyond the range of float64.

        Cost: some passes over y.
        """
        with np.errstate(over="ignore", under="ignore"):
            x = self.leave(y)
        if not self.space.finite(x):
            raise NonFiniteError(
                "the solution leaves the range of float64 (1.8e308): divide b by a power of two, or multiply A by one"
            )
        if self.rows is None and self.columns.min() >= 0:
            return x, y
        back = self.enter_solution(x)
        lost = self.space.norm(back - y)
        return x, y if not np.any(lost) else back

    def _shift(self, x: Any, rows: int, columns: int) -> Any:
        """x 2^(rows R + columns C), rounded once."""
        by_column = columns * self.columns
        if self.rows is None and by_column.min() >= -_FLOAT and by_column.max() <= _FLOAT:
            if x.ndim == 1:
                return x * math.ldexp(1.0, int(by_column[0]))
            return x * self.space.row(np.ldexp(1.0, by_column), x)
        powers: np.ndarray = by_column if self.rows is None else rows * self.rows[:, None] + by_column
        with np.errstate(over="ignore", under="ignore"):
            return self.space.own(np.ldexp(self.space.host(x), powers[..., 0] if x.ndim == 1 else powers))


def scaled_preconditioner(op: Operator, M: Any, exponents: np.ndarray | None) -> Any:
    """What a user's M is to S A S, given as ``op``: S^-1 M S^-1; M itself where S is 1.

    Cost: none; two passes over a vector for each application.
    """
    if exponents is None:
        return M
    return ScaledPreconditioner(bind_scaling(op, M).solve, op.space, exponents, declared_kind(M))


class ScaledPreconditioner:
    """S^-1 M S^-1, which is to S A S what a user's M is to A.

    Parameters
    ----------
    solve : r -> M r
    space : of the vectors
    exponents : of S
    kind : of M
    """

    def __init__(self, solve: Callable[[Any], Any], space: Space, exponents: np.ndarray, kind: Kind | None) -> None:
        self._solve, self._units, self.kind = solve, Units(space, np.zeros(1, dtype=int), exponents), kind

    def __call__(self, r: Any) -> Any:
        """S^-1 M S^-1 r."""
        return self._units.enter_solution(self._solve(self._units.enter_solution(r)))
