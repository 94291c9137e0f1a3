"""Training of the equivariant surrogate: spectra, labels, resume, and what a short run learns."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError
from nnla.problems import function_reference, matrix_family
from nnla.training.config import load_recipe
from nnla.training.equivariant import EquivariantTask, drawn_spectra, examples

pytest.importorskip("torch")


def short(steps=24):
    recipe = load_recipe("matfun-equivariant")
    recipe["data"] |= {"count": 6, "largest": 5}
    recipe["model"] |= {"hidden": 6, "largest": 5}
    recipe["optim"] |= {"steps": steps, "batch": 64, "checkpoint_every": 12, "log_every": 12}
    return recipe


@pytest.mark.parametrize("head", ["exp", "sign", "definite"])
def test_labels_are_what_the_spectrum_says(head):
    values = drawn_spectra(head, 20, 6, np.random.default_rng(0), 1e4)
    x, y = examples(head, values)
    again = examples(head, 1e6 * drawn_spectra(head, 20, 6, np.random.default_rng(0), 1e4))
    np.testing.assert_allclose(x, again[0], atol=1e-9)
    assert x.shape == (100, 8)
    assert np.isfinite(x).all()
    assert (y <= 1e-12).all()
    if head == "sign":
        size = np.abs(values)
        assert (size.min(-1) >= size.max(-1) / 301).all()
    if head == "definite":
        assert (values > 0).all()


def test_resumes_and_learns(resumes):
    path = resumes(short(), 12)
    model = nnla.load(path)
    A = matrix_family("definite", 30, 4, seed=0, condition=30.0)
    X, products = model.counted(A, "inv_sqrt")
    exact = function_reference(A, "inv_sqrt")
    assert np.abs(X - exact).max() < 1e-5 * np.abs(exact).max()
    assert products.mean() < 60
    assert model.card["drawn"]["sign"]["gap"] == 0.01


def test_a_quantile_is_between_0_and_1():
    recipe = short()
    recipe["objective"]["exp"] = 1.0
    with pytest.raises(OptionError, match="quantile"):
        EquivariantTask(recipe)
