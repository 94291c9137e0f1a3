"""Which method: what each will take for one system, from its structure, its first steps and the engine."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

from nnla.errors import NNLAError, WeightsError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.cg import CGResult
from nnla.linear.costs import Costs
from nnla.operators.operator import Operator
from nnla.polynomials.design import EFFICIENCY, learned_engine
from nnla.polynomials.guards import check_probe
from nnla.polynomials.intervals import dos_interval
from nnla.types import SpectralProbe

__all__ = ["TINY", "Choice", "energy_left", "iterations_left", "predict_iterations", "steady"]

TINY = 100  # unknowns up to which a dense or sparse factorisation takes less time than choosing
WINDOW = 80  # last iterations that a rate is taken from
_SHORT = 8e-3  # seconds of a direct solution below which first steps cost more than they can save
_HARD = (150, 2.0)  # CG iterations, and by the graph's levels, guessed for what has shown itself not to be easy
_RISK = 2.0
_CLEARLY = 0.8
_DOUBT = 4.0  # the fill predicted from the graph is right to such a factor
_AFFORDABLE = 0.3  # share of the time ahead that the ordering may take for knowing better


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


class Choice:
    """What each method will take for one system; gets to know more as the solve goes on.

    Parameters
    ----------
    op, costs : the matrix and its cost model
    plain : "jacobi" or "cg", whichever the first steps are of
    degree, engine : of the polynomial

    Attributes
    ----------
    remaining : CG iterations that the engine predicts, None before it was asked
    settled : CG iterations left at a rate that has not slowed down, infinite where none was seen
    polynomial : name of the polynomial method
    predicted : method -> seconds
    guess : CG iterations that they were predicted for
    analysed : the analysis of a factorisation, None where none was made
    failure : why the engine could not be asked, or None
    by_counts, timed : cheapest by the formulas without and with what the first steps took; None before `predict`
    """

    def __init__(self, op: Operator, costs: Costs, plain: str, degree: int, engine: Any) -> None:
        self.op, self.costs, self.plain, self.degree, self.engine = op, costs, plain, degree, engine
        self.remaining: float | None = None
        self.settled, self.guess = math.inf, math.inf
        self.polynomial = "autospec"
        self.predicted: dict[str, float] = {}
        self.analysed: Cholesky | None = None
        self.failure: str | None = None
        self.by_counts: str | None = None
        self.timed: str | None = None

    @property
    def direct_is_short(self) -> bool:
        """Whether a direct solution is over before first steps could tell anything."""
        return self.costs.sparse and self.costs.direct() < _SHORT

    def ask_engine(self, probe: SpectralProbe, rtol: float) -> None:
        """Let the engine predict the iterations left, where the probe lets it."""
        if not check_probe(probe).ok or len(probe.alpha) < 3:
            return
        self.polynomial, outer, self.failure = predict_iterations(probe, self.degree, rtol, self.engine)
        self.remaining = max(1.0, outer * (self.degree + 1) * EFFICIENCY)

    def predict(self) -> dict[str, float]:
        """Seconds of every method that can run, `predicted`."""
        self.predicted = self._by_formula()
        by_counts = self.predicted
        if self.costs.timed:
            with self.costs.untimed():
                by_counts = self._by_formula()
        self.by_counts = min(by_counts, key=lambda name: by_counts[name], default=None)
        self.timed = min(self.predicted, key=lambda name: self.predicted[name], default=None)
        self._count_operations()
        if self.remaining is None and self.predicted.get("ic", 0.0) > _CLEARLY * self.predicted.get("direct", np.inf):
            self.predicted["ic"] = max(self.predicted["ic"], self.predicted["direct"] * 1.01)  # certain beats guessed
        # A direct solution takes what it takes; multigrid may need more iterations than the usual ones.
        if self.predicted.get("direct", np.inf) < self.predicted.get("amg", 0.0):
            del self.predicted["amg"]
        return self.predicted

    def _by_formula(self) -> dict[str, float]:
        costs, guess = self.costs, self.remaining
        if guess is None:
            guess = min(max(_HARD[0], _HARD[1] * costs.levels), self.settled)
        self.guess = guess
        predicted = {
            # a guess that is wrong hurts most here
            self.plain: costs.jacobi(guess * (1.0 if self.remaining is not None else _RISK)),
            "ic": costs.ic(guess),
            "direct": costs.direct(),
            "amg": costs.amg(),
        }
        if self.remaining is not None:  # without a full probe there is no polynomial
            predicted[self.polynomial] = costs.polynomial(guess, self.degree)
            predicted[f"{self.polynomial}+ic"] = costs.polynomial_over_ic(guess)
        return {name: seconds for name, seconds in predicted.items() if seconds < np.inf}

    def words(self) -> str:
        """The prediction for a report."""
        listed = ", ".join(f"{name} {s:.2g} s" for name, s in sorted(self.predicted.items(), key=lambda p: p[1]))
        source = "the engine's" if self.remaining is not None else "a guess of"
        clock = ""
        if not self.costs.timed:
            clock = ", from counts alone"
        elif self.costs.machine != 1.0:
            clock = f", iterations timed at {self.costs.machine:.2g} times the reference"
            if self.by_counts != self.timed:
                clock += f" (from counts alone {self.by_counts} would be cheapest)"
        return f"predicted {listed} for {source} {self.guess:.0f} more CG iterations{clock}"

    # -- operations of a factorisation -------------------------------------------------------------------------------

    def _count_operations(self) -> None:
        """Order the unknowns where it costs little beside what is predicted, and know what a factorisation takes."""
        costs, best = self.costs, min(self.predicted.values(), default=np.inf)
        direct = self.predicted.get("direct", np.inf)
        if direct > _DOUBT * best or costs.ordering() > _AFFORDABLE * best or direct < _SHORT:
            return
        self.analyse(_DOUBT * best)

    def analyse(self, seconds: float) -> None:
        """Find out what a factorisation takes, up to so many seconds' worth, and predict it anew."""
        costs = self.costs
        budget = max((seconds - costs.direct(0.0)) / (costs.machine * costs.speeds.flop), 1e6)
        known = self.analysed is not None and (self.analysed.complete or self.analysed.flops >= budget)
        if not known and Cholesky.available() and costs.sparse:
            with suppress(NNLAError):  # LU takes what this does not
                self.analysed = Cholesky(self.op.csr, max_flops=budget)
        if self.analysed is not None:
            # given up: at least so many
            self.predicted["direct"] = costs.direct(self.analysed.flops * (1.0 if self.analysed.complete else 2.0))
