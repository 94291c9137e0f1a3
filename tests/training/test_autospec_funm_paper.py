"""Training of the paper's engine for the inverse square root: start, objective, stages, resume."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.models.autospec_funm_paper import FunmPaperEngine
from nnla.polynomials.recurrence import Recurrence
from nnla.training.autospec_funm_paper import (
    FunmPaperTask,
    final_polynomial,
    interpolant_layers,
    inverse_root_losses,
    neumann_error,
)
from nnla.training.config import load_recipe

torch = pytest.importorskip("torch")

SMALL = (
    "data.spectra=64", "data.probed=32", "data.probes=2", "data.held_out=16", "data.n_max=120",
    "data.steps_max=40", "optim.batch=32", "optim.log_every=5", "optim.checkpoint_every=10",
    "optim.steps=40", "optim.pretrain=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    task = FunmPaperTask(load_recipe("autospec-funm-paper", SMALL))
    task.prepare(tmp_path_factory.mktemp("data"), lambda *_: None)
    return task


@pytest.mark.parametrize("layers", [2, 5, 20])
def test_start_is_the_chebyshev_interpolant(layers):
    P = Recurrence(*interpolant_layers(0.05, 1.02, layers).T)
    known = Recurrence.from_function(lambda x: x**-0.5, 0.05, 1.02, layers + 1)
    x = np.linspace(0.03, 1.05, 40)
    assert P.degree == layers + 1
    np.testing.assert_allclose(P(x), known(x), rtol=1e-9)


def test_training_evaluates_the_polynomial_that_the_engine_hands_out():
    coefficients = interpolant_layers(0.05, 1.02, 20) + 0.01 * np.random.default_rng(0).standard_normal((20, 5))
    x = np.linspace(0.05, 1.0, 40)
    values = final_polynomial(torch.from_numpy(coefficients)[:, None, :], torch.from_numpy(x)[None])
    np.testing.assert_allclose(values[0].numpy(), Recurrence(*coefficients.T)(x), rtol=1e-9)


def test_neumann_error_is_the_taylor_series_at_one():
    lam = np.array([0.5, 0.1, 0.01])
    from math import comb

    series = sum(comb(2 * j, j) / 4**j * (1 - lam) ** j for j in range(22))
    np.testing.assert_allclose(neumann_error(lam, 21), 1 - series * np.sqrt(lam), rtol=1e-9)


def test_objective_is_the_logarithm_of_equation_25():
    lam = torch.linspace(0.02, 1.0, 300, dtype=torch.float64)[None]
    coefficients = torch.from_numpy(interpolant_layers(0.05, 1.02, 20))[:, None, :]
    losses, error = inverse_root_losses(coefficients, lam)
    x = lam[0].numpy()
    r = np.abs(1 - Recurrence(*coefficients[:, 0].numpy().T)(x) * np.sqrt(x)).max()
    neumann = neumann_error(np.array([0.02]), 21)[0]
    assert float(error[0]) == pytest.approx(r, rel=1e-6)
    assert float(losses[0]) == pytest.approx(np.log(np.log(neumann) / np.log(r)) + r, rel=1e-6)


def test_polynomials_that_fail_have_finite_losses_and_gradients():
    lam = torch.linspace(0.001, 1.0, 30)[None].expand(4, -1)
    coefficients = (2 * torch.randn((20, 4, 5), generator=torch.Generator().manual_seed(0))).requires_grad_()
    losses, error = inverse_root_losses(coefficients, lam)
    assert bool((error > 1).any())
    losses.sum().backward()
    assert bool(torch.isfinite(losses).all())
    assert bool(torch.isfinite(coefficients.grad).all())


@pytest.mark.parametrize(("first", "trained"), [(0, {"W", "b"}), (20, {"W1", "W2", "W3", "W4"})])
def test_each_stage_trains_its_own_parameters_and_lowers_its_loss(prepared, descend, first, trained):
    losses = descend(prepared, first, trained, 3e-4)
    assert min(losses[6:]) < losses[0] - 1e-3


def test_training_is_deterministic_and_resumes_to_the_same_weights(resumes):
    engine = FunmPaperEngine.from_file(resumes(load_recipe("autospec-funm-paper", SMALL), 25))
    assert engine.card["envelope"]["degree"] == [21, 21]
    assert engine.card["validation"]["error"] < 0.5
