"""Models of dense systems in all units, with singular matrices, and on torch tensors."""

from __future__ import annotations

import warnings
from fractions import Fraction
from operator import mul

import numpy as np
import pytest

from nnla.errors import DTypeError, NNLAError, NonFiniteError, ShapeError
from nnla.problems.bvp import bvp_systems

N, B = 8, 5


# -- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [None, "gmres", "iterative"])
@pytest.mark.parametrize(("of_A", "of_b"), [(830, 0), (-830, 0), (0, 830), (0, -830), (500, 830), (-400, -830)])
def test_powers_of_two_scale_the_answer_exactly(systems, dense_engine, refine, of_A, of_b):
    A, b = systems
    model = dense_engine("nonlinear")
    x, report = model.solve(A, b, refine=refine)
    scaled, other = model.solve(np.ldexp(A, of_A), np.ldexp(b, of_b), refine=refine)
    assert np.array_equal(scaled, np.ldexp(x, of_b - of_A))
    assert other.residuals == report.residuals
    assert other.iteration_counts == report.iteration_counts
    assert other.verified == report.verified


@pytest.mark.parametrize("unit", [1e-250, 1e-200, 1e-30, 1e30, 1e200, 1e250])
def test_any_unit(systems, dense_engine, unit):
    A, b = systems
    exact = np.linalg.solve(A, b)
    for x, report in (
        dense_engine().solve(unit * A, b, refine=True),
        dense_engine().solve(A, unit * b, refine=True),
        dense_engine().solve(unit * A, unit * b, refine=True),
    ):
        assert report.converged
        assert np.allclose(x / np.abs(x).max(), exact / np.abs(exact).max(), rtol=1e-7)


def test_each_system_and_column_has_its_own_units(systems, dense_engine):
    A, b = systems
    powers = np.array([0, 500, -500, 900, -900])
    columns = np.array([0, 300])
    x = dense_engine().solve(A, b, refine=True).x
    scaled = dense_engine().solve(
        np.ldexp(A, powers[:, None, None]), np.ldexp(b, (powers[:, None] // 2 + columns)[:, None, :]), refine=True
    )
    assert scaled.report.converged
    assert np.array_equal(scaled.x, np.ldexp(x, (powers[:, None] // 2 + columns - powers[:, None])[:, None, :]))


def test_what_leaves_the_range_is_named(systems, dense_engine):
    A, b = systems
    with pytest.raises(NonFiniteError, match=r"range of float64.*divide b"):
        dense_engine().solve(1e-250 * A, 1e250 * b, refine=True)
    with pytest.raises(NonFiniteError, match=r"range of float32.*float64"):
        dense_engine().solve((1e-30 * A).astype(np.float32), (1e30 * b).astype(np.float32))


def test_what_underflows_is_not_verified(systems, dense_engine):
    A, b = systems
    x, report = dense_engine().solve(1e250 * A, 1e-250 * b, refine=True)
    assert not x.any()
    assert (report.status, report.relative_residual) == ("rounding", 1.0)


@pytest.mark.parametrize("refine", [None, True])
def test_zero_right_hand_sides_have_zero_solutions(systems, dense_engine, refine):
    A, b = systems
    b[2] = 0.0
    b[3, :, 1] = 0.0
    for kind in ("linear", "nonlinear", "garbage"):
        x, report = dense_engine(kind).solve(A, b, refine=refine)
        assert not x[2].any()
        assert not x[3, :, 1].any()
        assert report.verified[2]
        assert report.residuals[2] == 0.0
        assert report.iteration_counts[2] == 0
    x, report = dense_engine().solve(A, 0.0 * b, refine=refine)
    assert report.converged
    assert not x.any()


def test_small_rows_are_solved_too(dense_engine):
    """A relative residual of 1e-200 says nothing of a row of 1e-200."""
    units = np.ones(N)
    units[3] = 1e-200
    A = np.diag(3.0 * units)
    b = A @ np.ones(N)
    wrong = dense_engine(matrices=np.diag(np.where(units < 1, 3e-100, 3.0))[None])
    x, report = wrong.solve(A, b)
    assert report.relative_residual < 1e-15
    assert abs(x[3] - 1) > 0.5
    assert not report.converged
    x, report = wrong.solve(A, b, refine=True)
    assert report.converged
    assert np.allclose(x, 1.0)
    assert "rows differ too much" in report.fallback
    rows = 10.0 ** np.linspace(-250, 250, N)
    M = 3.0 * np.eye(N) + 0.3 * np.random.default_rng(0).standard_normal((N, N))
    x, report = dense_engine().solve(rows[:, None] * M, rows * M.sum(axis=1), refine=True)
    assert report.converged
    assert np.allclose(x, 1.0)


# -- singular and ill-conditioned matrices ----------------------------------------------------------------------------


def singular(seed=0):
    rng = np.random.default_rng(seed)
    U, s, Vt = np.linalg.svd(3.0 * np.eye(N) + 0.3 * rng.standard_normal((N, N)))
    s[-1] = 0.0
    return (U * s) @ Vt


@pytest.mark.parametrize("refine", ["gmres", "iterative"])
def test_singular_matrices_are_named(systems, dense_engine, refine):
    A, b = systems
    A[1], A[3], A[4] = singular(), 0.0, np.ones((N, N))
    x, report = dense_engine().solve(A, b, refine=refine)
    assert [report.statuses[i].value for i in (1, 3, 4)] == ["singular"] * 3
    assert report.status == "singular"
    assert [report.verified[i] for i in range(B)] == [True, False, True, False, False]
    assert report.singular == 3
    assert "3 of 5 matrices are singular" in report.fallback
    assert np.isfinite(x).all()
    for i in (1, 4):
        assert np.allclose(x[i], np.linalg.lstsq(A[i], b[i])[0], atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "nan"])
def test_a_singular_matrix_with_b_in_its_range_gives_the_solution_of_least_norm(dense_engine, kind):
    A = singular()
    b = A @ np.ones(N)
    x, report = dense_engine(kind).solve(A, b, refine=True)
    assert report.converged
    assert report.singular == 1
    assert report.methods == ["least squares"]
    assert np.allclose(x, np.linalg.lstsq(A, b)[0], atol=1e-12)


def test_a_singular_matrix_is_no_verified_guess(dense_engine):
    x, report = dense_engine().solve(np.zeros((N, N)), np.ones(N))
    assert (report.status, report.verified) == ("guessed", [False])
    assert np.isfinite(x).all()


def test_columns_in_other_units_are_not_singular(dense_engine):
    A = 3.0 * np.eye(N) * 10.0 ** np.linspace(-30, 0, N)
    report = dense_engine().solve(A, A @ np.ones(N), refine=True).report
    assert report.converged
    assert report.singular == 0


def test_as_good_as_float64_can_is_told_from_failed(dense_engine):
    A = np.array([[1.0 / (i + j + 1) for j in range(N)] for i in range(N)])
    b = np.linalg.inv(A)[:, 0] * 1e-3  # solved by large numbers
    report = dense_engine().solve(A, b, refine=True, rtol=1e-16).report
    assert report.status == "rounding"
    assert report.backward_error < 1e-15
    assert not report.converged


@pytest.mark.parametrize("seed", range(4))
def test_what_is_verified_is_so_in_exact_arithmetic(dense_engine, seed):
    """Random matrices, singular, ill-conditioned and of wild units; whatever the network says, no report is wrong."""
    rng = np.random.default_rng(seed)
    n, rtol = 4, 1e-9
    for trial in range(12):
        A, b = rng.standard_normal((2, n, n)), rng.standard_normal((2, n, 1))
        if trial % 4 == 1:
            A[0, :, 0] = A[0, :, 1]
        if trial % 4 == 2:
            A *= 10.0 ** rng.uniform(-120, 120, (2, n, 1))
            b = A @ b
        if trial % 4 == 3:
            A[1] += 1e13 * np.ones((n, n))
            b *= 10.0 ** rng.uniform(-200, 200)
        model = dense_engine(("linear", "nonlinear", "garbage", "nan")[trial % 4], n=n)
        x, report = model.solve(A, b, refine=("gmres", "iterative")[trial % 2], rtol=rtol)
        for i in range(2):
            matrix, answer = [[Fraction(v) for v in row] for row in A[i].tolist()], list(map(Fraction, x[i, :, 0]))
            left = [Fraction(v) - sum(map(mul, row, answer)) for row, v in zip(matrix, b[i, :, 0], strict=True)]
            square = sum(r * r for r in left) / sum(Fraction(v) ** 2 for v in b[i, :, 0])
            if report.verified[i]:
                assert square <= Fraction(1.001 * rtol) ** 2
            else:
                assert report.statuses[i] in ("singular", "rounding")


@pytest.mark.parametrize("boundary", ["interior", "rows"])
@pytest.mark.parametrize("equation", ["diffusion", "advection"])
def test_boundary_value_problems_reach_1e_10(dense_engine, equation, boundary, solved):
    seen, new = (bvp_systems(30, equation=equation, boundary=boundary, n=32, seed=seed) for seed in (1, 2))
    model = dense_engine(matrices=seen.A)
    for refine in ("gmres", "iterative"):
        x, report = model.solve(new.A, new.b, refine=refine)
        assert report.converged
        assert solved(new.A, new.b[:, :, None], x[:, :, None]) <= 1e-10
        assert np.allclose(x, new.x, atol=1e-8)
    assert model.solve(new.A, new.b, refine="gmres").report.fallbacks < 16


# -- torch ------------------------------------------------------------------------------------------------------------


def test_tensors_stay_tensors(systems, dense_engine):
    torch = pytest.importorskip("torch")
    A, b = systems
    tensors = torch.from_numpy(A), torch.from_numpy(b)
    for kind in ("linear", "nonlinear", "nan", "garbage"):
        for refine in (None, "gmres", "iterative"):
            expected, known = dense_engine(kind).solve(A, b, refine=refine)
            x, report = dense_engine(kind).solve(*tensors, refine=refine)
            assert isinstance(x, torch.Tensor)
            assert x.dtype == torch.float64
            assert x.device == tensors[0].device
            assert not x.requires_grad
            assert np.allclose(x.numpy(), expected, rtol=1e-6 if kind == "garbage" else 1e-9)
            assert report.verified == known.verified
    A[1] = singular()
    x, report = dense_engine().solve(torch.from_numpy(A), tensors[1], refine=True)
    assert report.statuses[1] == "singular"
    assert sum(report.verified) == B - 1


@pytest.mark.parametrize(("of_A", "of_b"), [(830, -700), (-830, -830), (500, 900)])
def test_tensors_in_any_unit(systems, dense_engine, of_A, of_b):
    torch = pytest.importorskip("torch")
    A, b = systems
    x = dense_engine().solve(torch.from_numpy(A), torch.from_numpy(b), refine=True).x
    A, b = torch.from_numpy(np.ldexp(A, of_A)), torch.from_numpy(np.ldexp(b, of_b))
    if of_b - of_A < -1022:
        assert dense_engine().solve(A, b, refine=True).report.status == "rounding"
    else:
        assert np.array_equal(dense_engine().solve(A, b, refine=True).x.numpy(), np.ldexp(x.numpy(), of_b - of_A))


def test_dtypes_of_tensors(systems, dense_engine):
    torch = pytest.importorskip("torch")
    A, b = (torch.from_numpy(part) for part in systems)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        x, report = dense_engine().solve(A.to(dtype), b.to(dtype), refine=True)
        assert x.dtype == torch.float32
        exact = torch.linalg.solve(A.to(dtype).double(), b.to(dtype).double())
        assert torch.allclose(x.double(), exact, rtol=1e-5)
        assert report.status == "rounding"
    x, report = dense_engine().solve((10 * A).round().int(), (10 * b).round().to(torch.int16), refine=True)
    assert x.dtype == torch.float64
    assert report.converged
    # a mixture goes where A is
    assert isinstance(dense_engine().solve(A, b.numpy()).x, torch.Tensor)
    assert isinstance(dense_engine().solve(A.numpy(), b).x, np.ndarray)
    assert isinstance(dense_engine().solve(list(A), list(b)).x, torch.Tensor)


def test_tensors_that_are_refused(systems, dense_engine):
    torch = pytest.importorskip("torch")
    A, b = (torch.from_numpy(part) for part in systems)
    solve = dense_engine().solve
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sparse = A[0].to_sparse_csr()
    for given, error, says in (
        ((A.to(torch.complex128), b), DTypeError, "complex"),
        ((A > 0, b), DTypeError, "bool"),
        ((sparse, b[0]), DTypeError, r"sparse.*to_dense"),
        ((A.clone().requires_grad_(), b), NNLAError, "gradient"),
        ((A, b.clone().requires_grad_()), NNLAError, "gradient"),
        (([A[0], A[0, :4, :4]], b), ShapeError, "mixed sizes"),
        (([A[0], A[0].numpy()], b), DTypeError, "list of tensors"),
        ((A * float("nan"), b), NonFiniteError, "nan"),
    ):
        with pytest.raises(error, match=says):
            solve(*given)
