"""Direct solution of small systems, verified and refined like everything else."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.errors import NotPositiveDefiniteError, NotSymmetricError, OptionError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.operators.operator import Operator
from nnla.types import Status

__all__ = ["DIRECT_LIMIT", "solve_direct"]

DIRECT_LIMIT = 200_000  # unknowns of a sparse matrix beyond which the fill of LU usually exhausts memory
_FLOPS_LIMIT = 1e13  # of a Cholesky factorisation: minutes
_DENSE_LIMIT = 20_000
_REFINEMENTS = 3


def solve_direct(op: Operator, b: Any, targets: np.ndarray, factor: Any = None) -> tuple[Any, Status, int]:
    """x by Cholesky, or LU of what is not positive definite, with iterative refinement on the true residual.

    Parameters
    ----------
    op : Operator with entries (not known by products only)
    b : (n,) or (n, k)
    targets : absolute residual norms to reach
    factor : the Cholesky analysis of the matrix, where it has been made already

    Returns
    -------
    x, status, refinements
        Status STAGNATION when refinement does not reach the targets, BREAKDOWN for a singular matrix.

    Notes
    -----
    Cost: one factorisation; two products and solves per refinement at most. A sparse matrix is factored by
    Cholesky in the native kernels; where a pivot is not positive (or without those kernels) by SuperLU, which
    finds the solution of an indefinite system too, and the residual vouches for it.
    """
    if op.csr is None and op.nnz is None:
        raise OptionError("method='direct' needs the entries of A; this operator is known by products only")
    if op.csr is None and op.n > _DENSE_LIMIT:
        raise _too_large(op.n)
    try:
        solve = _factor(op, factor)
    except (RuntimeError, np.linalg.LinAlgError, MemoryError):
        return b * 0, Status.BREAKDOWN, 0  # exactly singular, or fill beyond memory
    with np.errstate(all="ignore"):
        x = solve(b)
        best, best_norm = b * 0, np.full(targets.shape, np.inf)
        for count in range(_REFINEMENTS + 1):
            if not op.space.finite(x):
                return best, Status.BREAKDOWN, count
            r = b - op.matvec(x)
            now = np.atleast_1d(op.space.norm(r))
            if np.all(now <= targets):
                return x, Status.CONVERGED, count
            if not np.any(now < 0.5 * best_norm):
                break
            best, best_norm = x, now
            x = x + solve(r)
    return best, Status.STAGNATION, _REFINEMENTS


def _factor(op: Operator, analysed: Cholesky | None) -> Any:
    if op.csr is not None:
        return _factor_sparse(op.csr, op.n, analysed)
    host = op.dense()
    try:
        factor = scipy.linalg.cho_factor(host, lower=True, check_finite=False)
        solve = lambda r: scipy.linalg.cho_solve(factor, r, check_finite=False)  # noqa: E731
    except np.linalg.LinAlgError:
        with warnings.catch_warnings():  # a zero pivot shows in the solution, which is checked
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            lu = scipy.linalg.lu_factor(host, check_finite=False)
        solve = lambda r: scipy.linalg.lu_solve(lu, r, check_finite=False)  # noqa: E731
    return lambda r: op.space.own(solve(op.space.host(r)))


def _too_large(n: int) -> OptionError:
    return OptionError(f"method='direct' is for small systems; n = {n} is too large, use method='auto'")


def _factor_sparse(csr: sp.csr_array, n: int, analysed: Cholesky | None) -> Any:
    if Cholesky.available():
        try:
            return (analysed or _cholesky(csr)).factor(max_bytes=memory_limit()).solve
        except (NotPositiveDefiniteError, NotSymmetricError):
            pass  # LU solves with any regular matrix
    if n > DIRECT_LIMIT:
        raise _too_large(n)
    lu = splu(
        sp.csc_array(csr),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.01,
        options={"SymmetricMode": True},
    )
    return lu.solve


def _cholesky(csr: sp.csr_array) -> Cholesky:
    analysed = Cholesky(csr, max_flops=_FLOPS_LIMIT)
    if not analysed.complete:
        raise OptionError(
            f"method='direct' would take more than {_FLOPS_LIMIT:.0e} operations for n = {analysed.n}; "
            "use method='auto'"
        )
    return analysed
