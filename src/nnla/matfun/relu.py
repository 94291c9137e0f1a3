"""f(A) by ReLU networks with a certificate: the smallest of `nnla.constructions` for the set that matrices lie in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.constructions import relu_cosm, relu_expm, relu_inv_sqrtm, relu_signm, relu_sinm, relu_sqrtm
from nnla.errors import NotSymmetricError, OptionError
from nnla.matfun.options import Batch, parts

__all__ = ["RELU", "by_relu"]

_SHARE = 0.25  # of the tolerance that a network is made for
_LARGEST = 256.0  # norm that a network for exp, sin and cos can be made for
_LEAST_GAP = 1e-4  # of eigenvalues that a network for sign or roots can be made for
_BALLS: dict[str, Callable[..., Any]] = {"exp": relu_expm, "sin": relu_sinm, "cos": relu_cosm}
_ROOTS: dict[str, Callable[..., Any]] = {"sign": relu_signm, "sqrt": relu_sqrtm, "inv_sqrt": relu_inv_sqrtm}
RELU = (*_BALLS, *_ROOTS)
_SLOW = 32  # times slower than other methods, and so much less at a time


def by_relu(batch: Batch, f: str, rtol: float) -> tuple[np.ndarray, str]:
    """The networks' answers, NaN for matrices in no set that a network can be certified for; and which networks.

    Raises
    ------
    OptionError
        A function without such networks; sizes beyond theirs.
    NotSymmetricError
        sign and roots of an unsymmetric matrix.

    Notes
    -----
    Cost: a search of some tenths of a second for each set (norm within a factor of two, gap within 10^(1/4)) that was
    not met before; then three operations for each number in a product of matrices, and so for each of 10 to 30 bits.

    References
    ----------
    Yarotsky, Neural Networks 94 (2017) 103-114 (products); the rest in `nnla.constructions`.
    """
    if f not in RELU:
        raise OptionError(f"no ReLU network is constructed for {f}, only for {', '.join(RELU)}; use method='schur'")
    if f in _ROOTS and not batch.symmetric.all():
        place = batch.place(int(np.argmin(batch.symmetric)))
        raise NotSymmetricError(f"{place} is not symmetric: method='relu' needs that for {f}; use method='schur'")
    X, used = np.full_like(batch.A, np.nan), []
    size = np.linalg.norm(batch.A, 2, axis=(1, 2)) * (1 + 1e-12)
    if f in _BALLS:
        classes = np.where(size <= _LARGEST, np.ceil(np.log2(np.clip(size, 0.25, _LARGEST))), np.nan)
        unit = np.ones(len(size))
    else:
        unit = np.where(size > 0, size, 1.0)
        w = np.linalg.eigvalsh(batch.A / unit[:, None, None])
        least = np.abs(w).min(-1) if f == "sign" else w[:, 0]
        classes = np.where(
            least >= _LEAST_GAP, np.floor(4 * np.log10(np.maximum(least, _LEAST_GAP)) - 1e-9) / 4, np.nan
        )
        classes = np.maximum(classes, np.log10(_LEAST_GAP))
    for key in np.unique(classes[np.isfinite(classes)]):
        where = np.flatnonzero(classes == key)
        try:
            network = _network(f, batch, where, size, float(key), rtol)
        except OptionError:  # the tolerance is beyond what float64 can certify for this set
            if batch.n > 32:
                raise
            continue
        for part in parts(where, batch.n, _SLOW):
            X[part] = np.asarray(network(batch.A[part] / unit[part, None, None]))
        used.append(repr(network))
    root = {"sqrt": np.sqrt(unit), "inv_sqrt": 1 / np.sqrt(unit)}.get(f)
    if root is not None:
        X = batch.restored(X * root[:, None, None], f)
    return X, "; ".join(used) or "no network can be certified for these matrices and this tolerance"


def _network(f: str, batch: Batch, where: np.ndarray, size: np.ndarray, key: float, rtol: float) -> Any:
    n = batch.n
    if f in _ROOTS:
        return _ROOTS[f](n, float(10.0**key), _SHARE * rtol)
    # networks promise an absolute error: a lower bound on ||f(A)|| tells what that is relative to
    if f == "exp":
        least = float(np.exp(np.trace(batch.A[where], axis1=1, axis2=2).min() / n)) * np.sqrt(n)
    else:
        least = min(1.0, float(size[where].min())) if f == "sin" else 1.0
    power = np.floor(np.log2(max(_SHARE * rtol * least, 1e-300)))  # equal tolerances find the network of before
    return _BALLS[f](n, float(2.0**key), float(2.0**power))
