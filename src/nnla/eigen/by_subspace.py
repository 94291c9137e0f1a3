"""The pairs at an end by blocks of Chebyshev corrections, and whether others are missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.eigen.filter_choice import FilterChoice
from nnla.eigen.filtered_subspace import SubspaceOutcome, solve_subspace
from nnla.eigen.filters import BoundFilter, chebyshev_filter, cut_of_strength
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.shifted import Shifted
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.unseen_pairs import unseen_pairs
from nnla.eigen.verification import conclude
from nnla.operators.operator import Operator

__all__ = ["subspace_pairs"]

_DEGREE = 31  # of the filter that looks for what is missing
_STRENGTH = 0.3  # of it: cosh(2 sqrt .3) = 1.7 at the last pair found


def subspace_pairs(
    op: Operator,
    job: Job,
    rng: np.random.Generator,
    start: np.ndarray | None,
    far: float,
    affordable: Callable[[], Shifted | None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k pairs: values increasing, vectors (n, k), true residual norms; what happened is written into the job.

    Parameters
    ----------
    op, job, rng : A, the request, and what is random
    start : (j, n) rows to begin with, or None
    far : a bound of the other end of the spectrum
    affordable : called when they are found: factors to count with, or None where these would cost too much

    Cost: that of `solve_subspace`, and of a count or of a search from random vectors.
    """
    o, meter = job.orientation, Meter(job, "iterate")
    found = solve_subspace(
        op, job.k, o, job.target, rng, floor=job.floor, start=start, far=far, maxiter=max(job.left, 1)
    )
    meter.end_solves(found.filterings, found.products, found.flops, list(found.history))
    job.stagnated = found.stagnated
    pairs = found.values, found.vectors, found.residuals
    if not found.converged or not job.verify:
        return pairs
    shifted = affordable()
    if shifted is not None or found.interval is None:
        search = _beside(op, job, found, far, rng)
        return conclude(op, job, search, shifted, rng)
    return _looked_at(op, job, found, rng)


def _looked_at(
    op: Operator, job: Job, found: SubspaceOutcome, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs, and better ones that blocks of random vectors show, until none does."""
    meter, before, turns = Meter(job, "verify"), op.products, 0
    pairs = found.values, found.vectors, found.residuals
    assert found.interval is not None
    cut, far = found.interval
    while turns < max(job.left, 1) and op.n > job.k:
        w, V, _ = pairs
        level = float(w[0] if job.orientation > 0 else w[-1])
        seen = unseen_pairs(
            op, np.ascontiguousarray(V.T), level, job.orientation, job.target, rng, cut=cut, far=far, floor=job.floor,
        )  # fmt: skip
        turns += seen.filterings + 1
        if seen.better:
            pairs = seen.values, seen.vectors, seen.residuals
            continue
        job.verified = seen.settled
        break
    meter.end_solves(turns, op.products - before, 0.0, [])
    return pairs


def _beside(op: Operator, job: Job, found: SubspaceOutcome, far: float, rng: np.random.Generator) -> Search:
    """A search that has these pairs, with a filter that tells them from what may be missing."""
    o = job.orientation
    order = np.argsort(-o * found.values, kind="stable")
    values, rows = found.values[order], np.ascontiguousarray(found.vectors.T[order])
    cut = cut_of_strength(_STRENGTH, float(values[-1]), far, _DEGREE)
    choice, apply = None, _oriented(op, o)
    if math.isfinite(cut) and abs(cut - values[-1]) > 0:
        choice = FilterChoice(chebyshev_filter(cut, far, _DEGREE), cut)
        apply = BoundFilter(op, choice.recurrence)
    size = min(op.n, job.k + max(20, min(job.ncv, 2 * job.k)))
    space = ThickRestart(apply, op.n, size, None, rng, locked=rows)
    search = Search(op, space, job.k, o, job.target, choice, abs(far - float(values[0])), floor=job.floor,
                    noise=job.noise)  # fmt: skip
    search.restarts = 2  # not of one filling that held the whole space
    search.values = [float(value) for value in values]
    search.thetas = [search.filtered(value) for value in search.values]
    return search


def _oriented(op: Operator, o: float) -> Any:
    return lambda v: o * multiply(op, v)
