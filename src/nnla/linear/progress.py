"""How far CG under way still has to go, by what its residuals and coefficients show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.krylov.cg import CGResult
from nnla.linear.decision import Lognormal
from nnla.polynomials.design import learned_engine
from nnla.polynomials.intervals import dos_interval
from nnla.types import SpectralProbe

__all__ = [
    "energy_left",
    "iterations_left",
    "left_after",
    "left_at_rate",
    "left_by_progress",
    "predict_iterations",
    "rate_std",
    "steady",
]

WINDOW = 80  # last iterations that a rate is taken from
#: Standard deviation of the logarithm of what a rate promises, at the start of the way: of a rate that has not slowed
#: down, and of one that has (selection_constants.py).
_RATE_STD = (0.7, 1.4)
_SUREST = 0.1


def iterations_left(norms: list[float], target: float) -> float:
    """CG iterations to the target at the rate of the second half of those done; infinite without progress.

    Cost: a pass over the norms; no products.

    >>> iterations_left([1.0, 0.1, 0.01, 0.001], 1e-5)
    2.0
    """
    half = len(norms) // 2
    if half < 2:
        return math.inf
    best = np.minimum.accumulate(np.maximum(norms, 1e-300))
    gain = math.log(best[half - 1] / best[-1])
    if gain <= 0:
        return math.inf
    return max(0.0, round((math.log(best[-1]) - math.log(max(target, 1e-300))) / gain * (len(norms) - half), 9))


def energy_left(result: CGResult, target: float) -> float:
    """The same at the rate at which CG's steps in the energy norm get shorter.

    The energy norm of the error falls with every step, by sqrt(alpha_k r_k'z_k) in the sense of Pythagoras, where the
    2-norm of the residual of a stiff structure may stay where it is for hundreds of steps.

    Notes
    -----
    Cost: some operations on the last coefficients; no products.

    References
    ----------
    Strakos, Tichy, On error estimation in the conjugate gradient method, ETNA 13 (2002), eq. (3.5).
    """
    alpha, beta = np.array(result.alpha[-WINDOW:]), np.array(result.beta[-WINDOW + 1 :])
    half = alpha.size // 2
    if half < 4 or beta.size != alpha.size - 1 or not np.all(beta > 0) or not np.all(alpha > 0):
        return math.inf
    steps = np.log(alpha) + np.append(0.0, np.cumsum(np.log(beta)))  # of alpha_k r_k'z_k, to a constant
    top = steps.max()
    early, late = (math.log(float(np.exp(part - top).sum()) + 1e-300) for part in (steps[:half], steps[-half:]))
    if early <= late:
        return math.inf
    now = min(result.first)
    return max(0.0, math.log(now / max(target, 1e-300)) / (0.5 * (early - late)) * (alpha.size - half))


def steady(norms: list[float]) -> bool:
    """Whether the residual falls as fast in the second half of the steps as in the first.

    That of an ill-conditioned system falls like a power of the steps: fast at first, as the rough part of the error
    goes, and then slower and slower.
    """
    half = len(norms) // 2
    if half < 2:
        return False
    first, second = math.log(norms[0] / norms[half]), math.log(norms[half] / norms[-1])
    return second > 0.8 * first * (len(norms) - 1 - half) / half > 0


def left_by_progress(predicted: Lognormal, result: CGResult, start: float, target: float) -> Lognormal:
    """Iterations left: what was predicted beforehand, and what the rate so far promises, each by how sure it is.

    Parameters
    ----------
    predicted : all iterations
    result : of CG so far
    start, target : residual norms

    Notes
    -----
    Cost: some operations on the last norms and coefficients; no products.
    """
    done = result.iterations
    rate = iterations_left(result.first[-WINDOW:], target)
    if rate > 4.0 * done:  # the energy norm may see progress where the residual shows none
        rate = min(rate, energy_left(result, target), 4.0 * max(done, 1) if rate == math.inf else rate)
    way = math.log(max(start, 1e-300) / max(target, 1e-300))
    gone = math.log(max(start, 1e-300) / max(min(result.first, default=start), 1e-300))
    share = min(max(gone / way, 0.0), 1.0) if way > 0 else 1.0
    norms = [start, *result.first] if done < WINDOW else result.first[-WINDOW:]
    return left_at_rate(predicted, done, rate, share, steady(norms))


def left_at_rate(predicted: Lognormal, done: int, rate: float, share: float, steady: bool = False) -> Lognormal:
    """The same from numbers: iterations done, those left at the rate so far, the share of the way that is behind, and
    whether the rate has not slowed down.

    A rate is worth the more, the more of the way is behind (`rate_std`). The prediction is conditioned on not having
    been enough yet.

    Examples
    --------
    >>> early = left_at_rate(Lognormal.of(100.0, 0.2), 10, 500.0, 0.1)
    >>> late = left_at_rate(Lognormal.of(100.0, 0.2), 90, 500.0, 0.8)
    >>> early.expected < 120 < late.expected
    True
    """
    before = left_after(predicted, done)
    seen = Lognormal.of(max(rate, 0.5), rate_std(share, steady))
    precision, other = max(before.std, 1e-3) ** -2, seen.std**-2
    weight = precision / (precision + other)
    return Lognormal(weight * before.mean + (1.0 - weight) * seen.mean, (precision + other) ** -0.5)


def rate_std(share: float, steady: bool = False) -> float:
    """Standard deviation of the logarithm of the iterations that a rate promises, after this share of the way.

    >>> rate_std(0.0), rate_std(0.5, True), rate_std(1.0)
    (1.4, 0.35, 0.1)
    """
    return max(_RATE_STD[0 if steady else 1] * (1.0 - share), _SUREST)


def left_after(predicted: Lognormal, done: float) -> Lognormal:
    """What is left of so many iterations after some of them, given that they were not enough, by mean and variance.

    Cost: some operations on numbers.

    Examples
    --------
    >>> left_after(Lognormal.of(100.0, 0.3), 0) == Lognormal.of(100.0, 0.3)
    True
    >>> late = left_after(Lognormal.of(100.0, 0.3), 150)
    >>> bool(10 < late.expected < 40)
    True
    """
    if done <= 0:
        return predicted
    mean, std = predicted
    median = math.exp(min(mean, 600.0))
    if std < 1e-6:
        return Lognormal.of(max(median - done, 0.5), std)
    z = (math.log(done) - mean) / std
    beyond = _above(z)
    if beyond < 1e-9 or std > 5.0:  # far beyond anything expected: a part of what it took so far, to a factor
        return Lognormal.of(max(0.25 * done, 0.5), 1.0)
    first = median * math.exp(0.5 * std * std) * _above(z - std) / beyond
    second = median * median * math.exp(2.0 * std * std) * _above(z - 2.0 * std) / beyond
    left = max(first - done, 0.5)
    spread = math.log1p(max(second - first * first, 0.0) / (left * left))
    return Lognormal(math.log(left) - 0.5 * spread, math.sqrt(spread))


def _above(z: float) -> float:
    """Probability that a standard normal variable exceeds z."""
    return 0.5 * math.erfc(z * math.sqrt(0.5))


def predict_iterations(
    probe: SpectralProbe, degree: int, rtol: float, engine: Any = None
) -> tuple[str, float, str | None]:
    """The polynomial to use, "autospec" unless its weights fail, the outer iterations expected of it, and that failure.

    Raises
    ------
    WeightsError
        The weights of the engine given cannot be read.

    Notes
    -----
    Cost: no products: the engine's answer, or 3-15 ms of simulation (`dos_interval`).

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.3. The classical bound: Saad, Iterative Methods for Sparse Linear Systems,
    2nd ed., section 6.11.3.
    """
    failure = None
    try:
        choice = learned_engine(engine, "autospec").choose(probe, degree=degree, rtol=rtol)
        return "autospec", choice.predicted_iterations, None
    except WeightsError as error:
        if engine is not None:  # the user's own weights: they want to know
            raise
        failure = f"autospec: {error}; Chebyshev on [theta_min, b] instead"
    outer = dos_interval(probe, degree, rtol)[2]
    if not np.isfinite(outer):  # beyond what is simulated: the classical bound
        condition = probe.upper_bound / max(probe.lambda_min, 1e-15 * probe.upper_bound)
        outer = 0.5 * np.sqrt(condition) * np.log(2 / rtol) / (degree + 1)
    return "chebyshev", float(outer), failure
