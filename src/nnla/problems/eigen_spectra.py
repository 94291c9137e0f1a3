"""Virtual spectra for eigenproblems: what a filter for k extremal eigenvalues must tell apart.

For a spectral filter an operator is its list of eigenvalues, so that training needs no matrices (the paper's
section 4.3). What counts is the wanted end: how the gaps there compare with the whole width, how many values
share a place, how fast the next hundred follow. A large operator is stood for by a few hundred to a few
thousand values: exact ones at both ends, quantiles of its density between, so that the relative gaps are
those of its full size.

`nnla.problems.spectra` makes weighted measures for linear systems, where only ``log lambda`` matters; here
levels are explicit, definite or not, and come in multiplets. No family is fitted to a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError

__all__ = ["EIGEN_FAMILIES", "eigen_spectrum"]


@dataclass(frozen=True)
class _Levels:
    """Which levels of a virtual operator are kept.

    index : (n,) increasing level numbers from 1 on, irregular; u : their quantiles in (0, 1);
    size : the virtual dimension
    """

    index: np.ndarray
    u: np.ndarray
    size: int


def _levels(n: int, rng: np.random.Generator) -> _Levels:
    """All levels of a small operator; of a large one the lowest, the highest, and quantiles between."""
    size = int(np.exp(rng.uniform(np.log(n), np.log(3e6)))) if rng.random() < 0.7 else n
    if size < 2 * n:
        size, index = n, np.arange(1.0, n + 1.0)
    else:
        low, high = n // 2, n // 8
        between = n - low - high
        rise = np.geomspace(low, size / 2, between // 2 + 1)[1:]
        fall = size - np.geomspace(high, size / 2, between - between // 2 + 1)[:0:-1]
        index = np.concatenate([np.arange(1.0, low + 1.0), rise, fall[fall > size / 2]])
        index = np.concatenate([index, size - np.arange(n - index.size)[::-1]])
    kind = rng.random()
    if kind < 0.3:  # no level repulsion: integrable geometries, disconnected parts
        gaps = np.diff(index, prepend=0.0)
        index = np.cumsum(rng.gamma(np.maximum(gaps, 1.0)))  # a sum of so many exponential gaps
        index *= size / index[-1]
    elif kind < 0.8:  # a rigid ladder with some disorder, as generic operators have
        index = np.sort(np.abs(index + rng.uniform(0.05, 0.5) * rng.standard_normal(n)))
    u = np.clip((index - 0.5) / size, 0.02 / size, 1.0 - 0.02 / size)
    return _Levels(np.maximum(index, 1e-3), u, size)


def _ends(u: np.ndarray, low: float, high: float) -> np.ndarray:
    """Quantiles x ~ u^low at the bottom and 1 - x ~ (1 - u)^high at the top, on (0, 1)."""
    return 1.0 - (1.0 - u**low) ** high


def _weyl(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Elliptic operators: lambda_j ~ j^(order / dim) at the bottom, a smooth top."""
    dim = float(rng.choice([1.0, 2.0, 3.0])) if rng.random() < 0.5 else rng.uniform(1.0, 3.0)
    order = 4.0 if rng.random() < 0.15 else 2.0
    return _ends(levels.u, order / dim, rng.uniform(0.4, 1.6))


def _box(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """A box in 1-3 dimensions: exact lattice levels sum (k_i / a_i)^2, multiple where sides are equal."""
    dim = int(rng.integers(1, 4))
    side = np.ones(dim) if rng.random() < 0.4 else np.exp(rng.uniform(-0.7, 0.7, dim))
    first = 0.0 if rng.random() < 0.3 else 1.0  # Neumann: the constant comes along
    many = levels.u.size // 2 if levels.size > levels.u.size else levels.u.size
    reach = int(2.5 * many ** (1.0 / dim) * side.max() / side.min()) + 4
    # enough to hold the lowest `many` levels: a cube of the same volume needs many^(1/dim) a side
    reach = min(reach, {1: 12_000, 2: 400, 3: 60}[dim])
    lattice = np.meshgrid(*[((np.arange(reach) + first) / a) ** 2 for a in side], indexing="ij")
    exact = np.sort(np.sum(lattice, axis=0).ravel())[:many]
    growth = 2.0 / dim
    tail = exact[-1] * (levels.index / levels.index[many - 1]) ** growth
    x = np.concatenate([exact, np.maximum(tail[many:], exact[-1])])
    return x / x[-1] if rng.random() < 0.5 else _saturate(x / x[-1])


def _saturate(x: np.ndarray) -> np.ndarray:
    """The dispersion of finite differences: sin^2 instead of the square of the wave number."""
    return np.sin(0.5 * np.pi * np.sqrt(x)) ** 2


def _mesh(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Finite elements in 2-3 dimensions: uneven coefficients, slivers at the top, kept boundary rows."""
    u = levels.u
    x = _ends(u, 2.0 / rng.uniform(1.8, 3.2), rng.uniform(0.4, 2.0))
    contrast = rng.uniform(0.0, 2.5)
    x = x * np.exp(contrast * (_ends(u, 1.0, rng.uniform(0.5, 2.0)) - 1.0))  # light regions hold the low modes
    if rng.random() < 0.5:
        worst = int(rng.integers(1, max(2, u.size // 20)))
        x[-worst:] *= 1.0 + np.sort(rng.exponential(rng.uniform(0.05, 2.0), worst))
    if rng.random() < 0.3:
        rows = int(rng.integers(1, u.size // 20))
        x[rng.choice(np.arange(u.size // 2, u.size), rows, replace=False)] = rng.uniform(0.05, 0.5) * x[-1]
    return x


def _decay(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """The paper's generator: a blend of flat, exponential and power-law decay with concavity, slow at first.

    The decaying end is the wanted one, so that it is returned with the sign changed. Local irregularity is
    multiplicative; leading gaps are small (appendix C.1 rejects spectra with a large one).
    """
    n = levels.u.size
    t = np.arange(n) / (n - 1.0)
    shares = rng.dirichlet(np.ones(3))
    flat = 1.0 - rng.uniform(0.05, 0.95) * t ** rng.uniform(0.5, 3.0)
    exponential = np.exp(-np.exp(rng.uniform(np.log(0.5), np.log(30.0))) * t)
    power = (1.0 + np.exp(rng.uniform(0.0, 4.0)) * t) ** -rng.uniform(0.3, 3.0)
    x = (shares[0] * flat + shares[1] * exponential + shares[2] * power) ** np.exp(rng.uniform(-0.7, 0.7))
    x = x * np.exp(10.0 ** rng.uniform(-4.0, -1.5) * rng.standard_normal(n))
    if rng.random() < 0.5:
        tail = int(n * rng.uniform(0.05, 0.4))
        x[-tail:] *= np.exp(-rng.uniform(0.0, 6.0) * np.sort(rng.random(tail)))
    x = np.sort(x)[::-1]
    leading = 1.0 - x[1] / x[0]
    limit = 10.0 ** rng.uniform(-4.0, -1.0)
    if leading > limit:  # squeeze the head until the first gap is as small as wanted
        head = np.minimum(np.log(x / x[1]), 0.0)
        x = np.exp(head)
        x[0] = x[1] / (1.0 - limit)
    return -x / x[0]


def _clustered(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Groups at the wanted end: some within rounding of each other, wide gaps between, a bulk above."""
    x = _weyl(levels, rng)
    groups = int(rng.integers(1, 9))
    sizes = rng.integers(1, 9, groups)
    count = min(int(sizes.sum()), x.size // 4)
    step = 10.0 ** rng.uniform(-4.0, -1.0)
    centres = np.cumsum(rng.exponential(step, groups))
    spread = 10.0 ** rng.uniform(-12.0, -2.0, groups) * step
    member = np.repeat(np.arange(groups), sizes)[:count]
    head = centres[member] + spread[member] * rng.standard_normal(count)
    above = head.max() + step * rng.uniform(0.01, 3.0)
    return np.concatenate([head, above + x[: x.size - count]])


def _hamiltonian(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Bound states of a few wells below the levels of an empty box; shells of 2 l + 1, sometimes split."""
    u = levels.u
    x = _ends(u, 2.0 / 3.0, rng.uniform(1.0, 2.2))
    shell = 2 * rng.integers(0, 4, u.size) + 1
    member = np.repeat(np.arange(u.size), shell)[: u.size]
    split = 0.0 if rng.random() < 0.3 else 10.0 ** rng.uniform(-6.0, -0.5)
    continuum = x[member] * (1.0 + split * rng.uniform(-0.5, 0.5, u.size))
    # `member` counts shells, so that the low levels stay apart; the rest of the range is the density's.
    continuum = np.where(np.arange(u.size) < u.size // 4, continuum, x)
    bound = int(np.exp(rng.uniform(0.0, np.log(30.0))))
    depth = 10.0 ** rng.uniform(-2.5, -0.5)
    wells = -depth * np.sort(rng.beta(1.0, rng.uniform(0.5, 3.0), bound))[::-1]
    if rng.random() < 0.5:
        wells = np.repeat(wells, 2 * rng.integers(0, 3, bound) + 1)[:bound]
    return np.concatenate([wells, continuum])[: u.size]


def _graph(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Graph Laplacians: weakly linked communities near zero, a gap, a bulk, hubs far above, leaves at one."""
    n = levels.u.size
    communities = int(rng.integers(1, 40))
    small = 10.0 ** rng.uniform(-6.0, -1.0) * np.sort(rng.random(communities)) ** rng.uniform(0.5, 3.0)
    small[0] = 0.0 if rng.random() < 0.7 else small[0]
    degree = np.exp(rng.uniform(np.log(3.0), np.log(40.0)))
    width = min(0.95, 2.0 / np.sqrt(degree))
    bulk = degree * (1.0 - width + 2.0 * width * _ends(levels.u, 2.0 / 3.0, 2.0 / 3.0))
    if rng.random() < 0.5:
        hubs = int(rng.integers(1, n // 10))
        bulk[-hubs:] *= np.sort((1.0 - rng.random(hubs)) ** (-1.0 / rng.uniform(1.5, 3.5)))
    x = np.concatenate([degree * (1.0 - width) * small, bulk[: n - communities]])
    if rng.random() < 0.3:
        leaves = rng.choice(np.arange(communities, n), int(rng.integers(1, n // 5)), replace=False)
        x[leaves] = 1.0
    return x


def _circuit(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Layers of wires with one conductance each, decades apart; tied supply nodes at the very top."""
    parts = int(rng.integers(2, 6))
    member = np.sort(rng.choice(parts, levels.u.size, p=rng.dirichlet(np.full(parts, 1.5))))
    conductance = 10.0 ** np.cumsum(rng.uniform(0.0, 1.5, parts))
    x = conductance[member] * _ends(levels.u[rng.permutation(levels.u.size)], rng.uniform(0.6, 2.0), 1.0)
    if rng.random() < 0.5:
        tied = int(rng.integers(1, levels.u.size // 20))
        x[-tied:] = conductance[-1] * 10.0 ** rng.uniform(0.5, 2.0) * (1.0 + 0.01 * rng.random(tied))
    return x + (0.0 if rng.random() < 0.5 else 10.0 ** rng.uniform(-4.0, -1.0))


def _frame(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Frames, shells, graded meshes: bending modes j^4 at the bottom, the rest spread in the logarithm."""
    decades = rng.uniform(2.0, 8.0)
    broad = 10.0 ** (decades * (_ends(levels.u, np.exp(rng.uniform(-1.2, 0.5)), np.exp(rng.uniform(-1.2, 0.5))) - 1.0))
    bending = int(rng.integers(0, 30))
    if bending:
        modes = (np.arange(bending) + rng.uniform(0.6, 1.4)) ** rng.choice([2.0, 4.0])
        broad[:bending] = broad[bending] * modes / modes[-1] * rng.uniform(0.3, 1.0)
    return broad


def _edge(levels: _Levels, rng: np.random.Generator) -> np.ndarray:
    """Mass matrices, covariances, random matrices: a bounded density, edges x ~ u^(2/3) or steeper."""
    x = rng.uniform(0.02, 3.0) + _ends(levels.u, rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.4:  # a few factors that stand out of the noise
        spikes = int(rng.integers(1, 25))
        x[:spikes] -= np.sort(rng.exponential(rng.uniform(0.02, 0.5), spikes))[::-1]
    return x


EIGEN_FAMILIES: dict[str, Callable[[_Levels, np.random.Generator], np.ndarray]] = {
    "weyl": _weyl,
    "box": _box,
    "mesh": _mesh,
    "decay": _decay,
    "clustered": _clustered,
    "hamiltonian": _hamiltonian,
    "graph": _graph,
    "circuit": _circuit,
    "frame": _frame,
    "edge": _edge,
}
_SHARE = (0.14, 0.08, 0.16, 0.12, 0.12, 0.14, 0.06, 0.06, 0.06, 0.06)

_MIRROR = 0.2  # how often the other end is the wanted one
_SHIFT = 0.2  # how often the zero lies elsewhere
_TRIES, _AHEAD, _LEAST = 50, 40, 1e-7  # beyond rounding's reach is no use: 40 values within 1e-7 of the width
_PAIRS = 0.12  # how often a symmetry makes every level multiple


def eigen_spectrum(seed: Any, *, family: str | None = None, n: int | None = None) -> np.ndarray:
    """Eigenvalues of one random virtual operator; the wanted ones are the lowest.

    Parameters
    ----------
    seed : int or numpy Generator
        The same seed gives the same spectrum.
    family : str, optional
        One of `EIGEN_FAMILIES`; at random by default.
    n : int, optional
        How many values, 200 to 3000; at random (log-uniform) by default.

    Returns
    -------
    (n,) float array, increasing
        Definite or not, of any scale (six decades). The wanted end is the low one: operators of which the
        highest are wanted are returned with the sign changed, and one in five of the others is turned round.
        Equal values are as many eigenvalues.

    Raises
    ------
    OptionError
        An unknown family or a size out of range.

    Notes
    -----
    Cost: below 1 ms for a few thousand values.

    References
    ----------
    AutoSpec, section 4.3 and appendix C.1, for the family "decay"; the others are this package's.

    Examples
    --------
    >>> w = eigen_spectrum(0)
    >>> bool(200 <= w.size <= 3000), bool((np.diff(w) >= 0).all())
    (True, True)
    """
    rng = np.random.default_rng(seed)
    if n is None:
        n = int(np.exp(rng.uniform(np.log(200), np.log(3001))))
    if not 200 <= n <= 3000:
        raise OptionError(f"an eigen_spectrum has 200 to 3000 values, got n={n}")
    if family is None:
        family = str(rng.choice(list(EIGEN_FAMILIES), p=_SHARE))
    if family not in EIGEN_FAMILIES:
        raise OptionError(f"no family {family!r} of spectra: choose from {', '.join(EIGEN_FAMILIES)}")
    x = np.zeros(n)
    for _ in range(_TRIES):
        x = np.sort(EIGEN_FAMILIES[family](_levels(n, rng), rng))
        if min(x[_AHEAD] - x[0], x[-1] - x[-1 - _AHEAD]) > _LEAST * (x[-1] - x[0]):
            break
    if rng.random() < _PAIRS:
        group = int(rng.integers(2, 5))
        lifted = 0.0 if rng.random() < 0.5 else 10.0 ** rng.uniform(-10.0, -3.0)
        x = np.sort(x[np.arange(n) // group * group] * (1.0 + lifted * rng.standard_normal(n)))
    width = x[-1] - x[0]
    if rng.random() < _MIRROR and family != "decay":
        x = -x[::-1]
    if rng.random() < _SHIFT:
        x = x + width * rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-4.0, 0.0)
    return x * 10.0 ** rng.uniform(-3.0, 3.0)
