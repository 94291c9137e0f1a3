"""Training of the engine for matrix functions: data are a function of the seed, and a short run learns something."""

import json

import numpy as np
import pytest

from nnla.models.autospec_fun import CANDIDATES, FunConfig
from nnla.problems.covariances import sample_covariance
from nnla.registry import load
from nnla.training.autospec_fun import example_chunk, whitening_error
from nnla.training.config import load_recipe
from nnla.training.loop import train

SMALL = ["data.spectra=3", "data.held_out=2", "optim.steps=20", "optim.checkpoint_every=10", "data.nodes=80"]


def test_spectra_are_normalised_and_repeat():
    for seed in range(50):
        s, again = (sample_covariance(np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(s.lam, again.lam)
        assert s.lam[-1] == 1
        assert 0 < s.lam[0] <= s.lam[-1]
        assert (np.diff(s.lam) >= 0).all()
        assert np.isfinite(s.weight).all()
        assert (s.weight > 0).all()


def test_whitening_error_is_that_of_the_definition():
    lam = np.array([0.5, 1.0])
    assert whitening_error(lambda x: 1 + 0 * x, lam) == 0.5
    assert whitening_error(lambda x: x**-0.5, lam) < 1e-15
    assert whitening_error(lambda x: 1e200 + 0 * x, lam) == np.inf


def test_examples_are_a_function_of_the_arguments():
    data = load_recipe("autospec-invsqrt", SMALL)["data"]
    one, two = (example_chunk(3, 1, 1, FunConfig(), data) for _ in range(2))
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert one["error"].shape[1] == len(CANDIDATES)
    assert (one["error"].min(axis=1) > 0).all()


def test_a_short_run_gives_weights_that_load(tmp_path):
    pytest.importorskip("torch")
    path = train(load_recipe("autospec-invsqrt", SMALL), tmp_path / "run")
    engine = load(path)
    assert engine.card["name"] == "autospec-invsqrt"
    assert engine.envelope["degree"][1] <= 48
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["val_above_best"] >= 1
