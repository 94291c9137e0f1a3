"""Small systems in one native call: looked at, solved and verified before the ordinary way would have begun.

The native call declines whatever is unusual, and whatever does not reach its target: `nnla.linear.solve` then goes the
ordinary way from the start, as if nothing had been tried.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.kernels import native
from nnla.operators.validation import symmetry_rtol
from nnla.report import assembled
from nnla.types import Phase, Report, Solution, Status, library_versions

__all__ = ["solve_quickly"]

# kinds of matrices, and differences of a_ij and a_ji that are rounding: the arrays of CSC are those of the transposed
# matrix, the same one only if not a bit differs
_ROUNDING = symmetry_rtol(float(np.finfo(np.float64).eps))
_MATRICES = {sp.csr_array: _ROUNDING, sp.csr_matrix: _ROUNDING, sp.csc_array: 0.0, sp.csc_matrix: 0.0}
_INDICES, _VALUE = (np.dtype(np.int32), np.dtype(np.int64)), np.dtype(np.float64)
_METHODS = ("direct", "jacobi")
_SCALINGS = {"direct": "none", "jacobi": "jacobi"}


def solve_quickly(A: Any, b: Any, rtol: float, atol: float, started: float) -> Solution | None:
    """A x = b where that is a small, ordinary system in plain arrays; None where the ordinary way has to be gone.

    Parameters
    ----------
    A, b, rtol, atol : as given to `nnla.solve`, whatever they are
    started : `time.perf_counter` when it was called

    Notes
    -----
    Cost: some microseconds and what the report says. Where it declines, a pass over the entries as a rule; at worst,
    where the matrix turns out not to be definite or the target is not reached, as long as it would have taken.

    The decisions are the native call's, from counts: no clock has a say. What runs is Cholesky's factorisation with
    refinement, or CG over the diagonal, as `nnla.solve` has them.
    """
    asymmetry = _MATRICES.get(type(A))
    if native is None or asymmetry is None or type(b) is not np.ndarray:
        return None
    indptr, indices, data, shape = A.indptr, A.indices, A.data, A.shape
    if not (type(indptr) is type(indices) is type(data) is np.ndarray and b.shape == shape[:1] == shape[1:]):
        return None
    if not (indptr.dtype == indices.dtype and indices.dtype in _INDICES and data.dtype == b.dtype == _VALUE):
        return None
    if not (type(rtol) is type(atol) is float and 0.0 <= rtol < 1.0 and 0.0 <= atol < 1e308):
        return None
    try:
        found = native.solve_quickly(indptr, indices, data, b, rtol, atol, asymmetry)
    except (TypeError, ValueError):  # strided, unaligned, or not one-dimensional
        return None
    if type(found) is int:
        return None
    x, nnz, relative, backward, direct, jacobi, history, phases = found
    ran = [_phase(*phase) for phase in phases]
    last = ran[-1]
    predicted: dict[str, float] = {}
    if direct >= 0:
        predicted["direct"] = direct
    if jacobi >= 0:
        predicted["jacobi"] = jacobi
    solve = sum(phase.seconds for phase in ran)
    total = time.perf_counter() - started
    report = assembled(
        Report,
        status=Status.CONVERGED,
        converged=True,
        method=last.method,
        n=shape[0],
        nnz=nnz,
        rtol=rtol,
        relative_residual=relative,
        iterations=sum(phase.iterations for phase in ran),
        scaling=last.scaling,
        products=sum(phase.products for phase in ran),
        reductions=sum(phase.reductions for phase in ran),
        seconds={"probe": 0, "setup": max(0.0, total - solve), "solve": solve, "total": total},
        fallback=None if len(ran) == 1 else "; ".join(phase.failure for phase in ran if phase.failure),
        chosen_because=_words(ran, direct, jacobi),
        residual_history=history,
        predicted_seconds=predicted,
        phases=tuple(ran),
        backward_error=backward,
        versions=library_versions(),
    )
    return Solution(x, report)


def _phase(
    method: int, ended_well: bool, band: bool, iterations: int, products: int, reductions: int, seconds: float
) -> Phase:
    name = _METHODS[method]
    failure = None if ended_well else f"{name} promised to take longer than a factorisation; direct instead"
    return assembled(
        Phase,
        method=name,
        scaling=_SCALINGS[name],
        iterations=iterations,
        products=products,
        reductions=reductions,
        seconds=seconds,
        status=Status.CONVERGED if ended_well else Status.MAXITER,
        note="factored within its band" if band else "",
        failure=failure,
    )


def _words(ran: list[Phase], direct: float, jacobi: float) -> str:
    """Why what ran did run."""
    said = [f"{name} {seconds:.2g} s" for name, seconds in (("direct", direct), ("jacobi", jacobi)) if seconds >= 0]
    text = f"a small system, solved in one native call: predicted {', '.join(said)}"
    if ran[-1].note:
        text = f"{text}; {ran[-1].note}"
    return text if len(ran) == 1 else f"{text}; switched from {ran[0].method} to {ran[-1].method}"
