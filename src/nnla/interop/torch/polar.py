"""Polar factors of batches of matrices, for optimisers that step along an orthogonal direction (Muon)."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
from torch import Tensor

from nnla.errors import OptionError
from nnla.interop.torch.certificates import Certificate, polar_certificate
from nnla.interop.torch.plans import PolarPlan, polar_plan
from nnla.interop.torch.products import (
    HALF,
    check_dtype,
    checked,
    constant_when_compiled,
    evaluated,
    in_units,
    norm_bound,
    product,
    scaled,
)
from nnla.interop.torch.transitions import Transition

__all__ = ["polar"]

# What the norm of a matrix in half precision is scaled to: its Gram matrix stays clear of underflow, and its square of
# overflow
_UNIT_HALF = 64.0


@overload
def polar(
    X: Tensor, *, lower: float | None = None, spread: float | None = None, gram: bool | str = "auto",
    plan: PolarPlan | None = None, certificate: Literal[False] = False, dtype: torch.dtype | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def polar(
    X: Tensor, *, lower: float | None = None, spread: float | None = None, gram: bool | str = "auto",
    plan: PolarPlan | None = None, certificate: Literal[True], dtype: torch.dtype | None = None,
) -> tuple[Tensor, Certificate]: ...  # fmt: skip
def polar(
    X: Tensor,
    *,
    lower: float | None = None,
    spread: float | None = None,
    gram: bool | str = "auto",
    plan: PolarPlan | None = None,
    certificate: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, Certificate]:
    """The polar factor of every matrix of a batch, to a band, by products of matrices only.

    Parameters
    ----------
    X : (..., m, n) of float64, float32, bfloat16 or float16, on any device; not modified. Half precision runs in
        float16 with its products' sums in float32, as the device has it; on processors in float32
    lower : smallest singular value, over the bound of the largest, to be brought near 1; by default 7e-3
    spread : how near: [1 - spread, 1 + spread]; by default 0.12. 1e-5 makes it the polar factor itself
    gram : iterate on the Gram matrix of the shorter side alone (True), with a new one for every transition (False),
        or what costs less where the precision allows it ("auto")
    plan : of `polar_plan` or `polar_plan_from`, in place of the three
    certificate : also return a `Certificate`: tensors that say whose singular values are all in the band, as
        ||U'U - I|| <= spread (2 + spread) but for rounding
    dtype : of the result, by default X's

    Returns
    -------
    U : (..., m, n)
    certificate : only where asked for

    Raises
    ------
    ShapeError, DTypeError, OptionError
        Of what can be known without a look at the device.

    Notes
    -----
    Cost: `nnla.interop.torch.flops` of the plan: 6 in units of 2 n^3 for square matrices, 10.5 at aspect 4 (15 with a
    restart, in half precision), where Muon's five steps take 10 and 19. Operations are not seconds: sums of matrices
    come on top, some 55 readings of a square X and 20 at aspect 4, unless a compiler fuses them. On one GPU float32
    took 0.8 (square) and 0.6 (aspect 4) of the seconds of the faster form of Muon's steps, TF32 as long to a tenth
    less, and half precision two to four times **more** than they did, before its sums were cut to a fifth (not timed
    since): measure before you switch.

    Validity: units do not matter, from 1e-37 to 1e37 in float32: X is scaled by a power of two and by a bound of its
    norm. Singular values below ``lower`` end below the band, in order; those that are zero stay zero, so that a matrix
    of rank one gives u v' (to the band), and zero gives zero; neither is "converged", which means that U has
    orthonormal columns (rows, where X is wide) to within the band. NaN or Inf in a matrix gives NaN for that matrix
    only. A narrower band does not make training better: where it was tried, the loss was the same.

    The call has no control flow that depends on data: it runs under `torch.no_grad`, `torch.compile(fullgraph=True)`,
    fake tensors and in CUDA graphs.

    References
    ----------
    Jordan et al., Muon (2024). Polar Express, arXiv:2505.16932. Zhang, Amsel, Chen, Dao, Gram Newton-Schulz (2026).

    Examples
    --------
    >>> import torch
    >>> U = polar(torch.diag(torch.tensor([5.0, 1.0, 0.2])))
    >>> bool((U.diagonal() > 0.88).all() and (U.diagonal() < 1.12).all())
    True
    """
    given = checked(X, "X")
    check_dtype(dtype)
    if not (isinstance(gram, bool) or (isinstance(gram, str) and gram == "auto")):
        raise OptionError(f"gram is True, False or 'auto', not {gram!r}")
    if plan is not None and not isinstance(plan, PolarPlan):
        raise OptionError(f"plan is a {type(plan).__name__}; make one with polar_plan()")
    wide = given.shape[-1] > given.shape[-2]
    Y = given.mT if wide else given
    half = X.dtype in HALF
    if plan is None:
        name = "float32" if half and X.device.type == "cpu" else str(X.dtype)
        # the aspect decides where to restart, and that is the same for all that are not square; a compiler that keeps
        # sizes symbolic can tell so much
        aspect = 1.0 if Y.shape[-2] == Y.shape[-1] else 4.0
        plan = _default_plan(name, lower, spread, aspect, None if gram == "auto" else not gram)
    elif lower is not None or spread is not None or gram != "auto":
        raise OptionError("plan holds lower, spread and gram: give the plan or them, not both")
    U = _iterated(Y, plan)
    U = (U.mT if wide else U).to(X.dtype if dtype is None else dtype).reshape(X.shape)
    if not certificate:
        return U
    result = U.reshape(given.shape)
    found = polar_certificate(Y, result.mT if wide else result, plan.rtol)
    return U, found.shaped(X.shape[:-2])


@constant_when_compiled
def _default_plan(name: str, lower: Any, spread: Any, aspect: float, restart: Any) -> PolarPlan:
    options = {"lower": lower, "spread": spread}
    given = {key: value for key, value in options.items() if value is not None}
    return polar_plan(name, aspect=aspect, restart=restart, **given)


def _iterated(X: Tensor, plan: PolarPlan) -> Tensor:
    """U (b, m, n) of X with m >= n, in the precision of the plan."""
    if plan.precision == "float16" and X.dtype != torch.float64:
        Y = _in_half(X)
    else:
        Y, _, _ = in_units(X.to(torch.float32) if X.dtype in HALF else X)
    for k, phase in enumerate(plan.phases):
        G = Y.mT @ Y
        Y = Y @ (_gram_phase(G, 1.0, None, phase) if k else _first_phase(G, phase))
    return Y


def _in_half(X: Tensor) -> Tensor:
    """X times powers of two, in float16, of norm at most `_UNIT_HALF`."""
    largest = torch.linalg.vector_norm(X, math.inf, dim=(-2, -1), keepdim=True, dtype=torch.float32)
    size = torch.linalg.vector_norm(X, 2, dim=(-2, -1), keepdim=True, dtype=torch.float32)
    # a Frobenius norm whose squares left the range of float32 is replaced by what it cannot exceed
    sure = largest * (X.shape[-2] * X.shape[-1]) ** 0.5
    size = torch.where((size > 1e-15) & (size < 1e15), size, sure)
    size = torch.where(size > 0, size, torch.ones_like(size))
    exponent = torch.frexp(_UNIT_HALF / size).exponent.to(torch.float32) - 1.0
    exponent = exponent.clamp(-126.0, 126.0)
    return (X * torch.exp2(exponent)).to(torch.float16)


def _first_phase(G: Tensor, phase: tuple[Transition, ...]) -> Tensor:
    """Q of the phase on G / size^2, over size, which is a bound of the largest singular value."""
    W2: Tensor | None = None
    bound = norm_bound(G)
    unit = _UNIT_HALF if G.dtype in HALF else 1.0
    square = product(G, G, unit**-2) if phase[0].degree > 3 else None
    if square is not None:  # W^2 takes this product anyway, and its norm is the better bound
        bound = torch.minimum(bound, unit * norm_bound(square).sqrt())
    factor = 1.0 / bound
    if G.dtype in HALF:
        # five binary digits, so that its square is exact as well: W^2 must be that of W
        mantissa, exponent = torch.frexp(factor)
        factor = torch.floor(32.0 * mantissa) * torch.exp2(exponent.to(factor.dtype) - 5.0)
    if square is not None:
        a = 2.0 / phase[0].upper ** 2 * factor
        W2 = scaled(square, (a * unit).square().to(G.dtype), 1.0).addcmul_(G, (-2.0 * a).to(G.dtype))
    return _gram_phase(G, factor.to(G.dtype), W2, phase) * factor.sqrt().to(G.dtype)


def _gram_phase(T: Tensor, factor: float | Tensor, W2: Tensor | None, phase: tuple[Transition, ...]) -> Tensor:
    """Q = c_1(T_1) c_2(T_2) ..., T_1 = factor T, T <- c T c; W2 is that of the first, where it is there."""
    Q: Tensor | None = None
    for k, step in enumerate(phase):
        W = scaled(T, factor * (2.0 / step.upper**2), -1.0)
        C = evaluated(step, W, W2 if k == 0 else None)
        Q = C if Q is None else Q @ C
        if k < len(phase) - 1:
            T = C @ (T @ C)
    if Q is None:
        raise OptionError("a phase of a plan has no transition")
    return Q
