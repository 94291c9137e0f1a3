"""Eigenpairs of a pencil where an inverse is needed: next to a shift, and at the ends where there is a mass matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnla.eigen.answer import Pairs, good, meets
from nnla.eigen.dense_pencil import all_pairs, refined
from nnla.eigen.iteration import multiply
from nnla.eigen.pencil import Pencil
from nnla.eigen.shift_invert import near_shift
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.wanted import Near
from nnla.errors import OptionError
from nnla.operators.operator import Operator

if TYPE_CHECKING:
    from nnla.eigen.options import Options

__all__ = ["by_lapack", "near", "spectral_size"]

_RESCUE_ROWS = 4000  # of a matrix that is left to LAPACK where nothing else did
_AGREE = 1e-3  # of the user's inverse with what it has to be on the vectors found


def spectral_size(op: Operator, rng: np.random.Generator) -> float:
    """||A||_2 from below, by some Lanczos steps. Cost: 20 products."""
    space = ThickRestart(lambda v: multiply(op, v), op.n, min(20, op.n), None, rng)
    space.extend()
    return float(np.abs(space.theta[[0, -1]]).max())


def by_lapack(pencil: Pencil, job: Job, rng: np.random.Generator) -> Pairs:
    """The wanted pairs among all, which LAPACK computes. Cost: some 9 n^3 operations."""
    meter = Meter(job, "iterate")
    every, V = all_pairs(pencil)
    chosen = pencil.wanted.choose(every)
    if chosen.size < job.k:
        raise OptionError(
            f"only {chosen.size} of the eigenvalues are finite: M is singular; ask for no more, k={chosen.size}"
        )
    x, V = every[chosen], np.ascontiguousarray(V[:, chosen])
    # the values found alone do not tell how large the matrices are
    job.norm = max(job.norm, spectral_size(pencil.op, rng))
    if pencil.mass is not None:
        job.mass, job.mass_norm = pencil.mass, max(job.mass_norm, spectral_size(pencil.mass, rng))
    else:
        job.norm = max(job.norm, float(np.abs(x).max()))
    job.method = "dense"
    pairs = x, V, pencil.residuals(x, V)
    bad = ~good(job, pairs)
    job.verified = True
    if pencil.mass is not None and bad.any():
        better, V = refined(pencil, x, V, bad)
        # whatever has moved must not have changed places with an eigenvalue that was left out
        others = np.delete(every, chosen)
        gaps = np.abs(x[:, None] - others).min(axis=1, initial=np.inf)
        job.verified = bool(np.all(np.abs(better - x) <= 0.1 * gaps))
        pairs = better, V, pencil.residuals(better, V)
    meter.end()
    return pairs


def near(
    pencil: Pencil, look: Near | None, job: Job, options: Options, start: np.ndarray | None, rng: np.random.Generator
) -> Pairs:
    """The pairs that a job is after, next to a shift or, with ``look`` None, at its end of the spectrum of a pencil.

    Raises
    ------
    OptionError
        There is nothing to invert with; fewer eigenvalues than k lie on that side of the shift; ``OPinv`` is the
        inverse of something else.
    """
    op, mass = pencil.op, pencil.mass
    job.method, job.mass, job.solve = "direct", mass, pencil.solve
    if look is None:
        job.sigma, job.select = None, "below" if job.which == "LA" else "above"
        job.below, job.above = (job.k, 0) if job.which == "LA" else (0, job.k)
    else:
        job.sigma, job.select, job.below, job.above = look.shift, look.select, look.below, look.above
    job.norm = max(job.norm, spectral_size(op, rng))
    job.mass_norm = 0.0 if mass is None else spectral_size(mass, rng)
    pairs = None
    if pencil.solve is not None or (op.csr is not None and (mass is None or mass.csr is not None)):
        pairs = near_shift(op, job, rng, start)
    rescued = options.method == "auto" and op.n <= _RESCUE_ROWS
    if pairs is None and not rescued:
        raise OptionError(_nothing_to_invert(pencil))
    if pairs is not None:
        if pencil.solve is not None:
            _check_inverse(pencil, pairs)
        if look is not None:
            pairs = _chosen(pencil, look, job, pairs)
        if meets(job, pairs) or not rescued:
            return pairs
    job.fallback = "dense: " + ("nothing could be factored" if pairs is None else "direct has not done")
    return by_lapack(pencil, job, rng)


def _chosen(pencil: Pencil, look: Near, job: Job, pairs: Pairs) -> Pairs:
    """The wanted of the pairs found."""
    x, V, residuals = pairs
    if job.verified and x.size < pencil.wanted.k:
        side = {"above": "above", "below": "below"}.get(look.select, "on one side of")
        raise OptionError(
            f"only {x.size} eigenvalues lie {side} the shift {look.shift:.6g}; ask for no more, k={x.size}, or for "
            "which='LM', those nearest to it"
        )
    chosen = pencil.wanted.choose(x)
    job.k = pencil.wanted.k
    return x[chosen], V[:, chosen], residuals[chosen]


def _check_inverse(pencil: Pencil, pairs: Pairs) -> None:
    """Whether the user's inverse does to the first and last vector found what (A - sigma M)^-1 does.

    Another shift than sigma has the same vectors, and would give pairs that are right, but not those wanted.
    """
    shift = pencil.wanted.shift
    assert shift is not None
    assert pencil.solve is not None
    x, V, _ = pairs
    for j in {0, x.size - 1} if x.size else ():
        v = np.ascontiguousarray(V[:, j])
        away = x[j] - shift
        Mv = pencil.mass_times(v)
        got = pencil.solve(away * Mv)
        if not np.linalg.norm(got - v) <= _AGREE * np.linalg.norm(v):
            raise OptionError(
                "OPinv is not the inverse of A - sigma M: it does something else to an eigenvector; pass that of the "
                "same sigma, or leave it out"
            )


def _nothing_to_invert(pencil: Pencil) -> str:
    entries = pencil.op.csr is not None and (pencil.mass is None or pencil.mass.csr is not None)
    if entries:
        return "A - sigma M could not be factored within the memory and time there is; pass its inverse as OPinv="
    if pencil.wanted.sigma is None:
        return "without stored entries of A there is no inverse; pass sigma= and OPinv=, or a sparse A"
    return "without stored entries of A and M nothing can be factored; pass OPinv=, an operator for (A - sigma M)^-1"
