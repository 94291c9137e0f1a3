"""Timoshenko beam elements in space, vectorised over the members of a frame.

Each member has two nodes of six unknowns, ux uy uz rx ry rz. Shear deformation enters by
phi = 12 E I / (G A_s L^2); an infinite shear area gives the Euler-Bernoulli beam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from nnla.errors import OptionError, ShapeError
from nnla.problems.assembly import symmetric_csr

__all__ = [
    "Sections",
    "assemble_frame",
    "element_stiffness",
    "local_axes",
    "uniform_loads",
]


@dataclass(frozen=True, eq=False)
class Sections:
    """Cross-sections of M members; local y is horizontal for a beam, local z the vertical of its section.

    Attributes
    ----------
    E, G : (M,) Young's and shear modulus, Pa
    area : (M,) m^2
    Iy, Iz : (M,) second moments about local y and z, m^4
    J : (M,) torsion constant, m^4
    shear_y, shear_z : (M,) shear areas, m^2; infinity for no shear deformation
    weight : (M,) weight per length, N/m
    """

    E: np.ndarray
    G: np.ndarray
    area: np.ndarray
    Iy: np.ndarray
    Iz: np.ndarray
    J: np.ndarray
    shear_y: np.ndarray
    shear_z: np.ndarray
    weight: np.ndarray

    @classmethod
    def rectangular(
        cls, width: ArrayLike, height: ArrayLike, E: ArrayLike, density: ArrayLike, nu: float = 0.2
    ) -> Sections:
        """Solid rectangles, as in StAnD: shear areas A / 1.2, J = Iy + Iz.

        Examples
        --------
        >>> Sections.rectangular(0.3, 0.5, 3e10, 2500.0).Iy
        array([0.003125])
        """
        width, height, E, density = np.broadcast_arrays(*np.atleast_1d(width, height, E, density))
        area, Iy, Iz = width * height, width * height**3 / 12, width**3 * height / 12
        weight = 9.80665 * density * area
        return cls(E, E / 2 / (1 + nu), area, Iy, Iz, Iy + Iz, area / 1.2, area / 1.2, weight)

    def __getitem__(self, members: Any) -> Sections:
        return Sections(*(getattr(self, name)[members] for name in self.__dataclass_fields__))


def local_axes(nodes: ArrayLike, members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Directions of the members' local axes, and their lengths.

    Parameters
    ----------
    nodes : (N, 3) coordinates
    members : (M, 2) start and end node

    Returns
    -------
    axes : (M, 3, 3), rows local x, y, z in global coordinates. Local z lies in the plane of the member and
        the vertical; for a vertical member in the plane of the member and global x.
    lengths : (M,)

    Raises
    ------
    ShapeError
        A member of no length.

    Notes
    -----
    Cost: some operations a member.

    Examples
    --------
    >>> axes, lengths = local_axes([[0, 0, 0], [2, 0, 0]], [[0, 1]])
    >>> axes[0] @ [0, 0, 1], lengths
    (array([0., 0., 1.]), array([2.]))
    """
    nodes, members = np.asarray(nodes, dtype=np.float64), np.asarray(members)
    along = nodes[members[:, 1]] - nodes[members[:, 0]]
    lengths = np.sqrt(np.einsum("ij,ij->i", along, along))
    if not np.all(lengths > 0):
        raise ShapeError("a member has no length; give its two nodes different places")
    x = along / lengths[:, None]
    vertical = np.abs(x[:, 2]) > 1 - 1e-12
    up = np.where(vertical[:, None], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    y = np.cross(up, x)
    y /= np.sqrt(np.einsum("ij,ij->i", y, y))[:, None]
    return np.stack([x, y, np.cross(x, y)], axis=1), lengths


def element_stiffness(axes: np.ndarray, lengths: np.ndarray, sections: Sections) -> np.ndarray:
    """Stiffness matrices of the members in global coordinates.

    Parameters
    ----------
    axes, lengths : from `local_axes`
    sections : Sections of the M members

    Returns
    -------
    (M, 12, 12), symmetric positive semi-definite of rank 6.

    Notes
    -----
    Cost: a few products of 12 x 12 matrices a member; 144 numbers each.

    References
    ----------
    Przemieniecki, Theory of Matrix Structural Analysis, section 5.6.

    Examples
    --------
    >>> axes, lengths = local_axes([[0, 0, 0], [2, 0, 0]], [[0, 1]])
    >>> K = element_stiffness(axes, lengths, Sections.rectangular(0.3, 0.5, 3e10, 2500.0))
    >>> bool(np.isclose(K[0, 0, 0], 3e10 * 0.15 / 2))
    True
    """
    s, L = sections, np.asarray(lengths, dtype=np.float64)
    axes = np.asarray(axes, dtype=np.float64)
    if axes.shape != (L.size, 3, 3):
        raise ShapeError(f"{L.size} members need axes of shape ({L.size}, 3, 3), got {axes.shape}")
    rows = (s.E, s.G, s.area, s.Iy, s.Iz, s.J, s.shear_y, s.shear_z)
    if not all(np.all(row > 0) for row in rows):
        raise OptionError("a section has a modulus, area or inertia that is not positive; give positive ones")
    # the diagonals, in local axes, of the 3 x 3 blocks: displacement-displacement (ends 1, 1) ...
    EIz, EIy = s.E * s.Iz, s.E * s.Iy
    phi_y, phi_z = 12 * EIz / (s.G * s.shear_y * L**2), 12 * EIy / (s.G * s.shear_z * L**2)
    by, bz = EIz / (1 + phi_y) / L, EIy / (1 + phi_z) / L
    force = np.stack([s.E * s.area / L, 12 * by / L**2, 12 * bz / L**2], axis=1)
    # ... rotation-rotation at one end and between the ends ...
    torsion = s.G * s.J / L
    near = np.stack([torsion, (4 + phi_z) * bz, (4 + phi_y) * by], axis=1)
    far = np.stack([-torsion, (2 - phi_z) * bz, (2 - phi_y) * by], axis=1)
    # ... and displacement-rotation, which couples y with rz and z with -ry
    couple = np.zeros((L.size, 3, 3))
    couple[:, 1, 2], couple[:, 2, 1] = 6 * by / L, -6 * bz / L

    def turned(local: np.ndarray) -> np.ndarray:
        return np.swapaxes(axes, 1, 2) @ (local[:, :, None] * axes if local.ndim == 2 else local @ axes)

    F, N, X, C = turned(force), turned(near), turned(far), turned(couple)
    Ct = np.swapaxes(C, 1, 2)
    K = np.empty((L.size, 12, 12))
    K[:, 0:3, 0:3] = K[:, 6:9, 6:9] = F
    K[:, 0:3, 6:9] = K[:, 6:9, 0:3] = -F
    K[:, 0:3, 3:6] = K[:, 0:3, 9:12] = C
    K[:, 6:9, 3:6] = K[:, 6:9, 9:12] = -C
    K[:, 3:6, 0:3] = K[:, 9:12, 0:3] = Ct
    K[:, 3:6, 6:9] = K[:, 9:12, 6:9] = -Ct
    K[:, 3:6, 3:6] = K[:, 9:12, 9:12] = N
    K[:, 3:6, 9:12] = K[:, 9:12, 3:6] = X
    return K


def assemble_frame(stiffness: np.ndarray, members: ArrayLike, unknown: ArrayLike) -> csr_array:
    """Global stiffness matrix of a frame, fixed nodes eliminated.

    Parameters
    ----------
    stiffness : (M, 12, 12) from `element_stiffness`
    members : (M, 2)
    unknown : (N,) place of each node among the free ones, -1 where it is fixed

    Returns
    -------
    csr_array (n, n), n = 6 free nodes: exactly symmetric, exact zeros not stored; positive definite if
    every free node is joined to a fixed one.

    Notes
    -----
    Cost: 78 triplets a member, summed as in `symmetric_csr`.

    References
    ----------
    Przemieniecki, Theory of Matrix Structural Analysis, chapter 6 (the matrix displacement method).

    Examples
    --------
    >>> axes, lengths = local_axes([[0, 0, 0], [2, 0, 0]], [[0, 1]])
    >>> K = element_stiffness(axes, lengths, Sections.rectangular(0.3, 0.5, 3e10, 2500.0))
    >>> assemble_frame(K, [[0, 1]], [-1, 0]).shape
    (6, 6)
    """
    members, unknown = np.asarray(members), np.asarray(unknown)
    first = unknown[members]  # (M, 2)
    dofs = (6 * first[:, :, None] + np.arange(6)).reshape(-1, 12)
    dofs[np.repeat(first < 0, 6, axis=1)] = -1
    a, b = np.tril_indices(12)
    i, j, values = dofs[:, a], dofs[:, b], stiffness[:, a, b]
    # Members along the axes fill a third of their blocks; the rest is exactly zero.
    keep = (i >= 0) & (j >= 0) & (values != 0)
    i, j, values = i[keep], j[keep], values[keep]
    A = symmetric_csr(np.maximum(i, j), np.minimum(i, j), values, 6 * int(np.max(unknown, initial=-1) + 1))
    A.eliminate_zeros()
    return A


def uniform_loads(nodes: ArrayLike, members: ArrayLike, q: ArrayLike) -> np.ndarray:
    """Nodal forces and moments that replace uniform loads on members.

    Parameters
    ----------
    nodes : (N, 3)
    members : (M, 2)
    q : (M, 3) force per length in global directions

    Returns
    -------
    (N, 6): q L / 2 at either end and the fixed-end moments +-(L^2 / 12) x_hat x q, which shear deformation
    does not change.

    Notes
    -----
    Cost: some operations a member.

    Examples
    --------
    >>> uniform_loads([[0, 0, 0], [2, 0, 0]], [[0, 1]], [[0, 0, -3.0]])[0]
    array([ 0.,  0., -3.,  0.,  1.,  0.])
    """
    nodes, members, q = np.asarray(nodes, dtype=np.float64), np.asarray(members), np.asarray(q, dtype=np.float64)
    along = nodes[members[:, 1]] - nodes[members[:, 0]]
    length = np.sqrt(np.einsum("ij,ij->i", along, along))[:, None]
    force, moment = q * length / 2, np.cross(along, q) * length / 12
    ends = np.concatenate([np.hstack([force, moment]), np.hstack([force, -moment])])
    where = np.concatenate([members[:, 0], members[:, 1]])
    return np.stack([np.bincount(where, ends[:, k], len(nodes)) for k in range(6)], axis=1)
