"""The engine for eigenproblems: features, invariances, files, and what the shipped weights are worth."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.eigen.filters import strength
from nnla.eigen.window import Window
from nnla.errors import WeightsError
from nnla.models.autospec_eig import AutoSpecEigEngine, EigConfig, strength_grid, window_features


def window(values=None, residual=1e-6, far=100.0, k=6, ncv=24, n=10_000, steps=60):
    values = np.arange(1.0, 25.0) if values is None else values
    return Window(values, np.full(values.size, residual), far, n, k, ncv, steps)


@pytest.fixture
def engine():
    """Random weights: what must hold must hold for any weights."""
    config = EigConfig(hidden=8, members=2)
    rng = np.random.default_rng(0)
    parameters = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in config.shapes().items()}
    parameters["std"] = np.full(config.features, 3.0)
    parameters |= {"low": np.full(config.features, -1e3), "high": np.full(config.features, 1e3)}
    return AutoSpecEigEngine(config, parameters, {"name": "random"})


def test_the_choice_does_not_depend_on_units_shift_or_the_end_that_is_wanted(engine):
    base = engine.choose(window())
    grid = strength_grid(engine.config)
    assert grid[0] * 0.99 <= base.strength <= grid[-1] * 1.01
    assert 1.0 < base.cut < 100.0
    assert strength(base.cut, 1.0, 100.0, 21) == pytest.approx(base.strength)
    scaled = window(3e4 * np.arange(1.0, 25.0) - 7.0, residual=3e-2, far=3e6 - 7.0)
    assert engine.choose(scaled).strength == pytest.approx(base.strength, rel=1e-9)
    mirrored = window(-np.arange(1.0, 25.0), far=-100.0)
    choice = engine.choose(mirrored)
    assert choice.strength == pytest.approx(base.strength, rel=1e-9)
    assert choice.cut == pytest.approx(-base.cut)


def test_features_know_residuals_degree_and_depth():
    plain = window_features(window(), 21)
    assert plain.shape == (EigConfig().features,)
    assert np.all(np.isfinite(window_features(window(values=np.array([1.0])), 21)))
    assert not np.allclose(plain, window_features(window(residual=1e-2), 21))
    assert not np.allclose(plain, window_features(window(), 31))


def test_files_round_trip_and_damage_is_refused(engine, tmp_path):
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    again = nnla.load(path)
    assert again.choose(window()).cut == engine.choose(window()).cut
    broken = dict(engine.parameters)
    broken["W1"] = broken["W1"][:1]
    with pytest.raises(WeightsError, match="shape"):
        AutoSpecEigEngine(engine.config, broken, {})
    with pytest.raises(WeightsError, match="NaN"):
        AutoSpecEigEngine(engine.config, engine.parameters | {"b0": np.full((2, 1, 8), np.nan)}, {})
    with pytest.raises(WeightsError, match="lack"):
        AutoSpecEigEngine(engine.config, {}, {})
    with pytest.raises(WeightsError, match="impossible"):
        AutoSpecEigEngine(EigConfig(candidates=2), engine.parameters, {})


def test_the_shipped_engine_cuts_beyond_the_wanted_eigenvalues():
    engine = nnla.load("autospec-eig")
    w = window(np.arange(1.0, 25.0) * 1e-3, residual=1e-8, far=10.0)
    choice = engine.choose(w)
    assert choice.inside
    assert w.at(6) < choice.cut
    hard, easy = (window(np.arange(1.0, 25.0) * s, residual=1e-6 * s, far=10.0) for s in (1e-5, 1e-1))
    assert engine.choose(hard).steps > 1.3 * engine.choose(easy).steps
    assert engine.choose(hard, degree=1).steps > engine.choose(hard, degree=21).steps


def test_the_shipped_engine_beats_the_paper_s_cut_and_power_on_a_hard_mesh():
    A = nnla.problems.thermal1_like(8000)
    restarts = {}
    for method in ("autospec", "chebyshev", "power"):
        _, _, report = nnla.eigsh(A, 10, method=method, return_report=True, verify=False)
        assert report.converged
        restarts[method] = report.restarts
    assert restarts["autospec"] <= restarts["chebyshev"]
    assert restarts["autospec"] < 0.7 * restarts["power"]
