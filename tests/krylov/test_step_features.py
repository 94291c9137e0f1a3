"""Features of CG's first steps."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.krylov.cg import conjugate_gradients
from nnla.krylov.step_features import STEP_FEATURES, step_features


def run_on(eigenvalues: np.ndarray, steps: int):
    b = np.ones(eigenvalues.size)
    result = conjugate_gradients(
        lambda v: eigenvalues * v, b, x=np.zeros_like(b), residual=b.copy(), targets=1e-14, maxiter=steps
    )
    return result, float(np.linalg.norm(b))


def test_condition_and_steps_are_told() -> None:
    result, size = run_on(np.geomspace(1, 100, 200), 60)
    known = dict(zip(STEP_FEATURES, step_features(result, size), strict=True))
    assert np.exp(known["log steps"]) == pytest.approx(60)
    assert np.exp(known["log condition"]) == pytest.approx(100, rel=0.05)
    assert known["log best reduction"] <= known["log reduction"] < 0


def test_the_unit_of_the_residual_does_not_matter() -> None:
    result, size = run_on(np.linspace(1, 50, 100), 20)
    known = step_features(result, size, 16)
    result.first = [v * 2.0**80 for v in result.first]
    np.testing.assert_allclose(step_features(result, size * 2.0**80, 16), known, rtol=1e-12)


def test_too_few_steps_tell_nothing() -> None:
    result, size = run_on(np.linspace(1, 50, 100), 3)
    assert step_features(result, size) is None
