"""Flexible GMRES and refinement of many systems at once: against SciPy, and when the preconditioner misbehaves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import gmres

from nnla.krylov.fgmres import column_sizes, flexible_gmres, stationary

B, N, K = 4, 12, 3


@pytest.fixture
def systems():
    rng = np.random.default_rng(0)
    A = 2.0 * np.eye(N) + 0.5 * rng.standard_normal((B, N, N)) / np.sqrt(N)
    return A, rng.standard_normal((B, N, K))


def run(A, b, M, method=flexible_gmres, *, rtol=1e-12, maxiter=60, x=None, **options):
    targets = rtol * np.linalg.norm(b, axis=1)
    start = 0.0 * b if x is None else x
    return method(lambda v: A @ v, M, column_sizes, b, start, targets=targets, maxiter=maxiter, **options)


def left(A, b, x):
    return np.linalg.norm(b - A @ x, axis=1)


@pytest.mark.parametrize("method", [flexible_gmres, stationary])
def test_every_column_meets_its_target(systems, method):
    A, b = systems
    found = run(A, b, lambda r: r / 2, method)
    assert np.all(left(A, b, found.x) <= 1e-12 * np.linalg.norm(b, axis=1) * (1 + 1e-9))
    assert np.array_equal(found.norms, left(A, b, found.x)) or np.allclose(found.norms, left(A, b, found.x), rtol=1e-2)
    assert found.iterations.max() == found.calls or method is flexible_gmres
    assert found.iterations.shape == (B, K)


def test_steps_are_those_of_gmres(systems):
    A, b = systems
    for steps in (1, 3, 6):
        found = run(A, b, lambda r: r, maxiter=steps)
        for i in range(B):
            for j in range(K):
                x, _ = gmres(A[i], b[i, :, j], rtol=1e-14, restart=steps, maxiter=1)
                assert np.allclose(found.x[i, :, j], x, rtol=1e-8, atol=1e-12)


def test_a_restart_goes_on_from_the_true_residual(systems):
    A, b = systems
    found = run(A, b, lambda r: r, restart=4)
    assert np.all(found.norms <= 1e-12 * np.linalg.norm(b, axis=1))
    assert found.iterations.max() > 4


def test_a_preconditioner_that_changes_from_step_to_step(systems):
    A, b = systems
    rng = np.random.default_rng(1)
    found = run(A, b, lambda r: r * rng.uniform(0.3, 3.0, (1, N, 1)))
    assert np.all(found.norms <= 1e-12 * np.linalg.norm(b, axis=1))


def test_residuals_never_grow_whatever_the_preconditioner_gives(systems):
    A, b = systems
    rng = np.random.default_rng(2)
    start = rng.standard_normal(b.shape)
    for M in (lambda r: 0 * r, lambda r: rng.standard_normal(r.shape) * (r != 0), lambda r: -r, lambda r: 1e200 * r):
        for method in (flexible_gmres, stationary):
            with np.errstate(all="ignore"):
                found = run(A, b, M, method, x=start, maxiter=20)
            assert np.all(found.norms <= left(A, b, start) * (1 + 1e-12))
            assert np.allclose(found.norms, left(A, b, found.x), rtol=1e-6)
            assert np.all(found.iterations <= 20)


def test_columns_without_work_cost_nothing(systems):
    A, b = systems
    b[1] = 0.0
    b[2, :, 0] = 0.0
    asked = []

    def M(r):
        asked.append((r != 0).any(axis=1))
        return r / 2

    for method in (flexible_gmres, stationary):
        asked.clear()
        found = run(A, b, M, method)
        assert not found.iterations[1].any()
        assert found.iterations[2, 0] == 0
        assert not np.any([mask[1] for mask in asked])
        assert not found.x[1].any()


def test_a_column_that_is_solved_rests(systems):
    A, b = systems
    A[0] = 2.0 * np.eye(N)
    found = run(A, b, lambda r: r / 2)
    assert np.all(found.iterations[0] == 1)
    assert np.all(found.iterations[1:] > 3)


def test_a_hopeless_column_is_given_up_early(systems):
    _, b = systems
    A = np.tile(np.roll(np.eye(N), 1, axis=0), (B, 1, 1))  # no progress before step n
    found = run(A, b, lambda r: r, maxiter=12)
    assert found.iterations.max() <= 12
    big = np.tile(np.roll(np.eye(40), 1, axis=0), (1, 1, 1))
    rhs = np.zeros((1, 40, 1))
    rhs[0, 0] = 1.0
    assert run(big, rhs, lambda r: r, maxiter=30).iterations.max() == 12


def test_the_iterate_of_least_residual_is_kept():
    """A is good in the norm of x and multiplies rough errors: the residual grows before it falls."""
    A = np.diag([1.0, 1e4])[None]
    b = np.array([[[1.0], [1.0]]])
    found = run(A, b, lambda r: r * np.array([[1.0], [1.3e-4]]), stationary, rtol=1e-10, maxiter=60)
    assert found.norms[0, 0] <= 1e-10 * np.sqrt(2)
    diverges = run(A, b, lambda r: r * np.array([[1.0], [2.5e-4]]), stationary, maxiter=60)
    assert diverges.norms[0, 0] <= np.sqrt(2)
    assert diverges.calls < 10


def test_tensors(systems):
    torch = pytest.importorskip("torch")
    A, b = systems
    expected = run(A, b, lambda r: r / 2)
    tensors = torch.from_numpy(A), torch.from_numpy(b)
    targets = 1e-12 * np.linalg.norm(b, axis=1)
    for method in (flexible_gmres, stationary):
        found = method(
            lambda v: tensors[0] @ v, lambda r: r / 2, column_sizes, tensors[1], 0 * tensors[1],
            targets=targets, maxiter=60,
        )  # fmt: skip
        assert isinstance(found.x, torch.Tensor)
        assert np.allclose(found.x.numpy(), expected.x)
        assert np.all(found.norms <= targets)
