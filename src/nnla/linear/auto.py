"""``method="auto"``: start as CG, look at what it sees, take the cheapest way to the end, keep watching, say why.

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
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from nnla.errors import NNLAError, WeightsError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.cg import CGResult
from nnla.linear.costs import LEVEL_ITERATIONS, Costs
from nnla.linear.phases import (
    PROBE_STEPS,
    apply_polynomial,
    probe_by_cg,
    probe_length,
    run_direct,
)
from nnla.linear.preconditioner import choose_scaling
from nnla.linear.state import Run
from nnla.polynomials.design import EFFICIENCY, learned_engine
from nnla.polynomials.guards import check_probe
from nnla.polynomials.intervals import dos_interval
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.types import SpectralProbe, Status

__all__ = ["energy_left", "iterations_left", "predict_iterations", "solve_auto"]

_TINY = 100  # unknowns up to which a dense or sparse factorisation takes less time than choosing
_FIRST_STEPS = 8
_SHORT = 8e-3  # seconds of a direct solution below which looking at first steps costs more than it can save
_EASY = 25  # CG iterations that nothing else is worth setting up for
_MUCH = 0.03  # seconds at stake that pay for a full probe and the engine
_HARD = (150, 2.0)  # CG iterations, and by the graph's levels, guessed for what has shown itself not to be easy
_WORTH_REORDERING = 60  # CG iterations ahead
_PATIENCE = 20  # iterations between looks at what runs
_GETS_FASTER = 0.6  # what CG takes in the end, by what its rate so far promises
_RISK = 2.0
_CLEARLY = 0.8
_SHOWN = 1 / 7  # of the alternative's time: what has to be spent before anything is stopped for it
_TRUSTED = 120  # CG iterations up to which a steady rate of the first steps is believed
_SHIFTED = 8.0  # how much longer than predicted CG takes over a factorisation of the shifted matrix, at times
_DOUBT = 4.0  # the fill predicted from the graph is right to such a factor
_AFFORDABLE = 0.3  # share of the time ahead that the ordering may take for knowing better
_RESCUE = 60.0  # predicted seconds of a direct solution that a failed iteration is worth


def solve_auto(run: Run, degree: int, steps: int | None, engine: Any = None) -> None:
    """Choose among direct, plain, Jacobi, IC, AMG and the polynomial; keep the iterate when switching."""
    columns = 1 if run.b.ndim == 1 else run.b.shape[1]
    costs = Costs(run.op, columns)
    if run.op.n <= _TINY and costs.direct() < np.inf:
        run.because = f"n = {run.op.n} is small: factoring is faster than iterating"
        run_direct(run)
    else:
        _Selection(run, costs, degree, steps, engine).solve()
    if not run.finished and run.maxiter is None and run.method != "direct" and costs.direct() < _RESCUE:
        run.give_up(f"{run.method} ended in {run.status.value}; direct instead")
        run.design = run.degree = run.precision = None
        run_direct(run)


def iterations_left(norms: list[float], target: float) -> float:
    """CG iterations to the target at the rate of the second half of those done; infinite without progress.

    >>> iterations_left([1.0, 0.1, 0.01, 0.001], 1e-5)
    2.0
    """
    half = len(norms) // 2
    if half < 2:
        return math.inf
    best = np.minimum.accumulate(np.maximum(norms, 1e-300))
    gain = math.log(best[half - 1] / best[-1])
    if gain <= 0:
        return math.inf
    return max(0.0, round(math.log(best[-1] / max(target, 1e-300)) / gain * (len(norms) - half), 9))


def energy_left(result: CGResult, target: float) -> float:
    """The same at the rate at which CG's steps in the energy norm get shorter.

    The energy norm of the error falls with every step, by sqrt(alpha_k r_k'z_k) in the sense of Pythagoras, where the
    2-norm of the residual of a stiff structure may stay where it is for hundreds of steps.

    References
    ----------
    Strakos, Tichy, On error estimation in the conjugate gradient method, ETNA 13 (2002), eq. (3.5).
    """
    alpha, beta = np.array(result.alpha[-4 * _PATIENCE :]), np.array(result.beta[-4 * _PATIENCE + 1 :])
    half = alpha.size // 2
    if half < 4 or beta.size != alpha.size - 1 or not np.all(beta > 0) or not np.all(alpha > 0):
        return math.inf
    steps = np.log(alpha) + np.append(0.0, np.cumsum(np.log(beta)))  # of alpha_k r_k'z_k, to a constant
    top = steps.max()
    early, late = (math.log(float(np.exp(part - top).sum()) + 1e-300) for part in (steps[:half], steps[-half:]))
    if early <= late:
        return math.inf
    now = min(result.first)
    return max(0.0, math.log(now / max(target, 1e-300)) / (0.5 * (early - late)) * (alpha.size - half))


def _steady(norms: list[float]) -> bool:
    """Whether the residual falls as fast in the second half of the steps as in the first.

    That of an ill-conditioned system falls like a power of the steps: fast at first, as the rough part of the error
    goes, and then slower and slower.
    """
    half = len(norms) // 2
    if half < 2:
        return False
    first, second = math.log(norms[0] / norms[half]), math.log(norms[half] / norms[-1])
    return second > 0.8 * first * (len(norms) - 1 - half) / half > 0


class _Selection:
    """One selection under way."""

    def __init__(self, run: Run, costs: Costs, degree: int, steps: int | None, engine: Any) -> None:
        self.run, self.costs, self.degree, self.steps, self.engine = run, costs, degree, steps, engine
        self.base = bind_scaling(run.op, choose_scaling(run.op))
        self.plain = "jacobi" if self.base.name == "jacobi" else "cg"
        self.predicted: dict[str, float] = {}
        self.polynomial = "autospec"
        self.outer = 0.0  # iterations of the polynomial that the engine predicts
        self.remaining: float | None = None  # CG iterations that it predicts
        self.steady = math.inf  # iterations left at a rate that has not slowed down
        self.analysed: Cholesky | None = None
        self.others: set[str] = set()  # what there would be instead of what runs
        self.began = 0.0

    # -- first steps ------------------------------------------------------------------------------------------

    def solve(self) -> None:
        run = self.run
        if self.costs.sparse and self.steps is None and self.costs.direct() < _SHORT:
            self._choose()
            self._carry_out(None)
            return
        run.method, run.scaling = self.plain, self.base.name
        self.began = time.perf_counter()
        probe = probe_by_cg(run, self.base, _FIRST_STEPS if self.steps is None else self.steps, self._look)
        if run.finished:
            run.because = f"easy: the first {run.probe_iterations} {self.plain} steps solved it"
            return
        if probe is None or run.status in (Status.INDEFINITE, Status.BREAKDOWN):
            run.because = f"{self.plain}-CG ended in {run.status.value} during the probe"
            return
        if not check_probe(probe).ok:
            run.because = "the probe found a negative Ritz value"
            run.status = Status.INDEFINITE
            return
        if self.remaining is None and (self.steps is not None or not self.costs.sparse):
            self._ask_engine(probe)
        self._choose()
        self._carry_out(probe)

    def _look(self, result: CGResult, make_probe: Callable[[CGResult], SpectralProbe]) -> int:
        """How many CG steps to do in all, seen what the first ones did."""
        done, costs = result.iterations, self.costs
        costs.observe(time.perf_counter() - self.began, done)
        if self.steps is not None:
            return done
        left = iterations_left(result.first, self._target)
        known = 0.0 if left <= _EASY else min(costs.direct(), costs.amg())
        easy = left <= _EASY or left * costs.iteration <= 0.5 * known
        probing = max(PROBE_STEPS - done, 0) * costs.iteration
        if easy and costs.jacobi(left) <= 1.1 * min(costs.ic(left), probing + costs.polynomial(left, self.degree)):
            return done + int(min(left + 2, max(done, _FIRST_STEPS)))
        if costs.hubs and done < PROBE_STEPS:  # nothing else is worth setting up
            return 2 * done
        known = min(costs.direct(), costs.amg())
        optimistic = max(LEVEL_ITERATIONS * costs.levels - done, _EASY)
        if _steady(result.first) and 1.3 * left < _TRUSTED:
            self.steady = 1.3 * left
            optimistic = min(optimistic, self.steady)
        polynomial = probing + costs.polynomial(optimistic, self.degree)
        others = min(costs.ic(optimistic), costs.jacobi(optimistic), known)
        if others < polynomial or done >= PROBE_STEPS or polynomial < _MUCH * costs.machine:
            if done >= PROBE_STEPS and self.remaining is None:
                probe = make_probe(result)
                if check_probe(probe).ok:
                    self._ask_engine(probe)
                    return min(probe_length(self.remaining or 0.0), self.run.op.n)
            return done
        return min(PROBE_STEPS, self.run.op.n)

    @property
    def _target(self) -> float:
        return float(np.min(self.run.targets))

    def _ask_engine(self, probe: SpectralProbe) -> None:
        if not check_probe(probe).ok or len(probe.alpha) < 3:
            return
        self.polynomial, self.outer = predict_iterations(self.run, probe, self.degree, self.engine)
        self.remaining = max(1.0, self.outer * (self.degree + 1) * EFFICIENCY)

    # -- choice -------------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        costs, guess = self.costs, self.remaining
        if guess is None:
            guess = min(max(_HARD[0], _HARD[1] * costs.levels), self.steady)
        self.predicted = {
            # a guess that is wrong hurts most here
            self.plain: costs.jacobi(guess * (1.0 if self.remaining is not None else _RISK)),
            "ic": costs.ic(guess),
            "direct": costs.direct(),
            "amg": costs.amg(),
        }
        if self.remaining is not None:  # without a full probe there is no polynomial
            self.predicted[self.polynomial] = costs.polynomial(guess, self.degree)
            self.predicted[f"{self.polynomial}+ic"] = costs.polynomial_over_ic(guess)
        self.predicted = {name: seconds for name, seconds in self.predicted.items() if seconds < np.inf}
        self._count_operations()
        if self.remaining is None and self.predicted.get("ic", 0.0) > _CLEARLY * self.predicted.get("direct", np.inf):
            self.predicted["ic"] = max(self.predicted["ic"], self.predicted["direct"] * 1.01)  # certain beats guessed
        # A direct solution takes what it takes; multigrid may need more iterations than the usual ones.
        if self.predicted.get("direct", np.inf) < self.predicted.get("amg", 0.0):
            del self.predicted["amg"]
        self.run.predicted_seconds = dict(self.predicted)
        listed = ", ".join(f"{name} {s:.2g} s" for name, s in sorted(self.predicted.items(), key=lambda p: p[1]))
        source = "the engine's" if self.remaining is not None else "a guess of"
        self.run.because = f"predicted {listed} for {source} {guess:.0f} more CG iterations"

    def _count_operations(self) -> None:
        """Order the unknowns where it costs little beside what is predicted, and know what a factorisation takes."""
        costs, best = self.costs, min(self.predicted.values(), default=np.inf)
        direct = self.predicted.get("direct", np.inf)
        if direct > _DOUBT * best or costs.ordering() > _AFFORDABLE * best or direct < _SHORT:
            return
        budget = max((_DOUBT * best - costs.direct(0.0)) / (costs.machine * costs.speeds.flop), 1e6)
        self._analyse(budget)
        if self.analysed is not None:
            # given up: at least so many
            self.predicted["direct"] = costs.direct(self.analysed.flops * (1.0 if self.analysed.complete else 2.0))

    def _analyse(self, budget: float) -> None:
        if self.analysed is not None and (self.analysed.complete or self.analysed.flops >= budget):
            return
        started = time.perf_counter()
        if Cholesky.available() and self.costs.sparse:
            with suppress(NNLAError):  # LU takes what this does not
                self.analysed = Cholesky(self.run.op.csr, max_flops=budget)
        self.run.seconds["setup"] += time.perf_counter() - started

    def _carry_out(self, probe: SpectralProbe | None) -> None:
        """Run the cheapest of what is left until one ends."""
        run = self.run
        left = dict(self.predicted)
        while left and not run.finished:
            if run.maxiter is not None and run.iterations >= run.maxiter:
                return
            name = min(left, key=lambda key: left[key])
            del left[name]
            self.others = {key for key in left if key in ("direct", "amg")}
            before = run.method if run.iterations else None
            if not self._run(name, probe):
                if name == "ic" and "direct" in left:  # too ill-conditioned for the diagonal alone
                    left.pop(self.plain, None)
                continue
            if before is not None and before != run.method:
                run.because += f"; switched from {before} to {run.method}"
            if run.status in (Status.INDEFINITE, Status.CONVERGED) or not left:
                break
            if run.status is Status.MAXITER and run.maxiter is not None and run.iterations >= run.maxiter:
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
        run, costs = self.run, self.costs
        if name == "direct":
            return self._direct()
        if name == "amg":
            return self._amg()
        run.design = run.degree = run.precision = None
        if not costs.hubs and self.predicted.get(name, 0.0) > _WORTH_REORDERING * costs.iteration and run.reorder():
            self.base = bind_scaling(run.op, self.base.name)
        if name == "ic" or name.endswith("+ic"):
            try:
                base = bind_scaling(run.op, "ic")
            except NNLAError as error:
                run.give_up(f"ic: {error}")
                return False
            run.seconds["setup"] += base.seconds
            if base.shift > 0 and self.predicted.get("direct", np.inf) < _SHIFTED * self.predicted[name]:
                run.give_up(f"ic: needed a shift of {base.shift:g}")
                return False
            run.scaling = "ic"
            if name == "ic":
                run.method = "ic"
                self._watched(base, costs.ic_step * costs.iteration)
                return True
            again = probe_by_cg(run, base, 20)
            if again is not None:
                apply_polynomial(run, base, again, self.polynomial, self.degree, self.engine)
            return True
        run.scaling = self.base.name
        if name == self.plain:
            run.method = self.plain
            self._watched(self.base, costs.iteration)
            return True
        assert probe is not None, "a polynomial is only predicted where there is a probe"
        step = (costs.polynomial(1e6, self.degree) - costs.polynomial(0.0, self.degree)) / 1e6
        step *= EFFICIENCY * (self.degree + 1)
        watch = self._watch(step)
        apply_polynomial(run, self.base, probe, self.polynomial, self.degree, self.engine, **watch)
        return True

    def _watched(self, base: Scaling, step: float) -> None:
        self.run.iterate(base, **self._watch(step))

    def _watch(self, step: float) -> dict[str, Any]:
        """Options of `Run.iterate` that stop CG where the rest will take longer than the alternative.

        CG often gets faster, and often makes no progress at first, so the rate so far is believed the more, the more
        has been spent: nothing is stopped for what a seventh of the alternative's time has shown.
        """
        if not self._alternative() < np.inf:
            return {}
        run = self.run
        most = math.inf if run.maxiter is None else run.maxiter - run.iterations

        def look(result: CGResult) -> int:
            spent = result.iterations * step
            left = iterations_left(result.first[-4 * _PATIENCE :], self._target) * _GETS_FASTER * step
            if self._hopeless(spent, left):
                left = min(left, energy_left(result, self._target) * _GETS_FASTER * step)
            if self._hopeless(spent, left):
                self._check_direct(left)
                if self._hopeless(spent, left):
                    return result.iterations
            return int(min(result.iterations + max(_PATIENCE, result.iterations // 3), most))

        first = max(_PATIENCE, math.ceil(min(self._alternative() * _SHOWN / max(step, 1e-12), 1e6)))
        return {"limit": int(min(first, most)), "extend": look}

    def _hopeless(self, spent: float, left: float) -> bool:
        alternative = self._alternative()
        if spent < _SHOWN * alternative or (left == math.inf and spent < alternative / 2):
            return False
        return left > alternative * (4.0 if spent < 0.4 * alternative else 1.2)

    def _alternative(self) -> float:
        """Seconds that what runs is measured against: of a direct solution, which are certain, or of multigrid, which
        may not suit the matrix."""
        seconds = {key: self.predicted.get(key, np.inf) for key in self.others}
        return min(
            1.3 * seconds.get("direct", np.inf), (1.3 if self.costs.m_matrix else 2.5) * seconds.get("amg", np.inf)
        )

    def _check_direct(self, seconds: float) -> None:
        """Before something is stopped for a direct solution: count the operations, up to so many seconds' worth."""
        if "direct" not in self.others or self.run.order is not None:
            return
        costs = self.costs
        self._analyse(max((seconds - costs.direct(0.0)) / (costs.machine * costs.speeds.flop), 1e6))
        if self.analysed is not None:
            self.predicted["direct"] = costs.direct(self.analysed.flops * (1.0 if self.analysed.complete else 2.0))

    def _direct(self) -> bool:
        """Factor, unless the ordering finds that it would take far more than predicted."""
        run, costs = self.run, self.costs
        if self.run.order is not None:
            self.analysed = None  # of the matrix in its old order
        if self.costs.sparse and Cholesky.available():
            others = [s for name, s in self.predicted.items() if name != "direct"]
            allowed = max(4 * costs.direct(), 2 * min(others, default=np.inf))
            budget = max((allowed - costs.direct(0.0)) / (costs.machine * costs.speeds.flop), 1e6)
            self._analyse(budget)
            if self.analysed is not None and not self.analysed.complete:
                run.give_up(f"direct: more than {budget:.0e} operations")
                return False
        run.design = run.degree = run.precision = None
        run.scaling = "none"
        run_direct(run, self.analysed)
        return True

    def _amg(self) -> bool:
        run = self.run
        run.design = run.degree = run.precision = None
        try:
            base = bind_amg(run.op)
        except NNLAError as error:
            run.give_up(f"amg: {error}")
            return False
        run.seconds["setup"] += base.seconds
        run.method, run.scaling = "amg", "amg"
        run.because += f"; {base.note}"
        cycle = self.costs.machine * self.costs.nnz * self.costs.speeds.amg_step
        self._watched(base, cycle)
        return True


def predict_iterations(run: Run, probe: SpectralProbe, degree: int, engine: Any = None) -> tuple[str, float]:
    """The polynomial to use, "autospec" unless its weights fail, and the outer iterations expected of it."""
    rtol = run.rtol_left
    try:
        choice = learned_engine(engine, "autospec").choose(probe, degree=degree, rtol=rtol)
        return "autospec", choice.predicted_iterations
    except WeightsError as error:
        if engine is not None:  # the user's own weights: they want to know
            raise
        run.give_up(f"autospec: {error}; Chebyshev on [theta_min, b] instead")
    outer = dos_interval(probe, degree, rtol)[2]
    if not np.isfinite(outer):  # beyond what is simulated: the classical bound
        condition = probe.upper_bound / max(probe.lambda_min, 1e-15 * probe.upper_bound)
        outer = 0.5 * np.sqrt(condition) * np.log(2 / rtol) / (degree + 1)
    return "chebyshev", float(outer)
