"""A picture of one boundary value problem: its coefficients, source, solution and matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import MissingDependencyError, OptionError
from nnla.problems.bvp import BVPSystems

__all__ = ["bvp_figure"]

DECADES = 8  # of the matrix's entries that are told apart


def bvp_figure(systems: BVPSystems, index: int = 0, *, title: str | None = None) -> Any:
    """kappa (and c, v, g), f, u, and the matrix of one system, as a Matplotlib figure.

    Parameters
    ----------
    systems : `BVPSystems`, with noise or without; the solution drawn is its ``x``
    index : which; negative ones count from the end
    title : str

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    OptionError
        No system of that index.

    Examples
    --------
    >>> from nnla.problems import bvp_systems
    >>> figure = bvp_figure(bvp_systems(2, equation="reaction"), 1)
    >>> [axes.get_title() for axes in figure.axes[:4]]
    ['coefficients', 'source f', 'solution u', 'matrix |A|, 64 x 64']
    """
    whole = isinstance(index, (int, np.integer)) and not isinstance(index, bool)
    if not whole or not -len(systems) <= index < len(systems):
        raise OptionError(f"index={index!r} is none of the {len(systems)} systems; count from 0")
    try:
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("a picture needs Matplotlib; install it with: pip install 'nnla[plot]'") from error
    A, grid, v = systems.A[index], systems.grid, float(systems.v[index])
    figure = Figure(figsize=(13, 3.3), layout="constrained")
    coefficients, source, solution, matrix = figure.subplots(1, 4)

    coefficients.plot(grid, systems.kappa[index], ".-", markersize=3, label="$\\kappa$")
    if systems.c[index].any():
        scale = systems.c[index].max()
        coefficients.plot(grid, systems.c[index] / scale, "C1-", drawstyle="steps-mid", label=f"c / {scale:.3g}")
    if np.any(systems.g[index] != 1):
        coefficients.plot(grid, systems.g[index], "C4.-", markersize=3, label="g")
    if v:
        coefficients.plot([], [], " ", label=f"v = {v:.3g}")
    coefficients.set_ylim(bottom=0.0)
    coefficients.set_title("coefficients")
    coefficients.legend(fontsize=8)

    source.plot(grid, systems.f[index], ".-", color="C2", markersize=3)
    source.set_ylim(bottom=0.0)
    source.set_title("source f")

    inner = systems.boundary == "interior"
    points = np.concatenate([grid[:1], systems.points, grid[-1:]]) if inner else systems.points
    u = np.concatenate([[0.0], systems.x[index], [0.0]]) if inner else systems.x[index]
    solution.plot(points, u, ".-", color="C3", markersize=3)
    solution.axhline(0.0, color="0.7", linewidth=0.8)
    solution.set_title("solution u")
    for axes in (coefficients, source, solution):
        axes.set_xlabel("x" if np.all(systems.g[index] == 1) else "coordinate $\\xi$")

    largest = float(np.abs(A).max()) or 1.0
    size = np.maximum(np.abs(A), largest * 10.0**-DECADES)
    picture = matrix.imshow(size, cmap="viridis", norm=LogNorm(largest * 10.0**-DECADES, largest))
    matrix.set_title(f"matrix |A|, {systems.n} x {systems.n}")  # its signs alternate like the squares of a chessboard
    figure.colorbar(picture, ax=matrix, shrink=0.9)
    figure.suptitle(title if title is not None else f"{systems.equation}, system {index}")
    return figure
