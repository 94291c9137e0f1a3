"""f(A) of reference: float64 against many digits, identities, domains, units."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import scipy.linalg

from nnla.errors import DTypeError, GradientError, MissingDependencyError, NonFiniteError, OptionError, ShapeError
from nnla.models.matrix_functions import FUNCTION_NAMES
from nnla.problems import MATRIX_FUNCTIONS, function_reference, matrix_family, real_domain


def _rel(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_names_are_those_of_the_models():
    assert set(MATRIX_FUNCTIONS) == set(FUNCTION_NAMES)


@pytest.mark.parametrize("f", MATRIX_FUNCTIONS)
def test_float64_agrees_with_many_digits(f):
    symmetric = matrix_family("definite", 3, 3, scale=1.0, seed=1)
    general = np.stack([scipy.linalg.expm(X) for X in matrix_family("general", 3, 3, scale=0.7, seed=2)])
    for A in (symmetric, general):
        if f in ("sign", "inv"):
            A = A - 0.4 * np.eye(3)
        assert real_domain(A, f).all()
        exact = function_reference(A, f, digits=40)
        assert np.isfinite(exact).all()
        assert _rel(function_reference(A, f), exact) < 1e-12


@pytest.mark.parametrize("f", ["exp", "sin", "cos", "cube"])
def test_general_matrices_by_the_definition(f):
    A = matrix_family("general", 4, 4, seed=3)
    values, V = np.linalg.eig(A)
    expected = (V * MATRIX_FUNCTIONS[f](values)[:, None, :]) @ np.linalg.inv(V)
    assert _rel(function_reference(A, f), expected.real) < 1e-10


def test_sign_of_general_matrices():
    A = matrix_family("general", 50, 5, seed=4)
    A = A[real_domain(A, "sign")]
    S = function_reference(A, "sign")
    assert np.abs(S @ S - np.eye(5)).max() < 1e-8
    assert np.abs(S @ A - A @ S).max() < 1e-8
    assert np.linalg.eigvals(S @ A).real.min() > 0
    nilpotent = np.array([[1.0, 1e3], [0.0, 1.0]])
    assert np.array_equal(function_reference(nilpotent, "sign"), np.eye(2))


def test_domains():
    A = np.stack([np.diag(d) for d in ([1.0, 2.0], [0.0, 2.0], [-1.0, 2.0], [-1.0, -2.0])])
    for f, expected in {
        "exp": [1, 1, 1, 1],
        "log": [1, 0, 0, 0],
        "inv_sqrt": [1, 0, 0, 0],
        "sqrt": [1, 1, 0, 0],
        "inv": [1, 0, 1, 1],
        "sign": [1, 0, 1, 1],
    }.items():
        assert real_domain(A, f).tolist() == [bool(x) for x in expected], f
        assert np.isnan(function_reference(A, f)).all(axis=(-2, -1)).tolist() == [not x for x in expected], f
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # eigenvalues +-i
    assert real_domain(turn, "log")
    assert not real_domain(turn, "sign")
    assert np.allclose(function_reference(turn, "log"), turn * np.pi / 2)
    assert np.allclose(function_reference(turn, "sqrt") @ function_reference(turn, "sqrt"), turn)
    assert not real_domain(np.array([[0.0, 1.0], [0.0, 0.0]]), "sqrt")  # a Jordan block at 0 has no root


def test_a_singular_root_is_no_nan():
    x = matrix_family("general", 1, 5, seed=6)[0][:, :2]
    root = function_reference(x @ x.T, "sqrt")
    assert _rel(root @ root, x @ x.T) < 1e-13


@pytest.mark.parametrize("unit", [1e-200, 1e200])
@pytest.mark.parametrize("symmetric", [True, False])
def test_units(unit, symmetric):
    A = matrix_family("definite", 3, 4, seed=5)
    A = A if symmetric else A + 0.01 * matrix_family("general", 3, 4, seed=6)
    powers = {"sign": 0.0, "inv": -1.0, "sqrt": 0.5, "inv_sqrt": -0.5}
    for f, power in powers.items():
        assert real_domain(unit * A, f).all()
        assert _rel(function_reference(unit * A, f) / unit**power, function_reference(A, f)) < 1e-10, f
    shifted = function_reference(unit * A, "log") - np.log(unit) * np.eye(4)
    assert _rel(shifted, function_reference(A, "log")) < 1e-10


def test_too_large_is_said():
    with pytest.raises(NonFiniteError, match="scale A"):
        function_reference(np.diag([800.0, 1.0]), "exp")
    with pytest.raises(NonFiniteError, match="scale A"):
        function_reference(np.diag([1e200, 1.0]), "cube")
    with pytest.raises(NonFiniteError, match="scale A"):
        function_reference(np.diag([800.0, 1.0]), "exp", digits=20)


@pytest.mark.parametrize("leading", [(), (0,), (2, 3)])
def test_shapes(leading):
    A = np.zeros((*leading, 2, 2))
    assert function_reference(A, "exp").shape == A.shape
    assert real_domain(A, "log").shape == leading


@pytest.mark.parametrize(
    ("A", "f", "digits", "error"),
    [
        (np.eye(2), "tan", None, OptionError),
        (np.eye(2), "exp", 5, OptionError),
        (np.eye(2), "exp", "many", OptionError),
        (np.ones(3), "exp", None, ShapeError),
        (np.ones((2, 3)), "exp", None, ShapeError),
        (np.ones((0, 0)), "exp", None, ShapeError),
        ([[1.0], [1.0, 2.0]], "exp", None, ShapeError),
        (1j * np.eye(2), "exp", None, DTypeError),
        (np.array([["a"]]), "exp", None, DTypeError),
        (np.array([[np.inf]]), "exp", None, NonFiniteError),
    ],
)
def test_nonsense_is_refused(A, f, digits, error):
    with pytest.raises(error):
        function_reference(A, f, digits=digits)


def test_without_mpmath_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "mpmath":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match="digits"):
        function_reference(np.eye(2), "exp", digits=30)


@pytest.mark.parametrize("unit", [1e-250, 1e250])
@pytest.mark.parametrize("f", ["log", "sign", "sqrt", "inv_sqrt", "inv"])
def test_units_with_digits(f, unit):
    A = unit * np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]])
    assert _rel(function_reference(A, f, digits=50), function_reference(A, f)) < 1e-13


def test_masks_and_gradients_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(DTypeError, match="masked"):
        function_reference(np.ma.masked_array(np.eye(2), mask=np.eye(2)), "exp")
    with pytest.raises(GradientError):
        function_reference(torch.eye(2, requires_grad=True), "exp")
    assert function_reference(torch.eye(2, dtype=torch.bfloat16), "exp").dtype == np.float64
