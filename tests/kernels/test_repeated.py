"""Systems of one pattern, one after the other: the factor of the right values, verified answers, what is declined."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NotSymmetricError, OptionError, ShapeError, TimeLimitError
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.interruption import time_limit
from nnla.kernels.repeated import ANOTHER_PATTERN, DECLINED, RepeatedCholesky

pytestmark = pytest.mark.usefixtures("native_kernels")

NO_ROWS, MATRIX, RANGE, RIGHT_HAND_SIDE, TARGET, DEAR, PIVOTS, ACCURACY = 1, 2, 3, 5, 6, 8, 9, 10


def left(A, x, b):
    return np.linalg.norm(b - A @ x) / np.linalg.norm(b)


def varied(A, rng):
    """The same pattern with other entries, definite still: D A D."""
    d = sp.diags_array(np.exp(0.3 * rng.standard_normal(A.shape[0])))
    B = sp.csr_array(d @ A @ d)
    B.sort_indices()
    return B


@pytest.mark.parametrize("A", [nnla.problems.poisson2d(12), nnla.problems.poisson3d(12), nnla.problems.poisson2d(90)])
def test_each_matrix_is_solved_with_its_own_factor(A, rng):
    A = sp.csr_array(A)
    kept = RepeatedCholesky(A)
    assert kept.complete
    assert not kept.factored
    matrices = [A, varied(A, rng), 3.0 * A]
    before = None
    for k in (0, 0, 1, 1, 2, 0, 2):
        b = rng.standard_normal(A.shape[0])
        found = kept.solve(matrices[k], b, 1e-12)
        assert found.factored == (k != before)
        assert left(matrices[k], found.x, b) <= 1e-12
        assert found.relative_residual == pytest.approx(left(matrices[k], found.x, b), rel=0.3, abs=1e-15)
        assert 0 < found.backward_error <= 1e-14
        again = kept.solve_again(2 * b, 1e-12)
        assert np.array_equal(again.x, 2 * found.x)
        before = k
    assert kept.banded == (A.shape[0] < 8000)
    assert kept.nbytes > 8 * kept.nnz


def test_values_changed_in_place_are_noticed(rng):
    A, b = sp.csr_array(nnla.problems.poisson2d(20)), rng.standard_normal(400)
    kept = RepeatedCholesky(A)
    kept.solve(A, b)
    A.data[A.indices == np.repeat(np.arange(400), np.diff(A.indptr))] += 1.0
    found = kept.solve(A, b)
    assert found.factored
    assert left(A, found.x, b) <= 1e-12


def test_what_is_unusual_is_declined_and_the_next_system_solves(rng):
    A = sp.csr_array(nnla.problems.poisson2d(20))
    n = A.shape[0]
    b = rng.standard_normal(n)
    kept = RepeatedCholesky(A)
    good = kept.solve(A, b).x
    nan, indefinite, lopsided, tiny = A.copy(), A.copy(), A.copy(), A.copy()
    nan.data[7] = np.nan
    indefinite.data *= np.where(np.repeat(np.arange(n), np.diff(A.indptr)) == A.indices, 0.5, 1.0)
    lopsided.data[1] *= 1.001
    tiny.data *= 1e-200
    for bad, why in ((nan, MATRIX), (-A, MATRIX), (lopsided, MATRIX), (indefinite, PIVOTS), (tiny, RANGE)):
        assert kept.solve(bad, b) == why
        assert why in DECLINED
        assert np.array_equal(kept.solve(A, b).x, good)
    for bad, why in ((0 * b, RIGHT_HAND_SIDE), (b * np.nan, RIGHT_HAND_SIDE), (1e-150 * b, RANGE)):
        assert kept.solve(A, bad) == why
        assert kept.solve_again(bad) == why
    assert kept.solve(A, b, 0.0) == TARGET
    assert kept.solve(A, b, 1e-17) == ACCURACY
    assert kept.solve(A, b, 0.0, 1e3) == TARGET
    assert np.array_equal(kept.solve(A, b).x, good)
    assert not kept.solve(A, b).factored


def test_an_absolute_tolerance_is_met_in_the_units_of_the_caller(rng):
    A, b = sp.csr_array(nnla.problems.poisson2d(20)), 1e60 * rng.standard_normal(400)
    found = RepeatedCholesky(A).solve(A, b, 0.0, 1e52)
    assert np.linalg.norm(b - A @ found.x) <= 1e52


def test_light_rows_are_looked_at_where_b_lies_on_heavy_ones(rng):
    d = np.where(np.arange(400) < 20, 1e4, 1.0)
    A = sp.csr_array(sp.diags_array(d) @ nnla.problems.poisson2d(20) @ sp.diags_array(d))
    A.sort_indices()
    b = d**2 * rng.standard_normal(400)
    found = RepeatedCholesky(A).solve(A, b, 1e-9)
    exact = np.linalg.solve(nnla.problems.poisson2d(20).toarray(), b / d) / d
    assert 0 <= found.equilibrated_residual <= 1e-9
    assert np.linalg.norm(found.x - exact) <= 1e-8 * np.linalg.norm(exact)


def test_another_pattern_is_declined(rng):
    A = sp.csr_array(nnla.problems.poisson2d(10))
    kept, b = RepeatedCholesky(A), np.ones(100)
    assert kept.solve_again(b) == ANOTHER_PATTERN
    more = sp.csr_array(A + sp.csr_array(([0.1, 0.1], ([0, 50], [50, 0])), shape=A.shape))
    more.sort_indices()
    assert kept.solve(more, b) == ANOTHER_PATTERN
    assert kept.solve(sp.csr_array(nnla.problems.poisson2d(11)), np.ones(121)) == ANOTHER_PATTERN
    assert kept.solve(sp.csr_array(sp.eye_array(100)), b) == ANOTHER_PATTERN
    moved = A.copy()
    moved.indices = moved.indices.copy()
    moved.indices[0], moved.indices[1] = moved.indices[1], moved.indices[0]
    assert kept.solve(moved, b) == ANOTHER_PATTERN


def test_layouts_of_the_arrays_do_not_change_the_answer(rng):
    A, b = sp.csr_array(nnla.problems.poisson2d(10)), rng.standard_normal(100)
    kept = RepeatedCholesky(A)
    x = kept.solve(A, b).x
    wide = sp.csr_array((A.data, A.indices.astype(np.int64), A.indptr.astype(np.int64)), shape=A.shape)
    wide.indices, wide.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    assert np.array_equal(kept.solve(wide, b).x, x)
    assert np.array_equal(kept.solve(A, np.repeat(b, 2)[::2]).x, x)
    single = A.astype(np.float32)
    assert np.array_equal(kept.solve(single, b).x, x)
    with pytest.raises(TypeError):
        kept.solve(A, b + 1j)


def test_what_cannot_be_kept(monkeypatch):
    A = sp.csr_array(nnla.problems.poisson3d(12))
    given_up = RepeatedCholesky(A, max_flops=10.0)
    assert not given_up.complete
    assert given_up.solve(A, np.ones(1728)) == DEAR
    with pytest.raises(NotSymmetricError):
        RepeatedCholesky(sp.csr_array(np.triu(np.ones((4, 4)))))
    with pytest.raises(ShapeError):
        RepeatedCholesky(sp.csr_array(np.ones((4, 3))))
    with pytest.raises(OptionError):
        RepeatedCholesky(A, max_flops=-1.0)
    empty = sp.csr_array((0, 0))
    assert RepeatedCholesky(empty).solve(empty, np.ones(0)) == NO_ROWS
    monkeypatch.setattr("nnla.kernels.repeated.native", None)
    with pytest.raises(OptionError, match="not available"):
        RepeatedCholesky(A)


@pytest.mark.parametrize("k", [12, 60])
def test_a_preconditioner_keeps_the_factor_that_it_was_made_with(k, rng):
    A = sp.csr_array(nnla.problems.poisson2d(k))
    b, z, w = rng.standard_normal(A.shape[0]), np.empty(A.shape[0]), np.empty(A.shape[0])
    kept = RepeatedCholesky(A)
    assert kept.preconditioner() is None
    x = kept.solve(A, b).x
    M = kept.preconditioner()
    assert M.size == A.shape[0]
    kept.solve(5.0 * A, b)
    M.multiply(b, z)
    np.testing.assert_allclose(z, x, rtol=1e-12, atol=1e-12)
    del kept
    M.multiply(b, w)
    assert np.array_equal(z, w)
    with pytest.raises(ShapeError):
        M.multiply(b[1:], z)


def test_a_factor_of_the_ordinary_kind_is_one_too(rng):
    A = sp.csr_array(nnla.problems.poisson2d(15))
    b, z = rng.standard_normal(225), np.empty(225)
    raw = native.Cholesky(A.indptr, A.indices)
    with pytest.raises(RuntimeError, match="not factored"):
        raw.preconditioner()
    raw.factor(A.data)
    M = raw.preconditioner()
    raw.factor(2 * A.data, in_place=True)
    M.multiply(b, z)
    assert np.array_equal(z, Cholesky(A).factor().solve(b))


def test_a_limit_of_time_leaves_it_usable(rng):
    A, b = sp.csr_array(nnla.problems.poisson3d(24)), rng.standard_normal(24**3)
    kept = RepeatedCholesky(A)
    with pytest.raises(TimeLimitError), time_limit(0.01):
        kept.solve(A, b)
    assert not kept.factored
    assert left(A, kept.solve(A, b).x, b) <= 1e-10
    with pytest.raises(TimeLimitError), time_limit(0.0):
        kept.solve(A, b)
    assert not kept.solve(A, b).factored


def test_two_threads_at_once_are_an_error(rng):
    A, b = sp.csr_array(nnla.problems.poisson3d(24)), rng.standard_normal(24**3)
    kept, errors = RepeatedCholesky(A), []
    start = threading.Barrier(2)

    def job():
        start.wait()
        try:
            kept.solve(A, b)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=job) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("running" in error for error in errors)
    assert left(A, kept.solve(A, b).x, b) <= 1e-10


def test_blocks_are_solved_column_by_column(rng):
    A = sp.csr_array(nnla.problems.poisson2d(15))
    kept, B = RepeatedCholesky(A), rng.standard_normal((225, 3))
    found = kept.solve(A, B, 1e-12)
    assert found.factored
    assert found.products >= 3
    assert np.array_equal(kept.solve_again(np.asfortranarray(B), 1e-12).x, found.x)
    for j in range(3):
        assert np.array_equal(kept.solve(A, B[:, j], 1e-12).x, found.x[:, j])
        assert found.relative_residual >= kept.solve(A, B[:, j], 1e-12).relative_residual
    B[:, 1] = 0.0
    assert kept.solve(A, B) == RIGHT_HAND_SIDE
    assert kept.solve(A, B[:200]) == ANOTHER_PATTERN
    assert kept.solve(A, np.ones((75, 3))) == ANOTHER_PATTERN


@pytest.mark.parametrize("k", [12, 60])
def test_what_has_changed_and_the_factor_alone(k, rng):
    A = sp.csr_array(nnla.problems.poisson2d(k))
    kept, B = RepeatedCholesky(A), rng.standard_normal((k * k, 5))
    assert kept.change(A) == 1
    with pytest.raises(OptionError, match="no factor"):
        kept.apply(B)
    kept.solve(A, B[:, 0])
    assert (kept.change(A), kept.change(2 * A), kept.change(sp.csr_array(nnla.problems.poisson2d(9)))) == (0, 1, 2)
    assert kept.change(sp.csr_array(sp.eye_array(k * k))) == 2
    X = kept.apply(B)
    np.testing.assert_allclose(A @ X, B, atol=1e-10)
    np.testing.assert_allclose(kept.apply(B[:, 2]), X[:, 2], rtol=1e-13, atol=1e-14)
    with pytest.raises(ShapeError):
        kept.apply(B[1:])


def test_an_analysis_and_a_factor_from_elsewhere(rng):
    A, b = sp.csr_array(nnla.problems.poisson2d(60)), rng.standard_normal(3600)
    made = Cholesky(A).factor()
    kept = RepeatedCholesky(A, analysed=made)
    assert kept.factored
    found = kept.solve(A, b)
    assert not found.factored
    assert np.array_equal(found.x, made.solve(b))
    assert kept.solve(2 * A, b).factored
    np.testing.assert_allclose(made.solve(b), found.x, rtol=1e-12, atol=1e-14)  # its factor is its own still
    other = sp.csr_array(nnla.problems.poisson2d(59))
    assert not RepeatedCholesky(other, analysed=made).factored
    assert not RepeatedCholesky(3 * A, analysed=made).factored
    A.data *= np.exp(rng.standard_normal())
    A.data[A.data > 0] *= 1.5  # the factor is that of what was in this array before
    stale = RepeatedCholesky(A, analysed=made)
    assert left(A, stale.solve(A, b).x, b) <= 1e-8
    del made, kept
    assert stale.solve(1.1 * A, b).factored
