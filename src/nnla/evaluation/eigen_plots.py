"""A picture of computed eigenvalues: where they lie, how far to trust them, how they were found. Needs Matplotlib."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnla.eigen.report import EigenReport
from nnla.errors import OptionError
from nnla.evaluation.plots import require_matplotlib

__all__ = ["multiplets", "plot_eigenvalues"]

_GREY, _FAINT, _SHIFT = "#666666", "#E4E4E4", "#D55E00"  # the last of Okabe and Ito's palette
_CLOSE = 1e-6  # of what is drawn: eigenvalues that no picture can tell from each other
_ONE = 1e-9  # of the largest: a single multiple eigenvalue, which is drawn on an axis that has a width all the same
_REACH = 1.5  # times the spread of the eigenvalues: shifts further away are named, not drawn
_DECADES = 1e3  # between the first and the last eigenvalue: from there on the axis is logarithmic


def multiplets(w: ArrayLike, width: float) -> list[tuple[int, int]]:
    """First and one past the last place of each run of eigenvalues with gaps of at most ``width``.

    Parameters
    ----------
    w : (k,) increasing

    Returns
    -------
    list of (first, end), two or more eigenvalues each

    Notes
    -----
    Cost: one pass.

    Examples
    --------
    >>> multiplets([1.0, 2.0, 2.0, 3.0, 3.0, 3.0], 1e-9)
    [(1, 3), (3, 6)]
    """
    w = np.asarray(w, dtype=np.float64)
    ends = [0, *(np.flatnonzero(np.diff(w) > width) + 1).tolist(), w.size]
    return [(a, b) for a, b in pairwise(ends) if b - a > 1]


def plot_eigenvalues(w: ArrayLike, report: EigenReport, *, name: str = "") -> Any:
    """Eigenvalues with what their residuals allow, shifts, the count by inertia, residuals and their history.

    Parameters
    ----------
    w : (k,) eigenvalues that `nnla.eigsh` returned
    report : EigenReport
        That of the same call.
    name : of the matrix, for the title

    Returns
    -------
    matplotlib.figure.Figure
        With two axes that share lambda, and a third where there was more than one restart.

    Raises
    ------
    OptionError
        Another number of eigenvalues than the report is about.
    MissingDependencyError

    Notes
    -----
    Cost: what drawing k points takes.
    """
    w = np.asarray(w, dtype=np.float64)
    if w.ndim != 1 or w.size != len(report.residuals) or w.size == 0:
        raise OptionError(f"w has shape {w.shape}, the report is about {len(report.residuals)} pairs; pass its own w")
    history = np.asarray(report.history, dtype=np.float64)
    figure = require_matplotlib()(figsize=(11.5 if history.size > 1 else 8, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 2 if history.size > 1 else 1, height_ratios=(1.5, 1), width_ratios=_widths(history))
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    figure.suptitle(_title(name, report), fontsize=12)
    _eigenvalues(upper, w, report)
    _residuals(lower, w, report)
    if history.size > 1:
        _history(figure.add_subplot(grid[:, 1]), history, report)
    return figure


def _widths(history: np.ndarray) -> tuple[float, ...]:
    return (1.5, 1.0) if history.size > 1 else (1.0,)


def _title(name: str, r: EigenReport) -> str:
    entries = "" if r.nnz is None else f", nnz = {r.nnz:,}"
    degree = "" if r.degree is None else f", degree {r.degree}"
    return f"{name or 'operator'}:  n = {r.n:,}{entries},  {r.k} pairs by {r.method}{degree},  {r.status}"


def _eigenvalues(axis: Any, w: np.ndarray, r: EigenReport) -> None:
    """Their numbers from below over lambda, with shifts and what was counted."""
    # with a mass matrix they are no bounds of the errors
    residuals = np.asarray(r.residuals) if r.mass_norm is None else np.zeros(w.size)
    span, largest = float(np.ptp(w)), float(np.abs(w).max())
    one_value = span <= _ONE * largest
    if one_value:
        span = 0.1 * largest or 1.0
    near = [s for s in _all_shifts(r) if w[0] - _REACH * span <= s <= w[-1] + _REACH * span]
    log = bool(w[0] > 0 and w[-1] > _DECADES * w[0] and all(s > 0 for s in near))
    if log:
        axis.set_xscale("log")
    number = np.arange(1, w.size + 1)
    good = _good(w, r)
    low = np.minimum(residuals, 0.99 * w) if log else residuals  # a bar that reaches zero leaves the axis
    axis.errorbar(w, number, xerr=[low, residuals], fmt="none", ecolor=_GREY, elinewidth=1.2, capsize=2.5, zorder=3)
    size = 6 if w.size <= 40 else 3
    for chosen, fill, label in (
        (good, "black", "eigenvalue" + (" ± residual" if r.mass_norm is None else "")),
        (~good, "white", "above the tolerance"),
    ):
        if chosen.any():
            dots = {"color": "black", "mfc": fill, "markersize": size, "zorder": 4}
            axis.plot(w[chosen], number[chosen], "o", label=label, **dots)
    for first, end in multiplets(w, _CLOSE * span):
        axis.annotate(
            f"×{end - first}", (w[end - 1], number[end - 1]), (-3, 4), textcoords="offset points", ha="right",
            fontsize=9, color="0.25",
        )  # fmt: skip
    _shifts(axis, near, r)
    axis.margins(x=0.06, y=0.08)
    if one_value:
        axis.set_xlim(min([w[0], *near]) - span, max([w[-1], *near]) + span)
    if r.count_at is not None:
        _counted(axis, r)
    axis.set_ylabel("number, increasing")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelbottom=False)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="lower right", framealpha=0.95)


def _all_shifts(r: EigenReport) -> list[float]:
    """The shift asked for, and those that were factored with."""
    return list(dict.fromkeys(s for s in (r.sigma, *r.shifts, r.shift) if s is not None))


def _shifts(axis: Any, near: list[float], r: EigenReport) -> None:
    """The shift as a line, others as dotted ones; what lies too far away as a line of the legend."""
    main = r.shift if r.shift is not None else r.sigma
    if main is None:
        return
    for j, s in enumerate(s for s in near if s != main):
        axis.axvline(s, color=_GREY, linestyle=":", linewidth=1.3, label="" if j else "another shift")
    text = f"shift {main:.6g}"
    if main in near:
        axis.axvline(main, color=_SHIFT, linestyle="--", linewidth=1.8, label=text)
    else:
        axis.plot([], [], color=_SHIFT, linestyle="--", linewidth=1.8, label=f"{text}, outside of the picture")


def _counted(axis: Any, r: EigenReport) -> None:
    """The part of the axis in which the inertia of a factor has counted all eigenvalues."""
    assert r.count_at is not None
    left, right = axis.get_xlim()
    if r.sigma is not None and r.which == "LM" and r.mode == "normal":
        away = abs(r.count_at - r.sigma)
        side, where = (max(left, r.sigma - away), min(right, r.sigma + away)), f"within {away:.4g} of the shift"
    elif r.sigma is None and r.which in ("SA", "LA"):
        side = (left, r.count_at) if r.which == "SA" else (r.count_at, right)
        where = f"{'below' if r.which == 'SA' else 'above'} {r.count_at:.6g}"
    else:
        axis.plot([], [], color=_FAINT, linewidth=7, label=f"{r.count_below} counted by inertia")
        return
    label = f"{r.count_below} counted {where}, by inertia"
    axis.axvspan(*side, facecolor=_FAINT, edgecolor="none", zorder=0, label=label)
    axis.set_xlim(left, right)


def _scale(w: np.ndarray, r: EigenReport) -> np.ndarray:
    """What the tolerance of each pair is relative to."""
    scale = r.norm + np.abs(w) * (r.mass_norm or 0.0)
    return np.where(scale > 0, scale, 1.0)


def _good(w: np.ndarray, r: EigenReport) -> np.ndarray:
    """Which pairs were accepted."""
    return np.full(w.size, True) if r.converged_pairs == w.size else np.asarray(r.residuals) <= r.tol * _scale(w, r)


def _residuals(axis: Any, w: np.ndarray, r: EigenReport) -> None:
    values = np.asarray(r.residuals) / _scale(w, r)
    floor = 1e-17
    axis.vlines(w, floor, np.maximum(values, floor), color="0.6", linewidth=1.2)
    axis.plot(w, np.maximum(values, floor), "o", color="black", markersize=4)
    axis.axhline(r.tol, color="black", linestyle=":", linewidth=1.2, label=f"tolerance {r.tol:.0e}")
    axis.set_yscale("log")
    axis.set_ylim(0.1 * max(min(float(values.min()), 1e-15), floor), 30 * max(float(values.max()), r.tol))
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel("||A v - λ v|| / ||A||" if r.mass_norm is None else "||A v - λ M v|| / (||A|| + |λ| ||M||)")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="upper right", framealpha=0.95)


def _history(axis: Any, history: np.ndarray, r: EigenReport) -> None:
    scale = r.norm or 1.0
    x = np.arange(1, history.size + 1)
    y = np.clip(
        history / scale, 1e-17, 2.0
    )  # no residual of a unit vector is larger; the estimate through a filter may be
    marker = "o" if history.size <= 60 else ""
    axis.plot(x, y, marker=marker, markersize=3.5, color="black", linewidth=1.5, label="worst wanted pair, estimated")
    axis.axhline(r.tol, color="black", linestyle=":", linewidth=1.2, label=f"tolerance {r.tol:.0e}")
    axis.set_yscale("log")
    axis.set_xlabel("filling of the subspace")
    axis.set_ylabel("residual / ||A||")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="upper right", framealpha=0.95)
