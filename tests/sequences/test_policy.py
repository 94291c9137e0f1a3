"""Policies, expectations and changes: on numbers, without solves."""

import math

import numpy as np
import pytest
import scipy.sparse as sp

from nnla.sequences.changes import Change, change_between, marks_of
from nnla.sequences.costs import Costs
from nnla.sequences.patterns import in_one_pattern
from nnla.sequences.policy import (
    POLICIES,
    Action,
    Every,
    GuessOnly,
    Learned,
    Situation,
    chebyshev_iterations,
    cycle_cost,
)
from nnla.sequences.systems import drift_between


def test_what_is_kept_is_used_until_its_mean_would_rise():
    """By the renewal rule the cost a solve is within a hundredth of that of the best cycle in hindsight."""
    setup, costs = 3.0, [1.0 + 0.2 * age for age in range(40)]
    spent, solves, age, cycle = 0.0, 400, None, 0.0
    for _ in range(solves):
        keep = None if age is None else costs[age]
        average = math.inf if not age else cycle / age
        now = Situation(Change.VALUES, age=age, cold=9.0, refresh=setup + costs[0], keep=keep, average=average)
        if age == 0 or Learned().choose(now).action is not Action.KEEP:
            age, cycle, step = 1, setup + costs[0], setup + costs[0]
        else:
            step = costs[age]
            age, cycle = age + 1, cycle + step
        spent += step
    assert spent / solves == pytest.approx(cycle_cost(setup, costs)[0], rel=0.01)


def test_nothing_is_paid_in_advance_beyond_a_tenth():
    """Whatever is expected, the estimated loss at any time is at most a tenth of what cold solves take."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        spent = cold = 0.0
        factored, substituted = rng.uniform(2.0, 30.0), rng.uniform(0.01, 0.5)
        there = False
        for solves in range(60):
            now = Situation(
                Change.SAME, age=0, cold=1.0, refresh=1.0, keep=substituted if there else 0.95, owed=spent - cold,
                cold_so_far=cold, factored=None if there else factored, substituted=substituted, method="ic",
                solves=solves,
            )  # fmt: skip
            plan = Learned().choose(now)
            there = there or plan.method == "direct"
            spent += factored if plan.method == "direct" else now.keep
            cold += 1.0
            assert spent <= 1.1 * cold + 1e-9
        if factored < 8.0:
            assert there


def test_a_sequence_unlike_itself_is_solved_from_nothing():
    now = Situation(Change.PATTERN, age=1, cold=1.0, refresh=5.0, keep=40.0, average=2.0)
    assert Learned().choose(now).action is Action.COLD


def test_fixed_policies():
    later = Situation(Change.VALUES, age=3, cold=1.0, refresh=0.5, keep=9.0)
    first = Situation(Change.VALUES, age=None, cold=1.0, refresh=0.5)
    same = Situation(Change.SAME, age=0, cold=1.0, refresh=0.5, keep=0.1)
    expected = {
        "always fresh": Action.REFRESH, "never refresh": Action.KEEP, "every 10": Action.KEEP,
        "guess only": Action.REFRESH, "deflation only": Action.REFRESH,
    }  # fmt: skip
    assert set(POLICIES) == set(expected)
    for name, policy in POLICIES.items():
        assert policy.choose(later).action is expected[name]
        assert policy.choose(first).action is Action.REFRESH
        assert policy.choose(same).action is Action.KEEP
    assert Every(3).choose(later).action is Action.REFRESH
    assert GuessOnly(5).choose(later).guess == 5


def test_chebyshev_iterations_bound_those_of_cg():
    rng = np.random.default_rng(1)
    for drift in (0.01, 0.3, 2.0):
        spectrum = np.exp(drift * rng.uniform(size=200))
        spectrum[:2] = 1.0, np.exp(drift)
        x, r = np.zeros(200), rng.standard_normal(200)
        exact, p, count = r / spectrum, r.copy(), 0
        start = exact @ (spectrum * exact)
        while (exact - x) @ (spectrum * (exact - x)) > 1e-16 * start:
            q = spectrum * p
            alpha = (r @ r) / (p @ q)
            x, new = x + alpha * p, r - alpha * q
            p, r, count = new + (new @ new) / (r @ r) * p, new, count + 1
        assert count <= math.ceil(chebyshev_iterations(drift, math.log(1e8)))


def test_drift_is_blind_to_units_and_sees_coefficients():
    d = np.random.default_rng(2).uniform(1.0, 2.0, 50)
    assert drift_between(d, 1e200 * d) == pytest.approx(0.0, abs=1e-12)
    assert drift_between(d, d * np.linspace(1.0, math.e, 50)) == pytest.approx(1.0)
    assert drift_between(d, -d) == math.inf


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "dia", "bsr", "dense"])
def test_every_change_is_seen(kind):
    A = sp.csr_array(sp.diags_array([np.ones(9), np.full(10, 4.0), np.ones(9)], offsets=[-1, 0, 1]))
    B = A.toarray() if kind == "dense" else A.asformat(kind)
    before = marks_of(B)
    assert change_between(before, marks_of(B.copy())) is Change.SAME
    data = B if kind == "dense" else B.data
    data.flat[5] += 1e-13
    assert change_between(before, marks_of(B)) is Change.VALUES
    other = sp.eye_array(10, format="csr")
    other = other.toarray()[:9, :9] if kind == "dense" else other.asformat(kind)
    assert change_between(before, marks_of(other)) is Change.PATTERN
    assert marks_of(lambda v: v) is None


def test_speeds_are_learned_and_counts_are_not():
    costs, counts = Costs(), Costs(learn=False)
    for _ in range(30):
        for kind in (costs, counts):
            kind.learn("factor", measured=6.0, counted=2.0)
            kind.learn("factor", measured=math.inf, counted=2.0)
    assert costs.seconds("factor", 10.0) == pytest.approx(30.0, rel=1e-3)
    assert counts.seconds("factor", 10.0) == 10.0


def test_one_pattern_for_two():
    rng = np.random.default_rng(3)
    for _ in range(20):
        dense = np.diag(rng.uniform(4.0, 5.0, 60))
        for i, j in rng.integers(0, 60, (40, 2)):
            dense[i, j] = dense[j, i] = rng.uniform(-1.0, 1.0)
        other = dense.copy()
        i, j = rng.integers(0, 60, 2)
        other[i, j] = other[j, i] = 0.5
        A, B = sp.csr_array(dense), sp.csr_array(other)
        found = in_one_pattern(A, B)
        assert found is not None
        matrix, contained = found
        assert np.array_equal(matrix.toarray(), dense)
        assert contained == (matrix.nnz == B.nnz)
        assert set(zip(*B.nonzero(), strict=True)) <= set(zip(*matrix.tocoo().coords, strict=True))
    assert in_one_pattern(A, sp.csr_array(np.ones((60, 60)))) is None
