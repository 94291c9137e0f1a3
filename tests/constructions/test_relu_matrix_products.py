"""Products of matrices as ReLU networks: errors within their bounds, and bounds that are reached."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnla.constructions import MatrixProgram
from nnla.constructions.relu_certificates import MANY_STEPS, Bound, Draft, cheapest_steps, follow_round
from nnla.constructions.relu_matrix_products import interpolated_product, product_defect, product_roundings
from nnla.constructions.relu_matrix_programs import MatrixProduct, MatrixSum, Round


def program(n, m, x=1.0, y=1.0):
    """A A', each factor with its own bound: left is A, right 2 A - I / 2."""
    first = Round(1, (), (MatrixSum("left", {}, {"input": 1.0}), MatrixSum("right", {}, {"input": 2.0}, -0.5)))
    second = Round(m, (MatrixProduct("left", "right", x, y),), (MatrixSum("output", {0: 1.0}, {"left": -1.5}, 3.0),))
    return MatrixProgram(n, 1.0, (first, second))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("m", [1, 2, 3, 9, 26])
def test_layers_count_and_equal_the_functional_form(n, m):
    p = program(n, m, 0.5, 1.5)
    A = np.random.default_rng(0).uniform(-0.5, 0.5, (6, n, n))
    A[0] = 0.0
    layers = p.network
    assert dataclasses.astuple(p.size) == (layers.depth, layers.width, layers.nonzeros)
    explicit = layers(A.reshape(6, -1).T).T.reshape(A.shape)
    np.testing.assert_allclose(explicit, p(A), rtol=0, atol=1e-14 * n)
    exact = A @ (2 * A - 0.5 * np.eye(n)) - 1.5 * A + 3 * np.eye(n)
    error = np.linalg.norm(explicit - exact, axis=(-2, -1)).max()
    assert error <= product_defect(n, m, 0.5, 1.5) + 1e-13
    assert (explicit[0] == 3 * np.eye(n)).all()  # zero times anything is exactly zero


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 5), m=st.integers(1, 28), k=st.integers(-300, 300), seed=st.integers(0, 2**20))
def test_errors_are_within_the_bound_in_any_unit(n, m, k, seed):
    rng = np.random.default_rng(seed)
    unit = 2.0 ** (k / 2)
    X, Y = rng.uniform(-1, 1, (2, 8, n, n))
    X[0], Y[0] = np.sign(X[0]), np.sign(Y[0])
    got = interpolated_product(X * unit, Y / unit, m, unit, 1 / unit) / 4.0**m
    rounding, _ = product_roundings(n, m, 1.0, 1.0, float(n), float(n))
    error = np.linalg.norm(got - X @ Y, axis=(-2, -1))
    assert (error <= product_defect(n, m, 1.0, 1.0) + 2 * rounding).all()


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("m", [1, 4, 10])
def test_the_bound_is_reached(n, m):
    """Entries half-way between points of the grid, all alike."""
    c = 1 - 2.0 ** -(m + 1)
    X = np.full((1, n, n), c)
    got = interpolated_product(X, X, m, 1.0, 1.0) / 4.0**m
    assert np.linalg.norm(got - X @ X) == pytest.approx(product_defect(n, m, 1.0, 1.0))


def test_rounding_is_within_its_bound():
    """With many steps only rounding is left; layers stay below the bound, and not by more than a few thousand."""
    p = program(4, MANY_STEPS)
    rng = np.random.default_rng(0)
    A = rng.uniform(-0.5, 0.5, (200, 4, 4))
    errors = np.zeros(4)
    held = {"input": Bound(2.0, 0.5, errors)}
    drafts = [Draft((), p.rounds[0].sums), Draft((("left", "right"),), p.rounds[1].sums)]
    for i, draft in enumerate(drafts):
        _, held, _ = follow_round(4, draft, MANY_STEPS, held, i)
    bound = held["output"].errors[1]
    A128 = A.astype(np.longdouble)
    exact = A128 @ (2 * A128 - 0.5 * np.eye(4)) - 1.5 * A128 + 3 * np.eye(4)
    explicit = p.network(A.reshape(200, -1).T).T.reshape(A.shape)
    for got in (p(A), explicit):
        error = np.linalg.norm((got - exact).astype(float), axis=(-2, -1)).max()
        assert error <= bound <= 3000 * error


def test_steps_are_the_cheapest():
    """Against all choices of steps, where the error is a sum of weights times 4^-m."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        weights = 10.0 ** rng.uniform(-1, 2, 3)

        def follow(steps, weights=weights):
            return (), np.array([1e-3, 1e-9, *(weights * 4.0 ** -np.array(steps))])

        _, certificate = cheapest_steps(follow, [1, 1, 1], 2e-2)
        grid = np.stack(np.meshgrid(*[np.arange(1, 12)] * 3), axis=-1).reshape(-1, 3)
        enough = grid[(weights * 4.0**-grid).sum(axis=1) + 1e-3 + 1e-9 <= 2e-2]
        assert certificate.error <= 2e-2
        assert sum(certificate.steps) == enough.sum(axis=1).min()
    assert cheapest_steps(follow, [1, 1, 1], 1e-3) is None
