"""Real-space pseudopotential Hamiltonians: the kind of the PARSEC matrices, for machines without network.

``H = -Laplacian + V + sum c u u'`` in Rydberg units on the points of a uniform grid inside a sphere: the
12th-order central difference, a smooth local potential on the diagonal, and for each atom a dense block of
nonlocal projectors over the points of its core. Symmetric, indefinite: a few bound states below zero, then
the discrete spectrum of the empty sphere.

Checked on the real Si2 (see the tests): its 769 rows are one octant of the 6152 points of a half-shifted
grid of spacing 0.7 bohr within 8 bohr, reduced by the parity (even, even, odd), and the finite differences
below reproduce every off-diagonal entry outside one rank-one 42 x 42 block to the digits of the file. The
same counting gives the published sizes of SiH4, SiO2 and CO. Potentials and projectors are models: every name
ends in ``_like`` and so must every row of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems.assembly import symmetric_csr, triplets

__all__ = ["Atom", "co_like", "grid_points", "hamiltonian", "si2_like", "sih4_like", "sio2_like"]

# 12th-order central second difference: the weight at distance 0, 1, ..., 6 grid steps.
STENCIL = (-5369 / 1800, 12 / 7, -15 / 56, 10 / 189, -1 / 112, 2 / 1925, -1 / 16632)


@dataclass(frozen=True)
class Atom:
    """A pseudo-atom: a Gaussian well and projectors on the spheres' harmonics within a core.

    Attributes
    ----------
    position : (x, y, z) in bohr
    depth, width : local potential ``-depth exp(-(r / width)^2)``, Rydberg and bohr
    core : radius in bohr within which the projectors live; 0 for none (hydrogen)
    projectors : pairs (l, c), l = 0, 1 or 2: ``c u u'`` for each of the 2 l + 1 harmonics, ``||u|| = 1``;
        ``c > 0`` repels a state of that angular momentum, ``c < 0`` binds it
    """

    position: tuple[float, float, float]
    depth: float
    width: float
    core: float = 0.0
    projectors: tuple[tuple[int, float], ...] = ()


def _harmonics(momentum: int, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Real solid harmonics r^l Y_lm, up to factors that normalisation removes."""
    if momentum == 0:
        return [np.ones_like(x)]
    if momentum == 1:
        return [x, y, z]
    if momentum == 2:
        return [x * y, y * z, x * z, x * x - y * y, 3.0 * z * z - (x * x + y * y + z * z)]
    raise OptionError(f"projectors have l = 0, 1 or 2, got {momentum}")


def _extent(radius: float, spacing: float) -> int:
    if not (spacing > 0.0 and 1.0 <= radius / spacing <= 400.0):
        raise OptionError(
            f"the radius must be 1 to 400 grid steps, both positive (bohr), got radius {radius!r}, spacing {spacing!r}"
        )
    return int(np.ceil(radius / spacing)) + 1


def grid_points(radius: float, spacing: float, *, offset: float = 0.0) -> np.ndarray:
    """Points of a uniform grid inside a sphere about the origin, in grid steps.

    Parameters
    ----------
    radius, spacing : float
        In the same unit.
    offset : float
        0 for a grid through the origin, 0.5 for one that straddles it.

    Returns
    -------
    (n, 3) float array
        Lexicographically ordered, the last coordinate fastest; multiply by ``spacing`` for positions.

    Raises
    ------
    OptionError
        A radius of less than one step or more than 400, or an offset that is neither 0 nor 0.5.

    Notes
    -----
    Cost: a pass over the grid of the enclosing cube.

    Examples
    --------
    The sizes of the real SiH4, and of Si2 times the eight octants:

    >>> len(grid_points(8.0, 0.75)), len(grid_points(8.0, 0.7, offset=0.5)) / 8
    (5041, 769.0)
    """
    m = _extent(radius, spacing)
    if offset not in (0.0, 0.5):
        raise OptionError(f"offset must be 0 (through the origin) or 0.5 (straddling it), got {offset!r}")
    line = np.arange(-m, m + 1) + offset
    squares = line**2
    inside = squares[:, None, None] + squares[None, :, None] + squares < (radius / spacing) ** 2
    return line[np.argwhere(inside)]


def _differences(points: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower-triangle entries of -Laplacian: only neighbours later along an axis, which have larger numbers."""
    at = np.floor(points).astype(np.int64)
    at -= at.min(axis=0)
    side = int(at.max()) + len(STENCIL)  # the margin is empty: no step leaves the box or wraps around
    number = np.full(side**3, -1, dtype=np.int32)
    flat = (at[:, 0] * side + at[:, 1]) * side + at[:, 2]
    n = len(points)
    nodes = np.arange(n, dtype=np.int32)
    number[flat] = nodes
    rows, cols, values = [nodes], [nodes], [np.full(n, -3.0 * STENCIL[0] / spacing**2)]
    for stride in (side * side, side, 1):
        for distance in range(1, len(STENCIL)):
            there = number[flat + distance * stride]
            near = np.flatnonzero(there >= 0).astype(np.int32)
            rows.append(there[near])
            cols.append(near)
            values.append(np.full(near.size, -STENCIL[distance] / spacing**2))
    return np.concatenate(rows), np.concatenate(cols), np.concatenate(values)


def _nonlocal_block(atom: Atom, points: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """The points of an atom's core and the dense matrix sum c u u' over them."""
    away = points * spacing - np.asarray(atom.position)
    squares = (away * away).sum(axis=1)
    core = np.flatnonzero(squares < atom.core**2)
    if core.size == 0:
        raise OptionError(f"no grid point lies in the core of {atom}: refine the grid or give the atom no projectors")
    x, y, z = away[core].T
    # Vanishes with its slope at the edge, so that moving an atom past a grid point is no jump.
    radial = (1.0 - squares[core] / atom.core**2) ** 2
    block = np.zeros((core.size, core.size))
    for momentum, c in atom.projectors:
        for harmonic in _harmonics(momentum, x, y, z):
            u = harmonic * radial
            norm = np.linalg.norm(u)
            if norm > 0.0:  # a core of a few points on a node plane holds no such harmonic
                u = u / norm
                block += (c * u)[:, None] * u
    return core, block


def hamiltonian(
    atoms: Sequence[Atom],
    radius: float,
    spacing: float,
    *,
    offset: float = 0.0,
    parity: tuple[int, int, int] | None = None,
) -> csr_array:
    """A molecule's Hamiltonian on the grid points inside a sphere, zero boundary values outside.

    Parameters
    ----------
    atoms : sequence of Atom
    radius, spacing : float
        Of the sphere and of the grid, in bohr.
    offset : float
        0 for a grid through the origin, 0.5 for one that straddles it.
    parity : three signs, optional
        Reduce by the mirror planes x = 0, y = 0, z = 0 to functions that are even (+1) or odd (-1) in each:
        an eighth of the size, an eighth of the states. Needs ``offset=0.5`` and a molecule with these mirrors.

    Returns
    -------
    csr_array (n, n)
        Exactly symmetric, indefinite if the wells bind a state. Off-diagonals ``-c_j / spacing^2`` with the
        weights of the 12th-order difference, except within cores. Zeros are not stored.

    Raises
    ------
    OptionError
        A grid without points, a core between the grid points, a parity without mirrors.

    Notes
    -----
    Cost: 37 entries a row and the square of the number of points in each core; about 100 bytes an entry at
    the peak of the assembly. No product, no factorisation.

    References
    ----------
    Chelikowsky, Troullier, Saad, Phys. Rev. Lett. 72 (1994) 1240 (PARSEC); the AutoSpec paper's Table 2b.

    Examples
    --------
    A particle in an empty sphere of radius R: (pi / R)^2.

    >>> H = hamiltonian([], 4.0, 0.5)
    >>> bool(abs(np.linalg.eigvalsh(H.toarray())[0] / (np.pi / 4.0) ** 2 - 1) < 0.1)
    True
    """
    points = grid_points(radius, spacing, offset=offset)
    if parity is not None:
        _check_parity(atoms, parity, offset)
    n = len(points)
    rows, cols, values = _differences(points, spacing)
    diagonal = np.zeros(n)
    i, j, v = [rows], [cols], [values]
    for atom in atoms:
        away = points * spacing - np.asarray(atom.position)
        diagonal -= atom.depth * np.exp(-(away * away).sum(axis=1) / atom.width**2)
        if atom.core > 0.0 and atom.projectors:
            core, block = _nonlocal_block(atom, points, spacing)
            a, b = np.tril_indices(core.size)
            i.append(core[a].astype(np.int32))
            j.append(core[b].astype(np.int32))
            v.append(block[a, b])
    nodes = np.arange(n, dtype=np.int32)
    H = symmetric_csr(np.concatenate([*i, nodes]), np.concatenate([*j, nodes]), np.concatenate([*v, diagonal]), n)
    if parity is not None:
        H = _octant(H, points, parity)
    H.eliminate_zeros()
    return H


def _check_parity(atoms: Sequence[Atom], parity: tuple[int, int, int], offset: float) -> None:
    if len(parity) != 3 or any(sign not in (-1, 1) for sign in parity):
        raise OptionError(f"parity must be three signs, +1 even or -1 odd in x, y, z, got {parity!r}")
    if offset != 0.5:
        raise OptionError("a reduction by parity needs offset=0.5, where no point lies on a mirror plane")
    present = {(tuple(np.round(atom.position, 12) + 0.0), atom.depth, atom.width, atom.core) for atom in atoms}
    for axis in range(3):
        mirror = np.ones(3)
        mirror[axis] = -1.0
        image = {(tuple(np.round(mirror * np.asarray(a.position), 12) + 0.0), a.depth, a.width, a.core) for a in atoms}
        if image != present:
            raise OptionError(f"the molecule has no mirror plane across axis {axis}: drop parity")


def _octant(H: csr_array, points: np.ndarray, parity: tuple[int, int, int]) -> csr_array:
    """Rows of the octant x, y, z > 0; columns of all images summed with the sign of the function there."""
    n = len(points)
    kept = np.flatnonzero((points > 0.0).all(axis=1))
    # np.unique sorts lexicographically, as the points of the octant are.
    image = np.unique(np.abs(points), axis=0, return_inverse=True)[1].ravel()
    sign = np.where(points > 0.0, 1.0, np.asarray(parity, dtype=np.float64)).prod(axis=1)
    fold = csr_array((sign, image, np.arange(n + 1)), shape=(n, kept.size))
    return symmetric_csr(*triplets((H[kept] @ fold).tocoo()), kept.size)


def _check_scale(scale: float) -> float:
    if not 0.02 <= scale <= 8.0:
        raise OptionError(
            f"scale must lie between 0.02 (coarser grids miss the cores) and 8 (1 is the real size), got {scale!r}"
        )
    return float(scale)


# Model pseudo-atoms. Si: fitted to the eight lowest levels of the real Si2; H: to the lowest of the real SiH4
# and a threefold level above; C and O: deep enough for a molecule's valence levels. Not published potentials.
_SILICON: dict[str, Any] = {"depth": 1.35, "width": 3.35, "projectors": ((0, 0.1), (2, -1.0))}
_HYDROGEN: dict[str, Any] = {"depth": 2.15, "width": 1.43}
_CARBON: dict[str, Any] = {"depth": 2.43, "width": 3.5, "projectors": ((0, 1.0),)}
_OXYGEN: dict[str, Any] = {"depth": 5.6, "width": 1.18, "projectors": ((0, 1.0),)}


def _molecule(
    parts: Sequence[tuple[dict[str, Any], float, tuple[float, float, float]]], seed: int | None
) -> list[Atom]:
    """Atoms (element, core, position); a seed stretches every bond by some per cent and turns the molecule."""
    rng = None if seed is None else np.random.default_rng(seed)
    turn = np.eye(3) if rng is None else np.linalg.qr(rng.standard_normal((3, 3)))[0]
    atoms: list[Atom] = []
    for element, core, position in parts:
        stretch = 1.0 if rng is None else rng.uniform(0.95, 1.05)
        x, y, z = stretch * (turn @ np.asarray(position))
        atoms.append(Atom((float(x), float(y), float(z)), core=core, **element))
    return atoms


def si2_like(*, seed: int | None = None) -> csr_array:
    """A silicon dimer, one octant of odd parity: the kind of PARSEC/Si2.

    Parameters
    ----------
    seed : int, optional
        Stretches the bond by up to 5 %; the nominal molecule by default.

    Returns
    -------
    csr_array (769, 769)
        Indefinite. At the nominal bond 17 801 entries and every row length as the real one, rows in another
        order (the real ones run to and fro along the grid lines); outside the core the same off-diagonals.
        The spectrum, [-0.406, 41.39] against [-0.384, 41.38], is close at both ends and not equal.

    Notes
    -----
    Cost: about 50 ms.

    References
    ----------
    As `hamiltonian`; size and rows are those of PARSEC/Si2.

    Examples
    --------
    >>> si2_like().nnz
    17801
    """
    distance = 1.95 if seed is None else 1.95 * np.random.default_rng(seed).uniform(0.95, 1.05)
    atoms = [Atom((sign * distance, 0.0, 0.0), core=2.46, **_SILICON) for sign in (1.0, -1.0)]
    return hamiltonian(atoms, 8.0, 0.7, offset=0.5, parity=(1, 1, -1))


def sih4_like(*, seed: int | None = None) -> csr_array:
    """Silane: the kind of PARSEC/SiH4.

    Parameters
    ----------
    seed : int, optional
        Turns the molecule and stretches its bonds by up to 5 %; the nominal molecule by default, whose
        symmetry makes threefold and twofold levels.

    Returns
    -------
    csr_array (5041, 5041)
        Indefinite. At the nominal geometry 171 903 entries, at most 205 a row, as the real one; spectrum
        [-0.98, 36.8] against [-0.996, 36.8]. Higher levels are not matched.

    Notes
    -----
    Cost: about 20 ms.

    References
    ----------
    As `hamiltonian`; size and rows are those of PARSEC/SiH4.

    Examples
    --------
    >>> A = sih4_like()
    >>> A.shape[0], A.nnz, int(np.diff(A.indptr).max())
    (5041, 171903, 205)
    """
    a = 2.80 / np.sqrt(3.0)
    corners = [(a, a, a), (a, -a, -a), (-a, a, -a), (-a, -a, a)]
    atoms = _molecule([(_SILICON, 2.6, (0.0, 0.0, 0.0)), *((_HYDROGEN, 0.0, corner) for corner in corners)], seed)
    return hamiltonian(atoms, 8.0, 0.75)


def sio2_like(scale: float = 1.0, *, seed: int | None = None) -> csr_array:
    """A linear O-Si-O molecule in a sphere of 10 bohr: the kind of PARSEC/SiO2.

    Parameters
    ----------
    scale : float
        Size as a share of the real 155 331 points; the sphere stays, the spacing goes as ``scale^(-1/3)``
        from 0.3 bohr, so that the low levels hardly move and the top goes as ``scale^(2/3)``.
    seed : int, optional
        Turns the molecule and stretches its bonds by up to 5 %; the nominal molecule by default.

    Returns
    -------
    csr_array (n, n)
        Indefinite. At full size n is exactly the real one; 11.28 million entries (real 11 283 503) and
        the longest row (real 2749) within 1 %. The levels are those of the model atoms, not the real ones.

    Notes
    -----
    Cost: about 2 seconds and 0.7 GB for the full size.

    References
    ----------
    As `hamiltonian`; AutoSpec (arXiv:2602.09530), Table 2b, has the real one.

    Examples
    --------
    >>> sio2_like(0.02).shape[0]
    3071
    """
    spacing = 0.3 / _check_scale(scale) ** (1.0 / 3.0)
    oxygen = [(_OXYGEN, 1.45, (sign * 2.9, 0.0, 0.0)) for sign in (1.0, -1.0)]
    return hamiltonian(_molecule([(_SILICON, 2.48, (0.0, 0.0, 0.0)), *oxygen], seed), 10.0, spacing)


def co_like(scale: float = 1.0, *, seed: int | None = None) -> csr_array:
    """Carbon monoxide in a sphere of 15 bohr: the kind of PARSEC/CO.

    Parameters
    ----------
    scale : float
        Size as a share of the real 221 119 points, as in `sio2_like`, from a spacing of 0.4 bohr.
    seed : int, optional
        Turns the molecule and stretches its bond by up to 5 %; the nominal molecule by default.

    Returns
    -------
    csr_array (n, n)
        Indefinite. At full size and nominal geometry n, the 7 666 057 entries and the longest row (313) are
        the real ones. The levels (-2.2, -1.0, twice -0.85, ...) are those of the model atoms, not the real ones.

    Notes
    -----
    Cost: about 0.1 s for a tenth of the size.

    References
    ----------
    As `hamiltonian`; AutoSpec (arXiv:2602.09530), Table 2b, has the real one.

    Examples
    --------
    >>> co_like(0.02).shape[0]
    4385
    """
    spacing = 0.4 / _check_scale(scale) ** (1.0 / 3.0)
    parts = [(_CARBON, 1.3, (-1.065, 0.0, 0.0)), (_OXYGEN, 1.3, (1.065, 0.0, 0.0))]
    return hamiltonian(_molecule(parts, seed), 15.0, spacing)
