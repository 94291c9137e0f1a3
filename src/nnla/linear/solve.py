"""`nnla.solve`: probe, engine, polynomial, conjugate gradients, report, in one call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError
from nnla.linear.auto import solve_auto
from nnla.linear.options import METHODS, check_numbers, check_usable
from nnla.linear.phases import apply_polynomial, longer_where_hard, probe_by_cg, run_direct, run_polynomial
from nnla.linear.preconditioner import DEFAULT_DEGREE, PolynomialPreconditioner, choose_scaling, precision_of
from nnla.linear.state import Run
from nnla.operators.arrays import as_row
from nnla.operators.operator import Operator, as_operator
from nnla.polynomials.design import POLYNOMIAL_METHODS
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.registry import load
from nnla.types import Solution, Status

__all__ = ["METHODS", "solve"]


def solve(
    A: Any,
    b: Any,
    *,
    x0: Any = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    maxiter: int | None = None,
    method: str = "auto",
    M: Any = None,
    warm_start: Any = None,
    callback: Callable[[Any], None] | None = None,
    degree: int | None = None,
    scaling: Any = "auto",
    probe_steps: int | None = None,
    engine: Any = None,
    dtype: Any = None,
) -> Solution:
    """Solve A x = b for symmetric positive definite A, and say what it took.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite; never modified
    b : (n,) or (n, k), right-hand side or several
    x0 : initial guess of b's shape; used only where it has a smaller residual than zero has
    rtol, atol : success when ||b - A x||_2 <= max(rtol ||b||_2, atol) for every right-hand side,
        recomputed in float64
    maxiter : outer iterations at most, the probe's not counted; default 10 n products' worth
    method : "auto" chooses and says why. "autospec" is the learned polynomial, with roots on outlying eigenvalues
        where that promises 3 % or more, "autospec-tail" wherever it promises anything; "autospec-paper",
        "chebyshev", "chebyshev4", "rule", "dos", "least-squares", "gmres", "richardson", "neumann" are
        its opponents; "cg" is plain, "jacobi" and "ic" are classical, "amg" needs PyAMG, "direct" factors
    M : SPD preconditioner for "auto", "cg" and polynomials. A `nnla.preconditioner` is used as it is,
        without a new probe; any other takes the place of the scaling
    warm_start : where a network starts CG, for building frames: "nsls", "nsls-plus", a model, the path of its
        weights, or a `nnla.initial_guess` made before with the same A, whose subspace then serves this b as well;
        or a `nnla.DeflationSpace` of your own vectors.
        With "nsls-plus" CG is deflated by the subspace all along, under any method but "direct"; "auto" then
        is "ic". A matrix unlike those of the training is solved as without, and ``report.fallback`` says so
    callback : called with the current iterate after each iteration
    degree : degree of the polynomial, 1 to 512, default 11; ``degree + 1`` products an outer iteration
    scaling : "auto" (Jacobi where the diagonal varies), "none", "jacobi" or "ic": what a polynomial works
        on top of
    probe_steps : CG steps that double as the probe; default 50, and up to 100 where the engine expects many
        iterations
    engine : trained engine (`nnla.load`), or the path of its weights, instead of the shipped one
    dtype : precision inside a polynomial: float64, float32 or "bfloat16"; by default float32 where the native
        kernels have it, and float64 from where float32 stagnates. CG and the residuals are in float64 always

    Returns
    -------
    Solution
        ``x`` of b's shape and ``report``; unpacks as ``x, report``. Non-convergence is not an exception:
        look at ``report.converged`` and ``report.status``; the best iterate is returned.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, OptionError
        Bad input, with the remedy in the message. An option that the method would ignore (``degree`` and
        ``scaling`` for "cg", say) is an OptionError too.
    WeightsError
        The engine given cannot be read. Where the shipped weights cannot be, "autospec" and "auto" go on
        with a classical interval, and ``report.fallback`` says so.

    Notes
    -----
    Cost: the products in ``report.products``, everything included.

    Memory, beside A, b and x0, in NumPy: at most v arrays of b's shape and d vectors of length n, with (v, d) =

    * (8, 0) for "cg", (9, 1) for "jacobi",
    * (13, 0) for a polynomial of any degree, (15, 1) for one over Jacobi scaling,

    v + 1 with x0, and v + 3 while some columns of a block have converged and others have not. With the native
    kernels and one right-hand side, at most so many vectors of length n:

    * 10 for "cg", 13 for "jacobi",
    * 15 for a polynomial in float32, 19 for one over Jacobi scaling; 18 and 23 in float64,

    and A once more, by 4 to 8 bytes an entry in float32 and 8 to 12 in float64, for polynomials and where "cg" or
    "jacobi" take more than 16 iterations. "ic", "amg" and "direct" add their factors, a warm start the network's
    working arrays and, for "nsls-plus", W and A W twice each. Deflated CG runs in NumPy.

    Guaranteed: ``converged`` means that
    the true residual meets the tolerance; a polynomial that turns out indefinite is given up for plain
    CG from the current iterate, and ``report.fallback`` says so.

    References
    ----------
    AutoSpec (arXiv:2602.09530), sections 3 and 5.3.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(60)
    >>> x, report = nnla.solve(A, np.ones(A.shape[0]), method="autospec")
    >>> report.converged, bool(report.relative_residual <= 1e-8)
    (True, True)
    """
    started = time.perf_counter()
    if isinstance(engine, (str, os.PathLike)):
        engine = load(engine)  # the user's own weights: a bad file is an error, needed or not
    check_numbers(rtol, atol, maxiter)
    given: dict[str, Any] = {
        "degree": degree,
        "scaling": scaling,
        "probe_steps": probe_steps,
        "engine": engine,
        "dtype": dtype,
    }
    check_usable(method, **given, M=M, made=isinstance(M, PolynomialPreconditioner))
    if warm_start is not None and x0 is not None:
        raise OptionError("x0 and warm_start both say where to start; give one of them")
    if warm_start is not None and method == "direct":
        raise OptionError("warm_start has no effect on method='direct'; leave it out")
    degree = DEFAULT_DEGREE if degree is None else int(degree)
    steps = None if probe_steps is None else int(probe_steps)
    op = as_operator(A)
    before = op.products if op is A else 0
    run = Run(op, op.as_vector(b), rtol, atol, maxiter, callback, before, started)
    run.dtype = None if dtype is None else precision_of(dtype)
    run.start(x0)
    why = "asked for"
    if warm_start is not None and not run.finished:
        _warm(run, warm_start)
        if run.space is not None and method == "auto" and M is None:
            method, why = "ic", "incomplete Cholesky under the subspace of the warm start"
    if run.finished:
        run.method, run.because = method, "the initial guess meets the tolerance"
    elif isinstance(M, PolynomialPreconditioner):
        _with_polynomial(run, M)
    elif method == "auto" and M is None:
        solve_auto(run, degree, steps, engine)
    elif method in POLYNOMIAL_METHODS:
        base = _base(op, scaling if M is None else M)
        _polynomial(run, base, method, degree, steps, engine)
    elif method == "direct":
        run_direct(run)
    else:
        names = {"cg": "none", "auto": "none", "jacobi": "jacobi", "ic": "ic"}
        if method == "ic":
            run.reorder()
        base = bind_amg(op) if method == "amg" else bind_scaling(run.op, names[method] if M is None else M)
        run.method, run.scaling = ("cg" if method == "auto" else method), base.name
        run.because = why + run.because + (f"; {base.note}" if base.note else "")
        run.seconds["setup"] += base.seconds
        run.iterate(base)
    return run.solution()


def _warm(run: Run, warm_start: Any) -> None:
    from nnla.guesses.guess import warm_start_of

    if run.op.xp == "torch":
        raise OptionError("warm_start is for NumPy and SciPy matrices; pass x0 = nnla.initial_guess(...)")
    started = time.perf_counter()
    try:
        run.begin_at(warm_start_of(run.op, run.b * as_row(run.unit, run.b), warm_start))
    except NotPositiveDefiniteError as error:  # CG will say so, too, with its best iterate
        run.give_up(f"no warm start: {error}")
    run.seconds["setup"] += time.perf_counter() - started


def _base(op: Operator, scaling: Any) -> Scaling:
    return bind_scaling(op, choose_scaling(op) if isinstance(scaling, str) and scaling == "auto" else scaling)


def _polynomial(run: Run, base: Scaling, method: str, degree: int, steps: int | None, engine: Any) -> None:
    run.method, run.scaling = method, base.name
    run.because = run.because or "asked for"
    run.seconds["setup"] += base.seconds
    extend = longer_where_hard(run, degree, engine) if method == "autospec" and steps is None else None
    probe = probe_by_cg(run, base, steps, extend)
    if probe is None:
        run.because += "; the probe's own CG steps solved the system" if run.finished else ""
        return
    if run.status in (Status.INDEFINITE, Status.BREAKDOWN):
        return
    if base.name in ("none", "jacobi") and run.reorder():
        base = bind_scaling(run.op, base.name)
    apply_polynomial(run, base, probe, method, degree, engine)


def _with_polynomial(run: Run, M: PolynomialPreconditioner) -> None:
    if M.operator.n != run.op.n:
        raise ShapeError(f"M is for an operator of size {M.operator.n}, A has size {run.op.n}")
    run.scaling, run.because, run.seed = M.scaling, "preconditioner given", M.probe.seed
    counted = M.operator.products
    run_polynomial(run, M)
    if M.operator is not run.op:
        run.products_before -= M.operator.products - counted
