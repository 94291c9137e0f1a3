"""The paper's engine: Algorithms 1 and 3 in NumPy and torch, coefficients, scale, files, bad inputs."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NotPositiveDefiniteError, OptionError, WeightsError
from nnla.models.autospec_paper import (
    PaperConfig,
    PaperEngine,
    backbone,
    embedding,
    paper_features,
    paper_forward,
)
from nnla.polynomials.recurrence import chebyshev
from nnla.registry import load, write_safetensors
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.autospec_paper import chebyshev_layers
from nnla.types import SpectralProbe

CONFIG = PaperConfig()


def random_parameters(seed: int = 0, size: float = 0.02) -> dict[str, np.ndarray]:
    """Weights of a given size around Chebyshev biases, so that nothing vanishes and nothing explodes."""
    rng = np.random.default_rng(seed)
    parameters = {key: size * rng.standard_normal(shape) for key, shape in CONFIG.shapes().items()}
    parameters["W1"] = rng.standard_normal(CONFIG.shapes()["W1"])
    parameters["W2"] = rng.standard_normal(CONFIG.shapes()["W2"])
    parameters["b"] = parameters["b"] + 1.0
    parameters["b"][:, 0, :5] += chebyshev_layers(0.01, 1.02, CONFIG.layers) - 1.0
    return parameters


def make_probe(steps: int = 50, n: int = 400, scale: float = 1.0) -> SpectralProbe:
    lam = scale * np.geomspace(1e-3, 1.0, n)
    alpha, beta = simulate_lanczos(lam, np.ones(n), steps)
    return SpectralProbe(alpha, beta, n)


@pytest.fixture
def engine() -> PaperEngine:
    return PaperEngine(CONFIG, random_parameters(), {"name": "test"})


def test_numpy_and_torch_forward_agree():
    torch = pytest.importorskip("torch")
    parameters = random_parameters()
    x = np.random.default_rng(1).standard_normal((7, 4 * CONFIG.k))
    ours = paper_forward(parameters, x)
    theirs = paper_forward({key: torch.from_numpy(v) for key, v in parameters.items()}, torch.from_numpy(x))
    assert ours.shape == (CONFIG.layers, 7, 5)
    assert theirs.dtype == torch.float64
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-12, atol=1e-12)


def test_embedding_is_algorithm_3_line_by_line():
    p, rng = random_parameters(), np.random.default_rng(2)
    x = rng.standard_normal(4 * CONFIG.k)

    def gelu(t):
        return 0.5 * t * (1 + np.tanh(np.sqrt(2 / np.pi) * (t + 0.044715 * t**3)))

    y1 = p["W3"].T @ gelu(p["W1"].T @ x[:40])
    y2 = p["W4"].T @ gelu(p["W2"].T @ x[40:])
    expected = np.concatenate([sorted(np.abs(y1), reverse=True), sorted(np.abs(y2), reverse=True)])
    np.testing.assert_allclose(embedding(p, x[None])[0], expected, rtol=1e-13)


def test_backbone_is_algorithm_1_line_by_line():
    p, e = random_parameters(size=0.1), np.random.default_rng(3).uniform(size=10)
    coefficients = backbone(p, e[None])
    for k in range(CONFIG.layers):
        out = p["W"][k].T @ e + p["b"][k, 0]
        expected = [out[0], *(out[1:5] / (out[5] + 1e-8))]
        np.testing.assert_allclose(coefficients[k, 0], expected, rtol=1e-13)


def test_features_order_and_padding():
    theta, residual = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.4])
    x = paper_features(theta, residual, 2.0, 5)
    np.testing.assert_array_equal(x[:5], [2.0, 1.0, 0.5, 0.5, 0.5])  # largest first, innermost repeated
    np.testing.assert_array_equal(x[5:10], [0.2, 0.1, 0.05, 0.05, 0.05])
    np.testing.assert_array_equal(x[10:15], [2.0, 2.0, 2.0, 1.0, 0.5])  # smallest last
    np.testing.assert_array_equal(x[15:], [0.2, 0.2, 0.2, 0.1, 0.05])


@pytest.mark.parametrize("steps", [3, 15, 50, 200])
def test_recurrence_has_the_degree_sign_and_scale(engine, steps):
    probe = make_probe(steps)
    recurrence = engine.recurrence(probe)
    assert recurrence.degree == recurrence.products == 11
    assert recurrence.scale == probe.upper_bound
    assert recurrence(0.0) > 0
    middle = 0.5 * probe.upper_bound
    assert 0.2 < middle * recurrence(middle) < 3


def test_recurrence_follows_the_scale_of_the_operator(engine):
    one, thousand = engine.recurrence(make_probe()), engine.recurrence(make_probe(scale=1e3))
    lam = np.array([0.01, 0.3, 0.9])
    np.testing.assert_allclose(1e3 * thousand(1e3 * lam), one(lam), rtol=1e-8)


def test_negated_network_gives_the_same_positive_polynomial():
    parameters = random_parameters()
    negative = {key: value.copy() for key, value in parameters.items()}
    # (gamma, eta, alpha, beta) of the last layer through delta: the sign of P only
    negative["W"][-1, :, 5] *= -1
    negative["b"][-1, :, 5] *= -1
    plus, minus = (PaperEngine(CONFIG, p, {}).recurrence(make_probe()) for p in (parameters, negative))
    lam = np.linspace(0.01, 1, 20)
    np.testing.assert_allclose(minus(lam), plus(lam), rtol=1e-5)


def test_constant_network_with_chebyshev_biases_is_chebyshev():
    parameters = {key: np.zeros(shape) for key, shape in CONFIG.shapes().items()}
    parameters["b"][:, 0, :5] = chebyshev_layers(0.003, 1.02, CONFIG.layers)
    parameters["b"][:, 0, 5] = 1.0
    probe = make_probe()
    recurrence = PaperEngine(CONFIG, parameters, {}).recurrence(probe)
    b = probe.upper_bound
    reference = chebyshev(0.003 * b, 1.02 * b, 11)
    lam = np.linspace(0, b, 100)
    np.testing.assert_allclose(recurrence(lam) / recurrence(0.0), reference(lam) / reference(0.0), atol=1e-7)


def test_save_and_load(engine, tmp_path):
    path = tmp_path / "paper.safetensors"
    engine.save(path)
    again = load(str(path))
    assert isinstance(again, PaperEngine)
    assert (again.config, again.card) == (engine.config, engine.card)
    for key, value in engine.parameters.items():
        np.testing.assert_array_equal(again.parameters[key], value)
    lam = np.linspace(0.01, 1, 20)
    np.testing.assert_allclose(again.recurrence(make_probe())(lam), engine.recurrence(make_probe())(lam), rtol=1e-12)
    assert "degree=11" in repr(again)
    assert again.envelope == {}


def test_bad_inputs(engine, tmp_path):
    with pytest.raises(OptionError, match="degree 11 only, got 8"):
        engine.recurrence(make_probe(), degree=8)
    with pytest.raises(NotPositiveDefiniteError):
        engine.recurrence(SpectralProbe([1.0, -1.0], [0.5, 0.1], 10))
    with pytest.raises(OptionError, match="hidden"):
        PaperConfig(hidden=4)
    parameters = random_parameters()
    with pytest.raises(WeightsError, match="lack W3"):
        PaperEngine(CONFIG, {k: v for k, v in parameters.items() if k != "W3"}, {})
    with pytest.raises(WeightsError, match="shape"):
        PaperEngine(PaperConfig(degree=9), parameters, {})
    with pytest.raises(WeightsError, match="NaN"):
        PaperEngine(CONFIG, parameters | {"b": parameters["b"] * np.nan}, {})
    path = tmp_path / "odd.safetensors"
    write_safetensors(path, {}, {"kind": "autospec-paper", "config": "{"})
    with pytest.raises(WeightsError, match="metadata"):
        PaperEngine.from_file(path)
    write_safetensors(path, {}, {"kind": "autospec-engine"})
    with pytest.raises(WeightsError, match="expected 'autospec-paper'"):
        PaperEngine.from_file(path)
