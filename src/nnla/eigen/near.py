"""Eigenpairs of a pencil where an inverse is needed: next to a shift, and at the ends where there is a mass matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnla.eigen.answer import Pairs, good, meets
from nnla.eigen.definiteness import Definiteness, definiteness
from nnla.eigen.dense import RESCUE_ROWS
from nnla.eigen.dense_pencil import all_pairs, refined
from nnla.eigen.iteration import multiply
from nnla.eigen.pencil import Pencil
from nnla.eigen.shift_invert import near_shift
from nnla.eigen.short_run import spectral_size
from nnla.eigen.state import Job, Meter
from nnla.eigen.wanted import Near, Wanted
from nnla.errors import NotPositiveDefiniteError, OptionError

if TYPE_CHECKING:
    from nnla.eigen.options import Options

__all__ = [
    "by_lapack",
    "can_invert",
    "check_mass",
    "near",
    "nothing_to_invert",
]

_AGREE = 1e-3  # of the user's inverse with what it has to be on the vectors found
_EPS = float(np.finfo(np.float64).eps)


def by_lapack(pencil: Pencil, wanted: Wanted, job: Job, rng: np.random.Generator) -> Pairs:
    """The wanted pairs among all, which LAPACK computes. Cost: some 9 n^3 operations.

    Raises
    ------
    OptionError, NotPositiveDefiniteError
        As `all_pairs`; fewer eigenvalues are finite.
    """
    meter = Meter(job, "iterate")
    every, V = all_pairs(pencil)
    if every.size < pencil.op.n:
        _refuse_infinite(wanted)
    chosen = wanted.choose(every)
    if chosen.size < wanted.k:
        raise OptionError(
            f"only {chosen.size} of the eigenvalues are finite: M is singular; ask for no more, k={chosen.size}"
        )
    x, V = every[chosen], np.ascontiguousarray(V[:, chosen])
    job.k, job.method, job.verified = wanted.k, "dense", True
    # the values found alone do not tell how large the matrices are
    job.norm = max(job.norm, spectral_size(pencil.op, rng))
    if pencil.mass is None:
        job.norm = max(job.norm, float(np.abs(x).max()))
    else:
        job.mass, job.mass_norm = pencil.mass, max(job.mass_norm, spectral_size(pencil.mass, rng))
    pairs = x, V, pencil.residuals(x, V)
    bad = ~good(job, pairs)
    if pencil.mass is not None and bad.any():
        better, V = refined(pencil, x, V, bad)
        # whatever has moved must not have changed places with an eigenvalue that was left out
        others = np.delete(every, chosen)
        gaps = np.abs(x[:, None] - others).min(axis=1, initial=np.inf)
        job.verified = bool(np.all(np.abs(better - x) <= 0.1 * gaps))
        pairs = better, V, pencil.residuals(better, V)
    meter.end()
    return pairs


def can_invert(pencil: Pencil) -> bool:
    """Whether there are entries to factor, or an inverse is given."""
    return pencil.stored or pencil.solve is not None


def near(
    pencil: Pencil, look: Near | None, job: Job, options: Options, start: np.ndarray | None, rng: np.random.Generator
) -> tuple[Pairs | None, bool]:
    """The pairs that a job is after, next to a shift or, with ``look`` None, at its end of the spectrum of a pencil.

    None where there is nothing to invert with. And whether these are all that there are on a side of the shift, while
    others matter: see `_is_short`.

    Raises
    ------
    OptionError
        ``OPinv`` is the inverse of something else.
    NotPositiveDefiniteError
        The mass matrix is not what is needed.
    """
    op, mass = pencil.op, pencil.mass
    job.method, job.mass, job.solve = "direct", mass, None if look is None else pencil.solve
    wanted = pencil.wanted if look is not None else Wanted(job.which, job.k)
    if look is None:
        job.sigma, job.select = None, "below" if job.which == "LA" else "above"
        job.below, job.above = (job.k, 0) if job.which == "LA" else (0, job.k)
    else:
        job.sigma, job.select, job.below, job.above = look.shift, look.select, look.below, look.above
    check_mass(pencil, wanted)
    job.mass_norm = 0.0 if mass is None else spectral_size(mass, rng)
    pairs = near_shift(op, job, rng, start) if pencil.stored or job.solve is not None else None
    if pairs is not None:
        if job.solve is not None:
            _check_inverse(pencil, job, pairs)
        if look is not None and _is_short(wanted, look, job, pairs, op.n):
            return pairs, True
        chosen = wanted.choose(pairs[0])
        job.k, pairs = wanted.k, (pairs[0][chosen], pairs[1][:, chosen], pairs[2][chosen])
        if meets(job, pairs):
            return pairs, False
    if options.method != "auto" or op.n > RESCUE_ROWS:
        return pairs, False
    job.fallback = "dense: " + ("nothing could be factored" if pairs is None else "direct has not done")
    return by_lapack(pencil, wanted, job, rng), False


def _is_short(wanted: Wanted, look: Near, job: Job, pairs: Pairs, n: int) -> bool:
    """Whether a side of the shift has fewer eigenvalues, all of them found, than were looked for, and others matter."""
    x = pairs[0]
    if not job.verified or x.size >= min(look.count, n):
        return False
    if x.size < wanted.k or look.count == wanted.k:
        return True
    # the mode "cayley": what is not found is further from the shift s than all that is, on the side that is full, where
    # |x + s| / |x - s| lies between that of the furthest one and 1
    s = look.shift
    sizes = np.abs((x + s) / (x - s))
    full = x > s if np.count_nonzero(x > s) >= look.above else x < s
    furthest = float(sizes[np.argmax(np.where(full, np.abs(x - s), -1.0))])
    return bool(np.sort(sizes)[-wanted.k] < max(1.0, furthest))


def check_mass(pencil: Pencil, wanted: Wanted) -> None:
    """Refuse a mass matrix that is indefinite, or singular where the infinite eigenvalues are asked for."""
    if pencil.mass is None:
        return
    kind = definiteness(pencil.mass)
    if kind is Definiteness.INDEFINITE:
        raise NotPositiveDefiniteError(pencil.indefinite)
    if kind is Definiteness.SINGULAR:
        _refuse_infinite(wanted)


def _refuse_infinite(wanted: Wanted) -> None:
    if wanted.far or (wanted.sigma is None and wanted.which in ("LA", "LM", "BE")):
        what = "A is singular: 0 is" if wanted.exchanged else "M is singular: there are infinite eigenvalues,"
        raise NotPositiveDefiniteError(
            f"{what} among those furthest from the others, which={wanted.which!r}; pass sigma= and ask for those "
            "nearest to it"
        )


def _check_inverse(pencil: Pencil, job: Job, pairs: Pairs) -> None:
    """Whether the user's inverse is undone by A - sigma M, for the first and the last vector found.

    The inverse of another shift has the same vectors: the pairs would be right, but not those wanted.
    """
    shift = job.sigma
    assert shift is not None
    assert pencil.solve is not None
    x, V, _ = pairs
    for j in {0, x.size - 1} if x.size else ():
        b = pencil.mass_times(np.ascontiguousarray(V[:, j]))
        y = pencil.solve(b)
        off = multiply(pencil.op, y) - shift * pencil.mass_times(y) - b
        rounding = 1e3 * _EPS * float(job.sizes(np.array([shift]))[0]) * float(np.linalg.norm(y))
        if not np.linalg.norm(off) <= _AGREE * np.linalg.norm(b) + rounding:
            raise OptionError(
                "OPinv is not the inverse of A - sigma M: their product changes a vector; pass that of the same sigma, "
                "or leave it out"
            )


def nothing_to_invert(pencil: Pencil) -> str:
    """The message of an error."""
    if can_invert(pencil):
        return "A - sigma M could not be factored within the memory and time there is; pass its inverse as OPinv="
    if pencil.wanted.sigma is None:
        return (
            "A and M are known by products alone, so that nothing can be factored; pass sigma= and OPinv=, or sparse"
            " matrices"
        )
    return "A or M is known by products alone, so that nothing can be factored; pass OPinv= for (A - sigma M)^-1"
