"""f(A) by a network that is chosen for A: any unit, any batch, and never a network made twice."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import RELU_FUNCTIONS, exact_function, relu_function
from nnla.errors import DTypeError, NotSymmetricError, OptionError, ShapeError

SPECTRA = ("sign", "sqrt", "inv_sqrt", "inv")


def definite(count, n, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((count, n, n)))[0]
    A = (Q * np.geomspace(0.05, 1.0, n)) @ Q.mT
    return (A + A.mT) / 2


@pytest.mark.parametrize("unit", [1e-250, 1e-3, 1.0, 1e4, 1e250])
@pytest.mark.parametrize("f", SPECTRA)
def test_functions_with_a_gap_in_any_unit(f, unit):
    """One eps relative to the size of f(A), one network for all units up to powers of four."""
    A = definite(12, 3)
    size = float(np.linalg.norm(exact_function(f, A), axis=(-2, -1)).max())
    power = {"sign": 0.0, "sqrt": 0.5, "inv_sqrt": -0.5, "inv": -1.0}[f]
    answer = relu_function(A * unit, f, eps=1e-5 * size * unit**power)
    error = np.linalg.norm(answer.values / unit**power - exact_function(f, A), axis=(-2, -1))
    assert (error <= answer.error / unit**power * (1 + 1e-9)).all()
    assert (answer.error <= 1e-5 * size * unit**power).all()


@pytest.mark.parametrize("f", ["exp", "sin", "cos", "cube"])
def test_functions_on_balls(f):
    A = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 3, 3, 3))
    answer = relu_function(A, f, eps=1e-6)
    iA = 1j * A
    e = np.stack([[np.eye(3) + sum_of(a) for a in row] for row in iA])
    exact = {"exp": None, "sin": e.imag, "cos": e.real, "cube": A @ A @ A}[f]
    if exact is None:
        exact = exact_function("exp", A.reshape(-1, 3, 3)).reshape(A.shape)
    assert answer.values.shape == A.shape
    assert (np.linalg.norm(answer.values - exact, axis=(-2, -1)) <= answer.error).all()
    assert (answer.error <= 1e-6).all()
    assert relu_function(0.99 * A, f, eps=1e-6).network is answer.network or f == "cube"  # of one point of the grid


def sum_of(a, terms=30):
    """e^a - I."""
    total = term = a
    for k in range(2, terms):
        term = term @ a / k
        total = total + term
    return total


def test_units_of_a_batch():
    """Matrices of very different sizes in one batch: each with its own bound."""
    A = np.stack([np.diag([1.0, 0.5]), np.diag([1e8, 3e7]), np.diag([1e-8, 1e-8])])
    answer = relu_function(A, "sqrt", eps=1e-2)
    exact = np.sqrt(A)
    error = np.linalg.norm(answer.values - exact, axis=(-2, -1))
    assert (error <= answer.error).all()
    assert answer.error[2] < 1e-7 < answer.error[1] <= 1e-2


@pytest.mark.parametrize("f", RELU_FUNCTIONS)
def test_edges(f):
    assert relu_function(np.zeros((0, 2, 2)), f).values.shape == (0, 2, 2)
    with pytest.raises(ShapeError):
        relu_function(np.zeros((2, 3)), f)
    with pytest.raises(DTypeError):
        relu_function(np.eye(2) * 1j, f)
    with pytest.raises(OptionError):
        relu_function(np.eye(2), f, eps=0.0)
    if f in SPECTRA:
        with pytest.raises(OptionError, match="eigenvalue"):
            relu_function(np.diag([1.0, 0.0]), f)
        with pytest.raises(OptionError, match="gap"):
            relu_function(np.diag([1.0, 1e-9]), f)
        with pytest.raises(NotSymmetricError):
            relu_function([[1.0, 0.5], [0.0, 1.0]], f)
    else:
        assert np.isfinite(relu_function(np.zeros((2, 2)), f).values).all()
        with pytest.raises(OptionError):
            relu_function(np.eye(2) * 1e6, f)


@pytest.mark.parametrize(
    ("A", "f", "eps"),
    [
        (np.diag([4e6, 9e6]), "sqrt", 1e-13),
        (1e-250 * np.eye(2), "inv", 1e-3),
        (1e-250 * np.eye(2), "inv_sqrt", 1e-3),
        (np.diag([4e6, 9e6]), "cube", 1e-13),
        (np.diag([1.0, 2.0]), "exp", 1e-17),
    ],
)
def test_the_eps_that_is_named_can_be_had(A, f, eps):
    with pytest.raises(OptionError, match="eps >= ") as refusal:
        relu_function(A, f, eps=eps)
    smallest = float(str(refusal.value).split("eps >= ")[1].split()[0])
    assert eps < relu_function(A, f, eps=smallest).error <= smallest


@pytest.mark.parametrize("f", RELU_FUNCTIONS)
@pytest.mark.parametrize("unit", [1e-320, 1e-250, 1e250, 1.7e308])
def test_no_number_is_too_large_for_a_named_error(f, unit):
    for A in (unit * np.eye(2), np.full((2, 2), unit), np.array([[0.0, unit], [unit, 0.0]])):
        try:
            answer = relu_function(A, f, eps=1e-3)
        except OptionError:
            continue
        assert np.isfinite(answer.values).all()
        assert (answer.error <= 1e-3).all()


def test_masked_arrays():
    with pytest.raises(DTypeError, match="masked"):
        relu_function(np.ma.masked_array(np.eye(2), mask=np.eye(2)), "exp")


def test_unknown():
    with pytest.raises(OptionError, match="log"):
        relu_function(np.eye(2), "log")
