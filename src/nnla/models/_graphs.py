"""Batches of graphs for graph networks: a block-diagonal symmetric matrix, and where each graph begins.

The operations exist twice, for NumPy arrays and for torch tensors (with gradients), so that a network's
forward pass is written once. Sums run in a fixed order, without atomics: deterministic on GPUs as well.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.operators.arrays import is_torch, namespace
from nnla.operators.kinds import quiet_csr

__all__ = ["Graphs", "TorchGraphs", "block_diagonal", "layers", "leaky_relu", "product"]

_EPSILON = 1e-5  # of GraphNorm, as in PyTorch Geometric
_SLOPE = 0.1


def block_diagonal(blocks: Sequence[Any]) -> csr_array:
    """diag(A_1, ..., A_G) of CSR matrices; columns may differ in number from rows.

    Examples
    --------
    >>> block_diagonal([csr_array([[1.0]]), csr_array([[2.0, 3.0]])]).toarray()
    array([[1., 0., 0.],
           [0., 2., 3.]])
    """
    if len(blocks) == 1:
        return blocks[0]
    rows, columns, entries = 0, 0, 0
    starts = [np.zeros(1, dtype=np.int64)]
    indices: list[np.ndarray] = []
    for A in blocks:
        m, n = A.shape
        starts.append(A.indptr[1:].astype(np.int64) + entries)
        indices.append(A.indices + np.int32(columns))
        rows, columns, entries = rows + m, columns + n, entries + A.nnz
    data = np.concatenate([A.data for A in blocks])
    return csr_array(
        (data, np.concatenate(indices).astype(np.int32), np.concatenate(starts).astype(np.int32)),
        shape=(rows, columns),
    )


@dataclass(frozen=True, eq=False)
class Graphs:
    """G graphs in NumPy.

    Attributes
    ----------
    A : csr_array (n, n), block-diagonal, symmetric; the weights of the edges
    starts : (G + 1,) first row of each graph, and n
    coarse : (restriction, prolongation, A) of each coarse level, finest first
    """

    A: Any
    starts: np.ndarray
    coarse: list[tuple[Any, Any, Any]] = field(default_factory=list[tuple[Any, Any, Any]])

    def norm(self, F: np.ndarray, alpha: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """GraphNorm (5): each channel of each graph shifted by alpha times its mean and divided by its spread."""
        out = np.empty_like(F)
        for i, j in itertools.pairwise(self.starts):
            shifted = F[i:j] - alpha * F[i:j].mean(axis=0)
            scale = gamma / np.sqrt((shifted * shifted).mean(axis=0) + _EPSILON)
            np.multiply(shifted, scale, out=out[i:j])
            out[i:j] += beta
        return out

    def torch(self, device: Any = "cpu", dtype: Any = None) -> TorchGraphs:
        """The same for torch, float32 unless another dtype is given."""
        import torch

        dtype = dtype or torch.float32

        def moved(M: Any) -> Any:
            return _to_torch(M, device, dtype)

        A = moved(self.A)
        coarse: list[tuple[Any, Any, Any]] = []
        for R, P, C in self.coarse:
            C = moved(C)
            coarse.append(((moved(R), moved(R.T.tocsr())), (moved(P), moved(P.T.tocsr())), (C, C)))
        return TorchGraphs((A, A), self.starts.tolist(), coarse)


@dataclass(frozen=True, eq=False)
class TorchGraphs:
    """G graphs in torch: each matrix comes with its transpose, which the backward pass multiplies by."""

    A: tuple[Any, Any]
    starts: list[int]
    coarse: list[tuple[Any, Any, Any]]

    def norm(self, F: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
        """As `Graphs.norm`."""
        return _functions()[1].apply(F, alpha, gamma, beta, self.starts)


def product(M: Any, F: Any) -> Any:
    """M @ F; in torch M is a pair (M, M') of CSR tensors, constant to the gradient."""
    return _functions()[0].apply(*M, F) if is_torch(F) else M @ F


def leaky_relu(F: Any) -> Any:
    """max(F, F / 10), as in the paper."""
    if is_torch(F):
        import torch

        return torch.nn.functional.leaky_relu(F, _SLOPE)
    return namespace(F).maximum(F, np.float32(_SLOPE) * F)


def layers(stack: Any) -> Any:
    """The layers of a stack of parameters, one by one."""
    return stack.unbind(0) if is_torch(stack) else list(stack)


def _to_torch(M: Any, device: Any, dtype: Any) -> Any:
    import torch

    quiet_csr()
    return torch.sparse_csr_tensor(
        torch.from_numpy(M.indptr),
        torch.from_numpy(M.indices),
        torch.from_numpy(M.data),
        size=M.shape,
        check_invariants=False,
    ).to(device=device, dtype=dtype)


@functools.cache
def _functions() -> tuple[Any, Any]:
    """The two operations whose gradients torch would find the long way."""
    import torch

    class Product(torch.autograd.Function):
        """M @ F. The gradient is M' @ G, with no gradient for M: the symmetric A serves both ways."""

        @staticmethod
        def forward(ctx: Any, M: Any, transposed: Any, F: Any) -> Any:
            ctx.transposed = transposed
            return M @ F

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return None, None, ctx.transposed @ grads[0].contiguous()

    class Norm(torch.autograd.Function):
        """GraphNorm by slices: gathering per-graph values for every row would take twice as long."""

        @staticmethod
        def forward(ctx: Any, F: Any, alpha: Any, gamma: Any, beta: Any, starts: list[int]) -> Any:
            shifted = torch.empty_like(F)
            means: list[Any] = []
            spreads: list[Any] = []
            out = torch.empty_like(F)
            for i, j in itertools.pairwise(starts):
                mean, part = F[i:j].mean(dim=0), shifted[i:j]
                torch.sub(F[i:j], alpha * mean, out=part)
                spread = (part.square().mean(dim=0) + _EPSILON).rsqrt()
                torch.addcmul(beta, part, gamma * spread, out=out[i:j])
                means.append(mean)
                spreads.append(spread)
            ctx.save_for_backward(shifted, alpha, gamma, torch.stack(means), torch.stack(spreads))
            ctx.starts = starts
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (grad,) = grads
            shifted, alpha, gamma, means, spreads = ctx.saved_tensors
            back = torch.empty_like(grad)
            d_alpha, d_gamma, d_beta = torch.zeros_like(alpha), torch.zeros_like(gamma), grad.sum(dim=0)
            for k, (i, j) in enumerate(itertools.pairwise(ctx.starts)):
                g, part, spread = grad[i:j], shifted[i:j], spreads[k]
                along = (g * part).sum(dim=0)
                d_gamma += along * spread
                inner = torch.addcmul(g * (gamma * spread), part, gamma * spread**3 * (along / (j - i)), value=-1)
                total = inner.sum(dim=0)
                d_alpha -= means[k] * total
                torch.sub(inner, alpha * (total / (j - i)), out=back[i:j])
            return back, d_alpha, d_gamma, d_beta, None

    return Product, Norm
