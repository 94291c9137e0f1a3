"""The building behind a stiffness matrix: geometry and section of a frame, read off the blocks of A.

StAnD systems come as matrices alone. Each 6 x 6 block between two nodes tells the direction, the length and
the stiffnesses of the member between them, and a frame of one section along the axes is determined by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from nnla.errors import OptionError, ShapeError
from nnla.problems.assembly import triplets
from nnla.problems.frame_elements import Sections, assemble_frame, element_stiffness, local_axes

__all__ = ["RecoveredFrame", "recover_frame"]

_NOT_ONE = "is not that of a frame along the axes with one rectangular section and six unknowns per node"


@dataclass(frozen=True, eq=False)
class RecoveredFrame:
    """A frame as far as its matrix tells.

    Attributes
    ----------
    nodes, members, unknown, sections : as in `Frame`; the weight of the sections is not known and set to 1
    dof, coordinates : (n,) and (n, 3), as in `Frame`
    width, height, E : of the section, m, m, Pa
    mismatch : largest difference between A and the matrix assembled anew, relative to its diagonals
    """

    nodes: np.ndarray
    members: np.ndarray
    unknown: np.ndarray
    sections: Sections
    dof: np.ndarray
    coordinates: np.ndarray
    width: float
    height: float
    E: float
    mismatch: float


def recover_frame(A: Any, *, tolerance: float = 1e-8) -> RecoveredFrame:
    """Nodes, members and section of the frame with the stiffness matrix A.

    Parameters
    ----------
    A : (n, n) sparse; unknowns ux uy uz rx ry rz of node after node, feet eliminated, as in StAnD
    tolerance : for the comparison with the matrix assembled anew

    Returns
    -------
    RecoveredFrame : up to a shift in plan. Parts that no member joins are each put into the corner.

    Raises
    ------
    ShapeError
        n is not a multiple of six.
    OptionError
        A is not the matrix of such a frame.

    Notes
    -----
    Cost: linear in the entries; the matrix is assembled once anew to compare. 50 ms for 4000 unknowns.

    References
    ----------
    The family is that of Grementieri & Finelli, StAnD (arXiv:2201.05356); the recovery is this package's.

    Examples
    --------
    >>> from nnla.problems.frames import frame
    >>> one = frame("mini", seed=2, grid=(2, 3, 2))
    >>> back = recover_frame(one.A)
    >>> bool(np.allclose(np.ptp(back.nodes, axis=0), np.ptp(one.nodes[one.unknown >= 0], axis=0) * [1, 1, 0]
    ...                  + [0, 0, one.nodes[:, 2].max()]))
    True
    """
    A = csr_array(A, dtype=np.float64)
    n = A.indptr.size - 1
    if n == 0 or n % 6 or A.shape != (n, n):
        raise ShapeError(f"A is {A.shape}; a frame has six unknowns for each node")
    with np.errstate(all="ignore"):
        try:
            found = _recover(A, n // 6)
        except (ArithmeticError, IndexError, KeyError, ValueError) as error:
            raise OptionError(f"A {_NOT_ONE} ({error})") from None
    if not found.mismatch <= tolerance:
        raise OptionError(f"A {_NOT_ONE}: its nearest frame differs by {found.mismatch:.1e}")
    return found


def _recover(A: csr_array, N: int) -> RecoveredFrame:
    p, q, blocks = _joined(A, N)
    if not p.size:
        raise OptionError("no two nodes are joined")
    every = np.arange(p.size)
    direct = -np.einsum("eii->ei", blocks[:, :3, :3])
    axis = np.argmax(direct, axis=1)
    # between two nodes, along an axis across: 12 b / L^2 for displacements, 6 b / L with the rotation
    across = (axis + 1) % 3
    L = 2 * np.abs(blocks[every, across, 3:]).max(axis=1) / direct[every, across]
    EA = float(np.median(direct[every, axis] * L))
    width, height = (np.sqrt(12 * EI / EA) for EI in _bending(blocks, direct, axis, L))

    nodes = _places(N, p, q, axis, L)
    low = np.nonzero(nodes[:, 2] < 1e-6)[0]
    one = low[0]
    foot = EA / (A[6 * one + 2, 6 * one + 2] - direct[(p == one) | (q == one), 2].sum())
    nodes[:, 2] += foot
    nodes = np.concatenate([nodes, nodes[low] * [1, 1, 0]])
    members = np.concatenate([np.stack([p, q], axis=1), np.stack([N + np.arange(low.size), low], axis=1)])
    unknown = np.concatenate([np.arange(N), np.full(low.size, -1)])
    E = EA / (width * height)
    ones = np.ones(len(members))
    sections = Sections.rectangular(width * ones, height, E, 1.0)
    again = assemble_frame(element_stiffness(*local_axes(nodes, members), sections), members, unknown)
    i, j, gap = triplets((again - A).tocoo())
    scale = 1 / np.sqrt(A.diagonal())
    mismatch = float(np.max(np.abs(gap) * scale[i] * scale[j], initial=0.0))
    coordinates = np.repeat(nodes[:N], 6, axis=0)
    dof = np.tile(np.arange(6), N)
    return RecoveredFrame(
        nodes, members, unknown, sections, dof, coordinates, float(width), float(height), float(E), mismatch
    )


def _joined(A: Any, N: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of nodes p < q that a member joins, and its block (6, 6)."""
    B = A.tobsr((6, 6))
    row = np.repeat(np.arange(N), np.diff(B.indptr))
    upper = row < B.indices
    return row[upper], B.indices[upper], B.data[upper]


def _bending(blocks: np.ndarray, direct: np.ndarray, axis: np.ndarray, L: np.ndarray) -> tuple[float, float]:
    """E I across (about the vertical) and upright (about the horizontal), from one beam."""
    beam = int(np.nonzero(axis < 2)[0][0])
    along = int(axis[beam])

    def stiffness(side: int, turn: int) -> float:
        b = direct[beam, side] * L[beam] ** 2 / 12
        return float(b * L[beam] * (3 - blocks[beam, 3 + turn, 3 + turn] / b))  # 1 + phi, out of (2 - phi) b

    return stiffness(1 - along, 2), stiffness(2, 1 - along)


def _places(N: int, p: np.ndarray, q: np.ndarray, axis: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Positions of the nodes from the steps between them; each part starts from zero along every axis."""
    graph = coo_array((np.ones(p.size), (p, q)), shape=(N, N)).tocsr()
    step = {(int(a), int(b)): (int(k), float(e)) for a, b, k, e in zip(p, q, axis, L, strict=True)}
    nodes = np.zeros((N, 3))
    count, part = connected_components(graph, directed=False)
    for k in range(count):
        mine = np.nonzero(part == k)[0]
        order, before = breadth_first_order(graph, mine[0], directed=False)
        for node in map(int, order[1:]):
            a = int(before[node])
            along, length = step[min(a, node), max(a, node)]
            nodes[node] = nodes[a]
            nodes[node, along] += length if a < node else -length
        nodes[mine] -= nodes[mine].min(axis=0)
    return nodes
