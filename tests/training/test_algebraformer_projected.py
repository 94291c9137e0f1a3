"""The task trains, goes on after an interruption to the same weights, and writes an engine that works."""

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems.bvp import bvp_systems
from nnla.training.config import load_recipe

pytest.importorskip("torch")
from nnla.models.algebraformer_projected import ProjectedEngine
from nnla.training.algebraformer_projected import ProjectedTask
from nnla.training.loop import train

SMALL = ["data.samples=120", "data.held_out=4", "optim.steps=4", "optim.checkpoint_every=2", "optim.batch=4"]


def recipe(*changes):
    found = load_recipe("algebraformer-bvp", [*SMALL, *changes])
    found["data"] |= {"sizes": {"8": 1.0}, "equations": {"rough": 1.0, "advection": 1.0}}
    return found


def test_trains_and_resumes_to_the_same_weights(tmp_path):
    first = ProjectedEngine.from_file(train(recipe(), tmp_path / "a"))
    again = ProjectedEngine.from_file(train(recipe(), tmp_path / "b"))
    for key, value in first.parameters.items():
        np.testing.assert_array_equal(value, again.parameters[key])
    assert np.abs(first.parameters["stretch"]).max() > 0
    systems = bvp_systems(4, equation="rough", n=8, seed=3)
    x, report = first.solve(systems.A, systems.b)
    assert np.allclose(x, systems.x, rtol=1e-8)
    assert report.inside == [True] * 4
    assert first.envelope["noise in A"] == "entrywise, 1e-06 to 0.3"


def test_too_few_samples_are_named(tmp_path):
    with pytest.raises(OptionError, match=r"data\.samples=5"):
        ProjectedTask(recipe("data.samples=5")).prepare(tmp_path, lambda *_: None)
