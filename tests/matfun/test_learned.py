"""Learned answers in nnla.matfun: checked, replaced where they miss the tolerance, refused where they do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nnla.errors import OptionError, ShapeError, WeightsError
from nnla.matfun import cosm, expm, logm, sqrtm
from nnla.models.matrix_functions import MatrixFunctionEngine
from nnla.problems import function_reference, matrix_family


@dataclass(frozen=True)
class Nothing:
    number: int = 1

    def shapes(self):
        return {"factor": (self.number,)}


class Toy(MatrixFunctionEngine):
    name, functions, sizes, symmetric, equivariant = "toy", ("exp", "sqrt", "log"), (3,), True, False

    def answer(self, A, f):
        X = function_reference(A, f) * self.parameters["factor"][0]
        X[np.trace(A, axis1=1, axis2=2) < 0] = np.nan
        return X


def toy(factor=1.0):
    return Toy(Nothing(), {"factor": np.array([factor])}, {})


A = matrix_family("symmetric", 20, 3, seed=0)
P = matrix_family("definite", 20, 3, seed=0)


def test_what_misses_the_tolerance_is_computed_classically():
    X = expm(A, method="transformer", engine=toy())
    declined = int((np.trace(A, axis1=1, axis2=2) < 0).sum())
    assert X.report.fallbacks == declined > 0
    assert X.report.converged
    assert "schur" in X.report.fallback
    assert X.report.weights == "toy"
    np.testing.assert_allclose(X, expm(A), rtol=1e-9, atol=1e-12 * np.abs(X).max())
    X = sqrtm(P, method="equivariant", engine=toy(1.01))
    assert X.report.fallbacks == 20
    np.testing.assert_allclose(X, sqrtm(P), atol=1e-12)


def test_without_a_fallback_it_says_so():
    report = sqrtm(P, method="transformer", engine=toy(1.01), fallback=False).report
    assert not report.converged
    assert report.status == "guessed"
    assert report.residual == pytest.approx(1.01**2 - 1)
    report = sqrtm(P, method="transformer", engine=toy(1.01), rtol=0.05).report
    assert report.converged
    assert report.fallbacks == 0


def test_units_are_taken_off_for_the_network():
    unit = 4.0**300
    X = logm(unit * P, method="transformer", engine=toy())
    assert X.report.fallbacks == 0
    np.testing.assert_allclose(X, logm(P) + 300 * np.log(4.0) * np.eye(3), rtol=1e-12)
    assert np.array_equal(sqrtm(unit * P, method="transformer", engine=toy()), 2.0**300 * sqrtm(P))


def test_unsymmetric_matrices_and_gradients():
    G = matrix_family("general", 3, 3, seed=1)
    assert expm(G, method="transformer", engine=toy()).report.fallbacks == 3
    t = torch.tensor(P[0], requires_grad=True)
    X = expm(t, method="transformer", engine=toy())
    X.sum().backward()
    other = torch.tensor(P[0], requires_grad=True)
    torch.matrix_exp(other).sum().backward()
    torch.testing.assert_close(t.grad, other.grad)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(OptionError, match="knows exp, sqrt, log, not 'cos'"):
        cosm(A, method="transformer", engine=toy())
    with pytest.raises(ShapeError, match="knows n = 3, not 4"):
        expm(np.eye(4), method="transformer", engine=toy())
    with pytest.raises(OptionError, match="no task"):
        expm(A, method="transformer", engine=object())
    monkeypatch.setattr("nnla.matfun.run.MATRIX_FUNCTION_WEIGHTS", {"transformer exp": "matfun-regression-entire"})
    with pytest.raises(WeightsError, match="engine="):
        cosm(A, method="transformer")
