"""nnla: learned algorithms for numerical linear algebra, checked and beside their classical baselines.

>>> import nnla
>>> A = nnla.problems.poisson2d(50)
>>> x, report = nnla.solve(A, [1.0] * A.shape[0])
>>> report.converged
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module it lives in. Loaded on first use, so that `import nnla` stays instant.
_PUBLIC = {
    "DeflationSpace": "nnla.deflation",
    "Guess": "nnla.guesses",
    "GuessReport": "nnla.guesses",
    "Kind": "nnla.types",
    "MatrixFunction": "nnla.functions.multiply",
    "MatrixFunctionReport": "nnla.functions.report",
    "Operator": "nnla.operators",
    "PolynomialPreconditioner": "nnla.approximations",
    "Problem": "nnla.types",
    "Recurrence": "nnla.recurrences",
    "Report": "nnla.types",
    "Solution": "nnla.types",
    "SpectralProbe": "nnla.types",
    "Status": "nnla.types",
    "EigenReport": "nnla.eigen.report",
    "as_operator": "nnla.operators",
    "eigsh": "nnla.eigen.solver",
    "funm_multiply": "nnla.functions.multiply",
    "initial_guess": "nnla.guesses",
    "load": "nnla.registry",
    "matfun": "nnla.functions.multiply",
    "matrix_function": "nnla.functions.multiply",
    "preconditioner": "nnla.approximations",
    "probe": "nnla.probes",
    "solve": "nnla.solvers",
    "weights": "nnla.registry",
}
_MODULES = ("analysis", "checks", "classical", "errors", "evaluate", "extensions", "guards", "problems")

__all__ = ["__version__", *sorted(_PUBLIC), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"nnla.{name}")
    else:
        raise AttributeError(f"module 'nnla' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # what __getattr__ finds, spelled out for type checkers and editors
    # ruff: noqa: F401
    from nnla import analysis, checks, classical, errors, evaluate, extensions, guards, problems
    from nnla.approximations import PolynomialPreconditioner, preconditioner
    from nnla.deflation import DeflationSpace
    from nnla.eigen.report import EigenReport
    from nnla.eigen.solver import eigsh
    from nnla.functions.multiply import MatrixFunction, funm_multiply, matfun, matrix_function
    from nnla.functions.report import MatrixFunctionReport
    from nnla.guesses import Guess, GuessReport, initial_guess
    from nnla.operators import Operator, as_operator
    from nnla.probes import probe
    from nnla.recurrences import Recurrence
    from nnla.registry import load, weights
    from nnla.solvers import solve
    from nnla.types import Kind, Problem, Report, Solution, SpectralProbe, Status
