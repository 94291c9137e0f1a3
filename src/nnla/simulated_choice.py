"""The classical opponents that read the same probe: the rule, and simulation on the density of states."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from nnla.simulation import candidate_residuals, simulate_outer_iterations
from nnla.types import SpectralProbe

__all__ = ["density_nodes", "dos_interval", "rule_interval"]


def rule_interval(probe: SpectralProbe, degree: int) -> tuple[float, float]:
    """The rule of thumb: a = 0.18 b / m^2, or 2.3 theta_min where that is larger.

    A constant fraction of b for ill-conditioned operators, a little above the smallest eigenvalue for
    well-conditioned ones; no training, no simulation.
    """
    b = probe.upper_bound
    a = max(0.18 * b / (degree + 1) ** 2, 2.3 * probe.lambda_min)
    return min(a, 0.6 * b), b


def density_nodes(probe: SpectralProbe, nodes: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a density of states that has the probe's Gauss rule.

    The distribution function is known between Ritz values only to the weights on either side; it is
    interpolated through the mid-weights, monotone, against the logarithm of lambda.
    """
    theta, weight = probe.ritz_values, probe.ritz_weights
    keep = theta > 1e-14 * theta[-1]
    log_theta, weight = np.log(theta[keep]), weight[keep] / weight[keep].sum()
    distinct = np.concatenate([[True], np.diff(log_theta) > 1e-9])  # copies of converged values
    groups = np.cumsum(distinct) - 1
    weight = np.bincount(groups, weights=weight)
    log_theta = log_theta[distinct]
    if log_theta.size < 3:
        return np.exp(log_theta), weight
    cumulative = np.cumsum(weight) - weight / 2
    # the smallest Ritz value overestimates the smallest eigenvalue: extend by its residual's reach
    low = log_theta[0] + np.log1p(-min(0.9, probe.ritz_residuals[keep][0] / np.exp(log_theta[0])))
    x = np.concatenate([[min(low, log_theta[0] - 1e-6)], log_theta, [np.log(probe.upper_bound) + 1e-6]])
    y = np.concatenate([[0.0], cumulative, [1.0]])
    distribution = PchipInterpolator(x, y)
    edges = np.unique(np.concatenate([np.linspace(x[0], x[-1], nodes // 2), np.interp(np.linspace(0, 1, nodes // 2), y, x)]))
    mass = np.diff(distribution(edges))
    middle = np.exp((edges[1:] + edges[:-1]) / 2)
    used = mass > 0
    return middle[used], mass[used]


def dos_interval(probe: SpectralProbe, degree: int, rtol: float = 1e-8) -> tuple[float, float, float]:
    """Simulate CG on the probed density of states for 40 candidates of a, take the best.

    Returns
    -------
    a, b, predicted outer iterations

    Notes
    -----
    Cost: 5-50 ms, no products. An excellent opponent of the learned engine where the probe resolves the
    low end, and blind where it does not.
    """
    m, b = degree + 1, probe.upper_bound
    lam, weight = density_nodes(probe)
    a = np.minimum(np.geomspace(1e-3, 100.0, 40) / m**2, 0.6) * b
    mu = 1 - candidate_residuals(lam, a, b, m)
    counts = simulate_outer_iterations(lam, weight, mu, (max(rtol, 1e-13),), maxiter=300, patience=1.5)[:, 0]
    if not np.isfinite(counts).any():
        a_rule, _ = rule_interval(probe, degree)
        return a_rule, b, float("inf")
    best = int(np.argmin(counts))
    return float(a[best]), b, float(counts[best])
