"""Solutions with a kept factor, refined and verified as `nnla.solve` does, with little around the substitutions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnla.kernels.repeated import RepeatedCholesky
from nnla.linear.criterion import backward_error, criterion_of
from nnla.operators.operator import Operator
from nnla.types import Phase, Report, Solution, Status, library_versions

__all__ = ["DirectAnswer", "direct_answer", "direct_report", "solve_repeatedly", "solve_with_factor"]

_SMALLEST, _LARGEST = 1e-100, 1e100  # norms of b whose solution and residual stay in range
_REFINEMENTS = 3  # as in nnla.linear.direct
_SLACK = 1 - 1e-12  # the norms of the caller may be summed in another order


class DirectAnswer(NamedTuple):
    """A verified solution.

    Attributes
    ----------
    x : of b's shape
    relative, equilibrated, backward : as in `nnla.Report`
    refinements, products : what it took
    seconds : of all of it
    setup : seconds of factoring, of these
    """

    x: Any
    relative: float
    equilibrated: float | None
    backward: float
    refinements: int
    products: int
    seconds: float
    setup: float = 0.0


def solve_with_factor(
    op: Operator, solve: Callable[[Any], Any], b: Any, rtol: float, atol: float, clock: Callable[[], float]
) -> DirectAnswer | None:
    """x by a factor of A, refined; None where that does not reach the tolerance, or b is zero or of extreme units.

    Parameters
    ----------
    op : A, in moderate units
    solve : r -> A^-1 r
    b : (n,) or (n, k), as `Operator.as_vector` returns it
    rtol, atol : as in `nnla.solve`

    Notes
    -----
    Cost: a substitution and a product for a solution, and again for every refinement, three at most.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 12.
    """
    started = clock()
    sizes = np.atleast_1d(op.space.norm(b))
    if not (sizes.min() > _SMALLEST and sizes.max() < _LARGEST):
        return None
    criterion = criterion_of(op, b, sizes, None)
    targets = np.maximum(rtol * sizes, atol) * _SLACK
    columns = sizes.size
    with np.errstate(all="ignore"):
        x = solve(b)
        last = np.inf
        for count in range(_REFINEMENTS + 1):
            r = b - op.matvec(x)
            norms = np.atleast_1d(criterion.norms(r))
            if np.all(norms <= targets):
                relative, equilibrated = criterion.relative(r)
                backward = backward_error(op, b, x, r)
                return DirectAnswer(
                    x, relative, equilibrated, backward, count, (count + 1) * columns, clock() - started
                )
            worst = float(np.max(norms / targets))
            if not worst < 0.5 * last or count == _REFINEMENTS:
                return None
            last = worst
            x = x + solve(r)
    return None


def solve_repeatedly(repeated: RepeatedCholesky, A: Any, b: np.ndarray, rtol: float, atol: float) -> DirectAnswer | int:
    """x by the native call that factors where the values are new; or why there is none, as `DECLINED` has it.

    Parameters
    ----------
    repeated : of the pattern of A
    A : CSR matrix
    b : (n,) or (n, k) float64
    rtol, atol : as in `nnla.solve`

    Notes
    -----
    Cost: `RepeatedCholesky.solve`.
    """
    found = repeated.solve(A, b, rtol, atol)
    return found if type(found) is int else direct_answer(found)


def direct_answer(found: Any) -> DirectAnswer:
    """What `RepeatedCholesky.solve` has found, as an answer."""
    x, relative, backward, equilibrated, _, products, factoring, solving = found
    columns = 1 if x.ndim == 1 else x.shape[1]
    return DirectAnswer(
        x, relative, None if equilibrated < 0 else equilibrated, backward, products // columns - 1, products,
        factoring + solving, factoring,
    )  # fmt: skip


_REPORT = dict(Report(Status.CONVERGED, True, "direct", 0, 0, 0.0, 0.0, 0).__dict__)


_PHASE = dict(Phase("direct").__dict__)


def direct_report(
    n: int, nnz: int, answer: DirectAnswer, rtol: float, started: float, why: str, deterministic: bool
) -> Solution:
    """The answer with its report, filled in without the constructors, which take as long as small systems do."""
    x, relative, equilibrated, backward, refinements, products, seconds, setup = answer
    phase = object.__new__(Phase)
    ran = phase.__dict__
    ran.update(_PHASE)
    ran["iterations"], ran["products"], ran["setup"], ran["reason"] = refinements, products, setup, why
    ran["seconds"] = solving = seconds - setup
    report = object.__new__(Report)
    fields = report.__dict__
    fields.update(_REPORT)
    fields["n"], fields["nnz"], fields["rtol"] = n, nnz, rtol
    fields["relative_residual"], fields["backward_error"] = relative, backward
    fields["equilibrated_residual"] = equilibrated
    fields["iterations"], fields["products"] = refinements, products
    fields["chosen_because"], fields["phases"], fields["residual_history"] = why, (phase,), []
    fields["deterministic"], fields["versions"] = deterministic, library_versions()
    total = time.perf_counter() - started
    fields["seconds"] = {"probe": 0.0, "setup": max(total - solving, 0.0), "solve": solving, "total": total}
    return Solution(x, report)
