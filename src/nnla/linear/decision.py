"""Which way to take, by expected seconds: pure functions of lognormal estimates, which solve nothing.

A way is set up and then iterates, or factors; each part is known to a factor. What may still be found out has a price:
an ordering tells what a factorisation takes, a few steps of CG tell much of every method's iterations. It is bought
where deciding afterwards is expected to take less, the price included. Whatever iterates is watched, and may be left
for another way after some loss; so a gamble costs its expected loss and no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = [
    "SHOWN",
    "WIDEST",
    "Decision",
    "Lognormal",
    "Steps",
    "Way",
    "count_now",
    "decide",
    "expected_seconds",
    "left_for",
    "total",
]

WIDEST = 1.2  # standard deviation of a logarithm up to which the tail of a lognormal is believed in an open expectation
SHOWN = 0.5  # of the alternative's time: what is spent on an iteration before it is left for that (auto_replay.py)
_ROOT_HALF = math.sqrt(0.5)
# Gauss-Hermite rule of five points for the standard normal distribution: exact up to degree nine.
_NODES = (-2.8569700138728056, -1.355626179974266, 0.0, 1.355626179974266, 2.8569700138728056)
_WEIGHTS = (0.011257411327720693, 0.22207592200561266, 0.5333333333333333, 0.22207592200561266, 0.011257411327720693)
_OVERDUE = 1.5  # seconds spent on an iteration by those expected, after which a factorisation is counted in any case
_SURELY = 1e-3  # least probability of success that is reckoned with
_CERTAIN = 0.7  # of the seconds of a factorisation that has been counted: what an iteration must be expected to take
_DEAR = 0.1  # share of the seconds expected that first steps are never worth
_LARGEST = 600.0  # logarithms of seconds beyond which nothing will ever be run


class Lognormal(NamedTuple):
    """exp of a normal variable.

    Attributes
    ----------
    mean, std : of the logarithm; exp(mean) is the median, exp(std) the factor of one standard deviation

    Examples
    --------
    >>> sure = Lognormal.of(2.0)
    >>> sure.expected, sure.least_of(1.5), round(Lognormal(0.0, 1.0).expected, 4)
    (2.0, 1.5, 1.6487)
    """

    mean: float
    std: float = 0.0

    @classmethod
    def of(cls, value: float, std: float = 0.0) -> Lognormal:
        """With this median; 0 is next to nothing."""
        return cls(math.log(max(value, 1e-300)), std)

    @property
    def expected(self) -> float:
        """The expected value, of a tail that is believed up to `WIDEST`."""
        mean, std = self
        return math.exp(min(mean + 0.5 * min(std, WIDEST) ** 2, _LARGEST))

    def least_of(self, limit: float) -> float:
        """The expected value of the smaller one of it and a number: exact, of what can be left for a known price."""
        return _least(self.mean, self.std, limit)

    def times(self, factor: float) -> Lognormal:
        """So many times as much."""
        return Lognormal(self.mean + math.log(max(factor, 1e-300)), self.std)

    def and_times(self, other: Lognormal) -> Lognormal:
        """The product with an independent one."""
        return Lognormal(self.mean + other.mean, math.hypot(self.std, other.std))


def total(parts: Iterable[Lognormal]) -> Lognormal:
    """The sum of independent lognormal variables, as the lognormal of its mean and variance.

    References
    ----------
    Fenton, IRE Transactions on Communications Systems 8 (1960) 57-67.

    Examples
    --------
    >>> round(total([Lognormal.of(1.0), Lognormal.of(2.0)]).expected, 12)
    3.0
    """
    terms = [(part.mean + 0.5 * min(part.std, WIDEST) ** 2, part.std) for part in parts]
    most = max((log for log, _ in terms), default=-math.inf)
    if most == -math.inf:
        return Lognormal.of(0.0)
    mean = variance = 0.0
    for log, std in terms:  # in units of the largest
        share = math.exp(log - most)
        mean += share
        if std:
            variance += share * share * math.expm1(min(std * std, _LARGEST))
    spread = math.log1p(variance / mean / mean) if variance else 0.0
    return Lognormal(most + math.log(mean) - 0.5 * min(spread, WIDEST * WIDEST), math.sqrt(spread))


class Way(NamedTuple):
    """One way to solve what is left.

    Attributes
    ----------
    name : of the method
    setup : seconds until it begins to solve
    solve : seconds of its iterations; None for a factorisation, whose ``setup`` is all of it
    failure : probability that it leads nowhere
    follows : how much of it the iterations share with those of plain CG: 0, of a method of its own, to 1
    """

    name: str
    setup: Lognormal
    solve: Lognormal | None = None
    failure: float = 0.0
    follows: float = 1.0

    @property
    def seconds(self) -> Lognormal:
        """All of it, if it succeeds."""
        return self.setup if self.solve is None else total((self.setup, self.solve))

    def slower(self, logarithm: float) -> Way:
        """The same where iterations of plain CG are exp(``logarithm``) times as many."""
        if self.solve is None or not self.follows or not logarithm:
            return self
        mean, spread = self.solve
        return Way(
            self.name, self.setup, Lognormal(mean + self.follows * logarithm, spread), self.failure, self.follows
        )


class Steps(NamedTuple):
    """First steps of CG that may be taken to know more.

    Attributes
    ----------
    seconds : that they take
    tells : standard deviation of what they will tell of the logarithm of all iterations
    of : the way that they are the beginning of, to which they are no loss
    """

    seconds: float
    tells: float
    of: str


class Decision(NamedTuple):
    """What to do next.

    Attributes
    ----------
    action : name of a way, or "steps"; "direct" begins with its ordering where that is still to be made, and what it
        finds is a reason to decide anew
    values : action -> expected seconds from here, everything included that is likely to follow
    """

    action: str
    values: dict[str, float]

    @property
    def seconds(self) -> float:
        """Expected of the action."""
        return self.values[self.action]


def expected_seconds(way: Way, alternative: float, watched: bool = True) -> float:
    """Expected seconds of a way that is watched, and left where it takes too long or fails.

    Parameters
    ----------
    way : `Way`
    alternative : expected seconds of what would be done instead, infinite where there is nothing
    watched : False for what is taken to its end, however long that is

    Notes
    -----
    E[T] = S + E[min(K, (1 + s) a)] + p a for a set-up S, iterations K, probability p of failure, and alternative a:
    after a share s of it (`SHOWN`) has been spent, it is known what is left.

    Never less than the set-up, increasing in the estimates, in p and in the alternative.
    """
    if way.solve is None:
        seconds = way.setup.expected
        return seconds + way.failure * (alternative if alternative < math.inf else 0.0)
    return _watched(way.setup.expected, way.solve.mean, way.solve.std, way.failure, alternative, watched)


def decide(ways: Sequence[Way], *, ordering: float = 0.0, steps: Steps | None = None, watched: bool = True) -> Decision:
    """The next action of the least expected time.

    Parameters
    ----------
    ways : at least one; that of "direct" without its ordering
    ordering : seconds of the ordering, 0 where it has been made
    steps : what first steps cost and tell; None where they have been taken, or cannot be
    watched : whether what iterates can be left for something else

    Returns
    -------
    Decision

    Notes
    -----
    One look ahead. To order and then decide takes t + E[min(F, c)] for the ordering's time t, a factorisation of F
    seconds, and the cheapest other way's c. First steps take their time and, by a Gauss-Hermite rule over what they may
    say, the expected minimum of what there is then; they are never bought where every answer leads to the same way.

    Cost: some hundred operations on numbers, tens of microseconds.

    Examples
    --------
    >>> direct = Way("direct", Lognormal.of(1.0, 0.1))
    >>> decide([direct, Way("jacobi", Lognormal.of(0.0), Lognormal.of(0.1, 0.2))]).action
    'jacobi'
    >>> decide([direct, Way("jacobi", Lognormal.of(0.0), Lognormal.of(10.0, 0.2))], ordering=0.2).action
    'direct'
    """
    values = _values(ways, ordering, watched)
    best = min(values, key=values.__getitem__)
    sure = next((way.name for way in ways if way.solve is None), None) if ordering <= 0.0 else None
    if sure is not None and values[best] > _CERTAIN * values[sure]:
        best = sure
    if steps is not None and steps.tells > 0.0 and (steps.seconds < _DEAR * values[best] or best == steps.of):
        value = _value_of_steps(ways, ordering, steps, best, watched)
        if value is not None:
            values["steps"] = value
            if value < values[best] or best == steps.of:
                return Decision("steps", values)
    return Decision(best, values)


def left_for(left: Lognormal, alternative: float, spent: float) -> bool:
    """Whether an iteration with so much left is to be left for an alternative, after so many seconds.

    Nothing is left before a share `SHOWN` of the alternative has been spent on it: CG often gets faster.
    """
    return spent >= SHOWN * alternative and left.expected > alternative


def count_now(
    ordering: float, factor: Lognormal, left: Lognormal, spent: float, expected: Lognormal, behind: bool = False
) -> bool:
    """Whether to order the unknowns while something iterates, to know what a factorisation takes.

    Parameters
    ----------
    ordering : seconds that it takes
    factor, left, expected : seconds of the rest of a factorisation, of what is left of the iteration, and of all of it
        as they were expected
    spent : seconds of the iteration so far
    behind : less than half of the progress has been made that was expected by now

    Notes
    -----
    It is where the better of a factorisation and of going on is expected to take less than going on, the ordering
    included; and at once where what runs is far behind, at the latest when half as much again has been spent as was
    expected: nothing that was known beforehand is to be believed then.

    Examples
    --------
    >>> count_now(0.1, Lognormal.of(1.0, 1.0), Lognormal.of(9.0, 0.3), spent=1.0, expected=Lognormal.of(1.0))
    True
    >>> count_now(0.1, Lognormal.of(9.0, 0.1), Lognormal.of(0.5, 0.3), spent=1.0, expected=Lognormal.of(1.0))
    False
    """
    usual = math.exp(min(expected.mean, _LARGEST))
    if spent >= max(ordering, _OVERDUE * usual) or (behind and spent >= max(SHOWN * ordering, 0.5 * usual)):
        return True
    return spent >= SHOWN * ordering and ordering + factor.least_of(left.expected) < left.expected


_Numbers = tuple[str, float, float, float, float]  # of a way that iterates: name, set-up, mean, std, failure


def _values(ways: Sequence[Way], ordering: float, watched: bool) -> dict[str, float]:
    direct, numbers = None, list[_Numbers]()
    for way in ways:
        name, setup, solve, failure, _ = way
        if solve is None:
            direct = way
        else:
            numbers.append((name, setup.expected, solve.mean, solve.std, failure))
    return _from_numbers(numbers, direct, ordering, watched)


def _from_numbers(numbers: list[_Numbers], direct: Way | None, ordering: float, watched: bool) -> dict[str, float]:
    """Name -> expected seconds, with the best of the others in the place of what fails or takes too long."""
    least = second = math.inf  # of what each takes where there is nothing else; more, where it may fail
    cheapest = ""
    if direct is not None:
        least, cheapest = (ordering + direct.setup.expected) / max(1.0 - direct.failure, _SURELY), direct.name
    for name, setup, mean, std, failure in numbers:
        alone = (setup + math.exp(min(mean + 0.5 * min(std, WIDEST) ** 2, _LARGEST))) / max(1.0 - failure, _SURELY)
        if alone < least:
            least, second, cheapest = alone, least, name
        elif alone < second:
            second = alone
    values: dict[str, float] = {}
    other = math.inf
    for name, setup, mean, std, failure in numbers:
        values[name] = seconds = _watched(setup, mean, std, failure, second if name == cheapest else least, watched)
        other = min(other, seconds)
    if direct is not None:
        factoring = direct.setup.least_of(other) if ordering > 0.0 else direct.setup.expected
        if direct.failure > 0.0:  # known after the ordering
            instead = other if other < math.inf else factoring / max(1.0 - direct.failure, _SURELY)
            factoring = (1.0 - direct.failure) * factoring + direct.failure * max(factoring, instead)
        values[direct.name] = ordering + factoring
    return values


def _value_of_steps(ways: Sequence[Way], ordering: float, steps: Steps, best: str, watched: bool) -> float | None:
    """Expected seconds when deciding after the steps; None where every answer leads to what is best without."""
    direct, parts = None, list[tuple[str, float, float, float, float, float]]()
    for way in ways:
        name, setup, solve, failure, follows = way
        if solve is None:
            direct = way
        else:
            mean, std = solve
            known = min(steps.tells * follows, std)
            parts.append((name, setup.expected, mean, known, math.sqrt(std * std - known * known), failure))
    value, same = 0.0, best != steps.of
    for turn, k in enumerate((0, 4, 1, 3, 2)):  # the extreme answers first
        node = _NODES[k]
        numbers = [(name, setup, mean + node * known, std, failure) for name, setup, mean, known, std, failure in parts]
        values = _from_numbers(numbers, direct, ordering, watched)
        least, leads_to = math.inf, best
        for name, seconds in values.items():
            seconds = max(seconds, steps.seconds) if name == steps.of else seconds + steps.seconds
            if seconds < least:
                least, leads_to = seconds, name
        same = same and leads_to == best
        if same and (turn == 1 or (direct is not None and best == direct.name)):  # which no answer makes dearer
            return None
        value += _WEIGHTS[k] * least
    return None if same else value


def _watched(setup: float, mean: float, std: float, failure: float, alternative: float, watched: bool) -> float:
    """`expected_seconds` of numbers."""
    good = setup + _least(mean, std, (1.0 + SHOWN) * alternative if watched else math.inf)
    if failure <= 0.0:
        return good
    if alternative == math.inf:
        return good / max(1.0 - failure, _SURELY)  # better what does not fail
    return good + failure * alternative


def _least(mean: float, std: float, limit: float) -> float:
    """E min(X, limit) of a lognormal X."""
    if limit <= 0.0:
        return 0.0
    most = math.exp(min(mean + 0.5 * min(std, WIDEST) ** 2, _LARGEST))
    if limit == math.inf:
        return most
    gap = math.log(limit) - mean
    if std < 1e-9:
        return limit if gap < 0 else most
    z = gap / std
    if z > std + 6.0:  # as good as never
        return most
    if z < -6.0:  # as good as always
        return limit
    below = 0.5 * math.erfc((std - z) * _ROOT_HALF) * math.exp(min(mean + 0.5 * std * std, _LARGEST))
    return min(below + 0.5 * limit * math.erfc(z * _ROOT_HALF), most)
