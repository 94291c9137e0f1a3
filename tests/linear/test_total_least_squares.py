"""Total least squares against its defining property: the smallest perturbation that makes a system consistent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from nnla.errors import NNLAError, NonFiniteError, OptionError, ShapeError
from nnla.linear.regularisation import (
    TTLS_CHOICES,
    singular_system,
    tikhonov,
    total_least_squares,
    truncated_total_least_squares,
)
from nnla.problems import inverse_problem

WEIGHTS = (0.3, 1.0, 20.0)


def textbook(A, b, weight=1.0):
    """From the last right singular vector of [A, weight b]."""
    v = np.linalg.svd(np.column_stack([A, weight * b]))[2][-1]
    return -v[:-1] / (v[-1] * weight)


def distance(A, b, x, weight):
    """Norm of the smallest ||[E, weight e]|| with (A + E) x = b + e, for this x."""
    return np.linalg.norm(b - A @ x) / np.sqrt(x @ x + weight**-2.0)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("shape", [(9, 4), (30, 8), (5, 4), (3, 1)])
def test_it_is_the_textbooks(rng, shape, weight):
    for _ in range(5):
        A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
        got = total_least_squares(A, b, weight=weight)
        assert got.attained
        assert np.linalg.norm(got.x - textbook(A, b, weight)) <= 1e-8 * np.linalg.norm(got.x)
        smallest = np.linalg.svd(np.column_stack([A, weight * b]), compute_uv=False)[-1]
        assert got.parameter == pytest.approx(smallest, rel=1e-9)
        normal = np.linalg.solve(A.T @ A - smallest**2 * np.eye(shape[1]), A.T @ b)
        assert np.linalg.norm(got.x - normal) <= 1e-6 * np.linalg.norm(normal)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_no_smaller_perturbation_makes_the_system_consistent(rng, weight):
    for _ in range(4):
        A, b = rng.standard_normal((8, 3)), rng.standard_normal(8)
        got = total_least_squares(A, b, weight=weight)
        x, r = got.x, b - A @ got.x
        # the perturbation itself
        total = x @ x + weight**-2.0
        E, e = np.outer(r, x) / total, -r * weight**-2.0 / total
        assert (A + E) @ x == pytest.approx(b + e)
        size = np.linalg.norm(np.column_stack([E, weight * e]))
        assert size == pytest.approx(got.parameter)
        assert size == pytest.approx(distance(A, b, x, weight))
        for _ in range(5):
            found = minimize(lambda y, A=A, b=b: distance(A, b, y, weight), x + rng.standard_normal(3), tol=1e-10)
            assert found.fun >= size * (1 - 1e-7)


def test_exact_b_is_data_least_squares(rng):
    A, b = rng.standard_normal((8, 3)), rng.standard_normal(8)
    got = total_least_squares(A, b, weight=np.inf)
    assert np.linalg.norm(got.x - total_least_squares(A, b, weight=1e7).x) <= 1e-6 * np.linalg.norm(got.x)
    r = b - A @ got.x
    E = np.outer(r, got.x) / (got.x @ got.x)
    assert (A + E) @ got.x == pytest.approx(b)
    assert np.linalg.norm(E) == pytest.approx(got.parameter)
    for _ in range(5):
        found = minimize(lambda y: np.linalg.norm(b - A @ y) / np.linalg.norm(y), got.x + rng.standard_normal(3))
        assert found.fun >= got.parameter * (1 - 1e-7)


def test_a_small_weight_is_least_squares(rng):
    A, b = rng.standard_normal((8, 3)), rng.standard_normal(8)
    for weight in (1e-9, 1e-200):
        x = total_least_squares(A, b, weight=weight).x
        assert x == pytest.approx(np.linalg.lstsq(A, b, rcond=None)[0], rel=1e-9)


@pytest.mark.parametrize("weight", [*WEIGHTS, np.inf, "balanced"])
def test_a_square_system_is_solved_exactly(rng, weight):
    A, b = rng.standard_normal((6, 6)), rng.standard_normal(6)
    got = total_least_squares(A, b, weight=weight)
    assert got.x == pytest.approx(np.linalg.solve(A, b), rel=1e-9)
    assert got.parameter == 0
    assert got.attained


def test_consistent_and_wide_systems(rng):
    A, x = rng.standard_normal((9, 4)), rng.standard_normal(4)
    got = total_least_squares(A, A @ x)
    assert got.x == pytest.approx(x)
    assert got.attained
    W, c = rng.standard_normal((3, 7)), rng.standard_normal(3)
    got = total_least_squares(W, c)
    assert got.x == pytest.approx(np.linalg.lstsq(W, c, rcond=None)[0])
    assert got.attained
    assert np.array_equal(total_least_squares(A, np.zeros(9)).x, np.zeros(4))


def test_where_no_smallest_perturbation_exists():
    # the smallest singular vector of [A, b] has nothing of b: E = -0.1 e2 e2' comes as near as one likes
    A = np.array([[1.0, 0.0], [0.0, 0.1], [0.0, 0.0]])
    b = np.array([1.0, 0.0, 1.0])
    got = total_least_squares(A, b)
    assert not got.attained
    assert got.x[1] == 0
    assert got.x[0] == pytest.approx(textbook(A[:, :1], b)[0])
    # b orthogonal to the range
    got = total_least_squares(A, np.array([0.0, 0.0, 1.0]))
    assert not got.attained
    assert np.array_equal(got.x, np.zeros(2))
    # a rank that is not full
    got = total_least_squares(np.ones((5, 2)), np.arange(5.0))
    assert not got.attained
    assert got.x[0] == pytest.approx(got.x[1])
    got = total_least_squares(np.zeros((3, 2)), np.ones(3))
    assert (got.attained, got.x.tolist()) == (False, [0.0, 0.0])


def test_a_solution_far_from_least_squares_is_found(rng):
    """b hardly sees the smallest singular vector: the root lies next to its pole."""
    U, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    A = U[:, :3] * [1.0, 0.5, 1e-3]
    for small in (1e-3, 1e-6, 1e-9):
        b = U @ np.array([1.0, 1.0, small, 0.5, 0.0, 0.0])
        got = total_least_squares(A, b)
        wanted = textbook(A, b)
        assert got.attained
        assert np.linalg.norm(got.x - wanted) <= 1e-4 * np.linalg.norm(wanted)


# -- truncated ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 7)])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_truncation_solves_the_nearest_system_of_rank_k_with_the_least_norm(rng, shape, weight):
    A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
    U, s, Vt = np.linalg.svd(np.column_stack([A, weight * b]), full_matrices=False)
    for k in range(min(shape) + 1):
        near = (U[:, :k] * s[:k]) @ Vt[:k]
        got = truncated_total_least_squares(A, b, k, weight=weight)
        assert got.parameter == k
        assert got.attained
        matrix, right = near[:, :-1], near[:, -1] / weight
        # generic: the system of rank k is consistent, and so x is its solution of least norm
        assert matrix @ got.x == pytest.approx(right, abs=1e-9)
        assert got.x == pytest.approx(np.linalg.pinv(matrix, rcond=1e-12) @ right, rel=1e-6, abs=1e-9)


def test_no_truncation_is_total_least_squares(rng):
    for shape in ((9, 4), (5, 5)):
        A, b = rng.standard_normal(shape), rng.standard_normal(shape[0])
        full = truncated_total_least_squares(A, b, shape[1])
        assert full.x == pytest.approx(total_least_squares(A, b).x, rel=1e-8)


def test_a_truncation_without_a_solution_is_lowered():
    A = np.array([[1.0, 0.0], [0.0, 0.1], [0.0, 0.0]])
    got = truncated_total_least_squares(A, np.array([1.0, 0.0, 1.0]), 2)
    assert not got.attained
    assert got.parameter == 1
    got = truncated_total_least_squares(np.zeros((3, 2)), np.ones(3), 1)
    assert (got.attained, got.parameter, got.x.tolist()) == (False, 0, [0.0, 0.0])


def noisy_matrix(name, level, rng, count=1):
    p = inverse_problem(name, 64)
    E = rng.standard_normal((count, 64, 64)) * level * np.abs(p.A).max()
    return p, p.A + E, np.tile(p.A @ p.x, (count, 1))


@pytest.mark.parametrize("name", ["shaw", "gravity", "phillips", "heat"])
def test_noise_in_the_matrix_is_survived_where_elimination_fails(rng, name):
    p, A, b = noisy_matrix(name, 1e-3, rng, 10)
    truth = np.tile(p.x, (10, 1))

    def error(x):
        return np.median(np.linalg.norm(x - p.x, axis=1)) / np.linalg.norm(p.x)

    best = error(truncated_total_least_squares(A, b, "hindsight", x_true=truth).x)
    assert best < 0.15
    eliminated = error(np.linalg.solve(A, b[:, :, None])[:, :, 0])
    assert eliminated > 3 * best
    noise = np.linalg.norm(A - p.A, axis=(1, 2))
    assert error(truncated_total_least_squares(A, b, "discrepancy", noise_norm=noise).x) < min(0.2, eliminated / 2)


def test_rules_of_truncation(rng):
    p, A, b = noisy_matrix("gravity", 1e-3, rng)
    A, b = A[0], b[0]
    noise = np.linalg.norm(A - p.A)
    s = np.linalg.svd(np.column_stack([A, b]), compute_uv=False)
    got = truncated_total_least_squares(A, b, "discrepancy", noise_norm=noise)
    k = got.parameter
    assert np.linalg.norm(s[k:]) <= noise < np.linalg.norm(s[k - 1 :])
    safe = truncated_total_least_squares(A, b, "discrepancy", noise_norm=noise, safety=2.0)
    assert safe.parameter <= k
    errors = [np.linalg.norm(truncated_total_least_squares(A, b, j).x - p.x) for j in range(65)]
    best = truncated_total_least_squares(A, b, "hindsight", x_true=p.x)
    assert best.parameter == int(np.argmin(errors))
    # all there is is noise, and less noise than any rank leaves
    assert truncated_total_least_squares(A, b, "discrepancy", noise_norm=2 * np.linalg.norm(s)).parameter == 0
    tall = rng.standard_normal((9, 3)), rng.standard_normal(9)
    assert not truncated_total_least_squares(*tall, "discrepancy", noise_norm=1e-3).attained


# -- batches, units, arguments ----------------------------------------------------------------------


def test_batches(rng):
    A, b, x = rng.standard_normal((4, 9, 5)), rng.standard_normal((4, 9)), rng.standard_normal((4, 5))
    A[2], b[3] = 0.0, 0.0
    weight = np.array([1.0, 2.0, 3.0, 0.5])
    calls = [lambda A, b, x, w: total_least_squares(A, b, weight=w)]
    calls += [lambda A, b, x, w: truncated_total_least_squares(A, b, 3, weight=w)]
    calls += [lambda A, b, x, w: truncated_total_least_squares(A, b, "hindsight", x_true=x, weight=w)]
    calls += [lambda A, b, x, w: truncated_total_least_squares(A, b, "discrepancy", noise_norm=2.0, weight=w)]
    for call in calls:
        got = call(A, b, x, weight)
        for i in range(4):
            one = call(A[i], b[i], x[i], weight[i])
            assert one.x == pytest.approx(got.x[i], rel=1e-9, abs=1e-12)
            assert one.parameter == pytest.approx(got.parameter[i])
            assert one.attained == got.attained[i]
    S = singular_system(A[:1])
    assert total_least_squares(S, b).x == pytest.approx(np.stack([total_least_squares(A[0], c).x for c in b]))
    assert truncated_total_least_squares(S, b, 2).x[1] == pytest.approx(truncated_total_least_squares(A[0], b[1], 2).x)


@pytest.mark.parametrize(("a", "c"), [(830, 830), (-830, -830), (830, 400), (-400, 400), (3, -800)])
@pytest.mark.parametrize("weight", ["balanced", 0.5, np.inf])
def test_units(rng, a, c, weight):
    A, b = rng.standard_normal((9, 4)), rng.standard_normal(9)
    wanted = total_least_squares(A, b, weight=weight)
    scaled = np.ldexp(weight, a - c) if weight == 0.5 else weight
    got = total_least_squares(np.ldexp(A, a), np.ldexp(b, c), weight=scaled)
    assert np.ldexp(got.x, a - c) == pytest.approx(wanted.x, rel=1e-12)
    assert np.ldexp(got.parameter, -a) == pytest.approx(wanted.parameter, rel=1e-12)
    if weight == np.inf:
        return
    wanted = truncated_total_least_squares(A, b, 2, weight=weight)
    got = truncated_total_least_squares(np.ldexp(A, a), np.ldexp(b, c), 2, weight=scaled)
    assert np.ldexp(got.x, a - c) == pytest.approx(wanted.x, rel=1e-12)


def test_a_weight_that_drowns_a_or_b_is_refused(rng):
    A, b = rng.standard_normal((9, 4)), rng.standard_normal(9)
    for weight in (1e-12, 1e12, 1e-300):
        with pytest.raises(OptionError, match="balanced"):
            truncated_total_least_squares(A, b, 2, weight=weight)
    with pytest.raises(OptionError, match="balanced"):
        truncated_total_least_squares(A * 1e-200, b, 2)
    with pytest.raises(NonFiniteError, match="leaves the range"):
        total_least_squares(1e-250 * A, 1e250 * b, weight="balanced")


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda A, b: total_least_squares(A, b, weight=0), OptionError, "positive"),
        (lambda A, b: total_least_squares(A, b, weight=-1), OptionError, "weight must be"),
        (lambda A, b: total_least_squares(A, b, weight=np.nan), OptionError, "weight must be"),
        (lambda A, b: total_least_squares(A, b, weight="equal"), OptionError, "balanced"),
        (lambda A, b: total_least_squares(A, b, weight=None), NNLAError, "weight"),
        (lambda A, b: total_least_squares(A, b, weight=np.ones(3)), ShapeError, "one number"),
        (lambda A, b: total_least_squares(A, b[:3]), ShapeError, "b has shape"),
        (lambda A, b: total_least_squares(A * np.nan, b), NonFiniteError, "repair"),
        (lambda A, b: truncated_total_least_squares(A, b, "gcv"), OptionError, ", ".join(TTLS_CHOICES)),
        (lambda A, b: truncated_total_least_squares(A, b, "l-curve"), OptionError, ", ".join(TTLS_CHOICES)),
        (lambda A, b: truncated_total_least_squares(A, b, 5), OptionError, "from 0 to 4"),
        (lambda A, b: truncated_total_least_squares(A, b, 1.5), OptionError, "integer"),
        (lambda A, b: truncated_total_least_squares(A, b, 2, weight=np.inf), OptionError, "finite"),
        (lambda A, b: truncated_total_least_squares(A, b, "discrepancy"), OptionError, "noise_norm"),
        (lambda A, b: truncated_total_least_squares(A, b, "hindsight"), OptionError, "x_true"),
        (lambda A, b: truncated_total_least_squares(A, b, 2, noise_norm=1), OptionError, "no effect"),
    ],
)
def test_bad_arguments_are_named(rng, call, kind, words):
    with pytest.raises(kind, match=words):
        call(rng.standard_normal((9, 4)), rng.standard_normal(9))


def test_least_squares_is_no_further_from_zero(rng):
    """Total least squares deregularises."""
    for _ in range(10):
        A, b = rng.standard_normal((12, 4)), rng.standard_normal(12)
        assert np.linalg.norm(total_least_squares(A, b).x) >= np.linalg.norm(tikhonov(A, b, 0).x)
