"""Training of the engine for eigenproblems: virtual spectra, examples, resume."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.models.autospec_eig import AutoSpecEigEngine, EigConfig
from nnla.training.autospec_eig import eig_examples, virtual_window
from nnla.training.config import load_recipe

torch = pytest.importorskip("torch")


def test_virtual_windows_are_spectra():
    for seed in range(60):
        lam, weight, n = virtual_window(np.random.default_rng(seed))
        assert lam.shape == weight.shape
        assert lam[0] == 0
        assert lam[-1] == pytest.approx(1.0)
        assert np.all(np.diff(lam) >= 0)
        assert weight.sum() == pytest.approx(n)
        assert weight.min() > 0


def test_examples_are_a_function_of_their_arguments():
    config = EigConfig()
    first, second = (eig_examples(3, 0, 2, config) for _ in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert first["features"].shape == (2, config.features)
    assert first["curve"].shape == (2, config.candidates)
    assert np.all(np.isfinite(first["features"]))
    assert np.all(first["curve"] - first["curve"].min(axis=1, keepdims=True) <= 0.7 + 1e-6)


def test_an_interrupted_run_continues_to_the_same_weights(resumes):
    small = ["data.spectra=4", "data.held_out=2", "optim.batch=8", "optim.log_every=2", "optim.checkpoint_every=4"]
    path = resumes(load_recipe("autospec-eig", [*small, "optim.steps=8"]), 5)
    assert AutoSpecEigEngine.from_file(path).envelope["k"][0] >= 2
