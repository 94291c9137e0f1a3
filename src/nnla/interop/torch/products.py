"""What both iterations run on the device: units, bounds of norms, and c(T) by its program; nothing reads the device."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnla.errors import DTypeError, ShapeError
from nnla.interop.torch.transitions import Transition

__all__ = ["HALF", "checked", "evaluated", "in_units", "norm_bound", "start_vector", "weighted"]

HALF = (torch.float16, torch.bfloat16)
_DTYPES = (torch.float64, torch.float32, *HALF)
_LARGEST_EXPONENT = 126.0  # of a factor 2^k that float32 holds, and its inverse; float64 has more


def checked(X: Tensor, name: str) -> Tensor:
    """X as (batch, rows, columns).

    Raises
    ------
    DTypeError, ShapeError

    Notes
    -----
    Cost: none; a view where the layout allows it.
    """
    if not isinstance(X, Tensor):
        raise DTypeError(f"{name} must be a torch tensor, not {type(X).__name__}; torch.as_tensor makes one")
    if X.dtype not in _DTYPES:
        raise DTypeError(f"{name} has dtype {X.dtype}; take float64, float32, bfloat16 or float16")
    if X.is_sparse or X.layout != torch.strided:
        raise DTypeError(f"{name} is sparse; take {name}.to_dense()")
    if X.ndim < 2 or X.shape[-1] == 0 or X.shape[-2] == 0:
        raise ShapeError(f"{name} has shape {tuple(X.shape)}; take (..., m, n) with m and n of at least 1")
    return X.reshape(-1, X.shape[-2], X.shape[-1])


def in_units(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X with its largest entry in [1/2, 1), the exponent that was taken out, and that entry as it was.

    Multiplying by powers of two rounds nothing. X (b, m, n); exponent (b, 1, 1) as a number of X's dtype. Zeros stay.

    Notes
    -----
    Cost: two passes over X.
    """
    largest = X.abs().amax(dim=(-2, -1), keepdim=True)
    exponent = torch.frexp(largest).exponent.to(X.dtype)
    if X.dtype == torch.float64:  # beyond 2^1023 in two factors
        half = torch.floor(0.5 * exponent)
        return X * torch.exp2(-half) * torch.exp2(half - exponent), exponent, largest
    exponent = exponent.clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    return X * torch.exp2(-exponent), exponent, largest


def norm_bound(S: Tensor) -> Tensor:
    """Upper bounds (b, 1, 1) of the largest eigenvalues of symmetric matrices; 1 for zero.

    The smallest of the maximum row sum, the Frobenius norm, and mean + standard deviation sqrt(n - 1).

    Notes
    -----
    Cost: three passes over S.

    References
    ----------
    Wolkowicz and Styan, Bounds for eigenvalues using traces, Linear Algebra Appl. 29 (1980).
    """
    n = S.shape[-1]
    rows = S.abs().sum(dim=-1).amax(dim=-1)
    square = S.square().sum(dim=(-2, -1))
    mean = S.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    spread = (square / n - mean.square()).clamp_min(0.0)
    bound = torch.minimum(torch.minimum(rows, square.sqrt()), mean + (spread * (n - 1)).sqrt())
    # sums round; transitions are good for 1 % beyond their interval
    bound = bound * (1 + (1e-4 if S.dtype != torch.float64 else 1e-9))
    return torch.where(bound > 0, bound, torch.ones_like(bound))[:, None, None]


def weighted(
    terms: Sequence[tuple[float | Tensor, Tensor]], dtype: torch.dtype, diagonal: float | Tensor = 0.0
) -> Tensor:
    """Sum of factors times matrices, plus a number on the diagonal; added up in float32 where `dtype` is half.

    Parameters
    ----------
    terms : factors (numbers, or (b, 1, 1)) and matrices (b, n, n)
    dtype : of the result
    diagonal : a number, or (b, 1)

    Notes
    -----
    Cost: a pass over each.
    """
    inner = torch.float32 if dtype in HALF else dtype
    factor, X = terms[0]
    total = X.to(inner) * factor  # new, so that what follows may go into it
    for factor, X in terms[1:]:
        if isinstance(factor, (int, float)):
            total.add_(X.to(inner), alpha=factor)
        else:
            total.addcmul_(X.to(inner), factor)
    if not isinstance(diagonal, (int, float)) or diagonal != 0.0:
        total.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    return total.to(dtype)


def evaluated(step: Transition, W: Tensor, W2: Tensor | None, minus: float = 0.0) -> Tensor:
    """c(T) - minus I from W = 2 T / upper^2 - I, and from W^2 where that is there already.

    Notes
    -----
    Cost: 0, 1, 2 or 3 products for degree 3, 5, 9 or 17, one less where W^2 is given.

    References
    ----------
    Paterson and Stockmeyer (1973) for degree 9; `nnla.interop.torch.transitions.transition` for 17.
    """
    dtype, p = W.dtype, step.program
    if step.degree == 3:
        return weighted([(p[1], W)], dtype, p[0] - minus)
    W2 = W @ W if W2 is None else W2
    if step.degree == 5:
        return weighted([(p[1], W), (p[2], W2)], dtype, p[0] - minus)
    if step.degree == 9:
        head = weighted([(p[1], W), (p[2], W2)], dtype, p[0] - minus)
        return torch.baddbmm(head, W2, weighted([(p[3], W), (p[4], W2)], dtype))
    q4, q3, d2, d1, e2, e0, f2, f1, f0 = p
    Y = W2 @ weighted([(q4, W2), (q3, W)], dtype)
    head = weighted([(e0, Y), (f2, W2), (f1, W)], dtype, f0 - minus)
    return torch.baddbmm(head, weighted([(1.0, Y), (d2, W2), (d1, W)], dtype), weighted([(1.0, Y), (e2, W2)], dtype))


def start_vector(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, 1), of no pattern that matrices have: where iterations start that may not draw random numbers.

    Notes
    -----
    Cost: n numbers.
    """
    k = torch.arange(1, n + 1, dtype=dtype, device=device)
    v = torch.sin(k * k * 0.7390851 + 1.3 * k)
    return (v / v.norm())[:, None]
