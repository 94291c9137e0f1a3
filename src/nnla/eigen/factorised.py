"""Eigenpairs through factorisations: all of them by LAPACK, a few by shift and invert with a Cholesky factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.eigen.iteration import Search, multiply
from nnla.eigen.state import Job, Meter, finish
from nnla.eigen.thick_restart import ThickRestart
from nnla.errors import NNLAError, NotPositiveDefiniteError, OptionError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.operators.operator import Operator

__all__ = ["DENSE_LIMIT", "solve_dense", "solve_inverse"]

DENSE_LIMIT = 20_000
_SHIFTS = 8  # tried until one is beyond the spectrum
_FLOPS_LIMIT = 1e13  # minutes


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
    wanted = (n - k, n - 1) if orientation > 0 else (0, k - 1)
    driver: dict[str, Any] = {} if k == n else {"subset_by_index": wanted}
    w, V = eigh(dense, overwrite_a=True, check_finite=False, **driver)
    residuals = [np.linalg.norm(multiply(op, np.ascontiguousarray(V[:, j])) - w[j] * V[:, j]) for j in range(k)]
    return w, V, np.array(residuals)


def solve_inverse(
    op: Operator, job: Job, start: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Thick-restart Lanczos on (A - s)^-1 with a shift s just beyond the wanted end; None where nothing factors.

    A shift beyond the spectrum leaves a definite matrix, so that Cholesky serves for indefinite A, too, and tells
    by its pivots whether the shift was far enough.

    Cost: one factorisation, as a rule, and some 2 k solves.

    References
    ----------
    Ericsson, Ruhe, The spectral transformation Lanczos method, Math. Comp. 35 (1980) 1251-1268.
    """
    if op.csr is None:
        raise OptionError("method='direct' needs the stored entries of a sparse A; use 'dense', 'autospec' or 'auto'")
    o, meter = job.orientation, Meter(job, "probe")
    probe = ThickRestart(lambda v: o * multiply(op, v), op.n, min(job.ncv, op.n), start, rng)
    probe.extend()
    top, bottom = float(probe.theta[0]), float(probe.theta[-1])
    job.norm, width = max(abs(top), abs(bottom)), top - bottom
    if width <= 1e-12 * job.norm:
        return None  # a single point: nothing to invert near it
    # as near to the wanted eigenvalues as these are to each other: nearer would cost the last ones their digits
    near = max(float(probe.residuals[0]), 0.1 * (top - float(probe.theta[min(job.k, probe.theta.size) - 1])))
    meter.end_filling(probe)
    job.products_probe = op.products - job.before
    meter = Meter(job, "setup")
    factor = _definite(op, o, top, min(near, 0.1 * width), width, job.analysed)
    meter.end()
    if factor is None:
        return None
    solve, job.shift = factor
    meter = Meter(job, "iterate")
    space = ThickRestart(solve, op.n, job.ncv, probe.vectors(min(job.k, job.ncv)).sum(axis=0), rng)
    search = Search(op, space, job.k, o, job.tol * job.norm)
    search.run(job.maxiter)
    meter.end(search)
    pairs = finish(job, search)
    job.solves = space.steps
    return pairs


def _definite(
    op: Operator, o: float, top: float, near: float, width: float, analysed: Any = None
) -> tuple[Any, float] | None:
    """Solves with the definite matrix s - o A, and the shift o s, for the least shift tried that works."""
    csr = op.csr
    assert csr is not None
    if not Cholesky.available():
        return None
    shifts = [top + max(3.0**j * near, 1e-6 * 4.0**j * width) for j in range(_SHIFTS)]
    if o < 0 and -0.2 * width < top < 0:  # a positive definite matrix, as far as one can see: no shift is best
        shifts.insert(0, 0.0)
    shifts.append(top + 2.0 * width)
    entries = -1 if analysed is None else csr.nnz
    for s in shifts:
        B = sp.csr_array(s * sp.eye_array(op.n, format="csr") - o * csr)
        B.sort_indices()
        try:
            if analysed is None or entries != B.nnz:  # a shift of zero may leave out the diagonal
                entries = B.nnz
                analysed = Cholesky(B, max_flops=_FLOPS_LIMIT)
                if not analysed.complete:
                    return None
            analysed.factor(B.data, max_bytes=memory_limit())
        except NotPositiveDefiniteError:
            continue
        except (NNLAError, MemoryError):
            return None
        return analysed.solve, o * s + 0.0  # no negative zero
    return None
