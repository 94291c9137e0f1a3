"""Batches of systems taken through the loop until each is verified, and by Cholesky where one is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.errors import NotPositiveDefiniteError
from nnla.linear.dense_measures import Measures
from nnla.linear.dense_systems import DenseBatch
from nnla.models.nlaformer_exact import ExactLoop

__all__ = ["Run", "cholesky", "run_loops"]

_STALLED = 20  # loops without a smaller residual: the rest is rounding


@dataclass(eq=False)
class Run:
    """What became of the right-hand sides of a batch, numbered system by system.

    Attributes
    ----------
    batch : DenseBatch
    y : (B, n, k) in its units
    loops, products : (B k,)
    done : (B k,) verified by the loop
    direct : (B k,) solved by Cholesky
    inside, read : (B k,) what the guard found, and columns that it read
    measures, seconds : of the answers
    """

    batch: DenseBatch
    y: np.ndarray
    loops: np.ndarray
    products: np.ndarray
    done: np.ndarray
    direct: np.ndarray
    inside: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    read: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    measures: Measures = field(init=False)
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @staticmethod
    def product(A: np.ndarray, which: np.ndarray) -> Callable[[Any], Any]:
        """(S, n, K) -> A of system which[s] times that; the matrices are not copied where each has as many vectors."""
        each = len(which) // max(1, len(A))
        if each * len(A) == len(which) and np.array_equal(which, np.repeat(np.arange(len(A)), each)):
            n = A.shape[-1]

            def product(V: np.ndarray) -> np.ndarray:
                K = V.shape[-1]
                block = V.reshape(len(A), each, n, K).transpose(0, 2, 1, 3).reshape(len(A), n, each * K)
                out = (A @ block).reshape(len(A), n, each, K).transpose(0, 2, 1, 3)
                return out.reshape(len(which), n, K)

            return product
        chosen = A[which]
        return lambda V: chosen @ V


def run_loops(loop: ExactLoop, batch: DenseBatch, left_out: np.ndarray, rtol: float, maxiter: int) -> Run:
    """Loops until every right-hand side is verified, has stalled, or ``maxiter`` loops are over.

    Parameters
    ----------
    loop : of all right-hand sides of the batch
    left_out : (B k,) those that the loop is not for
    rtol : of the whole residual and of every row's

    Notes
    -----
    An answer is verified when its residual is expected to do, by how the last loop has reduced it. That product is not
    lost where it does not: the loop goes on from it.

    Cost: a copy of the matrices that are left, each time that some are verified.
    """
    B, n, k = batch.b.shape
    N, A = B * k, batch.matrices()
    system = np.repeat(np.arange(B), k)
    whole, flags = np.zeros(N, dtype=int), np.zeros(N, dtype=bool)
    run = Run(batch, np.zeros((B, n, k)), whole, whole.copy(), flags, flags.copy())
    size = np.sqrt((loop.b * loop.b).sum(1))
    entries = np.sqrt((A * A).sum(2))
    run.done[:] = size == 0
    active = np.flatnonzero(~run.done & ~left_out)
    if len(active) < N:
        loop.keep(active)
        loop.product = Run.product(A, system[active])
    before, best, since = size[active], size[active].copy(), np.zeros(len(active), dtype=int)
    after = before
    while len(active) and loop.loops < maxiter:
        expected = after * np.minimum(after / np.where(before > 0, before, 1.0), 1.0)
        goal = rtol * size[active]
        run.loops[active] += 1
        finished = np.zeros(len(active), dtype=bool)
        if (expected <= goal).any() or loop.loops + 1 == maxiter or (since >= _STALLED // 2).any():
            y, residual = loop.verify()
            run.products[active] += 1
            x_size = np.sqrt((y * y).sum(1))
            rows = entries[system[active]] * x_size[:, None] + np.abs(loop.b)
            finished = (np.sqrt((residual**2).sum(1)) <= goal) & (np.abs(residual) <= rtol * rows).all(1)
            run.y[system[active], :, active % k] = np.where(np.isfinite(y), y, 0.0)
            run.done[active] = finished
        else:
            loop.advance()
            run.products[active] += loop.config.channels
        before, after = after, np.sqrt((loop.r * loop.r).sum(1))
        better = after < 0.99 * best
        best, since = np.where(better, after, best), np.where(better, 0, since + 1)
        usable = np.isfinite(after) & ~loop.indefinite & (since < _STALLED)
        keep = np.flatnonzero(~finished & usable)
        if len(keep) < len(active):
            active = active[keep]
            loop.keep(keep)
            loop.product = Run.product(A, system[active])
            before, after, best, since = before[keep], after[keep], best[keep], since[keep]
    return run


def cholesky(run: Run, first: int) -> None:
    """Cholesky and a step of refinement for what the loop has not verified.

    Parameters
    ----------
    run : is changed
    first : number of its first system, for messages

    Raises
    ------
    NotPositiveDefiniteError
        A factorisation breaks down.

    Notes
    -----
    Rows and columns are scaled by powers of two first, so that no unit is lost.

    Cost: n^3 / 3 operations for each system.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23. Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., theorem 10.3 and chapter 12.
    """
    batch = run.batch
    B, _, k = batch.b.shape
    open_ = ~run.done.reshape(B, k)
    for s in np.flatnonzero(open_.any(axis=1)):
        # A = 2^rows batch.A by rows, and with S = 2^-half: S A S has a diagonal of about 1
        exponents = np.frexp(np.diagonal(batch.A[s]))[1] + batch.rows[s]
        half = exponents // 2
        scaled = np.ldexp(batch.A[s], (batch.rows[s] - half)[:, None] - half[None, :])
        scaled = (scaled + scaled.T) / 2
        try:
            factor = np.linalg.cholesky(scaled)
        except np.linalg.LinAlgError:
            raise NotPositiveDefiniteError(
                f"A{f' of system {first + s} (from 0)' if first + s or B > 1 else ''} is not positive definite, or "
                "singular to rounding; use numpy.linalg.solve, or nnla.solve, which knows singular systems"
            ) from None
        columns = np.flatnonzero(open_[s])
        c = np.ldexp(batch.b[s][:, columns], (batch.rows[s] - half)[:, None])
        z = _solved(factor, c)
        z = z + _solved(factor, c - scaled @ z)
        run.y[s][:, columns] = np.ldexp(z, -half[:, None])
        run.direct[s * k + columns] = True


def _solved(factor: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The solution by a factor of Cholesky's."""
    from scipy.linalg import solve_triangular

    z = solve_triangular(factor, c, lower=True, check_finite=False)
    return solve_triangular(factor, z, lower=True, trans=1, check_finite=False)
