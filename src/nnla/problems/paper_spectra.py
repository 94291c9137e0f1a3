"""Random spectra as the AutoSpec paper draws them."""

from __future__ import annotations

import numpy as np

__all__ = ["paper_spectra"]


def paper_spectra(
    count: int, seed: int, *, n: tuple[int, int] = (50, 1000), condition: tuple[float, float] = (1e2, 1e5)
) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic spectra as in Appendix C.1: blended decay profiles with concavity, noise and a rough tail.

    Parameters
    ----------
    count : number of spectra
    seed : everything is a function of the arguments
    n : smallest and largest matrix dimension
    condition : smallest and largest condition number, log-uniform in between

    Returns
    -------
    lam : (count, n[1]) increasing, largest 1. Rows are padded with their largest eigenvalue, which no
        minimum or maximum over the spectrum sees.
    size : (count,) eigenvalues of each spectrum; they come first in the row.

    Notes
    -----
    Cost: some 0.2 ms a spectrum.

    The paper names the ingredients and not the formulas. Shape parameters come from one rotated
    Sobol sequence: dimension, condition, three blend weights, two decay rates, concavity, the mix of
    linear and logarithmic scale, noise and tail.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix C.1.
    """
    from scipy.stats import qmc

    sobol = qmc.Sobol(11, scramble=False)
    shapes = sobol.random_base2(max(1, int(np.ceil(np.log2(max(count, 2))))))[:count]
    # A random rotation of the sequence (Cranley-Patterson): seeded alike in every version of SciPy.
    shapes = (shapes + np.random.default_rng([seed, 0]).random(11)) % 1.0
    rng = np.random.default_rng([seed, 1])
    lam = np.ones((count, n[1]))
    size = np.empty(count, dtype=np.int64)
    for i, s in enumerate(shapes):
        size[i] = min(int(np.exp(np.log(n[0]) + s[0] * np.log((n[1] + 1) / n[0]))), n[1])
        kappa = np.exp(np.log(condition[0]) + s[1] * np.log(condition[1] / condition[0]))
        lam[i, : size[i]] = _one_spectrum(int(size[i]), float(kappa), s[2:], rng)
    return lam, size


def _one_spectrum(n: int, kappa: float, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """n increasing eigenvalues in [1 / kappa, 1], both ends taken."""
    u = np.linspace(0.0, 1.0, n) ** (4.0 ** (2 * s[5] - 1))  # concavity
    flat = 1 - u**8
    exponential = np.exp(-(1 + 9 * s[3]) * u)
    power = (1 + 30 * u) ** -(0.3 + 2 * s[4])
    blend = -np.log(np.clip(s[:3], 1e-6, 1 - 1e-6))  # uniform on the simplex
    profile = 0.0
    for weight, part in zip(blend / blend.sum(), (flat, exponential, power), strict=True):
        profile = profile + weight * (part - part[-1]) / (part[0] - part[-1])
    linear = np.log(1 / kappa + (1 - 1 / kappa) * profile)
    log = s[6] * linear - (1 - s[6]) * np.log(kappa) * (1 - profile)
    log = log + 0.1 * s[7] * rng.standard_normal(n)  # mild irregularity everywhere
    tail = rng.integers(1, max(2, n // 20) + 1)
    log[-tail:] += s[8] * rng.standard_normal(tail)  # a rougher one at the small end
    log = np.sort(log)
    log = (log - log[-1]) * np.log(kappa) / (log[-1] - log[0])  # noise must not change the condition number
    return np.exp(log)
