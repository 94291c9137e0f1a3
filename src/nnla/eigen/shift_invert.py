"""Shift and invert: block Lanczos on (A - sigma M)^-1 M, and a count of the eigenvalues it should have found."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from nnla.eigen.counting import Selection, count_missing
from nnla.eigen.iteration import RESOLVED, multiply
from nnla.eigen.ritz import RitzPairs, rayleigh_ritz
from nnla.eigen.shifted import Shifted
from nnla.eigen.shifts import Ends, Inverse, beside, better_shift, beyond, first_shift, near_sigma
from nnla.eigen.short_run import short_run
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.errors import OptionError
from nnla.operators.operator import Operator

__all__ = ["near_shift"]

_BLOCK = 4
_FINEST = 1e-9  # tolerance at most
_STILL = 12  # fillings without progress that end a search
_HUNTS = 20  # for pairs that are missing
_EXTRA = 4  # Ritz vectors kept beyond the wanted ones
_MOVES = 4  # of the shift
_FLOPS_LIMIT = 1e13  # minutes
_NORM_STEPS = 12  # of Lanczos for a norm
_END_STEPS = 40  # the same for an end of a spectrum to put a shift beyond
_EPS = float(np.finfo(np.float64).eps)


def near_shift(
    op: Operator, job: Job, rng: np.random.Generator, start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The k pairs of A x = lambda M x at an end of the spectrum, or beside ``job.sigma``; None where nothing factors.

    At an end the shift is chosen just beyond it: a definite matrix is left, so that Cholesky serves for indefinite A,
    too, and tells by its pivots whether the shift was far enough. The first filling tells whether it was near enough,
    and not so near (an A that is singular, or nearly, at the shift zero) that one eigenvalue drowns the others: then
    it is moved. Beside a sigma within the spectrum it is L D L^T, or SuperLU's factors where that is unstable.

    Parameters
    ----------
    op, job : A, and the request; an M is ``job.mass``, a solve with A - sigma M that the user gave ``job.solve``
    rng, start : of the first vectors: (n,) or (n, j) to begin with, and random ones

    Returns
    -------
    values (k,) increasing, vectors (n, k) orthonormal in M, residual norms ||A v - lambda M v|| / ||v||

    Cost: one factorisation or two, some 3 k solves in blocks, and a factorisation or two that count eigenvalues.

    References
    ----------
    Ericsson, Ruhe, The spectral transformation Lanczos method, Math. Comp. 35 (1980) 1251-1268. Grimes, Lewis, Simon,
    A shifted block Lanczos algorithm for solving sparse symmetric generalized eigenproblems, SIAM J. Matrix Anal.
    Appl. 15 (1994) 228-272.
    """
    if op.csr is None and job.solve is None:
        raise OptionError("shift and invert needs the stored entries of a sparse A; give OPinv=, or use method='auto'")
    meter = Meter(job, "probe")
    ends = _norms(op, job, rng)
    job.products_probe = op.products - job.before
    meter.end_solves(0, op.products - job.before, 0.0, [])
    if job.sigma is None and job.mass is None and ends.top - ends.bottom <= 1e-12 * job.norm:
        return None  # a single point: nothing to invert near it
    meter = Meter(job, "setup")
    shifted = None
    if op.csr is not None and (job.mass is None or job.mass.csr is not None):
        mass = None if job.mass is None else job.mass.csr
        shifted = Shifted(op.csr, mass, max_flops=_FLOPS_LIMIT, analysed=job.analysed)
    inverse = _first(shifted, job, ends)
    meter.end()
    if inverse is None:
        return None
    if job.sigma is not None and job.select == "ends":
        return _both_sides(op, job, rng, start, shifted, inverse, ends)
    return _one_side(op, job, rng, start, shifted, inverse, ends)


def _one_side(
    op: Operator, job: Job, rng: np.random.Generator, start: np.ndarray | None, shifted: Shifted | None,
    inverse: Inverse, ends: Ends,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The pairs that ``job.select`` or ``job.which`` names, by an inverse, counted with the factors there are."""
    search = _Search(op, job, inverse, rng, None if start is None else np.atleast_2d(start.T))
    if shifted is not None and job.sigma is not None and job.select in ("above", "below"):
        search.k = min(search.k, _available(shifted, job, op.n))
    pairs = search.run(shifted, ends) if search.k else search.nothing()
    job.stagnated = search.stagnated
    # of those on the other side of sigma there may be some where nothing has counted
    search.k = min(search.k, int(np.isfinite(search.selection.distances(pairs.values)).sum()))
    if search.k == 0:
        job.verified = not search.stagnated
    elif job.verify and pairs.values.size >= search.k and not search.stagnated and search.meets(pairs):
        meter, before = Meter(job, "verify"), search.restarts
        pairs = _verified(search, shifted, pairs)
        meter.end_solves(search.restarts - before, search.space.steps, search.space.work, [])
    distances = search.selection.distances(pairs.values)
    best = np.argsort(distances, kind="stable")[: search.k]
    pairs = pairs.take(np.sort(best[np.isfinite(distances[best])]))  # they came by increasing value
    search.largest = 0.0
    if pairs.values.size and not search.meets(pairs):  # the last ones found were nearer to zero than those before
        pairs = search.polished(pairs)
    return pairs.values, np.ascontiguousarray(pairs.vectors.T), pairs.residuals


def _available(shifted: Shifted, job: Job, n: int) -> int:
    """How many eigenvalues there are on the wanted side of sigma; k where that cannot be told."""
    assert job.sigma is not None
    counted = shifted.below(job.sigma)
    if counted is None or not counted[1] <= 1e-7 * job.norm:
        return job.k
    return n - counted[0] if job.select == "above" else counted[0]


def _both_sides(
    op: Operator, job: Job, rng: np.random.Generator, start: np.ndarray | None, shifted: Shifted | None,
    inverse: Inverse, ends: Ends,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The pairs next below sigma and next above it, so many of each as the job says."""
    found, sure, total = [], True, job.k
    for select, count in (("below", job.below), ("above", job.above)):
        if count == 0:
            continue
        job.select, job.k, job.verified = select, count, False
        found.append(_one_side(op, job, rng, start, shifted, inverse, ends))
        sure = sure and job.verified
    job.select, job.k, job.verified = "ends", total, sure
    job.count_below = job.count_at = None
    values, vectors, residuals = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
    return values, np.ascontiguousarray(vectors), residuals


def _verified(search: _Search, shifted: Shifted | None, pairs: RitzPairs) -> RitzPairs:
    """The pairs with those that were missing, as far as a count or, without factors, random vectors tell."""
    job = search.job
    if shifted is None and search.holds_all:
        job.verified = True
        return pairs

    def record(count: int, before: float) -> None:
        job.count_below, job.count_at = count, before + 0.0

    scale = job.scale
    for _ in range(_HUNTS):
        if shifted is None:
            return _sampled(search, pairs)
        delta = max(4 * pairs.error, 8 * _EPS * max(scale, float(np.abs(pairs.values).max(initial=0.0))))
        counted = count_missing(search.selection, shifted, search.n, search.k, pairs.values, delta, scale, record)
        if counted is None:
            return _sampled(search, pairs)
        missing = counted[0]
        if missing <= 0:
            job.verified = missing == 0  # fewer: two of the pairs are one
            return pairs
        more = search.hunt(pairs, min(missing, search.space.block))
        if more is None:
            return pairs
        pairs = more
    return pairs


def _sampled(search: _Search, pairs: RitzPairs) -> RitzPairs:
    """Look for better pairs from fresh random blocks, until the best that comes up is no better than the last."""
    job, selection = search.job, search.selection
    for _ in range(_HUNTS):
        distances = np.sort(selection.distances(pairs.values))
        more = search.hunt(pairs, 1)
        if more is None:
            return pairs
        delta = 2 * more.error
        last = float(distances[search.k - 1])
        pairs = more
        if last - float(np.sort(selection.distances(more.values))[search.k - 1]) <= delta:
            job.verified = True
            return pairs
    return pairs


def _first(shifted: Shifted | None, job: Job, ends: Ends) -> Inverse | None:
    if job.solve is not None:
        assert job.sigma is not None
        return Inverse(job.solve, job.sigma, 1.0)
    if shifted is None:
        return None
    if job.sigma is not None:
        return near_sigma(shifted, job.sigma, job.scale)
    return first_shift(shifted, job.orientation, ends, None if job.mass is None else job.scale)


def _norms(A: Operator, job: Job, rng: np.random.Generator) -> Ends:
    """The norm of A as a few steps of Lanczos tell it, and the ends of o A."""
    o = job.orientation
    for steps in (_NORM_STEPS, _END_STEPS):
        probe = short_run(A, steps, rng, o)
        top, bottom = float(probe.theta[0]), float(probe.theta[-1])
        job.norm = max(job.norm, abs(top), abs(bottom))
        # where 0 does for a shift, or no end is wanted, there is no need to know the end
        if job.sigma is not None or job.mass is not None or Ends(top, bottom, 0.0).definite(o):
            break
    # as near to the wanted eigenvalues as these are to each other: nearer would cost the last ones their digits
    last = float(probe.theta[min(job.k, probe.theta.size) - 1])
    return Ends(top, bottom, max(float(probe.residuals[0]), 0.1 * (top - last)))


class _Search:
    """Block Lanczos on an inverse until the wanted pairs meet their tolerance, and on for those that are missing."""

    def __init__(
        self, A: Operator, job: Job, inverse: Inverse, rng: np.random.Generator, start: np.ndarray | None
    ) -> None:
        self.job, self.inverse, self.rng = job, inverse, rng
        self._times = partial(multiply, A)
        self._mass = None if job.mass is None else partial(multiply, job.mass)
        self.mass_norm = job.mass_norm or 1.0
        self.n, self.k, self.restarts = A.n, job.k, 0
        kinds = {"SA": "low", "LA": "high"}
        self.selection = Selection(kinds[job.which]) if job.sigma is None else Selection(job.select, job.sigma)
        self.ratio = 1.0  # of residuals to their estimates
        self.largest = 0.0  # of the eigenvalues found, in magnitude
        self.stagnated = False
        self.space = self._space(start, None)

    def _space(self, start: np.ndarray | None, locked: np.ndarray | None) -> ThickRestart:
        count = 0 if locked is None else locked.shape[0]
        block = max(min(_BLOCK, self.n - count), 1)
        size = min(self.n, count + max(self.job.ncv, 2 * self.k + 4 * _BLOCK))
        if start is not None and start.shape[0] > block:
            # a subspace that nearly holds what is wanted: its mixtures do, and leave the degree of the space high
            start = self.rng.standard_normal((block, start.shape[0])) @ start
        self._full = False  # a restart comes before the next filling
        solve = self.inverse.solve
        apply = solve if block > 1 else lambda v: solve(v[:, None])[:, 0]
        return ThickRestart(apply, self.n, size, start, self.rng, locked, block=block, mass=self._mass, key=self._key)

    def ritz(self, rows: np.ndarray) -> RitzPairs:
        """The pairs of the pencil in the span of the rows."""
        return rayleigh_ritz(self._times, self._mass, rows)

    def _key(self, theta: np.ndarray) -> np.ndarray:
        if self.selection.kind in ("low", "high", "above"):
            return theta
        return np.abs(theta) if self.selection.kind == "nearest" else -theta

    def run(self, shifted: Shifted | None, ends: Ends) -> RitzPairs:
        """The k pairs, or what there is of them when fillings run out."""
        job = self.job
        for move in range(_MOVES + 1):
            job.shift = self.inverse.sigma
            job.shifts.append(job.shift)
            meter = Meter(job, "iterate")
            before, history, better, pairs = self.restarts, list[float](), None, None
            while pairs is None and better is None and not self.stagnated and self.restarts < max(job.left, 1):
                pairs = self._fill(self.k, history)
                if move < _MOVES and shifted is not None and job.solve is None and self.restarts < job.left:
                    better = self._better(done=pairs is not None and not self.stagnated)
            job.solves += self.space.steps
            meter.end_solves(self.restarts - before, self.space.steps, self.space.work, history)
            if better is None:
                break
            assert shifted is not None
            meter = Meter(job, "setup")
            start = self.space.vectors(min(self.k, self.space.theta.size)) if not self.stagnated else None
            end, distance = better
            if job.sigma is not None:
                moved = near_sigma(shifted, end - distance, job.scale)
            else:
                moved = beyond(shifted, job.orientation, end, distance, ends.top - ends.bottom, first=False)
            meter.end()
            if moved is None:
                break
            self.inverse, self.stagnated, self.ratio = moved, False, 1.0
            self.space = self._space(start, None)
        return pairs if pairs is not None else self._candidates(self.k)

    def _better(self, *, done: bool) -> tuple[float, float] | None:
        """Where a better shift lies, as an end of the spectrum (of o A) or sigma, and a distance; None for this one."""
        job = self.job
        least, target = 1e-12 * job.scale, job.tol * job.scale
        lossy = self.stagnated or self.ratio > 1.0
        if job.sigma is None:
            s = job.orientation * self.inverse.sigma
            return better_shift(self.space.theta, self.k, s, least, target, done=done, lossy=lossy)
        return None if done else beside(self.space.theta, self.k, job.sigma, least, target, lossy=lossy)

    def nothing(self) -> RitzPairs:
        """No pairs."""
        return RitzPairs(np.empty(0), np.empty((0, self.n)), np.empty(0), np.empty(0))

    @property
    def holds_all(self) -> bool:
        """Whether the subspace is the whole space, and no eigenvalue of F so large that its rounding hides others."""
        theta = np.abs(self.space.theta)
        return theta.size == self.n and bool(self.n * _EPS * theta.max() < 1e-4 * theta[self.k - 1])

    def meets(self, pairs: RitzPairs) -> bool:
        """Whether the residuals of the pairs are within their tolerance."""
        return bool(np.all(pairs.residuals <= self._targets(pairs.values, pairs.sizes)))

    def hunt(self, known: RitzPairs, wanted: int) -> RitzPairs | None:
        """The known pairs and the ``wanted`` leading ones beside them, from a random block; None if none converge."""
        job = self.job
        if known.values.size >= self.n:
            return None
        self.space, self.ratio, self.stagnated = self._space(None, known.vectors), 1.0, False
        self.largest = float(np.abs(known.values).max(initial=0.0))
        wanted, history = min(wanted, self.n - known.values.size), list[float]()
        found = None
        while found is None and not self.stagnated and job.maxiter > self.restarts:
            found = self._fill(wanted, history)
        job.solves += self.space.steps
        if found is None or self.stagnated:
            return None
        return self.ritz(np.concatenate([known.vectors, found.vectors]))

    def _fill(self, wanted: int, history: list[float]) -> RitzPairs | None:
        """One filling, or less of it; the wanted pairs if they have converged."""
        space = self.space
        self.restarts += 1
        if self._full:
            space.restart(wanted + max(_EXTRA, min(wanted, space.active - wanted) // 2))
        self._full = True
        space.extend(lambda: self._near(wanted), least=min(wanted + _BLOCK, self.n - space.locked))
        worst = float(self._estimates(wanted).max(initial=0.0))
        history.append(self.ratio * worst)
        # what converges at all converges by orders of magnitude in so many fillings
        self.stagnated = len(history) > _STILL and not history[-1] <= 0.5 * history[-1 - _STILL]
        pairs = None
        if self._near(wanted):
            pairs = self._candidates(wanted)
            if not self.meets(pairs):
                pairs = self.polished(pairs)
            if not self.meets(pairs):
                # the estimate said less: the next one is believed as much less
                share = float((pairs.residuals / self._targets(pairs.values, pairs.sizes)).max())
                floor = 8 * _EPS * float(np.abs(space.theta).max())
                rounding = bool(np.all(space.residuals[:wanted] <= floor))
                self.ratio = max(self.ratio * share, 2 * self.ratio)
                self.stagnated = rounding or self.ratio > 1e12
                pairs = pairs if self.stagnated else None
        return pairs

    def polished(self, pairs: RitzPairs) -> RitzPairs:
        """The pairs after a step of subspace iteration: errors of solves in the Lanczos vectors are left behind."""
        V = np.ascontiguousarray(pairs.vectors.T)
        rows = self.inverse.solve(V if self._mass is None else self._mass(V)).T
        self.job.solves += V.shape[1]
        if not np.all(np.isfinite(rows)) or not np.all(rows.any(axis=1)):
            return pairs
        better = self.ritz(rows)
        return better if better.values.size == pairs.values.size else pairs

    def _estimates(self, wanted: int) -> np.ndarray:
        """Residuals of the leading pairs after a step of inverse iteration, which costs nothing."""
        space = self.space
        theta = space.theta[:wanted]
        with np.errstate(all="ignore"):
            out = space.residuals[:wanted] / theta**2 * self.mass_norm
        return np.where(np.isfinite(out), out, math.inf)

    def _near(self, wanted: int) -> bool:
        """Whether the wanted pairs have converged, as far as their estimates tell."""
        space = self.space
        if space.theta.size < min(wanted + _BLOCK, self.n - space.locked) and space.residuals.any():
            return False
        if space.theta.size < wanted:
            return False
        values = self.inverse.values(space.theta[:wanted])
        if not np.all(np.isfinite(values)):
            return False
        bounds = self._targets(values, np.full(values.size, self.mass_norm))
        return bool(np.all(self.ratio * self._estimates(wanted) <= bounds))

    def _targets(self, values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Residuals that pairs are accepted at."""
        job = self.job
        resolved = RESOLVED * float(np.abs(values).max(initial=self.largest)) * sizes
        rounding = max(16 * _EPS, 16 * job.noise) * job.sizes(values)
        # a count tells eigenvalues apart only where the residuals do, and a few solves more bring digits
        asked = job.targets(values) * min(1.0, _FINEST / max(job.tol, _FINEST))
        return np.maximum(np.minimum(asked, resolved), rounding)

    def _candidates(self, wanted: int) -> RitzPairs:
        """The leading Ritz vectors after a step of inverse iteration, and the pairs of A itself in their span."""
        space = self.space
        count = min(wanted, space.theta.size)
        with np.errstate(all="ignore"):
            rows = space.images(count) / space.theta[:count, None]
        if not np.all(np.isfinite(rows)):
            rows = space.vectors(count)
        return self.ritz(rows)
