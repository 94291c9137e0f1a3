"""Deflated CG: exact in its subspace, right for any subspace, and honest about what it cannot use."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

import nnla
from nnla.errors import NonFiniteError, NotPositiveDefiniteError, ShapeError
from nnla.krylov.cg import conjugate_gradients
from nnla.operators.operator import as_operator
from nnla.preconditioners.deflation import DeflatedPreconditioner, DeflationSpace
from nnla.preconditioners.scalings import bind_scaling


def system(n=60, kappa=1e6, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * np.geomspace(1 / kappa, 1, n)) @ Q.T
    return (A + A.T) / 2, Q, rng.standard_normal(n)


def run(A, b, space=None, scaling="none", rtol=1e-10):
    op = as_operator(A)
    base = bind_scaling(op, scaling)
    M = None if base.name == "none" else base
    x, r = np.zeros_like(b), b.copy()
    if space is not None:
        M = DeflatedPreconditioner(base, space)
        x, r = space.solve(b), b - space.image(b)
    return conjugate_gradients(
        op.matvec, b, x=x, residual=r, M=M, targets=rtol * np.linalg.norm(b), maxiter=10_000, sizes=np.linalg.norm(b)
    )


def test_the_solution_in_the_subspace_is_the_best_in_the_a_norm(rng):
    A, _, b = system()
    W = rng.standard_normal((60, 5))
    space = DeflationSpace(A, W)
    np.testing.assert_allclose(space.solve(b), W @ np.linalg.solve(W.T @ A @ W, W.T @ b), rtol=1e-8)
    np.testing.assert_allclose(space.image(b), A @ space.solve(b), atol=1e-10)
    B = rng.standard_normal((60, 3))
    np.testing.assert_allclose(space.solve(B)[:, 1], space.solve(B[:, 1]), rtol=1e-10)


def test_eigenvectors_leave_the_rest_of_the_spectrum():
    A, Q, b = system(kappa=1e6)
    plain, deflated = run(A, b), run(A, b, DeflationSpace(A, Q[:, :30]))
    assert deflated.status.value == "converged"
    # 30 of 60 eigenvalues of a geometric sequence: the condition falls from 1e6 to 1e3
    assert deflated.iterations < 0.5 * plain.iterations


@pytest.mark.parametrize("scaling", ["none", "jacobi", "ic"])
@pytest.mark.parametrize("seed", range(3))
def test_any_subspace_gives_the_right_answer(scaling, seed):
    A = csr_array(nnla.problems.poisson2d(12))
    rng = np.random.default_rng(seed)
    b = rng.standard_normal(A.shape[0])
    space = DeflationSpace(A, rng.standard_normal((A.shape[0], 9)))
    result = run(A, b, space, scaling)
    assert result.status.value == "converged"
    assert np.linalg.norm(b - A @ result.x) <= 1e-10 * np.linalg.norm(b)


def test_dependent_zero_and_tiny_columns_do_no_harm(rng):
    A, Q, b = system(kappa=1e4)
    W = np.stack([Q[:, 0], Q[:, 0], 1e-200 * Q[:, 1], np.zeros(60), Q[:, 0] + Q[:, 1]], axis=1)
    space = DeflationSpace(A, W)
    assert space.rank == 2
    assert run(A, b, space).status.value == "converged"
    empty = DeflationSpace(A, np.zeros((60, 3)))
    assert empty.rank == 0
    np.testing.assert_array_equal(empty.solve(b), 0)


def test_the_whole_space_solves_at_once():
    A, _, b = system(kappa=1e3)
    result = run(A, b, DeflationSpace(A, np.eye(60)))
    assert result.iterations <= 1


@pytest.mark.parametrize("form", [csr_array, np.asarray])
def test_products_are_counted(form):
    A = csr_array(nnla.problems.poisson2d(10))
    op = as_operator(form(A.toarray()))
    W = np.zeros((100, 4))
    W[:50, :2] = 1.0 + np.arange(2)
    W[50:, 2:] = 1.0
    space = DeflationSpace(op, csr_array(W))
    assert space.products == 2  # two entries a row
    assert op.products in (2, 4)  # a dense matrix multiplies whole columns
    np.testing.assert_allclose((A @ space.W).toarray(), space.AW.toarray())
    known = DeflationSpace(op, W, AW=A @ W)
    assert known.products == 0
    np.testing.assert_allclose(known.AW.toarray(), space.AW.toarray())


def test_bad_subspaces_are_refused():
    A, _, _ = system()
    with pytest.raises(ShapeError, match="length 60"):
        DeflationSpace(A, np.ones((59, 2)))
    with pytest.raises(NonFiniteError):
        DeflationSpace(A, np.full((60, 1), np.nan))
    indefinite = np.diag(np.r_[1.0, 1.0, 1.0])
    indefinite[0, 1] = indefinite[1, 0] = 5.0
    with pytest.raises(NotPositiveDefiniteError):
        DeflationSpace(indefinite, np.array([[1.0], [-1.0], [0.0]]))
