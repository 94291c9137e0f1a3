"""Is a mass matrix definite? By its diagonal, its rows, a Cholesky factorisation, or random vectors."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.eigen.iteration import multiply
from nnla.errors import NNLAError, NotPositiveDefiniteError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.operators.operator import Operator

__all__ = ["Definiteness", "definiteness"]

_EPS = float(np.finfo(np.float64).eps)
_FLOPS = 1e13  # of a factorisation, minutes; beyond it only necessary conditions are looked at


class Definiteness(enum.Enum):
    """Of a symmetric matrix, to rounding."""

    DEFINITE = "positive definite"
    SINGULAR = "positive semidefinite and singular"
    INDEFINITE = "indefinite"


def definiteness(op: Operator) -> Definiteness:
    """Whether z'Mz > 0 for all z, to rounding of a unit diagonal: the units of the unknowns do not matter.

    Cost: a pass over the entries where the diagonal dominates; else a factorisation or two of M, or for dense M an
    eigendecomposition; two products where no entries are known.

    Validity: exact to rounding where the entries are known; else, and where a factorisation would take longer than
    minutes, "definite" means that nothing was seen that says otherwise.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23 (the unit diagonal).

    Examples
    --------
    >>> from nnla.operators.operator import as_operator
    >>> definiteness(as_operator(sp.eye_array(3), definite=False)).value
    'positive definite'
    """
    diagonal = op.diagonal()
    if diagonal is None:
        Z = np.random.default_rng(0).standard_normal((op.n, 2))
        return _of_sign(np.sum(Z * multiply(op, Z), axis=0))
    d = op.space.host(diagonal)
    if d.min() < 0:
        return Definiteness.INDEFINITE
    if op.csr is None:
        return _of_dense(op.dense(), d)
    size = np.bincount(_rows(op.csr), weights=np.abs(op.csr.data), minlength=op.n)
    empty = size == 0
    if np.any((d == 0) & ~empty):
        return Definiteness.INDEFINITE
    if np.all(2 * d >= size):
        # dominated rows alone do not tell a singular matrix from a definite one
        if np.all(2 * d > (1 + 8 * _EPS) * size):
            return Definiteness.DEFINITE
        if empty.any():
            return Definiteness.SINGULAR
    return _of_sparse(op.csr, np.where(empty, 1.0, d), bool(empty.any()))


def _rows(csr: Any) -> np.ndarray:
    return np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))


def _of_sign(quotients: np.ndarray) -> Definiteness:
    if quotients.min() < 0:
        return Definiteness.INDEFINITE
    return Definiteness.SINGULAR if quotients.max() == 0 else Definiteness.DEFINITE


def _of_dense(M: np.ndarray, d: np.ndarray) -> Definiteness:
    scale = 1.0 / np.sqrt(np.where(d > 0, d, 1.0))
    m = np.linalg.eigvalsh(0.5 * (M + M.T) * scale[:, None] * scale)
    least = 4 * m.size * _EPS * max(float(m[-1]), 1.0)
    if m[0] > least:
        return Definiteness.DEFINITE
    return Definiteness.SINGULAR if m[0] >= -least else Definiteness.INDEFINITE


def _of_sparse(csr: Any, d: np.ndarray, empty_rows: bool) -> Definiteness:
    """Of a matrix without negative diagonal entries, d being its diagonal with 1 for rows of zeros."""
    n = csr.shape[0]
    if not Cholesky.available():
        Z = np.random.default_rng(0).standard_normal((n, 2))
        return _of_sign(np.sum(Z * (csr @ Z), axis=0))
    scale = sp.diags_array(1.0 / np.sqrt(d))
    unit = sp.csr_array(scale @ csr @ scale)
    slack = max(4 * n * _EPS, 1e-13)
    if empty_rows:
        verdicts = ((slack, Definiteness.SINGULAR),)
    else:
        verdicts = ((0.0, Definiteness.DEFINITE), (slack, Definiteness.SINGULAR))
    for shift, verdict in verdicts:
        shifted = sp.csr_array(unit + shift * sp.eye_array(n)) if shift else unit
        shifted.sort_indices()
        shifted.indices, shifted.indptr = (a.astype(csr.indices.dtype) for a in (shifted.indices, shifted.indptr))
        try:
            factor = Cholesky(shifted, max_flops=_FLOPS)
            if not factor.complete:
                return Definiteness.DEFINITE
            pivots = factor.factor(max_bytes=memory_limit()).pivots
        except NotPositiveDefiniteError:
            continue
        except (NNLAError, MemoryError):
            return Definiteness.DEFINITE
        if shift or pivots.min() > slack:
            return verdict
    return Definiteness.INDEFINITE
