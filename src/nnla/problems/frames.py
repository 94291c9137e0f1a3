"""Three-dimensional building frames: matrices, load cases and geometry from a seed.

The family of the StAnD data set (Grementieri & Finelli, 2022), from its published ranges: a grid of beams
and columns, one concrete section per structure, a random height for each cell of the plan. A second style
is irregular on purpose: braces, missing members, setbacks, mixed materials and sections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from nnla.errors import OptionError, ShapeError
from nnla.problems.frame_elements import Sections, assemble_frame, element_stiffness, local_axes
from nnla.problems.frame_loads import draw_loads, panels
from nnla.types import Problem

__all__ = ["SIZES", "STYLES", "Frame", "frame", "synthetic"]

# Spacings of the grid along x, y and z: [low, high) as in StAnD's configurations; "mini" is for training.
SIZES = {
    "mini": ((2, 6), (2, 6), (2, 6)),
    "small": ((6, 12), (6, 12), (3, 8)),
    "medium": ((9, 18), (9, 18), (6, 10)),
    "large": ((12, 24), (12, 24), (8, 12)),
}
STYLES = ("stand", "regular", "irregular")


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame under load: ``A @ x = loads[:, k]``, and what is needed to draw it.

    Attributes
    ----------
    A : csr_array (n, n), symmetric positive definite, N/m and N m; feet eliminated
    loads : (n, k) nodal forces and moments of each load case
    load_names : what each load case is
    dof : (n,) 0 to 5 for ux, uy, uz, rx, ry, rz
    coordinates : (n, 3) the node of each unknown, m
    nodes : (N, 3) all nodes, feet included
    members : (M, 2) their nodes
    sections : Sections of the members
    unknown : (N,) place of each node among the free ones, -1 for feet
    meta : size, style, seed, grid, features
    """

    A: csr_array
    loads: np.ndarray
    load_names: tuple[str, ...]
    dof: np.ndarray
    coordinates: np.ndarray
    nodes: np.ndarray
    members: np.ndarray
    sections: Sections
    unknown: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def n(self) -> int:
        """Number of unknowns."""
        return len(self.dof)

    def solve(self, loads: ArrayLike | None = None) -> np.ndarray:
        """Displacements by sparse factorisation: (n, k) for the frame's load cases, or for the given ones."""
        from scipy.sparse.linalg import splu

        loads = self.loads if loads is None else np.asarray(loads, dtype=np.float64)
        if loads.ndim not in (1, 2) or loads.shape[0] != self.n:
            raise ShapeError(f"loads must have {self.n} rows, got shape {loads.shape}")
        factors: Any = splu(
            self.A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        return factors.solve(loads)

    def problem(self, case: int, x: ArrayLike | None = None) -> Problem:
        """One load case as a `Problem`, with its solution if given."""
        name = f"frame-{self.meta.get('size')}-{self.meta.get('style')}-{self.meta.get('seed')}-{case}"
        return Problem(name, self.A, self.loads[:, case], x, {**self.meta, "load": self.load_names[case]})

    def displacements(self, x: ArrayLike) -> np.ndarray:
        """(N, 6) displacements and rotations of all nodes, zero at the feet."""
        x = np.asarray(x, dtype=np.float64)
        if x.shape != (self.n,):
            raise ShapeError(f"x must have shape ({self.n},), got {x.shape}")
        out = np.zeros((len(self.nodes), 6))
        out[self.unknown >= 0] = x.reshape(-1, 6)
        return out


def frame(
    size: str = "small",
    seed: int = 0,
    *,
    style: str = "stand",
    loads: int = 10,
    grid: tuple[int, int, int] | None = None,
) -> Frame:
    """A random building frame with its load cases.

    Parameters
    ----------
    size : "mini" (n about 100 to 1500), "small" (300 to 5500, about 2100 on average as in StAnD small),
        "medium" or "large"
    seed : everything is a function of the arguments
    style : "stand" for a random height of each cell of the plan, "regular" for a full box, "irregular" for
        two or more of: uneven spacings, setbacks, missing members, braces, mixed sections and materials
    loads : number of load cases
    grid : numbers of spacings along x, y, z, instead of drawing them

    Returns
    -------
    Frame

    Raises
    ------
    OptionError
        An unknown size or style, a seed, count or grid that is no positive integer.

    Notes
    -----
    Cost: about 50 ms for "small", with ten load cases.

    Timoshenko members, rigid joints, six unknowns per node, linear elastic. Every node hangs together with a
    foot, so that A is positive definite for every seed. Cost: about 10 ms for n = 1300, load cases included.

    References
    ----------
    Grementieri & Finelli, StAnD: a dataset of linear static analysis problems, arXiv:2201.05356.

    Examples
    --------
    >>> one = frame("mini", seed=1)
    >>> one.loads.shape == (one.n, 10)
    True
    >>> x = one.solve()
    >>> bool(np.allclose(one.A @ x, one.loads, atol=1e-6 * abs(one.loads).max()))
    True
    """
    _check(size, seed, style, loads, grid)
    key = [seed, list(SIZES).index(size), STYLES.index(style)]
    # separate streams, so that another number of load cases leaves the structure as it is
    rng, load_rng = np.random.default_rng([*key, 0]), np.random.default_rng([*key, 1])
    counts = grid or tuple(int(rng.integers(*limits)) for limits in SIZES[size])
    features = _features(rng) if style == "irregular" else {}
    spacing = (2.0, 9.0) if features.get("uneven") else (3.0, 6.0)
    places = [np.concatenate([[0.0], np.cumsum(rng.uniform(*spacing, size=count))]) for count in counts]
    exists = _heights(rng, counts, style, features)
    nodes, members, kind = _members(rng, places, exists, features)
    keep = _hanging_together(nodes, members)
    nodes, members, kind, number = _restrict(nodes, members, kind, keep)
    sections = _sections(rng, kind, nodes[members].mean(axis=1)[:, 2], features)

    unknown = np.full(len(nodes), -1)
    free = nodes[:, 2] > 0
    unknown[free] = np.arange(np.count_nonzero(free))
    A = assemble_frame(element_stiffness(*local_axes(nodes, members), sections), members, unknown)
    grids = _member_grids(exists, members, kind, keep, number)
    normal = [panels(axis, grids, places) for axis in range(3)]
    forces, names = draw_loads(
        load_rng, loads, nodes, members, sections, normal, mixed=style == "irregular", as_stand=style == "stand"
    )
    meta = {"size": size, "style": style, "seed": seed, "grid": tuple(counts), **features}
    return Frame(
        A=A,
        loads=np.ascontiguousarray(forces[:, free].reshape(loads, -1).T),
        load_names=names,
        dof=np.tile(np.arange(6), np.count_nonzero(free)),
        coordinates=np.repeat(nodes[free], 6, axis=0),
        nodes=nodes,
        members=members,
        sections=sections,
        unknown=unknown,
        meta=meta,
    )


def synthetic(A: Any, seed: int = 0, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The synthetic variant of the NSLS paper: solutions uniform in [-1, 1], right-hand sides b = A x.

    Parameters
    ----------
    A : (n, n) matrix
    seed : of the solutions
    count : number of right-hand sides

    Returns
    -------
    b, x : (n, count)

    Notes
    -----
    Cost: ``count`` products with A.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 5.1.

    Examples
    --------
    >>> b, x = synthetic(np.eye(3), seed=0, count=2)
    >>> bool(np.all(b == x) and abs(x).max() <= 1)
    True
    """
    x = np.random.default_rng([seed, 7]).uniform(-1.0, 1.0, size=(A.shape[0], count))
    return A @ x, x


def _check(size: str, seed: int, style: str, loads: int, grid: tuple[int, int, int] | None) -> None:
    if size not in SIZES:
        raise OptionError(f"no frame size {size!r}; choose one of {', '.join(SIZES)}")
    if style not in STYLES:
        raise OptionError(f"no frame style {style!r}; choose one of {', '.join(STYLES)}")
    integers: dict[str, tuple[Any, int]] = {"seed": (seed, 0), "loads": (loads, 1)}
    if grid is not None:
        if len(grid) != 3:
            raise OptionError(f"grid must be three numbers of spacings, got {grid!r}")
        integers |= {f"grid[{k}]": (count, 1) for k, count in enumerate(grid)}
    for name, (value, least) in integers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise OptionError(f"{name} must be an integer of at least {least}, got {value!r}")


# -- geometry -------------------------------------------------------------------------------------


def _features(rng: np.random.Generator) -> dict[str, Any]:
    """What makes an irregular frame irregular: two or more of six features."""
    names = ("uneven", "setbacks", "missing", "columns_missing", "braces", "mixed")
    chosen = rng.random(len(names)) < 0.5
    chosen[rng.choice(len(names), size=2, replace=False)] = True
    strength = {
        "uneven": True,
        "setbacks": True,
        "missing": float(rng.uniform(0.02, 0.2)),
        "columns_missing": float(rng.uniform(0.01, 0.06)),
        "braces": float(rng.uniform(0.03, 0.3)),
        "mixed": float(rng.uniform(1.2, 2.5)),
    }
    return {name: strength[name] for name, there in zip(names, chosen, strict=True) if there}


def _heights(rng: np.random.Generator, counts: Sequence[int], style: str, features: dict[str, Any]) -> np.ndarray:
    """Which points of the grid are nodes: those no higher than the highest cell around them."""
    nx, ny, nz = counts
    if style == "regular":
        cells = np.full((nx, ny), nz)
    elif features.get("setbacks"):
        # terraces around a tower: storeys fall with the distance from it
        centre = rng.uniform(0, [nx, ny])
        x, y = np.meshgrid(np.arange(nx) + 0.5, np.arange(ny) + 0.5, indexing="ij")
        distance = np.maximum(np.abs(x - centre[0]) / nx, np.abs(y - centre[1]) / ny)
        cells = np.clip(np.round(nz * (1.2 - rng.uniform(0.6, 1.4) * distance)), 1, nz).astype(int)
    else:
        cells = rng.integers(nz, endpoint=True, size=(nx, ny))
        cells[rng.integers(nx), rng.integers(ny)] = nz  # at least one, so that there is a building
    padded = np.pad(cells, 1)
    levels = np.maximum.reduce([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])
    return np.arange(nz + 1) <= levels[:, :, None]


def _members(
    rng: np.random.Generator, places: list[np.ndarray], exists: np.ndarray, features: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, members and kinds of members: 0 and 1 beams along x and y, 2 columns, 3 braces."""
    number = np.full(exists.shape, -1)
    number[exists] = np.arange(np.count_nonzero(exists))
    nodes = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)[exists]
    chosen: list[np.ndarray] = []
    kinds: list[np.ndarray] = []
    for axis in range(3):
        low, high = np.delete(number, -1, axis=axis), np.delete(number, 0, axis=axis)
        there = (low >= 0) & (high >= 0)
        absent = features.get("columns_missing" if axis == 2 else "missing", 0.0)
        stays = rng.random(there.shape) >= absent
        if axis == 2:
            stays[:, :, 0] = True  # nothing above hangs from beams alone at the foot of a building
        there &= stays
        chosen.append(np.stack([low[there], high[there]], axis=1))
        kinds.append(np.full(np.count_nonzero(there), axis))
    if "braces" in features:
        # diagonals of vertical panels, whichever way they lean
        for axis in (0, 1):
            u = np.moveaxis(number, axis, 0)
            for low, high in ((u[:-1, :, :-1], u[1:, :, 1:]), (u[1:, :, :-1], u[:-1, :, 1:])):
                there = (low >= 0) & (high >= 0) & (rng.random(low.shape) < features["braces"])
                chosen.append(np.stack([low[there], high[there]], axis=1))
                kinds.append(np.full(np.count_nonzero(there), 3))
    return nodes, np.concatenate(chosen), np.concatenate(kinds)


def _hanging_together(nodes: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(N,) whether a node is joined to a foot; feet that carry nothing are dropped, too."""
    N = len(nodes)
    graph = coo_array((np.ones(len(members)), (members[:, 0], members[:, 1])), shape=(N, N))
    label: np.ndarray = connected_components(graph, directed=False)[1]
    on_ground = nodes[:, 2] == 0
    # all feet are one body: the ground
    carried = np.isin(label, label[on_ground])
    return carried | on_ground


def _restrict(
    nodes: np.ndarray, members: np.ndarray, kind: np.ndarray, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The kept part, and the new numbers of the nodes."""
    number = np.full(len(nodes), -1)
    number[keep] = np.arange(np.count_nonzero(keep))
    inside = keep[members].all(axis=1)
    return nodes[keep], number[members[inside]], kind[inside], number


def _member_grids(
    exists: np.ndarray, members: np.ndarray, kind: np.ndarray, keep: np.ndarray, number: np.ndarray
) -> list[np.ndarray]:
    """For x, y, z: the member that starts at each point of the grid, -1 for none."""
    at = np.full(exists.shape, -1)
    at[exists] = number
    place = np.empty(np.count_nonzero(keep), dtype=np.int64)
    flat = at.ravel()
    place[flat[flat >= 0]] = np.nonzero(flat >= 0)[0]
    grids: list[np.ndarray] = []
    for axis in range(3):
        grid = np.full(exists.size, -1)
        mine = np.nonzero(kind == axis)[0]
        grid[place[members[mine, 0]]] = mine
        grids.append(grid.reshape(exists.shape))
    return grids


def _sections(rng: np.random.Generator, kind: np.ndarray, height: np.ndarray, features: dict[str, Any]) -> Sections:
    """One concrete rectangle for all members, scattered and mixed with steel where the style asks for it."""
    M = kind.size
    width, depth = rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.6)
    E, density = rng.uniform(2.5e10, 4.3e10), rng.uniform(2000, 2600)
    width, depth = np.full(M, width), np.full(M, depth)
    E, density = np.full(M, E), np.full(M, density)
    if "mixed" in features:
        spread = features["mixed"]
        # columns that thin out upwards, and every member a little its own: inertias differ by spread^4 and more
        taper = spread ** (0.5 - height / max(float(height.max(initial=0.0)), 1.0))
        scatter = spread ** rng.uniform(-0.5, 0.5, size=(2, M))
        width, depth = width * taper * scatter[0], depth * taper * scatter[1]
        steel = rng.random(M) < rng.uniform(0.0, 0.3)
        E, density = np.where(steel, 2.1e11, E), np.where(steel, 7850.0, density)
        width, depth = np.where(steel, width / 2, width), np.where(steel, depth / 2, depth)
    brace = kind == 3
    if np.any(brace):
        side = rng.uniform(0.05, 0.2)
        width, depth = np.where(brace, side, width), np.where(brace, side, depth)
        E, density = np.where(brace, 2.1e11, E), np.where(brace, 7850.0, density)
    return Sections.rectangular(width, depth, E, density)
