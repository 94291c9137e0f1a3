"""Training of the paper's engine for eigenproblems: spectra, objective, stages, determinism, resume."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.models.autospec_eig_paper import EigPaperEngine
from nnla.polynomials.recurrence import Recurrence
from nnla.problems.filter_spectra import filter_spectra
from nnla.training.autospec_eig_paper import EigPaperTask, exact_embedding, filter_layers, separation_losses
from nnla.training.config import load_recipe
from nnla.training.loop import train

torch = pytest.importorskip("torch")

SMALL = (
    "data.spectra=64", "data.probed=24", "data.probes=2", "data.held_out=16", "data.restarts_max=4",
    "data.iterations_max=30", "optim.batch=16", "optim.log_every=5", "optim.checkpoint_every=10",
    "optim.steps=40", "optim.pretrain=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    task = EigPaperTask(load_recipe("autospec-eig-paper", SMALL))
    task.prepare(tmp_path_factory.mktemp("data"), lambda *_: None)
    return task


# -- data ---------------------------------------------------------------------------------------


def test_spectra_are_descending_with_a_cut_that_separates():
    s = filter_spectra(40, 3, gap=(1e-3, 0.5))
    again = filter_spectra(40, 3, gap=(1e-3, 0.5))
    for name in ("x", "multiplicity", "k", "cut"):
        one, two = getattr(s, name), getattr(again, name)
        np.testing.assert_array_equal(one, two)
    assert np.all(np.diff(s.x, axis=1) <= 0)
    assert s.x.min() >= 0
    np.testing.assert_array_equal(s.x[:, 0], 1.0)
    rows = np.arange(40)
    gap = 1 - s.x[rows, s.cut - 1] / s.x[rows, s.k - 1]
    assert gap.min() >= 1e-3
    assert gap.max() <= 0.5
    assert s.cut.min() >= 20
    assert s.cut.max() <= 100
    assert np.all(s.k <= s.cut / 1.5)
    assert np.all(s.multiplicity[:, :90] == 1)
    assert s.multiplicity.sum(axis=1).max() > 1000
    assert np.abs(s.x - filter_spectra(40, 4, gap=(1e-3, 0.5)).x).max() > 0.1
    with pytest.raises(ValueError, match="at least 260 nodes"):
        filter_spectra(1, 0, subspace=(20, 130))


def test_probes_have_windows_of_valid_sizes(prepared):
    part = prepared.train
    assert part["window"].shape == (24, 2, 208)
    assert np.all(np.isfinite(part["window"]))
    rows = np.arange(24)
    for j in range(2):
        k, cut = part["k"], part["l"][:, j]
        assert np.all((cut > k) & (cut <= 100))
        assert np.all(part["x"][rows, k - 1] > part["x"][rows, cut - 1])
        # wanted Ritz values are descending and do not exceed the eigenvalues
        values = part["window"][:, j, :104] * part["scale"][:, j, None]
        assert np.all(np.diff(values, axis=1) <= 1e-6)
        assert np.all(values[:, 9] <= part["x"][rows, k - 1] + 1e-5)


def test_exact_embedding_is_the_kth_and_the_last_four():
    x = np.linspace(1, 0, 101)[None]
    e = exact_embedding(x, np.array([10]), np.array([40]), 4)
    np.testing.assert_allclose(e, [[x[0, 9], *x[0, 36:40]]])


# -- objective ----------------------------------------------------------------------------------


def constant(cut: float) -> torch.Tensor:
    bias, slope = filter_layers(cut, 20)
    layer = bias + cut * slope
    return torch.from_numpy(np.concatenate([layer[:, :1], layer[:, 1:5] / layer[:, 5:]], axis=1))[:, None]


def test_objective_is_the_logarithm_of_equation_17_where_the_filter_separates():
    x = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)[None]
    k, cut = torch.tensor([10]), torch.tensor([40])
    coefficients = constant(0.61)  # x_40 = 0.61
    losses, gain = separation_losses(coefficients, x, k, cut, floor=1e-3, hinge=0.0)
    values = x[0].numpy()
    for layer in (1, 5, 20):
        P = np.abs(Recurrence(*coefficients[:layer, 0].numpy().T)(values))
        r = P[:10].min() / np.sort(P)[::-1][39]  # (14): the 40-th largest
        baseline = (layer + 1) * np.log(values[9] / values[39])
        # the objective takes the maximum over [0, x_l], of which the eigenvalues only see samples
        assert float(gain[layer - 1, 0]) == pytest.approx(np.log(r) / baseline, rel=2e-2)
        assert float(losses[layer - 1]) == pytest.approx(-np.log(float(gain[layer - 1, 0])), rel=1e-9)


def test_filters_that_fail_have_finite_losses_and_gradients():
    x = torch.linspace(1.0, 0.0, 101)[None].expand(4, -1)
    rng = np.random.default_rng(1)
    start = 3 * rng.standard_normal((20, 4, 5))
    coefficients = torch.from_numpy(start).float().requires_grad_()
    k, cut = torch.full((4,), 10), torch.full((4,), 40)
    losses, gain = separation_losses(coefficients, x, k, cut)
    assert bool((gain < 0).any())
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert bool(torch.isfinite(coefficients.grad).all())


# -- stages ---------------------------------------------------------------------------------------


def test_the_start_is_as_good_as_chebyshev_for_known_eigenvalues(prepared):
    with torch.no_grad():
        figures = prepared.validate(prepared.network())
    assert figures["backbone"] > 0.8 * figures["chebyshev"] > 8
    assert figures["gain"] > 3
    assert figures["worse"] < 0.1


@pytest.mark.parametrize(("first", "trained"), [(0, {"W", "b"}), (20, {"W1", "W2", "W3", "W4"})])
def test_each_stage_trains_its_own_parameters_and_lowers_its_loss(prepared, descend, first, trained):
    network = prepared.network()
    with torch.no_grad():  # the start is too good for twelve steps to improve on
        network.b += 0.05 * torch.randn(network.b.shape, generator=torch.Generator().manual_seed(0))
    losses = descend(prepared, first, trained, 1e-3, network)
    assert min(losses[6:]) < losses[0] - 1e-3


def test_training_is_deterministic_and_resumes_to_the_same_weights(resumes):
    engine = EigPaperEngine.from_file(resumes(load_recipe("autospec-eig-paper", SMALL), 15, 35))
    assert engine.card["envelope"]["wanted"] == [2, 40]
    assert engine.card["validation"]["gain"] > 1


def test_training_goes_on_from_an_engine_with_layers_appended(tmp_path):
    path = train(load_recipe("autospec-eig-paper", SMALL), tmp_path / "short")
    more = (*SMALL, "model.degree=25", f"model.start={path}")
    task = EigPaperTask(load_recipe("autospec-eig-paper", more))
    task.prepare(tmp_path / "data", lambda *_: None)
    short = EigPaperEngine.from_file(path)
    with torch.no_grad():
        longer = {key: value.numpy() for key, value in task.parameters(task.network()).items()}
    for key in ("W1", "W2", "W3", "W4"):
        np.testing.assert_allclose(longer[key], short.parameters[key], rtol=1e-6)
    np.testing.assert_allclose(longer["W"][:19], short.parameters["W"][:19], rtol=1e-6)
    assert longer["W"].shape[0] == 24
    weights = train(load_recipe("autospec-eig-paper", more), tmp_path / "longer")
    assert EigPaperEngine.from_file(weights).config.degree == 25
    for wrong, message in ((("model.start=autospec-cg",), "no engine for eig"), ((*more, "model.degree=11"), "cannot")):
        with pytest.raises(OptionError, match=message):
            EigPaperTask(load_recipe("autospec-eig-paper", wrong))
