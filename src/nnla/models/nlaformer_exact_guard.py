"""Whether matrices are of the family that the loop with exact products was trained for, told from a few columns.

The family is a rank-one matrix w w', a diagonal that varies, and a rest that is small beside them. Three columns in
which w is large give w, and so the diagonal: no product is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["FamilyTest", "family_test"]

ROUNDS = 3  # of three columns each, until they fit
# Chosen on generated systems of the family (n = 10 to 200) and on spectra, Laplacians and kernel matrices beside them
_MISFIT = 0.05  # of the columns, in squares
_SHARE = (0.05, 0.8)  # of the rank-one part in the trace
_SPREAD = 0.1  # deviation of the logarithm of the other diagonal: what gates could make use of
_LEAST = 0.02  # of the diagonal


@dataclass(frozen=True, eq=False)
class FamilyTest:
    """What was found.

    Attributes
    ----------
    inside : (B,)
    read : (B,) columns that were read; reading n of them is like a product
    units, columns : (B, n, 3) unit vectors, and those columns of A, that were read last
    """

    inside: np.ndarray
    read: np.ndarray
    units: np.ndarray
    columns: np.ndarray

    def taken(self) -> FamilyTest:
        """The same, every matrix held to be inside."""
        return replace(self, inside=np.ones_like(self.inside))

    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Units and columns, zero for what is not inside."""
        keep = self.inside[:, None, None]
        return np.where(keep, self.units, 0.0), np.where(keep, self.columns, 0.0)


def family_test(
    column: Callable[[np.ndarray, np.ndarray], np.ndarray], diagonal: np.ndarray, b: np.ndarray
) -> FamilyTest:
    """Whether each of some systems is like those of the training.

    Parameters
    ----------
    column : (numbers of systems (S,), numbers of columns (S,)) -> those columns, (S, n)
    diagonal : (B, n), positive
    b : (B, n), which in the family is large where w is

    Notes
    -----
    Does not depend on units, nor, ties apart, on the order of unknowns.

    Cost: n operations for each column; 3 to 9 columns a system.

    References
    ----------
    Spearman, "General intelligence", objectively determined and measured, Am. J. Psychol. 15 (1904): one factor from
    the products of three correlations.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> w, d = rng.standard_normal((1, 30)), rng.lognormal(size=(1, 30))
    >>> A = w[:, :, None] * w[:, None, :] + d[:, :, None] * np.eye(30)
    >>> family_test(lambda s, j: A[s, :, j], np.einsum("bii->bi", A), w).inside.tolist()
    [True]
    """
    B, n = b.shape
    inside, read = np.zeros(B, dtype=bool), np.zeros(B, dtype=int)
    units, columns = np.zeros((B, n, 3)), np.zeros((B, n, 3))
    if n < 4:
        return FamilyTest(inside, read, units, columns)
    order = np.argsort(-np.abs(b), axis=1, kind="stable")
    left = np.arange(B)
    for attempt in range(min(ROUNDS, n)):
        with np.errstate(all="ignore"):
            J, C = _chosen(lambda j, s=left: column(s, j), order[left, attempt])
            units[left] = 0
            units[left[:, None], J, np.arange(3)] = 1
            columns[left] = C
            misfit, share, spread = _fit(J, C, diagonal[left])
            fits = misfit < _MISFIT
            inside[left] = fits & (share > _SHARE[0]) & (share < _SHARE[1]) & (spread > _SPREAD)
        read[left] += 3
        left = left[~fits]
        if not len(left):
            break
    return FamilyTest(inside, read, units, columns)


def _chosen(column: Callable[[np.ndarray], np.ndarray], first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three columns, (B, 3), and what is in them, (B, n, 3): each where the one before has its largest entry."""
    rows = np.arange(len(first))
    chosen, found = [first], [column(first)]
    for _ in range(2):  # the column of the largest entry has the largest w, as far as this one tells
        size = np.abs(found[-1])
        size[rows[:, None], np.stack(chosen, 1)] = -1
        chosen.append(np.argmax(size, 1))
        found.append(column(chosen[-1]))
    return np.stack(chosen, 1), np.stack(found, 2)


def _fit(J: np.ndarray, C: np.ndarray, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Misfit of w w' off the diagonal in three columns, its share in the trace, spread of the other diagonal."""
    rows = np.arange(len(diagonal))
    M = C[rows[:, None], J]  # the 3 x 3 block
    square = np.stack([M[:, k, k - 2] * M[:, k, k - 1] / M[:, k - 2, k - 1] for k in range(3)], 1)
    w = np.sqrt(square) * np.sign(M[:, :, 0])
    w[:, 0] = np.abs(w[:, 0])
    off = np.ones_like(C)
    off[rows[:, None], J, np.arange(3)] = 0
    C = C * off
    factor = (C @ w[:, :, None])[..., 0] / (off @ (w * w)[:, :, None])[..., 0]
    rest = (C - factor[:, :, None] * w[:, None, :]) * off
    misfit = (rest * rest).sum((1, 2)) / (C * C).sum((1, 2))
    share = (factor * factor).sum(1) / diagonal.sum(1)
    other = np.log(np.maximum(diagonal - factor * factor, _LEAST * diagonal))
    return np.where(np.isfinite(misfit), misfit, np.inf), share, other.std(1)
