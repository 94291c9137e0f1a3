"""The density of states that a probe makes likely."""

from __future__ import annotations

import numpy as np

from nnla.spectra.simulated_cg import compress_quantiles
from nnla.types import SpectralProbe

__all__ = ["curve_minimum", "density_nodes"]


_SLOPE = 1.5  # below the smallest Ritz value the count grows like lambda^1.5: Weyl's law in three dimensions


def density_nodes(probe: SpectralProbe, nodes: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The n eigenvalues that a probe makes likely, grouped into weighted nodes.

    Parameters
    ----------
    probe : SpectralProbe
    nodes : groups to aim at; 40 % of them are single eigenvalues at the low end

    Returns
    -------
    lam : (K,) increasing, relative to ``probe.upper_bound``
    weight : (K,) squared components of the right-hand side, summing to about n

    Notes
    -----
    Cost: the probe's own eigenproblem, then interpolation: below 1 ms for 400 nodes. No products.

    Two distribution functions are interpolated between the Ritz values, both in logarithms: the weight of
    the right-hand side, which the Gauss rule gives, and the number of eigenvalues. That number is taken to
    be n times the weight, but never less than the number of Ritz values: after scaling, low modes often
    carry a hundredth of their share of the right-hand side. Ritz values at the low end that have converged are
    taken as they are.

    References
    ----------
    Lin, Saad, Yang, Approximating spectral densities of large matrices, SIAM Rev. 58 (2016) 34-65. Golub, Meurant,
    Matrices, Moments and Quadrature with Applications (2010), chapter 6.
    """
    theta, weight, residual = probe.ritz_values, probe.ritz_weights, probe.ritz_residuals
    n, b = probe.n, probe.upper_bound
    keep = theta > 1e-14 * b
    weight = np.maximum(weight[keep], 1e-300)  # all of it may be on values too small to keep
    x, weight, residual = np.log(theta[keep] / b), weight / weight.sum(), residual[keep] / b
    distinct = np.append(True, np.diff(x) > 1e-7)  # copies of converged values are one eigenvalue
    weight = np.bincount(np.cumsum(distinct) - 1, weights=weight)
    x, residual = x[distinct], residual[distinct]
    certain = _converged(np.exp(x), residual)
    certain = min(certain, int(0.4 * nodes), n - 1)
    seen = weight[:certain].sum()
    cumulative = np.cumsum(weight) - weight / 2
    index = (np.arange(x.size) + 0.5) / n
    rest = certain / n + (cumulative - seen) * (1 - certain / n) / max(1 - seen, 1e-300)
    count = np.log(np.clip(np.where(np.arange(x.size) < certain, index, np.maximum(rest, index)), 1e-16, 1 - 1e-12))
    share = np.log(np.clip(cumulative, 1e-16, 1 - 1e-12))
    gap = count[0] - np.log(0.4 / n)
    if gap > 0.3:  # eigenvalues below the smallest Ritz value
        x, count, share = (np.append(v[0] - d, v) for v, d in ((x, gap / _SLOPE), (count, gap), (share, gap)))
    x, count, share = np.append(x, 0.0), np.append(count, 0.0), np.append(share, 0.0)
    rising = 1e-12 * np.arange(x.size)
    count, share = np.maximum.accumulate(count) + rising, np.maximum.accumulate(share) + rising
    u = _quantile_grid(n)
    log_lam = np.interp(np.log(u), count, x)
    middle, multiplicity = compress_quantiles(u, np.exp(log_lam), n, nodes, int(0.4 * nodes), min(12, nodes // 8))
    lam = np.exp(np.interp(np.log(middle), np.log(u), log_lam))
    edges = np.interp(np.log(np.cumsum(multiplicity) / n), count, x)
    mass = np.exp(np.interp(edges, x, share))
    mass[-1] = 1.0
    mass = np.diff(mass, prepend=0.0)
    if certain:
        mass[:certain] = weight[:certain]
        mass[certain:] *= max(1 - seen, 1e-12) / max(mass[certain:].sum(), 1e-300)
    return lam, np.maximum(mass, 1e-12) * n


def _converged(theta: np.ndarray, residual: np.ndarray) -> int:
    """How many of the smallest Ritz values are eigenvalues, with nothing in between."""
    gap = np.diff(theta, append=np.inf)
    open_ = np.flatnonzero(residual > 0.1 * np.minimum(gap, theta))
    return int(open_[0]) if open_.size else theta.size


def _quantile_grid(n: int) -> np.ndarray:
    """Quantiles in (0, 1): all n of them, or a thousand and finer ones at both ends."""
    if n <= 2048:
        return (np.arange(n) + 0.5) / n
    ends = np.geomspace(0.1 / n, 1 / 1024, 256)
    return np.unique(np.concatenate([ends, (np.arange(1024) + 0.5) / 1024, 1 - ends]))


def curve_minimum(curve: np.ndarray) -> float:
    """Fractional index of the minimum of a sampled curve, by a parabola through its three lowest points."""
    j = int(np.argmin(curve))
    if 0 < j < curve.size - 1:
        left, centre, right = curve[j - 1], curve[j], curve[j + 1]
        bend = left - 2 * centre + right
        if bend > 1e-12:
            return j + float(np.clip(0.5 * (left - right) / bend, -1.0, 1.0))
    return float(j)
