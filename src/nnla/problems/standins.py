"""Stand-ins for the AutoSpec paper's SuiteSparse matrices, for machines without network.

Same discretisation, same row lengths and about the same condition number as the real matrix, but not its
values: every name ends in ``_like`` and so must every row of a table. `nnla.problems.suitesparse.fetch` gets
the real ones.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems.assembly import assemble
from nnla.problems.finite_elements import delaunay_mesh, eliminate, p1_mass, p1_stiffness, q1_elasticity
from nnla.problems.gallery import lognormal_field, power_grid

__all__ = [
    "dubcova2_like",
    "flan_like",
    "g3_circuit_like",
    "thermal1_like",
    "thermal2_like",
    "thermomech_tc_like",
]

# A plate with bolt holes: the length of its boundary gives about as many boundary nodes as the real meshes.
_PLATE_HOLES = ((0.25, 0.25, 0.1), (0.75, 0.25, 0.1), (0.25, 0.75, 0.1), (0.75, 0.75, 0.1))
_DIRICHLET_SHARE = 0.87
# thermomech_tc_like's time step in units of h^2, set to get the real condition number.
_TIME_STEP = 7.8


def _check_scale(scale: float, least: float) -> float:
    if not least <= scale <= 16.0:
        raise OptionError(f"scale must lie between {least:g} and 16 (1 is the real size), got {scale!r}")
    return float(scale)


def dubcova2_like(cells: int = 128, *, s: float = 0.1, seed: int = 0) -> csr_array:
    """Biquadratic elements on a square, zero boundary values: the kind of UTEP/Dubcova2.

    Parameters
    ----------
    cells : int
        Elements along each axis; 128 is the real size.
    s : float
        Standard deviation of the log of the coefficient (one value an element). A little keeps entries of
        the product pattern from cancelling; condition number 2.5e4 for ``s = 0``, 1.3e5 for ``s = 0.5``.
    seed : int
        Seed of the coefficient.

    Returns
    -------
    csr_array (n, n), n = (2 cells - 1)^2
        SPD. At full size n = 65 025 with 1 030 225 entries, exactly as the real one.

    Notes
    -----
    Cost: 45 triplets an element, summed as in `assemble`.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> dubcova2_like(8).shape
    (225, 225)
    """
    if cells < 2:
        raise OptionError(f"dubcova2_like needs at least 2 cells a side, got {cells}")
    stiffness = np.array([[7.0, -8.0, 1.0], [-8.0, 16.0, -8.0], [1.0, -8.0, 7.0]]) / 3.0
    mass = np.array([[4.0, 2.0, -1.0], [2.0, 16.0, 2.0], [-1.0, 2.0, 4.0]]) / 30.0
    element = np.kron(stiffness, mass) + np.kron(mass, stiffness)
    side = 2 * cells + 1
    number = np.arange(side * side, dtype=np.int32).reshape(side, side)
    dofs = np.stack(
        [number[i : i + side - 2 : 2, j : j + side - 2 : 2].ravel() for i in range(3) for j in range(3)], -1
    )
    k = lognormal_field((cells, cells), s=s, correlation=0.1, seed=seed).ravel()
    boundary = np.ones((side, side), dtype=bool)
    boundary[1:-1, 1:-1] = False
    return eliminate(assemble(dofs, k[:, None, None] * element, side * side), boundary.ravel())


def _thermal(n: int, seed: int) -> csr_array:
    mesh = delaunay_mesh(n, holes=_PLATE_HOLES, jitter=0.5, sweeps=3, seed=seed)
    x, y = mesh.points.T
    fixed = mesh.boundary & (x == 0.0) & (y < _DIRICHLET_SHARE)
    return eliminate(p1_stiffness(mesh.points, mesh.triangles), fixed, keep_rows=True)


def thermal1_like(n: int = 82_654, *, seed: int = 0) -> csr_array:
    """Steady heat on an unstructured mesh of a plate with holes: the kind of Schmid/thermal1.

    Parameters
    ----------
    n : int
        Nodes wanted (the mesh has a few per cent more or less); 82 654 is the real size.
    seed : int
        Seed of the mesh.

    Returns
    -------
    csr_array (m, m), m near n
        SPD; P1, unit conductivity. Dirichlet nodes, an eighth of the boundary, are kept as identity rows.

    Notes
    -----
    Cost: that of `delaunay_mesh`: about 0.1 ms a node.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> A = thermal1_like(2000)
    >>> int(np.diff(A.indptr).min())
    1
    """
    if n < 400:
        raise OptionError(f"thermal1_like needs n >= 400 to resolve its holes, got {n}")
    return _thermal(n, seed)


def thermal2_like(scale: float = 1.0, *, seed: int = 0) -> csr_array:
    """The kind of Schmid/thermal2: as `thermal1_like` with ``1 228 045 scale`` nodes.

    Notes
    -----
    Cost: that of `delaunay_mesh`: about 0.1 ms a node.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> bool(abs(thermal2_like(0.002).shape[0] / 2456 - 1) < 0.1)
    True
    """
    return _thermal(round(1_228_045 * _check_scale(scale, 0.0005)), seed)


def thermomech_tc_like(scale: float = 1.0, *, seed: int = 0) -> csr_array:
    """A short step of transient heat, ``M + dt K``, no node eliminated: the kind of thermomech_TC.

    Parameters
    ----------
    scale : float
        Size as a share of the real 102 158 nodes.
    seed : int
        Seed of the mesh.

    Returns
    -------
    csr_array (m, m), m near 102 158 scale
        SPD, condition number near the real 67 at every scale, as ``dt`` goes with the mesh size squared.

    Notes
    -----
    Cost: that of `delaunay_mesh` with six sweeps: about 0.1 ms a node.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> bool(thermomech_tc_like(0.01).diagonal().min() > 0)
    True
    """
    n = round(102_158 * _check_scale(scale, 0.005))
    mesh = delaunay_mesh(n, holes=((0.5, 0.5, 0.18),), jitter=0.5, sweeps=6, seed=seed)
    M = p1_mass(mesh.points, mesh.triangles)
    K = p1_stiffness(mesh.points, mesh.triangles)
    return csr_array(M / mesh.h**2 + _TIME_STEP * K)


def g3_circuit_like(scale: float = 1.0, *, seed: int = 0) -> csr_array:
    """G2_circuit's build grown to ``1 585 478 scale`` nodes: the kind of AMD/G3_circuit.

    Wire layers over a plane grid with G2's palette of conductances, supply nodes at G2's density: see
    `nnla.problems.gallery.power_grid`.

    Notes
    -----
    Cost: that of `power_grid`: some 1 microsecond an unknown.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> bool(abs(g3_circuit_like(0.001).shape[0] / 1585 - 1) < 0.1)
    True
    """
    nodes = 1_585_478 * _check_scale(scale, 0.0005)
    # A plane node costs 1 + 4/6 nodes, and G2's plane has 198 x 478: the same shape.
    nx = max(6, round(np.sqrt(nodes / (5.0 / 3.0) * 198.0 / 478.0)))
    return power_grid(nx, max(6, round(nodes / (5.0 / 3.0) / nx)), seed=seed)


def flan_like(scale: float = 0.01) -> csr_array:
    """A steel flange with bolt holes in trilinear hexahedra: the kind of Janna/Flan_1565.

    Parameters
    ----------
    scale : float
        Size as a share of the real 521 598 nodes (three unknowns each). At 1 the assembly needs about 8 GB.

    Returns
    -------
    csr_array (3 m, 3 m), m near 521 598 scale
        SPD: a ring in (r, theta, z), bolt holes cut out, clamped at its bottom face (nodes eliminated).

    Notes
    -----
    Cost: that of `q1_elasticity`: 300 triplets an element.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 2a, has the real one; Davis, Hu, ACM TOMS 38, 2011.

    Examples
    --------
    >>> A = flan_like(0.002)
    >>> A.shape[0] % 3, int(np.diff(A.indptr).max())
    (0, 81)
    """
    points, cells = _flange(_check_scale(scale, 0.001))
    K = q1_elasticity(points, cells, young=2.1e11, poisson=0.3)
    return eliminate(K, np.repeat(points[:, 2] == 0.0, 3))


def _flange(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and hexahedra of a ring (r, theta, z) with twelve bolt holes; the clamped face is z = 0."""
    thick = max(4, round(12 * min(1.0, scale * 8.0) ** (1.0 / 3.0)))
    radial = max(6, round(np.sqrt(1.16 * 521_598 * scale / (6.0 * (thick + 1)))))
    around = 6 * radial
    r, t, z = np.meshgrid(np.arange(radial), np.arange(around), np.arange(thick), indexing="ij")
    # Twelve bolt holes on a circle at mid-radius, as staircases of removed elements.
    across = (t % (around / 12.0) + 0.5) - around / 24.0
    hole = np.hypot(r + 0.5 - radial / 2.0, across) < radial / 8.0
    node = np.arange((radial + 1) * around * (thick + 1), dtype=np.int32).reshape(radial + 1, around, thick + 1)
    cells = np.stack(
        [node[r + a, (t + b) % around, z + c][~hole] for a in (0, 1) for b in (0, 1) for c in (0, 1)],
        axis=-1,
    )
    radius = 1.0 + np.arange(radial + 1) / radial
    angle = 2.0 * np.pi * np.arange(around) / around
    height = np.arange(thick + 1) / radial
    x = radius[:, None, None] * np.cos(angle)[None, :, None] + 0.0 * height
    y = radius[:, None, None] * np.sin(angle)[None, :, None] + 0.0 * height
    points = np.stack([x, y, np.broadcast_to(height, x.shape)], axis=-1).reshape(-1, 3)
    used, compact = np.unique(cells, return_inverse=True)
    return points[used], compact.reshape(cells.shape)
