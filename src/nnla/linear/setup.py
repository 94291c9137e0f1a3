"""What a method needs of A, made once: a factor, a scaling, a hierarchy, or a probe and a polynomial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotPositiveDefiniteError
from nnla.kernels.reordering import better_order
from nnla.krylov.probes import probe as run_probe
from nnla.linear.choice import TINY, Choice
from nnla.linear.costs import Costs
from nnla.linear.direct import Factor, factorise
from nnla.linear.nullspace import NullSpace
from nnla.linear.options import Options
from nnla.linear.polynomial import PROBE_STEPS
from nnla.linear.preconditioner import PolynomialPreconditioner, choose_scaling, quick_dtype
from nnla.operators.operator import Operator
from nnla.polynomials.design import POLYNOMIAL_METHODS, design_polynomial
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
    predicted_seconds : method -> seconds that "auto" predicted for all right-hand sides, or None
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
        probe = probe or self._probe(there, scaling, ordered.get("order"))
        design = design_polynomial(probe, method=method, degree=options.degree, rtol=self.rtol, engine=options.engine)
        M = PolynomialPreconditioner(there, base, design, probe, dtype=options.precision or quick_dtype(there, base))
        if design.fallback is not None:
            self.failures.append(design.fallback)
        return {"method": method, "polynomial": M} | ordered

    def _probe(self, op: Operator, scaling: Any, order: np.ndarray | None = None) -> SpectralProbe:
        steps = self.options.probe_steps or PROBE_STEPS
        if self.null is None:
            return run_probe(op, steps, seed=self.seed, scaling=scaling)
        v = np.random.default_rng(self.seed).standard_normal(op.n)
        v -= self.null.part(v)  # the eigenvalue 0 is not of the problem
        start = v if order is None else v[order]
        return replace(run_probe(op, steps, start=start, scaling=scaling), seed=self.seed)

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
        """The fields for the method of the least predicted time for so many right-hand sides."""
        op, options = self.op, self.options
        costs = Costs(op, solves, timed=not options.deterministic)
        if op.n <= TINY and costs.direct() < np.inf:
            try:
                facts = self.make("direct")
            except (NotPositiveDefiniteError, MemoryError) as error:
                self.failures.append(f"direct: {error}")
            else:
                self.reason = f"n = {op.n} is small: factoring is faster than iterating"
                return facts
        scaling = choose_scaling(op)
        started = time.perf_counter()
        probe = self._probe(op, scaling)
        costs.observe(solves * (time.perf_counter() - started), probe.steps)
        plain = "jacobi" if scaling == "jacobi" else "cg"
        choice = Choice(op, costs, plain, options.degree, options.engine)
        choice.ask_engine(probe, self.rtol)
        if choice.failure is not None:
            self.failures.append(choice.failure)
        self.predicted = predicted = dict(choice.predict())
        self.reason = f"{choice.words()}, {solves} right-hand side(s)"
        for name in sorted(predicted, key=lambda key: predicted[key]):
            if name.endswith("+ic"):  # saves reductions, not time
                continue
            try:
                return self.make(name, probe, choice.analysed)  # the spectrum is the same in any order of the rows
            except (NNLAError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
                self.failures.append(f"{name}: {error}")
        return self.make(plain)
