"""Rayleigh-Ritz for a pencil in the span of a few rows: the pairs, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from nnla.errors import NotPositiveDefiniteError
from nnla.kernels.basis import combine, products, squares, transposed

__all__ = ["RitzPairs", "rayleigh_ritz"]

Apply = Callable[[np.ndarray], np.ndarray]

_GROUP = 8  # vectors that A is applied to together: more would take memory, fewer would read A more often


class RitzPairs(NamedTuple):
    """Pairs as rows: values (j,), vectors (j, n), ||A v - lambda M v|| / ||v|| (j,), and v'Mv / v'v (j,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    sizes: np.ndarray

    @property
    def error(self) -> float:
        """What a residual bounds, in units of M: how far a value is from an eigenvalue, the worst of them."""
        return float((self.residuals / np.maximum(self.sizes, 1e-300)).max(initial=0.0))

    def take(self, places: np.ndarray) -> RitzPairs:
        """Some of them, in that order."""
        return RitzPairs(self.values[places], self.vectors[places], self.residuals[places], self.sizes[places])


def rayleigh_ritz(A: Apply, M: Apply | None, rows: np.ndarray) -> RitzPairs:
    """Ritz pairs of A x = lambda M x in the span of the rows, by increasing value; fewer where they depend.

    Parameters
    ----------
    A, M : products with blocks of columns, (n, b) -> (n, b); M is None for the identity
    rows : (j, n), not zero

    Raises
    ------
    NotPositiveDefiniteError
        M is not, as far as these vectors tell.

    Cost: 2 j products with A and 3 j with M, some 8 n j^2 operations; j n numbers beside the result.

    Examples
    --------
    >>> d = np.array([3.0, 1.0, 2.0])
    >>> pairs = rayleigh_ritz(lambda V: d[:, None] * V, None, np.eye(3)[:2])
    >>> pairs.values.tolist(), pairs.residuals.tolist()
    ([1.0, 3.0], [0.0, 0.0])
    """
    Q = np.ascontiguousarray(rows, dtype=np.float64)
    scale = 1.0 / np.sqrt(squares(Q))
    room = None
    for _ in range(2):  # the second time for orthogonality to working precision
        gram = scale[:, None] * (products(Q, Q) if M is None else _form(M, Q)) * scale
        d, U = np.linalg.eigh((gram + gram.T) / 2)
        if not d[-1] > 0 or d[0] < -1e-8 * d[-1]:
            raise NotPositiveDefiniteError(
                "M is not positive definite: x' M x <= 0 was met; an indefinite M may stand in A's place"
            )
        kept = d > 1e-13 * d[-1]
        C = scale[:, None] * (U[:, kept] / np.sqrt(d[kept]))
        Q = room = combine(Q, C, None if room is None else room[: C.shape[1]])
        scale = np.ones(Q.shape[0])
        if d[0] > 0.01 * d[-1]:
            break
    H = _form(A, Q)
    w, S = np.linalg.eigh((H + H.T) / 2)
    V = combine(Q, S, Q)
    lengths, residuals = squares(V), np.empty(w.size)
    for i, X in _groups(V):  # products anew: a combination of products is not quite the product
        places = slice(i, i + X.shape[0])
        columns = transposed(X)
        R, MX = transposed(A(columns)), X if M is None else transposed(M(columns))
        residuals[places] = squares(R, w[places], MX)
    return RitzPairs(w, V, np.sqrt(residuals / lengths), 1.0 / lengths)


def _groups(V: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for i in range(0, V.shape[0], _GROUP):
        yield i, V[i : i + _GROUP]


def _form(A: Apply, Q: np.ndarray) -> np.ndarray:
    """Q' A Q for rows Q."""
    return np.concatenate([products(Q, transposed(A(transposed(X)))) for _, X in _groups(Q)], axis=1)
