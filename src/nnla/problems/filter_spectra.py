"""Spectra for filters: descending, in [0, 1], with a wanted top whose levels lie close together.

A sample is a few hundred nodes that stand for up to a million eigenvalues: the top ones single, the others grouped
with multiplicities. Training of the eigenproblem engine draws from here, and so do its tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnla.problems.spectra import sample_spectrum

__all__ = ["FilterSpectra", "filter_spectra"]


@dataclass(frozen=True)
class FilterSpectra:
    """Many spectra with a cut for each.

    Attributes
    ----------
    x : (count, nodes) descending, x[:, 0] = 1, padded with the smallest value
    multiplicity : (count, nodes) eigenvalues per node, 1 for the top ones, 0 where padded
    k, cut : (count,) wanted eigenvalues, and the paper's l, dimension of the search space, k < l
    """

    x: np.ndarray
    multiplicity: np.ndarray
    k: np.ndarray
    cut: np.ndarray


def filter_spectra(
    count: int,
    seed: int,
    *,
    nodes: int = 256,
    subspace: tuple[int, int] = (20, 100),
    wanted: tuple[int, int] = (2, 40),
    gap: tuple[float, float] = (5e-5, 0.6),
) -> FilterSpectra:
    """Random spectra for eigenproblems, as Appendix C.1 makes them and as Weyl's law does.

    Half are the paper's blended decay profiles; half the low end of the virtual spectra of
    `nnla.problems.spectra`, turned over: x = 1 - lam / lam_max, the smallest eigenvalues of an elliptic operator, a
    graph or a factored matrix. Those whose top is separated too far, so that filters are of no use, are
    rejected, and so are cuts that fall into a multiple eigenvalue (``gap``).

    Parameters
    ----------
    count, seed : everything is a function of the arguments
    nodes : nodes per spectrum
    subspace, wanted : ranges of cut and k; both log-uniform, with k at most cut / 1.5
    gap : range of (x_k - x_l) / x_k

    Notes
    -----
    Cost: some 4 ms a spectrum.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix C.1, for one half; the other is this package's.
    """
    rng = np.random.default_rng([seed, 5])
    single = nodes // 2
    if subspace[1] > single:
        raise ValueError(f"subspaces of up to {subspace[1]} need at least {2 * subspace[1]} nodes")
    out = FilterSpectra(
        np.zeros((count, nodes)), np.zeros((count, nodes)), np.zeros(count, np.int64), np.zeros(count, np.int64)
    )
    i = 0
    while i < count:
        x, multiplicity = _profile(rng, nodes, single) if rng.random() < 0.5 else _turned(rng, nodes)
        if x.size < subspace[1] or not x[0] - x[1] <= 0.05:
            continue
        size = int(math.exp(rng.uniform(math.log(subspace[0]), math.log(subspace[1] + 1))))
        most = min(wanted[1], int(size / 1.5))
        k = int(math.exp(rng.uniform(math.log(wanted[0]), math.log(most + 1))))
        if not gap[0] <= 1 - x[size - 1] / x[k - 1] <= gap[1]:
            continue
        out.x[i] = np.pad(x, (0, nodes - x.size), mode="edge")
        out.multiplicity[i, : x.size] = multiplicity
        out.k[i], out.cut[i] = k, size
        i += 1
    return out


def _profile(rng: np.random.Generator, nodes: int, single: int) -> tuple[np.ndarray, np.ndarray]:
    """Blend of a flat, an exponential and a power-law decay, made concave so that the top decays slowly."""
    n = int(math.exp(rng.uniform(math.log(1.2 * nodes), math.log(1e5))))
    index = np.unique(np.concatenate([np.arange(single), np.geomspace(single, n - 1, nodes - single)]).astype(np.int64))
    u = (index / (n - 1.0)) ** math.exp(rng.uniform(-0.3, 1.2))
    blend = rng.dirichlet(np.ones(3))
    parts = (1 - u**8, np.exp(-(1 + 9 * rng.random()) * u), (1 + 30 * u) ** -(0.3 + 2 * rng.random()))
    x = sum(w * (part - part[-1]) / (part[0] - part[-1]) for w, part in zip(blend, parts, strict=True))
    floor = 10.0 ** rng.uniform(-4, -1)
    x = floor + (1 - floor) * np.asarray(x)
    x = 1 - (1 - x) * np.exp(0.3 * rng.random() * rng.standard_normal(x.size))  # irregular levels at either end
    x = np.sort(np.clip(x, 0.0, 1.0))[::-1] * (1 + 0.0)
    return x / x[0], np.diff(np.append(index, n)).astype(np.float64)


def _turned(rng: np.random.Generator, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    spectrum = sample_spectrum(rng, nodes=int(nodes * 0.95))
    lam = spectrum.lam
    x = (lam[-1] - lam) / (lam[-1] - lam[0]) if lam[0] < lam[-1] else np.zeros_like(lam)
    x, index = x[:nodes], np.arange(lam.size)[:nodes]
    # only the start of the Krylov space uses the multiplicities: the exact grouping does not matter
    weight = np.where(index < 0.4 * nodes, 1.0, np.maximum(spectrum.n / lam.size, 1.0))
    return x, weight[: x.size]
