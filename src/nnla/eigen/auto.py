"""`method="auto"` of `nnla.eigsh`: the cheapest way to the wanted eigenpairs, by predicted seconds.

Known beforehand are the costs of a product (timed by the probe's own), of orthogonality (operations), of LAPACK and of
a Cholesky factorisation (its analysis counts the operations). How many steps Lanczos will take, with and without a
filter, the engine predicts from the probe; how many products blocks of corrections take, a formula.
"""

from __future__ import annotations

from typing import Any

from nnla.eigen.window import Window
from nnla.kernels.cholesky import FILL, Cholesky, level_structure
from nnla.operators.operator import Operator

__all__ = ["DEGREES", "before_probe", "predict"]

DEGREES = (11, 21, 31, 51)  # of the filters that are weighed
_DENSE = (1.2e-10, 2e-3)  # seconds of LAPACK per n^3, and at least
_FACTOR = 1.2e-8, 5e-11  # seconds of a factorisation: per entry of A, per operation
_SOLVE = 5e-10  # seconds of a solve in a block, per entry of the factor
_SOLVES = 3.0, 30.0  # of shift and invert: for each pair, and besides
_CALL = 2e-4  # besides, of Python
_STEP = 3e-10  # seconds of its orthogonality, per unknown and squared number of solves
_UNFUSED = 1.2  # a step of a filter in Python, by a product
_FLOP = 2.5e-10  # seconds of an operation on the basis: it is memory that limits it
_VERIFY = 1.35  # all steps, with those of the verification, by those to the last pair
_FLOPS_LIMIT = 1e12  # of a factorisation that is worth analysing


def before_probe(op: Operator, k: int) -> tuple[dict[str, float], Cholesky | None]:
    """Seconds of the methods that need no probe, "dense" and "direct", and the analysis that the latter's come from.

    Cost: where the graph promises a factorisation that is worth it, an ordering: linear in the entries.
    """
    n, analysed = op.n, None
    predicted: dict[str, float] = {}
    if n <= 4000:
        predicted["dense"] = max(_DENSE[0] * float(n) ** 3, _DENSE[1])
    if op.csr is not None and Cholesky.available():
        if FILL * level_structure(op.csr)[1] < _FLOPS_LIMIT:
            analysed = Cholesky(op.csr, max_flops=_FLOPS_LIMIT)
        if analysed is not None and analysed.complete:
            factor = _FACTOR[0] * op.csr.nnz + _FACTOR[1] * analysed.flops
            solves = _SOLVES[0] * k + _SOLVES[1]
            each = _SOLVE * analysed.nnz + _CALL
            # the second factorisation counts eigenvalues
            predicted["direct"] = 2 * factor + solves * each + _STEP * n * solves**2
    return predicted, analysed


def predict(window: Window, engine: Any, product: float, *, native: bool) -> dict[str, float]:
    """Seconds that are left after the probe: "plain", and "autospec/d" for each degree d.

    Parameters
    ----------
    window : what the probe has seen
    engine : predicts steps from it
    product : seconds of a product with A
    native : whether blocks run in the native kernels: their products take a fraction of the time of those of a vector,
        so that a filter on one vector at a time is not worth a prediction

    Notes
    -----
    Cost: a small network for each degree; no products.
    """
    n, ncv = window.n, window.ncv
    keep = window.k + 5
    orthogonality = _FLOP * n * (4 * (ncv + keep) + 2 * keep * ncv / max(ncv - keep, 1))
    predicted: dict[str, float] = {"plain": _VERIFY * engine.choose(window, degree=1).steps * (product + orthogonality)}
    for degree in () if native else DEGREES:
        steps = _VERIFY * engine.choose(window, degree=degree).steps
        predicted[f"autospec/{degree}"] = steps * (degree * _UNFUSED * product + orthogonality)
    return predicted
