"""Which eigenvalues an answer lacks, by what other answers to the same question found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["best_known", "count_missing", "ranks"]

_NOISE = 1e-7  # of the largest rank: differences that two right answers may show


def ranks(w: ArrayLike, which: str, sigma: float | None = None, mode: str = "normal") -> np.ndarray:
    """How far down the order of wanted eigenvalues each one stands: the k wanted have the k least ranks.

    Parameters
    ----------
    w : (m,) eigenvalues
    which : "SA", "LA", "LM" or "SM"
    sigma : the shift, around which the transformed values are meant
    mode : of the transformation: "normal", "buckling" or "cayley"

    Returns
    -------
    (m,) float64

    Notes
    -----
    Cost: a pass over w.

    Examples
    --------
    >>> ranks([1.0, 2.0, 4.0], "LM", sigma=2.5).tolist()
    [1.5, 0.5, 1.5]
    """
    w = np.asarray(w, dtype=np.float64)
    if sigma is not None:
        away = w - sigma
        if mode == "normal":  # 1 / away, written without the division
            return -np.abs(away) if which == "SM" else np.abs(away)
        with np.errstate(divide="ignore"):
            size = np.abs((w if mode == "buckling" else w + sigma) / away)
        return size if which == "SM" else -size
    return {"SA": w, "LA": -w, "SM": np.abs(w)}.get(which, -np.abs(w))


def best_known(
    answers: Sequence[np.ndarray], k: int, which: str, sigma: float | None = None, mode: str = "normal"
) -> np.ndarray:
    """The answer that holds more of the k eigenvalues that the question asks for than any other; the first of equals.

    Parameters
    ----------
    answers : eigenvalues of orthonormal vectors with small residuals, (k,) each
    k, which, sigma, mode : the question; which = "BE" asks for k // 2 from below, the others from above

    Returns
    -------
    (k,) float64, increasing

    Notes
    -----
    Orthonormal vectors with small residuals stand for as many eigenvalues, copies counted, so that no j-th wanted one
    stands further down than the j-th of any answer, and a complete answer is the best everywhere.

    Cost: sorting the answers.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 11.5 (residual bounds for clusters).

    Examples
    --------
    >>> best_known([np.array([1.0, 3.0]), np.array([1.0, 1.0])], 2, "SA").tolist()
    [1.0, 1.0]
    """
    if which == "BE" and sigma is None:
        low = best_known([np.sort(w)[: k // 2] for w in answers], k // 2, "SA")
        high = best_known([np.sort(w)[k // 2 :] for w in answers], k - k // 2, "LA")
        return np.concatenate([low, high])
    best, best_rank = np.sort(answers[0]), np.sort(ranks(answers[0], which, sigma, mode))
    for w in answers[1:]:
        rank = np.sort(ranks(w, which, sigma, mode))
        with np.errstate(invalid="ignore"):
            gain = best_rank - rank
        finite = np.abs(np.concatenate([rank, best_rank]))
        noise = _NOISE * float(finite[np.isfinite(finite)].max(initial=0.0))
        if np.any(gain > noise) and not np.any(gain < -noise):
            best, best_rank = np.sort(w), rank
    return best


def count_missing(w: ArrayLike, reference: ArrayLike, within: float) -> int:
    """How many of the reference's eigenvalues w lacks, copies counted.

    Parameters
    ----------
    w : (m,)
    reference : (k,)
    within : distance up to which two values are the same eigenvalue

    Returns
    -------
    int

    Notes
    -----
    Cost: sorting both.

    Examples
    --------
    >>> count_missing([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 1e-9)
    1
    """
    have, want = np.sort(np.asarray(w, dtype=np.float64)), np.sort(np.asarray(reference, dtype=np.float64))
    i = missing = 0
    for value in want:
        while i < have.size and have[i] < value - within:
            i += 1
        if i < have.size and have[i] <= value + within:
            i += 1
        else:
            missing += 1
    return missing
