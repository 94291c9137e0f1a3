"""The engine for Newton steps: what holds for any weights, files, and the shipped weights on generated problems."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import WeightsError
from nnla.evaluation.model_checks import check_newton_steps
from nnla.extensions.lp_newton import newton_lp
from nnla.models.algebraformer_newton import NewtonStepConfig, NewtonStepEngine, row_features, row_weights
from nnla.problems.lp_families import LAWS, lp_problems
from nnla.problems.lp_regression import lp_regression


@pytest.fixture
def engine():
    """Random weights."""
    config = NewtonStepConfig()
    rng = np.random.default_rng(0)
    parameters = {name: 0.5 * rng.standard_normal(shape) for name, shape in config.shapes().items()}
    return NewtonStepEngine(config, parameters, {"name": "random", "envelope": {"p": [1.2, 4.0]}})


def problems(count=4, p=1.5, **options):
    return list(lp_problems(count, **({"m": 200, "n": 12, "p": p, "seed": 3} | options)))


@pytest.mark.parametrize("p", [1.2, 1.5, 3.0])
@pytest.mark.parametrize("law", LAWS)
def test_random_weights_end_in_the_same_minimum(engine, p, law):
    for problem in problems(2, p, law=law):
        exact, other = newton_lp(problem, gtol=1e-9), newton_lp(problem, step=engine, gtol=1e-9)
        assert other.report.converged
        assert other.report.method == "random"
        np.testing.assert_allclose(other.x, exact.x, atol=1e-8 * np.abs(exact.x).max())


def test_what_is_asked_of_any_engine(engine):
    assert check_newton_steps(engine, 3, 0) == []
    assert nnla.checks.check_model(nnla.load("algebraformer-newton"), trials=3) == []


def test_zeros_are_the_partial_hessian():
    config = NewtonStepConfig()
    zeros = NewtonStepEngine(config, {name: np.zeros(shape) for name, shape in config.shapes().items()}, {})
    for problem in problems(2):
        one, other = newton_lp(problem, step=zeros), newton_lp(problem, step="partial")
        np.testing.assert_allclose(one.report.gradients, other.report.gradients, rtol=1e-6)


def test_features_are_finite_and_have_no_unit(rng):
    r = np.concatenate([[0.0, 1e-12, -1e-3], rng.standard_normal(5)])
    s, w = 1.5 * np.sign(r) * np.abs(r) ** 0.5, 1.0 / (np.abs(r) + 1e-3) ** 0.5
    for shift in (np.zeros(8), 1e-20 * np.ones(8), -r, rng.standard_normal(8)):
        x = row_features(r, s, w, shift, 1e-3, 1.5)
        assert all(np.all(np.isfinite(f)) for f in x)
        c = 1e8
        same = row_features(c * r, c**0.5 * s, w / c**0.5, c * shift, 1e-3 * c, 1.5)
        np.testing.assert_allclose(np.array(same), np.array(x), rtol=1e-6, atol=1e-9)
    parameters = {k: 100 * rng.standard_normal(v) for k, v in NewtonStepConfig().shapes().items()}
    own, rest = row_weights(parameters, x, np.ones(5))
    assert np.all(np.abs(own) <= 4)
    assert abs(float(rest[0])) <= 1


def test_numpy_and_torch_agree(rng):
    torch = pytest.importorskip("torch")
    r, shift = rng.standard_normal((3, 6)), rng.standard_normal((3, 6))
    given = (r, np.sign(r) * np.abs(r) ** 0.5, np.abs(r) ** -0.5, shift, np.full((3, 1), 1e-3))
    parameters = {k: rng.standard_normal(v) for k, v in NewtonStepConfig().shapes().items()}
    common = rng.standard_normal((3, 5))
    one = row_weights(parameters, row_features(*given, 1.5), common)
    tensors = [torch.from_numpy(np.array(a)) for a in given]
    p = {k: torch.from_numpy(v) for k, v in parameters.items()}
    other = row_weights(p, row_features(*tensors, 1.5), torch.from_numpy(common))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-12)


def test_problems_unlike_the_training_take_exact_steps(engine, rng):
    for problem in (*problems(1, 1.1), lp_regression(rng.random((10, 5)), rng.random(10))):
        report = newton_lp(problem, step=engine).report
        assert report.converged
        assert (report.learned_steps, report.rejected) == (0, 0)
    assert newton_lp(lp_regression(np.zeros((9, 2)), rng.random(9)), step=engine).report.converged


def test_files_round_trip_and_damage_is_refused(engine, tmp_path):
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    (problem,) = problems(1)
    np.testing.assert_array_equal(newton_lp(problem, step=nnla.load(path)).x, newton_lp(problem, step=engine).x)
    with pytest.raises(WeightsError, match="lack"):
        NewtonStepEngine(engine.config, {}, {})
    with pytest.raises(WeightsError, match="impossible"):
        NewtonStepEngine(NewtonStepConfig(rows=0), engine.parameters, {})


@pytest.mark.parametrize("law", LAWS)
def test_the_shipped_weights_take_fewer_steps_than_the_rule(law):
    given = list(lp_problems(12, law=law, seed=77))
    counts = {}
    for step in ("learned", "partial", "exact"):
        runs = [newton_lp(problem, step=step) for problem in given]
        assert all(run.report.converged for run in runs)
        counts[step] = sum(run.report.iterations for run in runs)
    assert counts["learned"] < (1.05 if law == "outliers" else 0.96) * counts["partial"]
    assert counts["learned"] <= 1.1 * counts["exact"]
    reports = [newton_lp(problem, step="learned").report for problem in given]
    assert sum(r.exact_steps for r in reports) <= 0.1 * sum(r.iterations for r in reports)
