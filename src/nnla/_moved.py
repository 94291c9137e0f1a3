"""Import paths of earlier versions, which go on working: old module -> where its contents live now."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "install"]

MOVED = {
    "nnla.analysis.extension": "nnla.models.paper_extension",
    "nnla.approximations": "nnla.linear.preconditioner",
    "nnla.checks": "nnla.evaluation.conformance",
    "nnla.classical": "nnla.polynomials.classical",
    "nnla.costs": "nnla.linear.estimates",
    "nnla.deflation": "nnla.preconditioners.deflation",
    "nnla.design": "nnla.polynomials.design",
    "nnla.direct": "nnla.linear.direct",
    "nnla.eigen.engines": "nnla.eigen.filter_choice",
    "nnla.eigen.job": "nnla.eigen.state",
    "nnla.eigen.selection": "nnla.eigen.auto",
    "nnla.evaluate": "nnla.evaluation",
    "nnla.functions.run": "nnla.functions.state",
    "nnla.guards": "nnla.polynomials.guards",
    "nnla.guess_evaluation": "nnla.evaluation.guesses",
    "nnla.hierarchies": "nnla.preconditioners.multigrid_setup",
    "nnla.incomplete_cholesky": "nnla.preconditioners.incomplete_cholesky",
    "nnla.kernels.conjugate_gradients": "nnla.krylov.native_cg",
    "nnla.level_sets": "nnla.preconditioners.incomplete_cholesky_numpy",
    "nnla.linear.choice": "nnla.linear.decision",
    "nnla.linear.costs": "nnla.linear.estimates",
    "nnla.model_evaluation": "nnla.evaluation.engines",
    "nnla.models.fingerprints": "nnla.guesses.fingerprints",
    "nnla.models.galerkin": "nnla.preconditioners.galerkin",
    "nnla.multigrid": "nnla.preconditioners.multigrid",
    "nnla.options": "nnla.linear.options",
    "nnla.plots": "nnla.evaluation.plots",
    "nnla.probes": "nnla.krylov.probes",
    "nnla.recurrences": "nnla.polynomials.recurrence",
    "nnla.scalings": "nnla.preconditioners.scalings",
    "nnla.selection": "nnla.linear.auto",
    "nnla.simulated_choice": "nnla.polynomials.intervals",
    "nnla.simulated_probes": "nnla.spectra.simulated_eigensolvers",
    "nnla.simulation": "nnla.spectra.simulated_cg",
    "nnla.solvers": "nnla.linear.solve",
    "nnla.structure": "nnla.operators.structure",
    "nnla.tail_roots": "nnla.polynomials.outlier_roots",
}


class _Finder:
    """Finds a moved module by its old name: the same module object, under both names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # what the import system takes as the result is what stands in sys.modules afterwards
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


_FINDER = _Finder()


def install() -> None:
    """Let the import system know of the old names; it asks here last."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)  # type: ignore[arg-type]
