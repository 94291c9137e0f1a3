"""The engine for the costs of solvers: one input and many, what is not known, what is folded in, files."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError, ShapeError, WeightsError
from nnla.evaluation.solver_cost_models import check_solver_costs, evaluate_solver_costs
from nnla.kernels import native
from nnla.krylov.step_features import STEP_FEATURES
from nnla.models.solver_costs import (
    FAILURES,
    TARGETS,
    SolverCostConfig,
    SolverCostEngine,
    network_inputs,
    tolerance_input,
)
from nnla.operators.features import GRAPH_FEATURES, STRUCTURE_FEATURES

F, S, T = len(STRUCTURE_FEATURES), len(STEP_FEATURES), len(TARGETS)


@pytest.fixture
def engine():
    """Random weights: what must hold must hold for any weights."""
    config = SolverCostConfig(F, S, hidden=8, members=3)
    rng = np.random.default_rng(0)
    parameters = {key: 0.3 * rng.standard_normal(shape) for key, shape in config.shapes().items()}
    for key in parameters:
        if key.endswith(("scale", "temperature", "std")):
            parameters[key] = np.exp(parameters[key])
        if key.endswith(("low", "high")):
            parameters[key] = np.full_like(parameters[key], -50.0 if key.endswith("low") else 50.0)
    return SolverCostEngine(config, parameters, {"name": "random"})


@pytest.fixture
def inputs():
    rng = np.random.default_rng(1)
    return rng.standard_normal((5, F)), rng.standard_normal((5, S))


def test_one_system_is_a_batch_of_one(engine, inputs):
    x, steps = inputs
    rtol = np.array([1e-4, 1e-6, 1e-8, 1e-10, 0.3])
    for batch, one in (
        (engine.predict(x, rtol=rtol), lambda i: engine.predict(x[i], rtol=float(rtol[i]))),
        (engine.predict(x, steps, rtol=rtol), lambda i: engine.predict(x[i], steps[i], rtol=float(rtol[i]))),
        (engine.predict(None, steps, rtol=rtol), lambda i: engine.predict(None, steps[i], rtol=float(rtol[i]))),
    ):
        assert batch.mean.shape == batch.std.shape == (5, T)
        assert batch.failure.shape == (5, len(FAILURES))
        for i in range(5):
            single = one(i)
            for name in ("mean", "std", "failure", "outside"):
                np.testing.assert_allclose(getattr(single, name), getattr(batch, name)[i], rtol=1e-9)
        assert np.all(batch.std > 0)
        assert np.all((batch.failure > 0) & (batch.failure < 1))
    found = engine.predict(x[0])
    assert found.log("direct.flops") == (found.mean[4], found.std[4])
    assert found.fails("amg") == found.failure[2]


def test_the_answer_for_one_system_is_the_prediction(engine, inputs):
    x, steps = inputs
    x[1, 3] = np.nan
    x[2, -1] = np.inf
    x[3, 0] = 70.0  # outside
    for i in range(5):
        for known in ((x[i], None), (x[i], steps[i]), (None, steps[i])):
            found, answer = engine.predict(*known, rtol=1e-6), engine.answer(*known, 1e-6)
            for name in ("mean", "std", "failure", "outside"):
                np.testing.assert_allclose(getattr(answer, name), getattr(found, name), rtol=1e-4, atol=1e-5)
            assert all(type(value) is float for value in (*answer.mean, *answer.std, *answer.failure, answer.outside))


def test_a_network_in_cpp_refuses_what_does_not_fit(engine, native_kernels):
    network = engine.native_network("a")
    with pytest.raises(ShapeError):
        network(np.zeros(F))
    a = engine.arrays("a")
    with pytest.raises(ValueError, match="do not fit"):
        native.CostNetwork(
            F, 3, 8, len(FAILURES), a["input_mean"], a["input_scale"], a["low"], a["high"], a["temperature"],
            *[np.zeros(5, np.float32)] * 7,
        )  # fmt: skip


def test_after_an_analysis_numbers_are_as_arrays(engine):
    flops, entries = np.array([1e5, 3e9]), np.array([2e3, 5e6])
    batch = engine.after_analysis(flops, entries, np.array([500, 40_000]))
    for k, n in enumerate((500, 40_000)):
        one = engine.after_analysis(float(flops[k]), float(entries[k]), n)
        for name, (mean, std) in one.items():
            assert mean == pytest.approx(batch[name][0][k])
            assert std == batch[name][1]


def test_what_is_written_of_the_network_is_what_it_computes(engine, inputs):
    """The arrays and the formula that other languages follow."""
    x, p = np.concatenate([inputs[0][0], [1.0, 1.0], [tolerance_input(1e-6)]]), engine.arrays("a")
    assert all(v.flags.c_contiguous and v.dtype == np.float64 for v in p.values())
    p["low"], p["high"] = p["low"] * 0 - 0.1, p["high"] * 0 + 0.1  # all else is outside
    raw = {f"a.{key}": value for key, value in p.items()} | {
        "a.output_mean": np.zeros(T),
        "a.output_scale": np.ones(T),
    }
    other = SolverCostEngine(engine.config, engine.parameters | raw, {})
    z = np.clip((x - p["input_mean"]) / p["input_scale"], -4, 4)
    z = np.concatenate([z, z[0] * z[:F]])
    outs = []
    for e in range(3):
        h = np.maximum(z @ p["w1"][e] + p["b1"][e], 0)
        h = np.maximum(h @ p["w2"][e] + p["b2"][e], 0)
        outs.append(h @ p["w3"][e] + z @ p["skip"] + p["b3"][e])
    out = np.array(outs)
    mean = out[:, :T].mean(axis=0)
    variance = (np.exp(2 * np.clip(out[:, T : 2 * T], -4, 2)) + (out[:, :T] - mean) ** 2).mean(axis=0)
    outside = min(8.0, float((np.maximum(np.maximum(-0.1 - x, x - 0.1), 0) / p["input_scale"]).sum()))
    found = other.predict(inputs[0][0], rtol=1e-6)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, p["temperature"] * (1 + outside) * np.sqrt(variance), rtol=1e-12)
    np.testing.assert_allclose(found.failure, (1 / (1 + np.exp(-out[:, 2 * T :]))).mean(axis=0), rtol=1e-12)
    assert found.outside == pytest.approx(outside)
    np.testing.assert_allclose(engine.predict(inputs[0][0], rtol=1e-6).mean, mean, rtol=1e-12)
    with pytest.raises(OptionError, match="'a' or 'b'"):
        engine.arrays("c")


def test_what_is_not_known_is_read_as_its_mean(engine, inputs):
    x = inputs[0][0].copy()
    x[[3, 7]] = engine.parameters["a.input_mean"][[3, 7]]
    known = engine.predict(x)
    x[[3, 7]] = np.nan, np.inf
    found = engine.predict(x)
    np.testing.assert_array_equal(found.mean, known.mean)
    assert found.outside == 0.0
    far = engine.predict(x + 1e300)
    assert np.all(np.isfinite(far.mean))
    assert np.all(far.std > known.std * 0)
    assert far.outside == 8.0


def test_what_is_not_known_is_told(engine, inputs):
    x, steps = inputs
    hidden = x[0].copy()
    hidden[np.isin(STRUCTURE_FEATURES, GRAPH_FEATURES)] = np.nan
    seen = network_inputs(hidden, steps[0], 1e-8)
    assert seen[F : F + 3].tolist() == [0, 0, 1]
    hidden[: F - 3] = x[0][: F - 3]
    assert network_inputs(hidden, None, 1e-8)[F : F + 2].tolist() == [1, 0]
    assert network_inputs(None, steps[0], 1e-8)[F : F + 3].tolist() == [0, 0, 0]
    assert not np.array_equal(engine.predict(None, steps[0]).mean, engine.predict(hidden, steps[0]).mean)


def test_bad_input_is_refused(engine, inputs):
    x, steps = inputs
    with pytest.raises(OptionError, match="both are None"):
        engine.predict(None)
    for bad in (x[0, :-1], x[:, 1:], np.zeros(0)):
        with pytest.raises(ShapeError, match="structure"):
            engine.predict(bad)
    with pytest.raises(ShapeError, match="steps"):
        engine.predict(x, steps[0])


def test_files_round_trip_and_damage_is_refused(engine, inputs, tmp_path):
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    again = nnla.load(path)
    np.testing.assert_array_equal(again.predict(inputs[0]).std, engine.predict(inputs[0]).std)
    assert again.after_analysis(1e6, 1e4, 1000).keys() == {"factor.seconds", "substitution.seconds"}
    with pytest.raises(WeightsError, match="lack"):
        SolverCostEngine(engine.config, {}, {})
    with pytest.raises(WeightsError, match="impossible"):
        SolverCostEngine(SolverCostConfig(F, 0), engine.parameters, {})
    with pytest.raises(WeightsError, match="not positive"):
        SolverCostEngine(engine.config, engine.parameters | {"b.temperature": np.zeros(T)}, {})


def test_checks_and_measures_take_any_weights(engine):
    assert check_solver_costs(engine, 2, 0) == []
    found = evaluate_solver_costs(engine, count=2)
    assert found["targets"]["structure"]["direct.flops"]["systems"] == 2
