"""Predicted seconds: rising with what makes work, infinite for what cannot run, scaled to the machine."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla import costs as module
from nnla.linear.costs import NATIVE, PLAIN, Costs
from nnla.operators.numpy_space import NumpySpace


def of(A, columns=1):
    return Costs(nnla.as_operator(A), columns)


def test_everything_rises_with_the_size():
    small, large = of(nnla.problems.poisson2d(80)), of(nnla.problems.poisson2d(160))
    for cost in (lambda c: c.direct(), lambda c: c.jacobi(50), lambda c: c.ic(50), lambda c: c.polynomial(50, 11)):
        assert 0 < cost(small) < cost(large)
    assert small.flops < large.flops
    assert small.levels < large.levels


def test_iterative_costs_rise_with_the_iterations():
    costs = of(nnla.problems.poisson2d(80))
    for cost in (costs.jacobi, costs.ic, lambda k: costs.polynomial(k, 11), costs.polynomial_over_ic):
        found = [cost(k) for k in (0, 100, 200, 1000, 10_000)]
        assert found == sorted(found)
        assert found[-1] > 5 * found[-2]
    assert costs.jacobi(0) == 0
    assert 0 < costs.ic(0) < costs.ic(100)
    assert costs.polynomial(0, 11) > 0
    # dearer to set up than Jacobi, cheaper in the long run
    assert costs.ic(5) > costs.jacobi(5)
    assert costs.ic(10_000) < costs.jacobi(10_000)
    assert costs.polynomial_over_ic(100) > costs.ic(100)


def test_columns_share_a_setup():
    one, five = of(nnla.problems.poisson2d(80)), of(nnla.problems.poisson2d(80), 5)
    assert five.jacobi(100) == pytest.approx(5 * one.jacobi(100))
    for cost in (lambda c: c.ic(0), lambda c: c.polynomial(0, 11)):
        assert cost(five) < 2 * cost(one)


def test_what_first_steps_took_scales_all_predictions():
    costs = of(nnla.problems.poisson2d(80))
    assert costs.machine == 1.0
    before = costs.direct(), costs.ic(100), costs.jacobi(100)
    usual = costs.iteration
    costs.observe(10 * 2 * usual, 10)
    assert costs.iteration == pytest.approx(2 * usual)
    assert costs.machine == pytest.approx(2.0)
    assert (costs.direct(), costs.ic(100), costs.jacobi(100)) == pytest.approx([2 * s for s in before])
    costs.observe(1.0, 0)  # nothing done, nothing learned
    assert costs.iteration == pytest.approx(2 * usual)
    costs.observe(1e6, 1)  # a process that was stopped for a while
    assert costs.machine == 4.0
    costs.observe(0.0, 1)
    assert costs.machine == 0.5


def test_counted_operations_take_the_place_of_the_estimate():
    costs = of(nnla.problems.poisson2d(80))
    assert costs.direct(0.0) < costs.direct(1e9) < costs.direct(1e12)
    assert costs.direct(1e12) - costs.direct(0.0) == pytest.approx(1e12 * costs.speeds.flop)


def test_a_graph_in_space_is_dearer_to_factor_than_one_in_the_plane():
    plane, space = of(nnla.problems.poisson2d(64)), of(nnla.problems.poisson3d(16))  # 4096 unknowns each
    assert space.direct() > plane.direct()
    if plane.speeds is NATIVE:
        assert space.levels < plane.levels


def test_what_cannot_run_is_infinite(monkeypatch):
    A = nnla.problems.poisson2d(70)
    by_products = of(aslinearoperator(A))
    assert by_products.direct() == by_products.ic(10) == by_products.amg() == np.inf
    assert by_products.jacobi(10) > 0
    assert by_products.levels == 0
    small = of(nnla.problems.poisson2d(20))
    assert small.amg() == np.inf
    monkeypatch.setattr(module, "_has_pyamg", lambda: False)
    assert of(A).amg() == np.inf
    diagonal = of(sp.diags_array(np.arange(1.0, 9000.0)).tocsr())
    assert diagonal.ic(10) == np.inf  # IC(0) of a diagonal is Jacobi
    dense = of(np.eye(300) + 1.0)
    assert 0 < dense.direct() < np.inf


def test_multigrid_depends_on_the_signs():
    pytest.importorskip("pyamg")
    good = nnla.problems.poisson2d(80)
    bad = good.copy()
    bad.data[bad.data < 0] *= -1
    assert of(good).amg() < of(bad).amg()
    assert of(good, 3).amg() > of(good).amg()


def test_without_the_native_kernels(monkeypatch):
    A = nnla.problems.poisson2d(80)
    usual = of(A)
    direct = usual.direct()
    monkeypatch.setattr(NumpySpace, "native", lambda self, matrix, diagonal: None)
    plain = of(A)
    assert plain.speeds is PLAIN
    assert 0 < plain.direct() < np.inf
    assert plain.runs == 0.0
    if usual.speeds is NATIVE:
        assert plain.direct() > direct
        assert plain.jacobi(10) > usual.jacobi(10)
    monkeypatch.setattr(module, "_LARGEST_LU", 1000)
    assert of(A).direct() == np.inf


def test_runs_make_a_polynomial_cheap(rng):
    A = nnla.problems.poisson2d(120)
    order = rng.permutation(A.shape[0])
    grid, shuffled = of(A), of(A[order][:, order])
    if grid.speeds is not NATIVE:
        pytest.skip("the same without the native kernels")
    assert grid.runs > 0.9
    assert shuffled.runs < 0.3  # the diagonal
    assert grid.polynomial(500, 11) < shuffled.polynomial(500, 11)
