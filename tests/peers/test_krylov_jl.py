"""The small systems that Krylov.jl tests its symmetric methods on, made anew from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NotPositiveDefiniteError

METHODS = ("auto", "cg", "jacobi", "direct", "autospec", "chebyshev", "ic", "amg")


def spline(n=10):
    return sp.csr_array(sp.diags_array([np.ones(n - 1), np.full(n, 4.0), np.ones(n - 1)], offsets=[-1, 0, 1]))


def div_grad(n):
    """The divergence of the gradient on n^3 cells, of unit size, nothing beyond the boundary."""
    T = sp.diags_array([-np.ones(n - 1), np.full(n, 2.0), -np.ones(n - 1)], offsets=[-1, 0, 1])
    return sp.csr_array(sp.kronsum(sp.kronsum(T, T), T))


def solved(A, b, method, rtol=1e-6):
    if method == "amg":
        pytest.importorskip("pyamg")
    x, report = nnla.solve(A, b, method=method, rtol=rtol)
    assert report.converged, report
    assert np.linalg.norm(b - A @ x) <= rtol * np.linalg.norm(b) * (1 + 1e-9)
    return x


@pytest.mark.parametrize("method", METHODS)
def test_the_cubic_spline(method):
    A, x = spline(), np.arange(1.0, 11.0)
    assert solved(A, A @ x, method, 1e-10) == pytest.approx(x)


@pytest.mark.parametrize("method", METHODS)
def test_the_sparse_laplacian(method):
    A = div_grad(16)
    solved(A, np.ones(16**3), method)


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_right_hand_side(method):
    A = spline()
    x, report = nnla.solve(A, np.zeros(10), method=method)
    assert report.converged
    assert not np.any(x)


def test_a_preconditioner_that_is_a_multiple_of_the_identity():
    n = 10
    A = np.ones((n, n)) + (n - 1) * np.eye(n)
    b = 10.0 * np.arange(1, n + 1)
    x, report = nnla.solve(A, b, method="cg", M=np.eye(n) / n)
    assert report.converged
    assert report.iterations <= 2
    assert x == pytest.approx(np.linalg.solve(A, b))


@pytest.mark.parametrize("method", METHODS)
def test_poisson_in_cartesian_coordinates(method):
    n = 50
    h = 1.0 / (n + 1)
    T = sp.diags_array([-np.ones(n - 1), np.full(n, 2.0), -np.ones(n - 1)], offsets=[-1, 0, 1]) / h**2
    A = sp.csr_array(sp.kronsum(T, T))
    s = np.sin(np.pi * h * np.arange(1, n + 1))
    u = np.outer(s, s).ravel()
    x = solved(A, 2 * np.pi**2 * u, method, 1e-9)
    assert np.abs(x - u).max() < 1e-3  # what the discretisation leaves


def never_called_converged(A, b, method):
    """An honest failure, a named error, or the right answer where it is found all the same."""
    try:
        x, report = nnla.solve(A, b, method=method)
    except NotPositiveDefiniteError:
        return
    if report.converged:
        assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b) * (1 + 1e-9)
    else:
        assert report.status in ("indefinite", "breakdown", "stagnation", "singular", "maxiter")


@pytest.mark.parametrize("method", ["auto", "cg", "jacobi", "direct", "autospec"])
def test_indefinite_systems(method):
    never_called_converged(spline() - 3 * sp.eye_array(10), np.arange(10.0) + 1, method)
    A = div_grad(6) - 5 * sp.eye_array(216)  # almost singular, and indefinite
    never_called_converged(sp.csr_array(A), A @ np.ones(216), method)
    never_called_converged(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1.0, 0.0]), method)


@pytest.mark.parametrize("method", ["auto", "cg", "jacobi", "direct"])
def test_an_inconsistent_system_is_never_called_converged(method):
    A = sp.csr_array(np.diag([0.0] + [1.0] * 9))
    try:
        x, report = nnla.solve(A, np.ones(10), method=method)
    except NotPositiveDefiniteError:  # which names the row
        return
    assert not report.converged
    assert np.abs(x).max() <= 10


@pytest.mark.parametrize("method", ["plain", "autospec", "auto", "dense", "direct"])
def test_the_ends_of_the_laplacian(method):
    n, k = 8, 5
    t = 2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))
    every = np.sort(np.add.outer(np.add.outer(t, t), t).ravel())  # threefold and sixfold
    for which, true in (("SA", every[:k]), ("LA", every[-k:])):
        w, V, report = nnla.eigsh(div_grad(n), k, which=which, method=method, return_report=True)
        assert report.converged
        assert w == pytest.approx(true)
        assert np.abs(V.T @ V - np.eye(k)).max() < 1e-10
