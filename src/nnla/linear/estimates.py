"""What each way to solve one system is expected to take: costs as learned or by rule, the machine, exact facts.

One `Estimates` is kept through a solve and told what comes to be known: the count of an analysis, first steps, the
polynomial engine's answer, seconds. It stands on no solve under way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import memory_limit
from nnla.linear.decision import WIDEST, Lognormal, Steps, Way, total
from nnla.linear.predictor import BADLY, KERNEL_OF, NARROWEST, TOLD, Predictor, has_pyamg
from nnla.linear.progress import left_after
from nnla.linear.rule import FAILURES, TARGETS, Costs
from nnla.linear.speeds import REFERENCE, THIS_MACHINE, Speeds
from nnla.operators.operator import Operator
from nnla.polynomials.design import EFFICIENCY

__all__ = [
    "MOST_FLOPS",
    "Estimates",
    "Sure",
    "clock_for",
    "direct_seconds",
    "ways_of",
]

_LARGEST_LU = 50_000  # unknowns that SuperLU is let loose on
_LARGEST_DENSE = 20_000
_WORTH_COARSENING = 4000  # unknowns below which multigrid's set-up never pays
_HUB = 100  # longest by mean row from which coarsening, which works row against row, takes the square of that
_WORTH_THREADS = 200_000  # stored entries
_THREAD_GAIN = 0.7  # of each thread beyond the first, beyond the cache
_ENGINE_STD = 0.5  # of the logarithm of the iterations that a polynomial's engine predicts
_MEASURED_STD = 0.1
_SURE = 0.5  # standard deviations that a decision has to be clear by, for nothing to be found out first
_MORE_FLOPS, _GIVEN_UP_STD = 2.0, 0.7  # operations by those that an ordering gave up at; how far that may be wrong
_ANALYSED_STD = 0.15  # of the seconds of a factorisation whose operations have been counted
_DESIGN = 0.2  # of a polynomial's set-up: what is left of it after its probe, at least
#: Change of the logarithm of iterations by that of Jacobi-CG's, where these are not what was expected (auto_replay.py).
_FOLLOWS = {"ic": 0.7, "amg": 0.55, "autospec": 1.0}
LEAST_FLOPS, MOST_FLOPS = 1e6, 1e13  # operations of a factorisation that is always, and never worth its count
#: Seconds of a column of a block by those of a single vector.
_BLOCK = {"product": 1.75, "ic": 0.8, "amg": 1.0, "polynomial": 1.75, "substitution": 0.35}

_NOTHING = Lognormal.of(0.0)
_AT = {name: k for k, name in enumerate(TARGETS)}
_OF_A_FACTOR = frozenset(_AT[name] for name in ("direct.flops", "direct.entries", "factor.seconds"))
_ITERATIONS = frozenset(k for name, k in _AT.items() if name.endswith(".iterations"))
_FAILS = {name: k for k, name in enumerate(FAILURES)}


def ways_of(op: Operator, columns: int = 1) -> tuple[str, ...]:
    """The methods that can run at all: "plain", "autospec", and "direct", "ic", "amg" where there are entries."""
    ways = ["plain", "autospec"]
    if op.csr is None:
        return ("direct", *ways) if op.nnz == op.n**2 and op.n <= _LARGEST_DENSE else tuple(ways)
    if Cholesky.available() or op.n <= _LARGEST_LU:
        ways.insert(0, "direct")
    if op.csr.nnz > op.n:
        ways.append("ic")
    structure = op.structure
    hubs = structure is not None and structure.longest_row > _HUB * structure.mean_row
    if op.n >= _WORTH_COARSENING and not hubs and has_pyamg():
        ways.append("amg")
    return tuple(ways)


def clock_for(op: Operator) -> Callable[[], float]:
    """The clock that says what work on this operator takes: CPU time of this thread, where that does it all, as a busy
    machine makes the other one run; else the time of day."""
    alone = op.xp == "numpy" and (op.native is None or op.native.threads == 1)
    return time.thread_time if alone else time.perf_counter


class Sure(NamedTuple):
    """A direct solution that nothing else is likely to come near.

    Attributes
    ----------
    values : way -> expected seconds from here, and the factor of a standard deviation, to first order
    flops : operations of a factorisation beyond which something might
    """

    values: dict[str, tuple[float, float]]
    flops: float


class Estimates:
    """Expected seconds of each way, kept up to date.

    Parameters
    ----------
    costs : on the reference machine
    speeds : of this one
    ways : that can run, as `ways_of` names them
    n, nnz : size of the system
    columns : right-hand sides of a block
    solves : one after another, with one set-up
    threads : of the kernels
    memory : bytes that a factor may take

    Attributes
    ----------
    done : first steps of Jacobi-CG that have been taken
    ordered : an analysis has counted what a factorisation takes
    """

    def __init__(
        self,
        costs: Costs,
        speeds: Speeds = REFERENCE,
        *,
        ways: tuple[str, ...],
        n: int,
        nnz: int,
        columns: int = 1,
        solves: int = 1,
        threads: int = 1,
        memory: float | None = None,
    ) -> None:
        self.costs, self.speeds, self.left = costs, speeds, list(ways)
        self.n, self.nnz, self.columns, self.solves = n, nnz, columns, solves
        self.memory = memory_limit() if memory is None else memory
        gain = -math.log(1.0 + _THREAD_GAIN * (threads - 1)) if nnz > _WORTH_THREADS else 0.0
        self._shifts = {name: speeds.of(kernel) for name, kernel in KERNEL_OF.items()}
        for name in ("product.seconds", "autospec.step_seconds", "autospec.setup_seconds"):
            self._shifts[name] += gain
        if columns > 1:
            self._shifts["product.seconds"] += math.log(columns * _BLOCK["product"])
        self.done, self.ordered = 0, False
        self.told = TOLD
        self._drift = 0.0  # logarithm of what seconds of this solve were by those predicted
        self._known: dict[str, Lognormal] = {}  # in the place of what was predicted
        self._ways: list[Way] | None = None
        self._kept: dict[str, Way] = {}
        self._sunk: dict[str, float] = {}  # set-ups that have been paid for
        self._fits = 1.0

    # -- what comes to be known -------------------------------------------------------------------------------------

    def renew(self, costs: Costs, done: int) -> None:
        """Costs with what the first steps have told."""
        self.costs, self.done = costs, done
        self._changed()

    def observe(self, seconds: float, iterations: int) -> None:
        """Take note of what Jacobi-CG iterations of this solve took; what slows them may slow the rest."""
        if iterations <= 0 or not seconds > 0:
            return
        self._changed()
        predicted = self._predicted("product.seconds")
        gap = math.log(seconds / iterations) - predicted.mean
        common = self.speeds.spread**2
        self._drift = gap * common / (common + predicted.std**2 + _MEASURED_STD**2)
        self._known["product.seconds"] = Lognormal(predicted.mean + gap, _MEASURED_STD)

    def learn_analysis(
        self, flops: float, entries: float, nbytes: float, seconds: tuple[Lognormal, Lognormal] | None
    ) -> None:
        """What an analysis has counted: operations, entries and bytes of the factor, and what that takes, if known."""
        self.ordered = True
        self._changed("direct")
        self._fits = 1.0 if nbytes <= self.memory else 0.0
        gap = math.log(max(flops, 1.0)) - self.costs.mean[_AT["direct.flops"]]
        if seconds is None:
            factor = Lognormal(self.costs.mean[_AT["factor.seconds"]] + gap, _ANALYSED_STD)
            more = math.log(max(entries, 1.0)) - self.costs.mean[_AT["direct.entries"]]
            seconds = factor, Lognormal(self.costs.mean[_AT["substitution.seconds"]] + more, _ANALYSED_STD)
        for name, known in zip(("factor.seconds", "substitution.seconds"), seconds, strict=True):
            shift = self.speeds.of(KERNEL_OF[name]) + self._drift
            self._known[name] = Lognormal(known.mean + shift, known.std)

    def learn_polynomial(self, outer: float, degree: int) -> None:
        """Outer iterations that the polynomial's engine predicts, which say much of CG's own."""
        self._changed()
        self._known["autospec.iterations"] = Lognormal.of(max(outer, 1.0), _ENGINE_STD)
        self._known["jacobi.iterations"] = Lognormal.of(
            self.done + max(1.0, outer * (degree + 1) * EFFICIENCY), _ENGINE_STD
        )

    def slow_down(self, way: str, logarithm: float) -> None:
        """One way turns out to take exp(``logarithm``) times the iterations: the others that iterate will, too."""
        for other in self.left:
            if other not in (way, "direct"):
                name = f"{'jacobi' if other == 'plain' else other}.iterations"
                mean, std = self.of(name)
                share = _FOLLOWS["amg"] if other == "amg" else 1.0  # what slows one Krylov method slows the others
                self._known[name] = Lognormal(mean + share * logarithm, std)
        self._changed()

    def paid(self, name: str) -> None:
        """A set-up has been paid for."""
        self._changed()
        self._sunk[name] = self.of(name).expected
        self._known[name] = _NOTHING

    def only_plain(self) -> None:
        """Nothing better is left."""
        self.left, self._ways = ["plain"], None

    def drop(self, way: str) -> None:
        """A way that leads nowhere."""
        self._ways = None
        if way in self.left:
            self.left.remove(way)

    # -- what is expected -------------------------------------------------------------------------------------------

    def of(self, name: str) -> Lognormal:
        """One of `TARGETS`, in seconds of this machine where it is seconds."""
        known = self._known.get(name)
        return self._predicted(name) if known is None else known

    def _predicted(self, name: str) -> Lognormal:
        k = _AT[name]
        shift = self._shifts.get(name)
        mean = self.costs.mean[k]
        # all of the spread of a factorisation counts where an ordering bounds what a bad outcome costs
        std = self.costs.std[k] if k in _OF_A_FACTOR else min(self.costs.std[k], WIDEST)
        if shift is None:
            return Lognormal(mean, max(std, NARROWEST) if k in _ITERATIONS else std)
        return Lognormal(mean + shift + self._drift, std)

    def step(self, way: str) -> Lognormal:
        """Seconds of an iteration, for all columns."""
        if way == "plain":
            return self.of("product.seconds")
        return self._columns(self.of(f"{way}.step_seconds"), "polynomial" if way == "autospec" else way)

    def iterations(self, way: str) -> Lognormal:
        """Iterations of a way that are left."""
        if way == "plain":
            return left_after(self.of("jacobi.iterations"), self.done)
        return self.of(f"{way}.iterations")

    def failure(self, way: str) -> float:
        """Probability that a way leads nowhere."""
        if way != "direct":
            return self.costs.failure[_FAILS["jacobi" if way == "plain" else way]]
        if self.ordered:
            return 1.0 - self._fits
        entries = self.of("direct.entries")
        gap = math.log(max(self.memory, 1.0) / 12.0) - entries.mean
        return 0.5 * math.erfc(gap / max(entries.std, 1e-6) * math.sqrt(0.5)) if gap < 4.0 * entries.std + 1e-6 else 0.0

    def way(self, name: str) -> Way:
        """What one way takes from here."""
        if name == "direct":
            parts = (self.of("factor.seconds"), self.of("substitution.seconds").times(self._substitutions))
            return Way(
                name, total((*parts, self.of("product.seconds").times(2.0 * self.solves))), None, self.failure(name)
            )
        solve = self.iterations(name).and_times(self.step(name)).times(self.solves)
        setup = _NOTHING if name == "plain" else self.of(f"{name}.setup_seconds")
        if name == "autospec" and self.done:  # of its probe
            paid = self.done * self.of("product.seconds").expected / max(setup.expected, 1e-300)
            setup = setup.times(max(1.0 - paid, _DESIGN))
        return Way(name, setup, solve, self.failure(name), _FOLLOWS.get(name, 1.0))

    @property
    def factoring(self) -> float:
        """Expected seconds of a direct solution without its ordering."""
        seconds = self.of("substitution.seconds").expected * self._substitutions
        return self.of("factor.seconds").expected + seconds + self.of("product.seconds").expected * 2.0 * self.solves

    @property
    def _substitutions(self) -> float:
        """With the factor, by that of a single vector."""
        return self.solves * (self.columns * _BLOCK["substitution"] if self.columns > 1 else 1.0)

    def ways(self) -> list[Way]:
        """All that are left; kept until something new is known."""
        if self._ways is None:
            kept = self._kept
            for name in self.left:
                if name not in kept:
                    kept[name] = self.way(name)
            self._ways = [kept[name] for name in self.left if name != "direct" or kept[name].failure < 1.0]
        return self._ways

    def _changed(self, *names: str) -> None:
        """What is kept of these ways, by default of all, is no longer true."""
        self._ways = None
        for name in names or tuple(self._kept):
            self._kept.pop(name, None)

    def alone(self, name: str) -> float:
        """Expected seconds of a way from the beginning, with nothing before it."""
        if name == "direct":
            return self.of("order.seconds").expected + self.way(name).setup.expected
        if name == "plain":
            return self.of("jacobi.iterations").and_times(self.step(name)).times(self.solves).expected
        return self.way(name).seconds.expected + self._sunk.get(f"{name}.setup_seconds", 0.0)

    @property
    def cheapest(self) -> float:
        """Expected seconds of the cheapest way."""
        found = math.inf
        for way in self.ways():
            seconds = way.setup.expected + (self.ordering if way.solve is None else way.solve.expected)
            found = min(found, seconds)
        return found

    @property
    def ordering(self) -> float:
        """Expected seconds of the ordering that is still to be made."""
        return 0.0 if self.ordered or "direct" not in self.left else self.of("order.seconds").expected

    def direct_for_sure(self) -> Sure | None:
        """Where nothing that iterates is likely to come near a direct solution, so that nothing is to be found out
        first: what each way takes; else None."""
        if "direct" not in self.left or self.failure("direct") >= 1.0:
            return None
        factor = self.of("factor.seconds")
        direct = self.ordering + self.factoring
        values = {"direct": (direct, math.exp(factor.std * factor.expected / direct))}
        least = math.inf
        for name in self.left:
            if name == "direct":
                continue
            (count, std), (step, apart) = self.iterations(name), self.step(name)
            std = math.hypot(std, apart)
            median = self.solves * math.exp(min(count + step, 600.0))
            setup = 0.0 if name == "plain" else self.of(f"{name}.setup_seconds").expected
            least = min(least, setup + median * math.exp(-_SURE * std))
            if least <= direct:
                return None
            seconds = setup + median * math.exp(0.5 * std * std)
            values[name] = seconds, math.exp(std * (1.0 - setup / seconds))
        return Sure(values, self.flops_worth(least))

    @property
    def worth_ordering(self) -> float:
        """Operations at which an ordering gives up: what the best other way may take, if it turns out badly."""
        others = (way.seconds for way in self.ways() if way.solve is not None)
        seconds = min((math.exp(min(s.mean + BADLY * s.std, 600.0)) for s in others), default=math.inf)
        return self.flops_worth(seconds)

    def learn_bound(self, flops: float) -> None:
        """An ordering has given up at so many operations: there are more, and it is to be made again."""
        gap = math.log(max(_MORE_FLOPS * flops, 1.0)) - self.costs.mean[_AT["direct.flops"]]
        mean = self.costs.mean[_AT["factor.seconds"]] + max(gap, 0.0) + self._shifts["factor.seconds"] + self._drift
        self._known["factor.seconds"] = Lognormal(mean, _GIVEN_UP_STD)
        self._changed("direct")

    def flops_worth(self, seconds: float) -> float:
        """Operations of a factorisation that takes so long."""
        by = self.of("direct.flops").mean - self.of("factor.seconds").mean
        return min(max(math.exp(min(math.log(max(seconds, 1e-300)) + by, 600.0)), LEAST_FLOPS), MOST_FLOPS)

    def steps(self, count: int, overhead: float = 0.0) -> Steps:
        """What so many first steps cost and tell."""
        seconds = self.of("product.seconds").expected * count + overhead
        return Steps(seconds, self.told * self.of("jacobi.iterations").std, "plain")

    def _columns(self, seconds: Lognormal, kernel: str) -> Lognormal:
        return seconds if self.columns == 1 else seconds.times(self.columns * _BLOCK[kernel])


def direct_seconds(op: Operator) -> float:
    """Expected seconds of a direct solution; infinite where there is none.

    Cost: that of `Predictor.costs`.
    """
    ways = ways_of(op)
    if "direct" not in ways:
        return math.inf
    native = op.native is not None
    speeds = THIS_MACHINE.speeds(native=native)
    costs = Predictor(op).costs(1e-8)
    estimates = Estimates(costs, speeds, ways=ways, n=op.n, nnz=int(op.nnz or op.n))
    if estimates.failure("direct") > 0.5:
        return math.inf
    return estimates.ordering + estimates.way("direct").setup.expected
