"""How much to regularise: the discrepancy principle, generalised cross-validation, the L-curve, and hindsight.

All for batches (B, ...) at once. Tikhonov's lambda is sought over its logarithm, first on a grid that is fine compared
with the unit width of the filter factors there, then by bisection or golden sections; the number k of components that
truncated methods keep is sought among all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.linear.rectangular_systems import row_numbers

__all__ = ["CHOICES", "Rule", "Spectrum", "choose_count", "choose_lambda"]

#: The rules that `parameter` may name.
CHOICES = ("discrepancy", "gcv", "modified-gcv", "l-curve", "hindsight")

_GRID = 240  # points: at most 0.16 apart in log(lambda), as singular values that count spread over less than 1e15
_POINTS = 60  # of an L-curve; its corner is where it was with 120
_INFLATION = 1.4  # of the degrees of freedom in modified cross-validation, as Kim & Gu and Cummins et al. have it
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)
_ROUNDING = 16 * np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule with what it knows, in scaled units.

    Attributes
    ----------
    name : of `CHOICES`, or "given"
    value : (B,) the given parameter
    noise, operator_noise : (B,) norms of the errors in b and in A
    x_true : (B, n)
    """

    name: str
    value: Any = None
    noise: Any = None
    operator_noise: Any = None
    x_true: Any = None

    @property
    def inflation(self) -> float:
        """What the degrees of freedom are multiplied by in cross-validation."""
        return _INFLATION if self.name == "modified-gcv" else 1.0

    @classmethod
    def checked(
        cls,
        parameter: Any,
        count: int,
        *,
        noise_norm: Any,
        operator_noise: Any,
        safety: Any,
        x_true: Any,
        known: tuple[str, ...] = CHOICES,
        whole_up_to: int | None = None,
    ) -> Rule:
        """The rule that a user asked for, in the user's units; `x_true` is checked by whoever knows the sizes.

        Raises
        ------
        OptionError, ShapeError, GradientError
        """
        if isinstance(parameter, str) and parameter not in known:
            raise OptionError(f"parameter must be a number or one of {', '.join(known)}, got {parameter[:60]!r}")
        name = parameter if isinstance(parameter, str) else "given"
        given = {"noise_norm": noise_norm, "operator_noise": operator_noise, "safety": safety, "x_true": x_true}
        used = {"discrepancy": {"noise_norm", "operator_noise", "safety"}, "hindsight": {"x_true"}}.get(name, set())
        idle = [key for key, value in given.items() if value is not None and key not in used]
        if idle:
            whose = "hindsight" if idle[0] == "x_true" else "discrepancy"
            raise OptionError(f"{idle[0]} has no effect here: it belongs to parameter={whose!r}")
        if name == "hindsight" and x_true is None:
            raise OptionError("parameter='hindsight' needs x_true, the true solution")
        if name == "given":
            return cls(name, row_numbers(parameter, "parameter", count, whole_up_to=whole_up_to))
        if name != "discrepancy":
            return cls(name, x_true=x_true)
        if noise_norm is None:
            raise OptionError("parameter='discrepancy' needs noise_norm, the norm of the error in b")
        factor = row_numbers(1.0 if safety is None else safety, "safety", count)
        noise = factor * row_numbers(noise_norm, "noise_norm", count)
        inside = factor * row_numbers(0.0 if operator_noise is None else operator_noise, "operator_noise", count)
        return cls(name, noise=noise, operator_noise=inside)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What the rules need of A and b.

    Attributes
    ----------
    s : (B, r) singular values, falling; 1 where they do not count
    live : (B, r) those that count, being more than rounding
    beta : (B, r) coefficients of b in the left singular vectors, 0 where s does not count
    rest : (B,) squared norm of the part of b that no x reaches
    rows : of A
    """

    s: np.ndarray
    live: np.ndarray
    beta: np.ndarray
    rest: np.ndarray
    rows: int

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the smallest and the largest singular value that count; 0 where none does."""
        low = np.where(self.live, self.s, np.inf).min(axis=1)
        high = np.where(self.live, self.s, 0.0).max(axis=1)
        return np.log(np.where(high > 0, low, 1.0)), np.log(np.where(high > 0, high, 1.0))

    def coefficients(self, lam: np.ndarray) -> np.ndarray:
        """x in the right singular vectors, (B, r); lambda may be 0 or inf."""
        return self.beta / self.s / (1.0 + (lam[:, None] / self.s) ** 2)

    def left(self, lam: np.ndarray) -> np.ndarray:
        """1 - f, (B, r), without cancellation; f are Tikhonov's filter factors s^2 / (s^2 + lambda^2)."""
        with np.errstate(divide="ignore", over="ignore"):
            return 1.0 / (1.0 + (self.s / lam[:, None]) ** 2)

    def residual_squared(self, lam: np.ndarray) -> np.ndarray:
        """||b - A x||^2, (B,)."""
        return ((self.left(lam) * self.beta) ** 2).sum(axis=1) + self.rest

    def gcv(self, lam: np.ndarray, inflation: float) -> np.ndarray:
        """||b - A x||^2 / (m - inflation * sum f)^2, (B,); inf from where that crosses zero; lambda > 0."""
        left = self.left(lam)
        spare = self.rows - self.live.sum(axis=1)
        kept = ((1.0 - left) * self.live).sum(axis=1)
        trace = (left * self.live).sum(axis=1) + spare - (inflation - 1.0) * kept
        value = (((left * self.beta) ** 2).sum(axis=1) + self.rest) / np.where(trace > 0, trace, 1.0) ** 2
        return np.where(trace > 0, value, np.inf)

    def gcv_at_zero(self, inflation: float) -> np.ndarray:
        """Its limit for lambda -> 0."""
        rank = self.live.sum(axis=1)
        trace = self.rows - inflation * rank
        value = np.where(trace > 0, self.rest / np.where(trace > 0, trace, 1.0) ** 2, np.inf)
        if inflation > 1.0:
            return value
        low = np.exp(self.ends[0])
        weights = np.where(self.live, (low[:, None] / self.s) ** 2, 0.0)
        full = ((weights * self.beta) ** 2).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0) ** 2
        return np.where(self.rows == rank, full, value)


def choose_lambda(rule: Rule, spectrum: Spectrum, truth: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Tikhonov's lambda by a rule, and whether the rule has found what it looks for.

    Parameters
    ----------
    rule, spectrum : in the same units
    truth : (B, r) coefficients of the true solution in the right singular vectors, for hindsight

    Returns
    -------
    lam, attained : (B,), (B,)

    Notes
    -----
    Cost: some 300 passes over the (B, r) spectrum; no array is larger.

    References
    ----------
    Hansen, Rank-Deficient and Discrete Ill-Posed Problems, 1998, chapter 7; Golub, Heath & Wahba, Technometrics 21
    (1979) 215-223; Cummins, Filloon & Nychka, J. Am. Stat. Assoc. 96 (2001) 233-246; Kim & Gu, J. R. Stat. Soc. B 66
    (2004) 337-356; Castellanos, Gomez & Guerra, Appl. Numer. Math. 43 (2002) 359-373.
    """
    low, high = spectrum.ends
    count = low.size
    zeros, infinite, always = np.zeros(count), np.full(count, np.inf), np.ones(count, dtype=bool)
    if rule.name == "given":
        return rule.value, always
    if rule.name == "discrepancy":
        return _by_discrepancy(rule, spectrum)
    if rule.name == "l-curve":
        return _by_l_curve(spectrum)
    if rule.name.endswith("gcv"):
        inflation = rule.inflation
        bound = (spectrum.beta**2).sum(axis=1) + spectrum.rest
        ends = (spectrum.gcv_at_zero(inflation), bound / spectrum.rows**2)
        t, value = _lowest(lambda t: spectrum.gcv(np.exp(t), inflation), low - np.log(10.0), high + np.log(10.0))
    else:

        def error(lam: np.ndarray) -> np.ndarray:
            return ((spectrum.coefficients(lam) - truth) ** 2).sum(axis=1)

        ends = (error(zeros), error(infinite))
        t, value = _lowest(lambda t: error(np.exp(t)), low - np.log(10.0), high + np.log(1e4))
    lam = np.where(ends[1] < value, np.inf, np.exp(t))
    return np.where(ends[0] <= np.minimum(value, ends[1]), 0.0, lam), always


def _by_discrepancy(rule: Rule, spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """||b - A x|| = noise + operator_noise ||x||: the left side rises with lambda, the right side falls."""

    def excess(lam: np.ndarray) -> np.ndarray:
        size = np.sqrt((spectrum.coefficients(lam) ** 2).sum(axis=1))
        return np.sqrt(spectrum.residual_squared(lam)) - rule.noise - rule.operator_noise * size

    count = spectrum.rest.size
    all_of_b = np.sqrt((spectrum.beta**2).sum(axis=1) + spectrum.rest)
    least, most = excess(np.zeros(count)), excess(np.full(count, np.inf))
    # beyond, the residual differs from its limit by less than rounding
    low, high = spectrum.ends
    low, high = low - np.log(1e9), high + np.log(1e9)
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = excess(np.exp(middle)) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    lam = np.where(least >= 0, 0.0, np.exp(low))
    return np.where(most <= 0, np.inf, lam), least <= _ROUNDING * spectrum.rows**0.5 * all_of_b


def _by_l_curve(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """The corner among points between the largest and the smallest singular value."""
    low, high = spectrum.ends
    lam = np.exp(np.linspace(high, low, _POINTS, axis=1))
    residual, size = np.empty_like(lam), np.empty_like(lam)
    for k in range(_POINTS):
        residual[:, k] = np.sqrt(spectrum.residual_squared(lam[:, k]))
        size[:, k] = np.sqrt((spectrum.coefficients(lam[:, k]) ** 2).sum(axis=1))
    k, found = _corner(residual, size, np.ones(lam.shape, dtype=bool))
    return np.where(found, np.take_along_axis(lam, k[:, None], axis=1)[:, 0], 0.0), found


def _lowest(f: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where f is least between low and high, and f there; (B,) each."""
    step = (high - low) / (_GRID - 1)
    place, value = low.copy(), f(low)
    for k in range(1, _GRID):
        t = low + k * step
        new = f(t)
        better = new < value
        place, value = np.where(better, t, place), np.where(better, new, value)
    a, b = np.maximum(place - step, low), np.minimum(place + step, high)
    c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    fc, fd = f(c), f(d)
    for _ in range(36):  # 0.3 times 0.618^36 is 1e-8, where a minimum in float64 is flat
        left = fc < fd
        a, b = np.where(left, a, c), np.where(left, d, b)
        new = np.where(left, b - _GOLDEN * (b - a), a + _GOLDEN * (b - a))
        fnew = f(new)
        c, d = np.where(left, new, d), np.where(left, c, new)
        fc, fd = np.where(left, fnew, fd), np.where(left, fc, fnew)
    for t, new in ((c, fc), (d, fd)):
        better = new < value
        place, value = np.where(better, t, place), np.where(better, new, value)
    return place, value


def choose_count(
    rule: Rule, residual: np.ndarray, size: np.ndarray, usable: np.ndarray, rows: int, error: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """The number k of components to keep by a rule, and whether the rule has found what it looks for.

    Parameters
    ----------
    rule : in the units of `residual` and `size`
    residual, size : (B, K + 1) norms of what is left and of the solution for k = 0 .. K
    usable : (B, K + 1) solutions that exist; k = 0 always does
    rows : of A, for cross-validation
    error : (B, K + 1) of the solutions, for hindsight

    Returns
    -------
    k, attained : (B,), (B,)

    Notes
    -----
    Cost: a pass over the arrays; the L-curve's corner takes K of them.

    References
    ----------
    As for `choose_lambda`.
    """
    count, number = residual.shape
    always, every = np.ones(count, dtype=bool), np.arange(number)
    last = np.where(usable, every, 0).max(axis=1)
    if rule.name == "given":
        k = np.minimum(rule.value, number - 1)
        lowered = np.where(usable & (every <= k[:, None]), every, 0).max(axis=1)
        return lowered, lowered == k
    if rule.name == "discrepancy":
        slack = _ROUNDING * rows**0.5 * residual[:, :1]
        met = usable & (residual <= rule.noise[:, None] + rule.operator_noise[:, None] * size)
        nearly = np.take_along_axis(residual, last[:, None], axis=1) <= rule.noise[:, None] + slack
        return np.where(met.any(axis=1), met.argmax(axis=1), last), met.any(axis=1) | nearly[:, 0]
    if rule.name.endswith("gcv"):
        trace = rows - rule.inflation * every
        value = residual**2 / np.where(trace > 0, trace, 1.0) ** 2
        return np.where(usable & (trace > 0), value, np.inf).argmin(axis=1), always
    if rule.name == "hindsight":
        return np.where(usable, error, np.inf).argmin(axis=1), always
    return _corner(residual, size, usable)


def _corner(residual: np.ndarray, size: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertex k of the sharpest triangle (j, k, last) of the L-curve with j < k that turns as a corner does."""
    count, number = residual.shape
    usable = usable & (size > 0) & (residual > _ROUNDING * residual[:, :1])
    every = np.arange(number)
    last = np.where(usable, every, 0).max(axis=1)
    with np.errstate(divide="ignore"):
        x, y = (np.where(usable, np.log(np.where(v > 0, v, 1.0)), 0.0) for v in (residual, size))
    end_x, end_y = (np.take_along_axis(v, last[:, None], axis=1)[:, 0] for v in (x, y))
    best, sharpest = last.copy(), np.full(count, np.cos(7.0 / 8.0 * np.pi))
    found = np.zeros(count, dtype=bool)
    for k in range(2, number - 1):
        bx, by = x[:, k, None] - x[:, :k], y[:, k, None] - y[:, :k]
        cx, cy = (end_x - x[:, k])[:, None], (end_y - y[:, k])[:, None]
        lengths = np.hypot(bx, by) * np.hypot(cx, cy)
        fits = usable[:, :k] & usable[:, k, None] & (k < last)[:, None] & (bx * cy - by * cx < 0) & (lengths > 0)
        cosine = np.where(fits, -(bx * cx + by * cy) / np.where(lengths > 0, lengths, 1.0), -2.0).max(axis=1)
        better = cosine > sharpest
        best, sharpest = np.where(better, k, best), np.where(better, cosine, sharpest)
        found |= better
    return best, found
