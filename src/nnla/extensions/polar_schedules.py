"""The baselines of the polar iteration: Newton-Schulz, Muon's coefficients, Polar Express, PRISM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.extensions._dense import wide
from nnla.extensions.minimax import CUSHION, polar_express
from nnla.operators.arrays import is_torch, to_numpy

__all__ = ["MUON", "SCHEDULES", "prism_coefficients", "schedule"]

SCHEDULES = ("polar-express", "newton-schulz", "newton-schulz-3", "prism", "muon")
MUON = (3.4445, -4.7750, 2.0315)
_MUON_STEPS = 5
_SAFETY, _SAFE_STEPS = 1.01, 7  # Polar Express, algorithm 1
_SKETCH = 8  # rows of PRISM's Gaussian sketch, as many as its authors found enough
# PRISM keeps the fitted coefficient where the iteration still contracts: [Taylor's value, this]
_PRISM_RANGE = (0.375, 1.45)

Schedule = Callable[[int, Any], tuple[float, ...] | None]


def schedule(method: str, lower: float, rng: np.random.Generator, eps: float) -> Schedule:
    """(step, Gram matrix) -> coefficients (c_0, c_1, ...) of the transition X c(X'X); None where it ends.

    `lower` is the smallest singular value expected, of a matrix scaled to largest at most 1; Polar Express needs it.

    Cost: none but for "prism", which takes a sketch a step (`prism_coefficients`), and `polar_express`' own.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 8 (Newton-Schulz). Polar Express, arXiv:2505.16932. PRISM,
    arXiv:2601.22137.
    """
    if method == "newton-schulz":
        return lambda step, G: (1.875, -1.25, 0.375)
    if method == "newton-schulz-3":
        return lambda step, G: (1.5, -0.5)
    if method == "muon":
        return lambda step, G: MUON if step < _MUON_STEPS else None
    if method == "prism":
        return lambda step, G: prism_coefficients(G, rng)
    # its cushion guards low precision; in double the pure minimax composition is the stronger opponent
    table = polar_express(60, lower, cushion=0.0 if eps < 1e-12 else CUSHION)
    odd = 2 * np.arange(3) + 1

    def safe(step: int, G: Any) -> tuple[float, ...]:
        c = np.array(table[min(step, len(table) - 1)])
        # the published recipe for low precision: rounding may lift singular values above the interval
        return tuple(c / _SAFETY**odd) if eps > 1e-6 and step < _SAFE_STEPS else tuple(c)

    return safe


def prism_coefficients(G: Any, rng: np.random.Generator, sketch: int = _SKETCH) -> tuple[float, float, float]:
    """PRISM's transition of degree 5: X (I + R/2 + a R^2) with R = I - G, a fitted to the spectrum of R.

    The a that makes the Frobenius norm of the next residual I - G (I + R/2 + a R^2)^2 smallest: a polynomial of
    degree four in a, whose coefficients are traces of powers of R, estimated with a Gaussian sketch (some products
    with `sketch` vectors: no product of matrices). The minimum is taken over the range where the iteration converges.

    Notes
    -----
    Cost: five products of G with ``sketch`` vectors, 10 n^2 sketch operations.

    References
    ----------
    Yang, Wang, Balabanov, Erichson, Mahoney, PRISM, arXiv:2601.22137.
    """
    G = wide(G)
    n = int(G.shape[1])
    start = rng.standard_normal((n, sketch)) / np.sqrt(sketch)
    V = G.new_tensor(start) if is_torch(G) else start.astype(G.dtype)
    powers = [V]
    for _ in range(5):
        powers.append(powers[-1] - G @ powers[-1])  # R^i V
    P = np.stack([to_numpy(p).astype(np.float64).ravel() for p in powers])
    inner = P @ P.T
    traces = np.array([inner[i // 2, i - i // 2] for i in range(11)])  # tr(R^i), i = 0 ... 10
    # residual = 1 - (1 - x) (1 + x/2 + a x^2)^2 as polynomials in x, one for each power of a
    base, square = np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])
    parts: list[np.ndarray] = []
    for factor in (np.convolve(base, base), 2 * np.convolve(base, square), np.convolve(square, square)):
        parts.append(-np.convolve([1.0, -1.0], factor))
    parts[0] = parts[0] + np.array([1.0, 0, 0, 0, 0, 0])
    objective = np.zeros(5)
    for i in range(3):
        for j in range(3):
            objective[i + j] += float(np.convolve(parts[i], parts[j]) @ traces)
    critical = np.roots(np.polynomial.polynomial.polyder(objective)[::-1]) if np.any(objective[1:]) else np.zeros(0)
    inside = [float(r.real) for r in critical if abs(r.imag) < 1e-9 and _PRISM_RANGE[0] < r.real < _PRISM_RANGE[1]]
    a = min((*inside, *_PRISM_RANGE), key=lambda value: np.polynomial.polynomial.polyval(value, objective))
    # I + R/2 + a R^2 in powers of G
    return 1.5 + a, -0.5 - 2 * a, a
