"""Momentum schedules: the learned choice of interval behind a Chebyshev semi-iteration, from a short Lanczos probe.

A schedule of a smooth convex problem is a sequence (alpha_k, beta_k, gamma_k) in
theta+ = theta - alpha grad(theta + gamma m) + beta m, m the last step. On a quadratic Chebyshev's is optimal for an
interval [a, b] of the Hessian, and the lower end a decides how fast: the best one is not the smallest eigenvalue but
depends on how much of the gradient lies there, and on the reduction wanted. A small network reads that off the probe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.operators.arrays import namespace
from nnla.tasks import engine_for
from nnla.types import SpectralProbe

__all__ = [
    "CANDIDATES",
    "FEATURES",
    "chebyshev_schedule",
    "choose_lower",
    "features",
    "forward",
    "heavy_ball",
    "nesterov",
]

CANDIDATES = np.geomspace(1e-7, 0.5, 32)  # of a / b
_GRID = np.geomspace(1e-6, 1.0, 20)  # where the Gauss rule's distribution function is read
FEATURES = 2 * len(_GRID) + 13

Coefficients = tuple[float, float, float]


def chebyshev_schedule(a: float, b: float) -> Iterator[Coefficients]:
    """(alpha, beta, gamma) of the Chebyshev semi-iteration on [a, b]; without end.

    On a quadratic with Hessian in [0, b] neither the gradient's norm nor f ever exceeds where it started.

    Cost: a few operations on scalars a step, which takes one gradient.

    References
    ----------
    Golub, Varga, Chebyshev semi-iterative methods, Numer. Math. 3 (1961) 147-168.

    Examples
    --------
    >>> [tuple(round(v, 3) for v in next(chebyshev_schedule(1.0, 3.0)))]
    [(0.5, 0.0, 0.0)]
    """
    if not 0 < a <= b:
        raise OptionError(f"a schedule needs 0 < a <= b, got [{a!r}, {b!r}]")
    middle, half = 0.5 * (a + b), 0.5 * (b - a)
    yield 1 / middle, 0.0, 0.0
    if half == 0:
        while True:
            yield 1 / middle, 0.0, 0.0
    old = half / middle
    while True:
        new = 1 / (2 * middle / half - old)
        yield 2 * new / half, new * old, 0.0
        old = new


def heavy_ball(a: float, b: float) -> Iterator[Coefficients]:
    """Polyak's optimal fixed coefficients for a quadratic with Hessian in [a, b].

    Cost: none; a step takes one gradient.

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. 4 (1964)
    1-17; AutoSpec (arXiv:2602.09530), appendix A.1.
    """
    root_a, root_b = math.sqrt(a), math.sqrt(b)
    while True:
        yield 4 / (root_a + root_b) ** 2, ((root_b - root_a) / (root_b + root_a)) ** 2, 0.0


def nesterov(a: float, b: float) -> Iterator[Coefficients]:
    """Nesterov's scheme: constant momentum for a strong convexity a > 0, (k - 1) / (k + 2) for a = 0.

    Cost: none; a step takes one gradient.

    References
    ----------
    Nesterov, Introductory Lectures on Convex Optimization (2004), section 2.2 (a > 0). Su, Boyd, Candes, J. Mach.
    Learn. Res. 17 (2016) ((k - 1) / (k + 2)).
    """
    k = 0
    while True:
        k += 1
        beta = (math.sqrt(b) - math.sqrt(a)) / (math.sqrt(b) + math.sqrt(a)) if a > 0 else (k - 1) / (k + 2)
        yield 1 / b, beta, beta


def features(probe: SpectralProbe, reduction: float) -> np.ndarray:
    """(FEATURES,) scale-free description of a probe started from the gradient; `reduction` is the one wanted.

    Cost: the probe's own eigenproblem; no products.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 3.1 and appendix A.1: cheap probes of the Hessian; which ones is this
    package's choice.
    """
    b, tiny = probe.upper_bound, 1e-12
    theta = np.maximum(probe.ritz_values / b, tiny)
    weight, residual = probe.ritz_weights, probe.ritz_residuals / b
    below = np.array([weight[theta <= g].sum() for g in _GRID])
    spread = np.interp(np.log(_GRID), np.log(theta), np.cumsum(weight), left=0.0, right=1.0)
    steps = probe.krylov_reductions
    low = theta[: min(3, theta.size)]
    low = np.concatenate([low, np.full(3 - low.size, low[-1])])
    first = [
        math.log(max(float(r), tiny)) for r in (weight[0], residual[0], residual[-1], steps[-1], steps[steps.size // 2])
    ]
    rest = [math.log(probe.steps), math.log(reduction), math.log(reduction) / max(1.0, -math.log(low[0]))]
    gap = math.log(float(weight @ theta)), math.log(float(weight @ (1 / theta)))
    out = np.concatenate([np.log(below + 1e-9), np.log(spread + 1e-9), np.log(low), first, rest, gap])
    return np.clip(out, -30.0, 30.0)


def forward(x: Any, parameters: dict[str, Any]) -> Any:
    """Predicted log iterations of each candidate above the best one, (N, len(CANDIDATES)); NumPy or torch.

    Cost: three small matrix-vector products a row.
    """
    xp = namespace(x)
    h = (x - parameters["mean"]) / parameters["std"]
    h = xp.tanh(h @ parameters["W0"] + parameters["b0"])
    h = xp.tanh(h @ parameters["W1"] + parameters["b1"])
    return h @ parameters["W2"] + parameters["b2"]


def choose_lower(probe: SpectralProbe, reduction: float) -> float:
    """The lower end a of the interval that the engine expects to take fewest iterations.

    Parameters
    ----------
    probe : Lanczos coefficients of the Hessian, started from the gradient
    reduction : wanted factor of the gradient's norm, below 1

    Raises
    ------
    WeightsError
        The shipped weights cannot be read.

    Notes
    -----
    Cost: three small matrix-vector products; no gradient beyond the probe's.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix A.1 (gradient-driven transitions); the network is this package's.
    """
    return engine_for(None, "convex minimisation", "autospec").lower(probe, reduction)
