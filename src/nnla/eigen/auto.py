"""`method="auto"` of `nnla.eigsh`: the cheapest way to the wanted eigenpairs, by predicted seconds.

Known beforehand are the costs of a product (timed by the probe's own), of orthogonality (operations), of LAPACK and of
a Cholesky factorisation (its analysis counts the operations). How many steps Lanczos will take, with and without a
filter, an engine predicts from the probe; how many products blocks of corrections take, another one, or a formula where
that is little.
"""

from __future__ import annotations

import math
import time
from typing import Any

from nnla.eigen.dense import RESCUE_ROWS
from nnla.eigen.filter_choice import FIELD
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.state import Job
from nnla.eigen.subspace_cost import digits_of, expected_cost, predict_subspace, seconds_of_a_product
from nnla.eigen.window import Window
from nnla.errors import WeightsError
from nnla.kernels.cholesky import FILL, Cholesky, level_structure
from nnla.operators.operator import Operator
from nnla.tasks import engine_for

__all__ = ["DEGREES", "before_probe", "choose_after_probe", "choose_before_probe", "predict"]

DEGREES = (11, 21, 31, 51)  # of the filters that are weighed
_DENSE = (1.2e-10, 2e-3)  # seconds of LAPACK per n^3, and at least
_FACTOR = 1.5e-8, 7e-11  # seconds of a factorisation: per entry of A, per operation
_SOLVE = 8e-10  # seconds of a solve in a block, per entry of the factor
_SOLVES = 3.0, 30.0  # of shift and invert: for each pair, and besides
_CALL = 2e-4  # besides, of Python
_STEP = 6e-10  # seconds of its orthogonality, per unknown and squared number of solves
_UNFUSED = 1.2  # a step of a filter in Python, by a product
_FLOP = 2.5e-10  # seconds of an operation on the basis: it is memory that limits it
_VERIFY = 1.35  # all steps, with those of the verification, by those to the last pair
_VERIFY_SUBSPACE = 1.4  # the same of the subspace method, by seconds
_WORTH_ASKING = 0.2  # seconds of another way from which a network is asked: to load one takes some 30 ms
_DOUBT = 1.3  # of a prediction, by those of factorisations
_ONE_FILLING = 3.8  # products of subspace by the formula's, which is made for probes of three
_FLOPS_LIMIT = 1e12  # of a factorisation that is worth analysing


def choose_before_probe(op: Operator, job: Job) -> None:
    """The choice of "auto" where it is clear without a probe. Cost: that of `before_probe`."""
    if job.noise > 0:
        job.method, job.reason = "plain", "auto: products are not of float64, and Lanczos takes the fewest of them"
        return
    job.predicted, job.analysed = before_probe(op, job.k)
    # what a probe costs at least, at the speed of memory: products, and a basis that is read for each
    probe = 2e-9 * (op.nnz or 10 * op.n) * job.ncv + 6e-10 * op.n * job.ncv**2
    best = min(job.predicted, key=job.predicted.__getitem__, default=None)
    if best is not None and job.predicted[best] < max(3 * probe, 0.01):
        job.method, job.reason = best, _reason(job.predicted, best)


def choose_after_probe(op: Operator, job: Job, search: Search, far: float) -> None:
    """The choice of "auto" among all methods, by what the probe has seen. Cost: some products, a network or two."""
    assert job.predicted is not None
    window = search.window(far)
    if "direct" in job.predicted and (job.orientation > 0 or window.edge < 0):
        job.predicted["direct"] *= 2  # no shift is known to be beyond the end: more factorisations, and slower ones
    job.predicted["subspace"] = _VERIFY_SUBSPACE * _seconds_of_subspace(op, job, window)
    if op.native is None or min(job.predicted.values()) > _WORTH_ASKING:
        try:
            job.predicted |= predict(window, engine_for(job.engine, FIELD, "auto"), _seconds(op, search),
                                     native=op.native is not None)  # fmt: skip
        except WeightsError as error:
            job.fallback = f"auto without a prediction for Lanczos: {error}"
    predicted = job.predicted
    # What is known less well has to win by more: of a factorisation the operations are counted, of a spectrum a probe
    # sees an end, and what it tells of Lanczos on one vector at a time is the least where blocks run natively.
    doubt = {"subspace": _DOUBT} | ({"plain": 4 * _DOUBT} if op.native is not None else {})
    best = min(predicted, key=lambda name: predicted[name] * doubt.get(name, 1.0))
    job.reason = _reason(job.predicted, best)
    job.method, _, degree = best.partition("/")
    job.degree = int(degree) if degree else job.degree


def _seconds_of_subspace(op: Operator, job: Job, window: Window) -> float:
    """What blocks of corrections will take: by a formula where that is little, else by the model."""
    product, digits = seconds_of_a_product(op, job.k), digits_of(window, job.target, job.floor)
    seconds = predict_subspace(window, product, digits=digits).seconds
    if seconds * _ONE_FILLING < _WORTH_ASKING:
        return seconds
    try:
        engine = engine_for(None, FIELD, "subspace")
    except WeightsError as error:
        job.fallback = f"the cost of subspace by a formula: {error}"
        return _ONE_FILLING * seconds
    cost, known = expected_cost(window, product, digits=digits, engine=engine)
    return cost.seconds if known else _ONE_FILLING * seconds


def _seconds(op: Operator, search: Search) -> float:
    """Seconds of a product: the quickest of three, for another program may have had the processor."""
    v, best = search.space.kept_vectors(1)[0], math.inf
    for _ in range(3):
        clock = time.perf_counter()
        multiply(op, v)
        best = min(best, time.perf_counter() - clock)
    return best


def _reason(predicted: dict[str, float], best: str) -> str:
    others = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in predicted.items() if name != best)
    return f"auto: predicted {predicted[best]:.2g} s" + (f", against {others}" if others else "")


# -- seconds ----------------------------------------------------------------------------------------------------


def before_probe(op: Operator, k: int) -> tuple[dict[str, float], Cholesky | None]:
    """Seconds of the methods that need no probe, "dense" and "direct", and the analysis that the latter's come from.

    Cost: where the graph promises a factorisation that is worth it, an ordering: linear in the entries.
    """
    n, analysed = op.n, None
    predicted: dict[str, float] = {}
    if n <= RESCUE_ROWS:
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
