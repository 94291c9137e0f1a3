"""The guard: its family passes, others do not, and it costs a few columns."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.models.nlaformer_exact_guard import family_test
from nnla.problems.dense_spd import spd_systems


def found_by(A, b):
    return family_test(lambda s, j: A[s, :, j], np.einsum("bii->bi", A), b)


@pytest.mark.parametrize(("n", "sigma"), [(10, 1.2), (20, 1.0), (40, 1.4), (100, 1.2)])
def test_the_family_passes(n, sigma):
    systems = spd_systems(200 if n < 100 else 20, n, sigma=sigma, seed=77)
    found = found_by(systems.A, systems.b)
    assert found.inside.mean() >= 0.99
    assert found.read.mean() < 4
    assert found.read.max() <= 9


def orthogonal(n, rng):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def test_other_families_do_not():
    rng, n = np.random.default_rng(4), 60
    w = rng.standard_normal(n)
    Q = orthogonal(n, rng)
    outliers = np.concatenate([1 + 0.1 * rng.random(n - 3), [1e2, 1e3, 1e4]])
    others = {
        "a constant and a rank-one matrix": np.eye(n) + np.outer(w, w),
        "outliers": (Q * outliers) @ Q.T,
        "linear spectrum": (Q * np.linspace(1, 1e4, n)) @ Q.T,
        "Laplacian": 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1),
        "diagonal": np.diag(rng.lognormal(size=n)),
    }
    A = np.stack(list(others.values()))
    found = found_by(A, np.einsum("bij,j->bi", A, rng.standard_normal(n)))
    assert not found.inside.any(), list(others)
    assert not found_by(np.eye(3)[None], np.ones((1, 3))).inside.any()


def test_units_and_order_do_not_matter():
    systems = spd_systems(30, 15, seed=5)
    order = np.random.default_rng(0).permutation(15)
    one = found_by(systems.A, systems.b)
    scaled = found_by(systems.A * 2.0**200, systems.b * 2.0**-90)
    moved = found_by(systems.A[:, order][:, :, order], systems.b[:, order])
    for other in (scaled, moved):
        assert np.array_equal(other.inside, one.inside)
        assert np.array_equal(other.read, one.read)


def test_columns_are_those_of_the_units_and_zero_outside():
    systems = spd_systems(5, 12, seed=6)
    A = systems.A.copy()
    A[2] = np.eye(12)
    found = found_by(A, systems.b)
    assert found.inside.tolist() == [True, True, False, True, True]
    units, columns = found.directions()
    assert np.array_equal(A @ units, columns)
    assert np.array_equal(units.sum((1, 2)), [3, 3, 0, 3, 3])
    every = found.taken()
    assert every.inside.all()
    assert every.directions()[0][2].sum() == 3
