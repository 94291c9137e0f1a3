"""Inverse roots: against the eigendecomposition, checked with the matrix that was given."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.extensions import inverse_root


def spd(rng, values):
    Q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    A = (Q * values) @ Q.T
    return 0.5 * (A + A.T), Q


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("condition", [1.5, 1e3, 1e6])
def test_against_the_eigendecomposition(p, condition, rng):
    values = 37 * np.geomspace(1 / condition, 1, 50)
    A, Q = spd(rng, values)
    result = inverse_root(A, p)
    exact = (Q * values ** (-1 / p)) @ Q.T
    assert result.report.converged, result.report
    assert np.linalg.norm(result.Z - exact, 2) < 1e-7 * np.linalg.norm(exact, 2)
    if p == 2:
        np.testing.assert_allclose(result.root @ result.root, A, atol=1e-7 * 37)
    else:
        assert result.root is None


def test_beyond_the_precision_it_says_so(rng):
    A, _ = spd(rng, np.geomspace(1e-13, 1, 40))
    report = inverse_root(A).report
    assert not report.converged
    assert report.status in ("stagnation", "maxiter", "breakdown")


def test_the_error_is_measured_with_the_given_matrix(rng):
    A, _ = spd(rng, np.geomspace(1e-4, 1, 30))
    result = inverse_root(A)
    true = np.linalg.norm(result.Z @ A @ result.Z - np.eye(30), 2)
    assert true <= 1.5 * result.report.error + 1e-14
    assert true <= result.report.error_bound * 1.01 + 1e-14


def test_errors(rng):
    A, _ = spd(rng, np.geomspace(0.1, 1, 10))
    with pytest.raises(OptionError, match="p must"):
        inverse_root(A, 3)
    with pytest.raises(ShapeError, match="square"):
        inverse_root(np.ones((3, 2)))
    with pytest.raises(NotSymmetricError, match="symmetrise"):
        inverse_root(np.triu(np.ones((4, 4))))
    with pytest.raises(NotPositiveDefiniteError, match="negative"):
        inverse_root(np.diag([1.0, -1.0, 2.0]))
    with pytest.raises(NotPositiveDefiniteError, match="zero"):
        inverse_root(np.zeros((3, 3)))


def test_torch(rng):
    torch = pytest.importorskip("torch")
    A, _ = spd(rng, np.geomspace(0.01, 1, 30))
    result = inverse_root(torch.from_numpy(A))
    assert result.report.converged
    assert result.Z.dtype == torch.float64
    assert inverse_root(torch.from_numpy(A).float(), 4).report.converged
