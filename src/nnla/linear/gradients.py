"""Gradients through a solve: x = A^-1 b is a node of torch's graph, and its derivative is another solve."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from nnla.errors import GradientError
from nnla.operators.gradients import solution_with_gradient, wants_gradient
from nnla.operators.kinds import is_torch
from nnla.operators.operator import Operator
from nnla.types import Solution

__all__ = ["differentiable"]

Solve = TypeVar("Solve", bound=Callable[..., Solution])
_ONCE = ("x0", "atol", "callback", "warm_start")  # what belongs to one right-hand side and not to its adjoint


def differentiable(solve: Solve) -> Solve:
    """``solve(A, b, ...)`` whose x carries gradients to those of A and b that require them.

    The derivative is computed with the options of the call: the same method, to the same relative tolerance.

    Raises
    ------
    GradientError
        By ``backward()``, where that solve does not converge: its gradient would be wrong.

    Notes
    -----
    Cost: none without gradients; with them, one solve for each backward pass.
    """

    @wraps(solve)
    def entry(A: Any, b: Any, **options: Any) -> Solution:
        if "torch" not in sys.modules:  # a small system takes no longer than the questions that follow
            return solve(A, b, **options)
        given = getattr(A, "operator", A)  # of a prepared matrix
        tensors = is_torch(A) or (isinstance(given, Operator) and given.xp == "torch")
        if not (wants_gradient(A) or (tensors and wants_gradient(b))):
            return solve(A, b, **options)
        x, report = solve(*(z.detach() if is_torch(z) else z for z in (A, b)), **options)
        shared = {name: value for name, value in options.items() if name not in _ONCE}

        def adjoint(matrix: Any, g: Any) -> Any:
            y, told = entry(A if matrix is None else matrix, g, **shared)
            if not told.converged:
                raise GradientError(
                    f"the adjoint solve ended in {told.status.value} at a relative residual of "
                    f"{told.relative_residual:.2g}; loosen rtol, or choose another method"
                )
            return y

        of_A, of_b = (z if wants_gradient(z) else None for z in (A, b))
        return Solution(solution_with_gradient(x, of_A, of_b, adjoint), report)

    return cast(Solve, entry)
