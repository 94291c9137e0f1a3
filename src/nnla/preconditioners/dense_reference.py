"""A preconditioner for all matrices of a family from one of them: its inverse, row by row in the units of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.operators.arrays import alike, namespace

__all__ = ["SWEEPS", "row_scaled_reference"]

SWEEPS = 4  # of the reference in one application
_FAITHFUL = 0.1  # of a row's length that has to lie along the reference's row


def row_scaled_reference(reference: np.ndarray, A: Any, sweeps: int = SWEEPS) -> Callable[[Any], Any] | None:
    """v -> about A^-1 v: z = S v, then z <- z + S (v - A z), with S = C^-1 R^-1 and R C the nearest to A.

    Parameters
    ----------
    reference : (n, n) C, the mean matrix of a family, say
    A : (B, n, n) matrices, NumPy or torch
    sweeps : applications of S in all

    Returns
    -------
    function of (B, n, k), linear; None where C is singular

    Notes
    -----
    R is diagonal: r_i = a_i . c_i / |c_i|^2, by which the i-th row of A is nearest to that of C. Where the leading part
    of an operator is a coefficient times a fixed one, kappa(x) u'' in all of -(kappa u')' + ..., S A is the identity
    and a compact operator, and GMRES converges superlinearly, whatever the grid. Rows that are not alike (less than a
    tenth along c_i) are taken by their length.

    Cost: an inverse of C; each application ``sweeps`` products with C^-1 and one less with A.

    References
    ----------
    Axelsson, Karatson, Equivalent operator preconditioning for elliptic problems, Numer. Algorithms 50 (2009) 297-380.

    Examples
    --------
    >>> C = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> apply = row_scaled_reference(C, (np.array([[1.0], [-8.0]]) * C)[None])
    >>> assert apply is not None
    >>> (C @ apply(np.array([[[1.0], [8.0]]]))[0]).round(12).ravel().tolist()
    [1.0, -1.0]
    """
    xp = namespace(A)
    try:
        host = np.linalg.inv(np.asarray(reference, dtype=np.float64))
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(host).all():
        return None
    C, inverse = (alike(part, A) for part in (np.asarray(reference, dtype=np.float64), host))
    own, length = (C * C).sum(-1) ** 0.5, (A * A).sum(-1) ** 0.5
    along = (A * C).sum(-1) / own
    rows = xp.where(xp.abs(along) >= _FAITHFUL * length, along, length) / own
    rows = xp.where(rows != 0, rows, xp.ones_like(rows))[:, :, None]

    def apply(v: Any) -> Any:
        z = inverse @ (v / rows)
        for _ in range(sweeps - 1):
            z = z + inverse @ ((v - A @ z) / rows)
        return z

    return apply
