"""Improvement measures, ablation, probe length and degree extension."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.analysis import (
    condition_improvement,
    extend,
    gap_improvement,
    inverse_root_improvement,
    prefix,
    probe_robustness,
    without_residuals,
)
from nnla.errors import OptionError
from nnla.models.autospec_eig_paper import EigPaperConfig, EigPaperEngine
from nnla.polynomials.recurrence import Recurrence
from nnla.training.autospec_eig_paper import filter_layers

X = np.linspace(1, 0, 101)


def filter_engine() -> EigPaperEngine:
    """The Chebyshev filter with its cut at the last Ritz value of the window."""
    config = EigPaperConfig()
    parameters = {key: np.zeros(shape) for key, shape in config.shapes().items()}
    parameters["W2"][config.window - 1, :2] = (1.0, -1.0)
    parameters["W4"][:2, -1] = (1.0, -1.0)
    bias, slope = filter_layers(1.0, config.layers)
    parameters["b"][:, 0] = bias
    parameters["W"][:, -1] = slope
    return EigPaperEngine(config, parameters, {"name": "test"})


def test_gap_improvement_is_log_ratio_over_the_power_method():
    c = X[39]
    P = Recurrence.from_chebyshev(np.eye(22)[21], 0.0, c)
    expected = np.log(np.cosh(21 * np.arccosh(2 * X[9] / c - 1))) / (21 * np.log(X[9] / c))
    assert gap_improvement(P, X, 10, 40) == pytest.approx(expected, rel=1e-9)
    assert gap_improvement(P.scaled(-7), X, 10, 40) == pytest.approx(expected, rel=1e-9)
    assert gap_improvement(Recurrence.from_function(lambda x: (1.05 - x) ** 9, 0, 1, 9), X, 10, 40) < 0
    assert gap_improvement(Recurrence([0.0], [0.0], [0.0], [0.0], [0.0]), X, 10, 40) == 0


def test_condition_improvement_is_log_ratio_over_richardson():
    lam = np.linspace(0.02, 1, 300)
    P = Recurrence.chebyshev(0.02, 1, 11)
    q = (lam * P(lam)).min() / (lam * P(lam)).max()
    assert condition_improvement(P, lam) == pytest.approx(np.log(1 - q) / (11 * np.log(1 - 0.02)), rel=1e-9)
    identity = Recurrence([0.0], [1.0], [0.0], [0.0], [0.0])
    assert condition_improvement(P.scaled(-1), lam) == 0
    assert identity.degree == 0


def test_inverse_root_improvement_is_one_for_taylor():
    lam = np.linspace(0.05, 2.0, 300)
    coefficients = np.cumprod([1.0] + [(2 * j - 1) / (2 * j) for j in range(1, 22)])
    taylor = Recurrence.from_function(lambda x: sum(c * (1 - x) ** j for j, c in enumerate(coefficients)), 0.05, 1, 21)
    assert inverse_root_improvement(taylor, lam / 2) == pytest.approx(1.0, rel=1e-6)
    good = Recurrence.from_function(lambda x: x**-0.5, 0.05, 2.0, 21)
    assert inverse_root_improvement(good, lam) > 3
    assert inverse_root_improvement(good.scaled(5.0), lam) == 0


def test_ablation_keeps_ritz_values():
    probe = nnla.probe(nnla.problems.poisson2d(20), 30)
    bare = without_residuals(probe)
    np.testing.assert_array_equal(bare.ritz_values, probe.ritz_values)
    assert probe.ritz_residuals.max() > 0
    assert bare.ritz_residuals.max() == 0
    assert bare.upper_bound <= probe.upper_bound


def test_probe_robustness_counts_and_reports_failures():
    A = nnla.problems.poisson2d(24)
    counts = probe_robustness(A, (10, 50), method="autospec", rtol=1e-8)
    assert sorted(counts) == [10, 50]
    assert all(1 <= v <= 30 for v in counts.values())
    assert np.isinf(probe_robustness(A, (25,), method="autospec", maxiter=1, rtol=1e-8)[25])


@pytest.mark.parametrize("layers", [1, 5])
def test_extension_keeps_every_prefix_and_goes_on_as_chebyshev(layers):
    engine = filter_engine()
    longer = extend(engine, layers)
    assert longer.config.degree == 21 + layers
    short, long = (
        engine.recurrence(X[:40], 0 * X[:40], 10),
        longer.recurrence(X[:40], 0 * X[:40], 10, degree=21 + layers),
    )
    for degree in (2, 7, 20):
        one, two = prefix(short, degree), prefix(long, degree)
        np.testing.assert_allclose(two(X), one(X), rtol=1e-9)
    # the extended Chebyshev filter is the Chebyshev filter of the higher degree
    growth = [abs(P(1.0)) / np.abs(P(X[40:])).max() for P in (short, prefix(long, 21), long)]
    assert growth[0] == pytest.approx(growth[1], rel=1e-6)
    assert growth[2] > growth[0]
    assert engine.parameters["W"].shape[0] == 20
    for bad in (0, True, 1.5):
        with pytest.raises(OptionError, match="positive integer"):
            extend(engine, bad)
    with pytest.raises(OptionError, match="prefix"):
        prefix(short, 30)


def test_every_prefix_of_a_chebyshev_filter_improves_on_the_power_method():
    P = filter_engine().recurrence(X[:40], 0 * X[:40], 10)
    improvements = [gap_improvement(prefix(P, d), X, 10, 40) for d in range(2, 22)]
    assert min(improvements[3:]) > 1
    assert improvements[-1] > 2 * improvements[1] / 2
