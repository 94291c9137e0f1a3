"""Direct solution of small systems, verified and refined like everything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.errors import NotPositiveDefiniteError, NotSymmetricError, OptionError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.linear.criterion import rounding_only
from nnla.linear.inertia import lost_pivots, negative_count, null_basis
from nnla.linear.nullspace import NullSpace, found_null_space
from nnla.linear.state import Run, within
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
    kind : "cholesky"; "ldl" (dense) or "lu" where A is not positive definite; "lu" without the native kernels
    solve : b -> A^-1 b for (n,) or (n, k); for a singular A, b orthogonal to `null` -> a solution
    seconds : that it took
    definite : False where Cholesky has found A not to be positive definite
    negative_pivots : how many, None where that is not known
    null : of a singular A, whose null vectors the factorisation has found
    otherwise : for a singular A, which may be definite beyond float64: `solve` by its Cholesky factor, where one exists
    sparse : the native factorisation that ``solve`` is of, whose analysis serves other matrices of the same pattern
    """

    kind: str
    solve: Callable[[Any], Any]
    seconds: float = 0.0
    definite: bool = True
    negative_pivots: int | None = None
    null: NullSpace | None = None
    otherwise: Callable[[Any], Any] | None = None
    sparse: Cholesky | None = None

    @property
    def objection(self) -> str | None:
        """What is wrong with A, in words; None where nothing is."""
        if self.definite:
            return None
        how = {"ldl": "a symmetric indefinite factorisation", "lu": "LU"}[self.kind]
        if not self.negative_pivots:
            return f"A is not positive definite: a pivot of Cholesky's factorisation is not positive; {how} instead"
        return f"A is indefinite: {self.negative_pivots} negative pivots; {how} instead of Cholesky"


def factorise(op: Operator, analysed: Cholesky | None = None) -> Factor:
    """Factor A: Cholesky in the native kernels or LAPACK; LU, or L D L^T, of what is not positive definite.

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
    kernels) by SuperLU, which finds the solution of an indefinite system too, and the residual vouches for it. Where a
    pivot is zero to rounding, null vectors are looked for (`nnla.linear.inertia.null_basis`) and A is factored beside
    them.

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
    try:
        made = _factor(op, analysed)
    except (RuntimeError, np.linalg.LinAlgError):  # exactly singular
        beside = _beside_null_vectors(op, analysed, None)
        if beside is None:
            raise
        made = beside
    return replace(made, seconds=time.perf_counter() - started)


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

    Cost: that of `factorise` and `solve_factored`, and one product to check, or two where it is not all better.
    """
    started, products = time.perf_counter(), run.op.products
    kept, failure = None, "A cannot be factored: it is singular"
    try:
        kept = factor if isinstance(factor, Factor) else factorise(run.op, factor)
    except (RuntimeError, np.linalg.LinAlgError):
        pass
    except MemoryError:
        failure = "A cannot be factored: there is not enough memory"
    except OptionError:  # its remedy is what is running
        if run.asked == "direct":
            raise
        failure = "A cannot be factored: it is too large"
    run.factor = kept
    if kept is None:
        x, status, count = run.x, Status.BREAKDOWN, 0
    elif kept.null is not None:
        x, status, count = _solve_beside(run, kept, kept.null)
    else:
        correction, status, count = solve_factored(run.op, kept, run.residual, run.targets, run.criterion.norms)
        x = run.x + correction
    residual = run.b - run.op.matvec(x)
    with np.errstate(all="ignore"):
        better = np.atleast_1d(run.criterion.norms(residual)) <= np.atleast_1d(run.criterion.norms(run.residual))
        if status is Status.STAGNATION and not better.all():
            # A backward stable solution of a graded system may leave more than b is long: nobody leaves less.
            run.rounded = rounding_only(run.op, run.criterion, run.b, x, residual, run.targets)
            better |= run.rounded
    if better.all():
        run.x, run.residual, run.verified = x, residual, True
    else:
        run.x = run.space.choose(better, x, run.x)
        run.check()
    seconds, spent = time.perf_counter() - started, run.op.products - products
    facts: dict[str, Any] = {"failure": failure}
    if kept is not None:
        facts = {"negative_pivots": kept.negative_pivots, "failure": kept.objection}
        if kept.null is not None:
            what = f"A is singular ({kept.null.words})"
            facts["note"] = f"{what}: solution of least norm"
            if status is Status.SINGULAR:
                facts["failure"] = f"{what}, and b is not in its range: least squares solution of least norm"
    run.record(
        Phase("direct", iterations=count, products=spent, seconds=seconds, status=status, reason=reason, **facts)
    )


def _solve_beside(run: Run, factor: Factor, null: NullSpace) -> tuple[Any, Status, int]:
    """The solution of least norm; of least squares, where b is not in the range of A."""
    space = run.space
    part = space.own(null.part(space.host(run.residual)))
    left = np.atleast_1d(space.norm(part))
    targets = np.sqrt(np.maximum(run.targets**2 - left**2, (0.1 * run.targets) ** 2))
    norms = run.criterion.norms
    correction, status, count = solve_factored(run.op, factor, run.residual - part, targets, norms)
    x = run.x + correction
    x = x - space.own(null.part(space.host(x)))
    if within(norms(run.b - run.op.matvec(x)), run.targets):
        return x, Status.CONVERGED, count
    if factor.otherwise is not None:  # definite, but not in float64
        plain = replace(factor, solve=factor.otherwise)
        other, ended, more = solve_factored(run.op, plain, run.residual, run.targets, norms)
        if ended is Status.CONVERGED:
            return run.x + other, ended, count + more
    return x, Status.SINGULAR if np.any(left > run.targets) else status, count


def _factor(op: Operator, analysed: Cholesky | None) -> Factor:
    if op.csr is not None:
        return _factor_sparse(op, analysed)
    host = op.definite()
    space = op.space
    try:
        factor = scipy.linalg.cho_factor(host, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        beside = _beside_null_vectors(op, None, None)
        return _factor_indefinite(op, host) if beside is None else beside
    made = Factor("cholesky", lambda r: space.own(_solved(scipy.linalg.cho_solve, factor, space.host(r))))
    if lost_pivots(factor[0].diagonal() ** 2, host.diagonal()):
        return _beside_null_vectors(op, None, made) or made
    return made


def _factor_indefinite(op: Operator, host: np.ndarray) -> Factor:
    """L D L^T of a dense matrix, by Bunch and Kaufman's pivoting: its inertia is that of D."""
    lapack: Any = scipy.linalg.lapack
    lwork = int(lapack.dsytrf_lwork(op.n, lower=1)[0])
    ldu, pivots, info = lapack.dsytrf(host, lower=1, lwork=max(lwork, 1))
    if info != 0:
        raise np.linalg.LinAlgError("singular matrix")
    signs = _signs_of_blocks(ldu, pivots, host.diagonal())

    def solve(r: Any) -> Any:
        b = op.space.host(r)
        x = lapack.dsytrs(ldu, pivots, b.reshape(op.n, -1), lower=1)[0]
        return op.space.own(np.ascontiguousarray(x).reshape(b.shape))

    return Factor("ldl", solve, definite=False, negative_pivots=signs)


def _signs_of_blocks(ldu: np.ndarray, pivots: np.ndarray, diagonal: np.ndarray) -> int:
    """Negative eigenvalues of the 1 x 1 and 2 x 2 blocks of D."""
    d = ldu.diagonal().copy()
    k = 0
    while k < d.size:
        if pivots[k] < 0 and k + 1 < d.size:
            d[k : k + 2] = np.linalg.eigvalsh([[d[k], ldu[k + 1, k]], [ldu[k + 1, k], d[k + 1]]])
            k += 2
        else:
            k += 1
    return negative_count(d, np.max(np.abs(diagonal)) * np.ones(d.size))


def _beside_null_vectors(op: Operator, analysed: Cholesky | None, cholesky: Factor | None) -> Factor | None:
    """A factor of a singular A with what makes it definite on its diagonal; None where A is not singular."""
    basis = null_basis(op, analysed)
    if basis is None or basis.shape[1] <= (0 if op.ground is None else len(op.ground[0])):
        return None
    grounded, null = found_null_space(op, basis)
    try:
        made = _factor(grounded, None)
    except (RuntimeError, np.linalg.LinAlgError):
        return None
    otherwise = None if cholesky is None else cholesky.solve
    return replace(made, null=null, otherwise=otherwise) if made.definite else None


def _solved(solve: Callable[..., Any], factor: Any, r: Any) -> Any:
    return solve(factor, r, check_finite=False)


def _too_large(n: int) -> OptionError:
    return OptionError(f"method='direct' is for small systems; n = {n} is too large, use method='auto'")


def _factor_sparse(op: Operator, analysed: Cholesky | None) -> Factor:
    matrix, definite = op.definite(), True
    if Cholesky.available():
        own = analysed if op.ground is None else None  # the ground may have entries that A lacks
        try:
            own = own or _cholesky(matrix)
            made = Factor("cholesky", own.factor(max_bytes=memory_limit()).solve, sparse=own)
        except NotPositiveDefiniteError:
            beside = _beside_null_vectors(op, own, None)
            if beside is not None:
                return beside
            definite = False
        except NotSymmetricError:
            pass  # LU solves with any regular matrix
        else:
            known = op.structure if op.ground is None else None
            lost = lost_pivots(own.pivots, matrix.diagonal() if known is None else known.diagonal)
            return (_beside_null_vectors(op, None, made) if lost else None) or made
    if op.n > DIRECT_LIMIT:
        raise _too_large(op.n)
    csc = sp.csc_array(matrix)
    lu = splu(csc, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options={"SymmetricMode": True})
    count = _negative_pivots(csc, lu)
    return Factor("lu", lu.solve, definite=definite and not count, negative_pivots=count or None)


def _negative_pivots(csc: sp.csc_array, lu: Any) -> int | None:
    """Those of U where all pivots lie on the diagonal, which makes it D L^T; None where they cannot all lie there."""
    if not np.array_equal(lu.perm_r, lu.perm_c):
        try:
            lu = splu(csc, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError:
            return None
        b = csc @ np.ones(lu.shape[0])
        if not np.array_equal(lu.perm_r, lu.perm_c) or not np.allclose(lu.solve(b), 1.0, rtol=0.0, atol=1e-3):
            return None
    pivots = lu.U.diagonal()
    return negative_count(pivots, csc.diagonal()[np.argsort(lu.perm_c)])


def _cholesky(csr: sp.csr_array) -> Cholesky:
    analysed = Cholesky(csr, max_flops=_FLOPS_LIMIT)
    if not analysed.complete:
        raise OptionError(
            f"method='direct' would take more than {_FLOPS_LIMIT:.0e} operations for n = {analysed.n}; "
            "use method='auto'"
        )
    return analysed
