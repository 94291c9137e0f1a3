"""`nnla.Solver`: one system after another, with what earlier ones have left and taught."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NNLAError, NotConvergedError, NotPositiveDefiniteError, OptionError
from nnla.linear.criterion import backward_error
from nnla.linear.options import Options, check_numbers
from nnla.linear.prepare import prepare
from nnla.sequences.changes import Change, change_between, declared_change, marks_of
from nnla.sequences.one_step import Wanted
from nnla.sequences.policy import Learned, Policy
from nnla.sequences.report import SolverReport
from nnla.sequences.steps import Steps
from nnla.sequences.systems import System
from nnla.types import Solution

__all__ = ["Solver", "factorized"]

_STABLE = 1e-13  # backward error, or residual, of a solution that nothing is refined of
_BACKWARD = 1e-10  # backward error that no rounding explains


class Solver:
    """Repeated solves of systems that resemble each other: it keeps what they have in common, and learns what pays.

    Parameters
    ----------
    rtol, atol, method, degree, scaling, engine, dtype : as in `nnla.solve`; with a polynomial's options a set-up
        serves one matrix
    learn : whether measured seconds have a say in what is kept and refreshed; False decides by counts of operations,
        the same in every run
    seed : of anything random
    max_bytes : memory that may be kept between solves, None for no limit
    timeout : seconds of a solve, as in `nnla.solve`
    policy : `nnla.sequences.policy.Learned` by default; the others there are what it is measured against

    Attributes
    ----------
    report : `nnla.sequences.report.SolverReport`

    Raises
    ------
    OptionError

    Notes
    -----
    What has changed is found out before every solve by looking at the entries: nothing, the values, or the pattern. The
    same matrix is solved with the factor or preconditioner that is there. For other values in the same places an
    ordering and a symbolic factorisation are kept, and the last factor, incomplete factor or hierarchy may precondition
    CG, from a guess projected on old solutions. Whatever is done, every answer is verified as `nnla.solve` does, and
    what does not reach the tolerance goes on as there.

    Not to be shared by threads: an error says so at once. Errors, Ctrl-C and solves that do not converge leave it
    usable. Pickled and copied it takes its options and nothing that it kept.

    Cost: a pass over the entries to see what has changed, less than a product; memory: ``report.nbytes``.

    References
    ----------
    Fischer, Comput. Methods Appl. Mech. Engrg. 163 (1998) 193-204 (guesses). Davis, Direct Methods for Sparse Linear
    Systems (2006), chapter 4 (analysis and factorisation).

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(40)
    >>> solver = nnla.Solver()
    >>> x, report = solver.solve(A, np.ones(1600))
    >>> x, report = solver.solve(2.0 * A, np.ones(1600))
    >>> report.converged, solver.report.changes
    (True, {'first': 1, 'values': 1})
    """

    def __init__(
        self,
        *,
        rtol: float = 1e-8,
        atol: float = 0.0,
        method: str = "auto",
        degree: int | None = None,
        scaling: Any = "auto",
        engine: Any = None,
        dtype: Any = None,
        learn: bool = True,
        seed: int = 0,
        max_bytes: float | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> None:
        check_numbers(rtol, atol, None, timeout)
        if not isinstance(learn, (bool, np.bool_)):
            raise OptionError(f"learn must be True or False, got {learn!r}")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise OptionError(f"seed must be an integer >= 0, got {seed!r}")
        number = isinstance(max_bytes, (int, float, np.integer, np.floating)) and not isinstance(max_bytes, bool)
        if max_bytes is not None and not (number and max_bytes >= 0):
            raise OptionError(f"max_bytes must be a number >= 0 or None for no limit, got {max_bytes!r}")
        if policy is not None and not callable(getattr(policy, "choose", None)):
            raise OptionError("policy must have choose(situation), as those of nnla.sequences.policy have")
        self._options = Options.checked(
            method, M=None, degree=degree, scaling=scaling, probe_steps=None, engine=engine, dtype=dtype,
            deterministic=not learn,
        )  # fmt: skip
        self._asked = {
            "rtol": rtol, "atol": atol, "method": method, "degree": degree, "scaling": scaling, "engine": engine,
            "dtype": dtype, "learn": bool(learn), "seed": int(seed), "max_bytes": max_bytes, "timeout": timeout,
            "policy": policy,
        }  # fmt: skip
        self._timeout, self._rtol, self._atol = timeout, rtol, atol
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        asked = self._asked
        self._system: System | None = None
        self._last: Any = None
        self._steps = Steps(
            self._options,
            rtol=asked["rtol"],
            atol=asked["atol"],
            policy=Learned() if asked["policy"] is None else asked["policy"],
            learn=asked["learn"],
            plain=asked["method"] != "fcg"
            and asked["degree"] is None
            and asked["scaling"] == "auto"
            and asked["engine"] is None,
            max_bytes=math.inf if asked["max_bytes"] is None else float(asked["max_bytes"]),
        )

    # -- solving ---------------------------------------------------------------------------------------------------

    def solve(
        self,
        A: Any,
        b: Any = None,
        *,
        x0: Any = None,
        same: Any = None,
        maxiter: int | None = None,
        callback: Callable[[Any], None] | None = None,
        timeout: float | None = None,
    ) -> Solution:
        """Solve A x = b; ``solve(b)`` with the matrix of the solve before.

        Parameters
        ----------
        A : as in `nnla.solve`; left out, the matrix given last, as its arrays are now
        b : (n,) or (n, k)
        x0 : a guess of the caller's, which the old solutions make better or are better than
        same : what the caller knows of A, who is believed: True for the matrix of the solve before, "pattern" for
            other values in the same places, False for another matrix; None to find out
        maxiter, callback : as in `nnla.solve`
        timeout : of this solve, instead of that of the solver

        Returns
        -------
        Solution
            ``x`` of b's shape and ``report``, a `nnla.Report`; unpacks as ``x, report``.

        Raises
        ------
        The errors of `nnla.solve`; OptionError also where another thread, or a callback, is using this solver, and
        where there is no matrix yet. The solver goes on with the next system.

        Notes
        -----
        Cost: ``report.products``; what was kept and why, ``report.chosen_because``.
        """
        if not self._lock.acquire(blocking=False):
            raise OptionError("this Solver is solving already, in another thread or a callback; make one for each")
        try:
            started = time.perf_counter()
            steps = self._steps
            limit = self._timeout if timeout is None else timeout
            if b is None:
                A, b, last = self._last, A, True
            else:
                last = False
            if x0 is None and same is None and maxiter is None and callback is None and limit is None:
                solution = steps.solve_quickly(A, b, started)
                if solution is not None:
                    self._last, self._system = A, None
                    return solution
            else:
                check_numbers(0.0, 0.0, maxiter, timeout, callback)
            began = steps.clock()
            system, change = self._look(A, last, declared_change(same))
            right = system.op.as_vector(b)
            wanted = Wanted(right, x0, self._rtol, self._atol, maxiter, callback, limit, started)
            solution = steps.solve(system, change, wanted, began)
            self._system, self._last = system, system.A
            return solution
        except NNLAError:
            self._steps.account.errors += 1
            raise
        finally:
            self._lock.release()

    def _look(self, A: Any, last: bool, declared: Change | None) -> tuple[System, Change]:
        """The matrix as a system, and what has changed since the one before."""
        before = self._system
        if A is None:
            raise OptionError("there is no matrix yet, or b was left out: call solve(A, b) first")
        if declared is Change.SAME and before is not None:
            return before, Change.SAME
        marks = marks_of(A)
        change = change_between(None if before is None else before.marks, marks)
        if last and marks is None:
            change = Change.SAME  # an operator known by products is the one that it was
        if declared is not None and change is not Change.FIRST:
            change = declared
        if change is Change.SAME and before is not None:
            return before, change
        if before is None and self._last is not None:  # the native calls have left no marks
            change = self._steps.quick.change(A)
        self._steps.number += 1
        return System(A, marks, self._steps.number), change

    # -- what is kept ----------------------------------------------------------------------------------------------

    @property
    def report(self) -> SolverReport:
        """What was solved, kept and saved."""
        return self._steps.report()

    def forget(self) -> None:
        """Drop everything that is kept and was learned; the options stay."""
        if not self._lock.acquire(blocking=False):
            raise OptionError("this Solver is solving, in another thread or a callback; forget() when it has ended")
        try:
            self._begin()
        finally:
            self._lock.release()

    def aspreconditioner(self) -> LinearOperator:
        """What is kept, as a preconditioner for anyone's CG: the factor, incomplete factor or hierarchy.

        Raises
        ------
        OptionError
            Nothing is kept.

        Notes
        -----
        It stays what it is when the solver goes on.
        """
        system = self._system
        if system is None and self._last is not None:
            system = System(self._last, None, self._steps.number)
        found = self._steps.aspreconditioner(system)
        if found is None:
            raise OptionError("nothing is kept yet that preconditions; solve a system first, or use nnla.prepare")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return self._asked

    def __setstate__(self, asked: dict[str, Any]) -> None:
        self.__init__(**asked)

    def __repr__(self) -> str:
        report = self.report
        return f"<Solver {self._asked['method']}: {report.solves} solves, {report.saved:.3g} s saved>"


def factorized(A: Any) -> Callable[[Any], Any]:
    """Factor A once, for any number of right-hand sides: `scipy.sparse.linalg.factorized` with verified answers.

    Parameters
    ----------
    A : as in `nnla.solve`, symmetric positive definite

    Returns
    -------
    solve : b -> x for (n,) or (n, k)

    Raises
    ------
    The errors of `nnla.solve`; NotPositiveDefiniteError where A is not positive definite. Of the function returned:
    those of b, and NotConvergedError where x is not backward stable, as with a singular A and a b out of its range.

    Notes
    -----
    Cost: an analysis and a factorisation; then two substitutions and a product for each b.

    References
    ----------
    Davis, Direct Methods for Sparse Linear Systems (2006), chapter 4.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> solve = nnla.factorized(nnla.problems.poisson2d(30))
    >>> solve(np.ones(900)).shape
    (900,)
    """
    prepared = prepare(A, "direct")
    op, factor = prepared.operator, prepared.setup.factor if prepared.setup is not None else None
    assert factor is not None
    if not factor.definite:
        raise NotPositiveDefiniteError(f"{factor.objection}; scipy.sparse.linalg.factorized takes such a matrix")
    ordinary = prepared.rows is None and prepared.null is None and factor.null is None

    def solve(b: Any) -> Any:
        """x with A x = b."""
        if ordinary:
            right = op.as_vector(b)
            with np.errstate(all="ignore"):
                x = factor.solve(right)
                if backward_error(op, right, x, right - op.matvec(x)) <= _STABLE:
                    return x
        x, report = prepared.solve(b, rtol=_STABLE)
        if not report.converged and not (report.backward_error or 0.0) <= _BACKWARD:
            raise NotConvergedError(
                f"A x = b is not solved ({report.status.value}): A is singular, or nearly so, and b not in its range; "
                "nnla.solve returns the best x with a report"
            )
        return x

    return solve
