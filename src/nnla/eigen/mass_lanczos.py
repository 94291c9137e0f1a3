"""The ends of the spectrum of a pencil whose matrices cannot be factored: block Lanczos on M^-1 A, in M's product."""

from __future__ import annotations

import numpy as np

from nnla.eigen.answer import Pairs, good
from nnla.eigen.iteration import multiply
from nnla.eigen.pencil import Apply, Pencil
from nnla.eigen.ritz import RitzPairs, rayleigh_ritz
from nnla.eigen.state import Job, Meter
from nnla.eigen.thick_restart import ThickRestart
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.krylov.cg import conjugate_gradients
from nnla.operators.operator import Operator

__all__ = ["by_mass_solves"]

_BLOCK = 4
_EXTRA = 4  # Ritz vectors kept beyond the wanted ones
_TOLD = 0.1  # residual of a Ritz pair by its distance from what it is told from
_HUNTS = 20  # fresh blocks that are looked from
_FLOPS = 1e12  # of a factorisation of M
_EPS = float(np.finfo(np.float64).eps)


def by_mass_solves(pencil: Pencil, job: Job, start: np.ndarray | None, rng: np.random.Generator) -> Pairs:
    """The k pairs at the end that a job names, by products with A and M and solves with M alone.

    Parameters
    ----------
    pencil, job : what is asked for; ``pencil.mass_solve`` is M^-1, if the user has given it
    start : (n,) or (n, j), None for a random block
    rng : of the vectors that are begun from

    Notes
    -----
    Cost: two solves with M, a product with A and one with M for each vector of the subspace. Without factors of M a
    solve is a run of conjugate gradients, short for a mass matrix.

    Pairs are verified by looking from fresh random blocks beside those found, until nothing better comes up.

    References
    ----------
    Wu, Simon (2000), as in `ThickRestart`; Lehoucq, Sorensen, Yang, ARPACK Users' Guide (1998), section 3.2.
    """
    assert pencil.mass is not None
    job.mass, job.method = pencil.mass, "plain"
    solve = pencil.mass_solve or _solver(pencil.mass)
    meter = Meter(job, "iterate")
    search = _Search(pencil, job, solve, rng)
    pairs = search.run(job.k, None if start is None else np.atleast_2d(start.T), None)
    meter.end_solves(search.restarts, search.steps, search.work, search.history)
    if job.verify and search.converged(pairs):
        meter, before, steps, work = Meter(job, "verify"), search.restarts, search.steps, search.work
        pairs = _sampled(search, pairs)
        meter.end_solves(search.restarts - before, search.steps - steps, search.work - work, [])
    job.stagnated = search.stagnated
    best = pairs.take(np.argsort(-job.orientation * pairs.values, kind="stable")[: job.k])
    best = best.take(np.argsort(best.values, kind="stable"))
    return best.values, np.ascontiguousarray(best.vectors.T), best.residuals


def _sampled(search: _Search, pairs: RitzPairs) -> RitzPairs:
    """The pairs, and better ones from fresh random blocks, until the best that comes up is no better than the last."""
    job = search.job
    for _ in range(_HUNTS):
        if pairs.values.size >= search.n:
            job.verified = True
            return pairs
        last = float(np.sort(-job.orientation * pairs.values)[job.k - 1])
        found = search.run(1, None, pairs.vectors, beyond=-job.orientation * last)
        if search.settled:
            job.verified = True
            return pairs
        if not search.converged(found, 1):
            return pairs
        more = search.ritz(np.concatenate([pairs.vectors, found.vectors[:1]]))
        now = np.sort(-job.orientation * more.values)[job.k - 1]
        off = 2 * more.error
        pairs = more
        if last - now <= off:
            job.verified = True
            return pairs
    return pairs


class _Search:
    """Fillings of a subspace until the leading pairs converge."""

    def __init__(self, pencil: Pencil, job: Job, solve: Apply, rng: np.random.Generator) -> None:
        assert pencil.mass is not None
        self.A, self.M, self.job, self.n, self._rng = pencil.op, pencil.mass, job, pencil.op.n, rng
        self._solve = solve
        self.restarts = self.steps = 0
        self.work = 0.0
        self.history: list[float] = []
        self.stagnated = self.settled = False

    def ritz(self, rows: np.ndarray) -> RitzPairs:
        """The pairs of the pencil in the span of the rows."""
        return rayleigh_ritz(lambda V: multiply(self.A, V), lambda V: multiply(self.M, V), rows)

    def converged(self, pairs: RitzPairs, count: int | None = None) -> bool:
        """Whether the first so many pairs of those at the end have converged."""
        count = self.job.k if count is None else count
        order = np.argsort(-self.job.orientation * pairs.values, kind="stable")[:count]
        best = pairs.take(order)
        return best.values.size == count and bool(np.all(good(self.job, (best.values, best.vectors.T, best.residuals))))

    def run(
        self, wanted: int, start: np.ndarray | None, locked: np.ndarray | None, beyond: float | None = None
    ) -> RitzPairs:
        """The ``wanted`` leading pairs beside the locked ones, as far as they have come, better ones first.

        Ends as soon as the leading one is known well enough to be told from one that is better than ``beyond``.
        """
        self.settled = False
        count = 0 if locked is None else locked.shape[0]
        block = min(_BLOCK, self.n - count)
        size = min(self.n, count + max(self.job.ncv, 2 * wanted + 4 * _BLOCK))
        o = self.job.orientation

        def apply(Z: np.ndarray) -> np.ndarray:
            # Z is M V
            V = self._solve(Z)
            out = self._solve(multiply(self.A, np.ascontiguousarray(V)))
            return out if block > 1 else out.reshape(Z.shape)

        space = ThickRestart(
            apply, self.n, size, start, self._rng, locked, block=block, mass=lambda V: multiply(self.M, V),
            key=lambda theta: o * theta,
        )  # fmt: skip
        pairs, best, still = None, np.inf, 0
        while self.restarts < max(self.job.left, 1):
            if pairs is not None:
                space.restart(wanted + max(_EXTRA, min(wanted, space.active - wanted) // 2))
            self.restarts += 1
            space.extend()
            if beyond is not None:
                behind = o * (beyond - float(space.theta[0]))
                self.settled = float(space.residuals[0]) < _TOLD * behind
            pairs = self.ritz(space.vectors(min(wanted, space.theta.size)))
            pairs = pairs.take(np.argsort(-o * pairs.values, kind="stable"))
            worst = float((pairs.residuals / self.job.targets(pairs.values)).max())
            self.history.append(worst * self.job.tol * self.job.norm)
            if self.settled or self.converged(pairs, wanted) or space.theta.size == self.n:
                break
            best, still = (worst, 0) if worst < 0.5 * best else (best, still + 1)
            if still >= 200:
                self.stagnated = True
                break
        self.steps, self.work = self.steps + space.steps, self.work + space.work
        assert pairs is not None
        return pairs


def _solver(M: Operator) -> Apply:
    """Solves with M: by factors of its entries, or by conjugate gradients."""
    if M.csr is not None and Cholesky.available():
        factor = Cholesky(M.csr, max_flops=_FLOPS)
        if factor.complete and factor.nbytes <= memory_limit():
            return factor.factor().solve
    elif isinstance(M.matrix, np.ndarray):
        from scipy.linalg import cho_factor, cho_solve

        factored = cho_factor(M.matrix, check_finite=False)
        return lambda b: cho_solve(factored, b, check_finite=False)

    def solve(b: np.ndarray) -> np.ndarray:
        sizes = np.linalg.norm(b, axis=0)
        cg = conjugate_gradients(
            lambda v: multiply(M, np.ascontiguousarray(v)), b, maxiter=10 * M.n, x=np.zeros_like(b), residual=b.copy(),
            targets=32 * _EPS * sizes, stall=20,
        )  # fmt: skip
        return cg.x

    return solve
