"""Decisions from tables of lognormals: nothing is solved."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nnla.linear.decision import SHOWN, Lognormal, Steps, Way, decide, expected_seconds, left_for, total


def way(name, seconds, std=0.3, setup=0.0, failure=0.0, follows=1.0):
    if name == "direct":
        return Way(name, Lognormal.of(seconds, std), None, failure)
    return Way(name, Lognormal.of(setup), Lognormal.of(seconds, std), failure, follows)


def tables(count=60):
    rng = np.random.default_rng(0)
    for _ in range(count):
        names = ["direct", "plain", "ic", "amg", "autospec"][: rng.integers(2, 6)]
        yield [random_way(name, rng) for name in names], 10 ** rng.uniform(-5, 0)


def random_way(name, rng):
    seconds, std = 10 ** rng.uniform([-4, -1.5], [1, 0.3])
    return way(name, seconds, float(std), setup=10 ** rng.uniform(-5, 0), failure=rng.uniform(0, 0.5))


# -- lognormals ------------------------------------------------------------------------------------------------------


def test_expected_values_are_those_of_samples():
    z = np.random.default_rng(1).standard_normal(400_000)
    for mean, std in itertools.product((-3.0, 0.0, 2.0), (0.1, 0.6, 1.2)):
        samples, law = np.exp(mean + std * z), Lognormal(mean, std)
        assert law.expected == pytest.approx(samples.mean(), rel=0.02)
        for factor in (0.01, 0.3, 1.0, 3.0, 100.0):
            limit = factor * math.exp(mean)
            assert law.least_of(limit) == pytest.approx(np.minimum(samples, limit).mean(), rel=0.01)


def test_the_least_of_is_monotone_and_bounded():
    for std in (0.0, 1e-12, 0.01, 0.5, 2.0, 8.0, 40.0):
        law = Lognormal(1.0, std)
        found = [law.least_of(limit) for limit in (0.0, 1e-300, 1e-9, 0.1, 1.0, 3.0, 10.0, 1e9, 1e300, math.inf)]
        assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(found))
        assert found[0] == 0.0
        assert all(0.0 <= value <= law.expected * (1 + 1e-9) for value in found)
        assert found[4] <= 1.0


def test_sums_have_the_moments_of_their_parts():
    parts = [Lognormal(0.0, 0.5), Lognormal(1.0, 0.2), Lognormal(-2.0, 1.0)]
    z = np.random.default_rng(2).standard_normal((3, 400_000))
    samples = sum(np.exp(p.mean + p.std * zz) for p, zz in zip(parts, z, strict=True))
    found = total(parts)
    assert found.expected == pytest.approx(samples.mean(), rel=0.01)
    assert math.expm1(found.std**2) * found.expected**2 == pytest.approx(samples.var(), rel=0.05)
    assert total([]).expected < 1e-290
    assert total([Lognormal(900.0, 30.0)]).expected > 1e200  # no overflow


# -- one way ---------------------------------------------------------------------------------------------------------


def test_a_gamble_costs_its_expected_loss_and_no_more():
    sure, gamble = way("ic", 1.0, 0.0), way("ic", 1.0, 1.5)
    assert expected_seconds(sure, 10.0) == pytest.approx(1.0)
    assert expected_seconds(gamble, 10.0) > 1.5
    assert expected_seconds(gamble, 1.0) < 1.0 + SHOWN  # it may turn out well, and is left where it does not
    assert expected_seconds(gamble, 1.0, watched=False) == pytest.approx(gamble.seconds.expected)
    assert expected_seconds(way("ic", 100.0, 0.1), 1.0) == pytest.approx(1.0 + SHOWN, rel=1e-3)


def test_what_fails_costs_its_try_and_what_comes_after():
    for failure in (0.0, 0.1, 0.5, 1.0):
        found = expected_seconds(way("ic", 0.1, 0.0, setup=0.2, failure=failure), 10.0)
        assert found == pytest.approx(0.3 + failure * 10.0)
    assert expected_seconds(way("ic", 0.1, 0.0, failure=0.5), math.inf) == pytest.approx(0.2)


def test_expected_seconds_are_monotone():
    base = {"seconds": 0.5, "std": 0.5, "setup": 0.1, "failure": 0.1}
    for key, values in {
        "seconds": (0.01, 0.1, 1.0, 10.0), "std": (0.0, 0.3, 0.6), "setup": (0.0, 0.1, 1.0), "failure": (0.0, 0.3, 0.9),
    }.items():  # fmt: skip
        for alternative in (0.05, 1.0, 100.0):
            if key == "std" and alternative < 1.0:
                continue  # what may turn out well is worth a try
            found = [expected_seconds(way("ic", **(base | {key: value})), alternative) for value in values]
            assert all(a <= b + 1e-12 for a, b in itertools.pairwise(found)), (key, alternative)
    found = [expected_seconds(way("ic", **base), alternative) for alternative in (0.0, 0.1, 1.0, 10.0, math.inf)]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(found[:-1]))


# -- decisions -------------------------------------------------------------------------------------------------------


def test_without_spread_the_cheapest_is_taken():
    for ways, ordering in tables():
        sure = [
            Way(w.name, Lognormal(w.setup.mean), None if w.solve is None else Lognormal(w.solve.mean)) for w in ways
        ]
        alone = {w.name: w.seconds.expected + (ordering if w.name == "direct" else 0.0) for w in sure}
        decision = decide(sure, ordering=ordering)
        assert decision.action == min(alone, key=alone.__getitem__)
        assert decision.seconds == pytest.approx(min(alone.values()))


def test_the_same_every_time_and_in_every_order_of_the_ways():
    for ways, ordering in tables(30):
        steps = Steps(1e-3, 0.5, "plain")
        first = decide(ways, ordering=ordering, steps=steps)
        assert first == decide(ways, ordering=ordering, steps=steps)
        turned = decide(ways[::-1], ordering=ordering, steps=steps)
        assert turned.action == first.action
        assert turned.values == pytest.approx(first.values)
        assert first.action in first.values
        assert all(0.0 < seconds < math.inf for seconds in first.values.values())


def test_a_way_that_gets_dearer_makes_nothing_cheaper():
    for ways, ordering in tables(30):
        before = decide(ways, ordering=ordering)
        for k, one in enumerate(ways):
            if one.solve is None:
                continue
            worse = [*ways[:k], one._replace(solve=one.solve.times(3.0)), *ways[k + 1 :]]
            after = decide(worse, ordering=ordering)
            assert all(after.values[name] >= seconds * (1 - 1e-9) for name, seconds in before.values.items())


def test_an_ordering_is_made_where_it_may_change_the_decision():
    unsure = way("direct", 1.0, 1.0)
    other = way("ic", 1.2, 0.0)
    assert decide([unsure, other], ordering=0.01).action == "direct"  # cheap to know
    assert decide([unsure, other], ordering=0.9).action == "ic"
    assert decide([way("direct", 30.0, 0.1), other], ordering=0.01).action == "ic"  # nothing that it could find
    known = decide([unsure, other], ordering=0.01).values["direct"]
    assert known < 0.01 + min(unsure.seconds.expected, 1.2)  # the better of the two, once it is known
    assert decide([unsure, other]).values["direct"] == pytest.approx(unsure.seconds.expected)


def test_steps_are_bought_only_where_they_may_change_the_decision():
    direct, jacobi = way("direct", 1.0, 0.1), way("plain", 3.0, 1.5)
    assert decide([direct, jacobi], steps=Steps(0.01, 1.4, "plain")).action == "steps"
    assert decide([direct, jacobi], steps=Steps(0.9, 1.4, "plain")).action == "direct"  # too dear
    for ways, ordering in tables():
        with_steps = decide(ways, ordering=ordering, steps=Steps(1e-3, 0.5, "plain"))
        if with_steps.action == "steps" and "plain" in {w.name for w in ways}:
            best = decide(ways, ordering=ordering).action
            assert with_steps.values["steps"] < with_steps.values[best] or best == "plain"
    hopeless = way("plain", 1e4, 0.5)
    decision = decide([direct, hopeless], steps=Steps(1e-6, 0.5, "plain"))
    assert decision.action == "direct"
    assert "steps" not in decision.values  # every answer leads to the same
    assert decide([direct, jacobi], steps=Steps(1e-6, 0.0, "plain")).action != "steps"  # they tell nothing


def test_the_way_that_steps_are_the_beginning_of_begins_with_them():
    decision = decide([way("direct", 10.0), way("plain", 0.1)], steps=Steps(0.01, 0.5, "plain"))
    assert decision.action == "steps"
    assert decision.seconds < 0.2


def test_a_safe_method_is_preferred_where_the_cheap_one_is_a_gamble_that_cannot_be_left():
    safe, gamble = way("direct", 1.0, 0.1), way("ic", 0.6, 1.2)
    assert decide([safe, gamble], watched=False).action == "direct"
    assert decide([safe, way("ic", 0.6, 0.1)], watched=False).action == "ic"
    assert decide([safe, way("ic", 0.9, 0.1)], watched=False).action == "direct"  # not worth the risk
    assert decide([safe, way("ic", 0.9, 0.1, failure=0.3)]).action == "direct"


def test_what_is_left_for_something_else():
    left = Lognormal.of(2.0, 0.1)
    assert left_for(left, 1.0, spent=1.0)
    assert not left_for(left, 1.0, spent=0.5 * SHOWN)  # too early to tell
    assert not left_for(left, 3.0, spent=10.0)
    assert not left_for(left, math.inf, spent=1e9)
