"""Training of the paper's engine: data, initialisation, objective, two stages, determinism, resume."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.models.autospec_paper import PaperEngine
from nnla.polynomials.recurrence import Recurrence, chebyshev
from nnla.problems.paper_spectra import paper_spectra
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.autospec_paper import PaperTask, anchor_weights, chebyshev_layers, layer_losses, layer_polynomials
from nnla.training.config import load_recipe
from nnla.types import SpectralProbe

torch = pytest.importorskip("torch")

SMALL = (
    "data.spectra=64", "data.probed=32", "data.probes=2", "data.held_out=16", "data.n_max=120",
    "data.steps_max=40", "optim.batch=32", "optim.log_every=5", "optim.checkpoint_every=10",
    "optim.steps=40", "optim.pretrain=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    task = PaperTask(load_recipe("autospec-cg-paper", SMALL))
    task.prepare(tmp_path_factory.mktemp("data"), lambda *_: None)
    return task


def parameters(network):
    return {key: value.detach().numpy().astype(np.float64) for key, value in network.state_dict().items()}


# -- data ---------------------------------------------------------------------------------------


def test_spectra_have_the_condition_and_sizes_asked_for():
    lam, size = paper_spectra(64, 5, n=(50, 300), condition=(1e2, 1e5))
    again, _ = paper_spectra(64, 5, n=(50, 300), condition=(1e2, 1e5))
    np.testing.assert_array_equal(lam, again)
    assert lam.shape == (64, 300)
    assert 50 <= size.min() < 70
    assert 250 < size.max() <= 300
    assert np.all(np.diff(lam, axis=1) >= 0)
    np.testing.assert_allclose(lam[np.arange(64), size - 1], 1.0)
    kappa = 1 / lam[:, 0]
    assert 1e2 * 0.99 < kappa.min() < 3e2
    assert 3e4 < kappa.max() < 1e5 * 1.01
    assert np.abs(lam - paper_spectra(64, 6, n=(50, 300))[0]).max() > 0.1


def test_exact_inputs_are_five_largest_and_five_smallest_descending(prepared):
    row = prepared.spectra[0]
    exact = prepared.exact[0]
    assert np.all(np.diff(exact) <= 0)
    np.testing.assert_allclose(exact[5:], row[:5][::-1])
    assert exact[0] == 1.0


# -- polynomial and objective -------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(0.003, 1.02), (0.2, 1.0)])
def test_chebyshev_layers_are_chebyshev_at_every_depth(a, b):
    layers = chebyshev_layers(a, b, 10)
    lam = np.linspace(0.0, b, 50)
    for k in range(1, 11):
        np.testing.assert_allclose(Recurrence(*layers[:k].T)(lam), chebyshev(a, b, k + 1)(lam), rtol=1e-9, atol=1e-9)


def test_training_evaluates_the_polynomial_that_the_engine_hands_out():
    rng = np.random.default_rng(0)
    coefficients = chebyshev_layers(0.01, 1.0, 10) + 0.05 * rng.standard_normal((10, 5))
    x = np.linspace(1e-3, 1.0, 40)
    values = layer_polynomials(torch.from_numpy(coefficients)[:, None, :], torch.from_numpy(x)[None])
    for k, value in enumerate(values, start=1):
        expected = Recurrence(*coefficients[:k].T)(x)
        got = value[0].numpy()
        np.testing.assert_allclose(got / np.abs(got).max(), expected / np.abs(expected).max(), atol=1e-11)


def test_network_starts_as_chebyshev_and_passes_ritz_values_through(prepared):
    network = prepared.network()
    lam = np.geomspace(1e-3, 1, 200)
    probe = SpectralProbe(*simulate_lanczos(lam, np.ones(200), 40), 200)
    engine = PaperEngine(prepared.config, parameters(network), {})
    recurrence = engine.recurrence(probe)
    b = probe.upper_bound
    reference = chebyshev(prepared.initial * b, 1.02 * b, 11)
    x = np.linspace(0, b, 60)
    got, expected = recurrence(x) / recurrence(0.0), reference(x) / reference(0.0)
    np.testing.assert_allclose(got, expected, atol=0.05)

    from nnla.models.autospec_paper import embedding, paper_features

    theta = probe.ritz_values
    e = embedding(engine.parameters, paper_features(theta, probe.ritz_residuals, b, 20)[None])[0]
    np.testing.assert_allclose(e, np.concatenate([theta[:-6:-1], theta[4::-1]]) / b, atol=0.05)


def test_objective_is_equation_22_where_the_polynomial_is_positive():
    lam = torch.linspace(0.02, 1.0, 30, dtype=torch.float64)[None]
    coefficients = torch.from_numpy(chebyshev_layers(0.02, 1.02, 10))[:, None, :]
    losses, q = layer_losses(coefficients, lam, struct=5.0, margin=0.0, penalty=0.0)
    x = lam[0].numpy()
    for k in range(1, 11):
        P = chebyshev(0.02, 1.02, k + 1)(x)
        r = 1 - (x * P).min() / (x * P).max()
        expected = np.log(k * np.log(1 - 0.02) / np.log(r)) + r
        expected += 5 / (k + 1) ** 3 * np.log(P.max() / P.min())
        assert float(losses[k - 1]) == pytest.approx(expected, rel=1e-9)
        assert float(q[k - 1, 0]) == pytest.approx(1 - r, rel=1e-9)


def test_indefinite_polynomials_have_finite_losses_and_gradients():
    lam = torch.linspace(0.001, 1.0, 30)[None].expand(4, -1)
    rng = np.random.default_rng(1)
    start = chebyshev_layers(0.01, 1.0, 10)[:, None, :] + rng.standard_normal((10, 4, 5))
    coefficients = torch.from_numpy(start).float().requires_grad_()
    losses, q = layer_losses(coefficients, lam)
    assert bool((q < 0).any())
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert bool(torch.isfinite(coefficients.grad).all())


def test_anchor_moves_from_the_first_to_the_last_layer():
    assert np.argmax(anchor_weights(0, 100, 10)[2:]) == 0  # neighbours 0 and 1 share the largest weight
    assert anchor_weights(0, 100, 10)[0] == anchor_weights(0, 100, 10).max()
    assert anchor_weights(99, 100, 10)[-1] == anchor_weights(99, 100, 10).max()
    assert anchor_weights(55, 100, 10)[5] == pytest.approx(anchor_weights(55, 100, 10)[7] * 4)
    assert anchor_weights(37, 100, 10).sum() == pytest.approx(1.0)


# -- stages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "trained"), [(0, {"W", "b"}), (20, {"W1", "W2", "W3", "W4"})])
def test_each_stage_trains_its_own_parameters_and_lowers_its_loss(prepared, descend, first, trained):
    losses = descend(prepared, first, trained, 2e-3)
    assert losses[-1] < losses[0] - 1e-3


def test_validation_of_the_initial_network(prepared):
    with torch.no_grad():
        figures = prepared.validate(prepared.network())
    assert figures["indefinite"] == figures["indefinite_interval"] == 0.0
    assert figures["gain"] > 5


def test_training_is_deterministic_and_resumes_to_the_same_weights(resumes):
    path = resumes(load_recipe("autospec-cg-paper", SMALL), 15, 35)
    assert PaperEngine.from_file(path).card["envelope"] == {
        "n": [50, 120],
        "degree": [11, 11],
        "condition": [10.0, 1e5],
        "probe_steps": [10, 40],
    }
    rows = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(5, 41, 5))
    assert rows[-1]["val_indefinite"] == 0.0
