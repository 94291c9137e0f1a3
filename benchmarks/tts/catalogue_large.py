"""The set "large": forty generated systems of 10^5 to 10^6 unknowns, most of them where factoring is dear.

Three-dimensional grids and elements, elasticity, networks with hubs, geometric graphs, circuits; shapes, contrasts and
seeds are others than those of the sets with which anything was fitted. Most are near 10^5, so that a run ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, eye_array

from nnla import problems as p
from tts import generated as g

LARGE: dict[str, tuple[str, Callable[[], csr_array]]] = {}


def _add(name: str, family: str, build: Callable[[], csr_array]) -> None:
    LARGE[f"large_{name}"] = family, build


def _field(shape: tuple[int, ...], s: float, correlation: float, seed: int) -> np.ndarray:
    return p.lognormal_field(shape, s=s, correlation=correlation, seed=seed)


def _layers(nx: int, ny: int, nz: int, contrast: float) -> csr_array:
    """A solid whose stiffness changes from layer to layer."""
    young = np.ones((nx, ny, nz))
    young[:, :, ::2] = contrast
    return p.elasticity3d(nx, ny, nz, young=young)


def _mesh(n: int, grading: float = 0.0, seed: int = 21) -> csr_array:
    mesh = p.delaunay_mesh(n, sweeps=1, seed=seed, grading=grading)
    return p.eliminate(p.p1_stiffness(mesh.points, mesh.triangles), mesh.boundary)


def _mass(n: int) -> csr_array:
    mesh = p.delaunay_mesh(n, sweeps=1, grading=1.0, seed=22)
    return p.p1_mass(mesh.points, mesh.triangles)


def _implicit(n: int, weight: float) -> csr_array:
    """A step of an implicit time integration on tetrahedra, the mass lumped to one number."""
    K = g.tetrahedral_stiffness(n, seed=4)
    return csr_array(weight * K + eye_array(K.shape[0]))


# three-dimensional grids
_add("grid3d_60_50_40", "3-D grid", lambda: p.poisson3d(60, 50, 40))
_add("grid3d_400_20_20", "3-D grid", lambda: p.poisson3d(400, 20, 20))
_add("grid3d_250_250_3", "3-D grid", lambda: p.poisson3d(250, 250, 3))
_add("grid3d_85", "3-D grid", lambda: p.poisson3d(85))
_add("jump3d_56", "3-D jumps", lambda: p.diffusion3d(p.checkerboard_field((56, 56, 56), blocks=7, contrast=1e2)))
_add("jump3d_60_60_40", "3-D jumps", lambda: p.diffusion3d(p.checkerboard_field((60, 60, 40), blocks=5, contrast=1e6)))
_add("lognormal3d_52", "3-D lognormal", lambda: p.diffusion3d(_field((52, 52, 52), 1.0, 0.2, 31)))
_add("lognormal3d_100_60_30", "3-D lognormal", lambda: p.diffusion3d(_field((100, 60, 30), 3.0, 0.1, 32)))
_add("anisotropic3d_50", "3-D anisotropic", lambda: p.diffusion3d(np.ones((50, 50, 50)), weights=(1.0, 10.0, 100.0)))
_add("flat3d_80_80_20", "3-D anisotropic", lambda: p.diffusion3d(np.ones((80, 80, 20)), weights=(1.0, 1.0, 1e-3)))
_add("stencil27_50", "27-point", lambda: g.stencil27(50))
# three-dimensional elements
_add("tetrahedra_120000", "3-D elements", lambda: g.tetrahedral_stiffness(125_000, seed=1))
_add("tetrahedra_120000_random", "3-D elements, random order",
     lambda: g.permuted(g.tetrahedral_stiffness(125_000, seed=2), seed=2))  # fmt: skip
_add("tetrahedra_jump_120000", "3-D elements", lambda: g.tetrahedral_stiffness(125_000, contrast=1e5, seed=3))
_add("tetrahedra_step_120000", "3-D elements", lambda: _implicit(125_000, 2.0))
# elasticity and structures
_add("bar_140_15_15", "elasticity", lambda: p.elasticity3d(140, 15, 15))
_add("layers_60_60_8", "elasticity", lambda: _layers(60, 60, 8, 50.0))
_add("block_32", "elasticity", lambda: p.elasticity3d(32, 32, 32))
_add("beam_600_90", "elasticity", lambda: p.elasticity2d(600, 90))
_add("sheet_260_200", "elasticity", lambda: p.elasticity2d(260, 200, young=_field((260, 200), 1.5, 0.1, 33)))
_add("mast_9_9_420", "frames", lambda: g.truss(9, 9, 420, seed=1))
_add("plate_320", "plate", lambda: g.biharmonic(320))
# networks
_add("scale_free_150000", "graph", lambda: g.scale_free_laplacian(150_000, links=3, seed=1))
_add("scale_free_120000_dense", "graph", lambda: g.scale_free_laplacian(120_000, links=8, seed=2))
_add("scale_free_250000_floating", "graph", lambda: g.scale_free_laplacian(250_000, links=2, shift=1e-5, seed=3))
_add("scale_free_200000_tree", "graph", lambda: g.scale_free_laplacian(200_000, links=1, shift=1e-4, seed=4))
_add("scale_free_1000000", "graph", lambda: g.scale_free_laplacian(1_000_000, links=2, shift=0.1, seed=5))
_add("geometric2d_150000", "graph", lambda: g.geometric_laplacian(150_000, degree=8.0, shift=1e-3, seed=1))
_add("geometric3d_100000", "graph", lambda: g.geometric_laplacian(100_000, degree=9.0, shift=1e-3, dim=3, seed=2))
_add("geometric3d_150000_grounded", "graph",
     lambda: g.geometric_laplacian(150_000, degree=12.0, shift=1.0, dim=3, seed=3))  # fmt: skip
_add("circuit_pads_400_300", "circuit with extra edges", lambda: g.circuit_with_pads(400, 300, extra=0.01, seed=4))
_add("circuit_pads_330", "circuit with extra edges", lambda: g.circuit_with_pads(330, 330, extra=0.2, pads=500, seed=5))
_add("power_grid_320", "power grid", lambda: p.power_grid(320, 320, seed=23))
_add("circuit_1000", "circuit", lambda: p.grid_circuit(1000, 1000, leak=1.0, seed=24))
# two-dimensional elements, masses, bands
_add("mesh_200000", "2-D elements", lambda: _mesh(200_000))
_add("mesh_150000_graded", "2-D elements, random order", lambda: g.permuted(_mesh(150_000, 1.5), seed=3))
_add("lognormal2d_400", "lognormal", lambda: p.diffusion2d(_field((400, 400), 2.5, 0.03, 34)))
_add("mass_300000", "mass", lambda: _mass(300_000))
_add("wathen_190", "mass", lambda: p.wathen(190, 190, seed=25))
_add("banded_200000", "band", lambda: g.banded(200_000, half=10, seed=1))
