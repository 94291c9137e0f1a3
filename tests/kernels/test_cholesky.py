"""The native Cholesky factorisation against dense ones, and its ordering against SuperLU's."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import splu

import nnla
from nnla.errors import DTypeError, NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.problems import poisson2d, poisson3d

pytestmark = pytest.mark.skipif(native is None, reason="the native kernels are not built")


def canonical(A):
    """Float64 CSR with sorted rows, as the operators of nnla hold it."""
    A = sp.csr_array(A).astype(float)
    A.sum_duplicates()
    A.sort_indices()
    return A


def laplacian(pattern):
    """Diagonally dominant with the off-diagonal pattern of `pattern`, which need not be symmetric."""
    W = sp.csr_array(pattern)
    W = W + W.T
    W.setdiag(0)
    W.eliminate_zeros()
    W.data[:] = np.random.default_rng(W.nnz).uniform(-1, 1, W.nnz)
    W = W + W.T
    return canonical(W + sp.diags_array(np.abs(W).sum(axis=1) + 1.0))


def quasidefinite(A, every=3):
    """[F, B; B', -G] in a mixed order, F and G definite: it has L D L' in any order of elimination."""
    i, j = A.nonzero()
    negative = np.arange(A.shape[0]) % every == 0
    return canonical(sp.csr_array((np.where(negative[i] & negative[j], -1, 1) * A.data, (i, j)), shape=A.shape))


def random_pattern(n, density, seed):
    return sp.random_array((n, n), density=density, rng=np.random.default_rng(seed), format="csr")


def arrow(n, heads):
    D = sp.lil_array((n, n))
    D[:heads, :] = 1
    return D.tocsr()


def filled(A, order):
    """Entries of L for this order of elimination: row by row, up the elimination tree."""
    n = A.shape[0]
    inverse = np.empty(n, int)
    inverse[order] = np.arange(n)
    parent, seen, count = np.full(n, -1), np.full(n, -1), n
    for i in range(n):
        seen[i] = i
        for k in np.sort(inverse[A.indices[A.indptr[order[i]] : A.indptr[order[i] + 1]]]):
            while k < i and seen[k] != i:
                if parent[k] < 0:
                    parent[k] = i
                seen[k] = i
                count += 1
                k = parent[k]
    return count


def backward_error(A, x, b):
    residual = np.abs(A @ x - b).max()
    return residual / (np.abs(A).sum(axis=1).max() * np.abs(x).max() + np.abs(b).max())


def check(A, seed=0):
    n = A.shape[0]
    b = np.random.default_rng(seed).standard_normal((n, 2))
    factor = Cholesky(A).factor()
    assert np.array_equal(np.sort(factor.order), np.arange(n))
    for shaped in (b[:, 0], b, b[:, :0]):
        x = factor.solve(shaped)
        assert x.shape == shaped.shape
        if x.size:
            assert backward_error(A, x, shaped) < 1e-14
    dense = scipy.linalg.cho_solve(scipy.linalg.cho_factor(A.toarray()), b)
    condition = np.linalg.cond(A.toarray())
    assert np.linalg.norm(factor.solve(b) - dense) <= 1e-14 * condition * np.linalg.norm(dense) + 1e-300
    assert factor.nnz >= filled(A, factor.order) >= n
    return factor


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 130), per_row=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 30.0, 1000.0]), seed=st.integers(0, 999)
)
def test_random_patterns_are_solved_as_by_dense_cholesky(n, per_row, seed):
    check(laplacian(random_pattern(n, min(1.0, per_row / n), seed)), seed)


@pytest.mark.parametrize(
    "A",
    [
        np.array([[4.0]]),
        sp.eye_array(7),
        np.full((40, 40), 0.5) + np.eye(40),
        sp.block_diag([poisson2d(9), sp.eye_array(3), poisson2d(4), np.array([[2.0]])]),
        sp.kron(poisson2d(12), np.array([[3.0, 1, 1], [1, 3, 1], [1, 1, 3]])),
        poisson2d(25),
        poisson3d(8),
        laplacian(arrow(300, 1)),
        laplacian(arrow(700, 3)),
        laplacian(sp.block_array([[random_pattern(400, 0.005, 5), None], [None, arrow(60, 2)]])),
        sp.diags_array([1.0, -0.499, -0.499], offsets=[0, 1, -1], shape=(333, 333)),
        sp.csr_array(np.ones((450, 450)) + 450 * np.eye(450)),
    ],
    ids=["one", "diagonal", "dense", "parts", "blocks", "grid", "box", "arrow", "arrows", "mixed", "chain", "wide"],
)
def test_structures(A):
    check(canonical(A))


@pytest.mark.parametrize("per_row", [1, 3])
@pytest.mark.parametrize("heads", [1, 5])
def test_dense_rows_beside_sparse_ones(per_row, heads):
    n = 1500  # the rows of the heads are beyond what counts as dense
    A = laplacian(random_pattern(n, per_row / n, 3) + arrow(n, heads))
    factor = check(A)
    assert set(range(heads)) <= set(factor.order[-heads - 60 :])


@pytest.mark.parametrize("A", [poisson2d(31), poisson2d(60), poisson3d(9), laplacian(random_pattern(700, 0.002, 1))])
def test_the_count_of_entries_is_that_of_the_factor(A):
    A = canonical(A)
    factor = Cholesky(A)
    true = filled(A, factor.order)
    assert true <= factor.nnz <= 1.01 * true  # merged columns may be ordered either way


@pytest.mark.parametrize("name", ["662_bus", "nos6", "bcsstk08", "bcsstk27", "ani4", "ex15", "bodyy5"])
def test_the_order_fills_less_than_superlus(real_matrix, name):
    assert fill_ratio(real_matrix(name)) < 1.1


@pytest.mark.parametrize("A", [poisson2d(50), poisson3d(12), laplacian(random_pattern(2000, 0.0008, 2))])
def test_the_order_of_generated_matrices_fills_less_than_superlus(A):
    assert fill_ratio(canonical(A)) < 1.1


def fill_ratio(A):
    """Entries of L under this order against minimum degree in SuperLU."""
    options = {"SymmetricMode": True}
    lu = splu(sp.csc_array(A), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return Cholesky(A).nnz / lu.L.nnz


@pytest.mark.parametrize("name", ["nos5", "bcsstk08", "bcsstk18", "stand_04", "t2dah_e"])
def test_real_matrices_to_rounding_error(real_matrix, name):
    A = real_matrix(name)
    b = A @ np.ones(A.shape[0])
    assert backward_error(A, Cholesky(A).factor().solve(b), b) < 2e-15


def test_another_matrix_of_the_same_pattern():
    A = poisson2d(20)
    factor = Cholesky(A).factor()
    b = np.arange(400.0)
    shifted = canonical(A + sp.eye_array(400))
    assert backward_error(shifted, factor.factor(shifted.data).solve(b), b) < 2e-15
    assert backward_error(A, factor.factor().solve(b), b) < 2e-15


def test_matrices_within_a_union_of_patterns():
    K, M = poisson2d(15), canonical(sp.diags_array([4.0, 1, 1], offsets=[0, 30, -30], shape=(225, 225)))
    union = canonical(abs(K) + abs(M))
    rows, columns = np.repeat(np.arange(225), np.diff(union.indptr)), union.indices
    factor = Cholesky(union)
    b = np.arange(450.0).reshape(225, 2)
    for shift, negative in ((0.0, 0), (-1.0, 0), (100.0, 225)):
        A = canonical(K - shift * M)
        factor.factor(A.toarray()[rows, columns], indefinite=True)  # many of them zero
        assert factor.negative == negative
        assert backward_error(A, factor.solve(b), b) < 1e-14


@pytest.mark.parametrize("row", [0, 57, 399])
def test_an_indefinite_matrix_is_refused_by_name(row):
    A = poisson2d(20).tolil()
    A[row, row] = -1.0
    factor = Cholesky(canonical(A))
    with pytest.raises(NotPositiveDefiniteError, match="the pivot of row"):
        factor.factor()
    with pytest.raises(OptionError, match="no factor"):
        factor.solve(np.ones(400))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_bad_pivots_name_their_row(value):
    A = canonical(sp.diags_array([1.0, 2.0, value, 4.0]))
    A = sp.csr_array((np.array([1.0, 2.0, value, 4.0]), np.arange(4), np.arange(5)), shape=(4, 4))
    with pytest.raises(NotPositiveDefiniteError, match="row 2 "):
        Cholesky(A).factor()


def test_a_missing_diagonal_is_a_pivot_of_zero():
    A = canonical(np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1]]))
    with pytest.raises(NotPositiveDefiniteError, match="row 1 "):
        Cholesky(A).factor()


def test_the_analysis_gives_up_beyond_its_budget():
    A = poisson3d(16)
    full = Cholesky(A)
    given_up = Cholesky(A, max_flops=full.flops / 10)
    assert full.complete
    assert not given_up.complete
    assert full.flops / 10 < given_up.flops < full.flops
    with pytest.raises(OptionError, match="max_flops"):
        given_up.factor()


def test_memory_beyond_the_limit_is_refused():
    factor = Cholesky(poisson2d(30))
    assert factor.nbytes >= 8 * factor.nnz
    with pytest.raises(MemoryError, match="bytes"):
        factor.factor(max_bytes=factor.nbytes - 1)
    factor.factor(max_bytes=factor.nbytes)


def test_bitwise_the_same_in_every_run_and_for_any_number_of_threads():
    A = poisson3d(22)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    try:
        solutions = []
        for threads in (1, 2, 1, 3):
            native.set_threads(threads)
            solutions.append(Cholesky(A).factor().solve(b))
    finally:
        native.set_threads(0)
    assert all(np.array_equal(solutions[0], x) for x in solutions[1:])


# -- blocks of right-hand sides -------------------------------------------------------------------------------


def against_lapack(A, columns, *, indefinite=False):
    """Solve for so many columns at once; each of them is as LAPACK's, and bitwise as it is alone."""
    n = A.shape[0]
    b = np.random.default_rng(columns).standard_normal((n, columns))
    factor = Cholesky(A).factor(indefinite=indefinite)
    x = factor.solve(b)
    assert x.shape == (n, columns)
    for j in range(columns):
        assert np.array_equal(factor.solve(b[:, j]), x[:, j])
    if columns:
        assert backward_error(A, x, b) < (1e-12 if indefinite else 1e-14)
        dense = scipy.linalg.solve(A.toarray(), b, assume_a="sym" if indefinite else "pos")
        np.testing.assert_allclose(x, dense, rtol=0, atol=1e-10 * np.abs(dense).max())
    return factor


@pytest.mark.parametrize("columns", range(18))
@pytest.mark.parametrize(
    "A",
    [np.array([[4.0]]), poisson2d(7), poisson3d(5), laplacian(random_pattern(203, 0.01, 1)), np.eye(5) + 1.0],
    ids=["one", "grid", "box", "random", "dense"],
)
def test_blocks_of_right_hand_sides(A, columns):
    against_lapack(canonical(A), columns)


@pytest.mark.parametrize("width", [*range(1, 24), 97, 131])
@pytest.mark.parametrize("columns", [1, 3, 8, 13])
def test_blocks_with_panels_of_any_width(width, columns):
    A = canonical(sp.block_diag([np.eye(width) + 0.5, poisson2d(3)]))
    A = canonical(A + sp.diags_array(np.full(width + 8, -0.1), offsets=1, shape=A.shape))
    A = canonical(A + A.T)
    against_lapack(A, columns)


@pytest.mark.parametrize("columns", [*range(1, 10), 16, 17])
@pytest.mark.parametrize("n", [1, 2, 19, 150])
def test_blocks_of_right_hand_sides_with_signs(n, columns):
    against_lapack(quasidefinite(laplacian(random_pattern(n, min(1.0, 4 / n), 0))), columns, indefinite=True)


@pytest.mark.parametrize("columns", [2, 5, 9, 40])
def test_blocks_are_the_same_for_any_number_of_threads(columns):
    A = poisson3d(14)
    b = np.random.default_rng(0).standard_normal((A.shape[0], columns))
    factor = Cholesky(A).factor()
    try:
        solutions = []
        for threads in (1, 2, 3, 8):
            native.set_threads(threads)
            solutions.append(factor.solve(b))
    finally:
        native.set_threads(0)
    assert all(np.array_equal(solutions[0], x) for x in solutions[1:])
    assert np.array_equal(factor.solve(b[:, -1]), solutions[0][:, -1])


def test_a_bad_column_spoils_no_other():
    A = poisson2d(9)
    b = np.ones((81, 7))
    factor = Cholesky(A).factor()
    good = factor.solve(b)
    b[3, 2], b[0, 5] = np.nan, np.inf
    x = factor.solve(b)
    assert not np.isfinite(x[:, [2, 5]]).all(axis=0).any()
    others = [0, 1, 3, 4, 6]
    assert np.array_equal(x[:, others], good[:, others])


@pytest.mark.parametrize(
    "A",
    [
        sp.csr_array(np.array([[1.0, 2.0], [0.0, 1.0]])),
        sp.csr_array(np.array([[1.0, 0.0], [2.0, 1.0]])),
        sp.csr_array(np.triu(np.ones((9, 9)))),
        sp.csr_array((np.ones(4), np.array([1, 0, 0, 1]), np.array([0, 2, 4])), shape=(2, 2)),
        sp.csr_array((np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 2)),
    ],
    ids=["upper", "lower", "triangle", "unsorted", "duplicates"],
)
def test_patterns_that_are_not_symmetric_and_sorted(A):
    with pytest.raises(NotSymmetricError, match=r"symmetric|sorted"):
        Cholesky(A)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 12))
def test_damaged_patterns_are_refused_or_factored(data, n):
    rows = [sorted(set(data.draw(st.lists(st.integers(0, n - 1), max_size=n)))) for _ in range(n)]
    indices = np.array([j for row in rows for j in row], dtype=np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    pattern = {(i, j) for i, row in enumerate(rows) for j in row}
    symmetric = all((j, i) in pattern for i, j in pattern)
    A = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=(n, n))
    if symmetric:
        assert Cholesky(A).complete
    else:
        with pytest.raises(NotSymmetricError):
            Cholesky(A)


def test_arguments_are_checked():
    A = poisson2d(5)
    factor = Cholesky(A)
    with pytest.raises(OptionError, match="no factor"):
        factor.solve(np.ones(25))
    with pytest.raises(DTypeError, match="float32"):
        factor.factor(A.data.astype(np.float32))
    with pytest.raises(ShapeError, match="entries"):
        factor.factor(A.data[:-1])
    factor.factor()
    for wrong in (np.ones(24), np.ones((5, 5)), np.ones((25, 1, 1))):
        with pytest.raises(ShapeError, match="right-hand side"):
            factor.solve(wrong)
    with pytest.raises(ShapeError, match="square"):
        Cholesky(sp.csr_array(np.ones((2, 3))))
    with pytest.raises(OptionError, match="max_flops"):
        Cholesky(A, max_flops=-1.0)


def test_direct_solution_uses_it_and_lu_for_the_indefinite(monkeypatch):
    A = poisson2d(30)
    b = np.random.default_rng(1).standard_normal(900)
    indefinite = canonical(A - 0.5 * sp.eye_array(900))
    for matrix in (A, indefinite):
        x, report = nnla.solve(matrix, b, method="direct", rtol=1e-10)
        assert report.converged
        assert np.linalg.norm(matrix @ x - b) <= 1e-10 * np.linalg.norm(b)
    monkeypatch.setattr("nnla.linear.direct.splu", lambda *args, **options: pytest.fail("Cholesky is enough"))
    assert nnla.solve(A, b, method="direct").report.converged


def test_direct_solution_without_the_native_kernels(monkeypatch):
    monkeypatch.setattr("nnla.kernels.cholesky.native", None)
    A = poisson2d(30)
    assert nnla.solve(A, np.ones(900), method="direct", rtol=1e-10).report.converged
    with pytest.raises(OptionError, match="not available"):
        Cholesky(A)


# -- L D L^T, and the count of negative pivots ----------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 17, 40, 130, 300])
@pytest.mark.parametrize("density", [0.02, 0.1, 1.0])
def test_negative_pivots_are_counted(n, density):
    rng = np.random.default_rng(n)
    B = sp.random_array((n, n), density=density, rng=rng)
    A = canonical(B + B.T + sp.diags_array(rng.standard_normal(n) + 0.1))
    values = np.linalg.eigvalsh(A.toarray())
    factor = Cholesky(A).factor(indefinite=True)
    x = rng.standard_normal((n, 3))
    b = A @ x
    assert np.linalg.norm(A @ factor.solve(b) - b) < 1e-8 * np.linalg.norm(b)
    assert factor.negative == np.count_nonzero(values < 0)


def test_counts_of_a_slice_of_the_spectrum():
    A = poisson2d(60)
    j = np.arange(1, 61)
    one = 2 - 2 * np.cos(j * np.pi / 61)
    values = np.sort(np.add.outer(one, one).ravel())
    factor = Cholesky(A)
    for shift in (0.0, 0.1, 1.0, 3.9, 7.99):
        factor.factor(canonical(A - shift * sp.eye_array(3600)).data, indefinite=True)
        assert factor.negative == np.count_nonzero(values < shift)


def test_a_definite_matrix_has_the_same_factor_either_way():
    A = poisson3d(9)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    plain = Cholesky(A).factor()
    assert plain.negative == 0
    signed = Cholesky(A).factor(indefinite=True)
    assert np.array_equal(signed.solve(b), plain.solve(b))
    assert np.array_equal(signed.pivots, plain.pivots)


def cliques(*sizes, shared=3):
    """Dense blocks in a chain, neighbours with a few unknowns in common: wide panels with few rows below."""
    n = sum(sizes) - shared * (len(sizes) - 1)
    D, start = sp.lil_array((n, n)), 0
    for size in sizes:
        D[start : start + size, start : start + size] = 1
        start += size - shared
    return D.tocsr()


SIGNED = {
    "grid": poisson2d(40),
    "box": poisson3d(9),
    "dense": laplacian(np.ones((333, 333))),
    "cliques": laplacian(cliques(230, 40, 250, 30)),
    "touching": laplacian(cliques(220, 250, shared=1)),
    "arrow": laplacian(arrow(300, 3)),
    "random": laplacian(random_pattern(400, 0.01, 3)),
}


@pytest.mark.parametrize("name", SIGNED)
def test_the_opposite_matrix_has_the_opposite_factor(name):
    A = canonical(SIGNED[name])
    b = np.random.default_rng(0).standard_normal((A.shape[0], 3))
    factor = Cholesky(A).factor()
    x, pivots = factor.solve(b), factor.pivots
    assert factor.factor(-A.data, indefinite=True).negative == A.shape[0]
    # Sums over many columns for few rows may be cut in two in one of them: else bitwise.
    np.testing.assert_allclose(factor.solve(b), -x, rtol=0, atol=1e-13 * np.abs(x).max())
    np.testing.assert_allclose(factor.pivots, -pivots, rtol=1e-13)


@pytest.mark.parametrize("every", [2, 5, 100])
@pytest.mark.parametrize("name", SIGNED)
def test_mixed_signs_are_factored_to_rounding_error(name, every):
    A = quasidefinite(canonical(SIGNED[name]), every)
    n = A.shape[0]
    b = np.random.default_rng(0).standard_normal((n, 2))
    factor = Cholesky(A).factor(indefinite=True)
    assert factor.negative == np.count_nonzero(np.arange(n) % every == 0)
    assert backward_error(A, factor.solve(b), b) < 1e-14


def test_mixed_signs_are_the_same_for_any_number_of_threads():
    A = quasidefinite(poisson3d(22))
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    try:
        solutions = []
        for threads in (1, 2, 3):
            native.set_threads(threads)
            solutions.append(Cholesky(A).factor(indefinite=True).solve(b))
    finally:
        native.set_threads(0)
    assert all(np.array_equal(solutions[0], x) for x in solutions[1:])


def test_a_zero_pivot_is_named():
    A = canonical(np.array([[0.0, 1.0], [1.0, 0.0]]) + 1e-300 * np.eye(2))
    A.data[A.data == 1e-300] = 0.0
    with pytest.raises(NotPositiveDefiniteError, match="zero"):
        Cholesky(A).factor(indefinite=True)
    B = poisson2d(4)
    factor = Cholesky(B).factor(-B.data, indefinite=True)
    assert factor.negative == 16
    with pytest.raises(NotPositiveDefiniteError, match="not positive"):
        factor.factor(-B.data)
    np.testing.assert_allclose(factor.factor().solve(B @ np.ones(16)), np.ones(16))  # signs are forgotten


def test_pivots_are_those_of_the_rows(rng):
    A = sp.csr_array(nnla.problems.poisson2d(9))
    kept = Cholesky(A)
    with pytest.raises(OptionError, match="no factor yet"):
        _ = kept.pivots
    kept.factor()
    order = kept.order
    L = np.linalg.cholesky(A.toarray()[np.ix_(order, order)])
    assert np.allclose(kept.pivots[order], L.diagonal() ** 2, rtol=1e-12)


# -- growth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("unit", [1.0, 1e250, -1e-250])
def test_a_definite_factor_does_not_grow(name, unit):
    A = canonical(SIGNED[name])
    kept = Cholesky(A)
    with pytest.raises(OptionError, match="no factor yet"):
        _ = kept.growth
    assert kept.factor(unit * A.data, indefinite=unit < 0).growth == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("tiny", [1e-3, 1e-8, 1e-14, 1e-200, 1e-305])
def test_a_tiny_pivot_grows(tiny):
    A = canonical(np.array([[tiny, 1.0], [1.0, 2.0]]))
    kept = Cholesky(A).factor(indefinite=True)
    assert list(kept.order) == [0, 1]
    assert kept.growth == pytest.approx(1 / tiny - 1, rel=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_growth_bounds_what_the_factor_is_off_by(seed):
    rng = np.random.default_rng(seed)
    n = 60
    B = sp.random_array((n, n), density=0.1, rng=rng)
    A = canonical(B + B.T + sp.diags_array(10.0 ** rng.uniform(-12, 0, n) * rng.choice([-1.0, 1.0], n)))
    factor = Cholesky(A).factor(indefinite=True)
    order, largest = factor.order, np.abs(A.data).max()
    dense = A.toarray()[np.ix_(order, order)]
    L, D = unpivoted(dense)
    growth = np.max((L**2) @ np.abs(D)) / largest
    assert 1.0 <= factor.growth == pytest.approx(growth, rel=0.5)  # of the very factor only to its own accuracy
    b = rng.standard_normal(n)
    x = factor.solve(b)
    off = np.linalg.norm(A @ x - b) / np.linalg.norm(x)
    assert off <= n * np.finfo(float).eps * factor.growth * largest


def unpivoted(A):
    """L and D of L D L', L with a unit diagonal."""
    A, n = A.copy(), A.shape[0]
    L, D = np.eye(n), np.empty(n)
    for k in range(n):
        D[k] = A[k, k]
        L[k + 1 :, k] = A[k + 1 :, k] / D[k]
        A[k + 1 :, k + 1 :] -= D[k] * np.outer(L[k + 1 :, k], L[k + 1 :, k])
    return L, D
