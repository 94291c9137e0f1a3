"""Is there an eigenpair better than those found? Looked for from a block of random vectors beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnla.eigen.block_products import BlockProducts, correction_coefficients, filter_coefficients
from nnla.eigen.filtered_subspace import resolved_degree
from nnla.eigen.ritz_basis import RitzBasis
from nnla.errors import ShapeError
from nnla.operators.operator import Operator

__all__ = ["Unseen", "unseen_pairs"]

_VECTORS = 8
_BLOCKS = 4  # that the subspace holds besides the pairs found
_GAIN = math.log(2e3)  # of the level against what is damped, in one filtering
_LONGEST = 400
_SETTLED = 0.1  # a residual by the distance to the level: nearer eigenvalues would have shown
_MAXITER = 20


@dataclass(frozen=True, eq=False)
class Unseen:
    """What `unseen_pairs` saw.

    Attributes
    ----------
    settled : nothing better than the level is left, as far as random vectors tell
    better : how many more of the converged ``values`` lie beyond the level than of those given
    values : (j,) of the best pairs now, as many as were given, increasing
    vectors : (n, j) orthonormal columns
    residuals : (j,) their residuals
    next_value, next_residual : of the leading Ritz pair besides those
    products, filterings : that it took
    """

    settled: bool
    better: int
    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    next_value: float
    next_residual: float
    products: int
    filterings: int


def unseen_pairs(
    op: Operator,
    found: np.ndarray,
    level: float,
    orientation: float,
    target: float,
    rng: np.random.Generator,
    *,
    cut: float,
    far: float,
    floor: float = 0.0,
    maxiter: int = _MAXITER,
) -> Unseen:
    """Look for eigenpairs beyond a level besides those found, from eight random vectors.

    Parameters
    ----------
    op : Operator, A
    found : (j, n) orthonormal rows, eigenvectors of A with residuals of about ``target`` at most
    level : the last of the eigenvalues that are to be complete
    orientation : 1.0 where the largest eigenvalues are wanted, -1.0 where the smallest
    target : residual that pairs are accepted at
    rng : of the vectors: not the state that the search began with
    cut, far : the interval that is damped: from some eigenvalue beyond the level to the other end of the spectrum,
        as in `SubspaceOutcome.interval`
    floor : residual that rounding leaves
    maxiter : filterings at most

    Returns
    -------
    Unseen. Where ``better`` is not 0, the caller looks again: with more copies than random vectors, some are left.

    Raises
    ------
    ShapeError
        There are as many vectors as rows.
    NonFiniteError
        Products overflow.

    Notes
    -----
    The random vectors are made orthogonal to those found, filtered, and refined by Chebyshev corrections together with
    them, until the leading Ritz pair of the complement is known well enough to tell it from the level (a residual of a
    tenth of its distance, or of ``target``).

    Validity: that a settled answer is complete is very likely, not proved. An eigenvector beyond the level is
    overlooked only where every one of the eight vectors, independently, has a component along it so small that a filter
    which magnifies it 2000 times and more does not show it. The component of a random vector is below e times its mean
    size with a probability of about 0.8 e; those of all eight are with the eighth power of that.

    Cost: each turn some 8 d products, d the degree, in float32 where there are kernels: a third of what the search
    took, as a rule. Storage: ``2 (j + 32)`` vectors.

    References
    ----------
    Kuczynski, Wozniakowski, Estimating the largest eigenvalue by the power and Lanczos algorithms with a random start,
    SIAM J. Matrix Anal. Appl. 13 (1992) 1094-1122: what one random vector shows.

    Examples
    --------
    >>> from nnla.eigen.filtered_subspace import solve_subspace
    >>> from nnla.operators import as_operator
    >>> from nnla.problems import poisson2d
    >>> op, rng = as_operator(poisson2d(30)), np.random.default_rng(0)
    >>> got = solve_subspace(op, 4, -1.0, 1e-9, rng)
    >>> cut, far = got.interval
    >>> seen = unseen_pairs(op, got.vectors.T, got.values[-1], -1.0, 1e-9, rng, cut=cut, far=far)
    >>> seen.settled, seen.better
    (True, 0)
    >>> few = got.vectors.T[[0, 2, 3]]  # one was missed
    >>> seen = unseen_pairs(op, few, got.values[-1], -1.0, 1e-9, rng, cut=cut, far=far)
    >>> seen.better, bool(abs(seen.values - got.values[:3]).max() < 1e-9)
    (1, True)
    """
    n, j, s = op.n, len(found), -orientation
    if j >= n:
        raise ShapeError(f"{j} vectors of an operator of order {n} leave nothing to look for")
    before, products = op.products, BlockProducts(op, s)
    level = s * level
    far = max(s * far, level + max(1e-12 * max(abs(level), abs(far)), 1e-290))  # something has to be damped
    bound = max(target, floor)
    vectors = min(_VECTORS, n - j)
    basis = RitzBasis(products, n, min(j + _BLOCKS * _VECTORS, n))
    basis.extend(np.array(found, dtype=np.float64))
    # those given are not refined where they are a little worse than asked for
    accepted = min(max(bound, 1.01 * float(basis.pairs(0, basis.filled)[3].max(initial=0.0))), 2 * bound)
    known = int(np.count_nonzero(basis.theta < level - 2 * bound))
    first = float(basis.theta[0]) if j else level
    least, most = level + 1e-6 * (far - min(first, level)), far - 0.01 * (far - level)
    cut = min(max(s * cut, least), most)
    X = rng.standard_normal((vectors, n))
    V = np.ascontiguousarray(found, dtype=np.float64)
    X -= (X @ V.T) @ V
    filterings = 0

    def rates(values: np.ndarray) -> np.ndarray:
        return np.arccosh(np.maximum(((cut + far) / 2 - values) / ((far - cut) / 2), 1 + 1e-12))

    def filtered(R: np.ndarray, scale: np.ndarray, gamma: np.ndarray, single: bool) -> None:
        basis.extend(products.filtered(R, scale, gamma, (cut, far), np.empty_like(R), single=single), j + vectors)

    at_first, at_level = (float(rate) for rate in rates(np.array([min(first, level), level])))
    degree, single = resolved_degree(min(math.ceil(_GAIN / at_level), _LONGEST), at_first - at_level, products.single)
    if basis.size < n:
        filtered(X, np.ones(vectors), filter_coefficients(degree, vectors), single)
        filterings = 1
    while basis.filled <= j or (basis.size == n and not basis.complete):
        room = basis.size - basis.filled
        basis.extend(rng.standard_normal((room if basis.size == n else min(vectors, room), n)))
    while True:
        theta = basis.theta
        last = min(j + vectors, basis.filled)
        _, _, R, residuals = basis.pairs(0, last)
        beyond = int(np.count_nonzero(theta[:last] < level - 2 * bound))
        # found pairs that better ones have displaced do not tell of the rest: the next is the one after them
        extra = max(beyond - known, 0)
        at = min(j + extra, last - 1)
        allowed = np.full(last, accepted)
        allowed[j:] = np.maximum(_SETTLED * np.maximum(theta[j:last] - level, 0.0), bound)
        done = bool(np.all(residuals[: at + 1] <= allowed[: at + 1])) and j + extra < last
        if done or basis.complete or filterings >= maxiter:
            break
        cut = min(max(float(theta[last - 1]), least), most)
        chosen = np.flatnonzero((residuals > allowed) & (theta[:last] < cut))[:_VECTORS]
        if chosen.size == 0:
            chosen = np.array([at])
        gains = rates(theta[:last])
        degree, single = resolved_degree(
            min(math.ceil(_GAIN / float(gains[chosen[0]])), _LONGEST),
            float(gains[0] - gains[chosen[-1]]),
            products.single,
        )
        half = (far - cut) / 2
        t = np.maximum(((cut + far) / 2 - theta[chosen]) / half, 1 + 1e-12)
        filtered(R[chosen], 1 / residuals[chosen], correction_coefficients(t, half, degree), single)
        filterings += 1
    met = residuals[:j] <= accepted
    better = max(int(np.count_nonzero(met & (theta[:j] < level - 2 * bound))) - known, 0)
    next_value, next_residual = float(theta[at]), float(residuals[at])
    X, BX, _, _ = basis.pairs(0, j)
    values = np.einsum("ij,ij->i", X, BX)
    order = np.argsort(s * values, kind="stable")
    return Unseen(
        settled=(done or basis.complete) and bool(met.all()),
        better=better,
        values=s * values[order],
        vectors=np.ascontiguousarray(X[order].T),
        residuals=residuals[:j][order],
        next_value=s * next_value,
        next_residual=next_residual,
        products=op.products - before,
        filterings=filterings,
    )
