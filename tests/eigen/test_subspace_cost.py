"""Predictions of `nnla.eigen.subspace_cost` against what `solve_subspace` takes."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.filtered_subspace import solve_subspace
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.subspace_cost import predict_subspace, seconds_of_a_product
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.operators.operator import as_operator
from nnla.problems import diffusion3d, elasticity3d, hamiltonian, poisson3d
from nnla.problems.hamiltonians import Atom

PROBLEMS = {
    "grid": lambda: poisson3d(11, 13, 16),
    "random medium": lambda: diffusion3d(np.exp(0.7 * np.random.default_rng(5).standard_normal((12, 13, 14)))),
    "solid": lambda: elasticity3d(9, 7, 8),
    "molecule": lambda: hamiltonian([Atom((0.4, 0.1, 0.0), 3.0, 2.0, 1.7, ((0, 0.5),))], 5.5, 0.7),
}


def window_of(op, k):
    """As `eigsh` has it after its probe."""
    space = ThickRestart(lambda v: -multiply(op, v), op.n, max(4 * k, 20), None, np.random.default_rng(0))
    space.extend()
    far = -(float(space.theta[-1]) - 0.05 * float(space.theta[0] - space.theta[-1]))
    search = Search(op, space, k, -1.0, 1e-14 * far)
    search.run(2)
    return search.window(far)


@pytest.mark.parametrize("k", [6, 12])
@pytest.mark.parametrize("name", PROBLEMS)
def test_products_are_predicted_within_a_factor_of_three(name, k):
    op = as_operator(PROBLEMS[name](), definite=False)
    window = window_of(op, k)
    tol = 1e-10 * abs(window.far)
    found = solve_subspace(op, k, -1.0, tol, np.random.default_rng(0))
    cost = predict_subspace(window, 1e-6)
    assert found.converged
    assert found.products / 3 < cost.products < 3 * found.products
    assert found.filterings / 2.5 < cost.filterings < 2.5 * found.filterings
    assert found.flops / 4 < cost.flops < 4 * found.flops


def test_more_digits_and_dearer_products_cost_more():
    window = Window(np.linspace(0.1, 4.0, 40), np.full(40, 0.1), 12.0, 20000, 10, 40, 65)
    cost = predict_subspace(window, 1e-5)
    assert predict_subspace(window, 1e-5, digits=13).products > cost.products
    assert predict_subspace(window, 2e-5).seconds > 1.1 * cost.seconds


def test_a_window_of_nothing_is_dear_but_no_error():
    window = Window(np.zeros(3), np.zeros(3), 1.0, 100, 2, 20, 20)
    assert np.isfinite(predict_subspace(window, 1e-5).seconds)


def test_a_measurement_is_counted():
    op = as_operator(poisson3d(8))
    assert 0 < seconds_of_a_product(op, 3) < 1
    assert op.products > 0
