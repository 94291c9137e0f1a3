"""Certified networks for polynomials, powers, sine, cosine and products: measured error <= certificate <= eps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.linalg import cosm, sinm

from nnla.constructions import (
    adversarial_matrices,
    relu_cosm,
    relu_expm,
    relu_matmul,
    relu_polynomial,
    relu_power,
    relu_sinm,
)
from nnla.errors import OptionError, ShapeError


def check(network, A, exact):
    error = np.linalg.norm(network(A) - exact, axis=(-2, -1)).max()
    assert error <= network.certificate.error <= network.eps
    explicit = network.evaluate_layers(A[:4])
    np.testing.assert_allclose(explicit, network(A[:4]), rtol=0, atol=2 * network.certificate.rounding)
    bare = network.network
    assert dataclasses.astuple(network.size) == (bare.depth, bare.width, bare.nonzeros)


@pytest.mark.parametrize("domain", ["ball", "box"])
@pytest.mark.parametrize("k", [2, 3, 7, 8, 13])
def test_powers(k, domain):
    network = relu_power(3, 0.8, 1e-5, k, domain=domain)
    A = adversarial_matrices(network.domain, 200)
    check(network, A, np.linalg.matrix_power(A, k))
    assert network.program.products == len(f"{k:b}") - 1 + f"{k:b}".count("1") - 1


@pytest.mark.parametrize("bound", [0.5, 3.0])
@pytest.mark.parametrize(("make", "exact"), [(relu_sinm, sinm), (relu_cosm, cosm)])
def test_sine_and_cosine(make, exact, bound):
    network = make(2, bound, 1e-7)
    A = adversarial_matrices(network.domain, 80)
    check(network, A, np.stack([exact(a) for a in A]))


@pytest.mark.parametrize(
    "coefficients", [[1.0, 2.0], [0.0, 0.0, 1.0], [0.5, -1.0, 0.0, 4.0], [0, 0, 0, 0, 0, 0, 2.0], list(range(-6, 7))]
)
def test_polynomials(coefficients):
    network = relu_polynomial(3, 1.5, 1e-4, coefficients)
    A = adversarial_matrices(network.domain, 200)
    exact = sum(c * np.linalg.matrix_power(A, k) for k, c in enumerate(coefficients))
    check(network, A, exact)
    with pytest.raises(OptionError, match="rounding allows") as refusal:
        relu_polynomial(3, 1.5, 1e-17, coefficients)
    smallest = float(str(refusal.value).split("eps >= ")[1].split()[0])
    assert relu_polynomial(3, 1.5, smallest, coefficients).certificate.error <= smallest


def test_the_exponential_as_a_polynomial():
    """The same programs: the network for the Taylor polynomial is that of exp, but for the remainder."""
    network = relu_expm(3, 1.0, 1e-4, construction="taylor")
    K = network.parameters["terms"]
    same = relu_polynomial(3, 1.0, 1e-4, [1 / np.prod(np.arange(1.0, k + 1)) for k in range(K + 1)])
    A = adversarial_matrices(network.domain, 50)
    assert np.abs(same(A) - network(A)).max() <= 2e-4
    assert same.certificate.truncation == 0 < network.certificate.truncation


@pytest.mark.parametrize("coefficients", [[], [1.0], [0.0, 0.0], [1.0, np.nan], "abc", None, [1] * 80, [0.0, 1e200]])
def test_arguments(coefficients):
    with pytest.raises(OptionError):
        relu_polynomial(2, 1.0, 1e-3, coefficients)


@pytest.mark.parametrize(("n", "bound", "right"), [(1, 1.0, None), (3, 2.0, 1e-6), (4, 1e20, 1e-20), (2, 1e-9, 1e-9)])
@pytest.mark.parametrize("domain", ["ball", "box"])
def test_products(n, bound, right, domain):
    scale = bound * (bound if right is None else right)
    network = relu_matmul(n, bound, 1e-6 * scale, right_bound=right, domain=domain)
    X, Y = adversarial_matrices(network.left, 300), adversarial_matrices(network.right, 300, seed=1)
    X[:40] = adversarial_matrices(network.left, 40, seed=1)
    error = np.linalg.norm(network(X, Y) - X @ Y, axis=(-2, -1)).max()
    assert 1e-3 * network.certificate.error <= error <= network.certificate.error <= network.eps
    bare = network.network
    assert dataclasses.astuple(network.size) == (bare.depth, bare.width, bare.nonzeros)
    columns = np.concatenate([X.reshape(300, -1), Y.reshape(300, -1)], axis=1).T
    explicit = bare(columns).T.reshape(X.shape)
    np.testing.assert_allclose(explicit, network(X, Y), rtol=0, atol=network.certificate.rounding)


def test_products_refuse():
    network = relu_matmul(2, 1.0, 1e-3)
    with pytest.raises(ShapeError, match="one shape"):
        network(np.eye(2), np.zeros((3, 2, 2)))
    with pytest.raises(OptionError, match="outside"):
        network(np.eye(2), 2 * np.eye(2))
    with pytest.raises(OptionError, match="eps >= "):
        relu_matmul(2, 1.0, 1e-18)
    for arguments in ({"bound": 0}, {"right_bound": 1e-40}, {"domain": "cube"}, {"n": 40}, {"eps": 0}):
        with pytest.raises(OptionError):
            relu_matmul(**({"n": 2, "bound": 1.0, "eps": 1e-3} | arguments))
