"""Plans from matrices: the one place where an optimiser lets the host read the device, once in many steps."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nnla.errors import NotPositiveDefiniteError, ShapeError
from nnla.interop.torch.plans import SLACK, InverseRootPlan, inverse_root_plan
from nnla.interop.torch.products import HALF, VECTORS, checked, in_units, norm_estimate, start_block

__all__ = ["condition", "plan_for", "probe_cost"]

_SOLVES, _VECTORS = 6, 2
_MARGIN = 1.2  # of six inverse iterations
_LARGEST = {torch.float64: 1e14, torch.float32: 1e8}  # beyond it the rounding of A's entries is what would be read


def condition(A: Tensor) -> Tensor:
    """The bound of the norm that `inverse_root` scales by, over the smallest eigenvalue; stays on the device.

    Parameters
    ----------
    A : (..., n, n), symmetric

    Returns
    -------
    (...), inf where a matrix is not positive definite, nan where it is zero or not finite

    Raises
    ------
    ShapeError, DTypeError

    Notes
    -----
    Cost: `probe_cost`: a Cholesky factor in float64 (float32 where the device has none), twelve solves with it, and
    ninety-six products with vectors.

    Validity: an estimate; the norm from above by a tenth to a third, and a margin of a fifth for the other end.

    References
    ----------
    Golub and Van Loan, Matrix Computations, section 8.2 (inverse iteration).

    Examples
    --------
    >>> import torch
    >>> A = torch.diag(torch.tensor([1.0, 0.1, 0.01]))
    >>> 90 < float(condition(A)) < 200
    True
    """
    given = checked(A, "A")
    n = given.shape[-1]
    if given.shape[-2] != n:
        raise ShapeError(f"A has shape {tuple(A.shape)}; a condition is that of square matrices (..., n, n)")
    X, _, largest = in_units(given.to(torch.float32) if A.dtype in HALF else given)
    X = X.to(torch.float32 if A.device.type == "mps" else torch.float64)
    sane = torch.isfinite(largest) & (largest > 0)
    eye = torch.eye(n, dtype=X.dtype, device=X.device)
    X = torch.where(sane, X, eye)
    factor, info = torch.linalg.cholesky_ex(X)
    definite = info == 0
    factor = torch.where(definite[:, None, None], factor, eye)
    v = start_block(n, _VECTORS, X.dtype, X.device).expand(X.shape[0], -1, -1)
    growth = torch.ones_like(X[:, 0, 0])
    for _ in range(_SOLVES):
        v = torch.cholesky_solve(v, factor)
        sizes = v.square().sum(dim=-2).sqrt()
        growth = sizes.amax(dim=-1)
        v = v / sizes[:, None, :]
    found = _MARGIN * norm_estimate(X, None)[:, 0, 0] * growth
    found = torch.where(definite, found, torch.full_like(found, math.inf))
    found = torch.where(sane.reshape(-1), found, torch.full_like(found, math.nan))
    return found.reshape(A.shape[:-2])


def probe_cost(n: int) -> float:
    """What `condition` costs, in products of n x n matrices (2 n^3 operations), float64 counted twice.

    Notes
    -----
    Cost: none.

    References
    ----------
    None.

    Examples
    --------
    >>> round(probe_cost(256), 2)
    1.18
    """
    return 2 * (1 / 6 + (_SOLVES * _VECTORS + 12 * VECTORS) / n)


def plan_for(
    A: Tensor, p: int = 2, *, rtol: float | None = None, ridge: float = 0.0, **options: Any
) -> InverseRootPlan:
    """A plan for matrices like A: reads the device once, to be kept over many steps.

    Parameters
    ----------
    A : (..., n, n), symmetric positive definite; the plan is for the worst of them
    p, rtol, ridge, options : as in `inverse_root_plan`

    Returns
    -------
    InverseRootPlan

    Raises
    ------
    ShapeError, DTypeError, OptionError
    NotPositiveDefiniteError
        No matrix is positive definite and there is no ridge; for single ones the certificate of `inverse_root` says so.

    Notes
    -----
    Cost: `probe_cost` for each matrix, one wait for the device, and `inverse_root_plan`.

    Validity: conditions beyond 1e8 in float32 (1e14 in float64) are those of rounding, and the plan is for no more.

    References
    ----------
    As `condition` and `inverse_root_plan`.

    Examples
    --------
    >>> import torch
    >>> plan_for(torch.diag(torch.tensor([1.0, 0.1, 0.01])), 2, rtol=0.03).products
    6
    """
    given = checked(A, "A")
    if given.shape[-2] != given.shape[-1]:
        raise ShapeError(f"A has shape {tuple(A.shape)}; inverse roots need square matrices (..., n, n)")
    found = [value for value in condition(given).reshape(-1).tolist() if value == value]
    if A.numel() and not ridge and (not found or min(found) == math.inf):
        raise NotPositiveDefiniteError(
            "no matrix is positive definite in its precision: give a ridge of more than the rounding of its entries"
        )
    limit = _LARGEST[torch.float64 if A.dtype == torch.float64 else torch.float32]
    worst = min(max(found, default=1.0), limit)
    # `condition` is with the bound of the norm already, and the plan's own margin is for that
    return inverse_root_plan(p, str(A.dtype), cond=max(worst / SLACK, 1.0), ridge=ridge, rtol=rtol, **options)
