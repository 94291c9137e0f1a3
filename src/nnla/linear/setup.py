"""What a method needs of A, made once: a factor, a scaling, a hierarchy, or a probe and a polynomial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotPositiveDefiniteError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.reordering import better_order
from nnla.krylov.probes import probe as run_probe
from nnla.krylov.start import start_cg
from nnla.krylov.step_features import step_features
from nnla.linear.auto import FIRST_STEPS, STEPS_CALL, TINY
from nnla.linear.decision import decide
from nnla.linear.direct import Factor, factorise
from nnla.linear.estimates import Estimates, clock_for, ways_of
from nnla.linear.nullspace import NullSpace
from nnla.linear.options import Options
from nnla.linear.polynomial import PROBE_STEPS
from nnla.linear.preconditioner import PolynomialPreconditioner, choose_scaling, quick_dtype
from nnla.linear.predictor import Predictor
from nnla.linear.progress import left_by_progress, predict_iterations
from nnla.linear.speeds import REFERENCE, THIS_MACHINE
from nnla.operators.operator import Operator
from nnla.polynomials.design import POLYNOMIAL_METHODS, design_polynomial
from nnla.polynomials.guards import check_probe
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.report import ReportBase
from nnla.types import SpectralProbe, Status, library_versions

__all__ = ["CLASSICAL", "Setup", "SetupReport", "make_setup"]

CLASSICAL = {"cg": "none", "fcg": "none", "jacobi": "jacobi", "ic": "ic"}  # method -> scaling


@dataclass(frozen=True, repr=False)
class SetupReport(ReportBase):
    """What `nnla.prepare` made, and what it cost.

    Attributes
    ----------
    status, converged : "prepared", True
    method : what solves will run
    n, nnz : size, stored entries (None for operators known only by products)
    scaling, degree, precision, interval, predicted_iterations, weights : as in `nnla.Report`
    products : with A
    seconds : {"total"}
    fallback : None, or what was given up and why
    chosen_because : why this method
    predicted_seconds : method -> seconds that "auto" expected for all right-hand sides, or None
    predicted_spread : method -> factor of one standard deviation that these may be wrong by, or None
    reordered : rows were reordered by reverse Cuthill-McKee
    versions : versions of the libraries
    """

    _line = (("method", "{}"), ("products", "{} products"))

    status: Status
    converged: bool
    method: str
    n: int
    nnz: int | None
    scaling: str = "none"
    degree: int | None = None
    precision: str | None = None
    interval: tuple[float, float] | None = None
    predicted_iterations: float | None = None
    weights: str | None = None
    products: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    fallback: str | None = None
    chosen_because: str = "asked for"
    predicted_seconds: dict[str, float] | None = None
    predicted_spread: dict[str, float] | None = None
    reordered: bool = False
    versions: dict[str, str] = field(default_factory=library_versions)


@dataclass(frozen=True, eq=False)
class Setup:
    """What was made.

    Attributes
    ----------
    method : that it is for
    op : the operator, in the order below
    order : of its rows (old numbers), None where it is the user's
    base, polynomial, factor : whichever the method works with
    report : SetupReport
    """

    method: str
    op: Operator
    report: SetupReport
    order: np.ndarray | None = None
    base: Scaling | None = None
    polynomial: PolynomialPreconditioner | None = None
    factor: Factor | None = None

    @property
    def apply(self) -> Callable[[Any], Any]:
        """r -> M r in the order of ``op``."""
        if self.factor is not None:
            return self.factor.solve
        if self.polynomial is not None:
            return self.polynomial
        assert self.base is not None
        return self.base


def make_setup(
    op: Operator,
    options: Options,
    rtol: float,
    seed: int,
    solves: int,
    started: float,
    null: NullSpace | None = None,
) -> Setup:
    """Set up the method asked for, or that "auto" finds cheapest for so many right-hand sides, beside a null space.

    Cost: that of the method; see `nnla.prepare`.
    """
    before = op.products
    maker = _Maker(op, options, rtol, seed, null)
    if isinstance(options.M, PolynomialPreconditioner):
        facts: dict[str, Any] = {"polynomial": options.M, "method": options.M.design.method}
    elif options.iteration == "auto":
        facts = maker.cheapest(solves)
    else:
        facts = maker.make(options.iteration)
    report = SetupReport(
        Status.PREPARED,
        True,
        facts["method"],
        op.n,
        op.nnz,
        **_polynomial_facts(facts.get("polynomial")),
        **({"scaling": facts["base"].name} if "base" in facts else {}),
        products=op.products - before,
        seconds={"total": time.perf_counter() - started},
        fallback="; ".join(maker.failures) or None,
        chosen_because=maker.reason,
        predicted_seconds=maker.predicted,
        predicted_spread=maker.spread,
        reordered="order" in facts,
    )
    made: dict[str, Any] = {"op": op, **facts}
    return Setup(report=report, **made)


def _polynomial_facts(M: PolynomialPreconditioner | None) -> dict[str, Any]:
    if M is None:
        return {}
    d = M.design
    return {
        "scaling": M.scaling, "degree": M.recurrence.degree, "precision": M.precision, "interval": d.interval,
        "predicted_iterations": d.predicted_iterations, "weights": d.weights,
    }  # fmt: skip


class _Maker:
    def __init__(self, op: Operator, options: Options, rtol: float, seed: int, null: NullSpace | None) -> None:
        self.op, self.options, self.rtol, self.seed, self.null = op, options, rtol, seed, null
        self.reason = "asked for"
        self.failures: list[str] = []
        self.predicted: dict[str, float] | None = None
        self.spread: dict[str, float] | None = None

    def make(self, method: str, probe: SpectralProbe | None = None, analysed: Any = None) -> dict[str, Any]:
        """The fields of `Setup` for one method."""
        op, options = self.op, self.options
        if method == "direct":
            try:
                factor = factorise(op, analysed)
            except (RuntimeError, np.linalg.LinAlgError) as error:
                raise NotPositiveDefiniteError(
                    f"A cannot be factored ({error}); where b is in its range, method='cg' solves the system"
                ) from error
            if factor.objection is not None:
                self.failures.append(factor.objection)
            return {"method": method, "factor": factor}
        if method == "amg":
            return {"method": method, "base": bind_amg(op)}
        ordered = self._ordered() if method == "ic" or method in POLYNOMIAL_METHODS else {}
        there = ordered.get("op", op)
        if method not in POLYNOMIAL_METHODS:
            scaling = CLASSICAL[method] if options.M is None else options.M
            return {"method": method, "base": bind_scaling(there, scaling)} | ordered
        scaling = options.M if options.M is not None else choose_scaling(op, options.scaling)
        base = bind_scaling(there, scaling)
        probe = probe or self.probe(there, scaling, ordered.get("order"))
        design = design_polynomial(probe, method=method, degree=options.degree, rtol=self.rtol, engine=options.engine)
        M = PolynomialPreconditioner(there, base, design, probe, dtype=options.precision or quick_dtype(there, base))
        if design.fallback is not None:
            self.failures.append(design.fallback)
        return {"method": method, "polynomial": M} | ordered

    def probe(self, op: Operator, scaling: Any, order: np.ndarray | None = None) -> SpectralProbe:
        """A probe from a random start, beside the null space."""
        steps = self.options.probe_steps or PROBE_STEPS
        if self.null is None:
            return run_probe(op, steps, seed=self.seed, scaling=scaling)
        v = self.random_start()
        start = v if order is None else v[order]
        return replace(run_probe(op, steps, start=start, scaling=scaling), seed=self.seed)

    def random_start(self) -> Any:
        """A vector in the user's order, without a part that A maps to zero: the eigenvalue 0 is not of the problem."""
        v = np.random.default_rng(self.seed).standard_normal(self.op.n)
        return self.op.as_vector(v if self.null is None else v - self.null.part(v))

    def _ordered(self) -> dict[str, Any]:
        # a user's own scaling is in the user's order
        if self.op.csr is None or not isinstance(self.options.scaling, str) or self.options.M is not None:
            return {}
        found = better_order(self.op.csr)
        if found is None:
            return {}
        order, matrix = found
        return {"op": self.op.permuted(order, matrix), "order": order}  # counts into the same number

    def cheapest(self, solves: int) -> dict[str, Any]:
        """The fields for the method of the least expected time for so many right-hand sides."""
        op = self.op
        if op.n <= TINY and "direct" in ways_of(op):
            try:
                facts = self.make("direct")
            except (NotPositiveDefiniteError, MemoryError) as error:
                self.failures.append(f"direct: {error}")
            else:
                self.reason = f"n = {op.n} is small: factoring is faster than iterating"
                return facts
        return _Cheapest(self, solves).make()


class _Cheapest:
    """What "auto" makes for many right-hand sides: decides, finds out, decides anew; nothing is watched later."""

    def __init__(self, maker: _Maker, solves: int) -> None:
        self.maker, self.op, self.solves = maker, maker.op, solves
        op, options = maker.op, maker.options
        self.scaling = choose_scaling(op)
        self.plain = "jacobi" if self.scaling == "jacobi" else "cg"
        self.predictor = Predictor(op, options.degree)
        speeds = REFERENCE if options.deterministic else THIS_MACHINE.speeds(native=op.native is not None)
        self.estimates = Estimates(
            self.predictor.costs(maker.rtol),
            speeds,
            ways=ways_of(op),
            n=op.n,
            nnz=int(op.nnz) if op.nnz is not None else op.n,
            solves=solves,
            threads=1 if op.native is None or options.deterministic else op.native.threads,
        )
        if self.predictor.look(self.estimates.cheapest):
            self.estimates.renew(self.predictor.costs(maker.rtol), 0)
        self.estimates.told = self.predictor.told if op.nnz is not None else 1.0
        self.probe: SpectralProbe | None = None
        self.polynomial = "autospec"
        self.analysed: Cholesky | None = None
        self.stepped = False

    def make(self) -> dict[str, Any]:
        """The fields of `Setup`."""
        maker, estimates = self.maker, self.estimates
        while estimates.left:
            steps = None if self.stepped else estimates.steps(FIRST_STEPS, STEPS_CALL)
            ways = estimates.ways()
            decision = decide(ways, ordering=estimates.ordering, steps=steps, watched=False)
            if decision.action == "steps" or (decision.action == "plain" and not self.stepped):
                self._first_steps()
                continue
            name = self._name(decision.action)
            maker.predicted = {self._name(way.name): decision.values[way.name] for way in ways}
            maker.spread = {self._name(way.name): math.exp(min(way.seconds.std, 10.0)) for way in ways}
            maker.reason = self._words(maker.predicted)
            if self._to_find_out(decision.action):
                continue
            try:
                return maker.make(name, self.probe, self.analysed)  # the spectrum is the same in any order of the rows
            except (NNLAError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
                maker.failures.append(f"{name}: {error}")
                estimates.drop(decision.action)
        return maker.make(self.plain)

    def _name(self, way: str) -> str:
        return {"plain": self.plain, "autospec": self.polynomial}.get(way, way)

    def _to_find_out(self, action: str) -> bool:
        """What a way needs to know first; whether there was anything to find out."""
        if action == "direct" and not self.estimates.ordered and self.op.csr is not None and Cholesky.available():
            self._order()
            return True
        if action == "autospec" and self.probe is None:
            self._probe()
            return True
        return False

    def _first_steps(self) -> None:
        """Steps of CG for a random right-hand side."""
        op, maker = self.op, self.maker
        self.stepped = True
        base = bind_scaling(op, self.scaling)
        b = maker.random_start()
        size = op.space.norm(b)
        clock = clock_for(op)
        began = clock()
        cg = start_cg(
            op, b, x=op.space.zeros_like(b), residual=op.space.copy(b), targets=np.array([1e-15 * float(size)]),
            sizes=np.array([float(size)]), M=base,
        )  # fmt: skip
        result = cg.advance(min(FIRST_STEPS, op.n))
        if result.iterations and not maker.options.deterministic:
            self.estimates.observe(clock() - began, result.iterations)
        left = left_by_progress(self.estimates.of("jacobi.iterations"), result, float(size), maker.rtol * float(size))
        steps = step_features(result, float(size))
        self.estimates.renew(self.predictor.costs(maker.rtol, steps, left), 0)

    def _probe(self) -> None:
        maker, estimates = self.maker, self.estimates
        self.probe = maker.probe(self.op, self.scaling)
        if not check_probe(self.probe).ok:
            raise NotPositiveDefiniteError("the probe found a negative Ritz value: A is not positive definite")
        options = maker.options
        self.polynomial, outer, failure = predict_iterations(self.probe, options.degree, maker.rtol, options.engine)
        if failure is not None:
            maker.failures.append(failure)
        estimates.learn_polynomial(outer, options.degree)

    def _order(self) -> None:
        estimates = self.estimates
        try:
            analysed = Cholesky(self.op.csr, max_flops=estimates.worth_ordering)
        except NNLAError:  # LU takes what this does not
            estimates.ordered = True
            return
        if not analysed.complete:
            self.maker.failures.append(f"direct: more than {analysed.flops:.0e} operations")
            estimates.drop("direct")
            return
        self.analysed = analysed
        seconds = self.predictor.after_analysis(analysed.flops, analysed.nnz)
        estimates.learn_analysis(analysed.flops, analysed.nnz, analysed.nbytes, seconds)

    def _words(self, predicted: dict[str, float]) -> str:
        listed = ", ".join(f"{name} {s:.2g} s" for name, s in sorted(predicted.items(), key=lambda pair: pair[1]))
        source = "by a classical rule" if self.predictor.by_rule else "learned"
        return f"predicted {listed}, {source}, {self.solves} right-hand side(s)"
