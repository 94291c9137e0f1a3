"""Tikhonov and truncated SVD against what defines them, and their rules against brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from nnla.errors import DTypeError, NNLAError, NonFiniteError, OptionError, ShapeError
from nnla.linear.regularisation import CHOICES, singular_system, tikhonov, truncated_svd
from nnla.problems import inverse_problem

METHODS = (tikhonov, truncated_svd)
SHAPES = ((7, 7), (11, 6), (5, 8))


def close(x, y, rtol=1e-10):
    return np.linalg.norm(np.subtract(x, y)) <= rtol * np.linalg.norm(y)


def graded(rng, m, n, low=-6.0):
    """Singular values from 1 down to 10^low."""
    r = min(m, n)
    U, V = (np.linalg.qr(rng.standard_normal((k, r)))[0] for k in (m, n))
    return (U * np.logspace(0, low, r)) @ V.T


def noisy(name, n, level, rng, count=None):
    """A problem, its right-hand side with noise of a norm relative to b, and that norm."""
    p = inverse_problem(name, n)
    b = p.A @ p.x
    noise = rng.standard_normal((n,) if count is None else (count, n))
    noise *= level * np.linalg.norm(b) / np.linalg.norm(noise, axis=-1, keepdims=True)
    return p, b + noise, level * np.linalg.norm(b)


# -- Tikhonov with a given lambda -------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [1e-3, 0.1, 10.0])
def test_tikhonov_is_the_augmented_least_squares_solution(rng, shape, lam):
    A, b = graded(rng, *shape), rng.standard_normal(shape[0])
    n = shape[1]
    wanted = np.linalg.lstsq(np.vstack([A, lam * np.eye(n)]), np.append(b, np.zeros(n)), rcond=None)[0]
    got = tikhonov(A, b, lam)
    assert close(got.x, wanted, 1e-9)
    assert close(got.x, np.linalg.solve(A.T @ A + lam**2 * np.eye(n), A.T @ b), 1e-6)
    assert got.parameter == lam
    assert got.residual_norm == pytest.approx(np.linalg.norm(b - A @ got.x))
    assert got.solution_norm == pytest.approx(np.linalg.norm(got.x))
    assert (got.method, got.choice, got.attained) == ("tikhonov", "given", True)


@pytest.mark.parametrize("shape", SHAPES)
def test_lambda_zero_is_least_squares_and_infinity_is_zero(rng, shape):
    A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
    assert close(tikhonov(A, b, 0.0).x, np.linalg.lstsq(A, b, rcond=None)[0])
    assert close(truncated_svd(A, b, min(shape)).x, np.linalg.lstsq(A, b, rcond=None)[0])
    assert np.linalg.norm(tikhonov(A, b, 1e200).x) < 1e-190
    assert np.array_equal(truncated_svd(A, b, 0).x, np.zeros(shape[1]))


def test_a_matrix_that_is_singular_gives_the_least_squares_solution_of_least_norm(rng):
    A = rng.standard_normal((8, 3)) @ rng.standard_normal((3, 8))
    b = rng.standard_normal(8)
    wanted = scipy.linalg.lstsq(A, b, lapack_driver="gelss")[0]
    assert close(tikhonov(A, b, 0).x, wanted)
    got = truncated_svd(A, b, 8)
    assert close(got.x, wanted)
    assert got.parameter == 3
    for method in METHODS:
        assert np.array_equal(method(np.zeros((4, 4)), np.ones(4), 0).x, np.zeros(4))


@pytest.mark.parametrize("shape", SHAPES)
def test_truncation_is_least_squares_with_the_nearest_matrix_of_rank_k(rng, shape):
    A, b = graded(rng, *shape), rng.standard_normal(shape[0])
    U, s, Vt = scipy.linalg.svd(A, full_matrices=False)
    for k in range(min(shape) + 1):
        near = (U[:, :k] * s[:k]) @ Vt[:k]
        got = truncated_svd(A, b, k)
        assert close(got.x, np.linalg.pinv(near, rcond=1e-10) @ b, 1e-8)
        assert got.parameter == k
        assert isinstance(got.parameter, int)


# -- rules ------------------------------------------------------------------------------------------


def gcv_by_hand(A, b, x, M):
    """||b - A x||^2 / trace(I - M)^2 with the influence matrix itself."""
    return np.linalg.norm(b - A @ x) ** 2 / np.trace(np.eye(len(b)) - M) ** 2


@pytest.mark.parametrize("name", ["phillips", "deriv2", "gravity"])
@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_cross_validation_finds_the_least_value_of_a_grid(rng, name, factor):
    p, b, _ = noisy(name, 24, 1e-2, rng)
    A, n = p.A, 24

    def value(lam):
        M = A @ np.linalg.solve(A.T @ A + lam**2 * np.eye(n), A.T)
        x = np.linalg.solve(A.T @ A + lam**2 * np.eye(n), A.T @ b)
        trace = n - factor * np.trace(M)
        return np.linalg.norm(b - A @ x) ** 2 / trace**2 if trace > 0 else np.inf

    s = np.linalg.svd(A, compute_uv=False)
    grid = np.geomspace(max(s[-1], 1e-7 * s[0]), s[0], 3000)
    got = tikhonov(A, b, "gcv" if factor == 1 else "modified-gcv")
    least = min(map(value, grid))
    if got.parameter >= grid[0]:
        assert value(got.parameter) <= least * (1 + 1e-6)
    else:  # plain cross-validation may have gone astray, which the definition tells it to
        assert factor == 1.0
    values = []
    for k in range(n):
        x = truncated_svd(A, b, k).x
        trace = n - factor * k
        values.append(np.linalg.norm(b - A @ x) ** 2 / trace**2 if trace > 0 else np.inf)
    assert truncated_svd(A, b, "gcv" if factor == 1 else "modified-gcv").parameter == int(np.argmin(values))


def test_cross_validation_of_a_tall_system_by_its_influence_matrix(rng):
    A = graded(rng, 30, 8, -3)
    b = A @ np.ones(8) + 1e-2 * rng.standard_normal(30)

    def value(lam):
        inverse = np.linalg.inv(A.T @ A + lam**2 * np.eye(8))
        return gcv_by_hand(A, b, inverse @ A.T @ b, A @ inverse @ A.T)

    lam = tikhonov(A, b, "gcv").parameter
    assert value(lam) <= min(map(value, np.geomspace(1e-5, 10, 2000))) * (1 + 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", ["gcv", "hindsight"])
def test_consistent_data_are_not_regularised(rng, shape, rule):
    A = rng.standard_normal(shape)
    x = A.T @ rng.standard_normal(shape[0])
    known = {"x_true": x} if rule == "hindsight" else {}
    assert close(tikhonov(A, A @ x, rule, **known).x, x, 1e-7)
    if rule == "hindsight":
        assert close(truncated_svd(A, A @ x, rule, **known).x, x, 1e-9)
    for method in METHODS:
        got = method(A, A @ x, "discrepancy", noise_norm=0.0)
        assert close(got.x, x, 1e-7)
        assert got.attained


@pytest.mark.parametrize("name", ["shaw", "phillips", "heat", "baart"])
@pytest.mark.parametrize("safety", [None, 1.3])
def test_the_discrepancy_principle_holds_with_equality(rng, name, safety):
    p, b, noise = noisy(name, 32, 1e-2, rng)
    got = tikhonov(p.A, b, "discrepancy", noise_norm=noise, safety=safety)
    target = noise * (safety or 1.0)
    assert got.attained
    assert got.residual_norm == pytest.approx(target, rel=1e-8)
    assert np.linalg.norm(b - p.A @ got.x) == pytest.approx(target, rel=1e-8)
    got = truncated_svd(p.A, b, "discrepancy", noise_norm=noise, safety=safety)
    assert got.attained
    assert got.residual_norm <= target < truncated_svd(p.A, b, got.parameter - 1).residual_norm


def test_the_discrepancy_principle_counts_noise_in_the_matrix(rng):
    p, b, noise = noisy("gravity", 32, 1e-3, rng)
    E = 1e-3 * rng.standard_normal(p.A.shape)
    inside = np.linalg.norm(E, 2)
    known = {"noise_norm": noise, "operator_noise": inside}
    got = tikhonov(p.A + E, b, "discrepancy", **known)
    assert got.residual_norm == pytest.approx(noise + inside * got.solution_norm, rel=1e-8)
    assert got.parameter > tikhonov(p.A + E, b, "discrepancy", noise_norm=noise).parameter
    got = truncated_svd(p.A + E, b, "discrepancy", **known)
    before = truncated_svd(p.A + E, b, got.parameter - 1)
    assert got.residual_norm <= noise + inside * got.solution_norm
    assert before.residual_norm > noise + inside * before.solution_norm


@pytest.mark.parametrize("method", METHODS)
def test_a_discrepancy_out_of_reach(rng, method):
    A, b = rng.standard_normal((9, 4)), rng.standard_normal(9)
    least = np.linalg.lstsq(A, b, rcond=None)[0]
    got = method(A, b, "discrepancy", noise_norm=0.9 * np.linalg.norm(b - A @ least))
    assert not got.attained
    assert close(got.x, least)
    got = method(A, b, "discrepancy", noise_norm=1.1 * np.linalg.norm(b))  # nothing but noise
    assert got.attained
    assert np.array_equal(got.x, np.zeros(4))
    assert got.parameter == (np.inf if method is tikhonov else 0)


@pytest.mark.parametrize("name", ["shaw", "phillips", "heat"])
def test_hindsight_is_the_best_of_all(rng, name):
    p, b, _ = noisy(name, 32, 1e-2, rng)

    def error(got):
        return np.linalg.norm(got.x - p.x)

    best = error(tikhonov(p.A, b, "hindsight", x_true=p.x))
    assert best <= (1 + 1e-9) * min(error(tikhonov(p.A, b, lam)) for lam in np.geomspace(1e-8, 1e2, 400))
    best = error(truncated_svd(p.A, b, "hindsight", x_true=p.x))
    assert best == pytest.approx(min(error(truncated_svd(p.A, b, k)) for k in range(33)))
    assert np.array_equal(tikhonov(p.A, b, "hindsight", x_true=np.zeros(32)).x, np.zeros(32))


def test_the_corner_of_an_l_is_found():
    """Signal in 8 components, noise in the others: beyond the eighth x grows and the residual stays."""
    n = 32
    s = np.logspace(0, -6, n)
    signs = (-1.0) ** np.arange(n)
    b = np.where(np.arange(n) < 8, s, 0.0) + 1e-3 * signs * np.where(np.arange(n) < 8, 0.01, 1.0)
    got = truncated_svd(np.diag(s), b, "l-curve")
    assert got.attained
    assert 8 <= got.parameter <= 10  # where singular values cross the noise
    got = tikhonov(np.diag(s), b, "l-curve")
    assert got.attained
    assert 0.1 * s[8] < got.parameter < s[7] * 3
    smooth = tikhonov(np.eye(4), np.ones(4), "l-curve")  # no corner
    assert not smooth.attained
    assert smooth.parameter == 0


@pytest.mark.parametrize("name", ["shaw", "gravity", "phillips", "heat", "baart", "foxgood"])
@pytest.mark.parametrize("level", [1e-2, 1e-3])
def test_noise_is_survived_where_elimination_fails(rng, name, level):
    p, b, noise = noisy(name, 64, level, rng, count=20)
    S = singular_system(p.A[None])
    truth = np.tile(p.x, (20, 1))

    def errors(x):
        return np.linalg.norm(x - p.x, axis=1) / np.linalg.norm(p.x)

    eliminated = errors(np.linalg.solve(p.A, b.T).T)
    for method in METHODS:
        best = errors(method(S, b, "hindsight", x_true=truth).x)
        assert best.max() < 0.25
        assert np.median(eliminated) > 1e2 * np.median(best)
        assert np.median(errors(method(S, b, "discrepancy", noise_norm=noise).x)) < 2.5 * np.median(best)
        assert np.median(errors(method(S, b, "modified-gcv").x)) < 2.5 * np.median(best)


def test_modified_cross_validation_takes_noise_for_signal_less_often(rng):
    """Which the plain one does in one of five square systems of this size."""
    p, b, _ = noisy("gravity", 64, 1e-2, rng, count=400)
    S = singular_system(p.A[None])
    for method in METHODS:
        best = np.linalg.norm(method(S, b, "hindsight", x_true=np.tile(p.x, (400, 1))).x - p.x, axis=1)
        plain, modified = (
            np.mean(np.linalg.norm(method(S, b, rule).x - p.x, axis=1) > 3 * best) for rule in ("gcv", "modified-gcv")
        )
        assert plain > 0.1
        assert modified < 0.5 * plain


# -- batches, units, arguments ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rule", [*CHOICES, 2])
def test_a_batch_is_its_systems_one_by_one(rng, method, rule):
    A = np.stack([graded(rng, 9, 9), rng.standard_normal((9, 9)), np.zeros((9, 9)), np.eye(9)])
    b, x = rng.standard_normal((4, 9)), rng.standard_normal((4, 9))
    b[3] = 0
    known = {"discrepancy": {"noise_norm": np.array([0.3, 0.1, 0.2, 0.5])}, "hindsight": {"x_true": x}}.get(rule, {})
    got = method(A, b, rule, **known)
    assert got.x.shape == (4, 9)
    for i in range(4):
        one = method(A[i], b[i], rule, **{key: value[i] for key, value in known.items()})
        assert one.x.shape == (9,)
        assert one.x == pytest.approx(got.x[i], rel=1e-9, abs=1e-12)
        for field in ("parameter", "residual_norm", "solution_norm", "attained"):
            assert getattr(got, field).shape == (4,)
            assert getattr(one, field) == pytest.approx(getattr(got, field)[i], rel=1e-9, abs=1e-12)
            assert isinstance(getattr(one, field), (bool, int, float))


def test_one_matrix_serves_a_batch_of_right_hand_sides_and_its_decomposition_is_used_again(rng):
    A, b = graded(rng, 9, 9), rng.standard_normal((5, 9))
    S = singular_system(A[None])
    assert singular_system(S) is S
    for method in METHODS:
        got = method(S, b, "gcv")
        for i in range(5):
            assert got.x[i] == pytest.approx(method(A, b[i], "gcv").x, rel=1e-9)
    with pytest.raises(ShapeError, match=r"A\[None\]"):
        tikhonov(A, b, 0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rule", [*CHOICES, 2])
@pytest.mark.parametrize(("a", "c"), [(830, 830), (-830, -830), (300, -300), (-400, 400), (-1060, -1060)])
def test_units_change_nothing(rng, method, rule, a, c):
    """Powers of two up to the ends of float64; x has units of their own."""
    A, b, x = graded(rng, 8, 8, -4), rng.standard_normal(8), rng.standard_normal(8)
    if a < -1000:  # subnormal numbers have few digits: entries of few
        A, b = np.diag([1.0, 0.5, 0.25, 0.125, 0.5, 1.0, 2.0, 0.25]), np.round(8 * b) / 8
    known = {"discrepancy": {"noise_norm": 0.3}, "hindsight": {"x_true": x}}.get(rule, {})
    plain = method(A, b, rule, **known)
    known = {"discrepancy": {"noise_norm": np.ldexp(0.3, c)}, "hindsight": {"x_true": np.ldexp(x, c - a)}}.get(rule, {})
    given = np.ldexp(float(rule), a) if rule == 2 and method is tikhonov else rule
    scaled = method(np.ldexp(A, a), np.ldexp(b, c), given, **known)
    tolerance = 1e-12 if a > -1000 else 1e-3  # the noise level itself has few digits there
    assert np.ldexp(scaled.x, a - c) == pytest.approx(plain.x, rel=tolerance)
    shift = a if method is tikhonov else 0
    assert np.ldexp(float(scaled.parameter), -shift) == pytest.approx(float(plain.parameter), rel=tolerance)
    assert scaled.attained == plain.attained
    assert np.ldexp(scaled.residual_norm, -c) == pytest.approx(
        plain.residual_norm, rel=2e-2 if a < -1000 else 1e-6, abs=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("a", "b"), [(1e-250, 1e250), (1e250, 1e-250)])
def test_a_solution_beyond_float64_is_refused(method, a, b):
    with pytest.raises(NonFiniteError, match="leaves the range"):
        method(a * np.eye(3), b * np.ones(3), 0 if method is tikhonov else 3)


def test_kinds_of_arrays(rng):
    A, b = rng.integers(-5, 6, (6, 6)), rng.integers(-5, 6, 6)
    wanted = tikhonov(A.astype(float), b.astype(float), 0.5).x
    for dtype in (np.int8, np.int64, np.float16, np.float32, ">f8"):
        got = tikhonov(A.astype(dtype), b.astype(dtype), 0.5)
        assert got.x.dtype == np.float64
        assert got.x == pytest.approx(wanted)
    assert tikhonov(A.tolist(), b.tolist(), 0.5).x == pytest.approx(wanted)
    copy = A.astype(float)
    tikhonov(copy, b, "gcv")
    assert np.array_equal(copy, A)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tikhonov(A, b, 0.1).x = 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"A": np.ones(4)}, ShapeError, "one matrix"),
        ({"A": np.ones((0, 4))}, ShapeError, "not empty"),
        ({"A": np.ones((2, 3, 4, 4))}, ShapeError, "one matrix"),
        ({"A": [[1.0, 2.0], [3.0]]}, ShapeError, "rectangular"),
        ({"A": np.full((4, 4), np.nan)}, NonFiniteError, "repair"),
        ({"A": np.ones((4, 4)) * 1j}, DTypeError, "real"),
        ({"A": np.ones((4, 4), dtype=bool)}, DTypeError, "astype"),
        ({"A": "text"}, DTypeError, "A has dtype"),
        ({"b": np.ones(5)}, ShapeError, r"pass \(4,\)"),
        ({"b": np.ones((4, 1))}, ShapeError, r"pass \(4,\)"),
        ({"b": np.array([1, 2, np.inf, 0])}, NonFiniteError, "b contains"),
        ({"b": np.ones(4) * 1j}, DTypeError, "b has dtype"),
        ({"A": np.ones((3, 4, 4)), "b": np.ones((2, 4))}, ShapeError, r"\(3, 4\)"),
        ({"A": np.ones((3, 4, 4)), "b": np.ones(4)}, ShapeError, r"\(3, 4\)"),
        ({"A": np.ones((1, 4, 4)), "b": np.ones((2, 5))}, ShapeError, r"\(B, 4\)"),
        ({"parameter": -1}, OptionError, "at least 0|from 0"),
        ({"parameter": None}, NNLAError, "parameter"),
        ({"parameter": np.nan}, OptionError, "parameter"),
        ({"parameter": True}, OptionError, "parameter"),
        ({"parameter": 1j}, OptionError, "parameter"),
        ({"parameter": 10**400}, NNLAError, "parameter"),
        ({"parameter": np.ones(3, dtype=int)}, ShapeError, "one number"),
        ({"parameter": "best"}, OptionError, "one of discrepancy"),
        ({"parameter": "discrepancy"}, OptionError, "needs noise_norm"),
        ({"parameter": "hindsight"}, OptionError, "needs x_true"),
        ({"parameter": "gcv", "noise_norm": 1.0}, OptionError, "no effect"),
        ({"parameter": 1, "x_true": np.ones(4)}, OptionError, "no effect"),
        ({"parameter": "discrepancy", "noise_norm": -1.0}, OptionError, "noise_norm must be"),
        ({"parameter": "discrepancy", "noise_norm": "1"}, OptionError, "noise_norm must be"),
        ({"parameter": "discrepancy", "noise_norm": 1.0, "safety": np.inf}, OptionError, "safety must be"),
        ({"parameter": "hindsight", "x_true": np.ones(3)}, ShapeError, "x_true has shape"),
        ({"parameter": "hindsight", "x_true": np.full(4, np.nan)}, NonFiniteError, "x_true"),
        ({"parameter": "hindsight", "x_true": np.full(4, 1e300)}, NonFiniteError, "units"),
    ],
)
def test_bad_arguments_are_named(method, change, kind, words):
    arguments = {"A": np.eye(4), "b": np.ones(4), "parameter": 1} | change
    with pytest.raises(kind, match=words):
        method(**arguments)


def test_a_number_of_components_is_an_integer_in_range():
    for k in (5, 1.0, "3"):
        with pytest.raises(OptionError, match="parameter must be"):
            truncated_svd(np.eye(4), np.ones(4), k)


def test_torch_tensors_are_read(rng):
    torch = pytest.importorskip("torch")
    A, b = rng.standard_normal((4, 4)), rng.standard_normal(4)
    assert tikhonov(torch.from_numpy(A), torch.from_numpy(b), 0.1).x == pytest.approx(tikhonov(A, b, 0.1).x)
    with pytest.raises(NNLAError, match="gradient"):
        tikhonov(torch.from_numpy(A).requires_grad_(), b, 0.1)


def test_where_lapack_fails_its_other_algorithm_is_tried(rng, monkeypatch):
    A, b = rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 5))
    wanted = tikhonov(A, b, 0.1).x

    def fail(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    assert tikhonov(A, b, 0.1).x == pytest.approx(wanted)
    monkeypatch.setattr(scipy.linalg, "svd", fail)
    with pytest.raises(NNLAError, match="failed"):
        tikhonov(A, b, 0.1)


def test_a_large_batch_is_decomposed_in_parts(rng, monkeypatch):
    A, b = rng.standard_normal((7, 5, 5)), rng.standard_normal((7, 5))
    wanted = tikhonov(A, b, 0.1).x
    monkeypatch.setattr("nnla.linear.rectangular_systems._WORK", 6000)
    assert np.array_equal(tikhonov(A, b, 0.1).x, wanted)
