"""One matrix of a sequence, checked, with what is worked out of it only when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.kernels.fingerprints import fingerprint
from nnla.linear.nullspace import NullSpace, null_space_in_units, with_null_space
from nnla.linear.units import comfortable
from nnla.operators.operator import Operator, as_operator
from nnla.sequences.changes import Marks

__all__ = ["System", "drift_between"]


class System:
    """A matrix of a sequence.

    Parameters
    ----------
    A : as given to `nnla.solve`
    marks : what it is known again by, None where that is not possible
    number : of the matrix in its sequence

    Attributes
    ----------
    op : Operator, A
    pattern : fingerprints of its entries' places; () for what is no sparse matrix
    matrix : in the pattern that a kept analysis is of, None before it was brought into one
    plain : a SciPy or NumPy matrix in moderate units, which all that is kept is of

    Raises
    ------
    The errors of `nnla.as_operator`.
    """

    def __init__(self, A: Any, marks: Marks | None, number: int) -> None:
        self.A, self.marks, self.number = A, marks, number
        self.op: Operator = as_operator(A)
        self._inner: tuple[Operator, np.ndarray | None] = comfortable(self.op)
        self._null: tuple[Operator, NullSpace | None] | None = None
        self._permuted: tuple[np.ndarray, Operator] | None = None
        self._diagonal: np.ndarray | None = None
        self.matrix: Any = None
        csr = self.op.csr
        self.pattern: tuple[int, ...] = ()
        if csr is not None:
            shared = marks is not None and sp.issparse(A) and A.format == "csr" and _is(csr, A)
            self.pattern = marks.pattern if shared and marks is not None else _pattern(csr)
        self.plain = self._inner[1] is None and (csr is not None or isinstance(self.op.matrix, np.ndarray))

    @property
    def n(self) -> int:
        """Order of A."""
        return self.op.n

    @property
    def nnz(self) -> int:
        """Stored entries; n squared where they are not known."""
        return int(self.op.nnz) if self.op.nnz is not None else self.op.n**2

    @property
    def diagonal(self) -> np.ndarray:
        """Of A, on the host."""
        if self._diagonal is None:
            self._diagonal = self.op.space.host(self.op.scaling_diagonal())
        return self._diagonal

    def with_null_space(self, given: Any = None) -> tuple[Operator, Operator, np.ndarray | None, NullSpace | None]:
        """A, the operator to compute with, exponents of its rows, and its null space, as `nnla.solve` has them."""
        if self._null is None or given is not None:
            self._null = with_null_space(self.op, given)
        op, null = self._null
        inner, rows = comfortable(op)
        inner, null = null_space_in_units(inner, null, rows)
        return op, inner, rows, null

    def permuted(self, order: np.ndarray) -> Operator:
        """A with its rows in another order, made once for an order."""
        if self._permuted is None or self._permuted[0] is not order:
            self._permuted = order, self.op.permuted(order)
        return self._permuted[1]


def drift_between(before: np.ndarray, now: np.ndarray) -> float:
    """How far one diagonal is from another but for a factor: the logarithm of the spread of their ratios.

    For matrices that are sums of the same parts with other coefficients, D^-1/2 A D^-1/2 included, it estimates the
    condition number of one preconditioned by the other from below.

    Cost: a pass over both.

    Examples
    --------
    >>> drift_between(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
    0.0
    """
    with np.errstate(all="ignore"):
        ratio = now / before
        low, high = float(ratio.min()), float(ratio.max())
        return float(np.log(high / low)) if 0.0 < low <= high < np.inf else np.inf


def _is(csr: Any, A: Any) -> bool:
    """Whether the operator works in the very arrays of A."""
    return csr.indices is A.indices and csr.indptr is A.indptr


def _pattern(csr: Any) -> tuple[int, ...]:
    return fingerprint(csr.indptr), fingerprint(csr.indices)
