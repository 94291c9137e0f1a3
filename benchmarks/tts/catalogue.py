"""The generated systems of the benchmark: name -> (family, how it is built, its set), from 20 to 3 * 10^6 unknowns.

The sets: "development", with which the hand-made constants were checked; "large", n = 10^5 to 10^6; "small", below a
millisecond; "more", the large ones of the development families, which are not measured unless --sets names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from nnla import problems as p
from tts import generated as g
from tts.catalogue_large import LARGE

Build = Callable[[], csr_array]


class Entry(NamedTuple):
    family: str
    build: Build
    group: str


CATALOGUE: dict[str, Entry] = {}
DEFAULT = ("development", "large", "small")
_MORE = frozenset((
    "poisson2d_1732", "poisson3d_144", "anisotropic2d_1000", "circuit_1000", "circuit_pads_500", "power_grid_600",
    "g3_circuit_like", "fem2d_500000", "fem3d_300000", "fem3d_300000_random", "elasticity2d_600", "elasticity3d_78",
    "flan_like", "lognormal2d_700", "lognormal3d_100", "thermal2_like", "heat_500000", "mass_200000", "wathen_300",
    "geometric3d_200000",
))  # fmt: skip


def _add(name: str, family: str, build: Build, group: str = "development") -> None:
    CATALOGUE[name] = Entry(family, build, "more" if name in _MORE else group)


def _fem2d(n: int, seed: int = 5) -> csr_array:
    mesh = p.delaunay_mesh(n, sweeps=1, seed=seed)
    return p.eliminate(p.p1_stiffness(mesh.points, mesh.triangles), mesh.boundary)


def _heat(n: int) -> csr_array:
    mesh = p.delaunay_mesh(n, sweeps=1, seed=7)
    K = p.p1_stiffness(mesh.points, mesh.triangles)
    return csr_array(p.p1_mass(mesh.points, mesh.triangles) / mesh.h**2 + 8.0 * K)


def _mass(n: int) -> csr_array:
    mesh = p.delaunay_mesh(n, sweeps=1, grading=1.5, seed=8)
    return p.p1_mass(mesh.points, mesh.triangles)


def _bar(nx: int, ny: int, nz: int) -> csr_array:
    young = np.ones((nx, ny, nz))
    young[:, ny // 3 : 2 * ny // 3, nz // 3 : 2 * nz // 3] = 20.0
    return p.elasticity3d(nx, ny, nz, young=young)


def _lognormal(shape: tuple[int, ...], s: float) -> csr_array:
    k = p.lognormal_field(shape, s=s, correlation=0.05, seed=12)
    return p.diffusion2d(k) if len(shape) == 2 else p.diffusion3d(k)


for m in (32, 100, 316, 700, 1000, 1732):
    _add(f"poisson2d_{m}", "2-D Poisson", lambda m=m: p.poisson2d(m))
for m in (10, 22, 46, 79, 100, 144):
    _add(f"poisson3d_{m}", "3-D Poisson", lambda m=m: p.poisson3d(m))
for m in (100, 316, 700):
    _add(f"jump2d_{m}", "jumps", lambda m=m: p.diffusion2d(p.checkerboard_field((m, m), blocks=8, contrast=1e4)))
for m in (30, 64):
    _add(f"jump3d_{m}", "jumps", lambda m=m: p.diffusion3d(p.checkerboard_field((m, m, m), blocks=4, contrast=1e4)))
for m in (316, 1000):
    _add(f"anisotropic2d_{m}", "anisotropic", lambda m=m: p.diffusion2d(np.ones((m, m)), weights=(1.0, 100.0)))
_add("anisotropic3d_64", "anisotropic", lambda: p.diffusion3d(np.ones((64, 64, 64)), weights=(1.0, 1.0, 1000.0)))
for m in (22, 48, 72):
    _add(f"stencil27_{m}", "27-point", lambda m=m: g.stencil27(m))
for m in (100, 316, 700, 1000):
    _add(f"circuit_{m}", "circuit", lambda m=m: p.grid_circuit(m, m, leak=1e-2, seed=14))
for m in (60, 200, 500):
    _add(f"circuit_pads_{m}", "circuit with extra edges", lambda m=m: g.circuit_with_pads(m, m, seed=3))
for m in (60, 200, 600):
    _add(f"power_grid_{m}", "power grid", lambda m=m: p.power_grid(m, m, seed=15))
_add("g3_circuit_like", "power grid", lambda: p.g3_circuit_like(1.0))
for n in (3_000, 30_000, 500_000):
    _add(f"fem2d_{n}", "2-D elements", lambda n=n: _fem2d(n))
for n in (30_000, 500_000):
    _add(f"fem2d_{n}_random", "2-D elements, random order", lambda n=n: g.permuted(_fem2d(n)))
for n in (5_000, 40_000, 300_000):
    _add(f"fem3d_{n}", "3-D elements", lambda n=n: g.tetrahedral_stiffness(n))
for n in (40_000, 300_000):
    _add(f"fem3d_{n}_random", "3-D elements, random order", lambda n=n: g.permuted(g.tetrahedral_stiffness(n)))
_add("fem3d_jump_40000", "3-D elements", lambda: g.tetrahedral_stiffness(40_000, contrast=1e3))
for nx, ny in ((60, 24), (200, 80), (600, 240)):
    _add(f"elasticity2d_{nx}", "elasticity", lambda nx=nx, ny=ny: p.elasticity2d(nx, ny))
for nx, ny in ((12, 6), (36, 14), (78, 22)):
    _add(f"elasticity3d_{nx}", "elasticity", lambda nx=nx, ny=ny: _bar(nx, ny, ny))
_add("flan_like", "elasticity", lambda: p.flan_like(0.08))
_add("truss_6", "frames", lambda: g.truss(6, 6, 40))
_add("truss_14", "frames", lambda: g.truss(14, 14, 120))
_add("lognormal2d_180", "lognormal", lambda: _lognormal((180, 180), 1.0))
_add("lognormal2d_700", "lognormal", lambda: _lognormal((700, 700), 2.0))
_add("lognormal3d_64", "lognormal", lambda: _lognormal((64, 64, 64), 2.0))
_add("lognormal3d_100", "lognormal", lambda: _lognormal((100, 100, 100), 1.5))
_add("thermal2_like", "thermal", lambda: p.thermal2_like(1.0))
_add("thermomech_like", "thermal", lambda: p.thermomech_tc_like(1.0))
_add("dubcova2_like", "thermal", lambda: p.dubcova2_like(128))
_add("heat_500000", "thermal", lambda: _heat(500_000))
_add("mass_200000", "mass", lambda: _mass(200_000))
_add("wathen_100", "mass", lambda: p.wathen(100, 100, seed=11))
_add("wathen_300", "mass", lambda: p.wathen(300, 300, seed=11))
for n in (2_000, 100_000):
    _add(f"scale_free_{n}", "graph", lambda n=n: g.scale_free_laplacian(n))
_add("geometric2d_100000", "graph", lambda: g.geometric_laplacian(100_000))
_add("geometric3d_200000", "graph", lambda: g.geometric_laplacian(200_000, dim=3, shift=1e-3))
for n in (3_000, 50_000):
    _add(f"wendland_{n}", "kernel", lambda n=n: g.wendland(n))
_add("banded_100000", "band", lambda: g.banded(100_000))
_add("tridiagonal_300000", "band", lambda: p.poisson1d(300_000))
for m in (32, 150):
    _add(f"biharmonic_{m}", "plate", lambda m=m: g.biharmonic(m))

for name, family, build in (
    ("small_line_20", "band", lambda: p.poisson1d(20)),
    ("small_line_1000", "band", lambda: p.poisson1d(1000)),
    ("small_grid_5", "2-D Poisson", lambda: p.poisson2d(5)),
    ("small_grid_12", "2-D Poisson", lambda: p.poisson2d(12)),
    ("small_grid_20", "2-D Poisson", lambda: p.poisson2d(20)),
    ("small_grid_28", "2-D Poisson", lambda: p.poisson2d(28)),
    ("small_cube_6", "3-D Poisson", lambda: p.poisson3d(6)),
    ("small_jump_20", "jumps", lambda: p.diffusion2d(p.checkerboard_field((20, 20), blocks=4, contrast=1e4))),
    ("small_fem_150", "2-D elements", lambda: _fem2d(150)),
    ("small_fem_600", "2-D elements, random order", lambda: g.permuted(_fem2d(600))),
    ("small_mass_400", "mass", lambda: _mass(400)),
    ("small_wathen_6", "mass", lambda: p.wathen(6, 6, seed=11)),
    ("small_power_14", "power grid", lambda: p.power_grid(14, 14, seed=15)),
    ("small_circuit_24", "circuit", lambda: p.grid_circuit(24, 24, leak=1e-2, seed=14)),
    ("small_pads_16", "circuit with extra edges", lambda: g.circuit_with_pads(16, 16, pads=6, seed=3)),
    ("small_scale_free_300", "graph", lambda: g.scale_free_laplacian(300)),
    ("small_geometric_500", "graph", lambda: g.geometric_laplacian(500)),
    ("small_beam_16", "elasticity", lambda: p.elasticity2d(16, 6)),
    ("small_bar_4", "elasticity", lambda: _bar(4, 2, 2)),
    ("small_plate_14", "plate", lambda: g.biharmonic(14)),
    ("small_truss_3", "frames", lambda: g.truss(3, 3, 8)),
    ("small_kernel_200", "kernel", lambda: g.wendland(200)),
):
    _add(name, family, build, "small")

for name, (family, build) in LARGE.items():
    _add(name, family, build, "large")

#: Small enough for a few minutes, one of every kind.
QUICK = (
    "poisson2d_32", "poisson2d_316", "poisson3d_22", "poisson3d_46", "jump2d_100", "anisotropic2d_316", "stencil27_22",
    "circuit_100", "circuit_pads_60", "power_grid_60", "fem2d_30000_random", "fem3d_40000", "elasticity3d_12",
    "lognormal2d_180", "wathen_100", "scale_free_2000", "wendland_3000", "truss_6", "biharmonic_32",
)  # fmt: skip
