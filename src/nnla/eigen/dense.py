"""Eigenpairs by LAPACK."""

from __future__ import annotations

import contextlib

import numpy as np

from nnla.eigen.iteration import multiply
from nnla.errors import OptionError
from nnla.operators.operator import Operator

__all__ = ["DENSE_LIMIT", "RESCUE_ROWS", "solve_dense"]

DENSE_LIMIT = 20_000
RESCUE_ROWS = 4000  # of a matrix that is left to LAPACK where nothing else did: seconds


def solve_dense(op: Operator, k: int, orientation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k pairs by LAPACK: eigenvalues increasing, vectors (n, k), true residual norms.

    Cost: some 4 n^3 / 3 operations and two n x n arrays; n products where the entries are not known.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 8.3.
    """
    n = op.n
    if n > DENSE_LIMIT:
        raise OptionError(f"method='dense' is for n up to {DENSE_LIMIT}; n = {n} is too large, use method='auto'")
    from scipy.linalg import eigh

    dense = op.dense()
    dense = (dense + dense.T) / 2
    wanted = slice(n - k, n) if orientation > 0 else slice(0, k)
    w, V, sound = np.empty(0), np.empty((n, 0)), False
    if k < n:
        # the driver for a part of the spectrum may lose vectors of a large cluster, or give up
        with contextlib.suppress(np.linalg.LinAlgError):
            w, V = eigh(dense, check_finite=False, subset_by_index=(wanted.start, wanted.stop - 1))
            sound = w.size == k and bool(np.abs(V.T @ V - np.eye(k)).max() < 1e-10)
    if not sound:
        w, V = eigh(dense, check_finite=False, driver="evd")
        w, V = w[wanted], np.ascontiguousarray(V[:, wanted])
    residuals = [np.linalg.norm(multiply(op, np.ascontiguousarray(V[:, j])) - w[j] * V[:, j]) for j in range(k)]
    return w, V, np.array(residuals)
