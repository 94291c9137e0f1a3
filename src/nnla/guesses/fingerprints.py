"""What a family of matrices looks like from outside: a few numbers that say whether a network has seen the like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["fingerprint", "outside", "ranges"]

_MARGIN = 0.1  # of the width of the training range, beyond either end


def fingerprint(A: Any) -> dict[str, float]:
    """Facts on a symmetric matrix that neither a permutation nor a positive factor changes.

    Parameters
    ----------
    A : csr_array (n, n) with a positive diagonal

    Returns
    -------
    dict : decimal logarithm of n; mean and largest entries of a row; decimal logarithm of the spread of the diagonal
        (90th over 10th percentile); and of A scaled to unit diagonal, the mean and the 90th percentile of the
        off-diagonal row sums of magnitudes, the mean of the squares, and the share of negative ones

    Notes
    -----
    Cost: about two products with A; none is made.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> fingerprint(csr_array(np.array([[2.0, -1.0], [-1.0, 2.0]])))["negative"]
    1.0
    """
    D = A.diagonal()
    counts = np.diff(A.indptr)
    scale = 1.0 / np.sqrt(D)
    magnitude = np.abs(A.data) * np.repeat(scale, counts) * scale[A.indices]
    off = np.where(np.repeat(np.arange(D.size), counts) == A.indices, 0.0, magnitude)
    sums = np.add.reduceat(off, A.indptr[:-1])
    low, high = np.quantile(D, [0.1, 0.9])
    total = max(float(off.sum()), 1e-300)
    return {
        "log10_n": float(np.log10(D.size)),
        "entries": float(counts.mean()),
        "most_entries": float(counts.max()),
        "log10_diagonal": float(np.log10(high / low)),
        "row_sum": float(sums.mean()),
        "row_sum_p90": float(np.quantile(sums, 0.9)),
        "square_sum": float((off**2).sum() / D.size),
        "negative": float(off[A.data < 0].sum() / total),
    }


def ranges(matrices: Iterable[Any]) -> dict[str, list[float]]:
    """Smallest and largest value of each fact over some matrices, for the card of a model.

    Cost: that of `fingerprint` for each matrix.
    """
    prints = [fingerprint(A) for A in matrices]
    return {key: [min(p[key] for p in prints), max(p[key] for p in prints)] for key in prints[0]}


def outside(A: Any, known: dict[str, list[float]]) -> list[str]:
    """What of a matrix a model has not seen, in words; empty where everything is within its training ranges.

    Notes
    -----
    Cost: that of `fingerprint`: about two products with A.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> outside(csr_array(np.eye(3)), {"entries": [5.0, 9.0]})
    ['entries = 1 (seen: 5 to 9)']
    """
    facts = fingerprint(A)
    out: list[str] = []
    for key, (low, high) in known.items():
        margin = _MARGIN * (high - low)
        if key in facts and not low - margin <= facts[key] <= high + margin:
            out.append(f"{key} = {facts[key]:.3g} (seen: {low:.3g} to {high:.3g})")
    return out
