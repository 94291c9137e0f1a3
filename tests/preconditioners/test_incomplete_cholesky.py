"""IC(0) and modified IC against the scalar algorithm of the textbooks, native and in NumPy, and their solves."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnla import kernels, level_sets
from nnla.errors import DTypeError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.preconditioners.incomplete_cholesky import IncompleteFactorizationError, ic0


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

    assert cg_iterations(A, b, ic.solve, 1e-10) < 0.5 * cg_iterations(A, b, lambda r: r.copy(), 1e-10)


def cg_iterations(A, b, apply, tol=1e-8, limit=4000):
    x, r = np.zeros_like(b), b.copy()
    z = apply(r)
    p, rz = z.copy(), r @ z
    for k in range(1, limit + 1):
        Ap = A @ p
        alpha = rz / (p @ Ap)
        x, r = x + alpha * p, r - alpha * Ap
        if np.linalg.norm(r) < tol * np.linalg.norm(b):
            return k
        z = apply(r)
        rz, old = r @ z, rz
        p = z + rz / old * p
    return limit


native_only = pytest.mark.skipif(kernels.native is None, reason="the package was built without native kernels")


@settings(max_examples=30, deadline=None, suppress_health_check=ANY_BACKEND)
@given(st.integers(1, 400), st.floats(0, 6), st.integers(0, 10**6))
def test_float32_solves_to_its_precision_in_any_order(n, per_row, seed):
    # few entries a row: reordered by levels; many: one triangle for both directions
    A = sp.csr_array(random_spd(n, min(1.0, per_row**2 / n), seed))
    exact, single = ic0(A), ic0(A, dtype=np.float32)
    assert single.dtype == (np.float64 if kernels.native is None else np.float32)
    rng = np.random.default_rng(seed)
    for shape in [(n,), (n, 4), (n, 11)]:
        r = rng.standard_normal(shape)
        expected = exact.solve(r)
        assert np.linalg.norm(single.solve(r) - expected) <= 1e-5 * np.linalg.norm(expected)
    np.testing.assert_allclose(single.L.toarray(), exact.L.toarray(), rtol=1e-6, atol=1e-6)


def test_long_rows_and_short_rows_agree_with_the_factor():
    for A in (poisson(30), sp.csr_array(random_spd(200, 0.3, 7)), sp.csr_array(random_spd(700, 0.004, 8))):
        ic, r = ic0(A), np.random.default_rng(0).standard_normal((A.shape[0], 5))
        expected = sp.linalg.spsolve_triangular(ic.L.T.tocsr(), sp.linalg.spsolve_triangular(ic.L, r), lower=False)
        np.testing.assert_allclose(ic.solve(r), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-60, 1e-20, 1.0, 1e20, 1e60, 1e290])
def test_float32_takes_vectors_of_any_size(size):
    A = poisson(12)
    for dtype in (np.float32, np.float64):
        ic = ic0(A, dtype=dtype)
        for r in (np.ones(144), np.eye(144)[77], np.linspace(0, 1, 144)):
            z = ic.solve(r * size)
            np.testing.assert_allclose(z / size, ic.solve(r), rtol=2e-6)
        block = np.stack([np.ones(144), size * np.ones(144), np.zeros(144), np.eye(144)[5] / size], axis=1)
        z = ic.solve(block)
        np.testing.assert_allclose(z[:, 1] / size, z[:, 0], rtol=2e-6)
        np.testing.assert_array_equal(z[:, 2], 0.0)
        np.testing.assert_allclose(z[:, 3] * size, ic.solve(np.eye(144)[5]), rtol=2e-6)


def test_float32_takes_matrices_of_any_scale():
    d = 10.0 ** np.random.default_rng(0).uniform(-60, 60, 100)
    A, scaling = poisson(10), sp.diags_array(d)
    ic = ic0(sp.csr_array(scaling @ A @ scaling), dtype=np.float32)
    r = np.random.default_rng(1).standard_normal(100)
    np.testing.assert_allclose(d * ic.solve(d * r), ic0(A).solve(r), rtol=1e-4, atol=1e-6)


def test_not_a_number_goes_in_and_out():
    r = np.ones(16)
    r[3] = np.nan
    ic = ic0(poisson(4), dtype=np.float32)
    assert np.isnan(ic.solve(r)).any()
    assert np.isfinite(ic.solve(np.ones(16))).all()


def test_either_triangle():
    A = sp.csr_array(random_spd(40, 0.2, 3))
    expected = ic0(A).L.toarray()
    np.testing.assert_allclose(ic0(A, triangle="upper").L.toarray(), expected, rtol=1e-13)
    np.testing.assert_allclose(ic0(sp.triu(A), triangle="upper").L.toarray(), expected, rtol=1e-13)


def test_auto_modifies_grids_and_leaves_mixed_signs():
    A, b = poisson(50), np.random.default_rng(0).standard_normal(2500)
    plain, modified = ic0(A), ic0(A, modified="auto")
    assert (plain.modified, modified.modified) == (0.0, 0.98)
    assert cg_iterations(A, b, modified.solve) < 0.75 * cg_iterations(A, b, plain.solve)
    mixed = sp.csr_array(random_spd(50, 0.3, 2))
    assert ic0(mixed, modified="auto").modified == 0.0
    # Row sums below zero: the modified factor does not exist, the plain one does.
    rows = sp.diags_array([-1.0, 1.5, -1.0], offsets=[-2, 0, 2], shape=(8, 8)) + sp.diags_array(
        [-0.7, -0.7], offsets=[-1, 1], shape=(8, 8)
    )
    A = sp.csr_array(rows + 1.4 * sp.eye_array(8))
    assert ic0(A, modified="auto", shift="auto").shift == ic0(A, shift="auto").shift


def test_the_same_bits_in_every_run():
    A, r = poisson(60), np.random.default_rng(0).standard_normal(3600)
    first = ic0(A, modified="auto", dtype=np.float32)
    expected = first.solve(r)
    for threads in (1, 2):
        if kernels.native is not None:
            kernels.native.set_threads(threads)
        try:
            first.solve(1e30 * r)  # leaves no trace
            np.testing.assert_array_equal(first.solve(r), expected)
            np.testing.assert_array_equal(ic0(A, modified="auto", dtype=np.float32).solve(r), expected)
        finally:
            if kernels.native is not None:
                kernels.native.set_threads(0)


@native_only
def test_native_solves_check_lengths(backend):
    if backend == "numpy":
        return
    ic = ic0(poisson(5), dtype=np.float32)
    r = np.random.default_rng(0).standard_normal(25)
    with pytest.raises(ValueError, match="length"):
        ic.native.solve(r, np.empty(24))
    same = r.copy()
    ic.native.solve(same, same)  # in place
    np.testing.assert_array_equal(same, ic.solve(r))


REAL = ("1138_bus", "bcsstk14", "bodyy5", "ani4", "nos3", "finan512", "bcsstk16", "nos5")


@native_only
def test_float32_costs_no_iterations_on_real_matrices(real_matrix, backend):
    if backend == "numpy":
        pytest.skip("float64 only")
    ratios = []
    for name in REAL:
        A = real_matrix(name)
        b = np.random.default_rng(0).standard_normal(A.shape[0])
        double, single = (ic0(A, shift="auto", dtype=dtype) for dtype in (np.float64, np.float32))
        ratios.append(cg_iterations(A, b, single.solve) / cg_iterations(A, b, double.solve))
    assert np.exp(np.mean(np.log(ratios))) <= 1.02
