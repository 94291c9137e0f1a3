"""Shift and invert: ends, both sides of a number, masses, copies, factors that are not definite or not there."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from nnla.eigen.shift_invert import near_shift
from nnla.eigen.shifted import Shifted
from nnla.eigen.state import Job
from nnla.operators.operator import as_operator
from nnla.problems import poisson2d, poisson3d


def job_of(op, k, which="SA", tol=1e-10, **fields):
    n = op.n
    ncv = n if n <= 256 else max(4 * k, 20)
    job = Job(k, which, tol, ncv, 1000, "direct", "direct", 21, 1.5, 3, None, select="nearest")
    if fields.get("mass") is not None:
        job.mass_norm = float(np.linalg.norm(fields["mass"].csr.toarray(), 2))
    for name, value in fields.items():
        setattr(job, name, value)
    return job


def mass_of(n, seed=0):
    """A consistent mass matrix of a graded rod."""
    h = 0.5 + np.random.default_rng(seed).random(n + 1)
    return sp.csr_array(sp.diags_array([h[1:-1] / 6, (h[:-1] + h[1:]) / 3, h[1:-1] / 6], offsets=[-1, 0, 1]))


def mixed(n, seed=0):
    """A banded matrix with about as many negative as positive eigenvalues."""
    rng = np.random.default_rng(seed)
    d = rng.standard_normal(n)
    return sp.csr_array(sp.diags_array([rng.standard_normal(n - 1) * 0 + 1.0, d], offsets=[1, 0])
                        + sp.diags_array(np.ones(n - 1), offsets=-1))  # fmt: skip


def wanted(values, k, select, sigma):
    d = values - sigma
    order = {
        "nearest": np.argsort(np.abs(d)),
        "above": np.argsort(np.where(d > 0, d, np.inf)),
        "below": np.argsort(np.where(d < 0, -d, np.inf)),
    }[select]
    return np.sort(values[order[:k]])


def check(A, M, w, V, residuals, expected, tol=1e-9):
    norm = np.abs(expected).max() + 1e-300
    scale = scipy.sparse.linalg.norm(A) if sp.issparse(A) else np.linalg.norm(A)
    np.testing.assert_allclose(w, expected, atol=tol * max(norm, scale))
    MV = V if M is None else M @ V
    np.testing.assert_allclose(V.T @ MV, np.eye(w.size), atol=1e-9)
    true = np.linalg.norm(A @ V - MV * w, axis=0) / np.linalg.norm(V, axis=0)
    np.testing.assert_allclose(residuals, true, atol=1e-13 * scale)


@pytest.mark.parametrize("select", ["nearest", "above", "below"])
@pytest.mark.parametrize("with_mass", [False, True])
@pytest.mark.parametrize("sigma", [-0.7, 0.0, 0.3141])
def test_beside_a_number_within_the_spectrum(select, with_mass, sigma):
    A = mixed(400)
    M = mass_of(400) if with_mass else None
    op = as_operator(A, definite=False)
    job = job_of(op, 7, sigma=sigma, select=select, mass=None if M is None else as_operator(M))
    w, V, residuals = near_shift(op, job, np.random.default_rng(0), None)
    exact = scipy.linalg.eigh(A.toarray(), None if M is None else M.toarray(), eigvals_only=True)
    check(A, M, w, V, residuals, wanted(exact, 7, select, sigma))
    assert job.verified
    assert job.count_below is not None


@pytest.mark.parametrize("which", ["SA", "LA"])
@pytest.mark.parametrize("singular", [False, True])
def test_ends_of_a_pencil(which, singular):
    n = 300
    A = poisson2d(10, 30)
    if singular:
        A = sp.csr_array(A - sp.diags_array(A.sum(axis=1)))  # the Laplacian of the graph
    M = mass_of(n, 3)
    op = as_operator(A, definite=False)
    job = job_of(op, 6, which, mass=as_operator(M))
    w, V, residuals = near_shift(op, job, np.random.default_rng(0), None)
    exact = scipy.linalg.eigh(A.toarray(), M.toarray(), eigvals_only=True)
    check(A, M, w, V, residuals, exact[:6] if which == "SA" else exact[-6:])
    assert job.verified


def test_copies_come_out_whole_and_are_counted():
    A = poisson3d(9)  # triples
    w = np.linalg.eigvalsh(A.toarray())
    op = as_operator(A, definite=False)
    for sigma, k in ((None, 10), (w[100] + 1e-3, 13), (0.0, 4)):
        job = job_of(op, k, sigma=sigma)
        values, *_ = near_shift(op, job, np.random.default_rng(0), None)
        np.testing.assert_allclose(values, wanted(w, k, "nearest", sigma or 0.0), atol=1e-9)
        assert job.verified


def test_more_copies_than_a_block_has_vectors():
    one = np.linalg.eigvalsh(poisson2d(6).toarray())
    A = sp.csr_array(sp.block_diag([poisson2d(6)] * 9))
    op = as_operator(A, definite=False)
    job = job_of(op, 21)
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    np.testing.assert_allclose(values, np.repeat(one, 9)[:21], atol=1e-10)
    assert job.verified


def test_a_start_that_sees_a_part_only():
    A = sp.csr_array(sp.block_diag([poisson2d(12), poisson2d(12) * 1.01]))
    start = np.zeros((4, A.shape[0]))
    start[:, : A.shape[0] // 2] = np.random.default_rng(1).standard_normal((4, A.shape[0] // 2))
    op = as_operator(A, definite=False)
    job = job_of(op, 6)
    values, *_ = near_shift(op, job, np.random.default_rng(0), start.T)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A.toarray())[:6], atol=1e-10)
    assert job.verified


def test_sigma_that_is_an_eigenvalue():
    A = poisson2d(8)
    w = np.linalg.eigvalsh(A.toarray())
    op = as_operator(A, definite=False)
    job = job_of(op, 5, sigma=4.0)  # eight times
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    np.testing.assert_allclose(values, np.full(5, 4.0), atol=1e-9)
    job = job_of(op, 11, sigma=4.0)
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    distances = np.sort(np.abs(w - 4.0))[:11]
    np.testing.assert_allclose(np.sort(np.abs(values - 4.0)), distances, atol=1e-9)


def test_a_solve_that_was_given():
    A = poisson2d(20)
    op = as_operator(A, definite=False)
    lu = splu((A - 1.234 * sp.eye_array(400)).tocsc())
    job = job_of(op, 5, sigma=1.234, solve=lu.solve)
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    w = np.linalg.eigvalsh(A.toarray())
    np.testing.assert_allclose(values, wanted(w, 5, "nearest", 1.234), atol=1e-9)
    assert job.verified


def test_factors_with_exchanges_where_elimination_without_is_unstable():
    # the diagonal of A - sigma I is 0: no L D L' without exchanges
    n = 200
    B = sp.random_array((n, n), density=0.05, rng=np.random.default_rng(0)) + sp.eye_array(n)
    A = sp.csr_array(sp.block_array([[None, B], [B.T, None]]))
    shifted = Shifted(A)
    solve = shifted.indefinite(0.0)
    assert solve is not None
    x = np.random.default_rng(1).standard_normal((2 * n, 3))
    np.testing.assert_allclose(solve(A @ x), x, atol=1e-7)
    op = as_operator(A, definite=False)
    job = job_of(op, 6, sigma=0.0)
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    w = np.linalg.eigvalsh(A.toarray())
    np.testing.assert_allclose(np.sort(np.abs(values)), np.sort(np.abs(w))[:6], atol=1e-9)
    assert job.verified


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_mass_of_another_size(scale):
    A, M = poisson2d(15), mass_of(225) * scale
    op = as_operator(A, definite=False)
    job = job_of(op, 5, mass=as_operator(M))
    values, *_ = near_shift(op, job, np.random.default_rng(0), None)
    exact = scipy.linalg.eigh(A.toarray(), M.toarray(), eigvals_only=True)
    np.testing.assert_allclose(values, exact[:5], rtol=1e-8)
    assert job.verified
