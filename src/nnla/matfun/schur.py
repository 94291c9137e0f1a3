"""f(A) in float64 by eigenvectors or a Schur form, and where f(A) is real: one version for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from nnla.matfun.options import transposed

__all__ = ["ENTIRE", "SCALARS", "from_spectrum", "general_function", "inside_domain"]

#: The functions by name, as of one eigenvalue.
SCALARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "inv_sqrt": lambda x: 1.0 / np.sqrt(x),
    "inv": lambda x: 1.0 / x,
    "sin": np.sin,
    "cos": np.cos,
    "cube": lambda x: x**3,
}
#: Those that every matrix has.
ENTIRE = frozenset({"exp", "sin", "cos", "cube"})


def inside_domain(z: np.ndarray, f: str, radius: np.ndarray, symmetric: bool) -> np.ndarray:
    """(B, n) whether eigenvalues z lie where the principal f(A) is defined and real, all but for a radius (B, 1).

    log and inv_sqrt: not on the closed negative half-axis; sqrt: that, but a symmetric A may be singular; inv: not 0;
    sign: not on the imaginary axis.

    References
    ----------
    Higham, Functions of Matrices (2008), theorems 1.29, 1.31 and chapter 5.
    """
    if f in ENTIRE:
        return np.ones(z.shape, dtype=bool)
    if f == "sign":
        return np.abs(np.real(z)) > radius
    if f == "inv":
        return np.abs(z) > radius
    if f == "sqrt" and symmetric:
        return z >= -radius
    return (np.real(z) > radius) | (np.abs(np.imag(z)) > radius)


def from_spectrum(Q: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Q diag(image) Q' (B, n, n), exactly symmetric; the largest is taken out, so that nothing leaves the range on the
    way."""
    _, exponent = np.frexp(np.abs(image).max(axis=-1, keepdims=True))
    X = (Q * np.ldexp(image, -exponent)[..., None, :]) @ transposed(Q)
    return np.ldexp((X + transposed(X)) / 2, exponent[..., None])


def general_function(A: np.ndarray, f: str) -> np.ndarray:
    """f(A) of one real matrix (n, n) that `inside_domain` finds in order, in any unit.

    Notes
    -----
    Cost: a Schur form or scaled and squared fractions, some 25 n^3.

    References
    ----------
    Higham, Functions of Matrices (2008): 5.2 (sign), 6.2 (square root), 10.3 (exponential), 11.5 (logarithm), 12.
    """
    if f == "cube":
        return A @ A @ A
    if f in ENTIRE:
        return np.asarray({"exp": scipy.linalg.expm, "sin": scipy.linalg.sinm, "cos": scipy.linalg.cosm}[f](A))
    # The rest is homogeneous, or nearly so: f of A in units of its size cannot leave the range.
    _, exponent = np.frexp(np.abs(A).max())
    X = np.ldexp(A, -int(exponent))
    if f == "sign":
        return _sign(X)
    if f == "log":
        return np.real(_logarithm(X)) + int(exponent) * np.log(2.0) * np.eye(len(X))
    if f == "inv":
        return np.ldexp(np.linalg.inv(X), -int(exponent))
    half = int(exponent) // 2
    root = np.real(scipy.linalg.sqrtm(np.ldexp(X, int(exponent) - 2 * half)))
    return np.ldexp(root, half) if f == "sqrt" else np.ldexp(np.linalg.inv(root), -half)


def _sign(A: np.ndarray) -> np.ndarray:
    """The real Schur form with the left half-plane first: sign is [[-I, X], [0, I]] there, by a Sylvester equation."""
    ordered: Any = scipy.linalg.schur(A, output="real", sort="lhp")
    T, Q, left = ordered
    S = np.eye(len(A))
    S[:left, :left] *= -1.0
    if 0 < left < len(A):
        S[:left, left:] = scipy.linalg.solve_sylvester(T[:left, :left], -T[left:, left:], -2.0 * T[:left, left:])
    return Q @ S @ Q.T


def _logarithm(A: np.ndarray) -> np.ndarray:
    """SciPy's, which estimates norms with NumPy's global random numbers: of one seed, and as they were afterwards."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(0)  # noqa: NPY002
        return np.asarray(scipy.linalg.logm(A))
    finally:
        np.random.set_state(state)  # noqa: NPY002
