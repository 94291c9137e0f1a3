"""The task of engine B: deterministic data, a run that ends in weights that load, and a network worth its place."""

import numpy as np
import pytest

import nnla
from nnla.models.autospec_tail import TailEngine
from nnla.training.autospec_tail import heavy_tail_spectrum, tail_examples
from nnla.training.config import load_recipe
from nnla.training.loop import train

_SMALL = [
    "data.spectra=8",
    "data.held_out=4",
    "data.nodes=120",
    "data.maxiter=60",
    "optim.steps=20",
    "optim.log_every=10",
]


def test_spectra_have_outliers_above_a_spectrum():
    for seed in range(10):
        s = heavy_tail_spectrum(np.random.default_rng(seed), 200)
        assert s.lam[-1] == 1.0
        assert np.all(np.diff(s.lam) >= 0)
        assert np.all(s.weight > 0)
        assert s.weight.sum() == pytest.approx(s.n)
        assert s.measure.sum() == pytest.approx(s.n)


def test_examples_are_a_function_of_their_arguments():
    data = load_recipe("autospec-tail", _SMALL)["data"]
    one, same, other = (tail_examples(0, i, 2, data) for i in (0, 0, 1))
    np.testing.assert_array_equal(one["features"], same["features"])
    assert not np.array_equal(one["features"], other["features"])
    assert one["features"].shape[:2] == one["ratio"].shape
    used = np.isfinite(one["ratio"])
    assert used.any(axis=1).all()
    assert np.all(one["features"][~used & (one["features"] == 0).all(axis=-1)] == 0)


def test_a_small_run_ends_in_weights_that_load(tmp_path):
    pytest.importorskip("torch")
    path = train(load_recipe("autospec-tail", _SMALL), tmp_path / "run")
    engine = nnla.load(str(path))
    assert isinstance(engine, TailEngine)
    assert {"ratio", "ratio_formula", "ratio_best"} <= set(engine.card["validation"])


def test_the_shipped_network_is_no_worse_than_the_formula_on_held_out_spectra():
    figures = nnla.load("autospec-tail").card["validation"]
    assert figures["ratio_best"] <= figures["ratio"] <= figures["ratio_formula"]
