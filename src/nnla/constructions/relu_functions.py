"""f(A) by a certified ReLU network that is chosen for A: sets on a grid, so that networks are made once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.constructions.relu_exponential import relu_expm
from nnla.constructions.relu_networks import CertifiedNetwork, positive, real_matrices, symmetric_part
from nnla.constructions.relu_polynomials import relu_cosm, relu_power, relu_sinm
from nnla.constructions.relu_roots import relu_inv_sqrtm, relu_invm, relu_signm, relu_sqrtm
from nnla.errors import OptionError

__all__ = ["RELU_FUNCTIONS", "CertifiedAnswer", "relu_function"]

_BALLS: dict[str, Callable[[int, float, float], CertifiedNetwork]] = {
    "exp": relu_expm,
    "sin": relu_sinm,
    "cos": relu_cosm,
    "cube": lambda n, bound, eps: relu_power(n, bound, eps, 3),
}
_SPECTRA: dict[str, tuple[Callable[..., CertifiedNetwork], int]] = {  # and twice the power of the unit
    "sign": (relu_signm, 0),
    "sqrt": (relu_sqrtm, 1),
    "inv_sqrt": (relu_inv_sqrtm, -1),
    "inv": (relu_invm, -2),
}
RELU_FUNCTIONS = (*_BALLS, *_SPECTRA)
GRID = 4  # bounds are powers of 2^(1/4)


@dataclass(frozen=True, eq=False)
class CertifiedAnswer:
    """What a network said.

    Attributes
    ----------
    values : (..., n, n) f(A)
    error : (...) bounds on the error in the Frobenius norm, proved
    network : the network; for functions with a gap it works on A divided by a power of four
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
    if f in _BALLS:
        scale = np.abs(batch).max()
        norm = float(scale * np.linalg.norm(batch / scale, 2, axis=(-2, -1)).max()) if scale else 0.0
        bound = 2.0 ** (math.ceil(GRID * math.log2(max(norm * (1 + 1e-14), 1e-30))) / GRID)
        network = _BALLS[f](n, max(bound, norm), eps)
        units = np.ones(len(batch))
        values = network(batch)
    else:
        make, power = _SPECTRA[f]
        batch = symmetric_part(batch, f)
        size = np.abs(batch).max(axis=(-2, -1))
        moduli = np.abs(np.linalg.eigvalsh(batch / np.where(size > 0, size, 1.0)[:, None, None]))
        exponent = np.ceil(np.log2(np.where(size > 0, size * moduli.max(axis=-1), 1.0) * (1 + 1e-14)) / 2).astype(int)
        B = np.ldexp(batch, -2 * exponent[:, None, None])
        values = np.linalg.eigvalsh(B)
        least = float((np.abs(values) if f == "sign" else values).min())
        if least <= 0:
            raise OptionError(f"{f}(A) needs {'no eigenvalue at zero' if f == 'sign' else 'positive eigenvalues'}")
        gap = 2.0 ** (math.floor(GRID * math.log2(least * (1 - 1e-12))) / GRID)
        units = np.ldexp(1.0, power * exponent)
        network = make(n, gap, eps / float(units.max()))
        values = network(B) * units[:, None, None]
    error = network.certificate.error * units
    if A.size == 0:
        return CertifiedAnswer(np.zeros(A.shape), np.zeros(shape), network)
    return CertifiedAnswer(values.reshape(A.shape), error.reshape(shape), network)
