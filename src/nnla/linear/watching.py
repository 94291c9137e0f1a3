"""Whatever iterates in ``method="auto"`` is watched against what was expected of it, and left where it falls behind.

Three rules, the first that applies: a factorisation is counted once that is likely to pay, or what runs is late
(`nnla.linear.decision.count_now`); what is left, by the prediction and the rate so far, is compared with the
alternative; and once a finish is certain, everything that iterates together may cost as much as it, and no more.
"""

from __future__ import annotations

import math
import time

import numpy as np

from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.cg import CGResult
from nnla.linear.decision import SHOWN, Lognormal, Way, count_now, decide, left_for
from nnla.linear.estimates import MOST_FLOPS, Estimates, clock_for, ways_of
from nnla.linear.predictor import Predictor
from nnla.linear.progress import iterations_left, left_by_progress
from nnla.linear.speeds import REFERENCE, THIS_MACHINE
from nnla.linear.state import Run, Stretch

__all__ = ["PATIENCE", "Watched"]

PATIENCE = 20  # iterations between looks at what runs
_ORDERINGS = 1  # that may give up for what else there is; the next one goes to its end
_MOST_SLOWER = 4.0  # of the logarithm of what iterations may turn out to take, by those expected
_GIVEN = (60.0, 1.5)  # iterations that CG with a user's M is expected to take, and the spread of their logarithm
_GIVEN_MORE = 0.1  # seconds that a user's M gets in any case
_IN_SIGHT = 1.0 / 3.0  # of the seconds of a certain finish: what is left of an iteration that is let go on beside it
_LEARNED_FROM = 5e-4  # seconds below which a clock says more of Python than of the kernels
_KERNEL_OF = {"ic": "ic", "amg": "amg", "autospec": "polynomial"}


class Watched:
    """A run with what is expected of its ways, and what has been found out.

    Parameters
    ----------
    run : under way
    degree : of the polynomial

    Attributes
    ----------
    op : in the user's order
    predictor, estimates : of what each way takes
    sure : of a direct solution that is so clearly the cheapest that nothing is to be found out first, else None
    clock : of what runs
    analysed : a factorisation that has been counted, None where none was
    orderings : how many have been made
    iterated : seconds that everything that iterates has taken
    said : what is worth knowing, in words
    """

    def __init__(self, run: Run, degree: int) -> None:
        self.run, self.degree = run, degree
        self.op = op = run.op
        columns = 1 if run.b.ndim == 1 else int(run.b.shape[1])
        self.predictor = Predictor(op, degree)
        speeds = REFERENCE if run.deterministic else THIS_MACHINE.speeds(native=op.native is not None)
        self.rtol = run.rtol_left
        self.estimates = Estimates(
            self.predictor.costs(self.rtol),
            speeds,
            ways=ways_of(op, columns),
            n=op.n,
            nnz=int(op.nnz) if op.nnz is not None else op.n,
            columns=columns,
            threads=1 if op.native is None or run.deterministic else op.native.threads,
        )
        self.orderings, self.iterated = 0, 0.0
        self.said: list[str] = []
        if run.more_flops:
            self._given_up(run.more_flops)
        self.sure = self.estimates.direct_for_sure()
        if self.sure is None and self.predictor.look(self.estimates.cheapest):
            self.estimates.renew(self.predictor.costs(self.rtol), 0)
            self.sure = self.estimates.direct_for_sure()
        # of what is known by products alone, nothing is known before it has multiplied
        self.estimates.told = 1.0 if op.csr is None and op.nnz is None else self.predictor.told
        self.clock = clock_for(op)
        self.analysed: Cholesky | None = None

    def _alternative(self, way: str, slower: float = 0.0) -> float:
        """Expected seconds of the best of the others, where iterations take exp(slower) times as many as expected."""
        others = self._others(way, slower)
        return decide(others, ordering=self.estimates.ordering).seconds if others else math.inf

    def _others(self, way: str, slower: float) -> list[Way]:
        return [other.slower(slower) for other in self.estimates.ways() if other.name not in (way, "plain")]

    def _order(self, most: float | None = None) -> bool:
        """Order the unknowns and count what a factorisation takes; whether it is to be had.

        Parameters
        ----------
        most : operations to give up at, by default what else there is would take
        """
        run, estimates = self.run, self.estimates
        started, began = time.perf_counter(), self.clock()
        if self.orderings >= _ORDERINGS:
            most = MOST_FLOPS
        elif most is None:
            most = estimates.worth_ordering
        try:
            analysed = Cholesky(self.op.csr, max_flops=most)
        except NNLAError:  # LU takes what this does not
            estimates.ordered = True
            return True
        finally:
            run.setup += time.perf_counter() - started
        if not analysed.complete:
            self._given_up(analysed.flops)
            return False
        self.orderings += 1
        if not run.deterministic:
            self._learn("order", self.clock() - began, "order.seconds")
        self.analysed = analysed
        seconds = self.predictor.after_analysis(analysed.flops, analysed.nnz)
        estimates.learn_analysis(analysed.flops, analysed.nnz, analysed.nbytes, seconds)
        self.said.append(f"a factorisation takes {analysed.flops:.2g} operations")
        return True

    def _given_up(self, flops: float) -> None:
        """An ordering was, at so many operations."""
        self.orderings += 1
        self.said.append(f"a factorisation takes more than {flops:.2g} operations")
        if self.orderings > _ORDERINGS:
            self.run.decline("direct", f"direct: more than {flops:.0e} operations")
            self.estimates.drop("direct")
        self.estimates.learn_bound(flops)

    def _watch(self, stretch: Stretch, way: str, expected: Lognormal, start: float | None = None) -> None:
        self._drive(stretch, way, expected, start)
        stretch.end()

    def _drive(self, stretch: Stretch, way: str, expected: Lognormal, start: float | None) -> None:
        """Advance CG until it ends, or until the rest is expected to take longer than something else.

        Parameters
        ----------
        way, expected : what runs, and the iterations expected of it, those behind it included
        start : norm of the residual that it began with
        """
        run, estimates = self.run, self.estimates
        start = stretch.started if start is None else start
        before, began = stretch.result.iterations, self.clock()
        step = predicted = estimates.step(way).expected
        alternative = self._alternative(way)
        patience = PATIENCE if way != "autospec" else PATIENCE // 5
        shown = min(SHOWN * alternative, 0.5 * step * math.exp(min(expected.mean, 600.0)))
        ahead = max(patience, math.ceil(min(shown / max(step, 1e-12), 1e6)))
        while alternative < math.inf or estimates.ordering > 0.0:
            stretch.advance(ahead)
            done = stretch.result.iterations - before
            if done and not run.deterministic:
                step = (self.clock() - began) / done
            if not stretch.goes_on or self._over_the_rent(stretch.result, step, self.iterated + done * step):
                break
            if self._too_slow(stretch.result, way, expected, start, step, done * step):
                break
            ahead = max(patience, done // 3)
            rent = (self._finish - self.iterated) / max(step, 1e-12) - done  # iterations to where it is due
            if 0.0 < rent < ahead:
                ahead = max(patience, math.ceil(rent))
        else:
            stretch.advance()
        done = stretch.result.iterations - before
        self.iterated += done * step
        if done and not run.deterministic and way != "plain":
            self._learn(_KERNEL_OF[way], self.clock() - began, None, predicted * done)

    def watch_given(self, stretch: Stretch, began: float) -> None:
        """CG with the user's M, of which nothing is known but what it does."""
        run, estimates = self.run, self.estimates
        expected, start, step = Lognormal.of(*_GIVEN), stretch.started, 2.0 * estimates.step("plain").expected
        while stretch.goes_on:
            done = stretch.result.iterations
            if not run.deterministic:
                step = (self.clock() - began) / done
            spent = done * step
            if spent > _GIVEN_MORE and self._too_slow(stretch.result, "given", expected, start, step, spent):
                return
            stretch.advance(max(PATIENCE, done // 3))

    def _too_slow(
        self, result: CGResult, way: str, expected: Lognormal, start: float, step: float, spent: float
    ) -> bool:
        left = left_by_progress(expected, result, start, self._target)
        all_of_it = result.iterations + math.exp(min(left.mean, 600.0))
        slower = 0.0
        if way != "given":  # the others will be slower as well
            slower = min(max(math.log(all_of_it) - expected.mean, 0.0), _MOST_SLOWER)
        seconds = left.times(step)
        if self._worth_counting(seconds, spent, expected.times(step), self._behind(result, expected, start)):
            self._order(self.estimates.flops_worth(seconds.expected))
        leave = self._finish < seconds.expected or left_for(seconds, self._alternative(way, slower), spent)
        if leave and way != "given":
            self.estimates.slow_down(way, slower)
        return leave

    def _behind(self, result: CGResult, expected: Lognormal, start: float) -> bool:
        """Whether less than half of the progress has been made that was expected by now."""
        goal = math.log(max(start, 1e-300) / max(self._target, 1e-300))
        made = math.log(max(start, 1e-300) / max(min(result.first, default=start), 1e-300))
        return made < 0.5 * goal * min(result.iterations * math.exp(-expected.mean), 1.0)

    @property
    def _finish(self) -> float:
        """Seconds of a factorisation that has been counted; infinite where there is none."""
        estimates = self.estimates
        known = self.analysed is not None and "direct" in estimates.left and estimates.failure("direct") < 1.0
        return estimates.way("direct").setup.expected if known else math.inf

    def _over_the_rent(self, result: CGResult, step: float, spent: float) -> bool:
        """Whether all seconds of iterating have reached what a certain finish takes, with the end not in sight.

        In sight by its own rate, whatever was predicted. Beyond that nothing iterates any more, so that no solve takes
        much more than twice as long as it would have by the finish alone.

        References
        ----------
        Karlin, Manasse, Rudolph, Sleator, Competitive snoopy caching, Algorithmica 3 (1988) 79-119 (rent or buy).
        """
        finish = self._finish
        if spent < finish:
            return False
        last = result.first[-max(len(result.first) // 3, 8) :]
        if iterations_left(last, self._target) * step < finish * _IN_SIGHT:
            return False
        for way in [name for name in self.estimates.left if name != "direct"]:
            self.estimates.drop(way)
        return True

    def _worth_counting(self, left: Lognormal, spent: float, expected: Lognormal, behind: bool) -> bool:
        """Whether to order now, to know what a factorisation takes."""
        estimates = self.estimates
        if self.orderings > _ORDERINGS or self.op.csr is None or not Cholesky.available():
            return False
        if not estimates.ordering > 0.0:
            return False
        return count_now(estimates.ordering, estimates.way("direct").setup, left, spent, expected, behind)

    @property
    def _target(self) -> float:
        return float(np.min(self.run.targets * self.run.criterion.strict))

    def _learn(self, kernel: str, measured: float, name: str | None, predicted: float | None = None) -> None:
        """Correct the speeds of this machine."""
        if self.run.deterministic or measured < _LEARNED_FROM:
            return
        expected = self.estimates.of(name).expected if name is not None else predicted
        THIS_MACHINE.learn(kernel, measured=measured, predicted=float(expected or 0.0))
