"""Newton's method for l_p regression: the minimum, its safeguard, and what is proposed inside of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.extensions.lp_newton import newton_lp, newton_trajectories
from nnla.extensions.lp_report import LpReport
from nnla.extensions.lp_steps import STEPS, QuasiNewton
from nnla.problems.lp_families import lp_problems
from nnla.problems.lp_regression import lp_regression


def problems(count=3, p=1.5, **options):
    return list(lp_problems(count, **({"m": 200, "n": 12, "p": p, "seed": 3} | options)))


@pytest.mark.parametrize("p", [1.05, 1.2, 1.5, 1.9, 2.0, 3.0, 8.0])
@pytest.mark.parametrize("law", ["uniform", "normal", "outliers"])
def test_the_minimum_is_scipys(p, law):
    (problem,) = problems(1, p, law=law, smoothing=1e-2)
    x, report = newton_lp(problem, gtol=1e-9)
    assert report.converged
    assert report.exact_steps == report.iterations
    f = problem.value(x)
    assert report.value == pytest.approx(f, rel=1e-10)
    assert report.norm == pytest.approx(f ** (1 / p), rel=1e-10)
    scale = 1 / np.linalg.norm(problem.hessian(x), 2) ** 0.5  # unit curvature, for SciPy's sake
    found = minimize(
        lambda y: (problem.value(scale * y) / f, scale * problem.gradient(scale * y) / f),
        1.01 * x / scale,
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9},
    )
    assert f <= problem.value(scale * found.x) * (1 + 1e-12)
    np.testing.assert_allclose(x, scale * found.x, atol=2e-4 * np.abs(x).max())


@pytest.mark.parametrize("p", [1.3, 1.5])
def test_the_full_step_cycles_or_diverges_where_the_damped_one_converges(p):
    """One unknown, consistent data but for one row: the undamped map r -> r - r / (p - 1)."""
    A, b = np.ones((1, 1)), np.ones(1)
    problem = lp_regression(A, b, p, smoothing=1e-6)
    x = np.zeros(1)
    distances = []
    for _ in range(8):
        x = x - np.linalg.solve(problem.hessian(x), problem.gradient(x))
        distances.append(float(abs(x[0] - 1)))
    assert distances[-1] > 0.9  # of 1 at the start
    x, report = newton_lp(problem, np.zeros(1))
    assert report.converged
    np.testing.assert_allclose(x, 1.0, atol=1e-9)


@pytest.mark.parametrize("p", [1.01, 1.2, 1.5, 2.0, 3.0, 6.0])
def test_consistent_data_ends_at_residual_zero(rng, p):
    A, truth = rng.standard_normal((50, 6)), rng.standard_normal(6)
    problem = lp_regression(A, A @ truth, p)
    for start in (None, np.zeros(6), 1e3 * truth):
        x, report = newton_lp(problem, start)
        assert report.converged, report
        np.testing.assert_allclose(x, truth, rtol=1e-8)


def test_p_2_takes_one_step():
    (problem,) = problems(1, 2.0)
    report = newton_lp(problem, np.zeros(12)).report
    assert (report.status, report.iterations) == ("converged", 1)
    assert newton_lp(problem).report.iterations == 0


def test_p_near_one_approaches_linear_programming(rng):
    A, b = rng.standard_normal((60, 4)), rng.standard_normal(60)
    x, report = newton_lp(lp_regression(A, b, 1.001, smoothing=1e-6))
    assert report.converged
    eye = np.eye(60)
    lp = linprog(
        np.r_[np.zeros(4), np.ones(60)],
        A_ub=np.block([[A, -eye], [-A, -eye]]),
        b_ub=np.r_[b, -b],
        bounds=[(None, None)] * 4 + [(0, None)] * 60,
    )
    assert np.abs(A @ x - b).sum() <= lp.fun * (1 + 1e-3)


@pytest.mark.parametrize("step", ["exact", *STEPS])
@pytest.mark.parametrize("c", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("d", [1e-100, 1e100])
def test_units_change_no_iterate(rng, step, c, d):
    A, b = rng.random((60, 5)), rng.random(60)
    one = newton_lp(lp_regression(A, b), step=step)
    other = newton_lp(lp_regression(c * A, d * b), step=step)
    assert other.report.converged
    assert other.report.iterations == one.report.iterations
    np.testing.assert_allclose(other.x, one.x / c * d, rtol=1e-6)
    assert other.report.norm == pytest.approx(d * one.report.norm)
    units = 10.0 ** np.array([-200, -3, 0, 5, 150])
    odd = newton_lp(lp_regression(A * units, b), step=step)
    np.testing.assert_allclose(odd.x, one.x / units, rtol=1e-6)


@pytest.mark.parametrize("p", [1.1, 1.5, 3.0])
@pytest.mark.parametrize("step", list(STEPS))
def test_every_step_ends_in_the_same_minimum(p, step):
    for problem in problems(4, p):
        exact = newton_lp(problem, gtol=1e-10)
        other = newton_lp(problem, step=step, gtol=1e-10)
        assert other.report.converged, other.report
        assert other.report.method == step
        assert other.report.learned_steps > 0
        np.testing.assert_allclose(other.x, exact.x, atol=1e-8 * np.abs(exact.x).max())
        assert other.report.value == pytest.approx(exact.report.value, rel=1e-12)
        at_default = newton_lp(problem, step=step).report
        assert at_default.value == pytest.approx(exact.report.value, rel=1e-8)


def garbage(kind, rng):
    def step(state):
        n = state.z.size
        return {
            "random": lambda: rng.standard_normal(n),
            "nan": lambda: np.full(n, np.nan),
            "inf": lambda: np.full(n, -np.inf) * np.sign(state.gradient),
            "ascent": lambda: state.gradient,
            "huge": lambda: -1e300 * state.gradient,
            "tiny": lambda: -1e-14 * state.gradient,
            "zero": lambda: np.zeros(n),
            "none": lambda: None,
            "steepest": lambda: -state.gradient,
        }[kind]()

    return step


@pytest.mark.parametrize("kind", ["random", "nan", "inf", "ascent", "huge", "tiny", "zero", "none", "steepest"])
@pytest.mark.parametrize("p", [1.1, 1.5, 2.5])
@pytest.mark.filterwarnings("error")
def test_garbage_ends_in_the_right_minimum(rng, kind, p):
    for problem in problems(2, p):
        exact = newton_lp(problem, gtol=1e-9)
        other = newton_lp(problem, step=garbage(kind, rng), gtol=1e-9)
        assert other.report.converged, other.report
        assert other.report.iterations <= 5 * exact.report.iterations + 5
        np.testing.assert_allclose(other.x, exact.x, atol=1e-7 * np.abs(exact.x).max())
        if kind in ("nan", "inf", "ascent", "zero"):
            assert other.report.learned_steps == 0
            assert other.report.rejected > 0


def test_counts_add_up():
    (problem,) = problems(1)
    report = newton_lp(problem, step="partial").report
    assert report.iterations == report.exact_steps + report.learned_steps
    assert len(report.history) == len(report.gradients) == len(report.times) == report.iterations + 1
    assert np.all(np.diff(report.history) <= 1e-12)
    again = LpReport.from_json(report.to_json())
    assert again == report
    assert "exact" in repr(newton_lp(problem).report)


def test_bad_input_is_refused():
    (problem,) = problems(1)
    for options in ({"step": "other"}, {"step": 3}, {"gtol": 0}, {"gtol": 2.0}, {"gtol": "a"}, {"maxiter": -1},
                    {"maxiter": 2.5}):  # fmt: skip
        with pytest.raises(OptionError):
            newton_lp(problem, **options)
    with pytest.raises(OptionError, match="lp_regression"):
        newton_lp(np.eye(3))
    with pytest.raises(ShapeError, match="x has shape"):
        newton_lp(problem, np.zeros(3))
    with pytest.raises(NonFiniteError, match="x contains"):
        newton_lp(problem, np.full(12, np.nan))
    with pytest.raises(ShapeError, match="step returned"):
        newton_lp(problem, step=lambda state: np.zeros(3))
    with pytest.raises(OptionError, match="pairs"):
        QuasiNewton(0)


def test_a_start_beyond_float64_is_named(rng):
    (problem,) = problems(1, 16.0)
    for size in (1e12, 1e200, 1e307):
        with pytest.raises(NonFiniteError, match="start nearer"):
            newton_lp(problem, size * np.ones(12))


def test_a_limit_of_steps_is_said():
    (problem,) = problems(1)
    report = newton_lp(problem, maxiter=1, gtol=1e-12).report
    assert (report.status, report.converged, report.iterations) == ("maxiter", False, 1)


@pytest.mark.parametrize("p", [1.1, 1.5, 3.0])
def test_starts_from_far_away(rng, p):
    (problem,) = problems(1, p)
    x = newton_lp(problem, gtol=1e-9).x
    for size in (1.0, 1e6, 1e12, 1e30):
        far, report = newton_lp(problem, size * rng.standard_normal(12), gtol=1e-9)
        assert report.converged
        np.testing.assert_allclose(far, x, atol=1e-6 * np.abs(x).max())


def test_dependent_columns_and_zeros(rng):
    A, b = rng.random((40, 4)), rng.random(40)
    wide = np.column_stack([A, A[:, 0] + A[:, 1], np.zeros(40)])
    exact = newton_lp(lp_regression(A, b), gtol=1e-8)
    for step in ("exact", *STEPS):
        found = newton_lp(lp_regression(wide, b), step=step, gtol=1e-8)
        assert found.report.converged, (step, found.report)
        assert found.report.value == pytest.approx(exact.report.value, rel=1e-10)
    x, report = newton_lp(lp_regression(A, np.zeros(40)))
    assert report.converged
    assert x.tolist() == [0.0] * 4
    square = newton_lp(lp_regression(A[:4], b[:4]))
    assert square.report.converged
    np.testing.assert_allclose(A[:4] @ square.x, b[:4], atol=1e-8)


def test_an_ill_conditioned_design(rng):
    U, V = np.linalg.qr(rng.standard_normal((80, 6)))[0], np.linalg.qr(rng.standard_normal((6, 6)))[0]
    A, b = (U * np.geomspace(1, 1e-9, 6)) @ V, rng.standard_normal(80)
    reference = newton_lp(lp_regression(U, b), gtol=1e-8).report
    for step in ("exact", *STEPS):
        report = newton_lp(lp_regression(A, b), step=step).report
        assert report.value == pytest.approx(reference.value, rel=1e-6)


def test_trajectories_are_the_steps():
    given = problems(2)
    for problem, t in zip(given, newton_trajectories(given), strict=True):
        assert t.z.shape == t.gradients.shape == t.moves.shape
        np.testing.assert_allclose(t.z[0] + t.moves.sum(axis=0), t.z_end, atol=1e-12)
        np.testing.assert_allclose(problem.unscaled(problem.coefficients(t.z_end)), newton_lp(problem).x)
        x = problem.unscaled(problem.coefficients(t.z[1]))
        d = problem.design
        scaled = (d.triangle.T @ t.gradients[1]) * d.norms * d.largest * problem.unit**0.5
        np.testing.assert_allclose(problem.gradient(x), scaled, rtol=1e-6)
    assert newton_lp(given[0]).trajectory is None
