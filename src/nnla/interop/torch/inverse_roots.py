"""Inverse roots of batches of symmetric positive definite matrices, for preconditioned optimisers."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from nnla.errors import OptionError, ShapeError
from nnla.interop.torch.certificates import Certificate, inverse_root_certificate
from nnla.interop.torch.plans import InverseRootPlan, inverse_root_plan
from nnla.interop.torch.products import (
    HALF,
    check_dtype,
    checked,
    constant_when_compiled,
    evaluated,
    in_units,
    norm_estimate,
    product,
    scaled,
)
from nnla.interop.torch.transitions import Transition

__all__ = ["inverse_root"]


@overload
def inverse_root(
    A: Tensor, p: int = 2, *, cond: float | None = None, ridge: float = 0.0, rtol: float | None = None,
    plan: InverseRootPlan | None = None, certificate: Literal[False] = False, dtype: torch.dtype | None = None,
) -> Tensor: ...  # fmt: skip
@overload
def inverse_root(
    A: Tensor, p: int = 2, *, cond: float | None = None, ridge: float = 0.0, rtol: float | None = None,
    plan: InverseRootPlan | None = None, certificate: Literal[True], dtype: torch.dtype | None = None,
) -> tuple[Tensor, Certificate]: ...  # fmt: skip
def inverse_root(
    A: Tensor,
    p: int = 2,
    *,
    cond: float | None = None,
    ridge: float = 0.0,
    rtol: float | None = None,
    plan: InverseRootPlan | None = None,
    certificate: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, Certificate]:
    """A^(-1/p) of every matrix of a batch, by products of matrices only, without a look at the device.

    Parameters
    ----------
    A : (..., n, n), symmetric positive definite (which only a certificate checks); float64, float32, bfloat16 or
        float16, on any device; not modified. Half precision is a way to keep A: the iteration then runs in float32
    p : 1, 2 or 4
    cond : largest over smallest eigenvalue that the answer has to be good for; by default 1 / ridge, else 1e8, 1e6 or
        1e4 (float64, float32, half). Products grow with its logarithm
    ridge : A + ridge b I is taken, b the bound of A's norm by which it is scaled, 1.1 to 1.3 times that norm
    rtol : wanted ||Z^p A - I||_2, by default 1e-8, 1e-3, 0.05 and 0.2 for float64, float32, float16 and bfloat16
    plan : of `inverse_root_plan` or `plan_for`, in place of the three
    certificate : also return a `Certificate`: tensors that say which matrices have converged
    dtype : of the result, by default A's

    Returns
    -------
    Z : (..., n, n), symmetric
    certificate : only where asked for

    Raises
    ------
    ShapeError, DTypeError, OptionError
        Of what can be known without a look at the device.

    Notes
    -----
    Cost: ``plan.products`` products of n x n matrices whatever A holds, the first ``plan.wide`` with A in float64: 12,
    17 and 19 for condition 1e4, 1e6 and 1e7 at rtol = 0.03 (p = 2). For the bound of the norm six products with eight
    vectors, 48 / n of a product, and some passes over A. Small matrices wait for Python: capture or compile the call.
    On a GPU it took an eighth to a hundredth of the seconds of `torch.linalg.eigh`; on a processor it takes three times
    as many.

    Validity: every matrix is scaled by a power of two and by a bound of its norm, so that units do not matter from
    1e-37 to 1e37 in float32 (if the answer has a number in the dtype of the result). Eigenvalues below the largest
    over ``plan.cond`` come out no larger than about cond^(1/p) times the smallest: a singular A gives a bounded Z, for
    which `certificate.converged` is false. Zero gives zero, not converged; NaN or Inf in a matrix gives NaN for that
    matrix only. A matrix with negative eigenvalues beyond rounding (half precision rounds A by 1e-3 or 4e-3 of its
    norm) has no root: take a ridge above that. In float32 rounding limits the relative error to about 1e-5 at
    condition 1e4, 1e-3 at 1e6 and 1e-2 at 1e7; for p = 1 the residual Z A - I is larger than that by the condition
    over its square root.

    Derivatives through a zero matrix are NaN; others are those of the products.

    The call has no control flow that depends on data: it runs under `torch.no_grad`, `torch.compile(fullgraph=True)`,
    fake tensors and in CUDA graphs.

    References
    ----------
    Higham, Functions of Matrices (2008), section 6.3. AutoSpec, appendix A.1, equation (10). CANS, arXiv:2506.10935.

    Examples
    --------
    >>> import torch
    >>> Z = inverse_root(torch.diag(torch.tensor([1.0, 16.0, 81.0])), 4, rtol=1e-5)
    >>> [round(float(z), 4) for z in Z.diagonal()]
    [1.0, 0.5, 0.3333]
    """
    given = checked(A, "A")
    n = given.shape[-1]
    if given.shape[-2] != n:
        raise ShapeError(f"A has shape {tuple(A.shape)}; inverse roots need square matrices (..., n, n)")
    check_dtype(dtype)
    if plan is None:
        plan = _default_plan(p, str(A.dtype), cond, ridge, rtol)
    elif not isinstance(plan, InverseRootPlan):
        raise OptionError(f"plan is a {type(plan).__name__}; make one with inverse_root_plan() or plan_for()")
    elif cond is not None or ridge or rtol is not None:
        raise OptionError("plan holds cond, ridge and rtol: give the plan or them, not both")
    elif plan.p != p:
        raise OptionError(f"the plan is for p = {plan.p}, not {p}; make one with inverse_root_plan({p})")
    X, exponent, largest = in_units(given.to(torch.float32) if A.dtype in HALF else given)
    Z, bound = _first_stage(X, plan)
    if plan.p == 4:
        Z = _coupled(0.5 * (Z + Z.mT), None, plan.stages[1], 0, root=False)
    if plan.p == 1:
        Z = Z @ Z
    # 2^(-exponent / p) in two factors, the first of which is inside the range of float32 wherever the result is
    Z = 0.5 * (Z + Z.mT) * (bound ** (-1.0 / p))
    Z = Z * torch.exp2(-0.5 * exponent / p) * torch.exp2(-0.5 * exponent / p)
    finite = torch.isfinite(largest)
    nothing = torch.where(finite, torch.zeros_like(largest), torch.full_like(largest, float("nan")))
    Z = torch.where(finite & (largest > 0), Z, nothing)
    result = Z.to(A.dtype if dtype is None else dtype).reshape(A.shape)
    if not certificate:
        return result
    shift = plan.ridge / (1.0 + plan.ridge) * bound * torch.exp2(exponent)
    found = inverse_root_certificate(given, result.reshape(given.shape), p, plan.rtol, shift)
    return result, found.shaped(A.shape[:-2])


@constant_when_compiled
def _default_plan(p: int, precision: str, cond: Any, ridge: Any, rtol: Any) -> InverseRootPlan:
    return inverse_root_plan(p, precision, cond=cond, ridge=ridge, rtol=rtol)


def _first_stage(X: Tensor, plan: InverseRootPlan) -> tuple[Tensor, Tensor]:
    """(Z, bound) of the first iteration on X; for p = 4 the root in place of Z. `bound` includes the ridge."""
    steps = plan.stages[0]
    square = X @ X if steps[0].degree > 3 else None  # c(T) needs it, and its powers bound the norm better
    bound = norm_estimate(X, square)
    # (X + ridge bound I) / (bound + ridge bound), and W = 2 Y - I = a X + b I
    total = bound * (1.0 + plan.ridge)
    shift = plan.ridge / (1.0 + plan.ridge)
    Y = scaled(X, 1.0 / total, shift)
    W2 = None
    if square is not None:
        a, b = 2.0 / total, 2.0 * shift - 1.0
        W2 = scaled(square, a * a, b * b).addcmul_(X, 2.0 * b * a)
    wide = 0 if X.device.type == "mps" else plan.wide
    Z = _coupled(Y, W2, steps, wide, root=plan.p == 4)
    return Z, total


def _coupled(Y: Tensor, W2: Tensor | None, steps: Sequence[Transition], wide: int, *, root: bool) -> Tensor:
    """Z near Y^(-1/2), or near Y^(1/2) where the root is asked for.

    Y <- Y c(T), Z <- c(T) Z, T = Z Y: in this order errors do not grow (Higham, section 6.4).
    """
    Z: Tensor | None = None
    for k, step in enumerate(steps):
        last = k == len(steps) - 1
        # c(0) I goes by the side: what rounds in a product with it is what small eigenvalues are made of
        at_zero, unit = step.at_zero, 2.0 / step.upper**2
        if Z is None:
            W = scaled(Y, unit, -1.0)
        else:
            W = product(Z, Y, unit)
            W.diagonal(dim1=-2, dim2=-1).add_(-1.0)
        M = evaluated(step, W, W2 if k == 0 else None, at_zero)
        if not last or root:
            if k < wide and Y.dtype != torch.float64:
                Yw = Y.to(torch.float64)
                Y = torch.baddbmm(Yw, Yw, M.to(torch.float64), beta=at_zero).to(Y.dtype)
            else:
                Y = torch.baddbmm(Y, Y, M, beta=at_zero)
        if not last or not root:
            Z = scaled(M, 1.0, at_zero) if Z is None else torch.baddbmm(Z, M, Z, beta=at_zero)
    return Y if root or Z is None else Z
