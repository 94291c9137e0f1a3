"""What both iterations run on the device: units, bounds of norms, and c(T) by its program; nothing reads the device."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from nnla.errors import DTypeError, ShapeError
from nnla.interop.torch.transitions import Transition

__all__ = [
    "HALF",
    "VECTORS",
    "check_dtype",
    "checked",
    "constant_when_compiled",
    "evaluated",
    "in_units",
    "norm_bound",
    "norm_estimate",
    "product",
    "scaled",
    "start_block",
    "start_vector",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
HALF = (torch.float16, torch.bfloat16)
_DTYPES = (torch.float64, torch.float32, *HALF)
VECTORS, _POWER, _CHANCE = 8, 6, 0.3  # of `norm_estimate`
_LARGEST_EXPONENT = 126.0  # of a factor 2^k that float32 holds, and its inverse; float64 has more


def constant_when_compiled(function: _Function) -> _Function:
    """`torch.compiler.assume_constant_result`, without the seconds that importing the compiler takes."""
    setattr(function, "_dynamo_marked_constant", True)  # noqa: B010
    return function


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


def check_dtype(dtype: Any) -> None:
    """Raise `DTypeError` unless it is None or a floating-point dtype of torch."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise DTypeError(f"dtype is that of the result, a floating-point one of torch, not {dtype!r}")


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
    Cost: two readings of S.

    References
    ----------
    Wolkowicz and Styan, Bounds for eigenvalues using traces, Linear Algebra Appl. 29 (1980).
    """
    n = S.shape[-1]
    wide = torch.float32 if S.dtype in HALF else S.dtype  # sums in it, read from S as it is
    rows = torch.linalg.vector_norm(S, 1, dim=-1, dtype=wide).amax(dim=-1)
    square = torch.linalg.vector_norm(S, 2, dim=(-2, -1), dtype=wide).square()
    mean = S.diagonal(dim1=-2, dim2=-1).mean(dim=-1, dtype=wide)
    spread = (square / n - mean.square()).clamp_min(0.0)
    bound = torch.minimum(torch.minimum(rows, square.sqrt()), mean + (spread * (n - 1)).sqrt())
    # sums round; transitions are good for 1 % beyond their interval
    bound = bound * (1 + (1e-9 if wide == torch.float64 else 1e-4 if wide == S.dtype else 2e-3))
    return torch.where(bound > 0, bound, torch.ones_like(bound))[:, None, None]


def norm_estimate(X: Tensor, square: Tensor | None) -> Tensor:
    """Closer bounds (b, 1, 1) of the largest eigenvalues than `norm_bound`: of A^24, from eight fixed vectors.

    sum_j ||A^12 v_j||^2 is at least lambda^24 sum_j (u' v_j)^2, u the eigenvector. For eight vectors of no pattern the
    last sum is about eight, and less than `_CHANCE` for fewer than one in ten thousand u. Decaying spectra get 1.15
    to 1.2 times their largest eigenvalue, flat ones 1.3.

    Parameters
    ----------
    X : (b, n, n)
    square : X X where it is there, else None

    Notes
    -----
    Cost: six products of the square, or twelve of X, with eight vectors.
    """
    bound = norm_bound(X)
    if square is not None:
        bound = torch.minimum(bound, norm_bound(square).sqrt())
    S = X / bound if square is None else square / bound.square()
    V = start_block(X.shape[-1], VECTORS, X.dtype, X.device).expand(X.shape[0], -1, -1)
    for _ in range(2 * _POWER if square is None else _POWER):
        V = S @ V
    power = V.square().sum(dim=(-2, -1))[:, None, None] / _CHANCE
    return torch.minimum(bound, bound * power ** (0.25 / _POWER))


def scaled(X: Tensor, factor: float | Tensor, diagonal: float | Tensor) -> Tensor:
    """factor X + diagonal I, new.

    Notes
    -----
    Cost: one pass over X.
    """
    out = X * factor
    out.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    return out


def product(X: Tensor, Y: Tensor, factor: float = 1.0) -> Tensor:
    """factor X Y; the factor costs no pass."""
    return torch.baddbmm(Y, X, Y, beta=0.0, alpha=factor)


def _pivoted(terms: Sequence[tuple[float, Tensor]], diagonal: float) -> tuple[float, Tensor]:
    """(c, H) with c H = sum of factors times matrices + diagonal I, c the largest factor: one pass per matrix less one.

    c goes into the product that H is added to.
    """
    (pivot, X), *rest = sorted(terms, key=lambda term: -abs(term[0]))
    if not rest:
        return 1.0, scaled(X, pivot, diagonal)
    H = torch.add(X, rest[0][1], alpha=rest[0][0] / pivot)
    for factor, Y in rest[1:]:
        H.add_(Y, alpha=factor / pivot)
    H.diagonal(dim1=-2, dim2=-1).add_(diagonal / pivot)
    return pivot, H


def evaluated(step: Transition, W: Tensor, W2: Tensor | None, minus: float = 0.0) -> Tensor:
    """c(T) - minus I from W = 2 T / upper^2 - I, and from W^2 where that is there already.

    Notes
    -----
    Cost: 0, 1, 2 or 3 products for degree 3, 5, 9 or 17, one less where W^2 is given; 1, 1, 2 or 6 sums of two
    n x n matrices beside them.

    References
    ----------
    Paterson and Stockmeyer (1973) for degree 9; `nnla.interop.torch.transitions.transition` for 17.
    """
    p = step.program
    if step.degree == 3:
        return scaled(W, p[1], p[0] - minus)
    if step.degree == 5 and W2 is None:
        out = torch.baddbmm(W, W, W, beta=p[1], alpha=p[2])
        out.diagonal(dim1=-2, dim2=-1).add_(p[0] - minus)
        return out
    W2 = W @ W if W2 is None else W2
    if step.degree == 5:
        pivot, head = _pivoted([(p[1], W), (p[2], W2)], p[0] - minus)
        return head * pivot
    if step.degree == 9:
        pivot, head = _pivoted([(p[1], W), (p[2], W2)], p[0] - minus)
        inner, tail = _pivoted([(p[3], W), (p[4], W2)], 0.0)
        return torch.baddbmm(head, W2, tail, beta=pivot, alpha=inner)
    q4, q3, d2, d1, e2, e0, f2, f1, f0 = p
    inner, tail = _pivoted([(q4, W2), (q3, W)], 0.0)
    Y = product(W2, tail, inner)
    left = torch.add(Y, W2, alpha=d2).add_(W, alpha=d1)
    right = torch.add(Y, W2, alpha=e2)
    # e0 y could go into the first factor, for a pass less: its rounding in half precision would cost the band
    pivot, head = _pivoted([(e0, Y), (f2, W2), (f1, W)], f0 - minus)
    return torch.baddbmm(head, left, right, beta=pivot)


def start_block(n: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, count), of mean square 1 and no pattern that matrices have: where random numbers may not be drawn.

    Notes
    -----
    Cost: that many numbers.
    """
    k = torch.arange(1, n * count + 1, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    return (2**0.5 * torch.sin(0.7390851 * k * k + 1.3 * k)).reshape(count, n).T.to(dtype)


def start_vector(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, 1), of norm 1: the first of `start_block`.

    Notes
    -----
    Cost: n numbers.
    """
    v = start_block(n, 1, dtype, device)
    return v / v.norm()
