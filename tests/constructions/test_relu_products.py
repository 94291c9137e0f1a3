"""Exact weights, proved errors: squares, products, interpolants; the bounds are met and attained."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import one_layer_product, power_interpolant, product_network, square_network
from nnla.errors import OptionError, ShapeError

GRID = np.linspace(-1, 1, 401)
X, Y = (g.ravel() for g in np.meshgrid(GRID, GRID))


@pytest.mark.parametrize("m", [1, 2, 5, 10, 20])
def test_squares_lie_above_by_the_bound_at_most(m):
    network = square_network(m)
    u = np.linspace(0, 1, 2**12 + 1)
    error = network(u[None])[0] - u**2
    assert error.min() >= -1e-15
    assert error.max() <= network.error + 1e-15
    assert network.error == 2.0 ** (-2 * m - 2)
    if m <= 10:
        assert error.max() == pytest.approx(network.error, rel=1e-9)  # between two points of the grid
    assert (network.depth, network.width) == (m, 3)


def test_weights_are_plain_layers():
    network = square_network(3)
    y = np.array([[0.3]])
    for i, (W, b) in enumerate(network.weights):
        y = W.toarray() @ y + b[:, None]
        y = np.maximum(y, 0) if i < network.depth else y
    assert y == network(np.array([[0.3]]))
    assert network.nonzeros == sum(np.count_nonzero(W.toarray()) + np.count_nonzero(b) for W, b in network.weights)


@pytest.mark.parametrize("m", [1, 4, 8, 14])
@pytest.mark.parametrize(("x", "y"), [(1.0, 1.0), (8.0, 0.25), (1e-3, 1e5)])
def test_products(m, x, y):
    network = product_network(m, x, y)
    error = network(np.stack([x * X, y * Y]))[0] - x * X * y * Y
    assert np.abs(error).max() <= network.error * (1 + 1e-9) + 4 * np.finfo(float).eps * x * y
    assert np.abs(error).max() > 0.3 * network.error
    assert network.error == x * y * 2.0 ** (-2 * m - 2)
    assert (network.depth, network.width) == (m + 1, 6)


def test_zero_times_anything_is_zero():
    network = product_network(5, 3.0, 2.0)
    assert not network(np.stack([0 * X, 2 * Y])).any()
    assert not network(np.stack([3 * X, 0 * Y])).any()


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_one_hidden_layer_reaches_one_over_n_squared(pieces):
    network = one_layer_product(pieces)
    error = np.abs(network(np.stack([X, Y]))[0] - X * Y)
    assert error.max() <= network.error + 1e-14
    middle = -1 + 1 / pieces  # (x + y) / 2 between two knots, (x - y) / 2 on one
    attained = abs(network(np.array([[middle - 1], [middle + 1]]))[0, 0] - (middle**2 - 1))
    assert attained == pytest.approx(network.error, rel=1e-6)
    assert (network.depth, network.width) == (1, 2 * pieces)


@pytest.mark.parametrize("power", [-1.0, -0.5])
@pytest.mark.parametrize("units", [10, 300])
def test_interpolants_keep_relative_accuracy_over_many_decades(power, units):
    f = power_interpolant(power, 1e-9, 10.0, units)
    x = np.geomspace(1e-9, 10.0, 5000)
    value = f.value + np.maximum(f.knots - x[:, None], 0) @ f.slopes
    relative = value / x**power - 1
    assert -1e-12 < relative.min() < relative.max() <= f.relative * (1 + 1e-9)
    assert relative.max() > 0.3 * f.relative or units < 100  # the bound of x^-1/2 is for fine grids
    ends = f.value + np.maximum(f.knots - np.array([[0.0], [1e9]]), 0) @ f.slopes
    np.testing.assert_allclose(ends, [1e-9**power, 10.0**power], rtol=1e-12)


def test_float32_and_batches():
    network = product_network(8)
    rng = np.random.default_rng(0)
    U = rng.uniform(-1, 1, (3, 4, 2, 5)).astype(np.float32)
    got = network(U)
    assert got.shape == (3, 4, 1, 5)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[..., 0, :], U[..., 0, :] * U[..., 1, :], atol=network.error + 1e-6)


def test_bad_sizes_are_refused():
    for bad in (
        lambda: square_network(0),
        lambda: square_network(61),
        lambda: product_network(2.5),
        lambda: product_network(3, -1.0),
        lambda: product_network(3, float("nan")),
        lambda: one_layer_product(0),
        lambda: power_interpolant(-1.0, 1.0, 1.0, 10),
        lambda: power_interpolant(2.0, 1.0, 2.0, 10),
    ):
        with pytest.raises(OptionError):
            bad()
    with pytest.raises(ShapeError, match="2, columns"):
        product_network(3)(np.zeros((3, 1)))
