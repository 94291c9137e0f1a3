"""Eigenpairs next to a shift, through factors of A - sigma M. A stand-in: LAPACK up to a few thousand unknowns."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from nnla.eigen.answer import Pairs
from nnla.eigen.iteration import multiply
from nnla.eigen.state import Job
from nnla.operators.operator import Operator

__all__ = ["near_shift"]

_ROWS = 4000


def near_shift(op: Operator, job: Job, rng: np.random.Generator, start: np.ndarray | None) -> Pairs | None:
    """The pairs next to ``job.sigma``: values increasing, vectors (n, j) orthonormal in M, residual norms by ||v||.

    None where nothing can be factored.
    """
    if op.n > _ROWS:
        return None
    M = None if job.mass is None else job.mass.dense()
    w, V = scipy.linalg.eigh(op.dense(), M)
    if job.sigma is None:  # beyond the end of the spectrum
        chosen = np.arange(op.n - job.below, op.n) if job.select == "below" else np.arange(job.above)
    elif job.select == "nearest":
        chosen = np.sort(np.argsort(np.abs(w - job.sigma), kind="stable")[: job.k])
    else:
        split = int(np.searchsorted(w, job.sigma))
        chosen = np.arange(max(split - job.below, 0), min(split + job.above, op.n))
    w, V = w[chosen], V[:, chosen]
    R = multiply(op, np.ascontiguousarray(V)) - w * (V if M is None else M @ V)
    job.verified, job.shift = True, job.sigma
    return w, V, np.linalg.norm(R, axis=0) / np.linalg.norm(V, axis=0)
