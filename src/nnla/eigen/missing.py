"""Which eigenvalues an answer lacks, by what other answers to the same question found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nnla.eigen.wanted import Wanted

__all__ = ["best_known", "count_lacking"]


def best_known(answers: Sequence[np.ndarray], wanted: Wanted, within: float) -> np.ndarray:
    """The eigenvalues that a question asks for, of all that any of the answers has found.

    Parameters
    ----------
    answers : eigenvalues of orthonormal vectors with small residuals
    wanted : the question
    within : distance up to which two values are the same eigenvalue

    Returns
    -------
    (k,) float64, increasing; fewer where fewer are known

    Notes
    -----
    Orthonormal vectors with small residuals stand for as many eigenvalues, copies counted: one that an answer holds
    three times is there three times at least.

    Cost: sorting the answers.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 11.5 (residual bounds for clusters).

    Examples
    --------
    >>> best_known([np.array([1.0, 3.0]), np.array([2.0, 2.0])], Wanted("SA", 3), 1e-9).tolist()
    [1.0, 2.0, 2.0]
    """
    values = np.concatenate([np.asarray(w, dtype=np.float64) for w in answers])
    order = np.argsort(values, kind="stable")
    values, of = values[order], np.concatenate([np.full(len(w), i) for i, w in enumerate(answers)])[order]
    known: list[np.ndarray] = []
    for part in np.split(np.arange(values.size), np.flatnonzero(np.diff(values) > within) + 1):
        if part.size:
            most = np.bincount(of[part]).argmax()  # the answer with most copies of this one
            known.append(values[part][of[part] == most])
    found = np.concatenate(known) if known else values
    with np.errstate(divide="ignore"):
        return np.sort(found[wanted.choose(1.0 / found if wanted.exchanged else found)])


def count_lacking(w: ArrayLike, reference: ArrayLike, within: float) -> int:
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
    >>> count_lacking([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 1e-9)
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
