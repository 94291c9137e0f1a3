"""Engine B: roots of the polynomial on outlying eigenvalues, where the spectrum has a heavy upper tail.

Engine A (`nnla.models.autospec`) says which Chebyshev interval [a, b] is best. Where a few eigenvalues lie far above
the others, that interval is mostly empty. Candidates here put j roots of the residual polynomial on the j largest
eigenvalues, which a probe knows exactly, and let it equioscillate on [a', f], f the next one
(`nnla.polynomials.outlier_roots`). A formula says what each gains, a small network corrects it and chooses the
offset of a', and a simulation on the probed density of states has the last word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.autospec import DEGREES
from nnla.models.engine_base import EngineBase, ensemble, ensemble_shapes, whole
from nnla.polynomials.outlier_roots import (
    SpectralTail,
    check_with_tail,
    equiripple_roots,
    residual_at,
    spectral_tail,
    steepness,
    tail_polynomial,
)
from nnla.polynomials.recurrence import Recurrence
from nnla.spectra.density import density_nodes
from nnla.spectra.simulated_cg import candidate_residuals, simulate_outer_iterations
from nnla.types import SpectralProbe

__all__ = [
    "LEAST_GAIN",
    "Candidates",
    "TailChoice",
    "TailConfig",
    "TailEngine",
    "forward",
    "tail_candidates",
    "tail_nodes",
]

LEAST_GAIN = 0.03  # predicted gain over the interval below which the interval stays
OFFSETS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.8)  # a' in units of engine A's a
_MOST_OUTER = 8  # prescribed roots
_SIMULATED = 40  # outer iterations simulated; beyond, the rate is extrapolated
_PATIENCE = 1.6
_STRETCH = 1.003  # of f above the eigenvalue it stands for
_FEATURES = 20
_STEEPEST = 15.5  # log of twice the growth of R from f to the top with one root there
_LARGEST_STEEPNESS = 6e6  # slope of R in log x at an outlier; up to there float32 takes the iterations of float64


@dataclass(frozen=True)
class TailConfig:
    """Sizes of the network; written into the weights file."""

    hidden: int = 48
    members: int = 3
    features: int = _FEATURES

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        return ensemble_shapes(self.members, self.features, self.hidden, 1)


@dataclass(frozen=True)
class Candidates:
    """What could take the place of an interval.

    Attributes
    ----------
    count : (C,) outliers with a root
    copies : (C,) roots on the largest of them, 2 where one would leave P too steep there
    a, f : (C,) interval of the rest, relative to the probe's upper bound
    features : (C, F), the last one the formula's prediction of log (outer iterations / those of the interval)
    """

    count: np.ndarray
    copies: np.ndarray
    a: np.ndarray
    f: np.ndarray
    features: np.ndarray

    def roots(self, index: int, tail: SpectralTail) -> np.ndarray:
        """The prescribed roots of one candidate."""
        values = tail.values[: self.count[index]]
        return np.concatenate([np.repeat(values[:1], self.copies[index] - 1), values])


@dataclass(frozen=True)
class TailChoice:
    """A polynomial with roots on outliers, positive wherever the probe leaves room for eigenvalues.

    Attributes
    ----------
    recurrence : P
    a, f : interval of the rest
    b : upper bound of the spectrum
    outliers : (j,) roots above f
    gain : predicted 1 - outer iterations / those of engine A's interval, by simulation
    """

    recurrence: Recurrence
    a: float
    f: float
    b: float
    outliers: np.ndarray
    gain: float


def tail_candidates(
    probe: SpectralProbe, tail: SpectralTail, a: float, iterations: float, m: int, rtol: float
) -> Candidates:
    """All (outliers with a root, copies, offset of a) whose gain by formula exceeds `LEAST_GAIN`.

    Parameters
    ----------
    probe, tail : a probe and its `spectral_tail`
    a, iterations : engine A's lower end and outer iterations
    m : degree of the residual polynomial
    rtol : tolerance

    Notes
    -----
    Cost: microseconds where there is no tail. CG of outer degree k converges with exp(-2 k d sqrt(a / f)) for effective
    degree d, so that the formula is (m / d) sqrt(f).
    """
    values = np.append(tail.values, tail.rest)
    outer_iterations = max(iterations, 2.0)
    lower = a / probe.upper_bound
    rows: list[list[float]] = []
    shapes: list[tuple[int, int, float, float]] = []
    for j in range(1, min(tail.values.size, _MOST_OUTER, m - 3) + 1):
        for copies in (1, 2):
            free = m - j - copies + 1
            # a steeper polynomial would turn rounding in float32 into eigenvectors of the outliers
            least = 2 / (1 + np.cosh(_STEEPEST / free))
            if copies == 2 and values[j] > least:
                continue  # one root will do
            f = min(values[j] if copies == 2 else max(values[j], least), 1.0) * _STRETCH
            spare = np.sqrt(np.maximum(1 - f / values[:j], 0.0))
            degrees = (spare.sum() + (copies - 1) * spare[0]) / m
            formula = 0.5 * np.log(f) - np.log(1 - degrees)
            if f >= values[j - 1] or formula > -LEAST_GAIN:
                continue
            if not steepness(np.append(np.repeat(values[0], copies - 1), values[:j]), f, m) < _LARGEST_STEEPNESS:
                continue
            growth = np.arccosh(max(2 / f - 1, 1.0)) * free
            common = [j / m, j, copies, np.log(f), np.log(values[j - 1] / f), np.log(m), np.log(lower * m * m)]
            common += [np.log(outer_iterations), np.log10(rtol), np.log(probe.n), np.log(probe.steps), growth]
            common += [degrees, spare[-1], np.log(tail.rest), np.log(values[min(1, values.size - 1)])]
            common += [float(tail.values.size), np.log(probe.lambda_min / probe.lambda_max)]
            for offset in OFFSETS:
                rows.append([*common, np.log(offset), formula])
                shapes.append((j, copies, min(offset * lower, 0.3 * f), f))
    count, copies, lowest, end = np.array(shapes, dtype=float).reshape(-1, 4).T
    features = np.array(rows, dtype=float).reshape(-1, _FEATURES)
    return Candidates(count.astype(int), copies.astype(int), lowest, end, features)


def forward(parameters: dict[str, Any], x: Any) -> Any:
    """The network, for NumPy arrays and torch tensors: (B, F) or (E, B, F) -> (E, B) predicted log ratios.

    Cost: that of `ensemble`.
    """
    return ensemble(parameters, x)[..., 0] + x[..., -1]  # corrects the formula


def tail_nodes(probe: SpectralProbe, tail: SpectralTail, nodes: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """`density_nodes`, with the outliers as they are: exact, single, and nothing between them.

    Cost: that of `density_nodes`.

    References
    ----------
    As `nnla.spectra.density.density_nodes`.
    """
    lam, weight = density_nodes(probe, nodes)
    if tail.values.size == 0:
        return lam, weight
    keep = lam < tail.rest
    total = weight.sum()
    below = 1 - tail.weights.sum()
    left = total * max(below, 1e-12)
    lam, weight = lam[keep], weight[keep]
    if weight.sum() > 0:
        weight = weight * (left / weight.sum())
    end = weight[-1] if weight.size else left  # every Ritz value an outlier: nothing lies below the end of the rest
    lam = np.concatenate([lam, [tail.rest], tail.values[::-1]])
    return lam, np.concatenate([weight, [end], np.maximum(total * tail.weights[::-1], 1e-12)])


class TailEngine(EngineBase):
    """Trained engine B: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : TailConfig
    parameters : mean, std (F,); W0 (E, F, H), b0 (E, 1, H), W1 (E, H, H), b1, W2 (E, H, 1), b2 (E, 1, 1)
    card : facts about the training, as JSON-able values
    """

    name = kind = "autospec-tail"
    task = "outlier roots"
    label = "tail engine weights"
    config_type = TailConfig

    @staticmethod
    def possible(config: TailConfig) -> bool:
        return whole(config.hidden, config.members) and config.features == _FEATURES

    def improve(
        self,
        probe: SpectralProbe,
        a: float,
        iterations: float,
        *,
        degree: int = 11,
        rtol: float = 1e-8,
        least_gain: float = LEAST_GAIN,
    ) -> TailChoice | None:
        """A polynomial that beats engine A's interval by more than ``least_gain``, or None.

        Parameters
        ----------
        probe : SpectralProbe, definite
        a, iterations : engine A's answer to it: lower end of its interval, and outer iterations expected
        degree : degree of P
        rtol : tolerance of the solve
        least_gain : gain predicted by simulation that is asked for

        Notes
        -----
        Cost: none to speak of without a tail; with one, a network of a few thousand numbers and the simulation of one
        to four candidates and the interval, 3-5 ms. Guaranteed: P > 0 wherever the probe leaves room for eigenvalues
        (`nnla.polynomials.outlier_roots.check_with_tail`). Simulated: the gain. Learned: which of them are.
        """
        m = degree + 1
        tail = spectral_tail(probe)
        if tail.values.size == 0 or not DEGREES[0] <= degree <= DEGREES[1]:
            return None
        candidates = tail_candidates(probe, tail, a, iterations, m, rtol)
        if candidates.a.size == 0:
            return None
        predicted = forward(self.parameters, candidates.features).mean(axis=0)
        return best_of(probe, tail, a, candidates, predicted, m=m, rtol=rtol, least_gain=least_gain)


def best_of(
    probe: SpectralProbe,
    tail: SpectralTail,
    a: float,
    candidates: Candidates,
    predicted: np.ndarray,
    *,
    m: int,
    rtol: float,
    least_gain: float,
) -> TailChoice | None:
    """The candidate that a simulation likes best and that is positive; None below the gain."""
    b = probe.upper_bound
    roots: list[np.ndarray] = []
    chosen: list[int] = []
    for index in _trials(candidates, predicted):
        try:
            prescribed = candidates.roots(index, tail)
            roots.append(equiripple_roots(candidates.a[index], candidates.f[index], prescribed, m))
            chosen.append(index)
        except OptionError:
            continue
    if not chosen:
        return None
    lam, weight = tail_nodes(probe, tail)
    interval = candidate_residuals(lam, np.array([a / b]), 1.0, m)
    mu = 1 - np.concatenate([interval, residual_at(lam, np.array(roots))])
    options: dict[str, Any] = {"maxiter": _SIMULATED, "patience": _PATIENCE, "extrapolate": True}
    counts = simulate_outer_iterations(lam, weight, mu, (max(rtol, 1e-13),), **options)[:, 0] + 0.3
    longest = math.ceil(_PATIENCE * min(counts.min(), _SIMULATED)) + 1
    if not np.isfinite(counts[0]) and np.isfinite(counts).any():  # the others got there first: go on alone
        counts[:1] = simulate_outer_iterations(lam, weight, mu[:1], (max(rtol, 1e-13),), maxiter=longest)[:, 0] + 0.3
    for best in np.argsort(counts[1:], kind="stable"):
        if not np.isfinite(counts[1 + best]):
            return None
        # an interval that is not there yet takes at least this
        interval_takes = counts[0] if np.isfinite(counts[0]) else longest
        gain = 1 - counts[1 + best] / interval_takes
        if not gain > least_gain:
            return None
        index = chosen[best]
        lower, f = float(candidates.a[index]), float(candidates.f[index])
        outliers = candidates.roots(index, tail) * b
        recurrence = tail_polynomial(lower * b, f * b, outliers, m - 1)
        if check_with_tail(recurrence, tail, f, b).ok:
            return TailChoice(recurrence, lower * b, f * b, b, outliers, float(gain))
    return None


def _trials(candidates: Candidates, predicted: np.ndarray) -> list[int]:
    """The candidates worth a simulation, three to five of them.

    The best two shapes as the network sees them, the best one with a lower a too, where few eigenvalues lie between,
    and the shape that the formula likes best.
    """
    formula, offset = candidates.features[:, -1], candidates.features[:, -2]

    def nearest(like: int, log_offset: float) -> int:
        same = (candidates.count == candidates.count[like]) & (candidates.copies == candidates.copies[like])
        return int(np.argmin(np.where(same, np.abs(offset - log_offset), np.inf)))

    first = int(np.argmin(predicted))
    other = (candidates.count != candidates.count[first]) | (candidates.copies != candidates.copies[first])
    found = [first, nearest(first, np.log(0.6))]
    if other.any():
        found.append(int(np.argmin(np.where(other, predicted, np.inf))))
        found.append(nearest(int(np.argmin(formula)), np.log(0.8)))
    return list(dict.fromkeys(found))
