"""Are these the k pairs at the end of the spectrum, all copies among them? By counting, or from random vectors.

A Krylov space holds one copy of a multiple eigenvalue, and none of what its start vector is orthogonal to. Where a
shifted matrix can be factored at a cost that is small beside that of the search, its inertia *counts* the eigenvalues
before the last one. Else Lanczos looks for better pairs beside those found, from fresh random vectors.
"""

from __future__ import annotations

import math

import numpy as np

from nnla.eigen.counting import Selection, count_missing
from nnla.eigen.filter_choice import FilterChoice
from nnla.eigen.filters import BoundFilter, chebyshev_filter, cut_of_strength
from nnla.eigen.iteration import EXTRA, Search
from nnla.eigen.shifted import Shifted
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.operators.operator import Operator

__all__ = ["conclude"]

_EPS = float(np.finfo(np.float64).eps)
_COUNTS = 6  # factorisations tried
_UNSEEN = math.log(1e-10)  # probability, as a logarithm, of an eigenvector that random vectors may leave unseen
_MATCHED = 0.3  # strength of a filter made for looking: it is cosh(2 sqrt .3) = 1.7 at the last pair found


def conclude(
    op: Operator, job: Job, search: Search, shifted: Shifted | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verification, as a phase of its own, and the pairs: values increasing, vectors (n, k), residual norms.

    Parameters
    ----------
    op, job, search : the search has ended
    shifted : factors to count with, None where they would cost too much
    rng : of the vectors that are looked from
    """
    job.stagnated = search.stagnated
    if not search.done or not job.verify:
        return search.pairs(job.spare)
    if search.complete:
        job.verified = True
        return search.pairs()
    meter = Meter(job, "verify", search)
    search = _able_to_judge(op, search, rng)
    hunt = Hunt(search, job.left)
    if shifted is not None:
        job.verified = _by_counting(job, hunt, shifted)
    if not job.verified and job.count_below is None:
        job.verified = _by_sampling(hunt, 1 if job.seed is not None else 2)
    meter.end_hunt(hunt.fillings, search)
    return search.pairs()


def _able_to_judge(op: Operator, search: Search, rng: np.random.Generator) -> Search:
    """The search, or one whose filter tells everything up to the last pair from the rest.

    Pairs that were found before the filter was made may lie where it damps: there it says nothing of who is better.
    """
    choice = search.choice
    if choice is None:
        return search
    last = search.values[search.best[-1]]
    if min(search.thetas[i] for i in search.best) > 1.5 and search.orientation * (last - (choice.cut or last)) >= 0:
        return search
    low, high = choice.recurrence.domain
    far = high if search.orientation < 0 else low
    if choice.cut is None:  # a power: every interval is damped
        far = choice.recurrence.shift
    degree = choice.recurrence.degree
    cut = cut_of_strength(_MATCHED, last, far, degree)
    if not abs(cut - last) > 0:
        return search
    matched = FilterChoice(chebyshev_filter(cut, far, degree), cut)
    locked = search.space.locked_vectors()
    space = ThickRestart(BoundFilter(op, matched.recurrence), op.n, search.space.size, None, rng, locked=locked)
    space.steps, space.work = search.space.steps, search.space.work
    width = abs(far - search.values[search.best[0]])
    other = Search(op, space, search.k, search.orientation, search.target, matched, width, floor=search.floor)
    other.restarts, other.history = search.restarts, search.history
    return other.inherit(search)


class Hunt:
    """Looks for pairs beside those that a search has locked, from random vectors.

    Parameters
    ----------
    search : the locked pairs are its, and those found are added
    left : fillings of the subspace at most

    Attributes
    ----------
    fillings : so far
    """

    def __init__(self, search: Search, left: int) -> None:
        self.search, self.left, self.fillings = search, left, 0
        self._fresh = True

    def fill(self) -> bool:
        """One filling, of a fresh random vector after `again`; False where nothing is left to look in, or with."""
        space = self.search.space
        if self.left <= 0 or space.locked >= space.n:
            return False
        if self._fresh:
            space.make_room(space.locked + max(20, min(space.size, 2 * self.search.k)))
            space.renew()
        self.left -= 1
        self.fillings += 1
        space.extend()
        return True

    def go_on(self, found: int = 0) -> None:
        """Shrink the subspace after a filling; the first ``found`` Ritz pairs were accepted and are locked."""
        space = self.search.space
        space.restart(found + min(EXTRA, max(space.active - found - 2, 1)))
        space.lock(found)
        self._fresh = found > 0

    def again(self) -> None:
        """The next filling is one from a fresh random vector."""
        self._fresh = True

    @property
    def fresh(self) -> bool:
        """Whether the filling at hand, or the next one, is the first of its vector."""
        return self._fresh


# -- by inertia ------------------------------------------------------------------------------------------------


def _by_counting(job: Job, hunt: Hunt, shifted: Shifted) -> bool:
    """Count the eigenvalues before the last one found, and find those that are missing; True if none is.

    Sets ``job.count_below`` and ``count_at``.
    """
    search = hunt.search
    selection = Selection("low" if search.orientation < 0 else "high")

    def record(count: int, before: float) -> None:
        job.count_below, job.count_at = count, before + 0.0

    for _ in range(_COUNTS):
        delta = max(4 * search.target_now, 8 * _EPS * job.norm)
        counted = count_missing(
            selection, shifted, search.op.n, search.k, np.array(search.values), delta, job.norm, record
        )
        if counted is None:
            return False
        missing, before = counted
        if missing <= 0:
            return missing == 0  # fewer: two of the pairs are one
        if _find(hunt, before, missing):
            return True
    return False


def _find(hunt: Hunt, mu: float, missing: int) -> bool:
    """Find so many eigenvalues more below mu, as distances from the wanted end; True if all came up.

    False already when there are k of them: fewer may be needed than were missing.
    """
    search, o = hunt.search, hunt.search.orientation
    useless, have = 0, sum(-o * value < mu for value in search.values)
    while missing > 0 and useless < 5 + missing and hunt.fill():
        before = len(search.values)
        found = search.accept(min(missing + 1, search.space.theta.size))
        new = [-o * value for value in search.values[before:]]
        good = sum(value < mu for value in new)
        useless = 0 if good else useless + (found > 0)
        missing, have = missing - good, have + good
        hunt.go_on(found)
        if missing > 0 and have >= search.k:
            return False
    return missing <= 0


# -- from random vectors ---------------------------------------------------------------------------------------


def _by_sampling(hunt: Hunt, runs: int) -> bool:
    """Look for better pairs from fresh random vectors; True if none seems to be left.

    A better pair would have come up: either by the bound of Kuczynski and Wozniakowski for so many steps from a random
    vector, or as the leading Ritz pair of ``runs`` searches that have come to rest at one that is no better.

    References
    ----------
    Kuczynski, Wozniakowski, Estimating the largest eigenvalue by the power and Lanczos algorithms with a random start,
    SIAM J. Matrix Anal. Appl. 13 (1992) 1094-1122, theorem 4.2.
    """
    search, space = hunt.search, hunt.search.space
    unseen, clean = 0.0, 0
    while space.locked < space.n:
        first = hunt.fresh
        if not hunt.fill():
            return False
        last = search.values[search.best[-1]]
        value, residual = search.pair(0)
        if search.orientation * (value - last) > 2 * search.target_now:
            found = search.accept(1)
            hunt.go_on(found)
            unseen, clean = (0.0, 0) if found else (unseen, clean)
            continue
        level = min(search.thetas[i] for i in search.best)
        if first:
            unseen += min(_log_unseen(level, space), 0.0)
            if unseen < _UNSEEN:
                return True
        if _settled(level, space) or residual <= search.target_now:
            clean += 1
            if clean >= runs:
                return True
            hunt.go_on(0)
            hunt.again()
            continue
        hunt.go_on(0)
    return True


def _log_unseen(level: float, space: ThickRestart) -> float:
    """Logarithm of the probability that a run from a random vector shows no more than this of an F of ``level``."""
    top, bottom, steps = float(space.theta[0]), float(space.theta[-1]), space.theta.size
    if not level > top or steps < 2:
        return 0.0
    gap = (level - top) / (level - bottom)
    return math.log(1.648 * math.sqrt(space.n)) - math.sqrt(gap) * (2 * steps - 1)


def _settled(level: float, space: ThickRestart) -> bool:
    """Whether the leading Ritz pair is known well enough to tell it from one of F = ``level``."""
    top = float(space.theta[0])
    spread = top - float(space.theta[min(EXTRA, space.theta.size - 1)])
    apart = max(level - top, 0.05 * spread)
    floor = 8 * _EPS * float(np.abs(space.theta).max())
    return float(space.residuals[0]) <= max(0.1 * apart, floor)
