"""From a window of Ritz values to a filter: the learned choice, and the classical ones beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnla.eigen.filters import chebyshev_filter, cut_of_strength, power_filter, strength
from nnla.eigen.window import Window
from nnla.errors import NNLAError, WeightsError
from nnla.polynomials.recurrence import Recurrence
from nnla.tasks import engine_for

__all__ = ["FIELD", "FILTERS", "FilterChoice", "choose_filter"]

FIELD = "eigenproblems"  # in `nnla.tasks.TASKS`
FILTERS = ("autospec", "autospec-paper", "chebyshev", "power")
CUT = 1.5  # the paper's Chebyshev filter damps from the (1.5 k + 1)-th eigenvalue on
_STRONGEST = 40.0  # of a filter: its values then span 10^5, of which rounding leaves the wanted ones enough digits


@dataclass(frozen=True)
class FilterChoice:
    """A filter for a window.

    Attributes
    ----------
    recurrence : P, in the user's operator
    cut : eigenvalue from which on it damps; None for the power filter, which damps everywhere
    weights : name of the learned weights that chose it, or None
    fallback : why another than the one asked for was taken, or None
    """

    recurrence: Recurrence
    cut: float | None
    weights: str | None = None
    fallback: str | None = None


def choose_filter(window: Window, method: str, degree: int, *, cut: float = CUT, engine: Any = None) -> FilterChoice:
    """The filter of a method for a window.

    Parameters
    ----------
    window : Window
    method : one of `FILTERS`
    degree : of the filter
    cut : for "chebyshev", the place of the cut in units of k: from the (cut k + 1)-th Ritz value on
    engine : a trained engine instead of the shipped one

    Returns
    -------
    FilterChoice; its polynomial is monotone beyond the cut, by construction, but for "autospec-paper"

    Notes
    -----
    Cost: no products: a small network or a formula.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.2 and appendix E. Zhou, Saad, SIAM J. Matrix Anal. Appl. 29 (2007)
    ("chebyshev").
    """
    if method == "power":
        return FilterChoice(power_filter(window.edge, window.far, degree), None)
    if method == "chebyshev":
        return _chebyshev(window, window.at(int(cut * window.k) + 1), degree)
    if method == "autospec-paper":
        return _paper(window, degree, engine)
    try:
        engine = engine_for(engine, FIELD, method)
    except WeightsError as error:
        return replace(_chebyshev(window, rule_cut(window, degree), degree), fallback=f"a cut by rule: {error}")
    choice = engine.choose(window, degree=degree)
    if not choice.inside:
        result = _chebyshev(window, rule_cut(window, degree), degree)
        return replace(result, fallback="a cut by rule: the window is outside the training envelope")
    result = _chebyshev(window, choice.cut, degree)
    return replace(result, weights=engine.card.get("name", engine.name))


def _chebyshev(window: Window, cut: float, degree: int) -> FilterChoice:
    """T_d from a cut on that leaves something to damp and keeps the filter's values within bounds."""
    edge, far = window.edge, window.far
    limits = [cut_of_strength(s, edge, far, degree) for s in (1e-4, min(_STRONGEST, 0.5 * degree**2))]
    cut = float(np.clip(cut, min(limits), max(limits)))
    return FilterChoice(chebyshev_filter(cut, far, degree), cut)


def _paper(window: Window, degree: int, engine: Any) -> FilterChoice:
    """The paper's engine, unless a Chebyshev filter clearly separates the window better."""
    from nnla.eigen.filters import filter_quality

    classical = choose_filter(window, "chebyshev", degree)
    # the engine sees the spectrum mapped to [0, 1], the wanted end at 1
    x, residuals, k = 1.0 - window.depths, window.residuals / window.width, window.k
    middle = min(max(x.size // 2, k + 1), x.size - 1)
    if k >= x.size - 1:
        return replace(classical, fallback="Chebyshev filter: the window is too short for the paper's engine")
    try:
        engine = engine_for(engine, FIELD, "autospec-paper")
        P = engine.recurrence(x, residuals, k, degree=degree)
    except NNLAError as error:
        return replace(classical, fallback=f"Chebyshev filter: the paper's engine cannot: {error}")
    edge = min(float(x[middle] + residuals[middle]), float(x[k]))
    rival = chebyshev_filter(max(edge, 1e-6), 0.0, degree)
    # in logarithms of amplification: half the rival's is what the model card found to be a good limit
    if not filter_quality(P, x, residuals, k, cut=middle) > filter_quality(rival, x, residuals, k, cut=middle) ** 0.5:
        return replace(classical, fallback="Chebyshev filter: the paper's separates the window worse")
    scale = window.width * window.orientation
    mapped = replace(P, domain=_sorted(window.edge, window.far), shift=window.far, scale=scale)
    return FilterChoice(mapped, None, engine.card.get("name", engine.name))


def _sorted(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


def rule_cut(window: Window, degree: int) -> float:
    """The classical rule that needs no training: the (3 k + 1)-th Ritz value, but no filter weaker than strength 0.3.

    A filter of less strength is no steeper for its degree, and a Ritz value of a short run lies above its
    eigenvalue, often by far.
    """
    least = cut_of_strength(0.3, window.edge, window.far, degree)
    cut = window.at(3 * window.k + 1)
    return cut if strength(cut, window.edge, window.far, degree) > 0.3 else least
