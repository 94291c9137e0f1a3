"""The k eigenpairs at one end of the spectrum of A: the method, Lanczos with and without a filter, another way back."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from nnla.eigen.answer import Pairs, converged, meets
from nnla.eigen.auto import choose_after_probe, choose_before_probe
from nnla.eigen.by_subspace import subspace_pairs
from nnla.eigen.dense import RESCUE_ROWS, solve_dense
from nnla.eigen.filter_choice import choose_filter
from nnla.eigen.filters import BoundFilter
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.shift_invert import near_shift
from nnla.eigen.shifted import Shifted, factor_flops
from nnla.eigen.short_run import short_run, spectral_size
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.verification import conclude
from nnla.errors import NonFiniteError
from nnla.kernels.cholesky import Cholesky
from nnla.operators.operator import Operator

__all__ = ["one_end"]

_FILTERS_TRIED = 3  # before the rest is left to Lanczos without one
_LEARNED = ("auto", "autospec")  # methods that leave the choice to the library: it may choose again
_PATIENCE = 20  # fillings of the subspace before a factorisation is tried instead
_PROBE = 20  # steps of Lanczos that show where the spectrum ends
_RESCUE_FLOPS = 1e12


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
        choose_before_probe(op, job)
    if job.method == "dense":
        # the wanted eigenvalues alone do not tell how large A is: a few Lanczos steps do, from below
        job.norm = spectral_size(op, rng)
        return _dense(op, job)
    if job.method == "direct":
        pairs = near_shift(op, job, rng, start)
        if pairs is not None:
            return pairs
        job.method, job.fallback = "plain", "Lanczos: no shifted matrix could be factorised"
    if job.method == "subspace":
        meter = Meter(job, "probe")
        space = short_run(op, _PROBE, rng, job.orientation)
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
        if method == "dense" and op.n > RESCUE_ROWS:
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
        choose_after_probe(op, job, search, far)
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
    if job.asked in _LEARNED and op.n <= RESCUE_ROWS:
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
