"""The paper's engine for the inverse square root: scale by b, degree, files, bad inputs."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.models.autospec_funm_paper import FunmPaperEngine
from nnla.models.autospec_paper import PaperConfig
from nnla.registry import load
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.autospec_funm_paper import interpolant_layers
from nnla.types import SpectralProbe

CONFIG = PaperConfig(degree=21)


@pytest.fixture
def engine() -> FunmPaperEngine:
    """Weights zero: the interpolant on [0.05, 1.02] b whatever the probe."""
    parameters = {key: np.zeros(shape) for key, shape in CONFIG.shapes().items()}
    parameters["b"][:, 0, :5] = interpolant_layers(0.05, 1.02, 20)
    parameters["b"][:, 0, 5] = 1.0
    return FunmPaperEngine(CONFIG, parameters, {"name": "test"})


def make_probe(scale: float = 1.0, steps: int = 40) -> SpectralProbe:
    lam = scale * np.linspace(0.06, 1.0, 200)
    return SpectralProbe(*simulate_lanczos(lam, np.ones(200), steps), 200)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 370.0])
def test_recurrence_is_the_inverse_root_of_the_operator_itself(engine, scale):
    P = engine.recurrence(make_probe(scale))
    lam = scale * np.linspace(0.06, 1.0, 50)
    assert P.degree == P.products == 21
    np.testing.assert_allclose(P(lam) * np.sqrt(lam), 1.0, atol=1e-3)
    assert P.rho[-1] == 0


def test_applied_to_a_matrix(engine):
    A = np.diag(np.linspace(6.0, 100.0, 80))
    v = np.random.default_rng(0).standard_normal((80, 3))
    found = engine.recurrence(make_probe(100.0)).apply(A, v)
    np.testing.assert_allclose(found, v / np.sqrt(np.diag(A))[:, None], rtol=1e-3, atol=1e-4)


def test_save_and_load(engine, tmp_path):
    path = tmp_path / "funm.safetensors"
    engine.save(path)
    again = load(path)
    assert isinstance(again, FunmPaperEngine)
    assert again.config == engine.config
    assert "degree=21" in repr(again)


def test_bad_inputs(engine):
    with pytest.raises(OptionError, match="degree 21 only, got 11"):
        engine.recurrence(make_probe(), degree=11)
    for alpha in ([1.0, -1.0], [1.0, 0.25]):  # indefinite; singular
        with pytest.raises(NotPositiveDefiniteError, match="multiple of the identity"):
            engine.recurrence(SpectralProbe(alpha, [0.5, 0.1], 10))
