"""Simulated eigensolvers: Ritz values of the right kind, residuals that bound errors, grouped eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.spectra.simulated_eigensolvers import subspace_probe, thick_restart_probe

X = np.sort(np.random.default_rng(0).uniform(size=150))[::-1]


def check(values, residuals, x, size):
    assert values.shape == residuals.shape == (size,)
    assert np.all(np.diff(values) <= 1e-14)
    assert values[0] <= x[0] + 1e-12
    assert values[-1] >= x[-1] - 1e-12
    for theta, r in zip(values, residuals, strict=True):  # an eigenvalue lies within the residual
        assert np.abs(x - theta).min() <= r + 1e-12


def test_subspace_iteration_is_power_iteration_of_a_subspace():
    found = subspace_probe(X, 12, (1, 10, 300), np.random.default_rng(1))
    for values, residuals in found:
        check(values, residuals, X, 12)
    V = np.linalg.qr(np.random.default_rng(1).standard_normal((150, 12)))[0]
    V = np.linalg.qr(X[:, None] ** 10 * V)[0]
    np.testing.assert_allclose(found[1][0], np.linalg.eigvalsh((V.T * X) @ V)[::-1], rtol=1e-6)
    assert np.abs(found[2][0][:6] - X[:6]).max() < 1e-6
    assert found[2][1][:6].max() < 1e-2
    assert found[0][1][:6].mean() > found[1][1][:6].mean() > found[2][1][:6].mean()


def test_thick_restart_without_restart_is_lanczos():
    start = np.ones(150)
    (values, residuals), (later, _) = thick_restart_probe(X, start, 20, 8, (1, 12), np.random.default_rng(2))
    check(values, residuals, X, 20)
    K = np.linalg.qr(np.stack([X**j * start for j in range(12)]).T)[0]
    short = thick_restart_probe(X, start, 12, 5, 1, np.random.default_rng(2))[0][0]
    np.testing.assert_allclose(short, np.linalg.eigvalsh((K.T * X) @ K)[::-1], rtol=1e-6)
    np.testing.assert_allclose(later[:6], X[:6], atol=1e-6)
    assert later[:8].sum() > values[:8].sum()


def test_groups_of_equal_eigenvalues_count_by_their_start():
    copies = np.repeat(X[:40], 5)
    start = np.random.default_rng(3).standard_normal(200)
    grouped = np.sqrt((start.reshape(40, 5) ** 2).sum(axis=1))
    one = thick_restart_probe(copies, start, 10, 4, 3, np.random.default_rng(0))[0]
    two = thick_restart_probe(X[:40], grouped, 10, 4, 3, np.random.default_rng(0))[0]
    np.testing.assert_allclose(one[0], two[0], rtol=1e-9)


@pytest.mark.parametrize("x", [np.ones(30), np.r_[1.0, np.zeros(29)]])
def test_exhausted_krylov_spaces_go_on(x):
    values, residuals = thick_restart_probe(x, np.ones(30), 8, 3, 4, np.random.default_rng(4))[0]
    check(values, residuals, x, 8)
    values, residuals = subspace_probe(x, 8, 5, np.random.default_rng(4))[0]
    assert values[0] == pytest.approx(1.0)
