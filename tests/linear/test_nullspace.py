"""Singular systems: the solution of least norm by every method, and what is said of a b that is not in the range."""

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError

METHODS = ("auto", "cg", "fcg", "jacobi", "ic", "amg", "autospec", "chebyshev", "chebyshev4", "rule", "direct")


def laplacian(n, rng, spread=1.0, extra=2):
    """Of a connected graph with random weights over 10^-spread to 10^spread."""
    pairs = [(i, int(rng.integers(0, i))) for i in range(1, n)]
    pairs += [(int(i), int(j)) for i, j in rng.integers(0, n, (extra * n, 2)) if i != j]
    i, j = np.array(pairs).T
    w = 10.0 ** rng.uniform(-spread, spread, i.size)
    W = sp.coo_array((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(n, n)).tocsr()
    return sp.csr_array(sp.diags_array(np.asarray(W.sum(axis=1)).ravel()) - W)


def truss(nodes, rng):
    """A free plane truss and its three rigid motions."""
    X, n = rng.standard_normal((nodes, 2)), 2 * nodes
    K = np.zeros((n, n))
    bars = [(i, j) for i in range(nodes) for j in range(i) if j >= i - 2 or rng.random() < 0.2]
    for i, j in bars:
        t = (X[i] - X[j]) / np.linalg.norm(X[i] - X[j])
        v = np.zeros(n)
        v[2 * i : 2 * i + 2], v[2 * j : 2 * j + 2] = t, -t
        K += np.outer(v, v)
    N = np.zeros((n, 3))
    N[::2, 0] = N[1::2, 1] = 1.0
    N[::2, 2], N[1::2, 2] = -X[:, 1], X[:, 0]
    return sp.csr_array(K), N


def family(name, rng, n):
    """A singular matrix, an orthonormal basis of its null space, and the vectors to give to a solve."""
    given = None
    if name == "graph":
        A, N = laplacian(n, rng), np.ones((n, 1))
    elif name == "components":
        sizes = (n // 2, 2, n - n // 2 - 2)
        A = sp.csr_array(sp.block_diag([laplacian(k, rng) for k in sizes]))
        N = np.repeat(np.eye(3), sizes, axis=0)
    elif name == "one of two":
        A = sp.csr_array(sp.block_diag([laplacian(n // 2, rng), laplacian(n - n // 2, rng) + sp.eye_array(n - n // 2)]))
        N = (np.arange(n) < n // 2).astype(float)[:, None]
    elif name == "isolated":
        A = sp.csr_array(sp.block_diag([sp.csr_array((1, 1)), laplacian(n - 2, rng), sp.csr_array((1, 1))]))
        N = np.eye(n)[:, [0, n - 1]]
        N = np.c_[N, np.r_[0.0, np.ones(n - 2), 0.0]]
    elif name == "turned round":
        s = rng.choice([-1.0, 1.0], n)
        A, N = sp.csr_array(sp.diags_array(s) @ laplacian(n, rng) @ sp.diags_array(s)), s[:, None]
    elif name == "normalised":
        L = laplacian(n, rng, spread=0.0)
        L.data = np.sign(L.data)
        L.setdiag(0)
        L.eliminate_zeros()
        degree = -np.asarray(L.sum(axis=1)).ravel()
        D = sp.diags_array(1 / np.sqrt(degree))
        A, N = sp.csr_array(sp.eye_array(n) + D @ L @ D), np.sqrt(degree)[:, None]
    else:
        A, N = truss(n // 2, rng)
        given = N @ rng.standard_normal((3, 3))
    order = rng.permutation(A.shape[0])
    N = np.linalg.qr(N)[0][order]
    return sp.csr_array(A[order][:, order]), N, None if given is None else given[order]


FAMILIES = ("graph", "components", "one of two", "isolated", "turned round", "normalised", "free truss")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_method_finds_the_solution_of_least_norm(name, method):
    """ "auto" returned zero for n <= 100 where CG solved, "amg" broke down, others kept any part of the null space."""
    for n in (30, 140) if method in ("auto", "ic", "amg", "direct") else (30,):
        rng = np.random.default_rng(n)
        A, N, given = family(name, rng, n)
        b = A @ rng.standard_normal(A.shape[0])
        x, report = nnla.solve(A, b, method=method, nullspace=given, rtol=1e-10)
        assert report.converged
        assert report.null_space == N.shape[1]
        assert np.linalg.norm(N.T @ x) <= 1e-10 * np.linalg.norm(x)
        exact = np.linalg.lstsq(A.toarray(), b, rcond=1e-12)[0]
        assert np.linalg.norm(x - exact) <= 1e-5 * np.linalg.norm(exact)
        assert "least norm" in report.chosen_because


@pytest.mark.parametrize("method", ["auto", "ic", "amg", "direct", "autospec", "cg", "jacobi"])
def test_prepared_methods_do_so_too(method, rng):
    A, N, _ = family("components", rng, 150)
    P = nnla.prepare(A, method)
    for _ in range(2):
        x, report = P.solve(A @ rng.standard_normal((150, 2)))
        assert report.converged
        assert np.linalg.norm(N.T @ x) <= 1e-10 * np.linalg.norm(x)
    assert P.aspreconditioner().kind is nnla.Kind.LINEAR_SPD


@pytest.mark.parametrize("unit", [1e-250, 1e-20, 1e20, 1e150])
@pytest.mark.parametrize("method", ["auto", "direct", "ic", "jacobi", "chebyshev"])
def test_units_do_not_matter(method, unit, rng):
    A = laplacian(60, rng) * unit
    b = A @ rng.standard_normal(60)
    x, report = nnla.solve(A, b, method=method)
    assert report.converged
    assert abs(x.sum()) <= 1e-10 * np.abs(x).sum()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [1e-6, 0.1])
def test_what_is_not_in_the_range_is_set_aside_and_named(method, level, rng):
    """The iterate grew to 1e11, or "auto" advised "auto"."""
    for n in (40, 120):
        A = laplacian(n, rng)
        inside = A @ rng.standard_normal(n)
        b = inside + level * np.linalg.norm(inside) / np.sqrt(n)
        x, report = nnla.solve(A, b, method=method)
        assert not report.converged
        assert report.status == "singular"
        assert report.inconsistent == pytest.approx(level / np.hypot(1, level), rel=1e-3)
        assert report.relative_residual == pytest.approx(report.inconsistent, rel=1e-3)
        exact = np.linalg.lstsq(A.toarray(), b, rcond=1e-12)[0]
        assert np.linalg.norm(x - exact) <= 1e-4 * np.linalg.norm(exact)
        assert "singular" in report.fallback
        assert "auto" not in report.fallback


@pytest.mark.parametrize("method", ["auto", "jacobi", "direct", "amg"])
def test_what_the_tolerance_allows_is_no_failure(method, rng):
    A = laplacian(120, rng)
    inside = A @ rng.standard_normal(120)
    b = inside + 0.7e-8 * np.linalg.norm(inside) / np.sqrt(120)
    report = nnla.solve(A, b, method=method).report
    assert report.converged
    assert report.inconsistent == pytest.approx(0.7e-8, rel=0.01)


@pytest.mark.parametrize("method", ["auto", "direct", "cg", "ic", "amg"])
def test_an_isolated_unknown_is_fine_without_a_load_and_named_with_one(method, rng):
    """A zero row was refused, whatever its load."""
    for dense in (False, True):
        A = sp.csr_array(sp.block_diag([nnla.problems.poisson2d(6), sp.csr_array((1, 1)), 3 * sp.eye_array(2)]))
        b = rng.standard_normal(39)
        b[36] = 0.0
        if dense and method in ("ic", "amg"):
            continue
        A = A.toarray() if dense else A
        x, report = nnla.solve(A, b, method=method)
        assert report.converged
        assert x[36] == 0
        b[36] = 2.5
        with pytest.raises(NotPositiveDefiniteError, match=r"unknown 36 .* isolated.* load is 2\.5"):
            nnla.solve(A, b, method=method)
    with pytest.raises(NotPositiveDefiniteError, match="row 0"):  # a zero diagonal beside other entries is indefinite
        nnla.solve(np.array([[0.0, 1.0], [1.0, 2.0]]), np.ones(2), method=method)
    with pytest.raises(NotPositiveDefiniteError, match="all its entries are zero"):
        nnla.solve(np.zeros((2, 2)), np.zeros(2), method=method)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_ones(n, method):
    """n = 2 was a breakdown for "auto"."""
    A = sp.csr_array(np.diag(np.r_[1.0, np.full(max(n - 2, 0), 2.0), 1.0][-n:]) - np.eye(n, k=1) - np.eye(n, k=-1))
    b = np.arange(n) - (n - 1) / 2
    x, report = nnla.solve(A, b if n > 1 else np.ones(1), method=method)
    assert report.converged
    assert n == 1 or abs(x.sum()) < 1e-12


def test_null_vectors_that_a_factorisation_finds(rng):
    """Weighted normalised Laplacians and free bodies without `nullspace` show nothing in their rows."""
    K, N = truss(70, rng)
    b = K @ rng.standard_normal(140)
    for method in ("auto", "direct"):
        x, report = nnla.solve(K, b, method=method)
        assert report.converged
    Q = np.linalg.qr(N)[0]
    assert np.linalg.norm(Q.T @ x) <= 1e-9 * np.linalg.norm(x)
    for method in ("auto", "cg", "jacobi", "ic", "chebyshev", "direct"):
        x, report = nnla.solve(K, b + 0.1 * np.linalg.norm(b) * Q[:, 0], method=method)
        assert report.status == "singular"
        assert np.linalg.norm(x) < 1e3 * np.linalg.norm(b)


def test_by_inverse_iteration_beyond_three_hundred_unknowns(rng):
    K, N = truss(200, rng)
    Q = np.linalg.qr(N)[0]
    for A in (K, K.toarray()):
        x, report = nnla.solve(A, K @ rng.standard_normal(400), method="direct")
        assert report.converged
        assert np.linalg.norm(Q.T @ x) <= 1e-8 * np.linalg.norm(x)


def test_what_is_given_has_to_be_a_null_space(rng):
    A = laplacian(30, rng)
    b = A @ rng.standard_normal(30)
    with pytest.raises(OptionError, match="does not map column 1 of nullspace="):
        nnla.solve(A, b, nullspace=np.c_[np.ones(30), np.arange(30)])
    with pytest.raises(ShapeError, match="nullspace="):
        nnla.solve(A, b, nullspace=np.ones(29))
    with pytest.raises(NonFiniteError, match="nullspace="):
        nnla.prepare(A, nullspace=np.full(30, np.nan))
    with pytest.raises(OptionError, match="does not map"):
        nnla.solve(nnla.problems.poisson2d(6), np.ones(36), nullspace=np.ones(36))
    for fine in (np.ones(30), np.ones((30, 2)), np.zeros((30, 1)), [1] * 30, sp.csr_array(np.ones((30, 1)))):
        assert nnla.solve(A, b, nullspace=fine).report.null_space == 1
    black_box = sp.linalg.aslinearoperator(A)
    x, report = nnla.solve(black_box, b + 1e-3, nullspace=1e200 * np.ones(30))
    assert report.status == "singular"
    assert abs(x.sum()) <= 1e-12 * np.abs(x).sum()


def test_blocks_are_judged_by_column(rng):
    A = laplacian(50, rng)
    B = A @ rng.standard_normal((50, 3))
    B[:, 1] += 1.0
    x, report = nnla.solve(A, B, method="jacobi")
    assert report.status == "singular"
    residual = np.linalg.norm(B - A @ x, axis=0) / np.linalg.norm(B, axis=0)
    assert residual[0] <= 1e-8
    assert residual[2] <= 1e-8
    assert np.all(np.abs(x.sum(axis=0)) <= 1e-10 * np.abs(x).sum(axis=0))


def test_torch_tensors(rng):
    torch = pytest.importorskip("torch")
    A = laplacian(40, rng)
    b = A @ rng.standard_normal(40)
    for tensor in (torch.from_numpy(A.toarray()), torch.from_numpy(A.toarray()).to_sparse_coo()):
        x, report = nnla.solve(tensor, torch.from_numpy(b), method="jacobi")
        assert report.converged
        assert report.null_space == 1
        assert abs(float(x.sum())) < 1e-10


def test_ordinary_matrices_are_not_looked_at(monkeypatch):
    """What finds null vectors must not be heard of by those who have none."""

    def never(*args):
        raise AssertionError

    monkeypatch.setattr("nnla.operators.null_vectors._components", never)
    for A in (nnla.problems.poisson2d(30), nnla.problems.wathen(5, 4), sp.diags_array(np.arange(1.0, 9))):
        assert nnla.solve(sp.csr_array(A), np.ones(A.shape[0]), method="jacobi").report.null_space == 0
