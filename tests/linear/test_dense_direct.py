"""LU of many systems at once: what is singular is told from what is ill-conditioned or in other units."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.linear.dense_direct import direct_solutions, singular
from nnla.linear.dense_measures import measured
from nnla.linear.dense_systems import DenseBatch, column_norms, dense_input, shifted

N = 10


def with_condition(condition, rng, n=N):
    U, _ = np.linalg.qr(rng.standard_normal((n, n)))
    V, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return U * (np.geomspace(1.0, 1.0 / condition, n) if np.isfinite(condition) else np.arange(n)) @ V


def batch(A, b=None):
    A = np.asarray(A, dtype=float)
    return DenseBatch.of(A, np.ones((*A.shape[:2], 1)) if b is None else b)


@pytest.mark.parametrize("condition", [1.0, 1e6, 1e12, 1e14])
def test_ill_conditioned_is_not_singular(condition):
    rng = np.random.default_rng(0)
    systems = batch([with_condition(condition, rng) for _ in range(20)])
    found = direct_solutions(systems)
    assert not found.singular.any()
    assert not singular(systems).any()
    errors = measured(systems, found.y)
    assert errors.row.max() < 1e-15
    assert errors.rounded.all()


def test_every_singular_matrix_is_found():
    rng = np.random.default_rng(1)
    A = [with_condition(np.inf, rng) for _ in range(300)]
    assert singular(batch(A)).all()
    found = direct_solutions(batch(A))
    assert found.singular.all()
    assert np.isfinite(found.y).all()


@pytest.mark.parametrize("special", [np.zeros((N, N)), np.ones((N, N)), np.diag([*np.ones(N - 1), 0.0])])
def test_exactly_singular_ones_beside_regular_ones(special):
    rng = np.random.default_rng(2)
    A = np.array([with_condition(10.0, rng), special, with_condition(10.0, rng)])
    b = rng.standard_normal((3, N, 2))
    systems = DenseBatch.of(A, b)
    found = direct_solutions(systems)
    assert found.singular.tolist() == [False, True, False]
    x, _ = systems.leave(found.y, "float64")
    for i in (0, 2):
        assert np.allclose(A[i] @ x[i], b[i])
    assert np.allclose(x[1], np.linalg.lstsq(A[1], b[1])[0], atol=1e-12)


def test_units_of_rows_and_columns_do_not_make_a_matrix_singular():
    rng = np.random.default_rng(3)
    A = with_condition(100.0, rng)
    rows, columns = 10.0 ** rng.uniform(-100, 100, N), 10.0 ** rng.uniform(-100, 100, N)
    for M in (rows[:, None] * A, A * columns, rows[:, None] * A * columns):
        systems = batch(M[None], (M @ np.eye(N)[:, :1])[None])
        assert not singular(systems).any()
    lost = with_condition(np.inf, rng)
    assert singular(batch((rows[:, None] * lost)[None])).all()
    assert singular(batch((lost * np.exp2(np.round(np.log2(columns))))[None])).all()


def test_tensors_take_the_same_way():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    A = np.array([with_condition(10.0, rng), np.ones((N, N)), with_condition(np.inf, rng)])
    b = rng.standard_normal((3, N, 2))
    expected = direct_solutions(DenseBatch.of(A, b))
    found = direct_solutions(DenseBatch.of(torch.from_numpy(A), torch.from_numpy(b)))
    assert np.array_equal(found.singular, expected.singular)
    assert np.allclose(found.y.numpy(), expected.y, atol=1e-10)


# -- units ------------------------------------------------------------------------------------------------------------


def test_shifting_is_exact_and_rounds_once():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(1000) * 2.0 ** rng.integers(-1000, 1000, 1000)
    for e in (0, 1, -30, 900, -900, 1023, -1022, -1074, 2000, -2000, -2100):
        exponents = np.full(1000, e)
        with np.errstate(over="ignore", under="ignore"):
            assert np.array_equal(shifted(x, exponents), np.ldexp(x, exponents))
    torch = pytest.importorskip("torch")
    moderate = rng.standard_normal(1000)
    for e in (0, 5, -900, 1000, -1060, 2000, -2000):
        exponents = np.full(1000, e)
        with np.errstate(over="ignore", under="ignore"):
            expected = np.ldexp(moderate, exponents)
        assert np.array_equal(shifted(torch.from_numpy(moderate), torch.from_numpy(exponents)).numpy(), expected)


def test_norms_of_columns_neither_over_nor_underflow():
    x = np.array([[[3e200, 3e-200, 0.0, np.inf, np.nan], [4e200, 4e-200, 0.0, 1.0, 1.0]]])
    with np.errstate(all="ignore"):
        found = column_norms(x)[0]
    assert found[:3] == pytest.approx([5e200, 5e-200, 0.0])
    assert np.isinf(found[3]) or np.isnan(found[3])
    assert np.isnan(found[4])


@pytest.mark.parametrize("seed", range(5))
def test_units_lose_nothing(seed):
    """Whatever the units, the rows of the batch are the user's times powers of two."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3, N, N)) * 2.0 ** rng.integers(-400, 400, (3, N, 1))
    b = rng.standard_normal((3, N, 2)) * 2.0 ** rng.integers(-200, 200, (3, 1, 2))
    A[0, 3] = 0.0
    b[1, :, 1] = 0.0
    systems = DenseBatch.of(A, b)
    rows = systems.rows + systems.size[:, None]
    assert np.array_equal(np.ldexp(systems.A, rows[:, :, None]), A)
    assert np.array_equal(np.ldexp(systems.b, systems.rows[:, :, None] + systems.columns[:, None, :]), b)
    largest = np.abs(systems.matrices()).max((1, 2))
    assert np.all((largest >= 1) & (largest < 2))
    assert np.all(systems.rows <= 0)
    y = rng.standard_normal((3, N, 2))
    x, back = systems.leave(y, "float64")
    assert np.array_equal(back, y)
    assert np.array_equal(x, np.ldexp(y, (systems.columns - systems.size[:, None])[:, None, :]))
    assert dense_input(A, b).n == N
