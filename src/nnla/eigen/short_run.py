"""A few steps of Lanczos without a restart: what they tell of the ends of a spectrum."""

from __future__ import annotations

import numpy as np

from nnla.eigen.iteration import multiply
from nnla.eigen.thick_restart import ThickRestart
from nnla.operators.operator import Operator

__all__ = ["short_run", "spectral_range", "spectral_size"]

_STEPS = 20


def short_run(op: Operator, steps: int, rng: np.random.Generator, orientation: float = 1.0) -> ThickRestart:
    """One filling of a Krylov space of A, or -A, from a random vector: at most n steps.

    Cost: a product a step, and orthogonality.
    """
    space = ThickRestart(lambda v: orientation * multiply(op, v), op.n, min(steps, op.n), None, rng)
    space.extend()
    return space


def spectral_range(op: Operator, rng: np.random.Generator) -> tuple[float, float]:
    """The smallest and the largest Ritz value of some Lanczos steps: within the spectrum. Cost: 20 products."""
    space = short_run(op, _STEPS, rng)
    return float(space.theta[-1]), float(space.theta[0])


def spectral_size(op: Operator, rng: np.random.Generator) -> float:
    """||A||_2 from below. Cost: 20 products."""
    return max(map(abs, spectral_range(op, rng)))
