"""``method="auto"``: start as CG, see what it does, take the cheapest way to the end, keep watching, say why.

The decisions, in their order:

1. A few steps of CG (over the diagonal where it varies). A system that they nearly solve is left to them.
2. Direct and multigrid solutions have a cost that is known beforehand (`nnla.linear.costs`). Where that is below even
   an optimistic guess for iterating, one of them runs.
3. Where much time is at stake, CG goes on to a full probe and the learned engine predicts the iterations; else
   IC(0) starts at once.
4. Whatever iterates is watched: where it falls behind its prediction so far that a known cost is lower, it stops
   and the other goes on from its iterate.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.cg import CGResult
from nnla.linear.choice import TINY, WINDOW, Choice, energy_left, iterations_left, steady
from nnla.linear.costs import LEVEL_ITERATIONS, Costs
from nnla.linear.direct import run_direct
from nnla.linear.polynomial import (
    PROBE_STEPS,
    Probing,
    polynomial_for,
    polynomial_stretches,
    probe_length,
)
from nnla.linear.preconditioner import choose_scaling
from nnla.linear.state import Run, Stretch
from nnla.polynomials.design import EFFICIENCY
from nnla.polynomials.guards import check_probe
from nnla.preconditioners.scalings import bind_amg, bind_scaling
from nnla.types import SpectralProbe, Status

__all__ = ["rescue", "solve_auto"]

_FIRST_STEPS = 8
_EASY = 25  # CG iterations that nothing else is worth setting up for
_MUCH = 0.03  # seconds at stake that pay for a full probe and the engine
_WORTH_REORDERING = 60  # CG iterations ahead
_PATIENCE = 20  # iterations between checks of what runs
_GETS_FASTER = 0.6  # what CG takes in the end, by what its rate so far promises
_RISK = 2.0
_SHOWN = 1 / 7  # of the alternative's time: what has to be spent before anything is stopped for it
_TRUSTED = 120  # CG iterations up to which a steady rate of the first steps is believed
_SHIFTED = 8.0  # how much longer than predicted CG takes over a factorisation of the shifted matrix, at times
_RESCUE = 60.0  # predicted seconds of a direct solution that a failed iteration is worth
_OVER_IC = 20  # steps of the probe of a polynomial over IC


def solve_auto(run: Run, degree: int, steps: int | None, engine: Any = None) -> None:
    """Choose among direct, plain, Jacobi, IC, AMG and the polynomial; keep the iterate when switching.

    Cost: the products in the report; the choice itself: a few steps of CG, which are kept.
    """
    columns = 1 if run.b.ndim == 1 else run.b.shape[1]
    costs = Costs(run.op, columns, timed=not run.deterministic)
    if run.op.n <= TINY and costs.direct() < np.inf:
        run_direct(run, reason=f"n = {run.op.n} is small: factoring is faster than iterating")
    else:
        _Auto(run, costs, degree, steps, engine).solve()


def rescue(run: Run) -> None:
    """A direct solution where an iteration has failed and one can be afforded."""
    if run.finished or run.maxiter is not None or run.method == "direct":
        return
    if Costs(run.op).direct() < _RESCUE:
        run.give_up(f"{run.method} ended in {run.status.value}; direct instead")
        run_direct(run)


class _Auto:
    """One solve under way: runs and watches what `Choice` predicts to be the cheapest."""

    def __init__(self, run: Run, costs: Costs, degree: int, steps: int | None, engine: Any) -> None:
        self.run, self.costs, self.degree, self.steps, self.engine = run, costs, degree, steps, engine
        self.base = bind_scaling(run.op, choose_scaling(run.op))
        self.plain = "jacobi" if self.base.name == "jacobi" else "cg"
        self.choice = Choice(run.op, costs, self.plain, degree, engine)
        self.others: set[str] = set()  # what there would be instead of what runs

    # -- first steps ------------------------------------------------------------------------------------------

    def solve(self) -> None:
        run = self.run
        probe = None
        if self.steps is not None or not self.choice.direct_is_short:
            probe = self._first_steps()
            if run.finished:
                run.reason = f"easy: the first {run.phases[-1].iterations} {self.plain} steps solved it"
                return
            if probe is None or run.status in (Status.INDEFINITE, Status.BREAKDOWN):
                run.reason = f"{self.plain}-CG ended in {run.status.value} during the probe"
                return
            if not check_probe(probe).ok:
                run.reason = "the probe found a negative Ritz value"
                run.mark(Status.INDEFINITE)
                return
            if self.choice.remaining is None and (self.steps is not None or not self.costs.sparse):
                self.choice.ask_engine(probe, run.rtol_left)
        started = time.perf_counter()
        run.predicted_seconds = dict(self.choice.predict())
        run.setup += time.perf_counter() - started
        run.reason = self.choice.words()
        if self.choice.failure is not None:
            run.decline("autospec", self.choice.failure)
        self._carry_out(probe)

    def _first_steps(self) -> SpectralProbe | None:
        """CG until it is known what to do next; the probe that its steps are, None where nothing is left to do."""
        began = time.perf_counter()
        probing = Probing(self.run, self.base, self.plain)
        steps = _FIRST_STEPS if self.steps is None else self.steps
        while probing.advance_to(steps):
            result = probing.result
            self.costs.observe(time.perf_counter() - began, result.iterations)
            steps = self._steps_wanted(result, probing)
            if min(steps, self.run.op.n) <= result.iterations:
                break
        return probing.end()

    def _steps_wanted(self, result: CGResult, probing: Probing) -> int:
        """How many CG steps to do in all, seen what the first ones did."""
        done, costs, choice = result.iterations, self.costs, self.choice
        if self.steps is not None:
            return done
        left = iterations_left(result.first, self._target)
        known = 0.0 if left <= _EASY else min(costs.direct(), costs.amg())
        easy = left <= _EASY or left * costs.iteration <= 0.5 * known
        ahead = max(PROBE_STEPS - done, 0) * costs.iteration
        if easy and costs.jacobi(left) <= 1.1 * min(costs.ic(left), ahead + costs.polynomial(left, self.degree)):
            return done + int(min(left + 2, max(done, _FIRST_STEPS)))
        if costs.hubs and done < PROBE_STEPS:  # nothing else is worth setting up
            return 2 * done
        known = min(costs.direct(), costs.amg())
        optimistic = max(LEVEL_ITERATIONS * costs.levels - done, _EASY)
        if steady(result.first) and 1.3 * left < _TRUSTED:
            choice.settled = 1.3 * left
            optimistic = min(optimistic, choice.settled)
        polynomial = ahead + costs.polynomial(optimistic, self.degree)
        others = min(costs.ic(optimistic), costs.jacobi(optimistic), known)
        if polynomial <= others and polynomial >= _MUCH * costs.machine and done < PROBE_STEPS:
            return min(PROBE_STEPS, self.run.op.n)
        if done < PROBE_STEPS or choice.remaining is not None:
            return done
        probe = probing.probe()
        if not check_probe(probe).ok:
            return done
        choice.ask_engine(probe, self.run.rtol_left)
        return min(probe_length(choice.remaining or 0.0), self.run.op.n)

    @property
    def _target(self) -> float:
        return float(np.min(self.run.targets * self.run.criterion.strict))

    # -- running ------------------------------------------------------------------------------------------------

    def _carry_out(self, probe: SpectralProbe | None) -> None:
        """Run the cheapest of what is left until one ends."""
        run = self.run
        left: dict[str, float] = dict(self.choice.predicted)
        while left and not run.finished and run.iterations_left != 0:
            name = min(left, key=lambda key: left[key])
            del left[name]
            self.others = {key for key in left if key in ("direct", "amg")}
            if not self._run(name, probe):
                if name == "ic" and "direct" in left:  # too ill-conditioned for the diagonal alone
                    left.pop(self.plain, None)
                continue
            if run.status in (Status.INDEFINITE, Status.CONVERGED) or not left:
                break
            if run.status is Status.MAXITER and run.iterations_left == 0:
                break
            left = {
                key: s * (_RISK if key == "ic" else 1.0) for key, s in left.items() if key in ("ic", "direct", "amg")
            }
            left = left or {self.plain: 0.0}
            if name == self.plain and self.plain in left:
                break
            if run.status is not Status.MAXITER:
                run.give_up(f"{name} ended in {run.status.value}")

    def _run(self, name: str, probe: SpectralProbe | None) -> bool:
        """One method from the current iterate; whether it could run at all."""
        if name == "direct":
            return self._direct()
        if name == "amg":
            return self._amg()
        run, costs = self.run, self.costs
        worth = self.choice.predicted.get(name, 0.0) > _WORTH_REORDERING * costs.iteration
        if not costs.hubs and worth and run.reorder():
            self.base = bind_scaling(run.op, self.base.name)
        if name == "ic" or name.endswith("+ic"):
            return self._over_ic(name)
        if name == self.plain:
            self._watch(run.begin(self.base, self.plain, scaling=self.base.name), costs.iteration)
            return True
        assert probe is not None, "a polynomial is only predicted where there is a probe"
        M = polynomial_for(run, self.base, probe, self.choice.polynomial, self.degree, self.engine)
        step = (costs.polynomial(1e6, self.degree) - costs.polynomial(0.0, self.degree)) / 1e6
        self._polynomial(M, step * EFFICIENCY * (self.degree + 1))
        return True

    def _over_ic(self, name: str) -> bool:
        run, costs, predicted = self.run, self.costs, self.choice.predicted
        try:
            base = bind_scaling(run.op, "ic")
        except NNLAError as error:
            run.decline("ic", f"ic: {error}")
            return False
        run.setup += base.seconds
        if base.shift > 0 and predicted.get("direct", np.inf) < _SHIFTED * predicted[name]:
            run.decline("ic", f"ic: needed a shift of {base.shift:g}")
            return False
        if name == "ic":
            self._watch(run.begin(base, "ic", scaling="ic", note=base.note), costs.ic_step * costs.iteration)
            return True
        probing = Probing(run, base, self.choice.polynomial)
        probing.advance_to(_OVER_IC)
        probe = probing.end()
        if probe is not None and check_probe(probe).ok:
            M = polynomial_for(run, base, probe, self.choice.polynomial, self.degree, self.engine)
            self._polynomial(M, math.inf)
        return True

    def _polynomial(self, M: Any, step: float) -> None:
        """CG with the polynomial, watched where the seconds of a step are known, and with what replaces it."""
        for stretch in polynomial_stretches(self.run, M):
            if stretch.replaces or step == math.inf:
                stretch.advance()
            else:
                self._drive(stretch, step)

    def _direct(self) -> bool:
        """Factor, unless the ordering finds that it would take far more than predicted."""
        run, costs, choice = self.run, self.costs, self.choice
        if run.order is not None:
            choice.op, choice.analysed = run.op, None  # that was of the matrix in its old order
        if costs.sparse and Cholesky.available():
            others = [seconds for name, seconds in choice.predicted.items() if name != "direct"]
            started = time.perf_counter()
            choice.analyse(max(4 * costs.direct(), 2 * min(others, default=np.inf)))
            run.setup += time.perf_counter() - started
            if choice.analysed is not None and not choice.analysed.complete:
                run.decline("direct", f"direct: more than {choice.analysed.flops:.0e} operations")
                return False
        run_direct(run, choice.analysed, reason="")
        return True

    def _amg(self) -> bool:
        run, costs = self.run, self.costs
        try:
            base = bind_amg(run.op)
        except NNLAError as error:
            run.decline("amg", f"amg: {error}")
            return False
        run.setup += base.seconds
        cycle = costs.machine * costs.nnz * costs.speeds.amg_step
        self._watch(run.begin(base, "amg", scaling="amg", note=base.note), cycle)
        return True

    # -- watching ------------------------------------------------------------------------------------------------

    def _watch(self, stretch: Stretch, step: float) -> None:
        self._drive(stretch, step)
        stretch.end()

    def _drive(self, stretch: Stretch, step: float) -> None:
        """Advance CG until it ends, or until the rest will take longer than the alternative.

        CG often gets faster, and often makes no progress at first, so the rate so far is believed the more, the more
        has been spent: nothing is stopped for what a seventh of the alternative's time has shown.
        """
        if not self._alternative() < np.inf:
            stretch.advance()
            return
        stretch.advance(max(_PATIENCE, math.ceil(min(self._alternative() * _SHOWN / max(step, 1e-12), 1e6))))
        while stretch.goes_on and not self._too_slow(stretch.result, step):
            stretch.advance(max(_PATIENCE, stretch.result.iterations // 3))

    def _too_slow(self, result: CGResult, step: float) -> bool:
        spent = result.iterations * step
        left = iterations_left(result.first[-WINDOW:], self._target) * _GETS_FASTER * step
        if self._falls_behind(spent, left):
            left = min(left, energy_left(result, self._target) * _GETS_FASTER * step)
        if not self._falls_behind(spent, left):
            return False
        if "direct" in self.others and self.run.order is None:  # count the operations, up to so many seconds' worth
            started = time.perf_counter()
            self.choice.analyse(left)
            self.run.setup += time.perf_counter() - started
        return self._falls_behind(spent, left)

    def _falls_behind(self, spent: float, left: float) -> bool:
        alternative = self._alternative()
        if spent < _SHOWN * alternative or (left == math.inf and spent < alternative / 2):
            return False
        return left > alternative * (4.0 if spent < 0.4 * alternative else 1.2)

    def _alternative(self) -> float:
        """Seconds that what runs is measured against: of a direct solution, which are certain, or of multigrid, which
        may not suit the matrix."""
        seconds = {key: self.choice.predicted.get(key, np.inf) for key in self.others}
        risk = 1.3 if self.costs.m_matrix else 2.5
        return min(1.3 * seconds.get("direct", np.inf), risk * seconds.get("amg", np.inf))
