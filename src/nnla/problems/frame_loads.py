"""Load cases on building frames: self weight, slabs, snow and wind, as nodal forces.

A slab or a facade panel is a rectangle of the grid with members on all four sides. It hands its pressure
to them by triangles (short sides) and trapezoids (long sides), each replaced by the uniform load of the
same total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nnla.problems.frame_elements import Sections, uniform_loads

__all__ = ["Panels", "draw_loads", "panel_loads", "panels", "wind_loads"]

# Exposure categories of the Italian code NTC 2018, table 3.3.II: k_r, z_min, z_0
_EXPOSURE = ((0.17, 2.0, 0.01), (0.19, 4.0, 0.05), (0.20, 5.0, 0.10), (0.22, 8.0, 0.30), (0.23, 12.0, 0.70))
_WINDS = ("-x", "+x", "-y", "+y")


@dataclass(frozen=True, eq=False)
class Panels:
    """Rectangles of the grid that are normal to one axis.

    Attributes
    ----------
    axis : the normal, 0 to 2
    sides : (P, 4) members; the first two are parallel, so are the last two
    lengths : (P, 2) of the first and of the last two sides, m
    top : (P,) height of the highest corner, m
    first, last : (P,) whether no panel lies further down, or up, along the normal in the same row
    """

    axis: int
    sides: np.ndarray
    lengths: np.ndarray
    top: np.ndarray
    first: np.ndarray
    last: np.ndarray


def panels(axis: int, grids: list[np.ndarray], places: list[np.ndarray]) -> Panels:
    """The panels normal to an axis.

    Parameters
    ----------
    axis : 0, 1 or 2
    grids : for x, y, z the number of the member that starts at each grid point and runs along the axis, -1
        for none; all of the grid's shape
    places : coordinates of the grid's planes, one array per axis

    Examples
    --------
    >>> grids = [np.array([[[0, 1]], [[-1, -1]]]), np.full((2, 1, 2), -1), np.array([[[2, -1]], [[3, -1]]])]
    >>> panels(1, grids, [np.arange(2.0), np.zeros(1), np.arange(2.0)]).sides
    array([[0, 1, 2, 3]])
    """
    u, v = (k for k in range(3) if k != axis)

    def at(grid: np.ndarray, du: int, dv: int) -> np.ndarray:
        index = [slice(None)] * 3
        index[u] = slice(1, None) if du else slice(None, -1)
        index[v] = slice(1, None) if dv else slice(None, -1)
        return grid[tuple(index)]

    four = np.stack([at(grids[u], 0, 0), at(grids[u], 0, 1), at(grids[v], 0, 0), at(grids[v], 1, 0)], axis=-1)
    there = np.all(four >= 0, axis=-1)
    first = there & (np.cumsum(there, axis=axis) == 1)
    last = there & (np.flip(np.cumsum(np.flip(there, axis), axis=axis), axis) == 1)
    where = np.nonzero(there)
    lengths = np.stack([np.diff(places[u])[where[u]], np.diff(places[v])[where[v]]], axis=1)
    top = places[2][where[2] + (axis != 2)]
    return Panels(axis, four[there], lengths, top, first[there], last[there])


def panel_loads(members: int, some: Panels, pressure: ArrayLike, *, as_stand: bool = False) -> np.ndarray:
    """Load per length on the members from pressures on panels.

    Parameters
    ----------
    members : M
    some : Panels
    pressure : scalar or (P,), Pa, along the positive normal
    as_stand : share as the StAnD data do, where the first side always counts as the short one of the formula.
        Panels whose first side is the longer then carry another total; needed to meet those data exactly

    Returns
    -------
    (M, 3); the total force is that of the pressure, unless ``as_stand``.

    Notes
    -----
    Cost: some operations a panel.
    """
    s, t = some.lengths.T
    short, long = (s, t) if as_stand else (np.minimum(s, t), np.maximum(s, t))
    triangle, trapezoid = short / 4, short * (long - short / 2) / (2 * long)
    on_s: np.ndarray = np.where(s <= t, triangle, trapezoid)
    on_t: np.ndarray = np.where(s <= t, trapezoid, triangle)
    each = np.stack([on_s, on_s, on_t, on_t], axis=1) * np.broadcast_to(pressure, s.shape)[:, None]
    q = np.zeros((members, 3))
    q[:, some.axis] = np.bincount(some.sides.ravel(), each.ravel(), members)
    return q


def wind_loads(
    members: int, sides: list[Panels], size: np.ndarray, speed: float, towards: str, exposure: int, **sharing: bool
) -> np.ndarray:
    """Load per length from wind: pressure on the windward side, suction on the three others.

    Parameters
    ----------
    members : M
    sides : panels normal to x and to y
    size : (3,) extent of the building, m
    speed : m/s
    towards : "-x", "+x", "-y" or "+y", where the wind blows to
    exposure : category 0 (sea) to 4 (town)
    sharing : passed to `panel_loads`

    Returns
    -------
    (M, 3)

    Notes
    -----
    Cost: that of `panel_loads` for four sides.

    References
    ----------
    NTC 2018, section 3.3, with the pressure coefficients of its commentary C3.3.8.1.
    """
    axis, sign = "xy".index(towards[1]), 1.0 if towards[0] == "+" else -1.0
    ratio, width = float(size[2] / size[axis]), float(size[1 - axis])
    front = 0.7 + 0.1 * ratio if ratio < 1 else 0.8
    back = 0.3 + 0.2 * ratio if ratio < 1 else 0.5 + 0.05 * (ratio - 1)
    flank = 0.5 + 0.8 * ratio if ratio < 0.5 else 0.9
    k_r, z_min, z_0 = _EXPOSURE[exposure]
    q = np.zeros((members, 3))
    for some in sides:
        stretch = np.log(np.maximum(some.top, max(width, z_min)) / z_0)
        pressure = 0.5 * 1.25 * speed**2 * k_r**2 * stretch * (7 + stretch)
        if some.axis == axis:
            low, high = (front, back) if sign > 0 else (back, front)
            coefficient = sign * (low * some.first + high * some.last)
        else:
            coefficient = flank * (some.last * 1.0 - some.first * 1.0)
        q += panel_loads(members, some, pressure * coefficient, **sharing)
    return q


def draw_loads(
    rng: np.random.Generator,
    count: int,
    nodes: np.ndarray,
    members: np.ndarray,
    sections: Sections,
    normal: list[Panels],
    *,
    mixed: bool,
    **sharing: bool,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Draw load cases as nodal forces and moments.

    Parameters
    ----------
    rng : numpy Generator
    count : number of load cases
    nodes, members, sections : the frame, (N, 3), (M, 2) and M sections
    normal : panels normal to x, y, z
    mixed : False for the cases of StAnD: self weight once, else slabs, snow or wind, one kind at a time. True
        adds slabs loaded at random, design combinations of all kinds, and single forces
    sharing : passed to `panel_loads`

    Returns
    -------
    loads : (count, N, 6)
    names : what each is

    Notes
    -----
    Cost: that of `panel_loads` for each load case.

    References
    ----------
    Grementieri & Finelli, StAnD (arXiv:2201.05356), for the cases of StAnD; NTC 2018, chapters 2 and 3, for
    combinations, snow and wind.
    """
    M, roof = len(members), normal[2]
    size = np.ptp(np.asarray(nodes), axis=0)
    free = np.nonzero(np.asarray(nodes)[:, 2] > 0)[0]

    def weight() -> np.ndarray:
        q = np.zeros((M, 3))
        q[:, 2] = -sections.weight
        return q

    def slabs(share: float = 1.0) -> np.ndarray:
        loaded = rng.random(len(roof.sides)) < share
        return panel_loads(M, roof, -rng.uniform(2000, 3000) * loaded, **sharing)

    def snow() -> np.ndarray:
        return panel_loads(M, roof, -0.8 * rng.uniform(600, 5600) * roof.last, **sharing)

    def wind(speed: float, towards: str) -> np.ndarray:
        return wind_loads(M, normal[:2], size, speed, towards, int(rng.integers(5)), **sharing)

    loads = np.zeros((count, len(nodes), 6))
    names: list[str] = []
    kinds = ("slabs", "snow", "wind") if not mixed else ("slabs", "snow", "wind", "some slabs", "combination", "forces")
    for k in range(count):
        # StAnD loads a structure by its own weight with probability 1 - (3/4)^count; of ten cases, nearly always
        name = "weight" if k == 0 and rng.random() < 1 - 0.75**count else kinds[rng.integers(len(kinds))]
        q = np.zeros((M, 3))
        if name == "weight":
            q = weight()
        elif name == "slabs":
            q = slabs()
        elif name == "snow":
            q = snow()
        elif name == "wind":
            towards = _WINDS[rng.integers(4)]
            # the default range of StAnD, in m/s: a hundredth of a storm's speed, so forces are a few newtons
            name, q = f"wind {towards}", wind(rng.uniform(0.25, 0.31), towards)
        elif name == "some slabs":
            q = slabs(share=rng.uniform(0.1, 0.9))
        elif name == "combination":
            storm = wind(rng.uniform(25, 31), _WINDS[rng.integers(4)])
            q = 1.3 * weight() + 1.5 * slabs() + 0.75 * snow() + 0.9 * storm
        else:
            which = rng.choice(free, size=1 + rng.integers(5))
            loads[k, which, :3] = 1e4 * rng.standard_normal((which.size, 3))
        loads[k] += uniform_loads(nodes, members, q)
        if not np.any(loads[k, free]):  # few panels are whole where members are missing
            name, loads[k] = "weight", uniform_loads(nodes, members, weight())
        names.append(name)
    return loads, tuple(names)
