"""The classical opponents that read the same probe: the rule, and simulation on the density of states."""

from __future__ import annotations

import numpy as np

from nnla.spectra.density import curve_minimum, density_nodes
from nnla.spectra.simulated_cg import simulate_curve
from nnla.types import SpectralProbe

__all__ = ["dos_interval", "rule_interval"]


def rule_interval(probe: SpectralProbe, degree: int) -> tuple[float, float]:
    """The rule of thumb: a = 0.18 b / m^2, or 2.3 theta_min where that is larger.

    A constant fraction of b for ill-conditioned operators, a little above the smallest eigenvalue for
    well-conditioned ones; no training, no simulation.

    Cost: none beside the probe's own eigenproblem.
    """
    b = probe.upper_bound
    a = max(0.18 * b / (degree + 1) ** 2, 2.3 * probe.lambda_min)
    return min(a, 0.6 * b), b


def dos_interval(probe: SpectralProbe, degree: int, rtol: float = 1e-8) -> tuple[float, float, float]:
    """Simulate CG on the probed density of states for 28 candidates of a, take the best.

    Returns
    -------
    a, b, predicted outer iterations

    Notes
    -----
    Cost: 3-15 ms, no products. An excellent opponent of the learned engine where the probe resolves the
    low end, and blind where it does not.

    References
    ----------
    Lin, Saad, Yang, Approximating spectral densities of large matrices, SIAM Rev. 58 (2016) 34-65; the simulation:
    Greenbaum, Strakos, SIAM J. Matrix Anal. Appl. 13 (1992) 121-137.
    """
    m, b = degree + 1, probe.upper_bound
    lam, weight = density_nodes(probe)
    ratios = np.minimum(np.geomspace(2e-3, 60.0, 28) / m**2, 0.6)
    counts = simulate_curve(lam, weight, ratios, m, (max(rtol, 1e-13),), maxiter=300)[:, 0]
    if not np.isfinite(counts).all():
        a_rule, _ = rule_interval(probe, degree)
        return a_rule, b, float("inf")
    position = curve_minimum(np.log(counts))
    ratio = float(np.exp(np.interp(position, np.arange(ratios.size), np.log(ratios))))
    return ratio * b, b, float(counts.min())
