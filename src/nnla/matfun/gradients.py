"""f(A) in torch's graph: backward passes by the Frechet derivative, of any order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nnla.errors import GradientError
from nnla.matfun.exact import exact
from nnla.matfun.frechet import frechet
from nnla.matfun.options import read_batch
from nnla.operators.arrays import to_numpy

__all__ = ["with_gradient"]


def with_gradient(A: Any, X: Any, f: str) -> Any:
    """X, which is f(A) and was computed without recording, with its place in torch's graph.

    For an incoming gradient G, that of A is L(A', G): the derivative of f itself, whatever method gave X.

    Raises
    ------
    GradientError
        In the backward pass: f is not differentiable at A (the square root of a singular matrix).

    Notes
    -----
    Cost: of a backward pass that of `nnla.matfun.frechet.frechet`; of one that is differentiated again, f of matrices
    of twice the size.

    References
    ----------
    Higham, Functions of Matrices (2008), section 3.2: the adjoint of L(A, .) is L(A', .).
    """
    return _node().apply(A, f, lambda: X)


@cache
def _node() -> Any:
    import torch

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, A: Any, f: str, value: Callable[[], Any] | None) -> Any:
            ctx.f = f
            ctx.save_for_backward(A)
            if value is not None:
                X = value()
                return X.view_as(X)
            M = _flat(A)
            return torch.from_numpy(exact(read_batch(M, f), f)[0].reshape(A.shape)).to(A)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (A,) = ctx.saved_tensors
            (G,) = gradients
            f, n = ctx.f, A.shape[-1]
            if not torch.is_grad_enabled():
                at, direction = _flat(A.mT), _flat(G)
                found = np.zeros_like(direction)
                live = direction.any(axis=(1, 2))  # a matrix that nothing depends on may have no derivative
                found[live] = frechet(at[live], direction[live], f)
                if not np.all(np.isfinite(found)):
                    raise GradientError(
                        f"{f}(A) has no derivative where an eigenvalue is 0, or lies outside of its domain; shift A"
                    )
                return torch.from_numpy(found.reshape(A.shape)).to(A), None, None
            # to be differentiated again: f of [[A', G], [0, A']] has L(A', G) above its diagonal
            unit = _unit(A, G)  # L is linear in G: a size near that of A keeps the block matrix balanced
            top = torch.cat([A.mT, G / torch.where(unit > 0, unit, 1.0)], dim=-1)
            low = torch.cat([torch.zeros_like(A), A.mT], dim=-1)
            block = Function.apply(torch.cat([top, low], dim=-2), f, None)
            return block[..., :n, n:] * unit, None, None

    return Function


def _unit(A: Any, G: Any) -> Any:
    """Powers of 2 near the largest entries of G over those of A, (..., 1, 1), without a gradient; 0 for G = 0."""
    above, below = (np.abs(_flat(M)).max(axis=(1, 2), initial=0.0) for M in (G, A))
    power = np.frexp(above / np.where(below > 0, below, 1.0))[1]
    unit = np.where(above > 0, np.ldexp(1.0, np.clip(power, -100, 100)), 0.0)
    return A.new_tensor(unit).reshape((*A.shape[:-2], 1, 1))


def _flat(A: Any) -> np.ndarray:
    M = np.asarray(to_numpy(A), dtype=np.float64)
    return M.reshape((-1, *M.shape[-2:]))
