"""`nnla.prepare`: what a method needs of A, made once and kept. `nnla.solve` is prepare and solve."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError, TimeLimitError
from nnla.kernels.interruption import time_limit
from nnla.linear.auto import rescue, solve_auto, solve_auto_with
from nnla.linear.direct import run_direct
from nnla.linear.gradients import differentiable
from nnla.linear.kinds import kind_of, with_kind
from nnla.linear.nullspace import NullSpace, null_space_in_units, with_null_space
from nnla.linear.options import Options, check_numbers
from nnla.linear.polynomial import begin_instead, plain_method, polynomial_for, polynomial_stretches, probe_for
from nnla.linear.preconditioner import PolynomialPreconditioner, choose_scaling
from nnla.linear.report import solution_of
from nnla.linear.setup import CLASSICAL, Setup, SetupReport, make_setup
from nnla.linear.singular import Beside, look_for_null_vectors
from nnla.linear.state import Run
from nnla.linear.units import Units, comfortable, scaled_preconditioner
from nnla.operators.arrays import alike
from nnla.operators.bound_polynomial import CallableOperator
from nnla.operators.gradients import refuse_gradient
from nnla.operators.operator import Operator, as_operator
from nnla.operators.spaces import Space
from nnla.polynomials.design import POLYNOMIAL_METHODS
from nnla.polynomials.guards import check_probe
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.types import Kind, Solution, Status

__all__ = ["BoundPreconditioner", "Methods", "Prepared", "in_units", "prepare"]


def in_units(op: Operator, options: Options, rows: np.ndarray | None) -> Options:
    """The options for S A S: with S^-1 M S^-1 for a user's M."""
    if rows is None or options.M is None:
        return options
    M = options.M
    if isinstance(M, PolynomialPreconditioner) and M.rows is not None and np.array_equal(M.rows, rows):
        return replace(options, M=M.inside())
    return replace(options, M=scaled_preconditioner(op, M, rows))


# How CG with these ends where CG without them may go on. An M of an indefinite A may be indefinite, too, and plain CG
# then finds out which of the two it is.
_LOST = {
    "fcg": (Status.BREAKDOWN, Status.STAGNATION),
    "amg": (Status.BREAKDOWN, Status.STAGNATION),
    "ic": (Status.BREAKDOWN,),
}


class BoundPreconditioner(CallableOperator):
    """The set-up of a method as a SciPy LinearOperator r -> M r, symmetric positive definite as a rule.

    Parameters
    ----------
    space : of the vectors of ``apply``
    apply : r -> M r
    order : of its rows (old numbers), None where it is the user's
    rows : exponents of S, where the set-up is of S A S

    Attributes
    ----------
    kind : `Kind.LINEAR_SPD`, unless A, or the M given, is something else
    """

    kind = Kind.LINEAR_SPD

    def __init__(
        self,
        space: Space,
        apply: Callable[[Any], Any],
        shape: tuple[int, int],
        order: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self._space, self._apply, self._order = space, apply, order
        self._rows = rows
        super().__init__(dtype=np.dtype(np.float64), shape=shape)

    def __call__(self, r: Any) -> Any:
        """M r for (n,) or (n, k), NumPy or torch; the result is of the same kind."""
        refuse_gradient(r, "r")
        own = self._space.own(r)
        if own.ndim not in (1, 2) or own.shape[0] != self.shape[0]:
            raise ShapeError(f"an array of shape {tuple(own.shape)} does not fit a preconditioner {self.shape}")
        units = None
        if self._rows is not None:
            units, own, _ = Units.of(self._space, own, self._rows)
        if self._order is None:
            out = self._apply(own)
        else:
            out = np.empty_like(own)
            out[self._order] = self._apply(np.ascontiguousarray(own[self._order]))
        if units is not None:
            out = units.leave(out)
        return out if type(out) is type(r) else alike(self._space.host(out), r)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A matrix with what a method needs of it, for any number of right-hand sides; make one with `nnla.prepare`.

    Attributes
    ----------
    operator : Operator, A
    options : what was asked for
    setup : what was made: factor, scaling, hierarchy or polynomial; None where the first steps of a solve are to
        be its probe, as in `nnla.solve`
    inner, rows : the operator to compute with, by default A, and exponents, as `nnla.linear.units.comfortable` has them
    null : NullSpace of ``inner``, None where A is not known to be singular
    """

    operator: Operator
    options: Options
    setup: Setup | None = None
    inner: Any = None
    rows: np.ndarray | None = None
    null: NullSpace | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", self.inner or self.operator)

    def __repr__(self) -> str:
        made = self.options.method if self.setup is None else self.setup.method
        return f"<Prepared {made} for n = {self.operator.n}>"

    @property
    def report(self) -> SetupReport:
        """What was made, why, and what it cost."""
        return self._made().report

    def aspreconditioner(self) -> LinearOperator:
        """What was made as a LinearOperator M, an approximation of A^-1, for anyone's CG.

        Notes
        -----
        Cost of one application: two triangular solves ("ic", "direct"), a cycle ("amg"), ``degree`` products
        (polynomials), nothing to speak of ("jacobi", and "cg", which is the identity).

        Examples
        --------
        >>> import numpy as np, nnla
        >>> from scipy.sparse.linalg import cg
        >>> A = nnla.problems.poisson2d(30)
        >>> M = nnla.prepare(A, method="ic").aspreconditioner()
        >>> cg(A, np.ones(900), M=M, rtol=1e-8)[1]
        0
        """
        setup = self._made()
        if setup.polynomial is not None and setup.order is None and self.rows is None:
            return setup.polynomial
        M = BoundPreconditioner(self.operator.space, setup.apply, self.operator.shape, setup.order, self.rows)
        if setup.factor is not None and not setup.factor.definite:
            M.kind = Kind.LINEAR
        elif self.options.method == "fcg" and self.options.M is not None:  # which was taken without asking
            M.kind = kind_of(self.operator, self.options.M)
        else:
            M.kind = self.options.kind
        return M

    @differentiable
    def solve(
        self,
        b: Any,
        *,
        x0: Any = None,
        rtol: float = 1e-8,
        atol: float = 0.0,
        maxiter: int | None = None,
        callback: Callable[[Any], None] | None = None,
        timeout: float | None = None,
    ) -> Solution:
        """Solve A x = b; as `nnla.solve`, without its set-up.

        Parameters
        ----------
        b, x0, rtol, atol, maxiter, callback, timeout : as in `nnla.solve`

        Returns
        -------
        Solution

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, OptionError
            Bad input.

        Notes
        -----
        Cost: the products in ``report.products``; those of the set-up are in ``Prepared.report``. Guaranteed: what
        `nnla.solve` guarantees.
        """
        started = time.perf_counter()
        check_numbers(rtol, atol, maxiter, timeout, callback)
        run = Run(
            self.inner, self.inner.as_vector(b), rtol, atol, maxiter, callback, self.options.method,
            self.operator.products, started, self.options.precision,
        )  # fmt: skip
        return self.carry_out(run, x0, None, timeout)

    def carry_out(
        self, run: Run, x0: Any, warm: Callable[[Run], None] | None = None, timeout: float | None = None
    ) -> Solution:
        """Start a run, warm where a function for that is given, and take it to its end, or to that of its time."""
        beside: Beside | None = None
        run.deterministic = self.options.deterministic
        try:
            with time_limit(timeout):
                run.start(x0, self.rows)
                beside = None if self.null is None else Beside(run, self.null)
                if warm is not None and not run.finished:
                    warm(run)
                if not run.finished:
                    Methods(run, self.options, self.setup).solve()
                beside = look_for_null_vectors(run, beside)
        except TimeLimitError:
            if timeout is None or time.perf_counter() - run.started < timeout:
                raise  # the caller's own limit
            run.time_out()
        return solution_of(run) if beside is None else beside.solution()

    def _made(self) -> Setup:
        if self.setup is None:
            raise OptionError("nothing was prepared here; use nnla.prepare")
        return self.setup


def prepare(
    A: Any,
    method: str = "auto",
    *,
    M: Any = None,
    degree: int | None = None,
    scaling: Any = "auto",
    probe_steps: int | None = None,
    engine: Any = None,
    dtype: Any = None,
    rtol: float = 1e-8,
    seed: int = 0,
    solves: int = 10,
    deterministic: bool = False,
    nullspace: Any = None,
) -> Prepared:
    """Set a method up for A, once: factor, incomplete factor, hierarchy, or probe and polynomial.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite; never modified, and not to be
        changed while this is in use
    method, M, degree, scaling, probe_steps, engine, dtype : as in `nnla.solve`. "auto" chooses the cheapest for
        ``solves`` right-hand sides
    rtol : tolerance of the solves it is for
    seed : of the random start of a probe
    solves : right-hand sides that "auto" is to weigh the set-up against
    deterministic : as in `nnla.solve`
    nullspace : as in `nnla.solve`

    Returns
    -------
    Prepared
        Immutable, with ``solve(b)``, ``aspreconditioner()`` and ``report``.

    Raises
    ------
    The errors of `nnla.solve`; NotPositiveDefiniteError also where a factorisation or a probe shows A to be
    indefinite, MemoryError where a factor does not fit.

    Notes
    -----
    Cost: the set-up of the method. A polynomial takes ``probe_steps`` (50) products for a probe from a random start;
    `nnla.solve` instead uses the first steps of the solve, for which it needs no products of its own.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., chapters 9, 10 and 12. AutoSpec (arXiv:2602.09530),
    section 5.3. Davis, Direct Methods for Sparse Linear Systems (2006), chapter 4.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> P = nnla.prepare(nnla.problems.poisson2d(40), method="direct")
    >>> P.solve(np.ones(1600)).report.converged, P.solve(np.arange(1600.0)).report.converged
    (True, True)
    """
    started = time.perf_counter()
    options = Options.checked(
        method, M=M, degree=degree, scaling=scaling, probe_steps=probe_steps, engine=engine, dtype=dtype,
        deterministic=deterministic,
    )  # fmt: skip
    check_numbers(rtol)
    if isinstance(solves, bool) or not isinstance(solves, (int, np.integer)) or not 1 <= solves <= 10**9:
        raise OptionError(f"solves must be a positive integer, got {solves!r}")
    op, null = with_null_space(as_operator(A), nullspace)
    inner, rows = comfortable(op)
    inner, null = null_space_in_units(inner, null, rows)
    options = with_kind(inner, in_units(inner, options, rows))
    setup = make_setup(inner, options, rtol, seed, int(solves), started, null)
    return Prepared(op, options, setup, inner, rows, null)


class Methods:
    """One run by the method that was asked for, with what was set up before, or from nothing."""

    def __init__(self, run: Run, options: Options, setup: Setup | None) -> None:
        self.run, self.options, self.setup = run, options, setup

    def solve(self) -> None:
        """Take the run to its end from where it stands."""
        run, options, setup = self.run, self.options, self.setup
        method = options.iteration if setup is None else setup.method
        if setup is not None:
            run.reason = setup.report.chosen_because
            if setup.order is not None:
                run.enter_order(setup.order, setup.op)
        if isinstance(options.M, PolynomialPreconditioner):
            self._given(options.M)
        elif method == "auto":
            self._auto()
        elif method in POLYNOMIAL_METHODS:
            self._polynomial(method)
        elif options.method == "auto" and setup is None:  # with the user's M
            base = bind_scaling(run.op, options.M)
            solve_auto_with(run, base, method == "fcg", options.degree, options.probe_steps, options.engine)
        elif method == "direct":
            run_direct(run, None if setup is None else setup.factor)
        else:
            self._classical(method)
        if options.method == "auto":
            rescue(run)

    def _auto(self) -> None:
        run, options = self.run, self.options
        if run.deflation is not None:
            run.reason = "incomplete Cholesky under the subspace of the warm start"
            self._classical("ic")
        else:
            solve_auto(run, options.degree, options.probe_steps, options.engine)

    def _classical(self, method: str) -> None:
        run = self.run
        try:
            base = self._classical_base(method)
        except NotPositiveDefiniteError as error:
            run.decline(method, f"{method}: {error}; CG without it instead")
            self._without()
            return
        flexible = method == "fcg"
        run.iterate(base, method, scaling=base.name, flexible=flexible, reason="asked for", note=base.note)
        if method in ("fcg", "ic", "amg") and run.status in _LOST[method] and not run.finished:
            what = "flexible CG with M" if flexible else f"CG with {method}"
            run.give_up(f"{what} ended in {run.status.value}; CG without it from the current iterate instead")
            self._without()

    def _without(self) -> None:
        begin_instead(self.run, bind_scaling(self.run.op, choose_scaling(self.run.op))).finish()

    def _classical_base(self, method: str) -> Scaling:
        run, options = self.run, self.options
        if self.setup is not None and self.setup.base is not None:
            return self.setup.base
        if method == "ic":
            run.reorder()
        base = (
            bind_amg(run.op)
            if method == "amg"
            else bind_scaling(run.op, CLASSICAL[method] if options.M is None else options.M)
        )
        run.setup += base.seconds
        return base

    def _polynomial(self, method: str) -> None:
        run, options, setup = self.run, self.options, self.setup
        if setup is not None and setup.polynomial is not None:
            self._stretches(setup.polynomial)
            return
        base = self._base()
        run.setup += base.seconds
        probe = probe_for(run, base, method, options.probe_steps, options.degree, options.engine)
        if probe is None or run.status in (Status.INDEFINITE, Status.BREAKDOWN):
            return
        if base.name in ("none", "jacobi") and run.reorder():
            base = bind_scaling(run.op, base.name)
        verdict = check_probe(probe)
        if verdict.ok:
            self._stretches(polynomial_for(run, base, probe, method, options.degree, options.engine))
        else:
            run.decline(method, f"{verdict.reason}; {plain_method(base)} from the current iterate instead")
            begin_instead(run, base).finish()

    def _base(self) -> Scaling:
        op, options = self.run.op, self.options
        if options.M is not None:
            return bind_scaling(op, options.M)
        try:
            return bind_scaling(op, choose_scaling(op, options.scaling))
        except NotPositiveDefiniteError as error:
            self.run.decline(options.method, f"scaling: {error}; another scaling instead")
            return bind_scaling(op, choose_scaling(op))

    def _given(self, M: PolynomialPreconditioner) -> None:
        run = self.run
        if M.operator.n != run.op.n:
            raise ShapeError(f"M is for an operator of size {M.operator.n}, A has size {run.op.n}")
        run.reason, run.seed = "preconditioner given", M.probe.seed
        self._stretches(M)

    def _stretches(self, M: PolynomialPreconditioner) -> None:
        for stretch in polynomial_stretches(self.run, M):
            stretch.advance()
