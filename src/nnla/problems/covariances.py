"""Spectra of covariance and Gram matrices with a ridge: what whitening meets.

Formulas only: a bulk of noise (Marchenko-Pastur), signals above it, nearly dependent or centred samples at the ridge,
kernels whose eigenvalues decay. None is fitted to data of anyone's.
"""

from __future__ import annotations

import numpy as np

from nnla.problems.spectra import VirtualSpectrum, sample_spectrum
from nnla.spectra.simulated_cg import compress_quantiles

__all__ = ["sample_covariance"]


def _bulk(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Quantiles of the Marchenko-Pastur law for a random aspect ratio."""
    root = np.sqrt(rng.uniform(0.003, 0.9))
    a, b = (1 - root) ** 2, (1 + root) ** 2
    x = (a + b) / 2 - (b - a) / 2 * np.cos(np.linspace(0, np.pi, 2049))
    density = np.sqrt(np.maximum((x - a) * (b - x), 0)) / x
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    return np.interp(u, cumulative / cumulative[-1], x)


def _decay(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Kernel matrices: eigenvalues that fall like a power of their number, from a few large ones."""
    power = rng.uniform(0.3, 2.5)
    return (1.0 - u + 10.0 ** rng.uniform(-3.5, -1.0)) ** (-power)


def sample_covariance(rng: np.random.Generator, *, nodes: int = 300) -> VirtualSpectrum:
    """One random spectrum of a covariance matrix with a ridge, or of an operator of `sample_spectrum` with one.

    Parameters
    ----------
    rng : numpy Generator
    nodes : weighted nodes at most

    Notes
    -----
    Cost: about 1 ms.

    References
    ----------
    Marchenko, Pastur, Distribution of eigenvalues for some sets of random matrices, Math. USSR-Sbornik 1 (1967) 457-483
    (the bulk of noise).

    Examples
    --------
    >>> s = sample_covariance(np.random.default_rng(0))
    >>> bool(s.lam[0] > 0), float(s.lam[-1])
    (True, 1.0)
    """
    if rng.random() < 0.35:
        other = sample_spectrum(rng, nodes=nodes)
        lam = other.lam + 10.0 ** rng.uniform(-4.0, -0.5)
        return VirtualSpectrum(lam / lam[-1], other.measure, other.measure, other.n, other.family)
    n = int(np.exp(rng.uniform(np.log(60), np.log(1e5))))
    u = (np.arange(4096) + 0.5) / 4096
    fine = np.geomspace(0.1 / n, 1.0 / 4096, 64)
    u = np.unique(np.concatenate([fine, u, 1 - fine]))
    kind = "bulk" if rng.random() < 0.7 else "decay"
    quantile = _bulk(u, rng) if kind == "bulk" else _decay(u, rng)
    q, multiplicity = compress_quantiles(u, quantile, n, nodes, nodes // 4, nodes // 4)
    lam = np.interp(q, u, quantile)
    top = lam[-1]
    if rng.random() < 0.75:  # signals: a mean that was not taken off, components, batches
        k = min(int(np.exp(rng.uniform(0.0, np.log(20.0)))), lam.size // 4)
        lam[-k:] = top * (1.0 + 10.0 ** rng.uniform(-1.0, rng.uniform(-0.5, 2.0), k))
    if rng.random() < 0.5:  # a centred sample, copies, nearly dependent pieces: at the ridge or just above
        k = min(int(np.exp(rng.uniform(0.0, np.log(12.0)))), lam.size // 4)
        spread = rng.random(k) if rng.random() < 0.5 else np.zeros(k)
        lam[:k] = lam[0] * 10.0 ** (-3.0 * spread) * (spread > 0)
    lam = np.sort(lam) / lam.max()
    if rng.random() < 0.7:
        lam = lam + 10.0 ** rng.uniform(-7.0, -1.0)
    lam = np.maximum(lam, 1e-9)
    weight = multiplicity * rng.chisquare(multiplicity) / multiplicity
    weight = np.maximum(weight * (n / weight.sum()), 1e-290)
    return VirtualSpectrum(np.sort(lam) / lam.max(), weight, weight, n, kind)
