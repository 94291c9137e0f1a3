"""Virtual spectra: spectral measures of large SPD operators that never existed.

A training sample is the quantile function of a spectral density, with the multiplicities that
``n`` eigenvalues would have, compressed to a few hundred weighted nodes that are exact at both ends.
Lanczos and CG on the nodes behave as on the large operator (see `nnla.spectra.simulated_cg`).

The families are mathematical (orders of operators, dimensions, coefficient contrast, mixtures,
outliers), and none is fitted to a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.spectra.simulated_cg import compress_quantiles

__all__ = ["FAMILIES", "VirtualSpectrum", "sample_spectrum"]

_GRID = 4096  # resolution of a quantile function before it is compressed


@dataclass(frozen=True)
class VirtualSpectrum:
    """Weighted nodes that stand for an n x n SPD operator and a right-hand side.

    Attributes
    ----------
    lam : (K,) increasing positive nodes, largest 1
    weight : (K,) squared components of the start of the Krylov space
    measure : (K,) squared components of the residual in the norm that the tolerance is in. The two
        differ when the operator is scaled: CG then sees D^-1/2 b, and the user ||b - A x||_2
    n : virtual size
    family : name of the generator
    """

    lam: np.ndarray
    weight: np.ndarray
    measure: np.ndarray
    n: int
    family: str = ""
    meta: dict[str, Any] = field(default_factory=dict[str, Any])


def _power_ends(u: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Quantiles with density x^(1/low - 1) at zero and (1 - x)^(1/high - 1) at one."""
    return 1 - (1 - u**low) ** high


def _laplacian(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Elliptic operators of order 2 or 4 in 1-4 dimensions: Weyl's law lam ~ u^(order / dim)."""
    dim = rng.uniform(1.0, 4.0)
    order = rng.choice([2.0, 4.0], p=[0.8, 0.2])
    return _power_ends(u, rng, order / dim, rng.uniform(0.3, 2.0))


def _lognormal(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Laplacian with lognormal coefficients: the symbol's density convolved with the field's."""
    base = _laplacian(u, rng)
    s = rng.uniform(0.2, 2.0)
    coefficient = np.exp(s * _normal_quantiles(64))
    values = np.outer(base[:: len(u) // 256], coefficient).ravel()
    values.sort()
    return np.interp(u, (np.arange(values.size) + 0.5) / values.size, values)


def _broad(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Eigenvalues spread in the logarithm: frames, graded meshes, badly scaled stiffness."""
    decades = rng.uniform(1.0, 8.0)
    shape = _power_ends(u, rng, np.exp(rng.uniform(-1.2, 1.0)), np.exp(rng.uniform(-1.2, 1.0)))
    return 10.0 ** (decades * (shape - 1))


def _clustered(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Incomplete factorisations and multilevel methods: a cluster at one and a tail to zero."""
    tail = rng.uniform(0.02, 0.6)
    width = rng.uniform(0.02, 0.5)
    low = rng.uniform(0.5, 4.0)
    x = np.where(u < tail, (u / tail) ** low * (1 - width), 0.0)
    inside = (u - tail) / (1 - tail)
    bump = 1 - width + 2 * width * _power_ends(np.clip(inside, 0, 1), rng, 0.7, rng.uniform(0.5, 2.0))
    return np.where(u < tail, x, bump)


def _mixture(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two or three operators side by side at different scales: jumps, coupled physics, circuits."""
    parts = rng.integers(2, 4)
    share = rng.dirichlet(np.full(parts, 1.5))
    values: list[np.ndarray] = []
    mass: list[np.ndarray] = []
    for i in range(parts):
        part = _SIMPLE[rng.integers(len(_SIMPLE))](u, rng)
        values.append(part / part[-1] * 10.0 ** rng.uniform(-4, 0))
        mass.append(np.full(u.size, share[i] / u.size))
    x, w = np.concatenate(values), np.concatenate(mass)
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(w[order]) - w[order] / 2
    return np.interp(u, cumulative, x[order])


def _mass(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mass matrices and implicit time steps: bounded below, sometimes by a graded factor."""
    x = _laplacian(u, rng)
    shift = 10.0 ** rng.uniform(-4.0, 0.0)
    x = x / x[-1] + shift
    if rng.random() < 0.4:
        spread = 10.0 ** (rng.uniform(0.3, 3.0) * _power_ends(np.linspace(0, 1, 64), rng, 1.0, 1.0))
        values = np.sort(np.outer(x[:: len(u) // 256], spread).ravel())
        x = np.interp(u, (np.arange(values.size) + 0.5) / values.size, values)
    return x


def _density(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Any counting function: log count against log lambda, piecewise linear with random slopes.

    Scaled stiffness matrices look like this: nearly all eigenvalues within a decade of the top, and a thin
    tail that thins out slowly over several more.
    """
    decades = rng.uniform(0.7, 8.0)
    pieces = int(rng.integers(2, 6))
    x = -decades * np.concatenate([[0.0], np.cumsum(rng.dirichlet(np.full(pieces, 1.2)))])
    depth = rng.uniform(2.0, 6.0)  # decades of the counting function over the same range
    y = -depth * np.concatenate([[0.0], np.cumsum(rng.dirichlet(np.full(pieces, 0.8)))])
    at = np.interp(np.log10(u), y[::-1], x[::-1])
    below = np.log10(u) < y[-1]  # no more eigenvalues are expected there: a steep continuation
    at = np.where(below, x[-1] + 0.1 * (np.log10(u) - y[-1]), at)
    top = _power_ends(u, rng, 1e-3, rng.uniform(0.3, 1.5))
    return 10.0**at * (0.5 + 0.5 * top)


_SIMPLE = (_laplacian, _lognormal, _broad, _clustered, _mass, _density)
FAMILIES = {
    "laplacian": _laplacian,
    "lognormal": _lognormal,
    "broad": _broad,
    "clustered": _clustered,
    "mixture": _mixture,
    "mass": _mass,
    "density": _density,
}
_SHARE = {
    "laplacian": 0.24,
    "lognormal": 0.16,
    "broad": 0.08,
    "clustered": 0.14,
    "mixture": 0.10,
    "mass": 0.10,
    "density": 0.18,
}


_RATE = {  # how often a spectrum has
    "shift": 0.25,  # a multiple of the identity added
    "levels": 0.8,  # irregular spacing
    "symmetry": 0.15,  # levels in pairs, triples
    "low": 0.3,  # low outliers: nearly floating parts, weak supports
    "high": 0.25,  # high outliers: stiff springs, penalties
    "smooth": 0.15,  # a load that is smoother than noise
    "scaled": 0.45,  # a scaled operator, with unequal weights
}


def _normal_quantiles(k: int) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri((np.arange(k) + 0.5) / k)


def _scaled_share(lam: np.ndarray, multiplicity: np.ndarray, rng: np.random.Generator, factored: float) -> np.ndarray:
    """Share of D^-1/2 b in the eigenvectors of D^-1/2 A D^-1/2, relative to white noise.

    An eigenvector's share is v' D^-1 v: low modes live where D is large (stiff regions, well-connected
    nodes), so that their share drops by up to three decades, in steps as one region follows another. Where
    unknowns of different kind share a matrix (displacements and rotations, say), D spans many decades, and
    the few eigenvectors on the light rows have nearly all of the start. An incomplete factorisation (with
    probability ``factored``) does the opposite: it is smallest on smooth modes, whose share grows.
    """
    if rng.random() < 0.25 * (1 - factored):
        light = np.exp(rng.uniform(np.log(0.01), np.log(0.6))) * (lam / lam[-1]) ** rng.uniform(0.0, 1.0)
        among = rng.binomial(multiplicity.astype(np.int64), light) / multiplicity
        return among + (1 - among) * np.exp(-rng.uniform(1.0, 18.0))
    relative = lam / lam[-1]
    rise = np.ones(lam.size)
    if rng.random() < factored:
        rise = 1 / (np.exp(-rng.uniform(0.0, 3.0)) + relative ** rng.uniform(0.5, 1.5))
        if rng.random() < 0.7:
            return rise
    log = np.log(relative)
    knots = np.sort(rng.uniform(log[0], 0.0, int(rng.integers(2, 5))))
    depth = rng.exponential(1.3)
    drop = -depth * np.sort(rng.random(knots.size))[::-1]
    drop = np.append(drop, rng.normal(0.0, 0.3))
    if rng.random() < 0.15:
        drop = rng.permutation(drop)
    smooth: np.ndarray = np.interp(log, np.append(knots, 0.0), drop)
    spread = rng.uniform(0.0, 1.5 if rng.random() < 0.3 else 0.4)
    noise = spread * rng.standard_normal(lam.size) / np.sqrt(np.minimum(multiplicity, 10))
    return rise * np.exp(smooth + noise)


def sample_spectrum(rng: np.random.Generator, *, family: str | None = None, nodes: int = 512) -> VirtualSpectrum:
    """One random virtual spectrum.

    Parameters
    ----------
    rng : numpy Generator
    family : one of `FAMILIES`; random by default
    nodes : weighted nodes at most

    Notes
    -----
    Cost: about 3 ms.

    References
    ----------
    Courant, Hilbert, Methods of Mathematical Physics I, chapter VI (Weyl's law, for low ends); the other families are
    this package's.

    Examples
    --------
    >>> s = sample_spectrum(np.random.default_rng(0))
    >>> bool(s.lam[0] > 0), float(s.lam[-1])
    (True, 1.0)
    """
    if family is None:
        family = str(rng.choice(list(_SHARE), p=list(_SHARE.values())))
    n = int(np.exp(rng.uniform(np.log(150), np.log(1.5e6))))
    u = (np.arange(_GRID) + 0.5) / _GRID
    # a finer grid near zero and one: quantiles of the extreme eigenvalues of large n
    fine = np.geomspace(0.1 / n, 1.0 / _GRID, 256)
    u = np.unique(np.concatenate([fine, u, 1 - fine]))
    quantile = np.maximum(FAMILIES[family](u, rng), 0.0)
    q, multiplicity = compress_quantiles(u, quantile, n, nodes, int(nodes * 0.4), 24)
    lam = np.interp(q, u, quantile)
    lam = lam / lam[-1]
    lam = lam + 10.0 ** rng.uniform(-12, -1.0) if rng.random() < _RATE["shift"] else lam
    # levels are never perfectly spaced
    if rng.random() < _RATE["levels"]:
        lam = lam * np.exp(rng.uniform(0, 0.3) * rng.standard_normal(lam.size) * min(1.0, 20 / np.sqrt(n)) + 0)
        k = min(40, lam.size // 4)
        lam[:k] *= np.exp(rng.uniform(0, 0.5) * rng.standard_normal(k))
    if rng.random() < _RATE["symmetry"]:
        group = int(rng.integers(2, 5))
        lam = np.repeat(lam[::group], group)[: lam.size]
    lam = np.sort(lam)
    scale = lam[-1]
    if rng.random() < _RATE["low"]:
        k = min(int(np.exp(rng.uniform(0.0, np.log(25.0)))), lam.size // 4)
        together = rng.uniform(0.0, 3.0) if rng.random() < 0.5 else 0.0  # as a group: a gap above them
        lam[:k] *= 10.0 ** (-together - rng.uniform(0.2, 3.0) * rng.random(k))
    if rng.random() < _RATE["high"]:
        k = int(rng.integers(1, 11))
        k = min(k, lam.size // 4)
        lam[-k:] = scale * 10.0 ** (rng.uniform(0.05, 2.0) * rng.random(k))
    lam = np.sort(lam)
    lam = lam / lam[-1]
    # Double precision cannot resolve less; nor would plain or preconditioned CG solve it.
    floor = 10.0 ** rng.uniform(-10.0, -6.0)
    lam = np.maximum(lam, floor * (1 + rng.random()))
    lam = np.sort(lam)
    measure = multiplicity * rng.chisquare(multiplicity) / multiplicity
    if rng.random() < _RATE["smooth"]:
        measure = measure * lam ** (-rng.uniform(0.0, 0.7))
    weight = measure
    incomplete = family == "clustered"
    if rng.random() < (0.85 if incomplete else _RATE["scaled"]):
        weight = measure * _scaled_share(lam, multiplicity, rng, 0.8 if incomplete else 0.15)
    weight = np.maximum(weight * (n / weight.sum()), 1e-290)
    measure = np.maximum(measure * (n / measure.sum()), 1e-290)
    return VirtualSpectrum(lam, weight, measure, n, family)
