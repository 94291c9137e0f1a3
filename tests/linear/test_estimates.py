"""What each way is expected to take: what raises it, what cannot run, what exact facts change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.kernels.cholesky import Cholesky
from nnla.linear import estimates as module
from nnla.linear.decision import Lognormal
from nnla.linear.estimates import Estimates, direct_seconds, ways_of
from nnla.linear.predictor import Predictor
from nnla.linear.rule import FAILURES, TARGETS, rule_costs
from nnla.linear.speeds import REFERENCE, Speeds
from nnla.models.solver_costs import CostAnswer
from nnla.operators.numpy_space import NumpySpace


def of(A, speeds=REFERENCE, **options):
    op = nnla.as_operator(A)
    nnz = int(op.nnz or op.n)
    return Estimates(rule_costs(op, 1e-8), speeds, ways=ways_of(op), n=op.n, nnz=nnz, **options)


# -- the rule --------------------------------------------------------------------------------------------------------


def test_the_rule_rises_with_the_size_and_the_tolerance():
    small, large = (rule_costs(nnla.as_operator(nnla.problems.poisson2d(m)), 1e-8) for m in (80, 160))
    for name, a, b in zip(TARGETS, small.mean, large.mean, strict=True):
        assert a <= b, name
    loose = rule_costs(nnla.as_operator(nnla.problems.poisson2d(80)), 1e-3)
    assert loose.mean[0] < small.mean[0]
    assert all(std > 0 for std in small.std)
    assert len(small.failure) == len(FAILURES)


def test_the_rule_follows_what_is_known_of_the_iterations():
    op = nnla.as_operator(nnla.problems.poisson2d(80))
    known = rule_costs(op, 1e-8, Lognormal.of(20.0, 0.1))
    assert math.exp(known.mean[TARGETS.index("jacobi.iterations")]) == pytest.approx(20.0)
    assert known.std[TARGETS.index("ic.iterations")] == pytest.approx(0.1)


def test_a_graph_in_space_is_dearer_to_factor_than_one_in_the_plane(native_kernels):
    plane, space = of(nnla.problems.poisson2d(64)), of(nnla.problems.poisson3d(16))  # 4096 unknowns each
    assert space.of("factor.seconds").mean > plane.of("factor.seconds").mean


# -- ways ------------------------------------------------------------------------------------------------------------


def test_what_cannot_run_is_not_there(monkeypatch):
    A = nnla.problems.poisson2d(70)
    assert ways_of(nnla.as_operator(aslinearoperator(A))) == ("plain", "autospec")
    assert "amg" not in ways_of(nnla.as_operator(nnla.problems.poisson2d(20)))
    monkeypatch.setattr(module, "has_pyamg", lambda: False)
    assert "amg" not in ways_of(nnla.as_operator(A))
    assert "ic" not in ways_of(nnla.as_operator(sp.diags_array(np.arange(1.0, 9000.0)).tocsr()))  # it is Jacobi
    dense = ways_of(nnla.as_operator(np.eye(300) + 1.0))
    assert "direct" in dense
    assert "ic" not in dense
    monkeypatch.setattr(Cholesky, "available", staticmethod(lambda: False))
    monkeypatch.setattr(module, "_LARGEST_LU", 1000)
    assert "direct" not in ways_of(nnla.as_operator(A))
    assert direct_seconds(nnla.as_operator(A)) == math.inf


def test_columns_and_solves_share_a_set_up():
    one, five = of(nnla.problems.poisson2d(80)), of(nnla.problems.poisson2d(80), columns=5)
    many = of(nnla.problems.poisson2d(80), solves=5)
    for name in ("plain", "ic", "autospec"):
        assert five.way(name).setup.mean == pytest.approx(one.way(name).setup.mean, abs=2.0)
        assert many.way(name).setup == one.way(name).setup
        assert many.way(name).solve.expected == pytest.approx(5 * one.way(name).solve.expected)
        assert five.way(name).solve.expected > 2 * one.way(name).solve.expected
    assert many.way("direct").setup.expected < 4 * one.way("direct").setup.expected


def test_a_slow_kernel_makes_its_ways_dear():
    A = nnla.problems.poisson2d(80)
    usual, slow = of(A), of(A, Speeds({"ic": 4.0}))
    assert slow.way("ic").seconds.expected == pytest.approx(4 * usual.way("ic").seconds.expected)
    assert slow.way("plain") == usual.way("plain")


def test_a_factor_that_does_not_fit_is_not_chosen():
    A = nnla.problems.poisson2d(80)
    assert of(A).failure("direct") < 1e-3
    assert of(A, memory=1e3).failure("direct") > 0.99
    tight = of(A, memory=1e6)
    tight.learn_analysis(1e6, 1e5, 2e6, None)
    assert tight.failure("direct") == 1.0
    assert "direct" not in [way.name for way in tight.ways()]
    tight.learn_analysis(1e6, 1e5, 5e5, None)
    assert tight.failure("direct") == 0.0


# -- facts -----------------------------------------------------------------------------------------------------------


def test_counted_operations_take_the_place_of_the_estimate():
    found = of(nnla.problems.poisson2d(80))
    before, ordering = found.way("direct").setup, found.ordering
    assert ordering > 0
    found.learn_analysis(math.exp(found.of("direct.flops").mean) * 10, 1e5, 1e6, None)
    assert found.ordering == 0.0
    assert found.of("factor.seconds").mean == pytest.approx(before.mean + math.log(10), abs=0.7)
    assert found.way("direct").setup.std < before.std
    found.learn_analysis(1e6, 1e5, 1e6, (Lognormal.of(0.5, 0.01), Lognormal.of(0.01, 0.01)))
    assert found.way("direct").setup.expected == pytest.approx(0.51, rel=0.05)
    assert found.flops_worth(500.0) > found.flops_worth(100.0)


def test_measured_iterations_say_what_they_take_and_something_of_the_rest():
    A = nnla.problems.poisson2d(80)
    usual = of(A)
    predicted = usual.of("product.seconds").expected
    for spread, shared in ((0.5, True), (0.0, False)):
        found = of(A, Speeds(spread=spread))
        found.observe(20 * 2 * predicted, 20)
        assert found.of("product.seconds").expected == pytest.approx(2 * predicted, rel=0.06)
        assert (found.way("ic").seconds.expected > 1.3 * usual.way("ic").seconds.expected) == shared
        again = found.of("product.seconds")
        found.observe(1.0, 0)  # nothing done, nothing learned
        assert found.of("product.seconds") == again


def test_what_is_paid_for_is_not_paid_again():
    found = of(nnla.problems.poisson2d(80))
    alone = found.alone("ic")
    found.paid("ic.setup_seconds")
    assert found.way("ic").setup.expected < 1e-290
    assert found.alone("ic") == pytest.approx(alone)


def test_steps_that_are_done_are_not_done_again():
    found = of(nnla.problems.poisson2d(80))
    found.renew(found.costs._replace(std=[0.1] * len(TARGETS)), 0)
    before, probe = found.way("plain").solve.expected, found.way("autospec").setup.expected
    found.renew(found.costs, 40)
    assert found.way("plain").solve.expected < before
    assert found.way("autospec").setup.expected < probe
    assert found.alone("plain") == pytest.approx(before)


def test_the_polynomials_engine_tells_of_plain_iterations_too():
    found = of(nnla.problems.poisson2d(80))
    found.learn_polynomial(10.0, 11)
    assert math.exp(found.of("autospec.iterations").mean) == pytest.approx(10.0)
    assert math.exp(found.iterations("plain").mean) == pytest.approx(105.6, rel=0.1)


# -- the engine ------------------------------------------------------------------------------------------------------


class Engine:
    """Answers the same to everything, and remembers what it was asked."""

    card = {"spread": {"graph": {"jacobi.iterations": 1.0}, "steps": {"jacobi.iterations": 0.6}}}  # noqa: RUF012

    def __init__(self):
        self.asked = []

    def answer(self, structure, steps, rtol):
        self.asked.append((structure, steps, rtol))
        T, P = len(TARGETS), len(FAILURES)
        return CostAnswer([0.0] * T, [0.5] * T, [0.0] * P, 0.3)


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    monkeypatch.setattr("nnla.registry.load", lambda name: made)
    return made


def test_the_graph_is_looked_at_where_that_costs_little(engine, native_kernels):
    predictor = Predictor(nnla.as_operator(nnla.problems.poisson2d(80)))
    costs = predictor.costs(1e-6)
    assert costs.mean == [0.0] * len(TARGETS)
    assert not predictor.by_rule
    assert predictor.outside == 0.3
    structure, steps, rtol = engine.asked[-1]
    assert (steps, rtol) == (None, 1e-6)
    unknown = np.isnan(structure).sum()
    assert unknown > 3
    assert not predictor.look(1e-6)
    assert predictor.look(10.0)
    assert not predictor.look(10.0)  # once
    predictor.costs(1e-6)
    assert np.isnan(engine.asked[-1][0]).sum() < unknown
    assert predictor.told == pytest.approx(0.8)


def test_without_entries_the_engine_is_asked_once_there_are_steps(engine):
    predictor = Predictor(nnla.as_operator(aslinearoperator(nnla.problems.poisson2d(20))))
    predictor.costs(1e-8)
    assert predictor.by_rule
    assert not engine.asked
    found = predictor.costs(1e-8, np.zeros(10))
    assert engine.asked[-1][0] is None
    assert not predictor.by_rule
    assert found.mean[TARGETS.index("jacobi.iterations")] == 0.0
    assert found.mean[TARGETS.index("product.seconds")] < -5  # which it cannot know


def test_without_weights_or_kernels_the_rule_is_asked(monkeypatch, no_weights):
    predictor = Predictor(nnla.as_operator(nnla.problems.poisson2d(80)))
    predictor.costs(1e-8)
    assert predictor.by_rule
    assert predictor.failure
    monkeypatch.setattr(NumpySpace, "native", lambda self, matrix, diagonal: None)
    found = of(nnla.problems.poisson2d(80))
    assert 0 < found.way("direct").setup.expected < math.inf


def test_an_ordering_that_gave_up_is_a_bound():
    found = of(nnla.problems.poisson2d(80))
    before = found.of("factor.seconds")
    flops = 50 * math.exp(found.of("direct.flops").mean)
    found.learn_bound(flops)
    assert found.of("factor.seconds").mean > before.mean + 3
    assert not found.ordered
    assert found.ordering > 0
    assert "direct" in [way.name for way in found.ways()]


def test_what_falls_behind_says_so_of_the_others():
    found = of(nnla.problems.poisson2d(80))
    plain, direct, ic = found.way("plain"), found.way("direct"), found.way("ic")
    found.slow_down("ic", math.log(5.0))
    assert found.way("plain").solve.expected == pytest.approx(5 * plain.solve.expected)
    assert found.way("direct") == direct
    assert found.way("ic") == ic  # which is known by itself


def test_a_direct_solution_may_be_cheapest_for_sure():
    found = of(nnla.problems.poisson2d(80))
    assert found.direct_for_sure() is None  # the rule is never so sure
    found.renew(found.costs._replace(std=[0.1] * len(TARGETS)), 0)
    found.learn_analysis(1.0, 1.0, 1.0, (Lognormal.of(1e-9), Lognormal.of(1e-9)))
    sure = found.direct_for_sure()
    assert sure is not None
    assert min(sure.values, key=lambda way: sure.values[way][0]) == "direct"
    assert set(sure.values) == set(found.left)
    for way in found.ways():
        seconds, factor = sure.values[way.name]
        assert seconds == pytest.approx(way.seconds.expected, rel=1e-9)
        if way.solve is not None:
            assert math.log(factor) == pytest.approx(way.seconds.std, rel=0.1)
    found.drop("direct")
    assert found.direct_for_sure() is None
