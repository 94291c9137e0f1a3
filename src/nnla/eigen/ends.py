"""Eigenpairs at one end of a spectrum or at both: two searches, and their pairs as one answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from nnla.eigen.answer import Pairs
from nnla.eigen.iteration import multiply
from nnla.eigen.near import near
from nnla.eigen.one_end import one_end
from nnla.eigen.pencil import Pencil
from nnla.eigen.state import Job
from nnla.eigen.wanted import Ends

if TYPE_CHECKING:
    from nnla.eigen.options import Options

__all__ = ["at_ends", "joined"]

_SHARED = 1e-10  # inner product of vectors from the two ends that are not orthogonal


def at_ends(
    pencil: Pencil, look: Ends, jobs: list[Job], options: Options, start: np.ndarray | None, rng: np.random.Generator
) -> Pairs:
    """The wanted pairs among those at the ends; what happened is written into one job for each end that has any.

    Cost: that of the ends.
    """
    found: list[Pairs] = []
    for job in jobs:
        if pencil.mass is None:
            found.append(one_end(pencil.op, job, start, rng))
        else:
            found.append(near(pencil, None, job, options, start, rng))
    if len(found) == 1:
        return found[0]
    return _merged(pencil, found)


def joined(jobs: list[Job], k: int) -> Job:
    """One job for k pairs that tells what happened in all."""
    if len(jobs) == 1:
        return jobs[0]
    first = jobs[0]
    reasons = list(dict.fromkeys(job.reason for job in jobs if job.reason))
    fallbacks = list(dict.fromkeys(job.fallback for job in jobs if job.fallback))
    methods = list(dict.fromkeys(job.method for job in jobs))
    return replace(
        first,
        k=k,
        method=" and ".join(methods),
        reason="; ".join(reasons),
        fallback="; ".join(fallbacks) or None,
        norm=max(job.norm for job in jobs),
        stagnated=any(job.stagnated for job in jobs),
        verified=all(job.verified for job in jobs),
        products_probe=sum(job.products_probe for job in jobs),
        solves=sum(job.solves for job in jobs),
        shifts=[shift for job in jobs for shift in job.shifts],
        filter=next((job.filter for job in jobs if job.filter is not None), None),
        count_below=None,
        count_at=None,
        phases=[phase for job in jobs for phase in job.phases],
    )


def _merged(pencil: Pencil, found: list[Pairs]) -> Pairs:
    """The wanted ones of the pairs from the two ends, with orthonormal vectors."""
    x = np.concatenate([pairs[0] for pairs in found])
    V = np.concatenate([pairs[1] for pairs in found], axis=1)
    residuals = np.concatenate([pairs[2] for pairs in found])
    left, right = found[0][1], found[1][1]
    if np.abs(left.T @ pencil.mass_times(right)).max(initial=0.0) > _SHARED:
        # an eigenvalue reaches from one end to the other: each search has taken vectors of its own
        x, V, residuals = _rayleigh_ritz(pencil, V)
    chosen = pencil.wanted.choose(x)
    return x[chosen], np.ascontiguousarray(V[:, chosen]), residuals[chosen]


def _rayleigh_ritz(pencil: Pencil, V: np.ndarray) -> Pairs:
    """The pairs that the span of V holds. Cost: three products a vector."""
    gram = V.T @ pencil.mass_times(np.ascontiguousarray(V))
    size, Q = eigh(0.5 * (gram + gram.T))
    kept = size > 1e-8 * size[-1]
    V = V @ (Q[:, kept] / np.sqrt(size[kept]))
    H = V.T @ multiply(pencil.op, np.ascontiguousarray(V))
    x, S = eigh(0.5 * (H + H.T))
    V = V @ S
    return x, V, pencil.residuals(x, V)
