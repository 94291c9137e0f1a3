"""Small systems in one native call: looked at, solved and verified before the ordinary way would have begun.

The native call declines whatever is unusual, and whatever does not reach its target: `nnla.linear.solve` then goes the
ordinary way from the start, as if nothing had been tried.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.linear.predictor import quick_costs
from nnla.linear.speeds import THIS_MACHINE
from nnla.operators.validation import symmetry_rtol
from nnla.types import Phase, Report, Solution, Status, library_versions

__all__ = ["QUICK_METHODS", "solve_quickly"]

# kinds of matrices, and differences of a_ij and a_ji that are rounding: the arrays of CSC are those of the transposed
# matrix, the same one only if not a bit differs
_ROUNDING = symmetry_rtol(float(np.finfo(np.float64).eps))
_MATRICES = {sp.csr_array: _ROUNDING, sp.csr_matrix: _ROUNDING, sp.csc_array: 0.0, sp.csc_matrix: 0.0}
_MOST = 800_000  # entries that are worth a copy: the native call declines more
_INDICES, _VALUE = (np.dtype(np.int32), np.dtype(np.int64)), np.dtype(np.float64)
QUICK_METHODS = {"direct": 0, "jacobi": 1, "auto": 2}
_DIRECT, _ITERATED = QUICK_METHODS["direct"], {QUICK_METHODS["jacobi"]: "jacobi", 3: "ic"}
_WAYS = ("direct", "jacobi", "ic", "amg", "autospec")  # as the native call numbers them


def solve_quickly(
    A: Any, b: Any, rtol: float, atol: float, started: float, method: str = "auto"
) -> Solution | float | None:
    """A x = b where that is an ordinary system of some 10^5 entries at most in plain arrays.

    Where the ordinary way has to be gone: None, or the operations that a factorisation has turned out to exceed.

    Parameters
    ----------
    A, b, rtol, atol : as given to `nnla.solve`, whatever they are
    method : one of `QUICK_METHODS`
    started : `time.perf_counter` when it was called

    Notes
    -----
    Cost: some microseconds and what the report says. Where it declines, a pass over the entries as a rule; at worst,
    where the matrix turns out not to be definite or the target is not reached, as long as it would have taken.

    The decisions are the native call's: up to 20,000 entries from counts alone, beyond these by the learned costs, and
    it leaves what is not clear to `nnla.linear.auto`. What runs is Cholesky's factorisation with
    refinement, or CG over the diagonal, as `nnla.solve` has them.
    """
    asymmetry = _MATRICES.get(type(A))
    if native is None or asymmetry is None or type(b) is not np.ndarray:
        return None
    indptr, indices, data, shape = A.indptr, A.indices, A.data, A.shape
    if not (type(indptr) is type(indices) is type(data) is np.ndarray and b.shape == shape[:1] == shape[1:]):
        return None
    if not (type(rtol) is type(atol) is float and 0.0 <= rtol < 1.0 and 0.0 <= atol < 1e308):
        return None
    parts: tuple[np.ndarray, ...] | None = (indptr, indices, data, b)
    if not (indptr.dtype == indices.dtype and indices.dtype in _INDICES and data.dtype == b.dtype == _VALUE):
        parts = _laid_out(*parts)
    if parts is None:
        return None
    costs = None
    if method == "auto" and native.QUICK_ENTRIES < indices.size <= native.MOST_QUICK_ENTRIES:
        costs = quick_costs(THIS_MACHINE.speeds())
    options = (rtol, atol, asymmetry, QUICK_METHODS[method], costs)
    try:
        try:
            found = native.solve_quickly(*parts, *options)
        except TypeError:  # strided, or unaligned
            parts = _laid_out(*parts)
            if parts is None:
                return None
            found = native.solve_quickly(*parts, *options)
    except ValueError:
        return None
    if type(found) is int:
        return None
    if type(found) is float:
        return found
    x, nnz, relative, backward, equilibrated, direct, jacobi, history, phases, learned = found
    predicted: dict[str, float] | None = None
    spread: dict[str, float] | None = None
    if learned:
        predicted = {way: seconds for way, (seconds, _) in zip(_WAYS, learned, strict=True) if seconds < math.inf}
        spread = {way: factor for way, (_, factor) in zip(_WAYS, learned, strict=True) if way in predicted}
    elif method == "auto":
        predicted = {"direct": direct} if jacobi < 0 else {"jacobi": jacobi} if direct < 0 else {
            "direct": direct, "jacobi": jacobi
        }  # fmt: skip
    # filled in without their constructors, which would take as long as the solution of a small system
    ran = [_phase(*phase) for phase in phases]
    last = ran[-1]
    report = object.__new__(Report)
    fields = report.__dict__
    fields.update(_REPORT)
    fields["method"], fields["scaling"] = last.method, last.scaling
    fields["n"], fields["nnz"], fields["rtol"] = shape[0], nnz, rtol
    fields["relative_residual"], fields["backward_error"] = relative, backward
    fields["iterations"], fields["products"], fields["reductions"] = last.iterations, last.products, last.reductions
    fields["predicted_seconds"], fields["phases"], fields["residual_history"] = predicted, tuple(ran), history
    fields["predicted_spread"] = spread
    fields["chosen_because"] = _words(ran, predicted, spread)
    fields["versions"] = library_versions()
    solve = last.seconds
    if len(ran) > 1:
        for name in ("iterations", "products", "reductions"):
            fields[name] = sum(getattr(phase, name) for phase in ran)
        fields["fallback"] = "; ".join(phase.failure for phase in ran if phase.failure)
        solve = sum(phase.seconds for phase in ran)
    if equilibrated >= 0:
        fields["equilibrated_residual"] = equilibrated
    total = time.perf_counter() - started
    if predicted:  # what the one that ran took, and what the others are expected to
        least = min(
            [
                solve + sum(phase.setup for phase in ran),
                *[seconds for name, seconds in predicted.items() if name != last.method],
            ]
        )
        fields["regret"] = total / least if least > 0 else None
    fields["seconds"] = {"probe": 0, "setup": max(0.0, total - solve), "solve": solve, "total": total}
    return Solution(x, report)


def _laid_out(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, ...] | None:
    """The same arrays as the native call takes them, so that a layout does not change the answer; None for others."""
    if not (indptr.ndim == indices.ndim == data.ndim == 1 and indices.size <= _MOST):
        return None
    if not all(array.dtype.kind in "iu" for array in (indptr, indices)):
        return None
    if not all(array.dtype.kind == "f" and array.dtype.itemsize >= _VALUE.itemsize for array in (data, b)):
        return None
    indices64 = plain(indptr, np.int64), plain(indices, np.int64)
    with np.errstate(over="ignore"):  # an infinite entry is declined
        return (*indices64, plain(data, _VALUE), plain(b, _VALUE))


# what all quick reports and phases have in common, in the order of the fields
_REPORT = dict(Report(Status.CONVERGED, True, "direct", 0, 0, 0.0, 0.0, 0).__dict__)
_PHASE = dict(Phase("direct").__dict__)


def _phase(
    method: int,
    ended_well: bool,
    band: bool,
    iterations: int,
    products: int,
    reductions: int,
    seconds: float,
    setup: float,
) -> Phase:
    phase = object.__new__(Phase)
    fields = phase.__dict__
    fields.update(_PHASE)
    fields["iterations"], fields["products"] = iterations, products
    fields["reductions"], fields["seconds"], fields["setup"] = reductions, seconds, setup
    if method != _DIRECT:
        fields["method"] = fields["scaling"] = _ITERATED[method]
    if band:
        fields["note"] = "factored within its band"
    if not ended_well:
        fields["status"] = Status.MAXITER
        fields["failure"] = f"{phase.method} promised to take longer than a factorisation; direct instead"
    return phase


def _words(ran: list[Phase], predicted: dict[str, float] | None, spread: dict[str, float] | None) -> str:
    """Why what ran did run."""
    text = "asked for"
    if predicted is not None and spread is not None:
        costs = ", ".join([f"{way} {predicted[way]:.2g} s (to a factor of {spread[way]:.2g})" for way in predicted])
        text = f"solved in one native call: predicted {costs}, learned"
    elif predicted is not None:
        costs = ", ".join([f"{name} {seconds:.2g} s" for name, seconds in predicted.items()])
        text = f"a small system, solved in one native call: predicted {costs}"
        if "jacobi" not in predicted and ran[-1].method == "jacobi":
            text = f"{text}, and the first steps of CG promised less"
    if ran[-1].note:
        text = f"{text}; {ran[-1].note}"
    return text if len(ran) == 1 else f"{text}; switched from {ran[0].method} to {ran[-1].method}"
