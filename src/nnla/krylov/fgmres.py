"""Flexible GMRES for many dense systems at once: a preconditioner that need be neither linear nor the same twice, asked
for all systems in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.operators.arrays import namespace, on_device, to_numpy

__all__ = ["BlockResult", "column_sizes", "flexible_gmres", "stationary"]

Apply = Callable[[Any], Any]

RESTART = 30  # vectors of the basis, kept twice
_PATIENCE = 12  # iterations before the rate is judged: it grows where M A is the identity and a compact operator
_CONTRACTS = 0.9  # of a change of x to the one before: beyond that refinement is given up


@dataclass(frozen=True, eq=False)
class BlockResult:
    """Iterates of many right-hand sides, and what they took.

    Attributes
    ----------
    x : (B, n, k), each column the best that was met
    norms : (B, k) true residual norms
    iterations : (B, k) applications of M to each column
    calls : of M
    """

    x: Any
    norms: np.ndarray
    iterations: np.ndarray
    calls: int


def stationary(A: Apply, M: Apply, norms: Apply, b: Any, x: Any, *, targets: np.ndarray, maxiter: int) -> BlockResult:
    """x <- x + M (b - A x) for every column, as long as each change is shorter than the one before by a tenth.

    The residual itself may grow at first, where M is good in the norm of x; the iterate with the least is kept.

    Parameters
    ----------
    A, M : (B, n, k) -> (B, n, k), column by column; M of a zero column has to be zero
    norms : (B, n, k) -> (B, k), of residuals
    b, x : (B, n, k) right-hand sides and start
    targets : (B, k) residual norms to reach
    maxiter : steps at most

    Notes
    -----
    Cost: a product and an application of M a step and column.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 12 (iterative refinement).

    Examples
    --------
    >>> A, b = np.array([[[2.0, 1.0], [0.0, 2.0]]]), np.ones((1, 2, 1))
    >>> found = stationary(
    ...     lambda v: A @ v, lambda r: r / 2, column_sizes, b, 0 * b, targets=np.array([[1e-12]]), maxiter=5
    ... )
    >>> found.x.ravel().tolist(), found.iterations.tolist()
    ([0.25, 0.5], [[2]])
    """
    xp = namespace(b)
    r = b - A(x)
    now = to_numpy(norms(r))
    best, size = x, now
    active, steps, calls = now > targets, np.zeros(now.shape, dtype=int), 0
    length = np.full(now.shape, np.inf)
    while calls < maxiter and active.any():
        d = M(_masked(r, active))
        calls, steps = calls + 1, steps + active
        shorter = to_numpy(norms(d))
        active = active & (shorter <= _CONTRACTS * length) & (shorter > 0)
        length = shorter
        x = x + _masked(d, active)
        r = b - A(x)
        now = to_numpy(norms(r))
        better = active & (now < size)
        best = xp.where(on_device(better, b)[:, None, :], x, best)
        size = np.where(better, now, size)
        active = active & (now > targets)
    return BlockResult(best, size, steps, calls)


def flexible_gmres(
    A: Apply, M: Apply, norms: Apply, b: Any, x: Any, *, targets: np.ndarray, maxiter: int, restart: int = RESTART
) -> BlockResult:
    """A x = b for every column, by the combination of the preconditioned vectors with the least residual.

    Parameters
    ----------
    A : (B, n, k) -> (B, n, k), linear, column by column
    M : of the same form, any function about A^-1; of a zero column it has to be zero
    norms : (B, n, k) -> (B, k), the 2-norm
    b, x : (B, n, k) right-hand sides and start
    targets : (B, k) residual norms to reach
    maxiter : iterations at most. After 12 of them a column is given up whose rate so far, squared, would not do
    restart : of the basis

    Notes
    -----
    Guaranteed in exact arithmetic, for any M: the residual norm of no column grows. The residual is computed anew at
    every restart, and a restart that has not halved it is the last.

    Cost per iteration and column: a product, an application of M, 4 j inner products for j <= ``restart``. Memory:
    2 ``restart`` arrays of b's shape.

    References
    ----------
    Saad, A flexible inner-outer preconditioned GMRES algorithm, SIAM J. Sci. Comput. 14 (1993) 461-469, algorithm 2.2.
    Giraud, Langou, Rozloznik, van den Eshof, On the loss of orthogonality in the Gram-Schmidt orthogonalization
    process, Comput. Math. Appl. 50 (2005): twice is enough.

    Examples
    --------
    >>> A, b = np.array([np.diag([1.0, 2.0, 3.0])]), np.ones((1, 3, 1))
    >>> found = flexible_gmres(
    ...     lambda v: A @ v, lambda r: r, column_sizes, b, 0 * b, targets=np.array([[1e-12]]), maxiter=9
    ... )
    >>> found.x.ravel().round(9).tolist(), found.iterations.tolist()
    ([1.0, 0.5, 0.333333333], [[3]])
    """
    xp = namespace(b)
    r = b - A(x)
    size = to_numpy(norms(r))
    start, steps, calls = size.copy(), np.zeros(size.shape, dtype=int), 0
    active = size > targets
    while calls < maxiter and active.any():
        length = min(restart, maxiter - calls)
        change, taken = _cycle(A, M, norms, r, size, active, start, targets, steps, maxiter, length)
        calls += taken
        tried = x + change
        after = b - A(tried)
        now = to_numpy(norms(after))
        better = active & (now < size)
        keep = on_device(better, b)[:, None, :]
        x, r = xp.where(keep, tried, x), xp.where(keep, after, r)
        active = active & (now > targets) & (now <= 0.5 * size)
        size = np.where(better, now, size)
    return BlockResult(x, size, steps, calls)


def _cycle(
    A: Apply,
    M: Apply,
    norms: Apply,
    r: Any,
    size: np.ndarray,
    active: np.ndarray,
    start: np.ndarray,
    targets: np.ndarray,
    steps: np.ndarray,
    maxiter: int,
    length: int,
) -> tuple[Any, int]:
    """The change of x by one basis, and its steps; ``steps`` of each column are counted up."""
    xp = namespace(r)
    V = _basis(r, length + 1)
    V[0] = _divided(r, np.where(active, size, 0.0))
    Z: list[Any] = []
    H = np.zeros((length + 1, length, *size.shape))  # made upper triangular on the way
    turn = np.zeros((2, length, *size.shape))  # cosines and sines
    g = np.zeros((length + 1, *size.shape))
    g[0] = np.where(active, size, 0.0)
    alive = active.copy()
    for j in range(length):
        Z.append(M(_masked(V[j], alive)))
        w = A(Z[j])
        basis = V[: j + 1]
        for _ in range(2):
            h = xp.einsum("jbnk,bnk->jbk", basis, w)
            w = w - xp.einsum("jbnk,jbk->bnk", basis, h)
            H[: j + 1, j] += to_numpy(h)
        H[j + 1, j] = to_numpy(norms(w))
        steps += alive
        alive &= np.isfinite(H[: j + 2, j]).all(axis=0)
        H[: j + 2, j] = np.where(alive, H[: j + 2, j], 0.0)
        V[j + 1] = _divided(w, H[j + 1, j])
        _rotate(H, turn, g, j)
        left = np.abs(g[j + 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            gone, wanted = np.log(left / start), np.log(targets / start)
            hopeless = (steps >= _PATIENCE) & ~(2 * gone * maxiter <= wanted * steps)
        alive &= (left > targets) & ~hopeless
        if not alive.any():
            break
    y = _triangular(H, g, len(Z))
    change = xp.zeros_like(r)
    for j, z in enumerate(Z):
        change = change + z * on_device(y[j], r)[:, None, :]
    return change, len(Z)


def _rotate(H: np.ndarray, turn: np.ndarray, g: np.ndarray, j: int) -> None:
    """Givens rotations of the columns: the old ones on column j, and a new one that ends its subdiagonal."""
    for i in range(j):
        c, s = turn[:, i]
        H[i, j], H[i + 1, j] = c * H[i, j] + s * H[i + 1, j], c * H[i + 1, j] - s * H[i, j]
    size = np.hypot(H[j, j], H[j + 1, j])
    unit = np.where(size > 0, size, 1.0)
    c, s = np.where(size > 0, H[j, j] / unit, 1.0), np.where(size > 0, H[j + 1, j] / unit, 0.0)
    turn[:, j] = c, s
    H[j, j], H[j + 1, j] = size, 0.0
    g[j], g[j + 1] = c * g[j], -s * g[j]


def _triangular(H: np.ndarray, g: np.ndarray, m: int) -> np.ndarray:
    """(m, B, k): back substitution for every column; 0 where the diagonal is 0, as of steps that were not taken."""
    y = np.zeros((m, *g.shape[1:]))
    for i in reversed(range(m)):
        rest = g[i] - np.sum(H[i, i + 1 : m] * y[i + 1 :], axis=0)
        y[i] = np.divide(rest, H[i, i], out=np.zeros_like(rest), where=H[i, i] != 0)
    return np.where(np.isfinite(y), y, 0.0)


def _basis(like: Any, count: int) -> Any:
    shape = (count, *like.shape)
    return np.zeros(shape) if namespace(like) is np else like.new_zeros(shape)


def _divided(x: Any, by: np.ndarray) -> Any:
    """Columns divided by numbers; zero where those are."""
    factor = np.divide(1.0, by, out=np.zeros_like(by), where=by > 0)
    return _masked(x * on_device(factor, x)[:, None, :], by > 0)


def _masked(x: Any, which: np.ndarray) -> Any:
    """x with zeros in the other columns, whatever is there."""
    xp = namespace(x)
    return x if which.all() else xp.where(on_device(which, x)[:, None, :], x, xp.zeros_like(x))


def column_sizes(x: Any) -> Any:
    """(B, k) plain 2-norms of columns: for vectors of moderate size.

    >>> float(column_sizes(np.array([[[3.0], [4.0]]]))[0, 0])
    5.0
    """
    return namespace(x).sqrt((x * x).sum(1))
