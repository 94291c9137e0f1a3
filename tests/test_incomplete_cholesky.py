"""IC(0) and modified IC against the scalar algorithm of the textbooks, native and in NumPy, and their solves."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnla import kernels, level_sets
from nnla.errors import DTypeError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.incomplete_cholesky import IncompleteFactorizationError, ic0


@pytest.fixture(params=["native", "numpy"], autouse=True)
def backend(request, monkeypatch):
    """Every test runs with the native kernels (where they were built) and without."""
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "native", None)
    elif kernels.native is None:
        pytest.skip("the package was built without native kernels")
    return request.param


def scalar_ic0(A, modified=0.0):
    """The classical algorithm (Golub and Van Loan, 4th ed., 11.5.8), one number at a time; Gustafsson's for MIC."""
    n, L = len(A), np.tril(A)
    pattern = L != 0
    for k in range(n):
        L[k, k] = math.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
        for j in range(k + 1, n):
            for i in range(j, n):
                fill = -L[i, k] * L[j, k]
                if pattern[i, j]:
                    L[i, j] += fill
                else:
                    L[i, i] += modified * fill
                    L[j, j] += modified * fill
    return L


def random_spd(n, density, seed, dominance=1.1):
    rng = np.random.default_rng(seed)
    A = np.where(rng.random((n, n)) < density, rng.uniform(-1, 1, (n, n)), 0.0)
    A = np.tril(A, -1)
    A = A + A.T
    return A + np.diag(dominance * np.abs(A).sum(axis=1) + rng.uniform(0.1, 1.0, n))


def poisson(m):
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    return sp.csr_array(sp.kron(line, sp.eye_array(m)) + sp.kron(sp.eye_array(m), line))


ANY_BACKEND = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=ANY_BACKEND)
@given(st.integers(1, 25), st.floats(0, 1), st.integers(0, 10**6), st.sampled_from([3, 50, 10**6]))
def test_equals_the_scalar_algorithm_on_any_pattern(n, density, seed, chunk):
    A = random_spd(n, density, seed)
    original, level_sets._CHUNK = level_sets._CHUNK, chunk  # small chunks cut levels into several pieces
    try:
        ic = ic0(sp.csr_array(A))
    finally:
        level_sets._CHUNK = original
    expected = scalar_ic0(A)
    np.testing.assert_allclose(ic.L.toarray(), expected, rtol=1e-11, atol=1e-12)
    assert ic.nnz == np.count_nonzero(expected)
    assert ic.shift == 0.0
    product = ic.L.toarray() @ ic.L.toarray().T
    np.testing.assert_allclose(product[A != 0], A[A != 0], rtol=1e-11, atol=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=ANY_BACKEND)
@given(st.integers(1, 25), st.floats(0, 1), st.integers(0, 10**6), st.sampled_from([0.5, 0.97, 1.0]))
def test_modified_equals_the_scalar_algorithm_on_any_pattern(n, density, seed, modified):
    A = random_spd(n, density, seed, dominance=2.0)
    ic = ic0(sp.csr_array(A), modified=modified)
    np.testing.assert_allclose(ic.L.toarray(), scalar_ic0(A, modified), rtol=1e-10, atol=1e-11)
    if modified == 1.0:
        ones = np.ones(n)
        np.testing.assert_allclose(ic.L @ (ic.L.T @ ones), A @ ones, rtol=1e-10, atol=1e-10)


@settings(max_examples=30, deadline=None, suppress_health_check=ANY_BACKEND)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 10**6))
def test_solve_is_exact_to_rounding(n, density, seed):
    ic = ic0(sp.csr_array(random_spd(n, density, seed)))
    L, rng = ic.L.toarray(), np.random.default_rng(seed)
    for shape in [(n,), (n, 1), (n, 3), (n, 4), (n, 13)]:
        r = rng.standard_normal(shape)
        z = ic.solve(r)
        assert z.shape == shape
        np.testing.assert_allclose(L @ (L.T @ z), r, rtol=1e-10, atol=1e-11)


def test_superlu_neither_pivots_nor_fills(monkeypatch):
    monkeypatch.setattr(kernels, "native", None)
    ic = ic0(poisson(20))
    np.testing.assert_array_equal(ic._lu.perm_r, np.arange(ic.n))
    np.testing.assert_array_equal(ic._lu.perm_c, np.arange(ic.n))
    assert ic._lu.L.nnz == ic.nnz
    assert ic._lu.U.nnz == ic.n


def test_no_fill_means_exact_cholesky():
    A = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(50, 50), format="csr")
    np.testing.assert_allclose(ic0(A).L.toarray(), np.linalg.cholesky(A.toarray()), rtol=1e-13)
    dense = random_spd(12, 1.0, 0)
    np.testing.assert_allclose(ic0(sp.csr_array(dense)).L.toarray(), np.linalg.cholesky(dense), rtol=1e-12)


def test_badly_scaled_matrices_factor_as_well_as_their_scaled_form():
    A, d = random_spd(20, 0.3, 4), 10.0 ** np.random.default_rng(0).uniform(-60, 60, 20)
    scaled = ic0(sp.csr_array(d[:, None] * A * d)).L.toarray()
    np.testing.assert_allclose(scaled / d[:, None], ic0(sp.csr_array(A)).L.toarray(), rtol=1e-10)


def test_only_the_lower_triangle_is_read_and_nothing_is_modified():
    A = poisson(6)
    expected = ic0(A).L.toarray()
    np.testing.assert_array_equal(ic0(sp.tril(A)).L.toarray(), expected)
    coo = A.tocoo()
    halves = (np.tile(coo.data / 2, 2), (np.tile(coo.row, 2), np.tile(coo.col, 2)))
    np.testing.assert_array_equal(ic0(sp.coo_array(halves, shape=A.shape)).L.toarray(), expected)
    shuffled = A.copy()
    for i in range(A.shape[0]):
        shuffled.indices[A.indptr[i] : A.indptr[i + 1]] = A.indices[A.indptr[i] : A.indptr[i + 1]][::-1]
        shuffled.data[A.indptr[i] : A.indptr[i + 1]] = A.data[A.indptr[i] : A.indptr[i + 1]][::-1]
    shuffled.has_sorted_indices = False
    before = shuffled.indices.copy(), shuffled.data.copy()
    np.testing.assert_array_equal(ic0(shuffled).L.toarray(), expected)
    np.testing.assert_array_equal(shuffled.indices, before[0])
    np.testing.assert_array_equal(shuffled.data, before[1])


def test_stored_zeros_belong_to_the_pattern():
    A = sp.csr_array(np.array([[2.0, 1.0, 1.0], [1.0, 2.0, 9.0], [1.0, 9.0, 2.0]]))
    A.data[A.data == 9.0] = 0.0
    assert ic0(A).L[2, 1] == pytest.approx(-0.5 / math.sqrt(1.5))


# Positive definite (Kershaw 1978), and yet IC(0) breaks down in its last pivot.
KERSHAW = np.array([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]])


def test_breakdown_is_named_and_auto_repairs_it():
    assert np.linalg.eigvalsh(KERSHAW)[0] > 0
    A = sp.csr_array(KERSHAW)
    with pytest.raises(IncompleteFactorizationError, match=r"pivot of row 3 \(from 0\).*auto"):
        ic0(A)
    ic = ic0(A, shift="auto")
    assert 1e-3 <= ic.shift <= 1.0
    assert math.log2(ic.shift / 1e-3) == pytest.approx(round(math.log2(ic.shift / 1e-3)))
    same = ic0(A, shift=ic.shift)
    np.testing.assert_array_equal(same.L.toarray(), ic.L.toarray())
    shifted = KERSHAW + ic.shift * np.diag(np.diag(KERSHAW))
    np.testing.assert_allclose(ic.L.toarray(), scalar_ic0(shifted), rtol=1e-12, atol=1e-14)
    with pytest.raises(IncompleteFactorizationError):
        ic0(A, shift=ic.shift / 2)


def test_auto_works_without_kept_updates(monkeypatch):
    expected = ic0(sp.csr_array(KERSHAW), shift="auto")
    monkeypatch.setattr(level_sets, "_KEEP", 0)
    again = ic0(sp.csr_array(KERSHAW), shift="auto")
    assert again.shift == expected.shift
    np.testing.assert_array_equal(again.L.toarray(), expected.L.toarray())


def test_hopeless_matrices_are_refused():
    with pytest.raises(IncompleteFactorizationError):
        ic0(sp.csr_array(np.array([[1.0, 5.0], [5.0, 1.0]])), shift="auto")
    with pytest.raises(NotPositiveDefiniteError, match=r"diagonal entry in row 1 \(from 0\) is -2"):
        ic0(sp.csr_array(np.diag([1.0, -2.0])), shift="auto")
    with pytest.raises(NotPositiveDefiniteError, match="row 0"):
        ic0(sp.csr_array((3, 3)))


@pytest.mark.parametrize("shift", [-1.0, np.inf, np.nan, "Auto"])
def test_bad_shift(shift):
    with pytest.raises(OptionError, match="shift"):
        ic0(poisson(3), shift=shift)


@pytest.mark.parametrize(
    "options", [{"modified": -0.1}, {"modified": 1.5}, {"modified": np.nan}, {"modified": "on"}, {"dtype": int}]
)
def test_bad_options(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        ic0(poisson(3), **options)


def test_bad_input():
    with pytest.raises(ShapeError):
        ic0(sp.csr_array((3, 4)))
    with pytest.raises(DTypeError):
        ic0(np.eye(3))
    with pytest.raises(DTypeError):
        ic0(sp.eye_array(3, dtype=complex))
    with pytest.raises(ShapeError, match=r"\(5,\)"):
        ic0(poisson(2)).solve(np.ones(5))


def test_integer_matrix_and_attributes():
    A = poisson(4).astype(np.int64)
    ic = ic0(A)
    assert (ic.n, ic.nnz) == (16, 16 + 24)
    assert isinstance(ic.L, sp.csr_array)
    assert ic.L.dtype == np.float64
    assert ic.seconds > 0
    assert "16x16" in repr(ic)


def test_preconditions_cg():
    A = poisson(40)
    ic, b = ic0(A), np.random.default_rng(0).standard_normal(A.shape[0])

    def iterations(apply):
        x, r = np.zeros_like(b), b.copy()
        z = apply(r)
        p, rz = z.copy(), r @ z
        for k in range(1, 1000):
            Ap = A @ p
            alpha = rz / (p @ Ap)
            x, r = x + alpha * p, r - alpha * Ap
            if np.linalg.norm(r) < 1e-10 * np.linalg.norm(b):
                return k
            z = apply(r)
            rz, old = r @ z, rz
            p = z + rz / old * p
        return 1000

    assert iterations(ic.solve) < 0.5 * iterations(lambda r: r)
