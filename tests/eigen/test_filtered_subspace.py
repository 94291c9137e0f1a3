"""Block Davidson with Chebyshev corrections: `nnla.eigen.filtered_subspace` and what it stands on."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.eigen.block_products import BlockProducts, correction_coefficients, filter_coefficients
from nnla.eigen.filtered_subspace import SubspaceSizes, solve_subspace
from nnla.eigen.ritz_basis import RitzBasis
from nnla.errors import NonFiniteError, OptionError
from nnla.operators.operator import as_operator
from nnla.problems import hamiltonian, poisson2d
from nnla.problems.hamiltonians import Atom

EPS = np.finfo(float).eps


def molecule(seed, radius=4.0, spacing=0.8):
    rng = np.random.default_rng(seed)
    atoms = [
        Atom(tuple(rng.uniform(-1.5, 1.5, 3)), depth=rng.uniform(1, 4), width=rng.uniform(1.2, 2.5), core=1.7,
             projectors=((0, 0.4), (1, -0.3)))
        for _ in range(3)
    ]  # fmt: skip
    return hamiltonian(atoms, radius, spacing)


def norm_of(A):
    return float(abs(A).sum(axis=1).max())


def check(A, k, orientation, found, tol):
    """Against all eigenvalues."""
    exact = np.linalg.eigvalsh(A.toarray() if sp.issparse(A) else A)
    wanted = exact[:k] if orientation < 0 else exact[-k:]
    assert found.converged
    assert found.residuals.max() <= tol
    assert np.all(np.diff(found.values) >= 0)
    assert np.abs(found.values - wanted).max() <= tol
    residuals = np.linalg.norm(A @ found.vectors - found.vectors * found.values, axis=0)
    assert np.allclose(residuals, found.residuals, rtol=0.1, atol=20 * EPS * abs(exact).max())
    assert np.abs(found.vectors.T @ found.vectors - np.eye(k)).max() < 1e-12


# -- products and filters ------------------------------------------------------------------------------------


@pytest.fixture(params=[1.0, -1.0])
def sign(request):
    return request.param


@pytest.mark.parametrize("vectors", [1, 3, 4, 5, 8, 12, 13, 16, 17, 37])
def test_products_of_any_number_of_vectors(vectors, sign):
    A = molecule(0)
    op = as_operator(A, definite=False)
    X = np.random.default_rng(0).standard_normal((vectors, op.n))
    out = BlockProducts(op, sign).product(X, np.empty_like(X))
    assert np.abs(out - sign * (A @ X.T).T).max() < 1e-12 * norm_of(A)
    assert op.products == vectors


@pytest.mark.parametrize("kind", ["native", "products"])
@pytest.mark.parametrize("degree", [1, 2, 9])
def test_the_filter_is_the_chebyshev_polynomial(kind, degree, sign):
    A = molecule(1)
    w, Q = np.linalg.eigh(sign * A.toarray())
    matrix = A if kind == "native" else LinearOperator(A.shape, matvec=lambda x: A @ x, dtype=float)
    op = as_operator(matrix, definite=False)
    before = op.products
    blocks = BlockProducts(op, sign)
    assert blocks.single is blocks.native
    assert blocks.native is (kind == "native" and op.native is not None)
    X = np.random.default_rng(0).standard_normal((5, op.n))
    cut, far = w[30], w[-1] + 0.1
    scale = np.linspace(0.5, 1.5, 5)
    out = blocks.filtered(X, scale, filter_coefficients(degree, 5), (cut, far), np.empty_like(X), single=blocks.single)
    assert op.products - before == 5 * degree
    s = ((cut + far) - 2 * w) / (far - cut)
    T = np.where(s > 1, np.cosh(degree * np.arccosh(np.maximum(s, 1))), np.cos(degree * np.arccos(np.clip(s, -1, 1))))
    exact = (Q * T @ Q.T @ X.T).T * scale[:, None]
    assert np.abs(out - exact).max() < (1e-4 if blocks.single else 1e-11) * np.abs(exact).max()


@pytest.mark.parametrize("degree", [1, 2, 15])
def test_a_correction_leads_to_the_filtered_vector(degree):
    A = molecule(2).toarray()
    rng = np.random.default_rng(0)
    w, Q = np.linalg.eigh(A)
    X = (Q[:, :3] + 0.01 * rng.standard_normal((len(w), 3))).T
    theta = np.einsum("ij,ij->i", X, X @ A) / np.einsum("ij,ij->i", X, X)
    R = X @ A - theta[:, None] * X
    cut, far = w[12], w[-1]
    centre, half = (cut + far) / 2, (far - cut) / 2
    t = (centre - theta) / half
    gamma = correction_coefficients(t, half, degree)
    op = as_operator(A, definite=False)
    out = BlockProducts(op).filtered(R, np.ones(3), gamma, (cut, far), np.empty_like(R))
    s = (centre - w) / half
    T = np.cosh(degree * np.arccosh(s.astype(complex))).real
    exact = X @ (Q * T @ Q.T) / np.cosh(degree * np.arccosh(t))[:, None]
    assert np.abs(X + out - exact).max() < 1e-12


def test_coefficients_stay_in_range():
    gamma = correction_coefficients(np.array([1.0 + 1e-12, 1.5, 50.0]), 0.5, 150)
    assert np.isfinite(gamma).all()
    assert np.abs(gamma).max() <= 4.0


# -- the basis -----------------------------------------------------------------------------------------------


def test_the_basis_stays_orthonormal_and_drops_what_is_dependent():
    A = molecule(3)
    op = as_operator(A, definite=False)
    basis = RitzBasis(BlockProducts(op), op.n, 20)
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, op.n))
    W[3] = W[0] + 1e-3 * W[1]
    W[4] = 0.0
    assert basis.extend(W.copy()) == 4
    assert basis.extend(W.copy()) == 0
    close = basis.pairs(0, 4)[0] + 1e-9 * rng.standard_normal((4, op.n))
    assert basis.extend(close) == 4
    assert basis.extend(1e-100 * rng.standard_normal((12, op.n))) == 12
    X, _, R, residuals = basis.pairs(0, 20)
    assert np.abs(X @ X.T - np.eye(20)).max() < 1e-13
    assert np.abs(R - (X @ A - basis.theta[:, None] * X)).max() < 1e-12 * norm_of(A)
    assert np.allclose(residuals, np.linalg.norm(R, axis=1))
    lowest = basis.theta[:8]
    basis.extend(rng.standard_normal((5, op.n)), keep=8)  # a restart
    assert basis.filled == 13
    assert np.all(basis.theta[:8] <= lowest + 1e-12)


# -- the whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [-1.0, 1.0])
@pytest.mark.parametrize("k", [1, 7, 10, 33])
def test_pairs_of_a_hamiltonian(orientation, k):
    A = molecule(4)
    tol = 1e-10 * norm_of(A)
    op = as_operator(A, definite=False)
    found = solve_subspace(op, k, orientation, tol, np.random.default_rng(0))
    check(A, k, orientation, found, tol)
    assert found.products == op.products
    assert found.single is (op.native is not None)
    assert len(found.history) >= found.filterings
    exact = np.linalg.eigvalsh(A.toarray())
    further = exact[k] if orientation < 0 else exact[-k - 1]
    assert orientation * (found.further_values[0] - further) <= 1e-9
    assert abs(found.further_values[0] - further) <= found.further_residuals[0] + 1e-9


def test_as_far_as_float64_goes_though_the_filters_are_float32():
    A = molecule(5)
    norm = norm_of(A)
    found = solve_subspace(
        as_operator(A, definite=False), 10, -1.0, 0.0, np.random.default_rng(0), floor=16 * EPS * norm
    )
    check(A, 10, -1.0, found, 16 * EPS * norm)


@pytest.mark.parametrize("seed", range(4))
def test_all_copies_of_multiple_eigenvalues(seed):
    """Eigenvalues of multiplicity 8, the second beyond the start's random vectors but for four of its copies."""
    rng = np.random.default_rng(seed)
    n, k = 400, 12
    w = np.sort(np.concatenate([np.full(8, 0.1), np.full(8, 0.13), rng.uniform(0.2, 4.0, n - 16)]))
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = Q * w @ Q.T
    A = (A + A.T) / 2
    found = solve_subspace(as_operator(A), k, -1.0, 1e-10, rng)
    check(A, k, -1.0, found, 1e-10)


def test_known_vectors_and_a_known_end_save_products():
    A = poisson2d(40)
    tol = 1e-10 * norm_of(A)
    first = solve_subspace(as_operator(A), 8, -1.0, tol, np.random.default_rng(0))
    again = solve_subspace(as_operator(A), 8, -1.0, tol, np.random.default_rng(0), start=first.vectors.T, far=8.0)
    assert again.converged
    assert again.products < 0.5 * first.products
    assert np.abs(again.values - first.values).max() < tol


def test_an_end_that_is_no_bound_is_found_out():
    A = poisson2d(30)
    tol = 1e-10 * norm_of(A)
    found = solve_subspace(as_operator(A), 5, -1.0, tol, np.random.default_rng(0), far=5.0)
    check(A, 5, -1.0, found, tol)
    assert found.interval is not None
    assert found.interval[1] > 7.9


@pytest.mark.parametrize("n", [1, 2, 5, 20, 40, 60])
def test_small_matrices(n):
    A = sp.csr_array(np.diag(np.arange(1.0, n + 1)) + 0.1 * np.ones((n, n)))
    for k in {1, (n + 1) // 2, n}:
        for orientation in (-1.0, 1.0):
            found = solve_subspace(as_operator(A, definite=False), k, orientation, 1e-10, np.random.default_rng(0))
            check(A, k, orientation, found, 1e-9)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_spectrum_of_one_point(value):
    A = sp.csr_array(value * sp.eye_array(300))
    found = solve_subspace(as_operator(A, definite=False), 4, -1.0, 1e-10, np.random.default_rng(0), floor=1e-14)
    assert found.converged
    assert np.abs(found.values - value).max() < 1e-14


def test_operators_by_products_run_in_float64():
    A = molecule(6)
    tol = 1e-10 * norm_of(A)
    matrix = LinearOperator(A.shape, matvec=lambda x: A @ x, matmat=lambda X: A @ X, dtype=float)
    op = as_operator(matrix, definite=False)
    found = solve_subspace(op, 6, -1.0, tol, np.random.default_rng(0))
    check(A, 6, -1.0, found, tol)
    assert not found.single


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    A = molecule(7).toarray()
    tol = 1e-10 * norm_of(A)
    found = solve_subspace(as_operator(torch.tensor(A), definite=False), 6, 1.0, tol, np.random.default_rng(0))
    check(A, 6, 1.0, found, tol)


def test_entries_beyond_float32():
    A = 1e30 * poisson2d(25)
    op = as_operator(A)
    found = solve_subspace(op, 4, -1.0, 1e-10 * norm_of(A), np.random.default_rng(0))
    assert not found.single
    check(A, 4, -1.0, found, 1e-10 * norm_of(A))


def test_what_cannot_be_ends():
    A = poisson2d(30)
    found = solve_subspace(as_operator(A), 5, -1.0, 1e-30, np.random.default_rng(0))
    assert not found.converged
    assert found.stagnated
    assert found.residuals.max() < 1e-13
    found = solve_subspace(as_operator(A), 5, -1.0, 1e-10, np.random.default_rng(0), maxiter=2)
    assert not found.converged
    assert not found.stagnated
    assert found.filterings == 2


def test_it_gives_up_where_it_would_be_too_dear():
    A = poisson2d(60)
    tol = 1e-10 * norm_of(A)
    whole = solve_subspace(as_operator(A), 5, -1.0, tol, np.random.default_rng(0))
    assert whole.converged
    early = solve_subspace(as_operator(A), 5, -1.0, tol, np.random.default_rng(0), products=0.2 * whole.products)
    assert not early.converged
    assert early.products < 0.8 * whole.products
    assert 0.3 * whole.products < early.expected < 3 * whole.products
    again = solve_subspace(as_operator(A), 5, -1.0, tol, np.random.default_rng(0), products=2 * whole.products)
    assert again.products == whole.products


def test_errors():
    A = poisson2d(5)
    for k in (0, 26):
        with pytest.raises(OptionError, match="eigenpairs"):
            solve_subspace(as_operator(A), k, -1.0, 1e-10, np.random.default_rng(0))
    broken = LinearOperator((400, 400), matvec=lambda x: np.full_like(x, np.nan), dtype=float)
    with pytest.raises(NonFiniteError), np.errstate(all="ignore"):
        solve_subspace(as_operator(broken, check=False), 3, -1.0, 1e-10, np.random.default_rng(0))


def test_the_same_answer_every_time():
    A = molecule(8)
    one, two = (solve_subspace(as_operator(A, definite=False), 9, -1.0, 1e-9, np.random.default_rng(3)) for _ in "ab")
    assert np.array_equal(one.vectors, two.vectors)
    assert one.products == two.products


def test_sizes():
    for n, k in [(10, 1), (10, 10), (60, 20), (10**6, 1), (10**6, 100)]:
        sizes = SubspaceSizes.of(n, k)
        assert k <= sizes.keep <= sizes.basis <= n
        assert sizes.basis == n or sizes.basis - sizes.keep >= sizes.block
