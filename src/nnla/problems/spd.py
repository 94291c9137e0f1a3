"""The suite: fifteen SPD systems of different origin, for benchmarks (full) and tests (small)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems import gallery
from nnla.types import Problem

__all__ = ["SUITE", "Problem", "problem", "suite"]


def _wathen(size: str) -> csr_array:
    m = {"full": 100, "small": 12}[size]
    return gallery.wathen(m, m, seed=11)


def _poisson2d(size: str) -> csr_array:
    return gallery.poisson2d({"full": 180, "small": 32}[size])


def _lognormal2d(size: str) -> csr_array:
    m = {"full": 180, "small": 32}[size]
    return gallery.diffusion2d(gallery.lognormal_field((m, m), s=1.0, correlation=0.05, seed=12))


def _anisotropic2d(size: str) -> csr_array:
    m = {"full": 180, "small": 32}[size]
    return gallery.diffusion2d(np.ones((m, m)), weights=(1.0, 100.0))


def _checkerboard2d(size: str) -> csr_array:
    m = {"full": 180, "small": 32}[size]
    return gallery.diffusion2d(gallery.checkerboard_field((m, m), blocks=8, contrast=1e3))


def _poisson3d(size: str) -> csr_array:
    return gallery.poisson3d({"full": 32, "small": 11}[size])


def _lognormal3d(size: str) -> csr_array:
    m = {"full": 32, "small": 11}[size]
    return gallery.diffusion3d(gallery.lognormal_field((m, m, m), s=1.5, correlation=0.08, seed=13))


def _circuit_palette(size: str) -> csr_array:
    m = {"full": 180, "small": 32}[size]
    return gallery.grid_circuit(m, m, leak=1e-2, seed=14)


def _circuit_supply(size: str) -> csr_array:
    nx, ny = {"full": (100, 180), "small": (20, 30)}[size]
    return gallery.power_grid(nx, ny, seed=15)


def _fem_delaunay(size: str) -> csr_array:
    mesh = gallery.delaunay_mesh({"full": 30_000, "small": 1_000}[size], seed=16)
    return gallery.eliminate(gallery.p1_stiffness(mesh.points, mesh.triangles), mesh.boundary)


def _fem_variable(size: str) -> csr_array:
    mesh = gallery.delaunay_mesh({"full": 30_000, "small": 1_000}[size], sweeps=1, seed=17)
    field_grid = gallery.lognormal_field((128, 128), s=1.5, correlation=0.04, seed=18)
    x, y = np.minimum(128 * mesh.points[mesh.triangles].mean(axis=1), 127).astype(int).T
    K = gallery.p1_stiffness(mesh.points, mesh.triangles, field_grid[y, x])
    return gallery.eliminate(K, mesh.boundary & (mesh.points[:, 0] == 0.0))


def _elasticity2d(size: str) -> csr_array:
    nx, ny = {"full": (200, 80), "small": (30, 12)}[size]
    return gallery.elasticity2d(nx, ny)


def _elasticity3d(size: str) -> csr_array:
    nx, ny, nz = {"full": (36, 14, 14), "small": (10, 4, 4)}[size]
    # A stiff core in a soft matrix, as in a composite bar.
    young = np.ones((nx, ny, nz))
    young[:, ny // 3 : 2 * ny // 3, nz // 3 : 2 * nz // 3] = 20.0
    return gallery.elasticity3d(nx, ny, nz, young=young)


def _mass_graded(size: str) -> csr_array:
    mesh = gallery.delaunay_mesh({"full": 30_000, "small": 1_000}[size], grading=1.5, seed=19)
    return gallery.p1_mass(mesh.points, mesh.triangles)


def _heat_step(size: str) -> csr_array:
    mesh = gallery.delaunay_mesh({"full": 30_000, "small": 1_000}[size], sweeps=6, seed=20)
    K = gallery.p1_stiffness(mesh.points, mesh.triangles)
    M = gallery.p1_mass(mesh.points, mesh.triangles)
    return csr_array(M / mesh.h**2 + 8.0 * K)


#: name -> function of the size ("full" or "small") that builds the matrix.
SUITE: Mapping[str, Callable[[str], csr_array]] = MappingProxyType(
    {
        "wathen": _wathen,
        "poisson2d": _poisson2d,
        "lognormal2d": _lognormal2d,
        "anisotropic2d": _anisotropic2d,
        "checkerboard2d": _checkerboard2d,
        "poisson3d": _poisson3d,
        "lognormal3d": _lognormal3d,
        "circuit_palette": _circuit_palette,
        "circuit_supply": _circuit_supply,
        "fem_delaunay": _fem_delaunay,
        "fem_variable": _fem_variable,
        "elasticity2d": _elasticity2d,
        "elasticity3d": _elasticity3d,
        "mass_graded": _mass_graded,
        "heat_step": _heat_step,
    }
)


def problem(name: str, size: str = "full") -> Problem:
    """Build one problem of the suite.

    Parameters
    ----------
    name : str
        A key of `SUITE`.
    size : {"full", "small"}
        n of 2e4 to 5e4, or of 500 to 3000.

    Returns
    -------
    Problem
        With a standard normal right-hand side; the same on every machine for the same NumPy generator.

    Raises
    ------
    OptionError
        Unknown name or size.

    Notes
    -----
    Cost: up to 3 s for "full" (those on unstructured meshes), some 20 ms for "small".

    Examples
    --------
    >>> problem("poisson2d", "small").A.shape
    (1024, 1024)
    """
    if name not in SUITE:
        raise OptionError(f"unknown problem {name!r}: use one of {', '.join(SUITE)}")
    if size not in ("full", "small"):
        raise OptionError(f"unknown size {size!r}: use 'full' or 'small'")
    A = SUITE[name](size)
    seed = 1000 + list(SUITE).index(name)
    b = np.random.default_rng(seed).standard_normal(len(A.indptr) - 1)
    return Problem(name, A, b, meta={"kind": "suite", "size": size, "rhs_seed": seed})


def suite(size: str = "full") -> list[Problem]:
    """Build all fifteen problems; use `problem` to hold one at a time.

    Parameters
    ----------
    size : {"full", "small"}
        See `problem`.

    Returns
    -------
    list of Problem
        In the order of `SUITE`.

    Notes
    -----
    Cost: some 0.3 s for "small".

    Examples
    --------
    >>> len(suite("small"))
    15
    """
    return [problem(name, size) for name in SUITE]
