"""Families of small dense matrices: each has the structure that its name promises."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems import MATRIX_FAMILIES, matrix_family

T = -1, -2


@pytest.mark.parametrize("name", MATRIX_FAMILIES)
@pytest.mark.parametrize("n", [1, 4])
def test_shapes_seeds_and_symmetry(name, n):
    A = matrix_family(name, 20, n, seed=[1, 2])
    assert A.shape == (20, n, n)
    assert A.dtype == np.float64
    assert np.isfinite(A).all()
    assert np.array_equal(A, matrix_family(name, 20, n, seed=[1, 2]))
    if n > 1:
        assert not np.array_equal(A, matrix_family(name, 20, n, seed=3))
        assert np.array_equal(A, A.swapaxes(*T)) == MATRIX_FAMILIES[name].symmetric


@pytest.mark.parametrize("name", ["orthogonal", "toeplitz", "stochastic", "circulant", "band"])
def test_symmetric_is_a_choice(name):
    A, B = (matrix_family(name, 20, 4, symmetric=s) for s in (True, False))
    assert np.array_equal(A, A.swapaxes(*T))
    assert not np.allclose(B, B.swapaxes(*T))


def test_entries_of_one_scale_have_one_variance():
    for name in ("symmetric", "general", "wigner", "toeplitz", "hankel", "circulant"):
        A = matrix_family(name, 20_000, 4, scale=2.0)
        assert A[:, 0, 1].std() == pytest.approx(2 / np.sqrt(3), rel=0.03), name
    assert matrix_family("wigner", 20_000, 4, scale=2.0)[:, 1, 1].var() == pytest.approx(2 * 4 / 3, rel=0.05)
    assert np.abs(matrix_family("symmetric", 100, 4)).max() <= 5.0


def test_orthogonal_ones_are_haar():
    Q = matrix_family("orthogonal", 4000, 3, seed=4)
    assert np.allclose(Q @ Q.swapaxes(*T), np.eye(3), atol=1e-14)
    assert np.abs(Q.mean(axis=0)).max() < 0.05  # without the signs of R, Q_11 is never positive
    assert 0.45 < (np.linalg.det(Q) > 0).mean() < 0.55
    for symmetric in (True, False):
        assert np.allclose(np.linalg.det(matrix_family("orthogonal", 50, 3, proper=True, symmetric=symmetric)), 1.0)


def test_patterns():
    n = np.arange(5)
    for symmetric in (True, False):
        A = matrix_family("toeplitz", 3, 5, symmetric=symmetric)
        assert np.array_equal(A[:, 1:, 1:], A[:, :-1, :-1])
        A = matrix_family("circulant", 3, 5, symmetric=symmetric)
        assert np.array_equal(A, np.roll(A, (1, 1), (-2, -1)))
    A = matrix_family("hankel", 3, 5)
    assert np.array_equal(A[:, 1:, :-1], A[:, :-1, 1:])
    A = matrix_family("band", 3, 5, width=2)
    assert ((A != 0) == (np.abs(n[:, None] - n) <= 2)).all()


def test_chains():
    for options in ({}, {"symmetric": True}):
        P = matrix_family("stochastic", 50, 4, **options)
        assert P.min() >= 0
        assert np.allclose(P.sum(axis=-1), 1.0, atol=1e-15)
    Q = matrix_family("rate", 50, 4, reversible=True, scale=3.0)
    off = Q * (1 - np.eye(4))
    assert off.min() >= 0
    assert off.max() <= 3.0
    assert np.allclose(Q.sum(axis=-1), 0.0, atol=1e-14)
    # Kolmogorov: a walk round a circle is as likely as the walk back.
    assert np.allclose(Q[:, 0, 1] * Q[:, 1, 2] * Q[:, 2, 0], Q[:, 0, 2] * Q[:, 2, 1] * Q[:, 1, 0])
    Q = matrix_family("rate", 50, 4)
    assert not np.allclose(Q[:, 0, 1] * Q[:, 1, 2] * Q[:, 2, 0], Q[:, 0, 2] * Q[:, 2, 1] * Q[:, 1, 0])


def test_spectra():
    values = np.linalg.eigvalsh(matrix_family("definite", 300, 5, floor=0.2))
    assert values.min() >= 0.2 - 1e-12
    values = np.linalg.eigvalsh(matrix_family("definite", 300, 5, floor=0.2, condition=50.0))
    assert 0.2 - 1e-12 <= values.min() < values.max() <= 10 + 1e-10
    sizes = np.abs(np.linalg.eigvalsh(matrix_family("gapped", 300, 5, gap=0.3)))
    assert (sizes.min(axis=-1) / sizes.max(axis=-1)).min() >= 0.3 - 1e-12


def test_graphs():
    A = matrix_family("adjacency", 200, 6, density=0.25)
    assert set(np.unique(A)) == {0.0, 1.0}
    assert np.trace(A, axis1=-2, axis2=-1).max() == 0
    assert A.sum() / (200 * 30) == pytest.approx(0.25, abs=0.02)
    A = matrix_family("adjacency", 200, 6, weighted=True, directed=True, scale=2.0)
    assert not np.array_equal(A, A.swapaxes(*T))
    assert 1.5 < A.max() <= 2.0


@pytest.mark.parametrize(
    ("name", "count", "n", "options"),
    [
        ("gaussian", 1, 2, {}),
        ("symmetric", 0, 2, {}),
        ("symmetric", 1, 0, {}),
        ("symmetric", 1, 2000, {}),
        ("symmetric", 1.5, 2, {}),
        ("symmetric", 1, True, {}),
        ("symmetric", 1, 2, {"gap": 0.1}),
        ("symmetric", 1, 2, {"scale": 0}),
        ("symmetric", 1, 2, {"scale": float("nan")}),
        ("symmetric", 1, 2, {"scale": "wide"}),
        ("gapped", 1, 2, {"gap": 1.5}),
        ("definite", 1, 2, {"condition": 0.5}),
        ("definite", 1, 2, {"floor": -1}),
        ("band", 1, 2, {"width": -1}),
        ("adjacency", 1, 2, {"density": 2}),
        ("symmetric", 1, 2, {"scale": 1e308}),
        ("definite", 1, 2, {"scale": 1e250}),
        ("definite", 1, 2, {"floor": 1e200, "condition": 1e200}),
        ("orthogonal", 1, 2, {"symmetric": "no"}),
        ("rate", 1, 2, {"reversible": None}),
        ("adjacency", 1, 2, {"directed": np.array([1, 2])}),
        ("symmetric", 1, 2, {"seed": "x"}),
        ("symmetric", 1, 2, {"seed": -1}),
        ("symmetric", 1, 2, {"seed": 1.5}),
        (["symmetric"], 1, 2, {}),
    ],
)
def test_nonsense_is_refused(name, count, n, options):
    with pytest.raises(OptionError, match=r"use one of|give|its options"):
        matrix_family(name, count, n, **options)


@pytest.mark.parametrize("name", ["symmetric", "wigner", "general", "gapped", "hankel", "circulant", "band", "rate"])
def test_the_largest_scale_is_finite(name):
    assert np.isfinite(matrix_family(name, 5, 4, scale=1e300)).all()
    assert np.isfinite(matrix_family("definite", 5, 4, scale=1e145)).all()
