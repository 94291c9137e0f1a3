"""nnla.matfun.expm and its sisters: answers, units, refusals, reports."""

from __future__ import annotations

import json
from typing import cast

import numpy as np
import pytest
import scipy.linalg
import torch

import nnla
from nnla.errors import (
    DTypeError,
    NNLAError,
    NonFiniteError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    OptionError,
    ShapeError,
    WeightsError,
)
from nnla.matfun import MatfunReport, cosm, expm, inv_sqrtm, logm, signm, sinm, sqrtm

rng = np.random.default_rng(0)
G = rng.standard_normal((2, 3, 5, 5))
S = (G + G.swapaxes(-1, -2)) / 2
P = G @ G.swapaxes(-1, -2) + 0.1 * np.eye(5)
T = np.triu(G, 1) + np.diag(np.arange(1.0, 6.0))  # general, with positive eigenvalues
EYE = np.eye(5)
SCIPY = {
    expm: scipy.linalg.expm,
    logm: scipy.linalg.logm,
    sqrtm: scipy.linalg.sqrtm,
    inv_sqrtm: lambda A: np.linalg.inv(scipy.linalg.sqrtm(A)),
    signm: scipy.linalg.signm,
    sinm: scipy.linalg.sinm,
    cosm: scipy.linalg.cosm,
}


def reference(f, A):
    return np.array([SCIPY[f](M) for M in A.reshape(-1, *A.shape[-2:])]).reshape(A.shape)


@pytest.mark.parametrize("f", SCIPY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["symmetric", "general"])
def test_is_what_scipy_computes(f, kind):
    definite = f in (logm, sqrtm, inv_sqrtm)
    A = (P if definite else S) if kind == "symmetric" else (T if definite else G)
    kept = A.copy()
    X = f(A)
    assert np.array_equal(A, kept)
    assert X.shape == A.shape
    assert X.report.converged
    assert X.report.residual < 1e-11
    assert X.report.symmetric == (6 if kind == "symmetric" else 0)
    np.testing.assert_allclose(X, reference(f, A), rtol=1e-8, atol=1e-10)
    tensor = f(torch.from_numpy(A.astype(np.float32)))
    assert tensor.dtype == torch.float32
    assert tensor.report.converged
    np.testing.assert_allclose(tensor.numpy(), X, rtol=2e-3, atol=2e-4 * np.abs(X).max())


@pytest.mark.parametrize("exponent", [-250, -80, 80, 250])
def test_any_unit(exponent):
    """Even powers of 2 alone: what is right in one unit is right in another, to the last digit."""
    k = int(exponent / np.log10(4))
    unit = 4.0**k
    assert np.array_equal(sqrtm(unit * P), 2.0**k * sqrtm(P))
    assert np.array_equal(inv_sqrtm(unit * P), 2.0**-k * inv_sqrtm(P))
    assert np.array_equal(signm(unit * S), signm(S))
    np.testing.assert_allclose(logm(unit * P), logm(P) + k * np.log(4.0) * EYE, atol=1e-12 * abs(k))
    for f in (sqrtm, inv_sqrtm, logm):
        assert f(unit * P).report.converged
    if exponent < 0:
        np.testing.assert_allclose(expm(unit * S), np.broadcast_to(EYE, S.shape), atol=1e-14)
        assert sinm(unit * S).report.converged


def test_polynomials():
    for f, A in ((expm, S), (cosm, S), (sqrtm, P)):
        X = f(A[0], method="polynomial")
        assert X.report.converged
        assert X.report.fallbacks == 0
        np.testing.assert_allclose(X, f(A[0]), atol=1e-5 * np.abs(X).max())
    with pytest.raises(NotSymmetricError, match=r"A\[0, 0\] is not symmetric"):
        expm(G, method="polynomial")


def test_is_both_a_module_and_a_function():
    assert nnla.matfun.expm is expm
    assert nnla.matfun.__name__ == "nnla.matfun"
    np.testing.assert_allclose(nnla.matfun(P[0, 0], "sqrt"), sqrtm(P[0, 0]), atol=1e-12)
    with pytest.raises(OptionError, match="unknown function"):
        nnla.matfun(P[0, 0], "nothing")


BAD = np.diag([1.0, -2.0])
REFUSED = [
    (lambda: expm([[800.0]]), NonFiniteError, "A has the eigenvalue 800"),
    (lambda: expm(np.array([[100.0]], dtype=np.float32)), NonFiniteError, "beyond the range of float32"),
    (lambda: cosm([[0.0, 800.0], [-800.0, 0.0]]), NonFiniteError, "cos A leaves the range"),
    (lambda: logm([[[1.0]], [[-1.0]]]), NotPositiveDefiniteError, r"A\[1\] has the eigenvalue -1: log needs"),
    (lambda: logm(np.zeros((2, 2))), NotPositiveDefiniteError, "eigenvalue 0"),
    (lambda: logm([[-1.0, 1.0], [0.0, 2.0]]), NotPositiveDefiniteError, "negative real axis"),
    (lambda: sqrtm(BAD), NotPositiveDefiniteError, "eigenvalue -2"),
    (lambda: sqrtm([[0.0, 1.0], [0.0, 0.0]]), NotPositiveDefiniteError, "off 0, where"),
    (lambda: inv_sqrtm(np.diag([1.0, 0.0])), NotPositiveDefiniteError, "ridge"),
    (lambda: signm(np.diag([1.0, 0.0])), OptionError, "sign is not defined"),
    (lambda: signm([[0.0, 1.0], [-1.0, 0.0]]), OptionError, "imaginary axis"),
    (lambda: expm(S + 1j), DTypeError, "complex"),
    (lambda: expm(S > 0), DTypeError, "astype"),
    (lambda: expm("A"), NNLAError, "A"),
    (lambda: expm([[1.0, np.nan], [0.0, 1.0]]), NonFiniteError, "row 0, column 1"),
    (lambda: expm(np.ones((2, 3))), ShapeError, "square"),
    (lambda: expm(np.ones((3, 0, 0))), ShapeError, "empty"),
    (lambda: expm(1.0), ShapeError, "square"),
    (lambda: expm(S, method="magic"), OptionError, "schur"),
    (lambda: expm(S, rtol=0), OptionError, "between 0 and 1"),
    (lambda: expm(S, fallback=cast(bool, 1)), OptionError, "True or False"),
    (lambda: expm(S, undefined="ignore"), OptionError, "'nan'"),
    (lambda: expm(S, engine="autospec-cg"), OptionError, "no effect"),
    (lambda: expm(S, method="transformer", engine="autospec-cg"), OptionError, "linear systems"),
    (lambda: expm(S, method="equivariant", engine="no such model"), WeightsError, "no model"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals_name_the_matrix_and_the_remedy(number):
    call, kind, text = REFUSED[number]
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_nan_for_what_has_no_answer():
    A = np.array([np.eye(2), BAD, 4 * np.eye(2)])
    X = sqrtm(A, undefined="nan")
    assert np.array_equal(X[[0, 2]], np.sqrt(A[[0, 2]]))
    assert np.isnan(X[1]).all()
    report = X.report
    assert report.undefined == [1]
    assert report.converged_each == [True, False, True]
    assert not report.converged
    assert report.status == "breakdown"
    assert MatfunReport.from_json(report.to_json()).undefined == [1]
    assert json.loads(report.to_json())["residuals"][1] is None


def test_a_semidefinite_matrix_has_a_root():
    v = rng.standard_normal((6, 2))
    A = v @ v.T
    X = sqrtm(A)
    assert X.report.converged
    np.testing.assert_allclose(X @ X, A, atol=1e-13)
    assert np.array_equal(sqrtm(np.zeros((3, 3))), np.zeros((3, 3)))
    assert sqrtm(np.zeros((3, 3))).report.converged


def test_not_converged_is_said():
    """An inverse root of condition 1e13 is not known to 1e-6 in float64."""
    Q = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    report = inv_sqrtm((Q * np.geomspace(1e-13, 1.0, 8)) @ Q.T).report
    assert not report.converged
    assert report.status == "rounding"
    assert "rounding" in repr(report)
    assert not sinm(1e18 * S[0, 0]).report.converged  # eigenvalues are not known to a period


def test_empty_batches_and_small_ones():
    assert expm(np.ones((0, 3, 3))).report.converged
    assert expm(np.ones((0, 3, 3))).shape == (0, 3, 3)
    assert logm([[2]]).tolist() == [[np.log(2.0)]]
    assert type(expm(S) + 1) is np.ndarray
    assert type(expm(S)[0]) is not np.ndarray or not hasattr(expm(S)[0], "report")


def test_half_precision_is_computed_wide():
    A = torch.from_numpy(P[0]).to(torch.bfloat16)
    X = inv_sqrtm(A)
    assert X.dtype == torch.bfloat16
    assert X.report.residual < 1e-10  # before it is rounded
    exact = inv_sqrtm(A.double())
    assert float((X.double() - exact).abs().max()) <= 0.01 * float(exact.abs().max())
