"""What models of dense systems share, on toys: shapes, kinds of arrays, units, bad input, refinement, reports."""

from __future__ import annotations

import json
import warnings
from fractions import Fraction
from operator import mul

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator, gmres

import nnla
from nnla.errors import DTypeError, NNLAError, NonFiniteError, OptionError, ShapeError
from nnla.preconditioners.dense_reference import row_scaled_reference
from nnla.problems.bvp import bvp_systems
from nnla.report import Status

N, B = 8, 5


@pytest.fixture
def systems():
    """Matrices near 3 I, and right-hand sides."""
    rng = np.random.default_rng(0)
    return 3.0 * np.eye(N) + 0.3 * rng.standard_normal((B, N, N)), rng.standard_normal((B, N, 2))


def solved(A, b, x):
    """The largest relative residual, in the user's own arrays."""
    return float(np.max(np.linalg.norm(b - A @ x, axis=-2) / np.linalg.norm(b, axis=-2)))


# -- answers ----------------------------------------------------------------------------------------------------------


def test_without_refinement_the_answer_is_a_guess_and_says_so(systems, dense_engine):
    A, b = systems
    model = dense_engine()
    x, report = model.solve(A, b)
    assert x.shape == b.shape
    assert (report.status, report.converged, report.verified) == (Status.GUESSED, False, [False] * B)
    assert (report.method, report.methods, report.iterations, report.fallbacks) == ("network", ["network"] * B, 0, 0)
    assert report.relative_residual == pytest.approx(solved(A, b, x))
    assert max(report.residuals) == report.relative_residual
    assert np.array_equal(x, model.guess(A, b))
    assert (report.weights, report.n, report.systems, report.columns, report.dtype) == ("linear", N, B, 2, "float64")


def test_a_guess_that_meets_the_tolerance_is_verified(systems, dense_engine):
    A, b = systems
    x, report = dense_engine("exact").solve(A, b)
    assert report.converged
    assert report.status == "converged"
    assert solved(A, b, x) <= 1e-10


@pytest.mark.parametrize("refine", ["gmres", "iterative", True, "auto"])
@pytest.mark.parametrize("kind", ["linear", "nonlinear", "exact", "nan", "garbage", "zero"])
def test_refined_answers_are_verified_whatever_the_network_says(systems, dense_engine, kind, refine):
    A, b = systems
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, report = dense_engine(kind).solve(A, b, refine=refine, maxiter=40)
    assert report.converged, report
    assert report.verified == [True] * B
    assert solved(A, b, x) <= 1e-10
    assert np.allclose(x, np.linalg.solve(A, b), rtol=1e-8)
    if kind in ("nan", "zero"):
        assert report.fallbacks == B
        assert report.methods == ["lu"] * B
        assert "LU for 5 of 5 systems" in report.fallback
        assert ("NaN" in report.fallback) == (kind == "nan")
    if kind in ("linear", "exact"):
        assert report.fallbacks == 0
        assert report.fallback is None
    if kind == "linear":
        assert 0 < report.iterations <= 40
        assert report.method == ("iterative" if refine == "iterative" else "gmres")


def test_a_nonlinear_network_preconditions_flexible_gmres(systems, dense_engine):
    A, b = systems
    report = dense_engine("nonlinear").solve(A, b, refine="gmres").report
    assert report.fallbacks == 0
    assert report.iterations <= 2 * N


def test_a_network_without_an_answer_says_so(systems, dense_engine):
    A, b = systems
    x, report = dense_engine("nan").solve(A, b)
    assert np.array_equal(x, np.zeros_like(b))
    assert (report.status, report.converged, report.relative_residual) == ("breakdown", False, 1.0)
    assert "NaN or Inf for 5 of 5" in report.fallback


def test_one_call_of_the_network_serves_the_batch(systems, dense_engine):
    A, b = systems
    model = dense_engine()
    report = model.solve(A, b).report
    assert (report.network_calls, model.asked) == (1, 1)
    assert model.solve(A, b, refine=True).report.network_calls == model.asked - 1
    assert model.solve(A, b, batch=4).report.network_calls == 3
    assert model.solve(A, b, batch=1).report.network_calls == 2 * B
    assert dense_engine().solve(A[0], np.ones((N, 7)), batch=3).report.network_calls == 3


def test_systems_that_are_solved_are_not_asked_for_again(dense_engine):
    seen = []
    model = dense_engine("linear")
    plain = type(model).answer
    type(model).answer = lambda self, A, b: (seen.append(len(A)), plain(self, A, b))[1]
    A = np.stack([3.0 * np.eye(N), 3.0 * np.eye(N) + 0.2 * np.triu(np.ones((N, N)), 1)])
    report = model.solve(A, np.ones((2, N)), refine="gmres").report
    assert report.converged
    assert report.iteration_counts[0] <= 1 < report.iteration_counts[1]
    assert seen[0] == 2
    assert set(seen[2:]) == {1}


def test_batches_do_not_change_answers(systems, dense_engine):
    A, b = systems
    model = dense_engine("nonlinear")
    for refine in (None, "gmres"):
        whole = model.solve(A, b, refine=refine).x
        assert np.allclose(whole, model.solve(A, b, refine=refine, batch=2).x, rtol=1e-9)
        for i in range(B):
            assert np.allclose(whole[i], model.solve(A[i], b[i], refine=refine).x, rtol=1e-9)


# -- shapes and kinds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_A", "of_b", "of_x"),
    [
        ((N, N), (N,), (N,)),
        ((N, N), (N, 3), (N, 3)),
        ((N, N), (N, N), (N, N)),
        ((B, N, N), (B, N), (B, N)),
        ((B, N, N), (B, N, 3), (B, N, 3)),
        ((B, N, N), (N,), (B, N)),
        ((B, N, N), (N, 3), (B, N, 3)),
        ((B, N, N), (1, N, 3), (B, N, 3)),
        ((1, N, N), (B, N, 3), (B, N, 3)),
        ((1, N, N), (1, N), (1, N)),
        ((N, N, N), (N, N, 1), (N, N, 1)),
        ((N, N, N), (N, 3), (N, N, 3)),
        ((N, N, N), (1, N, N), (N, N, N)),
    ],
)
def test_shapes_are_those_of_numpy(of_A, of_b, of_x, dense_engine):
    rng = np.random.default_rng(1)
    A, b = 3.0 * np.eye(N) + 0.1 * rng.standard_normal(of_A), rng.standard_normal(of_b)
    x, report = dense_engine().solve(A, b, refine=True)
    assert x.shape == of_x
    vectors = len(of_A) == 3 and len(of_b) == 2 and of_b == of_A[:2]
    expected = np.linalg.solve(A, b[..., None])[..., 0] if vectors else np.linalg.solve(A, b)
    assert np.allclose(x, expected)
    assert report.systems == (len(x) if len(of_x) == 3 or len(of_A) == 3 else 1)


@pytest.mark.parametrize(
    ("of_A", "of_b", "says"),
    [
        ((N, N), (B, N), "pass b.T"),
        ((N, N), (3,), "must have shape"),
        ((N, N), (N, 0), "no column"),
        ((N, N), (), "must have shape"),
        ((N, N), (B, N, 2), "must have shape"),
        ((N, N, N), (N, N), r"b\[:, :, None\]"),
        ((B, N, N), (3, N), "batch of 5"),
        ((B, N, N), (3, N, 1), "batch of 5"),
        ((B, N, N), (B, N, 0), "no column"),
        ((0, N, N), (0, N), "no system"),
        ((1, N, N), (0, N, 1), "no system"),
        ((N, 3), (N,), "not square"),
        ((0, 0), (0,), "empty"),
        ((2, B, N, N), (2, B, N), "reshape"),
        ((N,), (N,), "is needed"),
    ],
)
def test_shapes_that_do_not_fit_are_named(of_A, of_b, says, dense_engine):
    for call in (dense_engine().solve, dense_engine().guess):
        with pytest.raises(ShapeError, match=says):
            call(np.ones(of_A), np.ones(of_b))


def test_sizes_that_were_not_trained_are_named(dense_engine):
    model = dense_engine(n=6)
    for call in (model.solve, model.guess):
        with pytest.raises(OptionError, match=r"n = 5.*trained for n = 6.*numpy.linalg.solve.*nnla train"):
            call(np.eye(5), np.ones(5))
    with pytest.raises(OptionError, match="n = 5"):
        model.aspreconditioner(np.eye(5))
    from nnla.models.dense_solutions import _ranges

    assert [_ranges(s) for s in ((4,), (4, 8), (2, 3, 4), (2, 4, 8))] == ["4", "4 or 8", "2 to 4", "2, 4 or 8"]


def test_mixed_sizes_are_grouped_by_the_user(dense_engine):
    with pytest.raises(ShapeError, match=r"mixed sizes.*group it by size"):
        dense_engine().solve([np.eye(3), np.eye(4)], [np.ones(3), np.ones(4)])
    with pytest.raises(ShapeError, match="rectangular"):
        dense_engine().solve([[1.0, 2.0], [3.0]], [1.0, 2.0])


def test_lists_are_batches(systems, dense_engine):
    A, b = systems
    model = dense_engine()
    expected = model.solve(A, b).x
    for kind in (list, tuple):
        assert np.array_equal(model.solve(kind(A), kind(b)).x, expected)
    assert np.array_equal(model.solve(A.tolist(), b.tolist()).x, expected)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", ">f8", ">i4", "longdouble"])
def test_other_real_dtypes_are_float64(dtype, dense_engine):
    A = np.round(10 * (3 * np.eye(N) + 0.2 * np.random.default_rng(0).random((N, N)))).astype(dtype)
    b = np.arange(N).astype(dtype)
    x, report = dense_engine().solve(A, b, refine=True)
    assert x.dtype == np.float64
    assert x.dtype.isnative
    assert report.converged
    assert np.allclose(A.astype(float) @ x, np.arange(N))
    single = dense_engine().solve(A.astype(np.float32), b, refine=True)
    assert single.x.dtype == np.float64  # as NumPy has it


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_less_than_float64_stays_float32_and_is_judged_as_it_is_returned(systems, dense_engine, dtype):
    A, b = (part.astype(dtype) for part in systems)
    x, report = dense_engine().solve(A, b, refine=True)
    assert x.dtype == np.float32
    assert report.dtype == "float32"
    exact = np.linalg.solve(A.astype(float), b.astype(float))
    assert np.array_equal(x, exact.astype(np.float32)) or np.allclose(x, exact, rtol=3e-7)
    assert (report.status, report.converged) == ("rounding", False)
    assert report.relative_residual == pytest.approx(solved(A.astype(float), b.astype(float), x.astype(float)))
    assert report.relative_residual < 1e-6
    assert dense_engine().solve(A, b, refine=True, rtol=1e-5).report.converged


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda A, b: (A * 1j, b), DTypeError, "complex"),
        (lambda A, b: (A, b * 1j), DTypeError, "complex"),
        (lambda A, b: (A > 0, b), DTypeError, "astype"),
        (lambda A, b: (A.astype(object), b), DTypeError, "object"),
        (lambda A, b: (A.astype(str), b), DTypeError, "dtype"),
        (lambda A, b: ("A", b), DTypeError, "dtype"),
        (lambda A, b: (None, b), DTypeError, "object"),
        (lambda A, b: (A, None), DTypeError, "object"),
        (lambda A, b: (sp.csr_array(A[0]), b[0]), DTypeError, r"sparse.*toarray"),
        (lambda A, b: ([sp.csr_array(M) for M in A], b), DTypeError, r"sparse.*toarray"),
        (lambda A, b: (A[0], sp.csr_array(b[0])), DTypeError, r"sparse.*toarray"),
        (lambda A, b: (aslinearoperator(A[0]), b[0]), DTypeError, "products only"),
        (lambda A, b: (np.ma.masked_less(A, 0), b), DTypeError, "masked"),
        (lambda A, b: (np.where(A > 3, np.nan, A), b), NonFiniteError, r"A contains nan in system 0, row"),
        (lambda A, b: (np.where(A > 3, np.inf, A), b), NonFiniteError, "A contains inf"),
        (lambda A, b: (A, np.where(b > 1, -np.inf, b)), NonFiniteError, "b contains -inf"),
    ],
)
def test_bad_input_is_named(systems, dense_engine, change, error, says):
    for call in (dense_engine().solve, dense_engine().guess):
        with pytest.raises(error, match=says):
            call(*change(*systems))


@pytest.mark.parametrize(
    "options",
    [
        {"refine": "lu"},
        {"refine": 1},
        {"refine": ["gmres"]},
        {"refine": np.array(["gmres"])},
        {"rtol": -1.0},
        {"rtol": np.nan},
        {"rtol": "1"},
        {"maxiter": -1},
        {"maxiter": 1.5},
        {"batch": 0},
        {"batch": True},
        {"batch": 2.0},
    ],
)
def test_bad_options_are_named(systems, dense_engine, options):
    with pytest.raises(OptionError, match=next(iter(options))):
        dense_engine().solve(*systems, **options)


def test_input_is_never_modified(systems, dense_engine):
    A, b = systems
    kept = A.copy(), b.copy()
    A.flags.writeable = b.flags.writeable = False
    for kind in ("linear", "nonlinear", "garbage"):
        for refine in (None, "gmres", "iterative"):
            x = dense_engine(kind).solve(A, b, refine=refine).x
            x *= 2.0  # is the user's own
    assert np.array_equal(A, kept[0])
    assert np.array_equal(b, kept[1])
    single = dense_engine().solve(A[0], b[0]).x
    single += 1.0


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
def test_boundary_value_problems_reach_1e_10(dense_engine, equation, boundary):
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


# -- what else a model offers -----------------------------------------------------------------------------------------


def test_a_guess_starts_classical_solvers(dense_engine):
    rng = np.random.default_rng(3)
    C = 0.1 * rng.standard_normal((N, N))
    A, b = 3.0 * np.eye(N) + C + C.T, rng.standard_normal(N)
    for kind in ("linear", "nonlinear"):
        x, report = nnla.solve(A, b, x0=dense_engine(kind).guess(A, b))
        assert report.converged
        assert np.allclose(A @ x, b)


def test_a_linear_network_preconditions(systems, dense_engine):
    A, b = systems[0][0], systems[1][0, :, 0]
    for unit in (1.0, 1e200, 1e-200):
        M = dense_engine().aspreconditioner(unit * A)
        assert (M.shape, M.dtype, M.kind) == ((N, N), np.float64, nnla.Kind.LINEAR)
        assert np.allclose(unit * (M @ b), b / 3.0, rtol=0.5)
        assert np.allclose(M @ np.stack([b, 2 * b], axis=1), np.stack([M @ b, 2 * (M @ b)], axis=1), rtol=1e-13)
        assert not (M @ np.zeros(N)).any()
    assert gmres(A, b, M=dense_engine().aspreconditioner(A), rtol=1e-10)[1] == 0
    with pytest.raises(OptionError, match=r"not linear.*refine='gmres'"):
        dense_engine("nonlinear").aspreconditioner(A)
    for wrong in (systems[0], np.ones(N), np.ones((1, N, N))):
        with pytest.raises(ShapeError):
            dense_engine().aspreconditioner(wrong)


def test_a_model_may_bring_another_preconditioner(systems, dense_engine):
    """The guess is the network's; refinement, and anyone's GMRES, take the reference."""
    A, b = systems
    model = dense_engine("nonlinear")
    kind = type(model)
    kind.preconditioner = lambda self, A: row_scaled_reference(3.0 * np.eye(N), A)
    x, report = model.solve(A, b)
    assert report.preconditioner is None
    assert np.array_equal(x, dense_engine("nonlinear").solve(A, b).x)
    for refine in ("gmres", "iterative"):
        report = model.solve(A, b, refine=refine).report
        assert report.converged
        assert (report.preconditioner, report.network_calls, report.fallbacks) == ("reference", 1, 0)
        assert report.iterations < dense_engine("nonlinear").solve(A, b, refine="gmres").report.iterations
        assert "reference inside" in report.chosen_because
    assert dense_engine().solve(A, b, refine=True).report.preconditioner == "network"
    M = model.aspreconditioner(A[0])
    assert np.linalg.norm(A[0] @ (M @ b[0, :, 0]) - b[0, :, 0]) < 0.1 * np.linalg.norm(b[0, :, 0])
    kind.preconditioner = lambda self, A: lambda v: v * np.nan
    report = model.solve(A, b, refine=True).report
    assert (report.converged, report.fallbacks) == (True, B)


def test_the_envelope_and_the_spread_are_reported(systems, dense_engine):
    A, b = systems
    model = dense_engine()
    kind = type(model)
    kind.distances = lambda self, A: np.where(np.arange(len(A)) == 1, 1.5, 0.25)
    kind.spread = lambda self, A, b, x: np.full((len(A), b.shape[-1]), 0.25)
    report = model.solve(A, b).report
    assert report.inside == [True, False, True, True, True]
    assert report.distances == [0.25, 1.5, 0.25, 0.25, 0.25]
    assert report.outside == 1
    assert "1 of 5 matrices are unlike those of the training" in report.chosen_because
    assert report.uncertainty == [[0.25, 0.25]] * B
    assert model.solve(A, b, refine=True).report.uncertainty is None
    assert model.solve(A, b, batch=4).report.inside == [True, False, True, False, True]
    assert dense_engine().solve(A, b).report.inside is None


def test_reports_are_frozen_json_and_one_line(systems, dense_engine):
    A, b = systems
    report = dense_engine(seed=7).solve(A, b, refine=True).report
    assert type(report).from_json(report.to_json()) == report
    assert json.loads(report.to_json())["verified"] == [True] * B
    assert report.seed == 7
    assert set(report.seconds) == {"network", "refinement", "fallback", "total"}
    assert {"nnla", "numpy"} <= set(report.versions)
    assert repr(report).startswith("<DenseReport converged: gmres, 5 systems")
    assert "\n" not in repr(report)
    assert "gmres" in report._repr_html_()
    with pytest.raises(AttributeError):
        report.status = "converged"


def test_a_network_of_another_shape_is_named(systems, dense_engine):
    model = dense_engine()
    type(model).answer = lambda self, A, b: b[:, :1]
    with pytest.raises(ShapeError, match=r"Toy.answer gave shape \(5, 1, 2\)"):
        model.solve(*systems)


def test_models_say_what_they_are(dense_engine):
    assert repr(dense_engine()) == "Toy('linear', n = 8, linear in b, 64 numbers)"
    assert repr(dense_engine("nonlinear")) == "Toy('nonlinear', n = 8, 64 numbers)"
