"""The shipped engines for filters and functions on problems that no training has drawn, against fixed choices."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.functions.design import design_function
from nnla.functions.polynomials import RULE_MARGINS, adapted, interpolant, neumann_series, zones_of
from nnla.functions.scalars import FUNCTIONS
from nnla.models.autospec_eig import AutoSpecEigEngine, strength_grid
from nnla.models.autospec_fun import FunctionEngine
from nnla.models.engine_base import ensemble
from nnla.problems.covariances import sample_covariance
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.autospec_cg import interpolated_regret
from nnla.training.autospec_eig import eig_examples
from nnla.training.autospec_fun import candidate_errors, whitening_error
from nnla.types import SpectralProbe

__all__ = ["cuts_held_out", "margins_held_out"]

_SEED = 987_654  # no training takes it
_CHUNK = 64
_FLOOR = 1e-12
_DEGREE, _STEPS = 21, 50


def cuts_held_out(engine: AutoSpecEigEngine, count: int = 256, *, seed: int = 0) -> dict[str, Any]:
    """Cuts of Chebyshev filters: steps of filtered Lanczos over those of the best candidate, on virtual spectra.

    Parameters
    ----------
    engine : trained engine
    count : spectra, in chunks of 64
    seed : of the spectra

    Returns
    -------
    dict
        JSON-able. "count": windows with a filter among them; "steps_over_best": choice -> geometric mean, 90th
        percentile, and the share that takes twice as long or longer; beyond twice, all count as twice

    Notes
    -----
    Cost: that of the training examples: every candidate's filtered Lanczos run on each virtual spectrum.
    """
    config, grid = engine.config, strength_grid(engine.config)
    chunks = [eig_examples(_SEED + seed, i, _CHUNK, config) for i in range(-(-count // _CHUNK))]
    data = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    filters = data["degree"] > 1
    x, curves = data["features"][filters].astype(np.float64), data["curve"][filters]
    out = ensemble(engine.parameters, x).mean(axis=0)
    regrets = {"autospec": [interpolated_regret(p, c) for p, c in zip(out[:, :-1], curves, strict=True)]}
    # what a fixed strength would do, and the cut at the Ritz value of place 1.5 k + 1, read off the features
    for value in (0.3, 1.0, 3.0, 10.0):
        place = float(np.interp(np.log(value), np.log(grid), np.arange(grid.size)))
        regrets[f"strength {value:g}"] = [_above_best(place, c) for c in curves]
    depth = np.exp(x[:, 6])  # of the Ritz value at 1.5 k, in the units of strengths
    places = np.interp(np.log(np.clip(depth, grid[0], grid[-1])), np.log(grid), np.arange(grid.size))
    regrets["cut at Ritz value 1.5 k"] = [_above_best(p, c) for p, c in zip(places, curves, strict=True)]
    return {
        "count": int(filters.sum()),
        "steps_over_best": {
            name: {
                "geometric_mean": float(np.exp(np.mean(r))),
                "p90": float(np.exp(np.quantile(r, 0.9))),
                "twice_or_worse": float(np.mean(np.array(r) > 0.65)),
            }
            for name, r in regrets.items()
        },
    }


def _above_best(place: float, curve: np.ndarray) -> float:
    return float(np.interp(place, np.arange(curve.size), curve) - curve.min())


def margins_held_out(engine: FunctionEngine, count: int = 400, *, seed: int = 0) -> dict[str, Any]:
    """Whitening errors of the polynomials that `nnla.matrix_function` would emit, guard included, degree 21.

    Parameters
    ----------
    engine : trained engine
    count : spectra of covariance matrices
    seed : of the spectra

    Returns
    -------
    dict
        JSON-able. "against": choice -> geometric mean and worst of the ratio of errors, and how often the engine's is
        smaller or larger

    Notes
    -----
    Cost: a fit of some milliseconds for each candidate and spectrum.

    References
    ----------
    The measure is the whitening error of AutoSpec (arXiv:2602.09530), section 5.4.
    """
    f, rng = FUNCTIONS["inv_sqrt"], np.random.default_rng(_SEED + seed)
    rows: list[list[float]] = []
    fallbacks, outside = 0, 0
    names = ("autospec", "best candidate", "margins by rule", "chebyshev", "neumann")
    while len(rows) < count:
        spectrum = sample_covariance(rng)
        alpha, beta = simulate_lanczos(spectrum.lam, spectrum.weight, min(_STEPS, spectrum.n))
        probe = SpectralProbe(alpha, beta, spectrum.n)
        if not probe.definite or probe.steps < 4:
            continue
        lam, b = spectrum.lam, probe.upper_bound
        classical = whitening_error(interpolant(f, probe.lambda_min, b, _DEGREE), lam)
        if classical < _FLOOR:
            continue
        design = design_function(probe, f, method="autospec", rtol=1e-6, degree=_DEGREE, engine=engine)
        fallbacks += design.method != "autospec"
        outside += not engine.margins(probe, degree=_DEGREE).inside
        careful = design_function(probe, f, method="chebyshev", rtol=1e-6, degree=_DEGREE).recurrence
        by_rule = adapted(f, zones_of(probe, f, RULE_MARGINS), _DEGREE, RULE_MARGINS.gap)
        errors = (
            whitening_error(design.recurrence, lam),
            float(candidate_errors(probe, lam, _DEGREE).min()),
            whitening_error(by_rule, lam),
            min(classical, whitening_error(careful, lam)),
            whitening_error(neumann_series(f, b, b, _DEGREE), lam),
        )
        rows.append([max(value, _FLOOR) for value in errors])
    table = np.array(rows)
    against = {}
    for j, name in enumerate(names[1:], start=1):
        ratio = table[:, 0] / table[:, j]
        against[name] = {
            "geometric_mean": float(np.exp(np.log(ratio).mean())),
            "worst": float(ratio.max()),
            "smaller": float((ratio < 0.999).mean()),
            "larger": float((ratio > 1.001).mean()),
        }
    return {
        "degree": _DEGREE,
        "probe_steps": _STEPS,
        "count": count,
        "fallbacks": int(fallbacks),
        "outside_envelope": int(outside),
        "against": against,
    }
