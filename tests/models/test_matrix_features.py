"""What networks see of a symmetric matrix: identities of Faddeev and LeVerrier, invariance, units."""

import math

import numpy as np
import pytest

from nnla.models.matrix_features import (
    CHANNELS,
    SPECTRAL,
    Directions,
    channel_count,
    channels_of,
    feature_count,
    features_of,
    restored,
    target_size,
)
from nnla.models.matrix_functions import FUNCTION_NAMES
from nnla.problems import function_reference, matrix_family

A = matrix_family("symmetric", 20, 4, seed=1)
D = Directions(A)
Q = matrix_family("orthogonal", 20, 4, seed=2)


def test_elementary_polynomials_and_adjugates():
    values = np.linalg.eigvalsh(D.unit)
    assert np.allclose(np.stack(D.e[1:], -1), np.stack([np.poly(-v)[1:] for v in values]), atol=1e-14)
    assert np.allclose(D.B[-1] @ D.unit, D.e[-1][:, None, None] * np.eye(4), atol=1e-14)
    assert np.allclose(D.inverse_trace, np.trace(np.linalg.inv(D.unit), axis1=1, axis2=2))
    assert np.allclose(D.size[:, None, None] * D.unit, A)


def test_definiteness_is_exact():
    B = matrix_family("definite", 50, 5, floor=1e-3)
    assert Directions(B).definite.all()
    shift = np.linalg.eigvalsh(B)[:, :2].mean(axis=1)  # one eigenvalue below zero now
    assert not Directions(B - shift[:, None, None] * np.eye(5)).definite.any()


@pytest.mark.parametrize("spectral", SPECTRAL)
@pytest.mark.parametrize("sized", [True, False])
def test_features_are_invariant_under_rotations(spectral, sized):
    z = features_of(D, spectral, sized=sized)
    assert z.shape == (20, feature_count(4, spectral, sized=sized))
    turned = Q @ A @ Q.swapaxes(-1, -2)
    assert np.allclose(features_of(Directions(turned), spectral, sized=sized), z, rtol=1e-6, atol=1e-8)


def test_powers_and_their_traces():
    values = np.linalg.eigvalsh(A)
    z = features_of(D, "invariants", sized=True)
    for k in range(1, 9):
        assert np.allclose(z[:, k], (values**k).sum(axis=-1) / math.factorial(k), rtol=1e-9, atol=1e-9), k
    assert np.allclose(channels_of(D, "powers", sized=True)[..., 3], A @ A @ A / 6)
    assert np.allclose(channels_of(D, "powers", sized=False)[..., 3], D.unit @ D.unit @ D.unit)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("sized", [True, False])
def test_channels_turn_with_the_matrix(channels, sized):
    X = channels_of(D, channels, sized=sized)
    assert X.shape == (20, 4, 4, channel_count(channels, 4))
    Y = channels_of(Directions(Q @ A @ Q.swapaxes(-1, -2)), channels, sized=sized)
    assert np.allclose(np.einsum("bij,bjkc,blk->bilc", Q, X, Q), Y, atol=1e-10)
    if channels != "entries":  # every function of A is a combination of them
        F = function_reference(A, "sin").reshape(20, 16)
        for x, f in zip(X.reshape(20, 16, -1), F, strict=True):
            assert np.linalg.norm(x @ np.linalg.lstsq(x, f, rcond=None)[0] - f) < 1e-8 * np.linalg.norm(f)


@pytest.mark.parametrize(
    ("f", "unit"),
    [(f, 1.0) for f in FUNCTION_NAMES]
    + [(f, unit) for f in ("sign", "sqrt", "inv_sqrt", "inv", "log") for unit in (1e-250, 1e250)],
)
def test_restored_answers_are_functions_in_every_unit(f, unit):
    sized = f in ("exp", "sin", "cos")
    B = matrix_family("definite", 20, 4, scale=1.0)
    d = Directions(unit * B)
    G = function_reference(B if sized else Directions(B).unit, f) / target_size(d, f)[:, None, None]
    assert 0.01 < np.abs(G).max() < 20.0
    exact = function_reference(unit * B, f)
    assert np.abs(restored(d, f, G) - exact).max() <= 1e-11 * np.abs(exact).max()


def test_zero_is_no_division_by_zero():
    d = Directions(np.zeros((1, 3, 3)))
    assert all(np.isfinite(x).all() for x in (d.unit, d.size, *d.e, features_of(d, "invariants", sized=True)))
