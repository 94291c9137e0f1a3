"""Pictures of frames: members, feet, and the deflection under a load case."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnla.errors import MissingDependencyError
from nnla.problems.frames import Frame

__all__ = ["frame_figure", "member_curves"]


def member_curves(frame: Frame, x: ArrayLike, points: int = 9) -> np.ndarray:
    """Displacements along the members, interpolated by the beams' cubic shape functions.

    Parameters
    ----------
    frame : Frame
    x : (n,) displacements
    points : per member

    Returns
    -------
    (M, points, 3), m. Shear deformation is left out of the shape functions, not of the nodes.
    """
    u = frame.displacements(x)
    start, end = frame.members.T
    along = frame.nodes[end] - frame.nodes[start]
    t = np.linspace(0.0, 1.0, points)[:, None]
    # rotation vector x chord: how fast the deflection grows at either end
    rise, fall = np.cross(u[start, 3:], along)[:, None], np.cross(u[end, 3:], along)[:, None]
    direction = along / np.linalg.norm(along, axis=1, keepdims=True)
    one, two = u[start, :3][:, None], u[end, :3][:, None]
    bent = (
        (1 - 3 * t**2 + 2 * t**3) * one
        + (3 * t**2 - 2 * t**3) * two
        + (t - 2 * t**2 + t**3) * rise
        + (t**3 - t**2) * fall
    )
    straight = (1 - t) * one + t * two  # elongation is linear
    axial = np.einsum("mpk,mk->mp", straight - bent, direction)
    return bent + axial[:, :, None] * direction[:, None]


def frame_figure(
    frame: Frame, x: ArrayLike | None = None, *, title: str | None = None, scale: float | None = None
) -> Any:
    """A frame and, if given, its magnified deflection, as a Matplotlib figure.

    Parameters
    ----------
    frame : Frame
    x : (n,) displacements, or None
    title : str
    scale : magnification; by default the largest displacement shows as 6 % of the building's size

    Raises
    ------
    MissingDependencyError
        Matplotlib is not installed.
    """
    try:
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
        from mpl_toolkits.mplot3d.art3d import Line3DCollection
    except ImportError as error:
        raise MissingDependencyError("a picture needs Matplotlib; install it with: pip install 'nnla[plot]'") from error
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    nodes, size = frame.nodes, np.ptp(frame.nodes, axis=0)
    above = np.any(frame.unknown[frame.members] >= 0, axis=1)  # beams between feet do nothing
    lines = nodes[frame.members[above]]
    faint = x is not None
    axes.add_collection(Line3DCollection(lines, colors="0.8" if faint else "0.3", linewidths=0.6 if faint else 0.9))
    feet = nodes[(frame.unknown < 0)]
    axes.scatter(*feet.T, marker="s", s=6, color="0.2", depthshade=False)
    if x is not None:
        curves = member_curves(frame, x)[above]
        length = np.linalg.norm(curves, axis=2)
        largest = float(length.max())
        scale = scale if scale is not None else 0.06 * float(size.max()) / (largest or 1.0)
        t = np.linspace(0, 1, curves.shape[1])[:, None]
        ends = lines[:, None]
        places = (1 - t) * ends[:, :, 0] + t * ends[:, :, 1] + scale * curves
        pieces = np.stack([places[:, :-1], places[:, 1:]], axis=2).reshape(-1, 2, 3)
        colour = (length[:, :-1] + length[:, 1:]).ravel() / 2
        bent = Line3DCollection(pieces, cmap="viridis", norm=Normalize(0, largest), linewidths=1.1)
        bent.set_array(colour)
        axes.add_collection(bent)
        figure.colorbar(bent, ax=axes, shrink=0.6, label="displacement (m)", format="%.1e")
        title = title or f"deflection, drawn {scale:.2g} times as large"
    axes.set(xlabel="x (m)", ylabel="y (m)", zlabel="z (m)", title=title or "")
    axes.auto_scale_xyz(*nodes.T)
    axes.set_box_aspect(np.maximum(size, 0.2 * size.max()))
    axes.view_init(elev=22, azim=-58)
    return figure
