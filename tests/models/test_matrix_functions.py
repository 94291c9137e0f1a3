"""What all models of dense matrix functions share: what they take, what they decline."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import DTypeError, OptionError, ShapeError

torch = pytest.importorskip("torch")

MODELS = ("matfun-equivariant", "matfun-regression-entire")
A = nnla.problems.matrix_family("symmetric", 3, 4, seed=5, scale=1.0)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest):
    return nnla.load(request.param)


def test_integers_and_lists_are_numbers(model):
    B = np.array([[1, 0, -1, 0], [0, -1, 1, 0], [-1, 1, 0, 1], [0, 0, 1, 0]])
    right = model.function(B.astype(float), "exp")
    assert np.isfinite(right).all()
    for given in (B, B.tolist(), torch.tensor(B)):
        np.testing.assert_allclose(np.asarray(model.function(given, "exp")), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [A * 1j, A > 0, torch.tensor(A * 1j), torch.eye(4).to_sparse(), [["x"]]], ids=str)
def test_what_are_no_real_numbers_is_refused(model, bad):
    with pytest.raises(DTypeError):
        model.function(bad, "exp")


def test_other_sizes_and_functions_are_refused(model):
    with pytest.raises(ShapeError, match="knows n"):
        model.function(np.eye(40), "exp")
    with pytest.raises(ShapeError, match="square"):
        model.function(np.ones((2, 3)), "exp")
    with pytest.raises(OptionError, match="not 'tan'"):
        model.function(A, "tan")


def test_unsymmetric_matrices_are_declined_alone(model):
    mixed = A.copy()
    mixed[1, 0, 3] += 0.5
    found = model.function(mixed, "exp")
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    again = model.function(torch.tensor(mixed, requires_grad=True), "exp")
    assert torch.isnan(again[1]).all()
    assert not again.requires_grad
