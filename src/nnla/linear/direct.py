"""Direct solution of small systems, verified and refined like everything else."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.errors import NotPositiveDefiniteError, NotSymmetricError, OptionError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.linear.criterion import rounding_only
from nnla.linear.state import Run
from nnla.operators.operator import Operator
from nnla.types import Phase, Status

__all__ = ["DIRECT_LIMIT", "Factor", "factorise", "run_direct", "solve_factored"]

DIRECT_LIMIT = 200_000  # unknowns of a sparse matrix beyond which the fill of LU usually exhausts memory
_FLOPS_LIMIT = 1e13  # of a Cholesky factorisation: minutes
_DENSE_LIMIT = 20_000
_REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class Factor:
    """A factorisation of A, kept.

    Attributes
    ----------
    kind : "cholesky", or "lu" where A is not positive definite, or without the native kernels
    solve : b -> A^-1 b for (n,) or (n, k)
    seconds : that it took
    definite : False where Cholesky has found A not to be positive definite
    """

    kind: str
    solve: Callable[[Any], Any]
    seconds: float = 0.0
    definite: bool = True


def factorise(op: Operator, analysed: Cholesky | None = None) -> Factor:
    """Factor A: Cholesky in the native kernels or LAPACK, LU of what is not positive definite.

    Parameters
    ----------
    op : Operator with entries (not known by products only)
    analysed : the Cholesky analysis of the matrix, where it has been made already

    Raises
    ------
    OptionError
        No entries, or too many unknowns.
    RuntimeError, numpy.linalg.LinAlgError, MemoryError
        Exactly singular, or fill beyond memory.

    Notes
    -----
    Cost: `Cholesky.flops` multiplications and as many additions, and `Cholesky.nbytes`; n^3 / 3 operations and an n x n
    array for a dense A.

    A sparse matrix is factored by Cholesky in the native kernels; where a pivot is not positive (or without those
    kernels) by SuperLU, which finds the solution of an indefinite system too, and the residual vouches for it.

    References
    ----------
    Davis, Direct Methods for Sparse Linear Systems (2006), chapter 4 (Cholesky). Golub & Van Loan, Matrix Computations,
    4th ed., sections 3.4 and 4.2 (dense).
    """
    if op.csr is None and op.nnz is None:
        raise OptionError("method='direct' needs the entries of A; this operator is known by products only")
    if op.csr is None and op.n > _DENSE_LIMIT:
        raise _too_large(op.n)
    started = time.perf_counter()
    kind, solve = _factor(op, analysed)
    definite = kind == "cholesky" or not (op.csr is None or Cholesky.available())
    return Factor(kind, solve, time.perf_counter() - started, definite)


def solve_factored(
    op: Operator, factor: Factor, b: Any, targets: np.ndarray, norms: Callable[[Any], Any] | None = None
) -> tuple[Any, Status, int]:
    """x by a factorisation, with iterative refinement on the true residual.

    Parameters
    ----------
    op, factor : A and its factorisation
    b : (n,) or (n, k)
    targets : absolute residual norms to reach
    norms : of residuals, the 2-norm by default

    Returns
    -------
    x, status, refinements
        Status STAGNATION when refinement does not reach the targets, BREAKDOWN for a singular matrix.

    Notes
    -----
    Cost: a product and a solve per refinement, four at most.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 12 (iterative refinement).
    """
    norms = norms or op.space.norm
    with np.errstate(all="ignore"):
        x = factor.solve(b)
        best, best_norm = b * 0, np.full(targets.shape, np.inf)
        for count in range(_REFINEMENTS + 1):
            if not op.space.finite(x):
                return best, Status.BREAKDOWN, count
            r = b - op.matvec(x)
            now = np.atleast_1d(norms(r))
            if np.all(now <= targets):
                return x, Status.CONVERGED, count
            if not np.any(now < 0.5 * best_norm):
                break
            best, best_norm = x, now
            x = x + factor.solve(r)
    return best, Status.STAGNATION, _REFINEMENTS


def run_direct(run: Run, factor: Factor | Cholesky | None = None, reason: str = "asked for") -> None:
    """Direct solution of what is left, as a phase of the run; ``factor`` or its analysis may have been made before.

    Cost: that of `factorise` and `solve_factored`, and two products to check.
    """
    started, products = time.perf_counter(), run.op.products
    try:
        kept = factor if isinstance(factor, Factor) else factorise(run.op, factor)
    except (RuntimeError, np.linalg.LinAlgError, MemoryError):
        correction, status, count = run.b * 0, Status.BREAKDOWN, 0
    else:
        correction, status, count = solve_factored(run.op, kept, run.residual, run.targets, run.criterion.norms)
    residual = run.residual - run.op.matvec(correction)
    better = np.atleast_1d(run.criterion.norms(residual)) < np.atleast_1d(run.criterion.norms(run.residual))
    if status is Status.STAGNATION and not better.all():
        # A backward stable solution of a graded system may leave more than b is long: nobody leaves less.
        with np.errstate(all="ignore"):
            x = run.x + correction
            run.rounded = rounding_only(run.op, run.criterion, run.b, x, residual, run.targets)
        better |= run.rounded
    run.x = run.x + run.space.row(better.astype(float), run.x) * correction
    run.check()
    seconds, spent = time.perf_counter() - started, run.op.products - products
    run.record(Phase("direct", iterations=count, products=spent, seconds=seconds, status=status, reason=reason))


def _factor(op: Operator, analysed: Cholesky | None) -> tuple[str, Callable[[Any], Any]]:
    if op.csr is not None:
        return _factor_sparse(op.csr, op.n, analysed)
    host = op.dense()
    try:
        factor = scipy.linalg.cho_factor(host, lower=True, check_finite=False)
        kind, solve = "cholesky", partial(_solved, scipy.linalg.cho_solve, factor)
    except np.linalg.LinAlgError:
        with warnings.catch_warnings():  # a zero pivot shows in the solution, which is checked
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            lu = scipy.linalg.lu_factor(host, check_finite=False)
        kind, solve = "lu", partial(_solved, scipy.linalg.lu_solve, lu)
    return kind, lambda r: op.space.own(solve(op.space.host(r)))


def _solved(solve: Callable[..., Any], factor: Any, r: Any) -> Any:
    return solve(factor, r, check_finite=False)


def _too_large(n: int) -> OptionError:
    return OptionError(f"method='direct' is for small systems; n = {n} is too large, use method='auto'")


def _factor_sparse(csr: sp.csr_array, n: int, analysed: Cholesky | None) -> tuple[str, Callable[[Any], Any]]:
    if Cholesky.available():
        try:
            return "cholesky", (analysed or _cholesky(csr)).factor(max_bytes=memory_limit()).solve
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
    return "lu", lu.solve


def _cholesky(csr: sp.csr_array) -> Cholesky:
    analysed = Cholesky(csr, max_flops=_FLOPS_LIMIT)
    if not analysed.complete:
        raise OptionError(
            f"method='direct' would take more than {_FLOPS_LIMIT:.0e} operations for n = {analysed.n}; "
            "use method='auto'"
        )
    return analysed
