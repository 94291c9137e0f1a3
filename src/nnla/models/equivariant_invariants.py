"""What the equivariant surrogate reads of a symmetric matrix: traces of powers, as a bound and as features."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.operators.arrays import is_torch, namespace

__all__ = ["FEATURES", "described", "invariants"]

FEATURES = 8


def invariants(n: Any, moments: list[Any]) -> Any:
    """(B, F) features from mean k-th powers of eigenvalues over their bound, k = 1, ..., 6 (zeros for what is not
    known): the size, and roots of the moments.

    Parameters
    ----------
    n : size of the matrices, a number or (B,)
    moments : six of (B,)

    Notes
    -----
    Changing the sign of a matrix does not change those of sign: its moments are given by size.
    """
    xp = namespace(moments[0])
    zero = 0.0 * moments[0]
    columns = [zero + np.log(n) if not is_torch(moments[0]) else zero + xp.log(zero + n)]
    columns += [1.0 / (zero + n)]
    for k, m in enumerate(moments, start=1):
        columns.append(3.0 * xp.sign(m) * (xp.abs(m) + 1e-30) ** (1.0 / k))
    return xp.stack(columns, -1)


def described(head: str, n: int, t: list[Any]) -> tuple[Any, Any]:
    """A bound (B,) on the size of eigenvalues that always holds, and features (B, F), from traces of powers.

    Parameters
    ----------
    head : "exp": of matrices of trace zero; "sign"; "definite": eigenvalues are taken to be positive
    n : size of the matrices
    t : traces (B,) of the k-th powers, k = 1, 2, ..., and last that of the 8th; "definite" needs four

    References
    ----------
    Samuelson, J. Amer. Statist. Assoc. 63 (1968) 1522: how far n numbers can be from their mean; here by higher
    moments.
    """
    xp = namespace(t[0])
    zero = 0.0 * t[0]
    if head == "definite":
        mean = t[0] / n
        fourth = t[3] - 4 * mean * t[2] + 6 * mean**2 * t[1] - 3 * n * mean**4
        width = (_farthest(xp.clip(fourth, 0.0, None), n, 4) + 1e-14 * t[3]) ** 0.25
        bound = (xp.abs(mean) + width) * (1 + 1e-12) + 1e-30
        third = (t[2] - 3 * mean * t[1] + 2 * n * mean**3) / (n * bound**3)
        return bound, invariants(n, [*(t[k - 1] / (n * bound**k) for k in range(1, 5)), third, zero])
    if head == "exp":
        bound = _farthest(t[-1], n, 8) ** 0.125 * (1 + 1e-12) + 1e-30
        return bound, invariants(n, [zero, *(t[k - 1] / (n * bound**k) for k in range(2, 7))])
    bound = t[-1] ** 0.125 * (1 + 1e-12) + 1e-30
    return bound, invariants(n, [xp.abs(t[k - 1]) / (n * bound**k) for k in range(1, 7)])


def _farthest(moment: Any, n: int, k: int) -> Any:
    """The k-th power of the largest of n numbers of mean zero can be no larger, given the sum of their k-th powers."""
    share = (n - 1.0) ** (k - 1)
    return moment * (share / (share + 1.0))
