"""Minimax transitions: equioscillation, Polar Express' published table, plans that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.extensions import minimax
from nnla.extensions.minimax import PRODUCTS, learned_stage, odd_minimax, plan, polar_express, stage

# arXiv:2505.16932, algorithm 1
PUBLISHED = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
]


def test_polar_express_reproduces_the_published_table():
    for ours, theirs in zip(polar_express(7), PUBLISHED, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("degree", [3, 5, 9])
@pytest.mark.parametrize("ratio", [1e-8, 1e-3, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_the_polynomial_stays_within_its_error_and_reaches_it(degree, ratio):
    p = odd_minimax(degree, ratio)
    x = np.unique(np.concatenate([np.linspace(ratio, 1, 4001), np.geomspace(ratio, 1, 500)]))
    deviation = np.abs(p(x) - 1).max()
    assert deviation <= p.error * (1 + 1e-6) + 4e-16
    assert deviation >= 0.999 * p.error - 1e-12


@pytest.mark.parametrize("degree", [3, 5, 9])
def test_equioscillation(degree):
    p = odd_minimax(degree, 0.05)
    x = np.linspace(0.05, 1, 20001)
    e = p(x) - 1
    touches = np.abs(np.abs(e) - p.error) < 1e-6
    signs = np.sign(e[touches])
    assert 1 + np.count_nonzero(np.diff(signs)) == (degree + 1) // 2 + 1


def test_degree_nine_beats_two_cubics_for_the_same_products():
    for ratio in (1e-3, 0.05, 0.3):
        once = odd_minimax(3, ratio)
        twice = odd_minimax(3, once.low / once.high)
        assert odd_minimax(9, ratio).error < twice.error


@pytest.mark.parametrize("ratio", [1e-6, 1e-3, 0.02, 0.3, 0.8])
@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-13])
def test_a_plan_reaches_its_tolerance_in_no_more_products_than_polar_express(ratio, tol):
    low, high = ratio, 1.0
    for degree in (steps := plan(ratio, tol)):
        p = stage(degree, low / high)
        x = np.geomspace(low / high, 1, 5000)
        low, high = float(p(x).min()), float(p(x).max())
    assert max(1 - low, high - 1) <= 1.01 * tol + 4e-16
    assert sum(PRODUCTS[d] for d in steps) <= sum(PRODUCTS[d] for d in plan(ratio, tol, degrees=(5,)))


def test_the_learned_table_keeps_its_word_and_beats_the_composition_of_five_products():
    for ratio in (0.3, 0.5, 0.7, 0.85):
        p = learned_stage(ratio)
        assert p is not None
        assert p.products == 5
        x = np.linspace(ratio, 1, 5000)
        assert np.abs(p(x) - 1).max() <= p.error * (1 + 1e-3)
        cubic = odd_minimax(3, ratio)
        assert p.error < 0.8 * odd_minimax(5, cubic.low / cubic.high).error
    assert learned_stage(1e-3) is None


def test_without_its_weights_the_planner_goes_on(no_weights):
    minimax._table.cache_clear(), minimax.learned_stage.cache_clear(), minimax._cheapest.cache_clear()
    try:
        steps = plan(0.31, 1e-9)
        assert 17 not in steps
        assert steps
    finally:
        minimax._table.cache_clear(), minimax.learned_stage.cache_clear(), minimax._cheapest.cache_clear()


def test_low_precision_keeps_the_minima_clear_of_rounding():
    p = stage(5, 1e-5, eps=2.0**-9)
    assert p.cushioned
    assert p.error < 0.9  # the minimax polynomial of that ratio has 0.9999
    assert set(plan(1e-3, 0.05, eps=2.0**-9)) <= {3, 5}


def test_errors():
    with pytest.raises(OptionError, match="degree"):
        odd_minimax(4, 0.5)
    with pytest.raises(OptionError, match="ratio"):
        odd_minimax(5, 0.0)
    with pytest.raises(OptionError, match="tolerance"):
        plan(0.5, -1.0)
    with pytest.raises(OptionError, match="lower"):
        polar_express(3, 2.0)
