"""Functions of many small symmetric matrices at once: NumPy's eigensolver on the host, Jacobi's rotations on a device.

A batched eigensolver of a device's library takes a hundred thousand matrices a second; rotations in plain torch
operations, all matrices at once, take millions of them when they are 3 x 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.operators.arrays import is_torch
from nnla.problems.matrix_references import MATRIX_FUNCTIONS

__all__ = ["jacobi_eigh", "symmetric_function"]

_SWEEPS = 8  # for n <= 8; off-diagonals are squared in each, once they are small


def jacobi_eigh(A: Any, sweeps: int = _SWEEPS) -> tuple[Any, Any]:
    """Eigenvalues (B, n), in no order, and eigenvectors (B, n, n) of symmetric torch matrices (B, n, n).

    Notes
    -----
    Cyclic sweeps of rotations, the smaller angle each time. No value is read back from the device.

    Cost: sweeps n (n - 1) / 2 rotations, each some thirty operations on 4 n numbers a matrix.

    References
    ----------
    Golub, Van Loan, Matrix computations, 4th ed., section 8.5.

    Examples
    --------
    >>> import torch
    >>> values, V = jacobi_eigh(torch.tensor([[[2.0, 1.0], [1.0, 2.0]]], dtype=torch.float64))
    >>> sorted(values[0].round(decimals=12).tolist())
    [1.0, 3.0]
    """
    import torch

    n = A.shape[-1]
    columns = [[A[:, i, j] for i in range(n)] for j in range(n)]
    vectors = [[torch.full_like(A[:, 0, 0], float(i == j)) for i in range(n)] for j in range(n)]
    for _ in range(sweeps):
        for p in range(n):
            for q in range(p + 1, n):
                apq = columns[q][p]
                gap = columns[q][q] - columns[p][p]
                # t = tan of the angle, |t| <= 1, the smaller root of t^2 + (gap / apq) t - 1
                t = 2 * apq / (gap.abs() + torch.sqrt(gap * gap + 4 * apq * apq) + 1e-300)
                t = torch.where(gap < 0, -t, t)
                c = torch.rsqrt(1 + t * t)
                s = t * c
                up, uq = columns[p], columns[q]
                for i in range(n):
                    if i not in (p, q):
                        x, y = up[i], uq[i]
                        up[i], uq[i] = c * x - s * y, s * x + c * y
                        columns[i][p], columns[i][q] = up[i], uq[i]
                up[p], uq[q] = up[p] - t * apq, uq[q] + t * apq
                up[q] = uq[p] = torch.zeros_like(apq)
                vp, vq = vectors[p], vectors[q]
                for i in range(n):
                    vp[i], vq[i] = c * vp[i] - s * vq[i], s * vp[i] + c * vq[i]
    values = torch.stack([columns[i][i] for i in range(n)], -1)
    return values, torch.stack([torch.stack(v, -1) for v in vectors], -1)


def symmetric_function(A: Any, f: str) -> Any:
    """f(A) (B, n, n) of symmetric matrices (B, n, n), float64, by their eigenvalues; exactly symmetric.

    Parameters
    ----------
    A : NumPy or torch; f real on the spectra, else there are NaN
    f : one of `nnla.problems.matrix_references.MATRIX_FUNCTIONS`

    Notes
    -----
    Cost: `numpy.linalg.eigh`, or `jacobi_eigh` for tensors on any device.
    """
    if not is_torch(A):
        values, V = np.linalg.eigh(A)
        with np.errstate(all="ignore"):
            found = (V * MATRIX_FUNCTIONS[f](values)[:, None, :]) @ V.swapaxes(-1, -2)
        return 0.5 * (found + found.swapaxes(-1, -2))
    import torch

    own = {"inv_sqrt": torch.rsqrt, "inv": torch.reciprocal, "cube": lambda x: x**3}
    values, V = jacobi_eigh(A.to(torch.float64))
    scaled = V * (own[f] if f in own else getattr(torch, f))(values)[:, None, :]
    # a sum of n terms, not a product of matrices, which devices may round to fewer digits
    found = (scaled[:, :, None, :] * V[:, None, :, :]).sum(-1)
    return 0.5 * (found + found.mT)
