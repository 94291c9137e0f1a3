"""`nnla.solve`: prepare and solve in one call, the first steps of the solve serving as the probe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.linear.gradients import differentiable
from nnla.linear.kinds import with_kind
from nnla.linear.nullspace import null_space_in_units, with_null_space
from nnla.linear.options import METHODS, Options, check_numbers
from nnla.linear.prepare import Prepared, in_units
from nnla.linear.quick import QUICK_METHODS, solve_quickly
from nnla.linear.state import Run
from nnla.linear.units import comfortable
from nnla.operators.operator import as_operator
from nnla.types import Solution

__all__ = ["METHODS", "solve"]


@differentiable
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
    timeout: float | None = None,
    deterministic: bool = False,
    nullspace: Any = None,
) -> Solution:
    """Solve A x = b for symmetric positive definite A, and say what it took.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite; never modified
    b : (n,) or (n, k), right-hand side or several
    x0 : initial guess of b's shape, where CG starts; used only where it is nearer to the solution than zero in the
        A-norm, the one that CG makes smaller with every step
    rtol, atol : success when ||b - A x||_2 <= max(rtol ||b||_2, atol) for every right-hand side,
        recomputed in float64; and in two more norms where rows with a large diagonal dominate b, see below
    maxiter : outer iterations at most, the probe's not counted; default 10 n products' worth
    method : "auto" chooses and says why. "autospec" is the learned polynomial, with roots on outlying eigenvalues
        where that promises 3 % or more, "autospec-tail" wherever it promises anything; "autospec-paper",
        "chebyshev", "chebyshev4", "rule", "dos", "least-squares", "gmres", "richardson", "neumann" are
        its opponents; "cg" is plain, "fcg" flexible, "jacobi" and "ic" are classical, "amg" needs PyAMG, "direct"
        factors
    M : preconditioner for "auto", "cg", "fcg" and polynomials: LinearOperator, matrix or callable r -> M r. A
        `nnla.preconditioner` is used as it is, without a new probe; any other takes the place of the scaling. One
        that is not linear, symmetric and positive definite is for "fcg", which "auto" then is, and refused by the
        others: by its ``kind`` (`nnla.Kind`) where it has one, else by three applications of it
    warm_start : where a network starts CG, for building frames: "nsls", "nsls-plus", a model, the path of its
        weights, or a `nnla.initial_guess` made before with the same A, whose subspace then serves this b as well;
        or a `nnla.DeflationSpace` of your own vectors.
        With "nsls-plus" CG is deflated by the subspace all along, under any method but "direct"; "auto" then
        is "ic". A matrix unlike those of the training is solved as without, and ``report.fallback`` says so
    callback : called with a copy of the current iterate after each iteration
    degree : degree of the polynomial, 1 to 512, default 11; ``degree + 1`` products an outer iteration
    scaling : "auto" (Jacobi where the diagonal varies), "none", "jacobi" or "ic": what a polynomial works
        on top of
    probe_steps : CG steps that double as the probe; default 50, and up to 100 where the engine expects many
        iterations
    engine : trained engine (`nnla.load`), or the path of its weights, instead of the shipped one
    dtype : precision inside a polynomial: float64, float32 or "bfloat16"; by default float32 where the native
        kernels have it, and float64 from where float32 stagnates. CG and the residuals are in float64 always
    timeout : seconds after which the solve ends with status "timeout" and its best iterate. Looked at twenty times a
        second by everything but a product with a LinearOperator, LAPACK and SuperLU
    deterministic : let no clock decide anything: "auto" then chooses from counts of operations, as if it ran on the
        machine of its constants, and chooses the same every time
    nullspace : (n,) or (n, m) vectors that A maps to zero, such as the rigid motions of a free body. What the entries
        show is found without: isolated unknowns, and a null vector on a connected component

    Returns
    -------
    Solution
        ``x`` of b's shape and ``report``; unpacks as ``x, report``. Non-convergence is not an exception:
        look at ``report.converged`` and ``report.status``; of the iterates of the last method and what it started
        from, that with the smallest residual norm is returned.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, OptionError
        Bad input, with the remedy in the message. An option that the method would ignore (``degree`` and
        ``scaling`` for "cg", say) is an OptionError too.
    NonFiniteError
        Also where entries of the solution are beyond the range of float64.
    WeightsError
        The engine given cannot be read. Where the shipped weights cannot be, "autospec" and "auto" go on
        with a classical interval, and ``report.fallback`` says so.

    Notes
    -----
    Cost: the products in ``report.products``, everything included.

    Memory, beside A, b and x0, in NumPy: at most v arrays of b's shape and d vectors of length n, with (v, d) =

    * (8, 0) for "cg", (8, 1) for "jacobi",
    * (11, 0) for a polynomial of any degree, (13, 1) for one over Jacobi scaling,

    v + 1 with x0, and v + 3 while some columns of a block have converged and others have not. With the native
    kernels and one right-hand side, at most so many vectors of length n:

    * 10 for "cg", 13 for "jacobi",
    * 15 for a polynomial in float32, 19 for one over Jacobi scaling; 18 and 23 in float64,

    and A once more, by 4 to 8 bytes an entry in float32 and 8 to 12 in float64, for polynomials and where "cg" or
    "jacobi" take more than 16 iterations. "ic", "amg" and "direct" add their factors, a warm start the network's
    working arrays and, for "nsls-plus", W and A W twice each. Deflated CG runs in NumPy.

    Guaranteed: ``converged`` means that the true residual of the x returned meets the tolerance. Where heavy rows
    dominate b, ||b|| > 10 sqrt(n) d ||D^-1 b|| for the diagonal D of A and the d that a tenth of it is not above
    (Dirichlet values by a penalty), it also
    means ||D^-1/2 (b - A x)|| <= rtol ||D^-1/2 b|| and ||D^-1 (b - A x)|| <= rtol ||D^-1 b||, the residual in units
    of energy and of x: the light rows are solved, too. Of an operator known by products D is estimated from the two
    products of its validation. Status "rounding" means that what is left of b - A x is what rounding makes of it:
    nobody can do better in float64.

    A polynomial that turns out indefinite is given up for plain
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
    plain = (
        type(method) is type(scaling) is str and method in QUICK_METHODS and scaling == "auto" and x0 is None
        and maxiter is None and M is None and warm_start is None and callback is None and degree is None
        and probe_steps is None and engine is None and dtype is None and timeout is None and deterministic is False
        and nullspace is None
    )  # fmt: skip
    found = solve_quickly(A, b, rtol, atol, started, method) if plain else None
    if isinstance(found, Solution):
        return found
    check_numbers(rtol, atol, maxiter, timeout, callback)
    options = Options.checked(
        method, M=M, degree=degree, scaling=scaling, probe_steps=probe_steps, engine=engine, dtype=dtype,
        deterministic=deterministic,
    )  # fmt: skip
    if warm_start is not None and x0 is not None:
        raise OptionError("x0 and warm_start both say where to start; give one of them")
    if warm_start is not None and method == "direct":
        raise OptionError("warm_start has no effect on method='direct'; leave it out")
    op = as_operator(A)
    before = op.products if op is A else 0
    op, null = with_null_space(op, nullspace)
    warm = None if warm_start is None else partial(_warm, warm_start=warm_start)
    # a guess of a network, or a space, is of A as it is
    inner, rows = comfortable(op) if warm is None else (op, None)
    inner, null = null_space_in_units(inner, null, rows)
    options = with_kind(inner, in_units(inner, options, rows))
    run = Run(inner, inner.as_vector(b), rtol, atol, maxiter, callback, method, before, started, options.precision)
    run.more_flops = found or 0.0
    # Nothing is set up beforehand: the first steps of the solve are its probe.
    return Prepared(op, options, None, inner, rows, null).carry_out(run, x0, warm, timeout)


def _warm(run: Run, warm_start: Any) -> None:
    from nnla.guesses.guess import warm_start_of

    if run.op.xp == "torch":
        raise OptionError("warm_start is for NumPy and SciPy matrices; pass x0 = nnla.initial_guess(...)")
    started = time.perf_counter()
    try:
        guess = warm_start_of(run.op, run.units.leave(run.b), warm_start)
        if guess.report.fallback is not None:
            run.decline("warm start", guess.report.fallback)
        run.warm_start = json.loads(guess.report.to_json())
        if guess.report.used:
            run.begin_at(guess.x, guess.space)
    except NotPositiveDefiniteError as error:  # CG will say so, too, with its best iterate
        run.decline("warm start", f"no warm start: {error}")
    run.setup += time.perf_counter() - started
