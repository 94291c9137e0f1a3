"""The paper's engine for eigenproblems: Algorithm 2, windows, sign and scale, quality, files, bad inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnla.eigen.filters import filter_quality
from nnla.errors import NonFiniteError, OptionError, ShapeError, WeightsError
from nnla.models.autospec_eig_paper import EigPaperConfig, EigPaperEngine, eig_embedding, eig_forward, eig_window
from nnla.models.paper_backbone import backbone
from nnla.polynomials.recurrence import Recurrence
from nnla.registry import load
from nnla.training.autospec_eig_paper import filter_layers

CONFIG = EigPaperConfig()


def random_parameters(seed: int = 0, size: float = 1e-3) -> dict[str, np.ndarray]:
    """Weights around the Chebyshev filter that training starts from; the embedding random."""
    rng = np.random.default_rng(seed)
    parameters = {key: size * rng.standard_normal(shape) for key, shape in CONFIG.shapes().items()}
    for key in ("W1", "W2"):
        parameters[key] = rng.standard_normal(CONFIG.shapes()[key]) / 15
    # the last number of the embedding passes the first unwanted Ritz value on: gelu(x) - gelu(-x) = x
    parameters["W2"][:, :2] = 0.0
    parameters["W2"][CONFIG.wanted, :2] = (1.0, -1.0)
    parameters["W4"][:, -1] = 0.0
    parameters["W4"][:2, -1] = (1.0, -1.0)
    bias, slope = filter_layers(1.0, CONFIG.layers)
    parameters["b"][:, 0] += bias
    parameters["W"][:, -1] += slope
    return parameters


def make_window(k: int = 10, size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    values = 1 - (np.arange(size) / size) ** 1.5 * 0.8
    return values, 1e-6 * np.exp(np.linspace(0, 10, size))


@pytest.fixture
def engine() -> EigPaperEngine:
    return EigPaperEngine(CONFIG, random_parameters(), {"name": "test"})


def test_numpy_and_torch_forward_agree():
    torch = pytest.importorskip("torch")
    parameters = random_parameters()
    x = np.random.default_rng(1).uniform(size=(7, 2 * CONFIG.window))
    ours = eig_forward(parameters, x)
    theirs = eig_forward({key: torch.from_numpy(v) for key, v in parameters.items()}, torch.from_numpy(x))
    assert ours.shape == (20, 7, 5)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-9)


def test_embedding_is_algorithm_2_line_by_line():
    p, x = random_parameters(), np.random.default_rng(2).standard_normal(2 * CONFIG.window)

    def gelu(t):
        return 0.5 * t * (1 + np.tanh(np.sqrt(2 / np.pi) * (t + 0.044715 * t**3)))

    y1 = np.abs(p["W3"].T @ gelu(p["W1"].T @ x)).min()
    y2 = p["W4"].T @ gelu(p["W2"].T @ x)
    np.testing.assert_allclose(eig_embedding(p, x[None])[0], [y1, *y2], rtol=1e-12)
    assert p["W1"].shape == (208, 48)  # 2 l_0 = 2 (10 + 94), 4 k_0 + 8


@pytest.mark.parametrize(("k", "size"), [(1, 2), (3, 8), (10, 40), (10, 104), (20, 80), (40, 60), (60, 300), (11, 12)])
def test_window_is_anchored_at_k_and_l(k, size):
    index = eig_window(k, size)
    assert index.shape == (104,)
    assert np.all(np.diff(index) >= 0)
    assert index[0] == 0 or k > 10
    assert index[9] == k - 1  # entry k_0 is the k-th Ritz value, whatever k is
    assert index[10] == k
    assert index[-1] == size - 1
    # padding repeats, truncation thins out evenly
    if k <= 10 and size - k <= 94:
        assert set(index) == set(range(size))
    assert np.diff(index[10:]).max() <= math.ceil((size - 1 - k) / 93) + 1


def test_window_of_the_trained_size_is_the_identity():
    np.testing.assert_array_equal(eig_window(10, 104), np.arange(104))


def test_repeating_every_value_changes_only_what_the_window_samples(engine):
    values, residuals = make_window()
    k = 10
    one = engine.recurrence(values, residuals, k)
    # a window that already has the network's size: sampled by hand or by the engine, the same polynomial
    index = eig_window(k, values.size)
    two = engine.recurrence(values[index], residuals[index], 10)
    x = np.linspace(0, 1, 30)
    np.testing.assert_allclose(two(x), one(x), rtol=1e-12)


@pytest.mark.parametrize(("k", "size"), [(2, 12), (10, 40), (20, 80), (30, 200)])
def test_recurrence_has_degree_sign_and_scale(engine, k, size):
    values, residuals = make_window(k, size)
    P = engine.recurrence(values, residuals, k)
    assert P.degree == P.products == 21
    assert (P.shift, P.scale) == (0.0, 1.0)
    assert P(float(values[0])) > 0
    assert np.abs(P(values[k:])).max() == pytest.approx(1.0, rel=1e-9)
    assert P.rho[-1] == 0


def test_start_of_training_is_the_chebyshev_filter_of_every_degree():
    bias, slope = filter_layers(1.0, 20)
    x = np.linspace(0, 1, 100)
    for cut, accuracy in ((1.0, 1e-10), (0.98, 0.03)):
        layer = bias + cut * slope
        coefficients = np.concatenate([layer[:, :1], layer[:, 1:5] / layer[:, 5:]], axis=1)
        for k in range(1, 21):
            expected = np.cos((k + 1) * np.arccos(np.clip(2 * x / cut - 1, -1, 1)))
            got = Recurrence(*coefficients[:k].T)(x) / cut**2
            np.testing.assert_allclose(got[x <= cut], expected[x <= cut], atol=accuracy * (k + 1))


def test_learned_scale_makes_the_cut_exact_from_the_third_layer_on():
    bias, slope = filter_layers(1.0, 20)
    layer = (bias + 0.6 * slope)[2:]
    gamma, eta, alpha, beta = (layer[:, i] / layer[:, 5] for i in range(1, 5))
    np.testing.assert_allclose(np.stack([gamma, eta, alpha, beta]).T, [[0, -1, -2, 4 / 0.6]] * 18, rtol=1e-12)


def test_negated_network_gives_the_same_filter():
    parameters = random_parameters()
    negative = {key: value.copy() for key, value in parameters.items()}
    negative["W"][-1, :, 5] *= -1
    negative["b"][-1, :, 5] *= -1
    values, residuals = make_window()
    plus, minus = (EigPaperEngine(CONFIG, p, {}).recurrence(values, residuals, 10) for p in (parameters, negative))
    x = np.linspace(0.01, 1, 20)
    np.testing.assert_allclose(minus(x), plus(x), rtol=1e-5)


def test_quality_of_chebyshev_power_and_nonsense():
    values, residuals = make_window()
    k, cut = 10, 15
    c = float(values[cut])
    cheb = Recurrence.from_chebyshev(np.eye(22)[21], 0.0, c)
    power = Recurrence.from_function(lambda x: x**21, 0.0, 1.0, 21)
    none = 0 * residuals
    expected = np.cosh(21 * np.arccosh(2 * values[k - 1] / c - 1))
    assert filter_quality(cheb, values, none, k) == pytest.approx(expected, rel=1e-6)
    assert filter_quality(power, values, none, k) == pytest.approx((values[k - 1] / c) ** 21, rel=1e-6)
    assert filter_quality(cheb.scaled(-3.0), values, none, k) == pytest.approx(expected, rel=1e-6)
    assert filter_quality(Recurrence.from_chebyshev(np.eye(22)[21], 0.0, 1.0), values, none, k) < 1.0001
    # an uncertain cut counts as far as it may reach, and no further than what is wanted
    assert filter_quality(cheb, values, residuals + 0.01, k) < filter_quality(cheb, values, none, k)
    huge = Recurrence.from_chebyshev(np.eye(22)[21] * 1e300, 0.0, 1e-6)
    assert filter_quality(huge, values, none, k) == 0.0
    assert filter_quality(cheb, values, none, k, cut=30) < filter_quality(cheb, values, none, k) * 1.001


def test_save_and_load(engine, tmp_path):
    path = tmp_path / "eig.safetensors"
    engine.save(path)
    again = load(str(path))
    assert isinstance(again, EigPaperEngine)
    assert (again.config, again.card) == (engine.config, engine.card)
    values, residuals = make_window()
    x = np.linspace(0, 1, 20)
    one, two = again.recurrence(values, residuals, 10)(x), engine.recurrence(values, residuals, 10)(x)
    np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-2)
    assert "degree=21" in repr(again)


def test_bad_inputs(engine):
    values, residuals = make_window()
    with pytest.raises(OptionError, match="degree 21 only, got 8"):
        engine.recurrence(values, residuals, 10, degree=8)
    for k in (0, 40, True, 2.0):
        with pytest.raises(OptionError, match="k must be an integer from 1 to 39"):
            engine.recurrence(values, residuals, k)
    with pytest.raises(ShapeError, match="one length"):
        engine.recurrence(values, residuals[:-1], 10)
    with pytest.raises(OptionError, match="descending"):
        engine.recurrence(values[::-1], residuals, 10)
    with pytest.raises(NonFiniteError):
        engine.recurrence(values, residuals * np.nan, 10)
    with pytest.raises(OptionError, match="hidden"):
        EigPaperConfig(hidden=4)
    with pytest.raises(OptionError, match="unwanted"):
        EigPaperConfig(unwanted=3)
    parameters = random_parameters()
    with pytest.raises(WeightsError, match="lack W4"):
        EigPaperEngine(CONFIG, {k: v for k, v in parameters.items() if k != "W4"}, {})
    with pytest.raises(WeightsError, match="shape"):
        EigPaperEngine(EigPaperConfig(degree=9), parameters, {})


def test_backbone_is_algorithm_1_for_any_size_of_embedding():
    p, e = random_parameters(size=0.1), np.random.default_rng(3).uniform(size=5)
    coefficients = backbone(p, e[None])
    out = p["W"][7].T @ e + p["b"][7, 0]
    np.testing.assert_allclose(coefficients[7, 0], [out[0], *(out[1:5] / (out[5] + 1e-8))], rtol=1e-12)


def test_linear_systems_refuse_it(engine):
    from nnla.polynomials.design import check_engine, engine_method

    with pytest.raises(OptionError, match="eigenproblems"):
        check_engine(engine, "autospec-paper")
    with pytest.raises(OptionError, match="eigenproblems"):
        engine_method(engine)
