"""CG on many dense systems: the figures known of the paper's data, conjugate directions, exact ends."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors
from nnla.problems.dense_spd import spd_systems


@pytest.mark.parametrize(
    ("teacher", "sigma", "errors"),
    [("cg", 1.0, (8.7e-3, 3.9e-6)), ("cg", 1.4, (3.4e-2, 1.4e-4)), ("pcg", 1.2, (1.2e-3, 8.5e-7))],
)
def test_errors_known_of_the_paper_s_data(teacher, sigma, errors):
    systems = spd_systems(2000, 20, sigma=sigma, seed=1)
    found = relative_errors(conjugate_gradients(systems.A, systems.b, 10, teacher=teacher).x, systems.x).mean(0)
    assert found[0] == pytest.approx(1.0)
    assert found[5] == pytest.approx(errors[0], rel=0.25)
    assert errors[1] / 20 < found[10] < 20 * errors[1]  # a mean that a few systems make


@pytest.mark.parametrize("teacher", ["cg", "pcg"])
def test_residuals_and_directions(teacher):
    systems = spd_systems(5, 8, seed=2)
    path = conjugate_gradients(systems.A, systems.b, 4, teacher=teacher)
    for t in range(5):
        r = systems.b - (systems.A @ path.x[:, t, :, None])[..., 0]
        np.testing.assert_allclose(path.r[:, t], r, atol=1e-10)
    Ad = (systems.A @ path.d.swapaxes(1, 2)).swapaxes(1, 2)
    G = np.abs(path.d @ Ad.swapaxes(1, 2))
    size = np.sqrt(G.diagonal(0, 1, 2))
    off = G / size[:, :, None] / size[:, None, :] - np.eye(5)
    assert np.abs(off).max() < 1e-8


def test_solved_systems_stay():
    A, b = np.diag([2.0, 2.0])[None], np.ones((1, 2))
    path = conjugate_gradients(A, b, 5)
    np.testing.assert_array_equal(path.x[:, 1:], 0.5)
    np.testing.assert_array_equal(conjugate_gradients(A, 0 * b, 3).x, 0.0)


def test_other_teachers_are_refused():
    with pytest.raises(OptionError, match="teacher='gmres'"):
        conjugate_gradients(np.eye(2)[None], np.ones((1, 2)), 1, teacher="gmres")
