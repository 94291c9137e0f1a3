"""The AutoSpec engine that nnla ships: probe -> predicted cost curve -> interval -> recurrence.

The lower end ``a`` of a Chebyshev interval carries nearly all that a polynomial preconditioner of given
degree can gain, and the best one is neither the smallest eigenvalue nor a fixed fraction of the
largest. The engine reads a Lanczos probe and predicts, for a grid of candidates, the logarithm of the
outer iterations of CG; the minimum of that curve is the answer. Whatever the network says, the
polynomial is positive on the spectrum by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.engine_base import EngineBase, ensemble, ensemble_shapes, envelope_distance, whole
from nnla.operators.arrays import namespace
from nnla.spectra.density import curve_minimum, density_nodes
from nnla.spectra.simulated_cg import quick_cost, simulate_curve
from nnla.types import SpectralProbe

__all__ = ["AutoSpecEngine", "EngineConfig", "IntervalChoice", "candidate_grid", "forward", "probe_features"]

DEGREES = (4, 32)  # smallest and largest degree the engine was trained for
RTOLS = (1e-10, 1e-6)  # the same of tolerances
# share of the network's correction that is used: real spectra differ from virtual ones, and on the generated suite
# a little less is better (outer / best 1.014 instead of 1.017, probes of 50 and 100 steps)
_TRUST = 0.85
_LARGEST_RATIO = 0.6  # a / b of the widest candidate: beyond it the interval is a point


@dataclass(frozen=True)
class EngineConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    hidden : width of the two hidden layers
    members : networks that are averaged
    low, high : Ritz triples taken from the lower and the upper end
    grid : points of the spectral distribution function
    candidates : candidates of a m^2 / b, spaced evenly in the logarithm
    smallest, largest : ends of that grid
    """

    hidden: int = 128
    members: int = 3
    low: int = 12
    high: int = 6
    grid: int = 30
    candidates: int = 28
    smallest: float = 2e-3
    largest: float = 60.0

    @property
    def features(self) -> int:
        """Length of a feature vector; its last ``candidates`` entries are the simulated cost curve."""
        return 3 * (self.low + self.high) + self.grid + 24 + self.candidates

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        envelope = dict.fromkeys(("low", "high"), (self.features,))
        return ensemble_shapes(self.members, self.features, self.hidden, self.candidates + 1) | envelope


@dataclass(frozen=True)
class IntervalChoice:
    """What the engine says of one probe.

    Attributes
    ----------
    a, b : the interval
    predicted_iterations : outer iterations expected from a zero start
    ratios : (C,) candidates a / b
    curve : (C,) predicted outer iterations of each
    inside : whether the probe is within the training envelope
    reason : why not, or ""
    """

    a: float
    b: float
    predicted_iterations: float
    ratios: np.ndarray = field(repr=False)
    curve: np.ndarray = field(repr=False)
    inside: bool = True
    reason: str = ""


def candidate_grid(config: EngineConfig, m: int) -> np.ndarray:
    """Candidate ratios a / b for residual degree m, shape (candidates,).

    The natural scale of a / b is 1 / m^2: a Chebyshev polynomial of degree m resolves no less.
    """
    grid = np.geomspace(config.smallest, config.largest, config.candidates)
    return np.minimum(grid / m**2, _LARGEST_RATIO)


def probe_features(
    probe: SpectralProbe, *, m: int, rtols: tuple[float, ...], config: EngineConfig
) -> tuple[np.ndarray, float]:
    """Scale-free description of a probe.

    Parameters
    ----------
    probe : SpectralProbe
    m : degree of the residual polynomial, products per outer iteration
    rtols : decreasing tolerances of the solve

    Returns
    -------
    features : (T, config.features), one row per tolerance, logarithms of everything
    b : upper end of the interval

    Notes
    -----
    Cost: the probe's own eigenproblem and a simulation of a few candidates on its density, some 5 ms; no products.

    Beside the extreme Ritz values themselves, the Gauss rule's distribution function is read off on a
    fixed logarithmic grid: it hardly depends on the number of steps, nor on multiple copies of
    converged values.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 3.1: Ritz values and residuals as probe; weights and simulation are this
    package's.
    """
    theta, weight, residual = probe.ritz_values, probe.ritz_weights, probe.ritz_residuals
    k, n, top, b = probe.steps, probe.n, probe.lambda_max, probe.upper_bound
    log_theta = np.log(np.maximum(theta, 1e-14 * b) / b)
    log_residual = np.log(np.clip(residual / b, 1e-12, None))
    log_weight = np.log(np.clip(weight, 1e-16, None))
    low = np.minimum(np.arange(config.low), k - 1)
    high = np.maximum(k - 1 - np.arange(config.high), 0)
    cumulative = np.log(np.clip(np.cumsum(weight) - weight / 2, 1e-16, None))

    def distribution(at: np.ndarray) -> np.ndarray:
        """Log of the spectral distribution function; below the smallest Ritz value of slope one."""
        inside = np.interp(at, log_theta, cumulative)
        return np.where(at < log_theta[0], cumulative[0] + (at - log_theta[0]), inside)

    grid = -np.arange(config.grid) / 4.0 * np.log(10.0)
    summary = [
        np.log(n),
        np.log(m),
        np.log(k),
        log_theta[0],
        np.log(b / top),
        log_theta[0] + 2 * np.log(m),
    ]
    at = [max(0, (k * eighths) // 8 - 1) for eighths in range(8, 0, -1)]
    krylov = np.log(np.clip(probe.krylov_reductions[at], 1e-18, 1e18))
    users = krylov if probe.reductions is None else np.log(np.clip(probe.reductions[at], 1e-18, 1e18))
    summary += [*krylov, *(users - krylov)]
    parts = [log_theta[low], log_residual[low], log_weight[low], log_theta[high], log_residual[high]]
    parts += [log_weight[high], np.clip(distribution(grid), -37.0, 0.0), summary]
    common = np.tile(np.concatenate(parts), (len(rtols), 1))
    tolerances = np.log(np.clip(rtols, *RTOLS))[:, None]  # beyond them, the simulation alone knows the tolerance
    level, curve = simulated_costs(probe, candidate_grid(config, m), m=m, rtols=rtols)
    return np.hstack([common, tolerances, level[:, None], curve]), b


def simulated_costs(
    probe: SpectralProbe, ratios: np.ndarray, *, m: int, rtols: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What a simulation on the probed density of states says: log of the least cost, and the curve above it.

    The network starts from this answer and learns where, and by how much, a short probe misleads it.

    Parameters
    ----------
    probe : SpectralProbe
    ratios : (C,) candidates a / b
    m : residual degree
    rtols : decreasing tolerances

    Returns
    -------
    level : (T,)
    curve : (T, C) log costs relative to the least, cut off at 1
    """
    options: dict[str, Any] = {"stride": 3, "around": 2, "patience": 1.5, "maxiter": 200}
    tolerances = tuple(max(rtol, 1e-15) for rtol in rtols)
    lam, weight = density_nodes(probe, 160)
    if quick_cost(lam, weight, ratios, m, tolerances[-1], maxiter=50) > 40:
        lam, weight = density_nodes(probe, 480)
    counts = simulate_curve(lam, weight, ratios, m, tolerances, **options)
    costs = np.log(np.minimum(counts, 1e9) + 0.3).T
    level = costs.min(axis=1)
    return level, np.minimum(costs - level[:, None], 1.0)


def forward(parameters: dict[str, Any], x: Any) -> Any:
    """The network, written once for NumPy arrays and torch tensors.

    Parameters
    ----------
    parameters : mean, std (F,); W0 (E, F, H), b0 (E, 1, H), W1 (E, H, H), b1, W2 (E, H, C + 1), b2
    x : (B, F) features, or (E, B, F) for one batch per member

    Returns
    -------
    (E, B, C + 1): C relative log costs, then the logarithm of the smallest cost; both are corrections
    to the simulated values among the features.

    Notes
    -----
    Cost: that of `ensemble` for the features of B rows.
    """
    xp, out = namespace(x), ensemble(parameters, x)
    candidates = out.shape[-1] - 1
    prior = x[..., -candidates:]  # the network corrects the simulated curve, and its level likewise
    level = x[..., -candidates - 1 : -candidates]
    return out + xp.concatenate([prior, level], -1)


class AutoSpecEngine(EngineBase):
    """Trained engine: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : EngineConfig
    parameters : dict of arrays as `forward` takes them, and the envelope ``low``, ``high`` (F,)
    card : facts about the training, as JSON-able values
    """

    name = "autospec-cg"
    task = "intervals"
    kind = "autospec-engine"
    config_type = EngineConfig

    def __init__(self, config: EngineConfig, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        super().__init__(config, parameters, card)
        self._answered: tuple[Any, IntervalChoice] | None = None

    @staticmethod
    def possible(config: EngineConfig) -> bool:
        c = config
        sizes = whole(c.hidden, c.members, c.low, c.high, c.grid, c.candidates)
        return sizes and c.candidates >= 3 and 0 < c.smallest < c.largest < np.inf

    def choose(self, probe: SpectralProbe, *, degree: int = 11, rtol: float = 1e-8) -> IntervalChoice:
        """Interval for a probe.

        Parameters
        ----------
        probe : SpectralProbe, definite
        degree : degree of P, 4 to 32
        rtol : tolerance of the solve

        Notes
        -----
        Cost: an eigenproblem of a tridiagonal matrix of the probe's size and three small
        matrix-vector products, and a simulation of the solve: 2-5 ms. Learned: the place of ``a``; guaranteed:
        0 < a < b, hence a positive polynomial on (0, a + b).
        """
        m = degree + 1
        if m < 2:
            raise OptionError(f"degree must be at least 1, got {degree}")
        # A solve asks about one probe up to three times: how long to go on probing, what each method will cost,
        # and for the polynomial itself.
        question = (probe.alpha.tobytes(), probe.beta.tobytes(), probe.scaling, degree, rtol)
        if self._answered is not None and self._answered[0] == question:
            return self._answered[1]
        choice = self._choose(probe, m, degree, rtol)
        self._answered = (question, choice)
        return choice

    def _choose(self, probe: SpectralProbe, m: int, degree: int, rtol: float) -> IntervalChoice:
        rows, b = probe_features(probe, m=m, rtols=(rtol,), config=self.config)
        x = rows[0]
        out = forward(self.parameters, x[None, :])[:, 0, :].mean(axis=0)
        simulated = x[-self.config.candidates :]
        curve = simulated + _TRUST * (out[:-1] - simulated)
        log_best = float(np.clip(out[-1], -10.0, 50.0))
        ratios = candidate_grid(self.config, m)
        position = curve_minimum(curve)
        grid = np.log(np.geomspace(self.config.smallest, self.config.largest, self.config.candidates))
        ratio = float(np.exp(np.interp(position, np.arange(grid.size), grid))) / m**2
        inside, reason = self._inside(x, degree)
        return IntervalChoice(
            a=min(ratio, _LARGEST_RATIO) * b,
            b=b,
            predicted_iterations=float(np.exp(log_best)),
            ratios=ratios,
            curve=np.exp(log_best + curve - curve.min()),
            inside=inside,
            reason=reason,
        )

    def _inside(self, x: np.ndarray, degree: int) -> tuple[bool, str]:
        if not DEGREES[0] <= degree <= DEGREES[1]:
            return False, f"degree {degree} is outside the trained range {DEGREES[0]} to {DEGREES[1]}"
        distance = envelope_distance(self.parameters, x)
        limit = float(self.card.get("envelope_limit", 0.25))
        if distance > limit:
            return (
                False,
                f"the probe is outside the training envelope (distance {distance:.2f} > {limit:.2f})",
            )
        return True, ""
