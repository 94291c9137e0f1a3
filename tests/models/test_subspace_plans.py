"""The engine for plans of the subspace method: features, invariances, files."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.eigen.window import Window
from nnla.errors import WeightsError
from nnla.evaluation.model_checks import check_plans
from nnla.models.subspace_plans import PLANS, SubspacePlanConfig, SubspacePlanEngine, plan_features


def window(values=None, residual=1e-3, far=100.0, k=6, ncv=24, n=10_000, steps=24):
    values = np.arange(1.0, 25.0) if values is None else values
    return Window(values, np.full(values.size, residual), far, n, k, ncv, steps)


@pytest.fixture
def engine():
    """Random weights: what must hold must hold for any weights."""
    config = SubspacePlanConfig(hidden=8, members=2)
    rng = np.random.default_rng(0)
    parameters = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in config.shapes().items()}
    parameters["std"] = np.full(config.features, 3.0)
    parameters |= {"low": np.full(config.features, -1e3), "high": np.full(config.features, 1e3)}
    return SubspacePlanEngine(config, parameters, {"name": "random"})


def test_features_are_finite_and_know_the_plan():
    x = plan_features(window(), 10.0)
    assert x.shape == (len(PLANS), SubspacePlanConfig().features)
    for odd in (window(np.ones(1)), window(np.ones(24)), window(k=2), window(k=24), window(far=24.0)):
        assert np.all(np.isfinite(plan_features(odd, 10.0)))
    assert len(np.unique(x, axis=0)) == len(PLANS)
    assert not np.allclose(x, plan_features(window(residual=1e-2), 10.0))
    assert not np.allclose(x, plan_features(window(), 8.0))


def test_counts_do_not_depend_on_units_shift_or_the_end_that_is_wanted(engine):
    base = engine.counts(window(), digits=10.0)
    assert base.inside
    assert base.plans == PLANS
    scaled = window(3e4 * np.arange(1.0, 25.0) - 7.0, residual=30.0, far=3e6 - 7.0)
    mirrored = window(-np.arange(1.0, 25.0), far=-100.0)
    for other in (engine.counts(w, digits=10.0) for w in (scaled, mirrored)):
        for name in ("products", "filterings", "flops"):
            assert np.all(getattr(base, name) > 0)
            np.testing.assert_allclose(getattr(other, name), getattr(base, name), rtol=1e-6)
    assert check_plans(engine, 3, 0) == []


def test_operations_grow_with_the_vectors(engine):
    x = engine.counts(window(), digits=10.0)
    assert x.flops.min() > x.filterings.min()
    outside = SubspacePlanEngine(engine.config, engine.parameters | {"high": engine.parameters["low"]}, {})
    assert not outside.counts(window(), digits=10.0).inside


def test_files_round_trip_and_damage_is_refused(engine, tmp_path):
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    again = nnla.load(path)
    np.testing.assert_array_equal(
        again.counts(window(), digits=9.0).products, engine.counts(window(), digits=9.0).products
    )
    with pytest.raises(WeightsError, match="lack"):
        SubspacePlanEngine(engine.config, {}, {})
    with pytest.raises(WeightsError, match="impossible"):
        SubspacePlanEngine(SubspacePlanConfig(hidden=0), engine.parameters, {})
