"""What the first steps of CG tell of the ones to come, as the numbers that a model of solver costs reads."""

from __future__ import annotations

import math

import numpy as np

from nnla.krylov.cg import CGResult, lanczos_from_cg
from nnla.types import SpectralProbe

__all__ = ["STEP_FEATURES", "step_features"]

# Logarithms are natural; norms are of residuals.
STEP_FEATURES = (
    "log steps",
    "log reduction",  # of the residual norm
    "log best reduction",
    "log reduction of the last half",
    "log reduction of the last quarter",
    "log energy of the last half",  # squared steps in the energy norm, by those of the first half
    "log condition",  # of the Lanczos matrix
    "log gap at the bottom",  # second by first Ritz value
    "log top",  # of the largest Ritz value, in units of the mean
    "log residual of the bottom",  # of the smallest Ritz pair, by its value: below 0 once it has been found
)
_LONGEST = 64  # coefficients that Ritz values are made of


def step_features(result: CGResult, size: float, steps: int | None = None) -> np.ndarray | None:
    """(S,) float64, one number for each of `STEP_FEATURES`; None for fewer than four steps, or a breakdown.

    Parameters
    ----------
    result : of a run of CG, preconditioned by the diagonal or by nothing
    size : norm of the residual that it started from, in the units of ``result.first``
    steps : so many of its steps; by default all

    Notes
    -----
    Cost: the eigenvalues of a tridiagonal matrix of the order of the steps, at most 64; no products.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 6.7.3 (CG's coefficients are Lanczos's).
    Strakos, Tichy, On error estimation in the conjugate gradient method, ETNA 13 (2002), eq. (3.5).

    Examples
    --------
    >>> from nnla.krylov.cg import conjugate_gradients
    >>> A, b = np.diag(np.arange(1.0, 41.0)), np.ones(40)
    >>> run = conjugate_gradients(lambda v: A @ v, b, x=np.zeros(40), residual=b.copy(), targets=1e-3, maxiter=12)
    >>> known = step_features(run, float(np.linalg.norm(b)), 8)
    >>> known.shape == (len(STEP_FEATURES),), round(float(np.exp(known[0])))
    (True, 8)
    """
    k = min(len(result.alpha), len(result.first), steps or len(result.alpha))
    if k < 4 or not size > 0:
        return None
    norms = np.log(np.maximum(np.array(result.first[:k]) / size, 1e-300))
    best = np.minimum.accumulate(norms)
    take = min(k, _LONGEST)
    alpha, beta = np.array(result.alpha[k - take : k]), np.array(result.beta[k - take : k - 1])
    if not (np.all(alpha > 0) and np.all(beta > 0)):
        return None
    energy = np.log(alpha) + np.append(0.0, np.cumsum(np.log(beta)))
    half = take // 2
    drop = _log_sum(energy[half:]) - _log_sum(energy[:half])
    diagonal, off = lanczos_from_cg(result.alpha[:take], result.beta[: take - 1], None)
    probe = SpectralProbe(diagonal, off, len(diagonal), "none", None, 0)
    values = probe.ritz_values
    low = max(float(values[0]), 1e-15 * abs(float(values[-1])), 1e-300)
    second = max(float(values[1]), low)
    bottom = max(float(probe.ritz_residuals[0]) / low, 1e-15)
    return np.array(
        [
            math.log(k),
            norms[-1],
            best[-1],
            best[-1] - best[k // 2 - 1],
            best[-1] - best[k - k // 4 - 1],
            drop,
            math.log(max(float(values[-1]) / low, 1.0)),
            math.log(second / low),
            math.log(max(float(values[-1]) / max(float(np.mean(values)), 1e-300), 1.0)),
            math.log(bottom),
        ]
    )


def _log_sum(logs: np.ndarray) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))
