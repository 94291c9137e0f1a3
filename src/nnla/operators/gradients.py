"""Gradients of torch at the public entries: carried through a solve, refused elsewhere, never dropped in silence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

from nnla.errors import GradientError
from nnla.operators.kinds import is_torch

__all__ = ["refuse_gradient", "solution_with_gradient", "vectors_without_derivative", "wants_gradient"]

Function = TypeVar("Function", bound=Callable[..., Any])


def wants_gradient(x: Any) -> bool:
    """Whether torch would record what is computed from `x`: a tensor that requires a gradient, while they are recorded.

    >>> wants_gradient([1.0])
    False
    """
    return is_torch(x) and x.requires_grad and sys.modules["torch"].is_grad_enabled()


def refuse_gradient(x: Any, name: str) -> None:
    """Raise where a gradient with respect to `x` would be lost.

    Raises
    ------
    GradientError
        `x` requires a gradient, and torch is recording.
    """
    if wants_gradient(x):
        raise GradientError(
            f"{name} requires a gradient, and nnla cannot give it one here; pass {name}.detach(), or call under "
            "torch.no_grad(). nnla.solve differentiates through x, with a tensor for A"
        )


def solution_with_gradient(x: Any, A: Any, b: Any, solve: Callable[[Any, Any], Any]) -> Any:
    """The solution x of A x = b with its place in torch's graph: gradients go to A and b.

    With l = A^-1 g for an incoming gradient g, that of b is l and that of A is -l x', for a sparse A at its entries.

    Parameters
    ----------
    x : (n,) or (n, k), computed without recording
    A : symmetric tensor (n, n): strided, COO or CSR; None where it is not a variable
    b : right-hand side of x's shape, or None
    solve : (A, g) -> A^-1 g for an incoming gradient g; A is None where it is not a variable

    Raises
    ------
    GradientError
        A of another layout, whose gradient has no form in torch.

    Notes
    -----
    Cost: one solve with A for each backward pass, and n^2 (entries) multiplications for the gradient of A.

    References
    ----------
    Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation (2008), 2.3.1.
    """
    torch = sys.modules["torch"]
    if A is not None and wants_gradient(A) and A.layout not in (torch.strided, torch.sparse_coo, torch.sparse_csr):
        raise GradientError(f"A of layout {A.layout} has no gradient; pass A.to_sparse_csr(), or A.detach()")
    return _functions()[0].apply(A, b, x, solve)


def vectors_without_derivative(function: Function) -> Function:
    """``function(A, ...) -> (w, V, ...)`` or w whose V, where A requires a gradient, raises when torch asks for it.

    Eigenvalues are numbers of NumPy, which nobody takes for a part of the graph; vectors are tensors. V is what it
    would be, and ``backward()`` through it raises `GradientError`, instead of leaving A out.
    """

    @wraps(function)
    def entry(A: Any, *args: Any, **options: Any) -> Any:
        if not wants_gradient(A):
            return function(A, *args, **options)
        found = function(A.detach(), *args, **options)
        if not isinstance(found, tuple):
            return found
        return tuple(_functions()[1].apply(A, x, function.__name__) if is_torch(x) else x for x in found)

    return cast(Function, entry)


@cache
def _functions() -> tuple[Any, Any]:
    """The two nodes of the graph, made when torch is there."""
    import torch

    class Solution(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, A: Any, b: Any, x: Any, solve: Callable[[Any, Any], Any]) -> Any:
            x = x.view_as(x)
            ctx.solve, ctx.dtype = solve, None if b is None else b.dtype
            ctx.save_for_backward(A, x)
            return x

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            A, x = ctx.saved_tensors
            adjoint = ctx.solve(A, gradients[0])
            of_A = of_b = None
            if ctx.needs_input_grad[0]:
                of_A = _of_matrix(A, adjoint, x)
            if ctx.needs_input_grad[1]:
                of_b = adjoint.to(ctx.dtype)
            return of_A, of_b, None, None

    class Underivable(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, source: Any, value: Any, name: str) -> Any:
            ctx.name = name
            return value.view_as(value)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            raise GradientError(
                f"nnla.{ctx.name} does not differentiate; pass A.detach(). The derivative of an eigenvalue is that of "
                "v' A v with its vector v detached"
            )

    return Solution, Underivable


def _of_matrix(A: Any, adjoint: Any, x: Any) -> Any:
    """-adjoint x' at the entries of A, in A's dtype and layout."""
    torch = sys.modules["torch"]
    left, right = (z if z.ndim == 2 else z[:, None] for z in (adjoint, x))
    if A.layout == torch.strided:
        return -(left @ right.T).to(A.dtype)
    if A.layout == torch.sparse_coo:
        where = A.detach().coalesce().indices()
        values = -(left[where[0]] * right[where[1]]).sum(1).to(A.dtype)
        return torch.sparse_coo_tensor(where, values, tuple(A.shape))
    crow, columns = A.crow_indices(), A.col_indices()
    rows = torch.repeat_interleave(torch.arange(A.shape[0], device=A.device), crow.diff())
    values = -(left[rows] * right[columns]).sum(1).to(A.dtype)
    return torch.sparse_csr_tensor(crow, columns, values, tuple(A.shape))
