"""Small dense definite systems: the figures that are known of the paper's, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors
from nnla.problems import spd_systems


def _cg_errors(A, b, x, steps):
    """Mean relative squared error of conjugate gradients after so many steps."""
    return relative_errors(conjugate_gradients(A, b, steps).x, x)[:, -1].mean()


@pytest.mark.parametrize(("sigma", "condition", "error"), [(1.0, 41, 8.7e-3), (1.2, 48, 1.9e-2), (1.4, 58, 3.4e-2)])
def test_conditions_and_errors_are_those_known(sigma, condition, error):
    systems = spd_systems(1000, sigma=sigma, seed=3)
    assert np.median(np.linalg.cond(systems.A)) == pytest.approx(condition, rel=0.15)
    assert _cg_errors(systems.A, systems.b, systems.x, 5) == pytest.approx(error, rel=0.3)


def test_without_a_diagonal_they_are_scikit_learns():
    systems = spd_systems(500, sigma=None, seed=4)
    values = np.linalg.eigvalsh(systems.A)
    assert np.median(values[:, -1] / values[:, 0]) == pytest.approx(505, rel=0.25)
    assert values[:, -2].max() < 1.001
    assert values[:, -1].mean() == pytest.approx(20.5, rel=0.02)


def test_symmetric_seeded_and_consistent():
    systems, same = spd_systems(5, 7, seed=[1, 2]), spd_systems(5, 7, seed=[1, 2])
    assert np.array_equal(systems.A, systems.A.swapaxes(-1, -2))
    assert np.array_equal(systems.A, same.A)
    assert np.allclose(np.linalg.solve(systems.A, systems.b[..., None])[..., 0], systems.x)
    assert (len(systems), systems.n) == (5, 7)


@pytest.mark.parametrize("options", [{"count": 0}, {"n": 0}, {"n": 4096}, {"sigma": -1.0}, {"sigma": float("nan")}])
def test_nonsense_is_refused(options):
    with pytest.raises(OptionError, match="give"):
        spd_systems(**{"count": 2, **options})
