"""Pictures of what `nnla.analysis` finds. Needs Matplotlib; save them with `nnla.evaluation.plots.save_figure`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnla.analysis.equioscillation import ChebyshevFit, Equioscillation
from nnla.errors import OptionError
from nnla.evaluation.plots import require_matplotlib
from nnla.polynomials.recurrence import Recurrence

__all__ = ["plot_chebyshev_fits", "plot_curves", "plot_equioscillation", "plot_improvements"]

_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito


def _panels(count: int, width: float = 4.6, height: float = 3.6) -> tuple[Any, list[Any]]:
    if count < 1:
        raise OptionError("there is nothing to draw; pass at least one panel")
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = require_matplotlib()(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for axis in axes:
        axis.grid(alpha=0.25)
    return figure, axes


def plot_chebyshev_fits(fits: Mapping[str, ChebyshevFit]) -> Any:
    """|a P(b x + c) + d| beside |T(x)|, one panel per polynomial (Figure 6).

    Parameters
    ----------
    fits : title -> result of `nnla.analysis.chebyshev_fit`

    References
    ----------
    AutoSpec (arXiv:2602.09530), Figure 6.
    """
    figure, axes = _panels(len(fits))
    for axis, (title, fit) in zip(axes, fits.items(), strict=True):
        axis.plot(fit.x, np.maximum(np.abs(fit.chebyshev), 1e-6), color=_COLOURS[1], linewidth=2.6, label="Chebyshev")
        label = f"learned, difference {fit.inside:.2g} on [-1, 1]"
        axis.plot(fit.x, np.maximum(np.abs(fit.fitted), 1e-6), color=_COLOURS[0], linewidth=1.1, label=label)
        axis.set(yscale="log", ylim=(1e-3, None), xlabel="x", ylabel="|P(x)|", title=title)
        axis.legend(fontsize=8, loc="upper center")
    return figure


def plot_equioscillation(polynomials: Mapping[str, tuple[Recurrence, Equioscillation]]) -> Any:
    """P on its window with the extrema that alternate, one panel per polynomial.

    Parameters
    ----------
    polynomials : title -> (recurrence, result of `nnla.analysis.equioscillation`)
    """
    figure, axes = _panels(len(polynomials))
    for axis, (title, (P, e)) in zip(axes, polynomials.items(), strict=True):
        low, high = e.window
        x = (low + high) / 2 - (high - low) / 2 * np.cos(np.linspace(0, np.pi, 2000))
        value = P(x)
        axis.plot(x, value / np.abs(value).max(), color=_COLOURS[0], linewidth=1.1)
        counted = np.abs(e.value) >= e.level
        axis.plot(e.x[counted], e.value[counted], "o", color=_COLOURS[1], markersize=3.5)
        axis.plot(e.x[~counted], e.value[~counted], "x", color="#999999", markersize=4)
        for level in (-1, 1):
            axis.axhline(level, color="black", linewidth=0.6)
        text = f"{e.alternations} of {e.degree + 1} alternate at {e.level:.0%}"
        axis.set(xlabel="x", ylabel="P / max |P|", title=f"{title}\n{text}", ylim=(-1.15, 1.15))
    return figure


def plot_curves(
    panels: Mapping[str, Mapping[str, Any]], *, xlabel: str, ylabel: str, xlog: bool = False, zero: bool = True
) -> Any:
    """Curves with markers, several per panel (Figures 5, 10, 11a, 13).

    Parameters
    ----------
    panels : title -> {label: (x, y) or (x, y, low, high) with a band}
    xlabel, ylabel : of all panels
    xlog : whether x is logarithmic
    zero : whether y starts at 0

    References
    ----------
    AutoSpec (arXiv:2602.09530), Figures 5, 10, 11a and 13.
    """
    figure, axes = _panels(len(panels))
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for index, (label, data) in enumerate(curves.items()):
            colour = _COLOURS[index % len(_COLOURS)]
            axis.plot(data[0], data[1], marker="o", markersize=3.5, color=colour, label=label)
            if len(data) == 4:
                axis.fill_between(data[0], data[2], data[3], color=colour, alpha=0.15, linewidth=0)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if xlog:
            axis.set_xscale("log")
            ticks = np.unique(np.concatenate([np.asarray(data[0], dtype=float) for data in curves.values()]))
            axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axis.minorticks_off()
        if zero:
            axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    return figure


def plot_improvements(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], *, xlabel: str, ylabel: str) -> Any:
    """Clouds of points with their running median, one panel per quality of the probe (Figures 11b, 12, 14).

    Parameters
    ----------
    panels : title -> (x, improvement), a point per spectrum

    References
    ----------
    AutoSpec (arXiv:2602.09530), Figures 11b, 12 and 14.
    """
    figure, axes = _panels(len(panels), width=3.8)
    top = max(float(np.max(y)) for _, y in panels.values())
    for axis, (title, (x, y)) in zip(axes, panels.items(), strict=True):
        axis.plot(x, y, ".", color=_COLOURS[1], markersize=3, alpha=0.5)
        edges = np.geomspace(x.min(), x.max() * (1 + 1e-9), 13)
        bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, 11)
        filled = [i for i in range(12) if np.any(bins == i)]
        middle = np.sqrt(edges[1:] * edges[:-1])
        axis.plot(middle[filled], [np.median(y[bins == i]) for i in filled], color=_COLOURS[0], label="median")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel, title=title, ylim=(min(0.0, float(y.min())), 1.05 * top))
        axis.legend(fontsize=8)
    return figure
