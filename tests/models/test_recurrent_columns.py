"""Recurrent baselines: the paper's sizes, torch's numbers, exact units."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import WeightsError
from nnla.models.dense_tables import SKETCHES
from nnla.models.recurrent_columns import RecurrentColumnsConfig, RecurrentColumnsEngine, recur


def engine(cell="lstm", n=6, seed=0):
    config = RecurrentColumnsConfig(n=n, cell=cell, width=5, layers=2)
    rng = np.random.default_rng(seed)
    arrays = {key: 0.4 * rng.standard_normal(shape) for key, shape in config.network_shapes().items()}
    arrays |= {f"size{n}_mean": n * np.eye(n), f"size{n}_deviation": np.full((n, n), 0.5)}
    arrays |= {f"size{n}_answer_mean": rng.random(n), f"size{n}_answer_deviation": rng.random(n)}
    limits = {f"size{n}_sketch": np.zeros((SKETCHES, n, n)), f"size{n}_far": np.array([1.0, 1e-4])}
    return RecurrentColumnsEngine(config, arrays | limits, {})


def systems(rng, n=6, count=3, k=2):
    return n * np.eye(n) + 0.5 * rng.standard_normal((count, n, n)), rng.standard_normal((count, n, k))


@pytest.mark.parametrize(("cell", "millions"), [("lstm", 12.0), ("gru", 9.0)])
def test_as_many_parameters_as_the_paper(cell, millions):
    shapes = RecurrentColumnsConfig(cell=cell).network_shapes()
    assert sum(np.prod(shape) for shape in shapes.values()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_layers_are_torch_s(cell, rng):
    torch = pytest.importorskip("torch")
    model = engine(cell)
    c, p = model.config, {key: value.astype(np.float64) for key, value in model.parameters.items()}
    kind = torch.nn.LSTM if cell == "lstm" else torch.nn.GRU
    layers = kind(c.n + 1, c.width, num_layers=c.layers, batch_first=True, bidirectional=True, dtype=torch.float64)
    layers.load_state_dict({key: torch.from_numpy(p[key]) for key in c.layer_shapes()})
    tokens = rng.standard_normal((3, c.n, c.n + 1))
    with torch.no_grad():
        expected = layers(torch.from_numpy(tokens))[0].numpy()
    np.testing.assert_allclose(recur(p, c, tokens), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_units_are_exact(cell, rng):
    model = engine(cell)
    A, b = systems(rng)
    x = model.answer(A, b)
    assert x.shape == b.shape
    np.testing.assert_array_equal(model.answer(A * 2.0**-70, b), x * 2.0**70)
    np.testing.assert_array_equal(model.answer(A, b * -4.0), x * -4.0)


def test_torch_takes_the_same_function(rng):
    torch = pytest.importorskip("torch")
    model = engine("gru")
    A, b = systems(rng)
    found = model.answer(torch.from_numpy(A), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), model.answer(A, b), rtol=1e-4, atol=1e-5)


def test_far_matrices_are_far(rng):
    model = engine()
    A, _ = systems(rng)
    near, far = model.distances(A), model.distances(A + 50 * rng.standard_normal(A.shape))
    assert (far > 2 * near).all()


def test_saved_and_loaded(tmp_path, rng):
    from nnla.registry import load

    model = engine("gru")
    model.save(tmp_path / "m.safetensors")
    again = load(str(tmp_path / "m.safetensors"))
    A, b = systems(rng)
    np.testing.assert_array_equal(again.answer(A, b), model.answer(A, b))
    assert again.sizes == (6,)
    assert "GRU" in repr(again)


@pytest.mark.parametrize("change", [{"cell": "rnn"}, {"n": 2}, {"width": 0}, {"layers": 65}, {"width": 2.0}])
def test_impossible_configs(change):
    with pytest.raises(WeightsError):
        RecurrentColumnsEngine(RecurrentColumnsConfig(**change), {}, {})
