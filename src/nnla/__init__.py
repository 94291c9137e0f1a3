"""nnla: learned algorithms for numerical linear algebra, checked and beside their classical baselines.

>>> import nnla
>>> A = nnla.problems.poisson2d(50)
>>> x, report = nnla.solve(A, [1.0] * A.shape[0])
>>> report.converged
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

from nnla import _moved
from nnla._lazy import lazy_names

_moved.install()

__getattr__, _ = lazy_names(
    __name__,
    {
        "DeflationSpace": "nnla.preconditioners.deflation",
        "EigenReport": "nnla.eigen.report",
        "Guess": "nnla.guesses.guess",
        "GuessReport": "nnla.guesses.guess",
        "Kind": "nnla.types",
        "MatrixFunction": "nnla.functions.multiply",
        "MatrixFunctionReport": "nnla.functions.report",
        "Operator": "nnla.operators.operator",
        "PolynomialPreconditioner": "nnla.linear.preconditioner",
        "Prepared": "nnla.linear.prepare",
        "Problem": "nnla.types",
        "Recurrence": "nnla.polynomials.recurrence",
        "Report": "nnla.types",
        "Solution": "nnla.types",
        "SpectralProbe": "nnla.types",
        "Solver": "nnla.sequences.solver",
        "SolverReport": "nnla.sequences.report",
        "Status": "nnla.types",
        "analysis": "nnla.analysis:",
        "as_operator": "nnla.operators.operator",
        "checks": "nnla.evaluation.conformance:",
        "classical": "nnla.polynomials.classical:",
        "eigsh": "nnla.eigen.solver",
        "errors": "nnla.errors:",
        "evaluate": "nnla.evaluation:",
        "extensions": "nnla.extensions:",
        "factorized": "nnla.sequences.solver",
        "funm_multiply": "nnla.functions.multiply",
        "guards": "nnla.polynomials.guards:",
        "initial_guess": "nnla.guesses.guess",
        "load": "nnla.registry",
        "matfun": "nnla.matfun:",
        "matrix_function": "nnla.functions.multiply",
        "preconditioner": "nnla.linear.preconditioner",
        "prepare": "nnla.linear.prepare",
        "probe": "nnla.krylov.probes",
        "problems": "nnla.problems:",
        "solve": "nnla.linear.solve",
        "weights": "nnla.registry",
    },
)
__all__ = [
    "DeflationSpace",
    "EigenReport",
    "Guess",
    "GuessReport",
    "Kind",
    "MatrixFunction",
    "MatrixFunctionReport",
    "Operator",
    "PolynomialPreconditioner",
    "Prepared",
    "Problem",
    "Recurrence",
    "Report",
    "Solution",
    "Solver",
    "SolverReport",
    "SpectralProbe",
    "Status",
    "__version__",
    "analysis",
    "as_operator",
    "checks",
    "classical",
    "eigsh",
    "errors",
    "evaluate",
    "extensions",
    "factorized",
    "funm_multiply",
    "guards",
    "initial_guess",
    "load",
    "matfun",
    "matrix_function",
    "preconditioner",
    "prepare",
    "probe",
    "problems",
    "solve",
    "weights",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # what __getattr__ finds, spelled out for type checkers and editors
    from nnla import analysis, errors, extensions, problems
    from nnla import evaluation as evaluate
    from nnla.eigen.report import EigenReport
    from nnla.eigen.solver import eigsh
    from nnla.evaluation import conformance as checks
    from nnla.functions.multiply import MatrixFunction, funm_multiply, matrix_function
    from nnla.functions.report import MatrixFunctionReport
    from nnla.guesses.guess import Guess, GuessReport, initial_guess
    from nnla.krylov.probes import probe
    from nnla.linear.preconditioner import PolynomialPreconditioner, preconditioner
    from nnla.linear.prepare import Prepared, prepare
    from nnla.linear.solve import solve
    from nnla.matfun.module import CallableModule
    from nnla.operators.operator import Operator, as_operator
    from nnla.polynomials import classical, guards
    from nnla.polynomials.recurrence import Recurrence
    from nnla.preconditioners.deflation import DeflationSpace
    from nnla.registry import load, weights
    from nnla.sequences.report import SolverReport
    from nnla.sequences.solver import Solver, factorized
    from nnla.types import Kind, Problem, Report, Solution, SpectralProbe, Status

    matfun: CallableModule
