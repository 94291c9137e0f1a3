"""Old solutions for a guess: the best approximation in the A-norm, whatever the vectors, the matrix and their units."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.kernels import basis as kernels_basis
from nnla.kernels import native
from nnla.krylov import energy_basis
from nnla.krylov.energy_basis import EnergyBasis, images
from nnla.krylov.solution_space import SolutionSpace


@pytest.fixture(params=["native", "NumPy"], autouse=True)
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(energy_basis, "native", None)
        monkeypatch.setattr(kernels_basis, "native", None)
    elif native is None:
        pytest.skip("the native kernels are not there")


@pytest.fixture
def op():
    return nnla.as_operator(nnla.problems.poisson2d(20))


def off(basis):
    return np.abs(basis.V @ basis.AV.T - np.eye(len(basis))).max(initial=0.0)


def energy_of(op, x):
    return float(x @ op.matvec(x))


def filled(op, vectors, most=10):
    space = SolutionSpace(op.n, most)
    for x in vectors:
        assert space.add(x, op.matvec(x))
    return space


def test_the_guess_is_the_best_approximation_in_the_energy_norm(op, rng):
    X = rng.standard_normal((5, op.n))
    space = filled(op, X)
    b = rng.standard_normal(op.n)
    x, energy = space.guess(b)
    A = op.csr.toarray()
    best = X.T @ np.linalg.solve(X @ A @ X.T, X @ b)
    np.testing.assert_allclose(x, best, rtol=1e-10, atol=1e-12)
    assert energy == pytest.approx(energy_of(op, x), rel=1e-12)
    assert energy == pytest.approx(b @ x, rel=1e-12)


def test_a_block_is_guessed_like_its_columns(op, rng):
    space = filled(op, rng.standard_normal((4, op.n)))
    B = rng.standard_normal((op.n, 3))
    X, energy = space.guess(B)
    alone = [space.guess(B[:, j]) for j in range(3)]
    np.testing.assert_allclose(X, np.stack([x for x, _ in alone], axis=1), atol=1e-13)
    assert energy == pytest.approx(sum(e for _, e in alone))


def test_dependent_zero_and_infinite_vectors_are_not_taken(op, rng):
    X = rng.standard_normal((3, op.n))
    space = filled(op, X)
    combination = X.T @ np.array([1.0, -2.0, 0.5])
    for bad in (combination, 1e-160 * combination, np.zeros(op.n), np.full(op.n, np.nan), np.full(op.n, np.inf)):
        assert not space.add(bad, op.matvec(bad) if np.isfinite(bad).all() else bad)
        assert len(space) == 3
    assert not space.add(X[0], -op.matvec(X[0]))  # of an indefinite matrix
    assert off(space._basis) < 1e-13


def test_nearly_dependent_vectors_keep_it_orthonormal(op, rng):
    x = rng.standard_normal(op.n)
    space = filled(op, [x + 1e-5 * rng.standard_normal(op.n) for _ in range(6)])
    assert off(space._basis) < 1e-9  # to the rounding of A V, by the share that is left
    for V, AV in zip(space._basis.V, space._basis.AV, strict=True):
        np.testing.assert_allclose(AV, op.matvec(V), atol=1e-8 * np.abs(AV).max())


@pytest.mark.parametrize("unit", [1e-250, 1e-100, 1e100, 1e250])
@pytest.mark.parametrize("of", ["A", "b"])
def test_any_unit(op, rng, unit, of):
    X, b = rng.standard_normal((3, op.n)), rng.standard_normal(op.n)
    plain, _ = filled(op, X).guess(b)
    space = SolutionSpace(op.n, 5)
    for x in X:
        if of == "A":
            assert space.add(x / unit, op.matvec(x))
        else:
            assert space.add(x * unit, op.matvec(x) * unit)
    scaled, _ = space.guess(b if of == "A" else b * unit)
    if unit < 1e200 or of == "A":  # an energy of 1e500 is none
        expected = plain / unit if of == "A" else plain * unit
        if np.any(scaled) or 1e-140 < unit < 1e140:
            np.testing.assert_allclose(scaled, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())
    assert np.isfinite(scaled).all()


def test_without_room_the_oldest_solution_goes(op, rng):
    X = rng.standard_normal((6, op.n))
    space = filled(op, X, most=3)
    for k, kept in enumerate([False, False, False, True, True, True]):
        x, _ = space.guess(op.matvec(X[k]))
        assert np.allclose(x, X[k], rtol=1e-10, atol=1e-10) == kept
    assert len(space) == 3
    assert not space.add(X[3], op.matvec(X[3]))  # known, and the newest now
    assert space.add(X[0], op.matvec(X[0]))
    for k, kept in enumerate([True, False, False, True, False, True]):
        x, _ = space.guess(op.matvec(X[k]))
        assert np.allclose(x, X[k], rtol=1e-10, atol=1e-10) == kept
    size = space.nbytes
    space.drop(2)
    assert len(space) == 1
    assert space.nbytes == size
    x, _ = space.guess(op.matvec(X[0]))
    np.testing.assert_allclose(x, X[0], atol=1e-10)
    space.drop()
    assert (len(space), space.nbytes) == (0, 0)


@pytest.mark.parametrize("drifts", [False, True])
def test_on_a_smooth_path_the_guess_stays_good(op, drifts):
    t = np.linspace(0, 1, op.n)
    space, left = SolutionSpace(op.n, 6), []
    for k in range(40):
        now = op
        if drifts:
            d = sp.diags_array(1 + 0.2 * np.sin(0.02 * k + 5 * t))
            now = nnla.as_operator(sp.csr_array(d @ op.csr @ d))
            space.renew(now)
        x = np.sin((1 + 0.01 * k) * 7 * t) + np.cos(3 * t + 0.02 * k)
        guess, _ = space.guess(now.matvec(x))
        left.append(np.sqrt(energy_of(now, x - guess) / energy_of(now, x)))
        space.add(x, now.matvec(x))
    assert max(left[6:12]) < 1e-6
    assert max(left[12:]) < 1e-6


def test_an_empty_space_guesses_zero(op):
    space = SolutionSpace(op.n, 0)
    assert not space.add(np.ones(op.n), op.matvec(np.ones(op.n)))
    x, energy = space.guess(np.ones((op.n, 2)))
    assert (x.shape, energy, x.any()) == ((op.n, 2), 0.0, False)
    space.renew(op)
    space.drop()


def test_renewed_for_another_matrix(op, rng):
    X, b = rng.standard_normal((6, op.n)), rng.standard_normal(op.n)
    space = filled(op, X)
    d = sp.diags_array(np.exp(rng.standard_normal(op.n)))
    later = nnla.as_operator(sp.csr_array(d @ op.csr @ d))
    products = later.products
    space.renew(later)
    assert later.products == products + 6
    A = later.csr.toarray()
    x, _ = space.guess(b)
    np.testing.assert_allclose(x, X.T @ np.linalg.solve(X @ A @ X.T, X @ b), rtol=1e-8, atol=1e-10)
    assert off(space._basis) < 1e-12


def test_renewed_where_vectors_fall_together_or_nothing_is_definite(op, rng):
    space = filled(op, np.eye(4, op.n))
    space.renew(nnla.as_operator(sp.csr_array(1e-3 * op.csr + sp.csr_array(1e20 * np.outer(*[np.eye(op.n)[0]] * 2)))))
    assert off(space._basis) < 1e-10
    space.renew(SimpleNamespace(n=op.n, native=None, space=op.space, matvec=lambda X: -op.matvec(X)))
    assert len(space) == 0
    space = filled(op, np.eye(2, op.n))
    flat = nnla.as_operator(
        sp.linalg.LinearOperator((op.n, op.n), matvec=lambda v: np.full(op.n, v.sum()), dtype=float)
    )
    space.renew(flat)
    assert len(space) == 1
    assert off(space._basis) < 1e-10


def test_images_of_operators_without_entries(op, rng):
    V = rng.standard_normal((3, op.n))
    plain = nnla.as_operator(sp.linalg.aslinearoperator(op.csr))
    np.testing.assert_allclose(images(plain, V), images(op, V), atol=1e-12)
    assert images(op, V[:0]).shape == (0, op.n)


def test_the_first_rows_span_the_newest_vectors(op, rng):
    basis = EnergyBasis(op.n, 4)
    X = rng.standard_normal((7, op.n))
    for x in X:
        assert basis.push(x, op.matvec(x))
    newest = X[:-5:-1]
    for _ in range(2):
        assert off(basis) < 1e-13
        for k in range(1, 5):
            c = basis.AV[:k] @ newest[:k].T
            np.testing.assert_allclose(basis.V[:k].T @ c, newest[:k].T, atol=1e-11)
        op = nnla.as_operator(sp.csr_array(op.csr + sp.diags_array(np.linspace(0, 9, op.n))))
        basis.renew(op)
    assert not EnergyBasis(op.n, 0).push(X[0], op.matvec(X[0]))
