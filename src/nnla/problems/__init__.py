"""Problems: a gallery of generators, the benchmark suite, stand-ins, files and downloads.

Names are resolved on first use, so that ``import nnla.problems`` costs nothing. The demo is not among them,
as function and module share its name: ``from nnla.problems.demo import demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

if TYPE_CHECKING:
    from nnla.problems.bvp import BVPSystems, bvp_systems
    from nnla.problems.bvp_plots import bvp_figure
    from nnla.problems.dense_spd import SPDSystems, spd_systems
    from nnla.problems.eigen_spectra import eigen_spectrum
    from nnla.problems.files import read_matrix, read_vector, write_vector_atomic
    from nnla.problems.finite_elements import (
        delaunay_mesh,
        elasticity2d,
        elasticity3d,
        eliminate,
        p1_mass,
        p1_stiffness,
        q1_elasticity,
    )
    from nnla.problems.frame_files import read_stand, write_stand
    from nnla.problems.frame_plots import frame_figure
    from nnla.problems.frame_recovery import recover_frame
    from nnla.problems.frames import Frame, frame, synthetic
    from nnla.problems.galerkin_problems import baart, deriv2, phillips
    from nnla.problems.gallery import (
        checkerboard_field,
        diffusion2d,
        diffusion3d,
        grid_circuit,
        lognormal_field,
        poisson1d,
        poisson2d,
        poisson3d,
        power_grid,
        wathen,
    )
    from nnla.problems.hamiltonians import co_like, hamiltonian, si2_like, sih4_like, sio2_like
    from nnla.problems.integral_equations import InverseProblem
    from nnla.problems.inverse_problems import INVERSE_PROBLEMS, foxgood, gravity, heat, inverse_problem, shaw
    from nnla.problems.lp_families import lp_problems
    from nnla.problems.matrix_families import MATRIX_FAMILIES, MatrixFamily, matrix_family
    from nnla.problems.matrix_references import MATRIX_FUNCTIONS, function_reference, real_domain
    from nnla.problems.perturbations import noise_deviation, perturbed
    from nnla.problems.random_matrices import random_matrix
    from nnla.problems.sequences import SEQUENCE_FAMILIES, SequenceFamily, system_sequence
    from nnla.problems.spd import SUITE, Problem, problem, suite
    from nnla.problems.standins import (
        dubcova2_like,
        flan_like,
        g3_circuit_like,
        thermal1_like,
        thermal2_like,
        thermomech_tc_like,
    )
    from nnla.problems.suitesparse import fetch
    from nnla.problems.systems import SYSTEM_FAMILIES, LinearSystem, SystemFamily, linear_system

_HOME = {
    "BVPSystems": "bvp",
    "bvp_systems": "bvp",
    "bvp_figure": "bvp_plots",
    "SPDSystems": "dense_spd",
    "spd_systems": "dense_spd",
    "MATRIX_FAMILIES": "matrix_families",
    "MatrixFamily": "matrix_families",
    "matrix_family": "matrix_families",
    "MATRIX_FUNCTIONS": "matrix_references",
    "function_reference": "matrix_references",
    "real_domain": "matrix_references",
    "noise_deviation": "perturbations",
    "perturbed": "perturbations",
    "Frame": "frames",
    "frame": "frames",
    "synthetic": "frames",
    "read_stand": "frame_files",
    "write_stand": "frame_files",
    "recover_frame": "frame_recovery",
    "frame_figure": "frame_plots",
    "eigen_spectrum": "eigen_spectra",
    "co_like": "hamiltonians",
    "hamiltonian": "hamiltonians",
    "si2_like": "hamiltonians",
    "sih4_like": "hamiltonians",
    "sio2_like": "hamiltonians",
    "INVERSE_PROBLEMS": "inverse_problems",
    "InverseProblem": "integral_equations",
    "baart": "galerkin_problems",
    "deriv2": "galerkin_problems",
    "foxgood": "inverse_problems",
    "gravity": "inverse_problems",
    "heat": "inverse_problems",
    "inverse_problem": "inverse_problems",
    "phillips": "galerkin_problems",
    "shaw": "inverse_problems",
    "SEQUENCE_FAMILIES": "sequences",
    "SequenceFamily": "sequences",
    "system_sequence": "sequences",
    "SUITE": "spd",
    "Problem": "spd",
    "problem": "spd",
    "suite": "spd",
    "read_matrix": "files",
    "read_vector": "files",
    "write_vector_atomic": "files",
    "fetch": "suitesparse",
    "SYSTEM_FAMILIES": "systems",
    "LinearSystem": "systems",
    "SystemFamily": "systems",
    "linear_system": "systems",
    "lp_problems": "lp_families",
    "random_matrix": "random_matrices",
    "dubcova2_like": "standins",
    "flan_like": "standins",
    "g3_circuit_like": "standins",
    "thermal1_like": "standins",
    "thermal2_like": "standins",
    "thermomech_tc_like": "standins",
    "checkerboard_field": "gallery",
    "delaunay_mesh": "finite_elements",
    "diffusion2d": "gallery",
    "diffusion3d": "gallery",
    "elasticity2d": "finite_elements",
    "elasticity3d": "finite_elements",
    "eliminate": "finite_elements",
    "grid_circuit": "gallery",
    "lognormal_field": "gallery",
    "p1_mass": "finite_elements",
    "p1_stiffness": "finite_elements",
    "poisson1d": "gallery",
    "poisson2d": "gallery",
    "poisson3d": "gallery",
    "power_grid": "gallery",
    "q1_elasticity": "finite_elements",
    "wathen": "gallery",
}

__all__ = [
    "INVERSE_PROBLEMS",
    "MATRIX_FAMILIES",
    "MATRIX_FUNCTIONS",
    "SEQUENCE_FAMILIES",
    "SUITE",
    "SYSTEM_FAMILIES",
    "BVPSystems",
    "Frame",
    "InverseProblem",
    "LinearSystem",
    "MatrixFamily",
    "Problem",
    "SPDSystems",
    "SequenceFamily",
    "SystemFamily",
    "baart",
    "bvp_figure",
    "bvp_systems",
    "checkerboard_field",
    "co_like",
    "delaunay_mesh",
    "deriv2",
    "diffusion2d",
    "diffusion3d",
    "dubcova2_like",
    "eigen_spectrum",
    "elasticity2d",
    "elasticity3d",
    "eliminate",
    "fetch",
    "flan_like",
    "foxgood",
    "frame",
    "frame_figure",
    "function_reference",
    "g3_circuit_like",
    "gravity",
    "grid_circuit",
    "hamiltonian",
    "heat",
    "inverse_problem",
    "linear_system",
    "lognormal_field",
    "lp_problems",
    "matrix_family",
    "noise_deviation",
    "p1_mass",
    "p1_stiffness",
    "perturbed",
    "phillips",
    "poisson1d",
    "poisson2d",
    "poisson3d",
    "power_grid",
    "problem",
    "q1_elasticity",
    "random_matrix",
    "read_matrix",
    "read_stand",
    "read_vector",
    "real_domain",
    "recover_frame",
    "shaw",
    "si2_like",
    "sih4_like",
    "sio2_like",
    "spd_systems",
    "suite",
    "synthetic",
    "system_sequence",
    "thermal1_like",
    "thermal2_like",
    "thermomech_tc_like",
    "wathen",
    "write_stand",
    "write_vector_atomic",
]


__getattr__, __dir__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOME.items()})
