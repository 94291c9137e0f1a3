"""Fixtures of the models of dense systems."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def systems():
    """Five matrices near 3 I, n = 8, and two right-hand sides of each."""
    rng = np.random.default_rng(0)
    return 3.0 * np.eye(8) + 0.3 * rng.standard_normal((5, 8, 8)), rng.standard_normal((5, 8, 2))


@pytest.fixture
def solved():
    """(A, b, x) -> the largest relative residual, in the user's own arrays."""
    return lambda A, b, x: float(np.max(np.linalg.norm(b - A @ x, axis=-2) / np.linalg.norm(b, axis=-2)))
