"""Training of the extensions: derivatives, simulated counts and a fit that can fail."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.extensions.minimax import learned_stage
from nnla.extensions.momentum import CANDIDATES, FEATURES, chebyshev_schedule
from nnla.training.momentum_schedules import generate_spectrum, iterations, make_data
from nnla.training.quadratic_transitions import error, program, refine


def test_the_jacobian_of_the_program(rng):
    theta, y = rng.standard_normal(11), rng.random(7)
    J = program(theta, y)[1]
    for i in range(11):
        step = np.zeros(11, complex)
        step[i] = 1e-30j
        np.testing.assert_allclose(J[:, i], program(theta + step, y)[0].imag / 1e-30, rtol=1e-10)


def test_refining_never_gets_worse_and_does_get_better():
    theta = np.array(learned_stage(0.5))
    worse = theta * 1.01
    assert refine(worse, 0.5, iterations=6)[0] < 0.5 * error(worse, 0.5)
    assert refine(theta, 0.5, iterations=2)[0] <= error(theta, 0.5)


def test_simulated_counts_are_those_of_the_schedule(rng):
    for _ in range(5):
        values, weights = generate_spectrum(rng)
        b = 1.01 * values[-1]
        a = 0.01 * b
        predicted = iterations(values, weights, np.array([a]), b, 0.05)[0]
        # the gradient of a quadratic obeys the recurrence of the iterates
        g, step = np.sqrt(weights), np.zeros_like(weights)
        count = 0
        for alpha, beta, _ in chebyshev_schedule(a, b):
            step = beta * step - alpha * values * g
            g = g + step
            count += 1
            if np.linalg.norm(g) <= 0.05 or count > 3000:
                break
        if count <= 3000:
            assert count <= predicted <= 1.15 * count + 2


def test_data_is_reproducible():
    X, Y = make_data(4, seed=5)
    assert X.shape[1] == FEATURES
    assert Y.shape[1] == CANDIDATES.size
    assert np.all(np.isfinite(X))
    assert Y.min(axis=1) == pytest.approx(0)
    again, _ = make_data(4, seed=5)
    assert np.array_equal(X, again)
