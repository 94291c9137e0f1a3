"""How many eigenvalues lie before the last one found: by the inertia of shifted matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nnla.eigen.shifted import Shifted

__all__ = ["Selection", "count_missing"]

_EPS = float(np.finfo(np.float64).eps)
_COUNTS = 6  # numbers tried


class Selection(NamedTuple):
    """Which eigenvalues are wanted: those with the least distance, of k.

    Attributes
    ----------
    kind : "low" or "high" for an end of the spectrum; "nearest", "above" or "below" for those beside ``sigma``
    sigma : the number they are beside, 0 for an end
    """

    kind: str
    sigma: float = 0.0

    def distances(self, values: np.ndarray) -> np.ndarray:
        """How far from where the wanted ones begin, in that order; infinite on the other side of sigma."""
        d = np.asarray(values, dtype=np.float64) - self.sigma
        if self.kind == "low":
            return d
        if self.kind == "high":
            return -d
        if self.kind == "nearest":
            return np.abs(d)
        d = d if self.kind == "above" else -d
        return np.where(d > 0, d, math.inf)

    def at(self, distance: float) -> float:
        """The number at a distance; above sigma where there are two."""
        return self.sigma - distance if self.kind in ("high", "below") else self.sigma + distance

    def count(self, shifted: Shifted, n: int, distance: float) -> tuple[int, float] | None:
        """Eigenvalues nearer than that, and how far the distance may be off; None where that cannot be counted."""
        here = shifted.below(self.at(distance))
        if here is None:
            return None
        count, error = here
        if self.kind == "low":
            return count, error
        if self.kind == "high":
            return n - count, error
        there = shifted.below(self.sigma - distance if self.kind == "nearest" else self.sigma)
        if there is None:
            return None
        return abs(count - there[0]), max(error, there[1])


def count_missing(
    selection: Selection, shifted: Shifted, n: int, k: int, found: np.ndarray, delta: float, norm: float,
    record: Callable[[int, float], None],
) -> tuple[int, float] | None:  # fmt: skip
    """Eigenvalues nearer than the k-th of those found that are not among them, and the distance; None if unknown.

    Parameters
    ----------
    selection, shifted : which are wanted, and factors to count with
    n, k : order, and number of wanted ones
    found : (j,) eigenvalues, j >= k
    delta : how far a value may be from its eigenvalue: what lies within ``2 delta`` of the last one is not told from
        it. A copy more or less there does not change the k values
    norm : of the spectrum: beyond 1e-7 of it nothing is believed
    record : called with what was counted, and before which number

    Cost: a factorisation for an end, two beside sigma; more where they turn out to be unsound.
    """
    distances = np.sort(selection.distances(found))
    for _ in range(_COUNTS):
        edge = float(distances[k - 1])
        for value in distances[: k - 1][::-1]:
            edge = float(value) if edge - value <= 2 * delta else edge
        before = edge - delta
        if before <= 0 and selection.kind == "nearest":  # all of them are as near as the first
            return 0, before
        counted = selection.count(shifted, n, before)
        if counted is None:
            delta *= 1.7  # a zero pivot: elsewhere
            continue
        count, error = counted
        if not error <= 0.5 * delta:
            # without exchanges the error grows as mu comes near to an eigenvalue of a leading block, so that the
            # estimate may be far too large for a mu that is a little further off
            delta = max(1.7 * delta, min(3 * error, 30 * delta))
            if delta > 1e-7 * norm:
                return None
            continue
        record(count, selection.at(before))
        return count - int(np.count_nonzero(distances < before)), before
    return None
