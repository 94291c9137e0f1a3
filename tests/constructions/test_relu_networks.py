"""Certified networks as objects: what they refuse, files, and their layers under torch."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import MatrixSet, adversarial_matrices, load_layers, relu_expm, relu_signm
from nnla.errors import DTypeError, FileFormatError, GradientError, NonFiniteError, OptionError, ShapeError


@pytest.mark.parametrize(
    ("A", "error"),
    [
        ([[1.0, 2.0], [3.0]], ShapeError),
        (np.eye(3), ShapeError),
        ([0.0, 0.0], ShapeError),
        (np.eye(2) * 1j, DTypeError),
        (np.eye(2, dtype=bool), DTypeError),
        ("A", DTypeError),
        (None, DTypeError),
        ([[np.nan, 0.0], [0.0, 0.0]], NonFiniteError),
        ([[np.inf, 0.0], [0.0, 0.0]], NonFiniteError),
        (np.eye(2) * 1e300, OptionError),
        (np.ones((2, 2)), OptionError),
        ([[0.0, 1.0001], [0.0, 0.0]], OptionError),
        (np.stack([np.eye(2), 2 * np.eye(2)]), OptionError),
    ],
)
def test_refusals(A, error):
    with pytest.raises(error):
        relu_expm(2, 1.0, 1e-3)(A)


def test_shapes():
    network = relu_expm(2, 1.0, 1e-3)
    A = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4, 2, 2))
    before = A.copy()
    assert network(A).shape == A.shape == network.evaluate_layers(A).shape
    assert (before == A).all()
    assert network(A)[1, 2].tolist() == network(A[1, 2]).tolist()
    assert network(np.zeros((0, 2, 2))).shape == (0, 2, 2)
    assert network([[0, 1], [0, 0]]).dtype == np.float64
    assert relu_signm(2, 0.5, 1e-2)(np.zeros((0, 2, 2))).shape == (0, 2, 2)


@pytest.mark.parametrize("unit", [1e-250, 1.0, 1e250])
def test_sets_in_any_unit(unit):
    """Just within and just beyond, whatever the unit."""
    edge = np.array([[0.0, 1.0], [-1.0, 0.0]]) * unit
    inner, outer = (1 - 1e-13) * edge, (1 + 1e-11) * edge
    for kind in ("ball", "box"):
        assert MatrixSet(kind, 2, unit).holds(np.stack([inner, outer, 2 * edge])).tolist() == [True, False, False]
    full = np.full((1, 2, 2), unit)
    assert not MatrixSet("ball", 2, unit).holds(full).any()
    assert MatrixSet("box", 2, unit).holds(full).all()
    spectrum = np.array([np.diag([0.5, -1.0]), np.diag([0.4, 1.0]), np.diag([0.5, 1.0])]) * unit
    assert MatrixSet("gap", 2, unit, 0.5 * unit).holds(spectrum).tolist() == [True, False, True]
    assert MatrixSet("definite", 2, unit, 0.5 * unit).holds(spectrum).tolist() == [False, False, True]


@pytest.mark.parametrize(
    "domain", [MatrixSet("ball", 4, 3.0), MatrixSet("box", 3, 1e-9), MatrixSet("gap", 3, 2.0, 0.1)]
)
def test_adversaries_are_in_the_set(domain):
    A = adversarial_matrices(domain, 300, seed=5)
    assert domain.holds(A).all()
    assert (adversarial_matrices(domain, 300, seed=5) == A).all()


def test_files(tmp_path):
    network = relu_expm(2, 1.0, 1e-3)
    path = tmp_path / "exp.safetensors"
    network.save(path)
    again = load_layers(path)
    A = np.random.default_rng(0).uniform(-0.5, 0.5, (7, 2, 2))
    assert (again(A.reshape(7, 4).T).T.reshape(A.shape) == network.evaluate_layers(A)).all()
    assert again.error + again.rounding.max() == pytest.approx(network.certificate.error)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FileFormatError):
        load_layers(path)
    path.write_text("no weights")
    with pytest.raises(FileFormatError):
        load_layers(path)
    with pytest.raises(FileNotFoundError):
        load_layers(tmp_path / "none")


def test_layers_are_plain_relu_layers():
    """As torch.nn: nothing but Linear and ReLU."""
    torch = pytest.importorskip("torch")
    network = relu_expm(2, 1.0, 1e-6)
    modules = []
    for W, b in network.layers:
        linear = torch.nn.Linear(W.shape[1], W.shape[0], dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.from_numpy(W.toarray()), torch.from_numpy(b)
        modules += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    A = torch.rand(5, 2, 2, dtype=torch.float64) - 0.5
    with torch.no_grad():
        got = model(A.reshape(5, 4)).reshape(A.shape).numpy()
    np.testing.assert_allclose(got, network(A), rtol=0, atol=network.certificate.rounding)
    with pytest.raises(GradientError):
        network(A.requires_grad_())
