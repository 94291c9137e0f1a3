"""f(A) by a certified ReLU network that is chosen for A: sets on a grid, so that networks are made once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.constructions.relu_exponential import relu_expm
from nnla.constructions.relu_networks import (
    CertifiedNetwork,
    FineError,
    positive,
    real_matrices,
    refuse_small,
    symmetric_part,
)
from nnla.constructions.relu_polynomials import LARGEST_NORM, relu_cosm, relu_power, relu_sinm
from nnla.constructions.relu_roots import relu_inv_sqrtm, relu_invm, relu_signm, relu_sqrtm
from nnla.errors import OptionError

__all__ = ["RELU_FUNCTIONS", "CertifiedAnswer", "relu_function"]

_BALLS: dict[str, Callable[[int, float, float], CertifiedNetwork]] = {
    "exp": relu_expm,
    "sin": relu_sinm,
    "cos": relu_cosm,
}
# Homogeneous functions, and twice the power of the unit: A is divided by a power of four, exactly.
_UNITS = {"cube": 6, "sign": 0, "sqrt": 1, "inv_sqrt": -1, "inv": -2}
_SPECTRA: dict[str, Callable[..., CertifiedNetwork]] = {
    "sign": relu_signm,
    "sqrt": relu_sqrtm,
    "inv_sqrt": relu_inv_sqrtm,
    "inv": relu_invm,
}
RELU_FUNCTIONS = (*_BALLS, *_UNITS)
GRID = 4  # bounds are powers of 2^(1/4)


@dataclass(frozen=True, eq=False)
class CertifiedAnswer:
    """What a network said.

    Attributes
    ----------
    values : (..., n, n) f(A)
    error : (...) bounds on the error in the Frobenius norm, proved
    network : the network; for the homogeneous functions (cube, sign, roots, inverse) of A divided by a power of four
    """

    values: np.ndarray
    error: np.ndarray
    network: CertifiedNetwork


def relu_function(A: Any, f: str, *, eps: float = 1e-6) -> CertifiedAnswer:
    """f(A) for matrices of one size by a certified network for the smallest set of a grid that holds them all.

    Parameters
    ----------
    A : (..., n, n), n up to 32; symmetric for sign, sqrt, inv_sqrt, inv
    f : one of `RELU_FUNCTIONS`
    eps : absolute bound on every matrix's error in the Frobenius norm

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError : no such matrices
    OptionError
        An unknown f; an eps that float64 cannot reach for this norm or gap (the message names the smallest possible); a
        root of a matrix that has none, or a gap below 1e-4 of the norm.

    Cost: a search for the network, some tenths of a second, once for each n, eps and point of the grid; then about
    14 n^3 operations for each product of a matrix. Spectra are read by an eigenvalue decomposition.

    Examples
    --------
    >>> answer = relu_function(np.diag([4.0, 9.0]), "sqrt", eps=1e-4)
    >>> bool(np.abs(answer.values - np.diag([2.0, 3.0])).max() <= answer.error <= 1e-4)
    True
    """
    if f not in RELU_FUNCTIONS:
        raise OptionError(f"f={f!r}: certified networks know {', '.join(RELU_FUNCTIONS)}; use method='schur'")
    eps = positive(eps, "eps", 1e300)
    A = real_matrices(A)
    n, shape = A.shape[-1], A.shape[:-2]
    batch = A.reshape(-1, n, n)
    if not len(batch):
        batch = np.eye(n)[None]  # a network, and nothing to say
    if f in _SPECTRA:
        batch = symmetric_part(batch, f)
    size = np.abs(batch).max(axis=(-2, -1))
    unit = np.where(size > 0, size, 1.0)
    log_norm = np.log2(unit) + np.log2(
        np.maximum(np.linalg.norm(batch / unit[:, None, None], 2, axis=(-2, -1)), 1e-300)
    )
    if f in _BALLS:
        if log_norm.max() > math.log2(LARGEST_NORM):
            raise OptionError(f"A has a norm beyond {LARGEST_NORM:g}, the largest that is certified for {f}; scale A")
        bound = 2.0 ** (math.ceil(GRID * max(float(log_norm.max()), -100) + 1e-9) / GRID)
        network = _BALLS[f](n, bound, eps)
        values, error = network(batch), np.full(len(batch), network.certificate.error)
    else:
        exponent = np.ceil(np.where(size > 0, log_norm, 0.0) / 2 + 1e-12).astype(int)
        values, error, network = _scaled(batch, exponent, f, eps)
    if A.size == 0:
        return CertifiedAnswer(np.zeros(A.shape), np.zeros(shape), network)
    return CertifiedAnswer(values.reshape(A.shape), error.reshape(shape), network)


def _scaled(batch: np.ndarray, exponent: np.ndarray, f: str, eps: float) -> tuple[np.ndarray, np.ndarray, Any]:
    """f(A) = unit f(B) with B = A / 4^exponent, of norm at most 1."""
    n, powers = batch.shape[-1], _UNITS[f] * exponent
    B = np.ldexp(batch, -2 * exponent[:, None, None])
    largest = int(powers.max())
    fine = math.ldexp(eps, -largest) if largest > -1000 else eps * 2.0**1000
    fine, set_ = min(max(fine, 1e-300), 1e300), f"{f}(A)"
    try:
        if f == "cube":
            network = relu_power(n, 1.0, fine, 3)
        else:
            values = np.linalg.eigvalsh(B)
            least = float((np.abs(values) if f == "sign" else values).min())
            if least <= 0:
                raise OptionError(f"{f}(A) needs {'no eigenvalue at zero' if f == 'sign' else 'positive eigenvalues'}")
            gap = 2.0 ** (math.floor(GRID * math.log2(least * (1 - 1e-12))) / GRID)
            set_ += f" with a gap of {gap:.2g} of the norm"
            network = _SPECTRA[f](n, gap, fine)
    except FineError as refusal:
        if refusal.smallest > math.ldexp(1.0, min(1023, 1023 - largest)):
            raise OptionError(f"{f}(A) is too large for float64; scale A") from None
        raise refuse_small(eps, math.ldexp(refusal.smallest, largest), set_) from None
    with np.errstate(under="ignore"):
        error = np.ldexp(network.certificate.error, powers) + n * 5e-324  # results may be subnormal
        return np.ldexp(network(B), powers[:, None, None]), error, network
