"""The learned prediction of what the subspace method takes, and where it is not asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import nnla
from nnla.eigen.filtered_subspace import SubspacePlan, solve_subspace
from nnla.eigen.iteration import Search, multiply
from nnla.eigen.subspace_cost import digits_of, expected_cost, predict_subspace
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.operators.operator import as_operator
from nnla.problems import diffusion2d, elasticity3d, hamiltonian, lognormal_field, poisson2d, poisson3d
from nnla.problems.hamiltonians import Atom

WINDOW = Window(np.linspace(0.1, 4.0, 40), np.full(40, 0.1), 12.0, 20000, 10, 40, 40)


class Engine:
    """One that knows two plans."""

    def __init__(self, inside=True):
        self.found = SimpleNamespace(
            plans=(SubspacePlan(20, 300.0, 40), SubspacePlan()),
            products=np.array([2400.0, 3000.0]),
            filterings=np.array([9.0, 6.0]),
            flops=np.array([2e8, 1e8]),
            inside=inside,
        )

    def counts(self, window, *, digits):
        assert digits > 0
        return self.found


def test_the_usual_plan_is_what_is_priced():
    cost, learned = expected_cost(WINDOW, 1e-3, digits=9.0, engine=Engine())
    assert learned
    assert (cost.products, cost.filterings, cost.flops) == (3000, 6, 1e8)
    assert 3.0 < cost.seconds < 3.3
    assert expected_cost(WINDOW, 2e-3, digits=9.0, engine=Engine())[0].seconds > 1.9 * cost.seconds


def test_the_formula_holds_outside_of_the_envelope():
    cost, learned = expected_cost(WINDOW, 1e-4, digits=9.0, engine=Engine(inside=False))
    assert not learned
    assert cost == predict_subspace(WINDOW, 1e-4, digits=9.0)


def test_a_window_of_nothing_is_no_error():
    nothing = Window(np.zeros(3), np.zeros(3), 0.0, 100, 2, 20, 20)
    assert digits_of(nothing, 0.0) == 16
    cost, learned = expected_cost(nothing, 1e-5, digits=16.0, engine=Engine())
    assert np.isfinite(cost.seconds)
    assert not learned


@pytest.mark.parametrize("unit", [1e-250, 1.0, 1e250])
def test_digits_do_not_depend_on_units(unit):
    scaled = Window(unit * WINDOW.values, unit * WINDOW.residuals, unit * WINDOW.far, 20000, 10, 40, 40)
    assert digits_of(scaled, unit * 1e-9) == pytest.approx(digits_of(WINDOW, 1e-9))
    assert digits_of(scaled, unit * 1e-3, unit * 1e-2) == pytest.approx(np.log10(11.9 / 1e-2))


@pytest.mark.parametrize("plan", [SubspacePlan(4, 30.0, 16), SubspacePlan(20, 3e4, 40), SubspacePlan(300, 2.0, 0)])
def test_every_plan_finds_the_pairs(plan):
    op = as_operator(poisson2d(23))
    found = solve_subspace(op, 5, -1.0, 1e-9, np.random.default_rng(0), plan=plan)
    usual = solve_subspace(op, 5, -1.0, 1e-9, np.random.default_rng(0))
    assert found.converged
    np.testing.assert_allclose(found.values, usual.values, atol=1e-9)


PROBLEMS = {
    "grid": lambda: poisson3d(11, 13, 16),
    "solid": lambda: elasticity3d(9, 7, 8),
    "medium with contrast": lambda: diffusion2d(lognormal_field((50, 55), seed=2)),
    "molecule": lambda: hamiltonian([Atom((0.4, 0.1, 0.0), 3.0, 2.0, 1.7, ((0, 0.5),))], 5.5, 0.7),
}


@pytest.mark.parametrize("k", [6, 12])
@pytest.mark.parametrize("name", PROBLEMS)
def test_one_filling_of_a_probe_predicts_the_counts(name, k):
    op = as_operator(PROBLEMS[name](), definite=False)
    space = ThickRestart(lambda v: -multiply(op, v), op.n, max(4 * k, 20), None, np.random.default_rng(0))
    space.extend()
    far = -(float(space.theta[-1]) - 0.05 * float(space.theta[0] - space.theta[-1]))
    tol = 1e-10 * far
    probe = Search(op, space, k, -1.0, tol)
    probe.run(1)
    window = probe.window(far)
    cost, learned = expected_cost(window, 1e-5, digits=digits_of(window, tol), engine=nnla.load("subspace-plans"))
    found = solve_subspace(op, k, -1.0, tol, np.random.default_rng(0))
    assert learned
    assert found.products / 2.5 < cost.products < 2.5 * found.products
    assert found.filterings / 1.7 < cost.filterings < 1.7 * found.filterings
    assert found.flops / 2 < cost.flops < 2 * found.flops
