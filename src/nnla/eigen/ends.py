"""Eigenpairs at one end of a spectrum or at both: two searches, and their pairs as one answer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nnla.eigen.answer import Pairs
from nnla.eigen.iteration import multiply
from nnla.eigen.mass_lanczos import by_mass_solves
from nnla.eigen.near import check_mass, near, nothing_to_invert
from nnla.eigen.one_end import one_end
from nnla.eigen.pencil import Pencil
from nnla.eigen.ritz import rayleigh_ritz
from nnla.eigen.short_run import short_run, spectral_size
from nnla.eigen.state import Job
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.wanted import Ends, Wanted
from nnla.errors import OptionError

if TYPE_CHECKING:
    from nnla.eigen.options import Options

__all__ = ["at_ends", "joined", "merged"]

_SHARED = 1e-9  # inner product of vectors from two searches that are not orthogonal
_UNSEEN = math.log(1e-10)  # probability, as a logarithm, that a run from a random vector misses an eigenvalue


def at_ends(
    pencil: Pencil, look: Ends, jobs: list[Job], options: Options, start: np.ndarray | None, rng: np.random.Generator
) -> Pairs:
    """The wanted pairs among those at the ends; what happened is written into one job for each end that has any.

    Where the largest in magnitude are wanted, the end that seems to hold them is searched first, and the other one
    not at all where a Lanczos run from a random vector would have shown any such value there.

    Cost: that of the ends.

    Raises
    ------
    OptionError
        ``method="direct"``, a mass matrix, and nothing to factor.
    """
    largest = pencil.mass is None and pencil.wanted.which == "LM" and pencil.wanted.sigma is None and len(jobs) == 2
    seen = None
    if largest:
        seen = short_run(pencil.op, jobs[0].ncv, rng)
        if seen.theta[0] > -seen.theta[-1]:
            jobs.reverse()
    found: list[Pairs] = []
    for job in jobs[:]:
        if found and seen is not None:
            least = float(np.abs(found[0][0]).min())
            if _none_beyond(seen, least if job.which == "LA" else -least):
                jobs.remove(job)
                continue
        found.append(_at_one(pencil, job, options, start, rng))
    if len(found) == 1:
        return found[0]
    return merged(pencil, found)


def _at_one(pencil: Pencil, job: Job, options: Options, start: np.ndarray | None, rng: np.random.Generator) -> Pairs:
    if pencil.mass is None:
        return one_end(pencil.op, job, start, rng)
    pairs = near(pencil, None, job, options, start, rng)[0] if pencil.mass_solve is None else None
    if pairs is None and options.method == "direct" and pencil.solve is None:
        raise OptionError(nothing_to_invert(pencil))
    if pairs is None:
        check_mass(pencil, Wanted(job.which, job.k))
        job.norm, job.mass_norm = spectral_size(pencil.op, rng), spectral_size(pencil.mass, rng)
        pairs = by_mass_solves(pencil, job, start, rng)
    return pairs


def _none_beyond(seen: ThickRestart, level: float) -> bool:
    """Whether an eigenvalue beyond ``level``, above it if positive and below it if negative, would have shown.

    References
    ----------
    Kuczynski, Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094-1122, theorem 4.2.
    """
    sign = math.copysign(1.0, level)
    top, bottom = (seen.theta[0], -seen.theta[-1])[:: 1 if sign > 0 else -1]
    gap = (abs(level) - top) / (abs(level) + bottom)
    if not gap > 0:
        return False
    return math.log(1.648 * math.sqrt(seen.n)) - math.sqrt(gap) * (2 * seen.theta.size - 1) < _UNSEEN


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


def merged(pencil: Pencil, found: list[Pairs]) -> Pairs:
    """The wanted ones of the pairs from several searches, with orthonormal vectors."""
    x = np.concatenate([pairs[0] for pairs in found])
    V = np.concatenate([pairs[1] for pairs in found], axis=1)
    residuals = np.concatenate([pairs[2] for pairs in found])
    chosen = pencil.wanted.choose(x)
    W = np.ascontiguousarray(V[:, chosen])
    if np.abs(W.T @ pencil.mass_times(W) - np.eye(chosen.size)).max(initial=0.0) <= _SHARED:
        return x[chosen], W, residuals[chosen]
    # an eigenvalue reaches from one end to the other: each search has taken vectors of its own
    mass = None if pencil.mass is None else pencil.mass_times
    pairs = rayleigh_ritz(lambda Q: multiply(pencil.op, Q), mass, V.T)
    pairs = pairs.take(pencil.wanted.choose(pairs.values))
    return pairs.values, np.ascontiguousarray(pairs.vectors.T), pairs.residuals
