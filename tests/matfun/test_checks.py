"""The checks a posteriori: right answers pass, wrong ones do not, other branches least of all."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.matfun import expm
from nnla.matfun.checks import residuals
from nnla.matfun.exact import exact
from nnla.matfun.options import FUNCTIONS, read_batch
from nnla.matfun.taylor import nonnegative_exponential, taylor_exponential
from nnla.problems import matrix_family

rng = np.random.default_rng(1)
G = rng.standard_normal((4, 6, 6))
SYMMETRIC = {"definite": G @ G.swapaxes(-1, -2) + 0.1 * np.eye(6), "indefinite": G + G.swapaxes(-1, -2)}
GENERAL = {"definite": G / 3 + 4 * np.eye(6), "indefinite": G}


def matrices(f, kind):
    return kind["definite" if f in ("log", "sqrt", "inv_sqrt") else "indefinite"]


@pytest.mark.parametrize("kind", [SYMMETRIC, GENERAL], ids=["symmetric", "general"])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_right_answers_pass_and_wrong_ones_do_not(f, kind):
    batch = read_batch(matrices(f, kind), f)
    X, why = exact(batch, f)
    assert not why
    assert residuals(batch, f, X).max() < 1e-10
    for size in (1e-3, 1e-6):
        found = residuals(batch, f, X * (1 + size))
        assert (found > 0.1 * size).all()
        noise = size * rng.standard_normal(X.shape) * np.abs(X).max()
        assert (residuals(batch, f, X + noise) > 0.01 * size).all()
    assert np.isinf(residuals(batch, f, np.full_like(X, np.nan))).all()
    assert (residuals(batch, f, np.zeros_like(X)) > 0.5).all()


@pytest.mark.parametrize("kind", [SYMMETRIC, GENERAL], ids=["symmetric", "general"])
@pytest.mark.parametrize("f", ["sqrt", "inv_sqrt", "sign"])
def test_other_roots_do_not_pass(f, kind):
    batch = read_batch(matrices(f, kind), f)
    X, _ = exact(batch, f)
    assert np.isinf(residuals(batch, f, -X)).all()
    if f == "sign":  # it commutes, and squares to one
        assert np.isinf(residuals(batch, f, np.broadcast_to(np.eye(6), X.shape))).all()
    else:
        S, _ = exact(
            read_batch(batch.A - np.trace(batch.A, axis1=1, axis2=2)[:, None, None] / 6 * np.eye(6), "sign"), "sign"
        )
        mixed = ~(np.abs(np.abs(np.trace(S, axis1=1, axis2=2)) - 6) < 1e-9)
        assert mixed.any()
        assert np.isinf(residuals(batch, f, X @ S)[mixed]).all()


def test_answers_in_extreme_units_are_checked_too():
    for unit in (4.0**-400, 4.0**400):
        batch = read_batch(unit * SYMMETRIC["definite"], "sqrt")
        X, _ = exact(batch, "sqrt")
        assert residuals(batch, "sqrt", X).max() < 1e-13
        assert residuals(batch, "sqrt", X * 1.001).min() > 1e-3


def test_the_series_for_e_A():
    A = SYMMETRIC["indefinite"]
    w, Q = np.linalg.eigh(A)
    for unit in (1e-9, 1.0, 20.0):
        E = (Q * np.exp(unit * w)[:, None, :]) @ Q.swapaxes(-1, -2)
        assert np.abs(taylor_exponential(unit * A) - E).max() < 1e-12 * np.abs(E).max()
    assert np.array_equal(taylor_exponential(np.zeros((1, 2, 2))), np.eye(2)[None])
    assert np.array_equal(taylor_exponential(-1e250 * np.eye(2)[None]), np.zeros((1, 2, 2)))
    turned = taylor_exponential(1j * A)
    assert np.abs(turned @ turned.conj().swapaxes(-1, -2) - np.eye(6)).max() < 1e-13
    Q = np.abs(G)
    np.testing.assert_allclose(nonnegative_exponential(Q), taylor_exponential(Q), rtol=1e-12)


@pytest.mark.parametrize("method", ["schur", "equivariant", "relu"])
def test_parts_of_a_batch_are_the_whole(method, monkeypatch):
    A = np.concatenate([matrix_family("symmetric", 7, 4, seed=1, scale=0.3), matrix_family("rate", 5, 4, seed=2)])
    whole = expm(A, method=method)
    monkeypatch.setattr("nnla.matfun.options._PART", 3 * 16)
    cut = expm(A, method=method)
    rtol = 1e-6 if method == "equivariant" else 1e-13  # whose polynomial is chosen for what it sees together
    np.testing.assert_allclose(cut, whole, rtol=rtol, atol=1e-2 * rtol)
    assert cut.report.fallbacks == whole.report.fallbacks
    assert cut.report.rates == whole.report.rates
