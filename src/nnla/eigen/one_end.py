"""The k eigenpairs at one end of the spectrum of A: the method, Lanczos with and without a filter, another way back."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import numpy as np

from nnla.eigen.answer import Pairs, converged, meets
from nnla.eigen.auto import before_probe, predict
from nnla.eigen.by_subspace import subspace_pairs
from nnla.eigen.dense import solve_dense
from nnla.eigen.filter_choice import FIELD, choose_filter
from nnla.eigen.filters import BoundFilter
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.shift_invert import near_shift
from nnla.eigen.shifted import Shifted, factor_flops
from nnla.eigen.state import Job, Meter
from nnla.eigen.subspace_cost import digits_of, expected_cost, predict_subspace, seconds_of_a_product
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.verification import conclude
from nnla.eigen.window import Window
from nnla.errors import NonFiniteError, WeightsError
from nnla.kernels.cholesky import Cholesky
from nnla.operators.operator import Operator
from nnla.tasks import engine_for

__all__ = ["one_end"]

_FILTERS_TRIED = 3  # before the rest is left to Lanczos without one
_LEARNED = ("auto", "autospec")  # methods that leave the choice to the library: it may choose again
_PATIENCE = 20  # fillings of the subspace before a factorisation is tried instead
_PROBE = 20  # steps of Lanczos that show where the spectrum ends
_VERIFY = 1.4  # the search with its verification, by the search alone
_WORTH_ASKING = 0.2  # seconds of another way from which a network is asked about Lanczos: to load it takes some 30 ms
_DOUBT = 1.3  # of a prediction, by those of factorisations
_ONE_FILLING = 3.8  # products of subspace by the formula's, which is made for probes of three
_RESCUE_FLOPS = 1e12
_RESCUE_ROWS = 4000  # of a matrix that is then left to LAPACK


def one_end(op: Operator, job: Job, start: np.ndarray | None, rng: np.random.Generator) -> Pairs:
    """The k pairs at the end that the job names: values increasing, vectors (n, k), true residual norms.

    Parameters
    ----------
    op, job : A and the request; what happens is written into the job
    start : (n,) vector, or (n, j) several; None for a random one
    rng : of everything random

    Cost: as in `nnla.eigsh`.
    """
    pairs = _pairs(op, job, start, rng)
    if not meets(job, pairs) and job.asked in _LEARNED and job.left > 0:
        pairs = _rescue(op, job, pairs, rng)
    return pairs


def _pairs(op: Operator, job: Job, start: np.ndarray | None, rng: np.random.Generator) -> Pairs:
    """The pairs by the method asked for."""
    if job.method == "auto":
        _choose_before_probe(op, job)
    if job.method == "dense":
        # the wanted eigenvalues alone do not tell how large A is: a few Lanczos steps do, from below
        ends = ThickRestart(lambda v: multiply(op, v), op.n, min(20, op.n), None, rng)
        ends.extend()
        job.norm = float(np.abs(ends.theta[[0, -1]]).max())
        return _dense(op, job)
    if job.method == "direct":
        pairs = near_shift(op, job, rng, start)
        if pairs is not None:
            return pairs
        job.method, job.fallback = "plain", "Lanczos: no shifted matrix could be factorised"
    if job.method == "subspace":
        meter = Meter(job, "probe")
        space = ThickRestart(lambda v: job.orientation * multiply(op, v), op.n, min(_PROBE, op.n), None, rng)
        space.extend()
        job.products_probe = op.products - job.before
        meter.end_filling(space)
        rows = None if start is None else np.atleast_2d(start.T)
        return subspace_pairs(op, job, rng, rows, _far(job, space), lambda: _affordable(op, job))
    if start is not None and start.ndim == 2:
        start = (start / np.linalg.norm(start, axis=0)).sum(axis=1)
    return _iterate(op, job, start, rng)


def _dense(op: Operator, job: Job) -> Pairs:
    w, V, residuals = solve_dense(op, job.k, job.orientation)
    job.norm = max(job.norm, float(np.abs(w).max()))
    job.verified = True
    return w, V, residuals


def _rescue(op: Operator, job: Job, pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """Another way where the method chosen here, and not by the user, did not do: a factorisation, then LAPACK."""
    tried = job.method
    for method in ("direct", "dense"):
        if method == tried or job.method == "dense":
            continue
        if method == "direct" and (op.csr is None or _factor_flops(op, job) > _RESCUE_FLOPS):
            continue
        if method == "dense" and op.n > _RESCUE_ROWS:
            continue
        why = "not converged" if not converged(job, pairs) else "perhaps not complete"
        job.stagnated = job.verified = False
        job.count_below = job.count_at = None
        other = _dense(op, job) if method == "dense" else near_shift(op, job, rng, None)
        if other is None:
            continue
        job.fallback = f"{method}: {job.method} was {why}"
        job.method, job.filter, pairs = method, None, other
        if meets(job, pairs):
            break
    return pairs


def _choose_before_probe(op: Operator, job: Job) -> None:
    """The choice of "auto" where it is clear without a probe."""
    if job.noise > 0:
        job.method, job.reason = "plain", "auto: products are not of float64, and Lanczos takes the fewest of them"
        return
    job.predicted, job.analysed = before_probe(op, job.k)
    # what a probe costs at least, at the speed of memory: products, and a basis that is read for each
    probe = 2e-9 * (op.nnz or 10 * op.n) * job.ncv + 6e-10 * op.n * job.ncv**2
    best = min(job.predicted, key=job.predicted.__getitem__, default=None)
    if best is not None and job.predicted[best] < max(3 * probe, 0.01):
        job.method, job.reason = best, _reason(job.predicted, best)


def _choose_after_probe(op: Operator, job: Job, search: Search, far: float) -> None:
    """The choice of "auto" among all methods, by what the probe has seen."""
    assert job.predicted is not None
    window = search.window(far)
    if "direct" in job.predicted and (job.orientation > 0 or window.edge < 0):
        job.predicted["direct"] *= 2  # no shift is known to be beyond the end: more factorisations, and slower ones
    job.predicted["subspace"] = _VERIFY * _seconds_of_subspace(op, job, window)
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


# -- filtered Lanczos --------------------------------------------------------------------------------------


def _iterate(
    op: Operator, job: Job, start: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probe, filter, search, verify."""
    o, meter = job.orientation, Meter(job, "probe")
    space = ThickRestart(lambda v: o * multiply(op, v), op.n, job.ncv, start, rng)
    space.extend()
    far, width = _far(job, space), float(space.theta[0] - space.theta[-1])
    search = Search(op, space, job.k, o, job.target, floor=job.floor, noise=job.noise)
    unfiltered = _why_unfiltered(op, job, width)
    fillings = 1 if job.method == "auto" else job.probe_restarts
    search.run(_patience(op, job) if unfiltered is not None else min(fillings, job.left))
    if unfiltered is None and search.done:
        unfiltered = "the probe's restarts were enough"
    if unfiltered is not None:
        if job.method != "plain":
            job.method, job.fallback = "plain", f"no filter: {unfiltered}"
        meter.end(search, "iterate")
        return _conclude(op, job, search, rng)
    meter.end(search, "probe")
    if job.method == "auto":
        _choose_after_probe(op, job, search, far)
    job.products_probe = op.products - job.before
    job.spare = search.space.kept_vectors(job.k).copy()
    if job.method == "dense":
        return _dense(op, job)
    if job.method == "direct":
        outcome = near_shift(op, job, rng, search.space.kept_vectors(job.k).sum(axis=0))
        if outcome is not None:
            return outcome
        job.method, job.fallback = "autospec", "a filter: no shifted matrix could be factorised"
    if job.method == "subspace":
        seen = np.concatenate([search.space.locked_vectors(), search.space.kept_vectors(job.k)])
        return subspace_pairs(op, job, rng, seen, far, lambda: _affordable(op, job))
    if job.method == "plain":
        return _conclude(op, job, _run(op, job, search), rng)
    for attempt in range(_FILTERS_TRIED):
        if job.left == 0:
            return _conclude(op, job, search, rng)
        with contextlib.suppress(NonFiniteError):  # the values of a filter may leave the range of float64
            search = _filtered(op, job, search, far, rng)
            if not search.misled:
                return _conclude(op, job, search, rng)
        far -= o * 0.05 * width  # the other end may reach further, too
        job.fallback = f"filter {attempt + 2}: a pair lay on the wrong side of the cut before, or values overflowed"
    if job.left == 0:
        return _conclude(op, job, search, rng)
    job.method, job.filter = "plain", None
    job.fallback = "no filter: those tried misled"

    def oriented(v: Any) -> Any:
        return o * multiply(op, v)

    space = _space(op, job, search, oriented, rng)
    last = Search(op, space, job.k, o, search.target, floor=search.floor, noise=job.noise).inherit(search)
    return _conclude(op, job, _run(op, job, last, new=True), rng)


def _far(job: Job, space: ThickRestart) -> float:
    """A bound of the unwanted end of the spectrum, as one filling of a space of o A tells it; and the norm of A."""
    top, bottom = float(space.theta[0]), float(space.theta[-1])
    job.norm, width = max(job.norm, abs(top), abs(bottom)), top - bottom
    return job.orientation * (bottom - min(float(space.residuals[-1]), 0.05 * width) - 0.005 * width)


def _run(op: Operator, job: Job, search: Search, *, new: bool = False) -> Search:
    """Restart until the pairs are there; ``new``: the making of its subspace is part of the cost."""
    meter = Meter(job, "iterate", None if new else search)
    search.run(search.restarts + _patience(op, job))
    meter.end(search)
    return search


def _patience(op: Operator, job: Job) -> int:
    """Fillings of the subspace before another way is tried, where there is one and the choice is the library's."""
    other = math.inf
    if job.asked in _LEARNED and op.csr is not None:
        factor = _factor_flops(op, job)
        other = factor if factor < _RESCUE_FLOPS else math.inf
    if job.asked in _LEARNED and op.n <= _RESCUE_ROWS:
        other = min(other, 9.0 * op.n**3)
    if other == math.inf:
        return job.left
    # a product of unknown cost is taken for one of a dense matrix: LAPACK then needs n of them, too
    product = 2.0 * (op.n**2 if op.nnz is None else op.nnz)
    filling = max(job.ncv - job.k, 1) * (job.degree * product + 8.0 * op.n * job.ncv)
    # the fillings before may have been the larger part of the way: some are always made
    return min(job.left, max(_PATIENCE, math.ceil(3 * other / filling)))


def _factor_flops(op: Operator, job: Job) -> float:
    """Operations of a factorisation of A: from its analysis if there is one, else from its graph, looked up once."""
    if not job.factor_flops:
        analysed = job.analysed
        flops = analysed.flops if analysed is not None and analysed.complete else factor_flops(op.csr)
        job.factor_flops = max(flops, 1.0)
    return job.factor_flops


def _conclude(op: Operator, job: Job, search: Search, rng: np.random.Generator) -> Pairs:
    """`conclude` with a factor to count with where that costs less than the search has."""
    shifted = None if not search.done or search.complete else _affordable(op, job)
    return conclude(op, job, search, shifted, rng)


def _affordable(op: Operator, job: Job) -> Shifted | None:
    """Factors to count with, once the search will have cost about as much."""
    if op.csr is None or not Cholesky.available():
        return None
    factor = _factor_flops(op, job)
    # of a factorisation, which works in the cache, four operations take the time of one of these
    spent = 4 * max(2.0 * op.csr.nnz * (op.products - job.before) + job.total("flops"), 1e7)
    if factor >= spent:
        return None
    return Shifted(op.csr, max_flops=3 * spent, analysed=job.analysed)


def _why_unfiltered(op: Operator, job: Job, width: float) -> str | None:
    if job.method == "plain":
        return "none was asked for"
    if job.ncv == op.n:
        return "the subspace is the whole space"
    if width <= 1e-14 * job.norm:
        return "the spectrum is a single point"
    return None


def _filtered(op: Operator, job: Job, previous: Search, far: float, rng: np.random.Generator) -> Search:
    """A search with the filter that suits what the previous one has seen."""
    meter = Meter(job, "setup")
    window = previous.window(far)
    choice = choose_filter(window, job.method, job.degree, cut=job.cut, engine=job.engine)
    job.filter, job.fallback = choice, choice.fallback or job.fallback
    F = BoundFilter(op, choice.recurrence)
    space = _space(op, job, previous, F, rng)
    meter.end()
    search = Search(
        op, space, job.k, job.orientation, previous.target, choice, window.width, floor=previous.floor, noise=job.noise
    )
    return _run(op, job, search.inherit(previous), new=True)


def _space(op: Operator, job: Job, previous: Search, apply: Any, rng: np.random.Generator) -> ThickRestart:
    """A subspace for another operator that starts from what the previous search has found."""
    old = previous.space
    start = old.kept_vectors(job.k).sum(axis=0)
    return ThickRestart(apply, op.n, job.ncv, start, rng, locked=old.locked_vectors())
