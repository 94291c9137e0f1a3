"""Pictures of eigenvectors on their mesh: scalar modes by colour, displacements as the deformed shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array

from nnla.errors import NonFiniteError, ShapeError
from nnla.evaluation.plots import require_matplotlib

__all__ = ["Mesh", "make_mesh", "plot_modes", "unknowns_per_node"]

_MOST = 12  # panels
_WIDTH = 3.1  # inches a panel
_SIZE = 0.08  # of the mesh: the largest displacement drawn
_STRETCH = 2.5  # times the usual distance of neighbours: longer sides of a triangle span a hole
_BARS = 12  # edges a node at most in a structure that is drawn by its bars
_EDGES = 30_000  # drawn a panel at most
_NETWORK = 1000  # nodes up to which the bars are drawn under values at the nodes
_POINTS = 40_000
_ELEVATION, _AZIMUTH = math.radians(22.0), math.radians(-58.0)
_MAP = "viridis"  # its lightness grows all the way, so that grey prints show the same


@dataclass(frozen=True)
class Mesh:
    """What is drawn of a mesh.

    Attributes
    ----------
    points : (m, 2) or (m, 3) nodes
    triangles : (t, 3) in the plane; empty in space
    edges : (e, 2) outline in the plane; in space the bars of a structure that has few, else empty
    """

    points: np.ndarray
    triangles: np.ndarray
    edges: np.ndarray


def unknowns_per_node(n: int, points: np.ndarray) -> int:
    """1, 2, 3 or 6 unknowns a node, the numbers that can be drawn.

    Parameters
    ----------
    n : unknowns in all
    points : (m, 2) or (m, 3)

    Raises
    ------
    ShapeError
        Nodes that do not divide the unknowns, or numbers of unknowns and of coordinates that do not go together.

    Examples
    --------
    >>> unknowns_per_node(12, np.zeros((6, 2)))
    2
    """
    m, d = points.shape
    each, rest = divmod(n, m)
    if rest or each not in (1, 2, 3, 6):
        raise ShapeError(
            f"{m} nodes do not go with {n} unknowns (1, 2, 3 or 6 a node); give a row of coordinates for each node "
            "that has unknowns, and none for fixed ones"
        )
    needed = {1: d, 2: 2}.get(each, 3)
    if needed != d:
        raise ShapeError(
            f"{each} unknowns a node are displacements in {'the plane' if needed == 2 else 'space'}, but the nodes "
            f"have {d} coordinates; give {needed}"
        )
    return each


def make_mesh(points: np.ndarray, A: Any = None, each: int = 1) -> Mesh:
    """Triangles, or bars, between nodes: those that the pattern of A knows where there is one.

    Parameters
    ----------
    points : (m, 2) or (m, 3)
    A : sparse (m each, m each), or None
        Nodes that share an entry are neighbours: holes and notches stay open.
    each : unknowns a node, numbered node by node

    Returns
    -------
    Mesh

    Notes
    -----
    Cost: a Delaunay triangulation in the plane, and a pass over the entries.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> len(make_mesh(square).triangles), len(make_mesh(square).edges)
    (2, 4)
    """
    m, d = points.shape
    pairs = None if A is None else _pairs(A, m, each)
    if d == 3:
        bars = pairs is not None and 0 < len(pairs) <= min(_BARS * m / 2, _EDGES)
        return Mesh(points, np.empty((0, 3), dtype=int), pairs if bars and pairs is not None else np.empty((0, 2), int))
    triangles = _triangles(points, pairs)
    return Mesh(points, triangles, _outline(triangles))


def plot_modes(
    w: ArrayLike, V: ArrayLike, points: ArrayLike, *, A: Any = None, name: str = "", frequencies: bool = False
) -> Any:
    """Up to twelve modes on their mesh, a panel each.

    Parameters
    ----------
    w : (k,) eigenvalues
    V : (n, k) eigenvectors; the unknowns of a node follow each other
    points : (m, 2) or (m, 3) coordinates of the nodes, m = n, n / 2, n / 3 or n / 6; of three or six unknowns a node
        the first three are displacements
    A : sparse (n, n) whose pattern tells which nodes are neighbours, or None
    name : of the matrix, for the title
    frequencies : the titles also say sqrt(lambda) / 2 pi, where lambda is not negative

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        Sizes that do not go together.
    NonFiniteError
        A vector with NaN or Inf.
    MissingDependencyError

    Notes
    -----
    Cost: that of `make_mesh`, and of drawing each panel. In space more than 40 000 nodes are thinned out.
    """
    figure_class = require_matplotlib()
    w, V, points = (np.asarray(x, dtype=np.float64) for x in (w, V, points))
    if V.ndim != 2 or w.shape != (V.shape[1],) or points.ndim != 2 or 0 in (*V.shape, len(points)):
        raise ShapeError(f"shapes {w.shape}, {V.shape}, {points.shape} do not go together; give (k,), (n, k), (m, d)")
    if not np.isfinite(V).all():
        raise NonFiniteError("an eigenvector holds NaN or Inf and cannot be drawn; look at the report first")
    each = unknowns_per_node(len(V), points)
    mesh = make_mesh(points, A, each)
    shown = min(len(w), _MOST)
    columns = shown if shown < 4 else min((4, 3), key=lambda c: (-shown % c, -c))
    rows = -(-shown // columns)
    width, height = _panel(mesh)
    figure = figure_class(figsize=(max(width * columns, 4.5), height * rows + 0.5), layout="constrained")
    more = "" if shown == len(w) else f", the first {shown} of {len(w)}"
    drawn = "values, bright above zero" + (", lines where they are zero" if mesh.triangles.size else "")
    drawn = drawn if each == 1 else "displacements, magnified, bright where largest"
    figure.suptitle(f"{name or 'modes'}:  {drawn}{more}", fontsize=11)
    for j in range(shown):
        axis = figure.add_subplot(rows, columns, j + 1)
        field = V[:, j].reshape(len(points), each)
        field = field / (np.abs(field[:, :3]).max() or 1.0)
        if each == 1:
            field = field * (np.sign(field.flat[np.abs(field).argmax()]) or 1.0)  # the same sign on every machine
            (_scalar_plane if points.shape[1] == 2 else _scalar_space)(axis, mesh, field[:, 0])
        else:
            (_shape_plane if each == 2 else _shape_space)(axis, mesh, field[:, :3])
        axis.set_title(_title(j, float(w[j]), frequencies), fontsize=9)
        axis.set_aspect("equal")
        axis.set_axis_off()
    return figure


def _title(j: int, value: float, frequencies: bool) -> str:
    text = f"{j + 1}:  λ = {value:.5g}"
    if frequencies and value >= 0:
        text += f",  √λ/2π = {math.sqrt(value) / (2 * math.pi):.4g}"
    return text


def _panel(mesh: Mesh) -> tuple[float, float]:
    """Inches a panel takes: of the shape of what it shows."""
    flat = mesh.points if mesh.points.shape[1] == 2 else _project(mesh.points)[:, :2]
    wide, high = np.ptp(flat, axis=0)
    ratio = float(np.clip(high / wide if wide > 0 else 1.0, 0.35, 1.6))
    return _WIDTH, _WIDTH * ratio + 0.35


# -- the mesh ---------------------------------------------------------------------------------------------


def _pairs(A: Any, m: int, each: int) -> np.ndarray:
    """Neighbouring nodes (e, 2), each pair once."""
    entries = coo_array(A)
    i, j = entries.row // each, entries.col // each
    key = np.unique(i[i < j].astype(np.int64) * m + j[i < j])
    return np.column_stack([key // m, key % m])


def _triangles(points: np.ndarray, pairs: np.ndarray | None) -> np.ndarray:
    """Delaunay's triangles that lie in the mesh; none where the nodes lie on a line."""
    from scipy.spatial import Delaunay, QhullError

    size = np.ptp(points, axis=0).max()
    if len(points) < 3 or not size > 0:
        return np.empty((0, 3), dtype=int)
    try:
        found = Delaunay((points - points.mean(axis=0)) / size).simplices
    except QhullError:
        return np.empty((0, 3), dtype=int)
    sides = np.stack([found, np.roll(found, -1, axis=1)], axis=-1)  # (t, 3, 2)
    if pairs is not None and len(pairs):
        key = sides.min(axis=-1).astype(np.int64) * len(points) + sides.max(axis=-1)
        known = np.isin(key, pairs[:, 0] * len(points) + pairs[:, 1]).sum(axis=1)
        for least in (3, 2):  # the cells of a grid have no diagonal in its pattern
            if np.count_nonzero(known >= least) >= 0.5 * len(points):
                return found[known >= least]
    length = np.linalg.norm(points[sides[..., 0]] - points[sides[..., 1]], axis=-1)
    usual = np.full(len(points), np.inf)  # the distance of a node's nearest neighbour, with that of its neighbours
    np.minimum.at(usual, sides.ravel(), np.repeat(length.ravel(), 2))
    near = usual[found].max(axis=1)
    inside = length.max(axis=1) <= _STRETCH * near
    return found[inside] if inside.sum() >= 0.5 * len(points) else found


def _outline(triangles: np.ndarray) -> np.ndarray:
    """Sides that belong to one triangle only."""
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    if not len(sides):
        return np.empty((0, 2), dtype=int)
    found, count = np.unique(sides, axis=0, return_counts=True)
    return found[count == 1]


# -- panels ---------------------------------------------------------------------------------------------


def _lines(axis: Any, places: np.ndarray, edges: np.ndarray, values: np.ndarray | None = None, **style: Any) -> None:
    from matplotlib.collections import LineCollection

    if not len(edges):
        return
    lines: Any = LineCollection(list(places[edges]), **style)
    if values is not None:
        lines.set_array(values[edges].mean(axis=1))
    axis.add_collection(lines)
    axis.autoscale_view()


def _dot_size(flat: np.ndarray, points: np.ndarray) -> float:
    """Area of a dot, in square points of print, as wide as a node's distance from its neighbours."""
    from scipy.spatial import KDTree

    apart = KDTree(points).query(points[:: -(-len(points) // 500)], k=2)[0][:, 1] if len(points) > 1 else np.ones(1)
    wide = float(np.ptp(flat, axis=0).max()) or 1.0
    return float(np.clip(72 * _WIDTH * np.median(apart) / wide, 1.5, 12.0)) ** 2


def _dots(axis: Any, places: np.ndarray, values: np.ndarray, low: float) -> None:
    axis.scatter(
        *places.T, c=values, cmap=_MAP, vmin=low, vmax=1.0, s=_dot_size(places, places), linewidths=0, rasterized=True
    )


def _scalar_plane(axis: Any, mesh: Mesh, values: np.ndarray) -> None:
    x, y = mesh.points.T
    if not len(mesh.triangles):
        _dots(axis, mesh.points, values, -1.0)
        return
    axis.tripcolor(x, y, mesh.triangles, values, shading="gouraud", cmap=_MAP, vmin=-1.0, vmax=1.0, rasterized=True)
    if values.min() < -1e-6 and values.max() > 1e-6:
        axis.tricontour(x, y, mesh.triangles, values, levels=[0.0], colors="black", linewidths=0.7)
    _lines(axis, mesh.points, mesh.edges, colors="0.35", linewidths=0.6)


def _shape_plane(axis: Any, mesh: Mesh, field: np.ndarray) -> None:
    length = np.linalg.norm(field, axis=1)
    places = mesh.points + _SIZE * np.ptp(mesh.points, axis=0).max() * field / (length.max() or 1.0)
    values = length / (length.max() or 1.0)
    _lines(axis, mesh.points, mesh.edges, colors="0.6", linewidths=0.7, linestyles="--")
    if not len(mesh.triangles):
        _dots(axis, places, values, 0.0)
        return
    axis.tripcolor(*places.T, mesh.triangles, values, shading="gouraud", cmap=_MAP, vmin=0.0, vmax=1.0, rasterized=True)
    _lines(axis, places, mesh.edges, colors="0.2", linewidths=0.6)


def _project(points: np.ndarray) -> np.ndarray:
    """(m, 3): right, up, and towards the eye, seen from a corner a little above."""
    x, y, z = points.T
    towards = math.cos(_AZIMUTH) * x + math.sin(_AZIMUTH) * y
    right = -math.sin(_AZIMUTH) * x + math.cos(_AZIMUTH) * y
    up = -math.sin(_ELEVATION) * towards + math.cos(_ELEVATION) * z
    return np.column_stack([right, up, math.cos(_ELEVATION) * towards + math.sin(_ELEVATION) * z])


def _scatter_space(axis: Any, places: np.ndarray, values: np.ndarray, low: float, weight: np.ndarray) -> None:
    """Points from the farthest to the nearest, so that the near ones cover the far ones, which are paler."""
    from matplotlib import colormaps

    flat = _project(places)
    order = np.argsort(flat[:, 2])
    order = order[:: -(-len(order) // _POINTS)]
    depth = flat[order, 2]
    pale = 0.45 * (depth.max() - depth) / (np.ptp(depth) or 1.0)
    colours = colormaps[_MAP]((values[order] - low) / (1.0 - low))
    colours[:, :3] += pale[:, None] * (1.0 - colours[:, :3])
    size = _dot_size(flat[:, :2], places[order])
    axis.scatter(*flat[order, :2].T, c=colours, s=size * weight[order], linewidths=0, rasterized=True)


def _scalar_space(axis: Any, mesh: Mesh, values: np.ndarray) -> None:
    if len(mesh.edges) > 0 and len(mesh.points) <= _NETWORK:
        _lines(axis, _project(mesh.points)[:, :2], mesh.edges, colors="0.75", linewidths=0.6, zorder=0)
    # small where the values are, else the outside of a solid would hide what goes on within
    _scatter_space(axis, mesh.points, values, -1.0, 0.02 + values**2)


def _shape_space(axis: Any, mesh: Mesh, field: np.ndarray) -> None:
    length = np.linalg.norm(field, axis=1)
    places = mesh.points + _SIZE * np.ptp(mesh.points, axis=0).max() * field / (length.max() or 1.0)
    values = length / (length.max() or 1.0)
    if not len(mesh.edges):
        _scatter_space(axis, places, values, 0.0, np.ones(len(places)))
        return
    from matplotlib.colors import Normalize

    _lines(axis, _project(mesh.points)[:, :2], mesh.edges, colors="0.82", linewidths=0.5)
    flat = _project(places)
    nearest_last = mesh.edges[np.argsort(flat[mesh.edges, 2].mean(axis=1))]
    _lines(axis, flat[:, :2], nearest_last, values, cmap=_MAP, norm=Normalize(0.0, 1.0), linewidths=1.1)
