"""What models of dense systems share, on toys: shapes, kinds of arrays, units, bad input, refinement, reports."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator, gmres

import nnla
from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.preconditioners.dense_reference import row_scaled_reference
from nnla.report import Status

N, B = 8, 5


# -- answers ----------------------------------------------------------------------------------------------------------


def test_without_refinement_the_answer_is_a_guess_and_says_so(systems, dense_engine, solved):
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


def test_a_guess_that_meets_the_tolerance_is_verified(systems, dense_engine, solved):
    A, b = systems
    x, report = dense_engine("exact").solve(A, b)
    assert report.converged
    assert report.status == "converged"
    assert solved(A, b, x) <= 1e-10


@pytest.mark.parametrize("refine", ["gmres", "iterative", True, "auto"])
@pytest.mark.parametrize("kind", ["linear", "nonlinear", "exact", "nan", "garbage", "zero"])
def test_refined_answers_are_verified_whatever_the_network_says(systems, dense_engine, kind, refine, solved):
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
def test_less_than_float64_stays_float32_and_is_judged_as_it_is_returned(systems, dense_engine, dtype, solved):
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


# -- what else a model offers -----------------------------------------------------------------------------------------


def test_a_guess_starts_classical_solvers(dense_engine):
    rng = np.random.default_rng(3)
    C = 0.1 * rng.standard_normal((N, N))
    A, b = 3.0 * np.eye(N) + C + C.T, rng.standard_normal(N)
    for kind in ("linear", "nonlinear"):
        x, report = nnla.solve(A, b, x0=dense_engine(kind).guess(A, b))
        assert report.converged
        assert np.allclose(A @ x, b)


def test_a_linear_network_preconditions_flexible_cg(dense_engine):
    rng = np.random.default_rng(4)
    C = 0.1 * rng.standard_normal((N, N))
    A, b = 3.0 * np.eye(N) + C + C.T, rng.standard_normal(N)
    M = dense_engine().aspreconditioner(A)
    for method in ("auto", "fcg"):
        x, report = nnla.solve(A, b, M=M, method=method)
        assert report.converged
        assert np.allclose(A @ x, b)
    with pytest.raises(NotPositiveDefiniteError, match="fcg"):
        nnla.solve(A, b, M=M, method="cg")


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
