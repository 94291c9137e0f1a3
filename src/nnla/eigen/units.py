"""Eigenvalues in any unit: A is scaled by a power of two where its squares would leave the range of float64."""

from __future__ import annotations

import math
import sys

import numpy as np

from nnla.errors import NonFiniteError
from nnla.operators.operator import Operator

__all__ = ["in_good_units", "unscaled", "unscaled_values"]

_GOOD = 300  # a norm of 2 to that power has a square that is no concern, times any n


def in_good_units(op: Operator, good: int = _GOOD) -> tuple[Operator, int]:
    """The operator 2^-e A and an even e, so that its largest entry is about 1; A and 0 where that is needless.

    It is where the largest entry lies between 2^-good and 2^good.

    Zeros that are stored are left out: they may be stored on one side of the diagonal only. Exact but for entries
    2^1022 times smaller than the largest. Both operators count into one number.

    Cost: a pass over the entries, or a product where they are not known; a copy of the entries if they are scaled.
    """
    op = op.without_stored_zeros()
    size = _largest(op)
    if size == 0 or 2.0**-good <= size <= 2.0**good or not math.isfinite(size):
        return op, 0
    half = math.frexp(size)[1] // 2
    scaled = op.scaled(np.full(op.n, -half, dtype=np.int64))
    return (op, 0) if scaled is None else (scaled, 2 * half)


def unscaled(value: float, e: int) -> float:
    """2^e times a figure of a report: infinite where float64 ends."""
    try:
        return math.ldexp(value, e)
    except OverflowError:
        return math.copysign(math.inf, value)


def unscaled_values(w: np.ndarray, e: int) -> np.ndarray:
    """2^e w.

    Raises
    ------
    NonFiniteError
        An eigenvalue is larger than any number of float64.
    """
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(w, e)
    if not np.all(np.isfinite(values)):
        worst = float(w[int(np.argmax(np.abs(w)))])
        raise NonFiniteError(f"an eigenvalue is {worst:.6g} * 2^{e}, beyond float64; divide A by a power of two first")
    return values


def _largest(op: Operator) -> float:
    """The largest entry in magnitude, or that of a product with a random vector."""
    if op.csr is not None:
        return float(np.abs(op.csr.data).max(initial=0.0))
    if isinstance(op.matrix, np.ndarray):
        return float(max(op.matrix.max(), -op.matrix.min()))
    if op.nnz is None:
        z = np.random.default_rng(0).standard_normal(op.n)  # not of signs: those may lie in the null space of a graph
        return float(np.abs(op.matvec(op.as_vector(z))).max())
    torch = sys.modules["torch"]
    values = op.matrix if op.matrix.layout == torch.strided else op.matrix.values()
    return float(values.abs().max()) if values.numel() else 0.0
