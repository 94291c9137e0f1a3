"""Derivatives of f(A): against finite differences, twice, in batches, and where eigenvalues coincide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nnla
from nnla.errors import GradientError
from nnla.matfun.frechet import divided_differences, frechet
from nnla.matfun.options import FUNCTIONS

NAMES = {"exp": "expm", "log": "logm", "sqrt": "sqrtm", "sign": "signm", "sin": "sinm", "cos": "cosm"}
NAMES["inv_sqrt"] = "inv_sqrtm"
rng = np.random.default_rng(2)
G = rng.standard_normal((2, 3, 3))


def call(f):
    return getattr(nnla.matfun, NAMES[f])


def matrices(f, symmetric):
    if not symmetric:
        return 0.3 * G + np.diag([1.0, 2.0, 3.0])
    return G @ G.swapaxes(-1, -2) + 0.5 * np.eye(3) if f in ("log", "sqrt", "inv_sqrt") else G + G.swapaxes(-1, -2)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_against_finite_differences_twice(f, symmetric):
    A = torch.tensor(matrices(f, symmetric), requires_grad=True)
    assert torch.autograd.gradcheck(call(f), (A,), atol=1e-5)
    one = A.detach()[:1].requires_grad_()
    assert torch.autograd.gradgradcheck(call(f), (one,), atol=1e-4, rtol=1e-3, nondet_tol=1e-9)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_equal_and_close_eigenvalues(f):
    """At a multiple of I the derivative is f' E; close to it no digits are lost."""
    derivative = {"exp": np.exp, "log": lambda x: 1 / x, "sqrt": lambda x: 0.5 / np.sqrt(x), "sign": lambda x: 0.0}
    derivative |= {"sin": np.cos, "cos": lambda x: -np.sin(x), "inv_sqrt": lambda x: -0.5 * x**-1.5}
    E = G[:1]
    found = frechet(2.0 * np.eye(3)[None], E, f)
    np.testing.assert_allclose(found, derivative[f](2.0) * E, atol=1e-14)
    for gap in (1e-12, 1e-8, 1e-4, 1e-3, 0.1, 1.0):
        w = np.array([[2.0, 2.0 + gap]])
        slope = divided_differences(f, w)[0, 0, 1]
        middle = derivative[f](2.0 + gap / 2)
        assert slope == pytest.approx(middle, rel=gap**2 + 1e-14)


def test_wide_eigenvalues_do_not_overflow():
    found = divided_differences("exp", np.array([[-900.0, 700.0]]))[0]
    assert found[0, 1] == pytest.approx(np.exp(700.0) / 1600, rel=1e-14)
    assert found[0, 0] == 0.0
    assert divided_differences("log", np.array([[1e-200, 1.0]]))[0, 0, 1] == pytest.approx(np.log(1e200), rel=1e-14)


def test_dtype_report_and_no_gradient_without_asking():
    A = torch.tensor(matrices("exp", True), dtype=torch.float32, requires_grad=True)
    X = nnla.matfun.expm(A)
    assert X.requires_grad
    assert X.report.converged
    X.sum().backward()
    assert A.grad.dtype == torch.float32
    assert not nnla.matfun.expm(A.detach()).requires_grad
    with torch.no_grad():
        assert not nnla.matfun.expm(A).requires_grad


def test_no_derivative_of_a_root_at_a_singular_matrix():
    A = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64)).requires_grad_()
    with pytest.raises(GradientError, match="eigenvalue is 0"):
        nnla.matfun.sqrtm(A).sum().backward()


def test_a_matrix_that_nothing_depends_on_needs_no_derivative():
    A = torch.tensor(np.array([np.eye(2), np.diag([1.0, -1.0])]), requires_grad=True)
    X = nnla.matfun.sqrtm(A, undefined="nan")
    X[0].sum().backward()
    assert torch.equal(A.grad[1], torch.zeros(2, 2))
    torch.testing.assert_close(A.grad[0], torch.full((2, 2), 0.5, dtype=torch.float64))
