"""The methods: what solves a sequence, step by step, and the settings of each peer that are tried in hindsight.

`load(library)` gives methods and versions. A method is a function of a setting (one value of each of its axes) that
starts a sequence: it returns step(A, b, same, tolerance) -> (x, iterations), where `same` says that A is the object of
the step before (peers are told so at no cost; `nnla.Solver` looks for itself).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Step = Callable[[Any, np.ndarray, bool, float], tuple[np.ndarray, int]]
Method = Callable[..., Step]

REFRESH = ("1", "5", "never")  # systems until what was set up is set up anew
FIXED = ("always fresh", "never refresh", "every 10", "guess only", "deflation only")

#: method -> (library, axes): the axes are tried one after the other, each from the best of the ones before.
METHODS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "nnla cold": ("nnla", {}),
    "bare kernels": ("nnla", {}),
    "Solver": ("nnla", {}),
    "Solver, learn=False": ("nnla", {}),
    **{f"Solver, {name}": ("nnla", {}) for name in FIXED},
    "cholmod": (
        "cholmod",
        {"ordering": ("default", "amd", "metis"), "kept": ("analysis", "nothing", "factor 5", "factor never")},
    ),
    "scipy splu": ("scipy", {"refresh": REFRESH}),
    "pyamg": ("pyamg", {"hierarchy": ("sa", "rs"), "refresh": REFRESH, "guess": ("none", "last")}),
    "petsc": (
        "petsc",
        {
            "pc": ("icc", "jacobi", "hypre", "gamg"),
            "refresh": REFRESH,
            "guess": ("none", "last", "fischer 1", "fischer 2", "pod"),
        },
    ),
}
PEERS = ("cholmod", "scipy splu", "pyamg", "petsc")
COLD, SOLVER, BARE = "nnla cold", "Solver", "bare kernels"

DESCRIPTIONS = {
    "nnla cold": "`nnla.solve(A, b)` each time, defaults",
    "bare kernels": "the native Cholesky with its analysis kept while the pattern is the same and its factor while A "
    "is: factor and substitutions, nothing verified, nothing refined, no other method; a yardstick, no solver",
    "Solver": "`nnla.Solver(rtol=1e-8)`, defaults",
    "Solver, learn=False": "the deterministic one, which counts operations",
    "Solver, (a policy)": "`nnla.Solver` held to one policy",
    "cholmod": "scikit-sparse: `cholesky` each time (kept: nothing), `analyze` once and `cholesky_inplace` (analysis), "
    "or the factor of an earlier system as the preconditioner of SciPy's CG, anew every 5 systems or never; each with "
    "its orderings. While A is the same its factor is kept",
    "scipy splu": "`splu` (MMD_AT_PLUS_A, SymmetricMode), kept while A is the same; or the factor of an earlier system "
    "as the preconditioner of SciPy's CG",
    "pyamg": "smoothed aggregation or Ruge-Stuben with CG; the hierarchy rebuilt each time, every 5 systems or never; "
    "from zero or from the last solution",
    "petsc": "KSPCG with ICC(0), Jacobi, BoomerAMG or GAMG, `KSPSetReusePreconditioner` as above; from zero, the last "
    "solution, `KSPGuess` fischer (models 1 and 2, 20 vectors) or pod (20 vectors)",
}


def load(library: str) -> tuple[dict[str, Method], dict[str, str]]:
    """(methods, versions) of one library; ImportError where it is absent."""
    from seq import peers

    loaders: Mapping[str, Callable[[], tuple[dict[str, Method], dict[str, str]]]] = {
        "nnla": _nnla, "scipy": peers.scipy_methods, "pyamg": peers.pyamg_methods, "cholmod": peers.cholmod_methods,
        "petsc": peers.petsc_methods,
    }  # fmt: skip
    return loaders[library]()


def _nnla() -> tuple[dict[str, Method], dict[str, str]]:
    import scipy

    import nnla
    from nnla.kernels.cholesky import Cholesky
    from nnla.sequences.policy import POLICIES

    def cold() -> Step:
        def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
            x, report = nnla.solve(A, b, rtol=tolerance)
            return x, report.iterations

        return step

    def bare() -> Step:
        held: list[Any] = [None, None]

        def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
            if not same:
                before = held[1]
                if before is None or A.nnz != before.nnz or not np.array_equal(A.indices, before.indices):
                    held[0] = Cholesky(A)
                held[0].factor(A.data)
                held[1] = A
            return held[0].solve(b), 0

        return step

    def solver(**options: Any) -> Method:
        def start() -> Step:
            made: list[Any] = []

            def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
                if not made:
                    made.append(nnla.Solver(rtol=tolerance, **options))
                x, report = made[0].solve(A, b)
                return x, report.iterations

            step.report = lambda: made[0].report  # type: ignore[attr-defined]
            return step

        return start

    methods: dict[str, Method] = {"nnla cold": cold, "bare kernels": bare}
    methods |= {"Solver": solver(), "Solver, learn=False": solver(learn=False)}
    methods |= {f"Solver, {name}": solver(policy=policy) for name, policy in POLICIES.items()}
    return methods, {"nnla": nnla.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
