"""The way to the wanted pairs of a pencil: LAPACK, an inverse next to a shift, or searches at the ends."""

from __future__ import annotations

import math

import numpy as np

from nnla.eigen.answer import Pairs
from nnla.eigen.definiteness import Definiteness, definiteness
from nnla.eigen.ends import at_ends, joined, merged
from nnla.eigen.iteration import multiply
from nnla.eigen.near import by_lapack, near, nothing_to_invert
from nnla.eigen.one_end import one_end
from nnla.eigen.options import Options
from nnla.eigen.pencil import Pencil
from nnla.eigen.short_run import spectral_range
from nnla.eigen.state import Job
from nnla.eigen.wanted import Ends, Near
from nnla.errors import OptionError
from nnla.operators.operator import Operator

__all__ = ["wanted_pairs"]

_DENSE = 256  # rows up to which LAPACK takes no time worth a thought, where it is not the ends of A alone
_BEYOND = 4.0  # times the largest Ritz value of a short run is surely beyond the spectrum


def wanted_pairs(pencil: Pencil, options: Options, start: np.ndarray | None, started: float) -> tuple[Job, Pairs]:
    """The wanted pairs of the pencil, and the job that tells how they were found.

    Parameters
    ----------
    pencil, options : what is asked for
    start : (n,) or (n, j), None for a random start
    started : by ``time.perf_counter``

    Raises
    ------
    OptionError, NotPositiveDefiniteError
        What the pencil or its size does not allow.

    Cost: as in `nnla.eigsh`.
    """
    op, wanted, rng = pencil.op, pencil.wanted, np.random.default_rng(options.seed)
    before = op.products
    noise = _noise(op, rng)

    def begin(which: str, count: int) -> Job:
        job = options.job(which, count)
        job.started, job.before, job.noise = started, before, noise
        job.seed = None if start is not None else options.seed
        return job

    look = wanted.look()
    if isinstance(look, Near) and pencil.solve is None and _is_beyond(pencil, look.shift, rng):
        # 1 / (x - shift) falls over the whole spectrum
        low, high = look.above, look.below
        look = Ends(high, low) if look.select == "nearest" and look.shift > 0 else Ends(low, high)
    one_sided = isinstance(look, Ends) and (look.low == 0 or look.high == 0)
    if _is_for_lapack(pencil, options, one_sided):
        job = begin(wanted.which, wanted.k)
        return job, by_lapack(pencil, wanted, job, rng)
    if isinstance(look, Ends):
        jobs = [begin(which, count) for which, count in (("SA", look.low), ("LA", look.high)) if count]
        pairs = at_ends(pencil, look, jobs, options, start, rng)
        return joined(jobs, wanted.k), pairs
    if pencil.solve is not None and look.shift != wanted.shift:
        raise OptionError(
            "which='SM' in mode='cayley' asks for those nearest to -sigma: pass sigma=-sigma with its OPinv and "
            "which='LM', which is the same"
        )
    job = begin(wanted.which, look.count)
    pairs, short = near(pencil, look, job, options, start, rng)
    if pairs is not None and short:
        # 1 / (x - shift) goes on through zero, with those furthest from the shift on its other side
        above = int(np.count_nonzero(pairs[0] > look.shift))
        left = op.n - pairs[0].size
        rest = Ends(min(max(look.above - above, 0), left), min(max(look.below - (pairs[0].size - above), 0), left))
        if pencil.mass is not None and definiteness(pencil.mass) is Definiteness.SINGULAR:
            raise OptionError(
                f"only {pairs[0].size} of the eigenvalues asked for are finite: M is singular; ask for no more, "
                f"k={pairs[0].size}, or for which='LM'"
            )
        jobs = [begin(which, count) for which, count in (("SA", rest.low), ("LA", rest.high)) if count]
        further = [at_ends(pencil, rest, [other], options, start, rng) for other in jobs]
        return joined([job, *jobs], wanted.k), merged(pencil, [pairs, *further])
    if pairs is not None:
        return job, pairs
    which = _only_side(pencil, look, rng)
    if which is not None:
        job = begin(which, wanted.k)
        pairs = one_end(op, job, start, rng)
        beyond = pairs[0] >= look.shift if which == "SA" else pairs[0] <= look.shift
        if np.all(beyond):
            return job, pairs
    raise OptionError(nothing_to_invert(pencil))


def _is_for_lapack(pencil: Pencil, options: Options, one_sided: bool) -> bool:
    """Whether all eigenpairs are computed at once, and the wanted ones taken."""
    if pencil.mass is None and one_sided:
        return False  # there LAPACK is one way among others, and has a driver for a few pairs
    if options.method == "dense" or (options.method != "direct" and 2 * options.wanted.k >= pencil.op.n):
        return True
    return options.method == "auto" and pencil.op.n <= _DENSE


def _is_beyond(pencil: Pencil, shift: float, rng: np.random.Generator) -> bool:
    """Whether a shift is surely outside of the spectrum of a standard problem, where an inverse is no help.

    Cost: a pass over the entries, or 20 products where they are not known.
    """
    if pencil.mass is not None or shift == 0:
        return False
    if pencil.op.csr is not None:
        csr = pencil.op.csr
        rows = np.repeat(np.arange(pencil.op.n), np.diff(csr.indptr))
        return abs(shift) > 1.01 * float(np.bincount(rows, weights=np.abs(csr.data)).max(initial=0.0))
    if isinstance(pencil.op.matrix, np.ndarray):
        return abs(shift) > 1.01 * float(np.abs(pencil.op.matrix).sum(axis=1).max())
    return abs(shift) > _BEYOND * max(map(abs, spectral_range(pencil.op, rng)))


def _only_side(pencil: Pencil, look: Near, rng: np.random.Generator) -> str | None:
    """The end of the spectrum that is wanted, if no eigenvalue seems to lie on the other side of the shift."""
    if pencil.mass is not None or look.select == "ends":
        return None
    low, high = spectral_range(pencil.op, rng)
    if low >= look.shift and look.select in ("nearest", "above"):
        return "SA"
    return "LA" if high <= look.shift and look.select in ("nearest", "below") else None


def _noise(op: Operator, rng: np.random.Generator) -> float:
    """How far products miss additivity, by their size, as those in float32 do; 0 where it is float64's rounding.

    Cost: three products, of operators known only by these.
    """
    if op.nnz is not None:
        return 0.0
    u, v = rng.standard_normal((2, op.n)) / math.sqrt(op.n)
    Au, Av, both = multiply(op, u), multiply(op, v), multiply(op, u + v)
    size = float(np.linalg.norm(Au) + np.linalg.norm(Av))
    noise = float(np.linalg.norm(both - Au - Av)) / size if size > 0 else 0.0
    return noise if noise > 64 * np.finfo(np.float64).eps else 0.0
