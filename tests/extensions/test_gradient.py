"""Minimisation by momentum schedules: it converges, counts honestly, and gives way where it must."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.extensions import minimise
from nnla.extensions.gradient import METHODS
from nnla.extensions.momentum import chebyshev_schedule, choose_lower, heavy_ball, nesterov
from nnla.krylov.probes import probe


def quadratic(d, seed=0):
    b = np.random.default_rng(seed).standard_normal(d.size)
    return lambda x: (0.5 * x @ (d * x) - b @ x, d * x - b), b / d


def logistic(rng, m=200, n=20, mu=1e-2):
    X = rng.standard_normal((m, n)) / (1.0 + np.arange(n))
    y = np.where(rng.random(m) < 1 / (1 + np.exp(-X @ rng.standard_normal(n) * 3)), 1.0, -1.0)

    def f(x):
        z = y * (X @ x)
        return np.logaddexp(0, -z).mean() + 0.5 * mu * x @ x, -X.T @ (y / (1 + np.exp(z))) / m + mu * x

    return f


@pytest.mark.parametrize("method", METHODS)
def test_every_method_minimises_a_quadratic(method):
    d = np.geomspace(0.01, 1, 60)
    f, solution = quadratic(d)
    interval = None if method in ("autospec", "nesterov-safe") else (0.01, 1.0)
    x, report = minimise(f, np.zeros(60), method=method, interval=interval)
    assert report.converged, report
    assert np.abs(d * (x - solution)).max() < 1e-4
    assert report.method == method
    assert report.gradient_norm <= report.gtol


def test_the_learned_schedule_beats_the_probed_interval_and_nesterov():
    from nnla.training.momentum_schedules import generate_spectrum

    ratios = []
    seed = 300
    while len(ratios) < 8:
        d, weights = generate_spectrum(np.random.default_rng(seed))
        seed += 1
        if d[0] < 2e-4:
            continue
        g = np.sqrt(weights)
        f = lambda x, d=d, g=g: (0.5 * x @ (d * x) + g @ x, d * x + g)  # noqa: E731
        counts = [
            minimise(f, np.zeros(d.size), method=m, maxiter=20000).report.evaluations
            for m in ("autospec", "chebyshev", "nesterov-safe")
        ]
        ratios.append((counts[0] / counts[1], counts[0] / counts[2]))
    against = np.exp(np.mean(np.log(ratios), axis=0))
    assert against[0] < 1.03, against
    assert against[1] < 0.8, against


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_logistic_regression(start, rng):
    f = logistic(rng)
    x, report = minimise(f, np.full(20, start))
    assert report.converged
    assert np.linalg.norm(f(x)[1]) == pytest.approx(report.gradient_norm)
    assert report.evaluations >= len(report.history) + report.probe_evaluations  # restarts look again


def test_every_evaluation_is_counted(rng):
    f = logistic(rng)
    calls = []

    def counted(x):
        calls.append(x)
        return f(x)

    for method in METHODS:
        calls.clear()
        report = minimise(counted, np.zeros(20), method=method, maxiter=300).report
        assert report.evaluations == len(calls), method


def test_a_hessian_that_grows_is_survived_and_reported():
    # flat at the start, steep at the minimum: the schedule of the start would diverge
    def f(x):
        z = np.exp(-x)
        return float(np.sum(z + x)), 1 - z

    def steep(x):
        u = x - 3.0
        return float(np.sum(np.where(u < 0, 0.005 * u**2 + 50 * np.minimum(x - 1, 0) ** 2, 0.005 * u**2))), (
            0.01 * u + 100 * np.minimum(x - 1, 0)
        )

    x, report = minimise(f, np.full(5, 4.0))
    assert report.converged
    np.testing.assert_allclose(x, 0, atol=1e-5)
    _, report = minimise(lambda x: (float(np.sum(x**4)), 4 * x**3), np.linspace(1, 2, 6), gtol=1e-4)
    assert report.converged
    assert minimise(steep, np.full(4, 6.0)).report.converged


def test_what_is_not_convex_falls_back():
    f = lambda x: (float(np.sum(np.cos(x))), -np.sin(x))  # noqa: E731
    _, report = minimise(f, np.linspace(0.3, 1.2, 5), maxiter=500)
    assert "not convex" in report.fallback
    assert report.method == "nesterov-safe"
    assert report.converged


def test_damaged_weights_fall_back(no_weights):
    f, _ = quadratic(np.geomspace(0.1, 1, 20))
    report = minimise(f, np.zeros(20)).report
    assert report.converged
    assert "weights" in report.fallback


def test_limits_and_trivial_starts():
    f, _ = quadratic(np.geomspace(1e-4, 1, 30))
    report = minimise(f, np.zeros(30), maxiter=5).report
    assert report.status == "maxiter"
    assert not report.converged
    assert minimise(lambda x: (0.0, 0 * x), np.ones(3)).report.converged
    x, report = minimise(lambda x: (float(x @ x), 2 * x), np.ones(4), gtol=1e-10)
    assert report.converged
    np.testing.assert_allclose(x, 0, atol=1e-8)
    diverging = minimise(f, np.zeros(30), method="gradient-descent", interval=(1e-4, 0.3), maxiter=2000).report
    assert not diverging.converged


def test_schedules():
    for schedule in (heavy_ball(0.1, 1.0), nesterov(0.1, 1.0), chebyshev_schedule(0.1, 1.0)):
        alpha, beta, _ = [next(schedule) for _ in range(200)][-1]
        assert 0 < alpha < 4
        assert 0 < beta < 1
    # the semi-iteration tends to heavy ball
    cheb, ball = chebyshev_schedule(0.1, 1.0), heavy_ball(0.1, 1.0)
    np.testing.assert_allclose([next(cheb) for _ in range(200)][-1], next(ball), rtol=1e-10)
    with pytest.raises(OptionError, match="0 < a"):
        next(chebyshev_schedule(0.0, 1.0))


def test_the_engine_stays_within_the_spectrum(rng):
    import scipy.sparse as sp

    for _ in range(30):
        d = np.exp(rng.uniform(0.1, 8) * rng.standard_normal(40))
        p = probe(sp.diags_array(d).tocsr(), int(rng.integers(1, 20)), seed=int(rng.integers(100)))
        for reduction in (0.5, 1e-6, 1e-20):
            assert 0 < choose_lower(p, reduction) < p.upper_bound


def test_errors():
    f = lambda x: (float(x @ x), 2 * x)  # noqa: E731
    with pytest.raises(OptionError, match="function"):
        minimise(3, np.ones(2))
    with pytest.raises(OptionError, match="method"):
        minimise(f, np.ones(2), method="sgd")
    with pytest.raises(OptionError, match="gtol"):
        minimise(f, np.ones(2), gtol=0.0)
    with pytest.raises(OptionError, match="maxiter"):
        minimise(f, np.ones(2), maxiter=0)
    with pytest.raises(OptionError, match="interval"):
        minimise(f, np.ones(2), interval=(0.0, 1.0))
    with pytest.raises(ShapeError, match="vector"):
        minimise(f, np.ones((2, 2)))
    with pytest.raises(ShapeError, match="gradient"):
        minimise(lambda x: (0.0, np.ones(3)), np.ones(2))
    with pytest.raises(NonFiniteError, match="x0"):
        minimise(f, [np.nan])
    with pytest.raises(NonFiniteError, match="start"):
        minimise(lambda x: (np.inf, x), np.ones(2))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-150, 1e150, 1e200])
def test_units_beyond_the_squares_are_refused(scale):
    # the norm of such a gradient was 0, and the start "converged"
    d = np.geomspace(0.01, 1, 20)
    with pytest.raises(NonFiniteError, match="rescale"):
        minimise(lambda x: (scale * (0.5 * x @ (d * x) - x.sum()), scale * (d * x - 1)), np.zeros(20))
