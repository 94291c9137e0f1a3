"""The Lanczos process: T = Q'AQ, in the plain, the scaled, the blocked and the reorthogonalised form."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from nnla.errors import NonFiniteError
from nnla.operators import arrays
from nnla.spectra.lanczos import lanczos, tridiagonal


def unit(n: int, seed: int = 0) -> np.ndarray:
    v = np.random.default_rng(seed).standard_normal(n)
    return v / np.linalg.norm(v)


def dense(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)


def symmetric(n: int, low: float = -1.0) -> np.ndarray:
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n)))[0]
    return (Q * np.linspace(low, 2.0, n)) @ Q.T


def test_t_is_the_compression_of_a():
    A, v = symmetric(30), unit(30)
    steps = list(islice(lanczos(A.__matmul__, v, arrays), 8))
    Q = np.array([step.vector for step in steps])
    T = dense(np.array([step.alpha for step in steps]), np.array([step.beta for step in steps]))
    assert np.array_equal(Q[0], v)
    assert pytest.approx(np.eye(8), abs=1e-12) == Q @ Q.T
    assert pytest.approx(T, abs=1e-12) == Q @ A @ Q.T
    assert np.linalg.norm(steps[-1].following) == pytest.approx(1.0)


def test_one_product_a_step_and_none_beforehand():
    calls = []
    process = lanczos(lambda v: calls.append(1) or np.arange(1.0, 10.0) * v, unit(9), arrays)
    assert not calls
    list(islice(process, 4))
    assert len(calls) == 4


def test_with_a_scaling_it_is_lanczos_of_the_scaled_operator():
    A, d, r = symmetric(20, 0.1), np.linspace(1.0, 3.0, 20), unit(20)
    v = r / np.sqrt(r @ (r / d))
    scaled = tridiagonal(lanczos(A.__matmul__, v, arrays, solve=lambda w: w / d, image=v / d), 6)
    root = np.sqrt(d)
    plain = tridiagonal(lanczos((A / root / root[:, None]).__matmul__, v / root, arrays), 6)
    np.testing.assert_allclose(scaled, plain, atol=1e-12)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_columns_of_a_block_do_not_see_each_other(kind):
    torch = pytest.importorskip("torch") if kind == "torch" else None
    A, V = symmetric(25), np.stack([unit(25, 1), unit(25, 2), np.zeros(25)], axis=1)
    given = (lambda x: torch.from_numpy(A) @ x, torch.from_numpy(V)) if torch else (A.__matmul__, V)
    steps = list(islice(lanczos(*given, arrays), 5))
    for j in range(2):
        alpha, beta = tridiagonal(lanczos(A.__matmul__, V[:, j].copy(), arrays), 5)
        np.testing.assert_allclose([step.alpha[j] for step in steps], alpha, atol=1e-13)
        np.testing.assert_allclose([step.beta[j] for step in steps], beta, atol=1e-13)
    assert all(step.alpha[2] == step.beta[2] == 0 for step in steps)
    assert not bool((steps[-1].following[:, 2] != 0).any())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_basis_keeps_the_vectors_orthogonal(dtype):
    d, m = np.geomspace(1e-6, 1.0, 200).astype(dtype), 150
    basis = np.zeros((m, 200), dtype)
    alpha, beta = tridiagonal(lanczos(lambda v: d * v, unit(200).astype(dtype), arrays, basis=basis), m, exhausted=0.0)
    k = alpha.size
    lost = np.abs(basis[:k] @ basis[:k].T - np.eye(k)).max()
    assert lost < 50 * np.finfo(dtype).eps
    values = np.linalg.eigvalsh(dense(alpha, beta))
    assert np.count_nonzero(values > 0.99) == np.count_nonzero(d > 0.99)  # no copy of a converged value
    plain = np.linalg.eigvalsh(dense(*tridiagonal(lanczos(lambda v: d * v, unit(200).astype(dtype), arrays), m)))
    assert np.count_nonzero(plain > 0.99) > np.count_nonzero(d > 0.99)


def test_an_exhausted_space_ends_the_coefficients_with_a_zero():
    d = np.repeat([1.0, 2.0, 5.0], 4)
    alpha, beta = tridiagonal(lanczos(lambda v: d * v, unit(12), arrays), 10)
    assert alpha.shape == beta.shape == (3,)
    assert beta[-1] == 0
    np.testing.assert_allclose(np.linalg.eigvalsh(dense(alpha, beta)), [1.0, 2.0, 5.0])


def test_the_zero_operator_ends_at_once():
    alpha, beta = tridiagonal(lanczos(np.zeros_like, unit(5), arrays), 4)
    assert (alpha.tolist(), beta.tolist()) == ([0.0], [0.0])


def test_the_given_space_measures():
    """With inner(x, y) = x'Wy an operator that is symmetric in it is compressed as its similar one."""
    w, A = np.linspace(1.0, 4.0, 15), symmetric(15)
    B, root = A / w[:, None], np.sqrt(w)  # W B = A is symmetric
    start = unit(15) / root

    class Weighted:
        def inner(self, x, y):
            return float(x @ (w * y))

        def norm(self, x):
            return self.inner(x, x) ** 0.5

    ours = tridiagonal(lanczos(B.__matmul__, start, Weighted()), 6)
    same = tridiagonal(lanczos((A / root / root[:, None]).__matmul__, root * start, arrays), 6)
    np.testing.assert_allclose(ours, same, atol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (6, 2)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_overflow_is_named(shape):
    start = np.full(shape, 6**-0.5)
    with pytest.raises(NonFiniteError, match="rescale"):
        next(lanczos(lambda v: v * np.inf, start, arrays))
