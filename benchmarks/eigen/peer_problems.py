"""The problems of `eigsh_peers.py`: what people hand to an eigensolver, each kept as a file once it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["PROBLEMS", "PeerProblem", "SkippedError", "load", "store"]


class SkippedError(Exception):
    """A problem that cannot be made here, and why."""


@dataclass(frozen=True)
class PeerProblem:
    """A problem: name, the bar that it belongs to, and how (A, M) are made; `folder` holds real matrices."""

    name: str
    group: str
    make: Callable[[Path | None], tuple[Any, Any]]
    quick: bool = False


def _real(name: str) -> Callable[[Path | None], tuple[Any, Any]]:
    def make(folder: Path | None) -> tuple[Any, Any]:
        import nnla

        path = None if folder is None else folder / f"{name}.mtx.gz"
        if path is None or not path.exists():
            raise SkippedError(f"no {name}.mtx.gz; give its folder with --matrices")
        return nnla.problems.read_matrix(path), None

    return make


def _made(name: str, *words: Any, **options: Any) -> Callable[[Path | None], tuple[Any, Any]]:
    def make(folder: Path | None) -> tuple[Any, Any]:
        import nnla

        return getattr(nnla.problems, name)(*words, **options), None

    return make


def _plate(folder: Path | None) -> tuple[Any, Any]:
    """Bending of a square plate, simply supported: the square of the Laplacian."""
    import nnla

    A = nnla.problems.poisson2d(120)
    return A @ A, None


def _clusters(groups: int, size: int) -> Callable[[Path | None], tuple[Any, Any]]:
    def make(folder: Path | None) -> tuple[Any, Any]:
        from eigen.structures import normalised_laplacian

        return normalised_laplacian(groups, size, 1e-3, np.random.default_rng(0)), None

    return make


def _free_frame(folder: Path | None) -> tuple[Any, Any]:
    from eigen.structures import free_frame

    return free_frame(3, (12, 12, 10)), None


def _jumps(folder: Path | None) -> tuple[Any, Any]:
    import nnla

    return nnla.problems.diffusion2d(nnla.problems.lognormal_field((200, 200), seed=1)), None


def _membrane(folder: Path | None) -> tuple[Any, Any]:
    """Vibration of a free membrane, consistent mass."""
    from nnla.problems import delaunay_mesh, p1_mass, p1_stiffness

    mesh = delaunay_mesh(20_000, seed=1)
    return p1_stiffness(mesh.points, mesh.triangles), p1_mass(mesh.points, mesh.triangles)


def _free_solid(folder: Path | None) -> tuple[Any, Any]:
    """Vibration of an elastic block held nowhere, lumped mass: six rigid modes."""
    import nnla

    K = nnla.problems.elasticity3d(13, 13, 13, clamped=False)
    ends = [np.where((np.arange(14) == 0) | (np.arange(14) == 13), 0.5, 1.0)] * 3
    m = np.einsum("i,j,k->ijk", *ends).ravel()
    return K, sp.csr_array(sp.diags_array(np.repeat(m, 3)))


PROBLEMS: tuple[PeerProblem, ...] = (
    PeerProblem("thermal1-like, 20,000", "2-D mesh", _made("thermal1_like", 20_000)),
    PeerProblem("thermal1-like, 80,000", "2-D mesh", _made("thermal1_like", 80_000)),
    PeerProblem("thermal2-like, 259,000", "2-D mesh", _made("thermal2_like", 0.21)),
    PeerProblem("Poisson 2-D, 20,000", "2-D mesh", _made("poisson2d", 141)),
    PeerProblem("Poisson 2-D, 259,000", "2-D mesh", _made("poisson2d", 509)),
    PeerProblem("cfd1", "3-D mesh", _real("cfd1")),
    PeerProblem("Poisson 3-D, 97,000", "3-D mesh", _made("poisson3d", 46)),
    PeerProblem("Si2", "Hamiltonian", _real("Si2"), quick=True),
    PeerProblem("SiH4-like", "Hamiltonian", _made("sih4_like")),
    PeerProblem("SiO2-like, 0.2", "Hamiltonian", _made("sio2_like", 0.2)),
    PeerProblem("CO-like, 0.2", "Hamiltonian", _made("co_like", 0.2)),
    PeerProblem("bcsstk16", "structure", _real("bcsstk16")),
    PeerProblem("plate", "structure", _plate),
    PeerProblem("elastic bar", "structure", _made("elasticity3d", 40, 10, 10)),
    PeerProblem("free frame", "structure", _free_frame),
    PeerProblem("free membrane, K M", "vibration", _membrane),
    PeerProblem("free solid, K M", "vibration", _free_solid),
    PeerProblem("graph with clusters", "graph", _clusters(12, 1500)),
    PeerProblem("circuit", "graph", _made("g3_circuit_like", 0.02)),
    PeerProblem("lognormal field", "2-D field", _jumps),
    PeerProblem("tiny grid", "smoke", _made("poisson2d", 24), quick=True),
)


def store(one: PeerProblem, cache: Path, folder: Path | None) -> Path:
    """The problem as a file, made where it is not there yet."""
    path = cache / ("".join(c if c.isalnum() else "_" for c in one.name) + ".npz")
    if not path.exists():
        A, M = one.make(folder)
        parts = {"A": sp.csr_array(A)} | ({} if M is None else {"M": sp.csr_array(M)})
        arrays = {
            f"{letter}_{field}": getattr(value, field)
            for letter, value in parts.items()
            for field in ("data", "indices", "indptr")
        }
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **arrays)
        part.replace(path)
    return path


def load(path: Path) -> tuple[sp.csr_array, sp.csr_array | None]:
    """(A, M) of a file."""
    with np.load(path) as data:

        def matrix(letter: str) -> sp.csr_array:
            n = data[f"{letter}_indptr"].size - 1
            return sp.csr_array(tuple(data[f"{letter}_{f}"] for f in ("data", "indices", "indptr")), shape=(n, n))

        return matrix("A"), matrix("M") if "M_data" in data else None
