"""Features of sparse matrices: sound numbers, no units, and what the graph is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from nnla.kernels import native
from nnla.operators.features import STRUCTURE_FEATURES, VALUE_FEATURES, structure_features
from nnla.problems import poisson2d, poisson3d

pytestmark = pytest.mark.skipif(native is None, reason="the native kernels are not built")


def feature(A: sp.csr_array, name: str, **options: bool) -> float:
    found = structure_features(A, A.diagonal(), **options)
    assert found is not None
    return float(found[STRUCTURE_FEATURES.index(name)])


def test_names_and_numbers_are_as_many() -> None:
    assert len(STRUCTURE_FEATURES) == native.FEATURES
    assert len(VALUE_FEATURES) == native.VALUE_FEATURES


@pytest.mark.parametrize("make", [lambda: poisson2d(40), lambda: poisson3d(12), lambda: poisson2d(190)])
def test_scaling_by_a_unit_changes_nothing(make) -> None:
    A = make()
    known = structure_features(A, A.diagonal())
    for unit in (2.0**-600, 2.0**600):
        B = sp.csr_array(A * unit)
        np.testing.assert_allclose(structure_features(B, B.diagonal()), known, rtol=1e-4, atol=1e-4)


def test_the_growth_of_balls_is_the_dimension_of_a_grid() -> None:
    assert feature(poisson2d(120), "growth of balls") == pytest.approx(2.0, abs=0.2)
    assert feature(poisson3d(40), "growth of balls") == pytest.approx(2.8, abs=0.4)


def test_a_tree_has_no_core() -> None:
    A = sp.csr_array(sp.diags_array([np.full(499, -1.0), np.full(500, 2.1), np.full(499, -1.0)], offsets=[-1, 0, 1]))
    assert feature(A, "share of the 2-core") == 0.0
    assert feature(poisson2d(30), "share of the 2-core") == 1.0


def test_components_are_counted() -> None:
    A = sp.block_diag([poisson2d(5)] * 7, format="csr")
    assert feature(sp.csr_array(A), "log components") == pytest.approx(np.log(7))


def test_the_graph_can_be_left_out() -> None:
    A = poisson2d(30)
    values = structure_features(A, A.diagonal(), graph=False)
    assert np.isnan(values[len(VALUE_FEATURES) :]).all()
    assert np.isfinite(values[: len(VALUE_FEATURES)]).all()
    np.testing.assert_array_equal(
        values[: len(VALUE_FEATURES)], structure_features(A, A.diagonal())[: len(VALUE_FEATURES)]
    )


def test_a_single_row_and_a_diagonal_matrix() -> None:
    for n in (1, 2, 5000):
        A = sp.csr_array(sp.diags_array(np.arange(1.0, n + 1)))
        assert np.isfinite(structure_features(A, A.diagonal())[: len(VALUE_FEATURES)]).all()


def test_large_matrices_are_sampled_alike() -> None:
    small, large = poisson2d(60), poisson2d(400)
    for name in ("mean log weight", "positive share", "log anisotropy", "clustering", "growth of balls"):
        assert feature(small, name) == pytest.approx(feature(large, name), abs=0.25)
