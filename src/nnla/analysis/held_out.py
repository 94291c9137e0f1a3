"""The paper's engines for filters and inverse square roots on spectra that no training has drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnla.analysis.improvement import gap_improvement, inverse_root_improvement
from nnla.eigen.filters import filter_quality
from nnla.polynomials.recurrence import Recurrence
from nnla.problems.filter_spectra import filter_spectra
from nnla.spectra.simulated_eigensolvers import subspace_probe, thick_restart_probe

__all__ = ["filters_held_out", "roots_held_out"]

_HELD_OUT = 20_261_121


def filters_held_out(engine: Any, count: int = 500, *, seed: int = 0) -> dict[str, Any]:
    """Filters on spectra with Ritz values of varying quality.

    Parameters
    ----------
    engine : `nnla.models.autospec_eig_paper.EigPaperEngine`
    count : spectra; half are probed by thick-restart Lanczos, half by subspace iteration
    seed : of the spectra

    Returns
    -------
    dict
        JSON-able: method -> geometric mean and worst of `gap_improvement` (1 is the power method of equal degree), and
        the share at or below 1. "chebyshev 1.5k" and "chebyshev l / 2" have their cut at those Ritz values, with the
        residual as margin; "chebyshev known" at the true l-th eigenvalue. "engine, guarded" falls back to "chebyshev
        l / 2" where `filter_quality` at that cut is less than half, in the logarithm, of what the fallback has.

    Notes
    -----
    Cost: a simulated eigensolver for each spectrum on some hundred nodes; no training, no matrices.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (14) and (15), Figure 11.
    """
    s = filter_spectra(count, _HELD_OUT + seed, gap=(2e-4, 0.6))
    degree = engine.config.degree
    methods = ("engine", "engine, guarded", "chebyshev 1.5k", "chebyshev l / 2", "chebyshev known")
    found: dict[str, list[float]] = {method: [] for method in methods}
    for i in range(count):
        used = s.multiplicity[i] > 0
        x, multiplicity, k, size = s.x[i, used], s.multiplicity[i, used], int(s.k[i]), int(s.cut[i])
        rng = np.random.default_rng([_HELD_OUT, seed, i])
        if i % 2:
            values, residuals = subspace_probe(x, size, int(math.exp(rng.uniform(0, 6))), rng)[0]
        else:
            start = np.sqrt(multiplicity * rng.chisquare(multiplicity) / multiplicity)
            keep = k + max(1, (size - k) // 3)
            values, residuals = thick_restart_probe(x, start, size, min(keep, size - 2), int(rng.integers(2, 24)), rng)[
                0
            ]
        P = {"engine": engine.recurrence(values, residuals, k)}
        for name, cut in (("chebyshev 1.5k", math.ceil(1.5 * k)), ("chebyshev l / 2", max(size // 2, k + 1))):
            cut = min(cut, size - 1)
            P[name] = _chebyshev(min(values[cut] + residuals[cut], values[k]), degree)
        known = "chebyshev l / 2"
        half = {name: filter_quality(P[name], values, residuals, k, cut=size // 2) for name in ("engine", known)}
        P["engine, guarded"] = P["engine" if half["engine"] > half[known] ** 0.5 else known]
        P["chebyshev known"] = _chebyshev(float(x[size - 1]), degree)
        for name, recurrence in P.items():
            found[name].append(gap_improvement(recurrence, x, k, size))
    return {"count": count, "improvement": {name: _figures(v) for name, v in found.items()}}


def roots_held_out(engine: Any, count: int = 500, *, seed: int = 0, steps: int = 50) -> dict[str, Any]:
    """Polynomials for the inverse square root on spectra probed by Lanczos.

    Parameters
    ----------
    engine : `nnla.models.autospec_funm_paper.FunmPaperEngine`
    count, seed : of the spectra, with condition numbers from 2 to 1000
    steps : of the probe

    Returns
    -------
    dict
        JSON-able: method -> geometric mean and worst of `inverse_root_improvement` (1 is the Taylor series of equal
        degree), and the share at or below 1; "chebyshev" interpolates on the probed interval.

    Notes
    -----
    Cost: a simulated Lanczos run for each spectrum; no matrices.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (23) and (24), Figure 14.
    """
    from nnla.problems.paper_spectra import paper_spectra
    from nnla.spectra.simulated_cg import simulate_lanczos
    from nnla.types import SpectralProbe

    lam, size = paper_spectra(count, _HELD_OUT + seed, n=(50, 400), condition=(2.0, 1e3))
    degree = engine.config.degree
    found: dict[str, list[float]] = {"engine": [], "chebyshev": []}
    for i in range(count):
        x = lam[i, : size[i]]
        weight = np.random.default_rng([_HELD_OUT, seed, i]).chisquare(1, size=x.size) + 1e-12
        probe = SpectralProbe(*simulate_lanczos(x, weight, steps), x.size)
        interpolant = Recurrence.from_function(lambda t: t**-0.5, probe.lambda_min, probe.upper_bound, degree)
        found["engine"].append(inverse_root_improvement(engine.recurrence(probe), x))
        found["chebyshev"].append(inverse_root_improvement(interpolant, x))
    return {"count": count, "improvement": {name: _figures(v) for name, v in found.items()}}


def _figures(values: Sequence[float]) -> dict[str, float]:
    v = np.array(values)
    mean = float(np.exp(np.log(np.maximum(v, 0.1)).mean()))
    return {"geometric_mean": mean, "worst": float(v.min()), "not_better": float(np.mean(v <= 1))}


def _chebyshev(cut: float, degree: int) -> Recurrence:
    return Recurrence.from_chebyshev(np.eye(degree + 1)[degree], 0.0, max(float(cut), 1e-6))
