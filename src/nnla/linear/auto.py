"""``method="auto"``: do what is expected to take the least time, look at what came of it, decide anew, say why.

The decisions are those of `nnla.linear.decision`, from what `nnla.linear.estimates` expects: an ordering, which tells
what a factorisation takes; a few steps of CG, which tell much of all iterations and are the beginning of CG itself; a
probe for the polynomial; or one of the ways to the end. Whatever iterates is watched against what is expected of it,
and left, with its iterate kept, where the rest will take longer than something else.
"""

from __future__ import annotations

import math
import time
from typing import Any

from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.step_features import step_features
from nnla.linear.decision import Decision, Lognormal, Way, decide
from nnla.linear.direct import run_direct
from nnla.linear.estimates import Sure, clock_for, direct_seconds, ways_of
from nnla.linear.polynomial import PROBE_STEPS, Probing, polynomial_for, polynomial_stretches, probe_length
from nnla.linear.preconditioner import choose_scaling
from nnla.linear.progress import left_after, left_by_progress, predict_iterations
from nnla.linear.state import Run
from nnla.linear.watching import PATIENCE, Watched
from nnla.polynomials.guards import check_probe
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.types import SpectralProbe, Status

__all__ = ["FIRST_STEPS", "STEPS_CALL", "TINY", "rescue", "solve_auto", "solve_auto_with"]

TINY = 100  # unknowns up to which a factorisation takes less time than choosing
FIRST_STEPS = 8
STEPS_CALL = 2e-4  # seconds of first steps beside their products, in Python
_WORTH_REORDERING = 60  # CG iterations ahead
_HUB = 30  # longest by mean row: what no reordering helps
_RESCUE = 60.0  # expected seconds of a direct solution that a failed iteration is worth


def solve_auto(run: Run, degree: int, steps: int | None, engine: Any = None) -> None:
    """Choose among direct, plain, Jacobi, IC, AMG and the polynomial; keep the iterate when switching.

    Cost: the products in the report; the choice itself: a look at the matrix of about two products, and what it buys.
    """
    if run.op.n <= TINY and "direct" in ways_of(run.op):
        run_direct(run, reason=f"n = {run.op.n} is small: factoring is faster than iterating")
    else:
        _Auto(run, degree, steps, engine).solve()


def solve_auto_with(
    run: Run, base: Scaling, flexible: bool, degree: int, steps: int | None, engine: Any = None
) -> None:
    """CG with the user's M, watched as everything else: what is nothing like as good as the alternatives is left.

    Cost: none of its own where a few iterations are enough; else that of `solve_auto`'s look at the matrix.
    """
    method = "fcg" if flexible else "cg"
    stretch = run.begin(base, method, scaling=base.name, flexible=flexible, reason="M was given", note=base.note)
    began = clock_for(run.op)()
    stretch.advance(PATIENCE)
    auto = None
    if stretch.goes_on:
        auto = _Auto(run, degree, steps, engine)
        auto.watch_given(stretch, began)
    stretch.end()
    if run.finished or run.status in (Status.INDEFINITE, Status.TIMEOUT) or run.iterations_left == 0:
        return
    if run.status is Status.MAXITER:
        run.give_up("CG with M was expected to take longer than without it")
    else:
        what = "flexible CG with M" if flexible else "CG with M"
        run.give_up(f"{what} ended in {run.status.value}; without it from the current iterate instead")
    (auto or _Auto(run, degree, steps, engine)).solve()


def rescue(run: Run) -> None:
    """A direct solution where an iteration has failed and one can be afforded."""
    if run.finished or run.maxiter is not None or run.method == "direct":
        return
    if direct_seconds(run.op) < _RESCUE:
        run.give_up(f"{run.method} ended in {run.status.value}; direct instead")
        run_direct(run)


class _Auto(Watched):
    """One solve under way: decides, carries out, watches."""

    def __init__(self, run: Run, degree: int, steps: int | None, engine: Any) -> None:
        started = time.perf_counter()
        super().__init__(run, degree)
        self.asked_steps, self.engine = steps, engine
        self._scaling: str | None = None
        self.polynomial = "autospec"
        self.probing: Probing | None = None
        self.probe: SpectralProbe | None = None
        self.engine_asked = False
        self._base: Scaling | None = None
        self.values: dict[str, float] = {}  # as last predicted
        self.ways: dict[str, Way] = {}
        self.spread: dict[str, float] = {}  # factor of one standard deviation, at the end
        self.spent: dict[str, float] = {}  # seconds by way
        self.running = "plain"
        self._began = started, self.clock() - (time.perf_counter() - started)
        run.setup += time.perf_counter() - started

    @property
    def scaling(self) -> str:
        """Of the first steps, plain CG and polynomials."""
        if self._scaling is None:
            self._scaling = str(choose_scaling(self.op))
        return self._scaling

    @property
    def plain(self) -> str:
        """What CG over it is called."""
        return "jacobi" if self.scaling == "jacobi" else "cg"

    @property
    def base(self) -> Scaling:
        """What the first steps, plain CG and polynomials work on top of."""
        if self._base is None:
            self._base = bind_scaling(self.run.op, self.scaling)
        return self._base

    # -- deciding ------------------------------------------------------------------------------------------------

    def solve(self) -> None:
        run = self.run
        if self.asked_steps is not None:
            self._first_steps(self.asked_steps)
            if self.probing is None or not self._ask_engine():
                return self._explain()
        elif self.sure is not None and not self._straight(self.sure):
            return self._explain()
        while not run.finished and self.estimates.left and (run.iterations_left != 0 or not run.ran):
            action, began = self._decide().action, self.clock()
            goes_on = self._carry_out(action)
            way = "plain" if action == "steps" else action
            self.spent[way] = self.spent.get(way, 0.0) + self.clock() - began
            if not goes_on:
                break
        if self.probing is not None:
            self._end_probing()
        self._explain()

    def _straight(self, sure: Sure) -> bool:
        """Whether anything is left to decide after a direct solution that nothing comes near: where its operations turn
        out as expected, all that is not weighed again, as of what takes milliseconds that would be a part."""
        began = self.clock()
        if self.op.csr is None or not Cholesky.available():
            return True
        if not self._order(sure.flops) or self.estimates.failure("direct") >= 1.0:
            return True
        self.values = {name: seconds for name, (seconds, _) in sure.values.items()}
        self.spread = {name: factor for name, (_, factor) in sure.values.items()}
        goes_on = self._carry_out("direct")
        self.spent["direct"] = self.clock() - began
        return goes_on

    def _decide(self) -> Decision:
        """What to do next."""
        started = time.perf_counter()
        estimates = self.estimates
        steps = None
        if self.sure is None and self.probing is None and estimates.done == 0 and self.run.maxiter != 0:
            steps = estimates.steps(FIRST_STEPS, STEPS_CALL)
        ways = estimates.ways()
        decision = decide(ways, ordering=estimates.ordering, steps=steps)
        self.values.update((way.name, decision.values[way.name]) for way in ways)
        self.ways.update((way.name, way) for way in ways)
        self.run.setup += time.perf_counter() - started
        return decision

    # -- finding out ---------------------------------------------------------------------------------------------

    def _first_steps(self, count: int) -> None:
        """Take CG to so many steps, which are kept, and expect anew."""
        run, estimates = self.run, self.estimates
        if self.probing is None:
            self.probing = Probing(run, self.base, self.plain)
        probing = self.probing
        before, began = probing.result.iterations, self.clock()
        goes_on = probing.advance_to(count)
        seconds = self.clock() - began
        result = probing.result
        if not goes_on:
            self._end_probing()
            if run.finished:
                self.said.append(f"easy: the first {result.iterations} {self.plain} steps solved it")
            else:
                self.said.append(f"{self.plain}-CG ended in {run.status.value} during the first steps")
                estimates.left.clear()
            return
        began = time.perf_counter()
        if not run.deterministic:
            estimates.observe(seconds, result.iterations - before)
        self.iterated += seconds
        done = result.iterations
        known = estimates.of("jacobi.iterations")
        left = left_by_progress(known, result, probing.start, self._target)
        total = Lognormal(math.log(done + math.exp(left.mean)), left.std * 1.0 / (1.0 + done * math.exp(-left.mean)))
        estimates.renew(self.predictor.costs(self.rtol, step_features(result, probing.start), total), done)
        run.setup += time.perf_counter() - began

    def _ask_engine(self) -> bool:
        """The outer iterations that the polynomial's engine expects after the probe; False if A is indefinite."""
        run = self.run
        assert self.probing is not None
        self.probing.stretch.couple()
        probe = self.probing.probe()
        if not check_probe(probe).ok:
            self._end_probing()
            run.mark(Status.INDEFINITE)
            self.said.append("the probe found a negative Ritz value")
            return False
        started = time.perf_counter()
        self.polynomial, outer, failure = predict_iterations(probe, self.degree, run.rtol_left, self.engine)
        if failure is not None:
            run.decline("autospec", failure)
        self.estimates.learn_polynomial(outer, self.degree)
        self.engine_asked = True
        run.setup += time.perf_counter() - started
        return True

    def _end_probing(self) -> None:
        if self.probing is not None:
            self.probe = self.probing.end()
            self.probing = None

    # -- carrying out --------------------------------------------------------------------------------------------

    def _carry_out(self, action: str) -> bool:
        """One action; whether there is anything left to decide."""
        run, estimates = self.run, self.estimates
        if action == "steps":
            self._first_steps(FIRST_STEPS)
            return True
        if action == "direct":
            if not estimates.ordered and self.op.csr is not None and Cholesky.available():
                self._order()
                return True
            self._end_probing()
            self._restore()
            self.running = "direct"
            predicted = estimates.factoring
            began = self.clock()
            run_direct(run, self.analysed, reason="")
            if self.analysed is not None and run.finished:
                self._learn("factor", self.clock() - began, None, predicted)
        elif action == "plain":
            self._plain()
        elif action == "ic":
            if not self._over_ic():
                return True
        elif action == "amg":
            if not self._amg():
                return True
        elif not self._over_polynomial():
            return True
        return self._afterwards(action)

    def _afterwards(self, action: str) -> bool:
        """What to make of how a way ended; whether to try another."""
        run, estimates = self.run, self.estimates
        estimates.drop(action)
        if run.finished or run.status in (Status.INDEFINITE, Status.CONVERGED):
            return False
        if action == "direct" and run.status is Status.STAGNATION:  # nothing else gets nearer
            return False
        if run.status is Status.MAXITER and run.iterations_left == 0:
            return False
        if not estimates.left and action != "plain":
            estimates.only_plain()
        if estimates.left and run.status is not Status.MAXITER:
            run.give_up(f"{run.method} ended in {run.status.value}")
        return True

    def _plain(self) -> None:
        run, estimates = self.run, self.estimates
        left = estimates.iterations("plain")
        found = self._find_order(left)
        probing, self.probing = self.probing, None
        self.running = "plain"
        if probing is not None and found is None:
            probing.stretch.becomes(self.plain)
            self._watch(probing.stretch, "plain", estimates.of("jacobi.iterations"), probing.start)
            return
        self.probing = probing
        self._end_probing()
        self._enter_order(found)
        if not run.finished:
            self._watch(run.begin(self.base, self.plain, scaling=self.base.name), "plain", left)

    def _over_ic(self) -> bool:
        run, estimates = self.run, self.estimates
        left = left_after(estimates.of("jacobi.iterations"), estimates.done)
        found = self._find_order(left, hubs=True)  # a factor is better in such an order, whatever products gain
        self._end_probing()
        self._enter_order(found)
        try:
            base = bind_scaling(run.op, "ic")
        except NNLAError as error:
            return self._declined("ic", f"ic: {error}")
        run.setup += base.seconds
        estimates.paid("ic.setup_seconds")
        self.running = "ic"
        self._watch(run.begin(base, "ic", scaling="ic", note=base.note), "ic", estimates.iterations("ic"))
        return True

    def _amg(self) -> bool:
        run = self.run
        self._end_probing()
        self._restore()
        try:
            base = bind_amg(run.op)
        except NNLAError as error:
            return self._declined("amg", f"amg: {error}")
        run.setup += base.seconds
        self.estimates.paid("amg.setup_seconds")
        self.running = "amg"
        self._watch(run.begin(base, "amg", scaling="amg", note=base.note), "amg", self.estimates.iterations("amg"))
        return True

    def _over_polynomial(self) -> bool:
        """A probe, if there is none yet, upon which all is decided anew; then CG with the polynomial."""
        run, estimates = self.run, self.estimates
        if not self.engine_asked:
            if self.probe is None:
                self._first_steps(PROBE_STEPS)
            if self.probing is not None:
                self._ask_engine()
            elif not run.finished:  # the probe has ended, or there never was one that could go on
                estimates.drop("autospec")
            return False
        if self.probing is not None:
            ahead = math.exp(left_after(estimates.of("jacobi.iterations"), estimates.done).mean)
            steps = probe_length(ahead)
            if self.asked_steps is None and steps > self.probing.result.iterations:
                self.probing.advance_to(steps)
        found = self._find_order(left_after(estimates.of("jacobi.iterations"), estimates.done))
        self._end_probing()
        if run.finished or self.probe is None:
            return True
        self._enter_order(found)
        M = polynomial_for(run, self.base, self.probe, self.polynomial, self.degree, self.engine)
        estimates.paid("autospec.setup_seconds")
        self.running = "autospec"
        expected = estimates.iterations("autospec")
        for stretch in polynomial_stretches(run, M):
            if stretch.replaces:
                stretch.advance()
            else:
                self._drive(stretch, "autospec", expected, None)
        return True

    def _declined(self, way: str, failure: str) -> bool:
        self.run.decline(way, failure)
        self.estimates.drop(way)
        return False

    # -- the order of the rows -----------------------------------------------------------------------------------

    def _find_order(self, left: Lognormal, *, hubs: bool = False) -> Any:
        """An order in which products are faster, where many are ahead; with hubs, too, where that is asked for."""
        structure = self.op.structure
        if structure is None or (structure.longest_row > _HUB * structure.mean_row and not hubs):
            return None
        if math.exp(left.mean) < _WORTH_REORDERING:
            return None
        return self.run.find_order()

    def _enter_order(self, found: Any) -> None:
        if found is not None and not self.run.finished:
            order, matrix = found
            self.run.enter_order(order, self.run.op.permuted(order, matrix))
            self._base = None

    def _restore(self) -> None:
        """The user's order, which the analysis of a factorisation is of."""
        if self.run.order is not None:
            self.run.restore_order()
            self._base = None
            self.run.check()

    # -- saying why ----------------------------------------------------------------------------------------------

    def _explain(self) -> None:
        """What was expected, how sure, and what each way would have taken alone, as far as that is known now."""
        run, estimates = self.run, self.estimates
        names = {"plain": self.plain, "autospec": self.polynomial}
        self.spread.update((name, math.exp(min(way.seconds.std, 10.0))) for name, way in self.ways.items())
        run.predicted_seconds = {names.get(way, way): seconds for way, seconds in self.values.items()}
        run.predicted_spread = {names.get(way, way): factor for way, factor in self.spread.items()}
        if run.finished and self.running in self.spent:
            alone = self.values.get if not self.ways else estimates.alone  # nothing has been learned since
            run.cheapest = {names.get(way, way): alone(way) or math.inf for way in estimates.left}
            run.cheapest[names.get(self.running, self.running)] = self.spent[self.running]
            wall, cpu = self._began  # what is predicted is seconds of this thread, and so is what they are held against
            run.share = min(max((self.clock() - cpu) / max(time.perf_counter() - wall, 1e-9), 0.0), 1.0)
        run.reason = "; ".join([self._words(names), *self.said])

    def _words(self, names: dict[str, str]) -> str:
        if not self.values:
            return ""
        listed = ", ".join(
            f"{names.get(way, way)} {seconds:.2g} s (to a factor of {self.spread.get(way, 1.0):.2g})"
            for way, seconds in sorted(self.values.items(), key=lambda pair: pair[1])
        )
        why = "" if self.predictor.failure is None else f" ({self.predictor.failure})"
        source = f"by a classical rule{why}" if self.predictor.by_rule else "learned"
        clock = ", from counts alone" if self.run.deterministic else ""
        far = ", for a system unlike those of the training" if self.predictor.outside > 0.0 else ""
        return f"predicted {listed}, {source}{clock}{far}"
