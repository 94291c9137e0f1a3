"""The solvers: each takes the same CSR float64 matrix and b, and pays for everything that it needs from there.

A solver is a function (A, b, tolerance) -> (x, facts), facts a dict or a function that makes it, called when the clock
has stopped. `tolerance` is what its own stopping test is given; whether the
true residual is met is judged outside, and the tolerance tightened if not. Only the libraries that a worker is asked
for are imported; `LIBRARIES` maps solvers to them, in the order in which they are first tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Facts = dict[str, Any]
Result = tuple[np.ndarray, Facts | Callable[[], Facts]]
Solver = Callable[[Any, np.ndarray, float], Result]

#: solver -> library. nnla's rows are its public `solve` with defaults; all others are peers. A yardstick NAME, the
#: `auto` of another source tree of nnla, is the solver "auto:NAME" of the library "nnla:NAME".
LIBRARIES = {
    "nnla-auto": "nnla",
    "nnla-direct": "nnla",
    "nnla-ic": "nnla",
    "nnla-jacobi": "nnla",
    "nnla-autospec": "nnla",
    "nnla-amg": "nnla",
    "petsc-icc": "petsc",
    "cholmod": "cholmod",
    "cholmod-amd": "cholmod",
    "cholmod-metis": "cholmod",
    "petsc-boomeramg": "petsc",
    "petsc-jacobi": "petsc",
    "scipy-jacobi": "scipy",
    "pyamg-sa": "pyamg",
    "pyamg-rs": "pyamg",
    "petsc-gamg": "petsc",
    "scipy-cg": "scipy",
    "scipy-splu": "scipy",
    "scipy-spilu": "scipy",
    "nnla-cg": "nnla",
}

DESCRIPTIONS = {
    "nnla-*": "`nnla.solve(A, b, method=*)`, defaults",
    "scipy-cg": "`scipy.sparse.linalg.cg`, no preconditioner",
    "scipy-jacobi": "the same with the diagonal",
    "scipy-spilu": "the same with `spilu(drop_tol=1e-3, fill_factor=5, drop_rule='basic')`, MMD_AT_PLUS_A, "
    "SymmetricMode, no pivoting. An incomplete LU is not symmetric: CG has no guarantee with it, and where it fails "
    "that is no defect of SciPy",
    "scipy-splu": "`splu`, MMD_AT_PLUS_A, SymmetricMode, no pivoting",
    "pyamg-sa": "`smoothed_aggregation_solver(A).solve(accel='cg')`, defaults",
    "pyamg-rs": "`ruge_stuben_solver(A).solve(accel='cg')`, defaults",
    "cholmod": "scikit-sparse `cholesky(A)`, defaults (its own choice of ordering and of supernodes)",
    "cholmod-amd, cholmod-metis": "the same with `ordering_method='amd'` and `'metis'`",
    "auto:*": "`nnla.solve(A, b)` of another source tree, a yardstick: neither a method of nnla nor a peer",
    "petsc-*": "KSPCG on an AIJ matrix made from the CSR arrays (charged); PCJACOBI, PCICC of level 0, PCGAMG, "
    "PCHYPRE BoomerAMG with defaults; stops in the unpreconditioned norm",
}


def kind(solver: str) -> str:
    """ "own" (a method of nnla or its `auto`), "yardstick" or "peer"."""
    return "own" if solver.startswith("nnla-") else "yardstick" if solver.startswith("auto:") else "peer"


def yardstick(name: str) -> tuple[str, str]:
    """(solver, library) of the `auto` of another source tree."""
    return f"auto:{name}", f"nnla:{name}"


def load(library: str) -> tuple[dict[str, Solver], dict[str, str]]:
    """(solvers, versions) of one library; ImportError where it is absent."""
    family, _, name = library.partition(":")
    if name:
        solvers, versions = _nnla()
        return {yardstick(name)[0]: solvers["nnla-auto"]}, versions
    return {"nnla": _nnla, "scipy": _scipy, "pyamg": _pyamg, "cholmod": _cholmod, "petsc": _petsc}[family]()


def _versions(*modules: Any) -> dict[str, str]:
    return {m.__name__: m.__version__ for m in modules}


def _nnla() -> tuple[dict[str, Solver], dict[str, str]]:
    import json

    import scipy

    import nnla

    left_out = {"residual_history", "versions"}

    def make(method: str) -> Solver:
        def solve(A: Any, b: np.ndarray, tolerance: float) -> Result:
            x, report = nnla.solve(A, b, method=method, rtol=tolerance)
            return x, lambda: {k: v for k, v in json.loads(report.to_json()).items() if k not in left_out}

        return solve

    names = [name for name, library in LIBRARIES.items() if library == "nnla"]
    return {name: make(name.removeprefix("nnla-")) for name in names}, _versions(nnla, np, scipy)


def _refined(solve: Callable, A: Any, b: np.ndarray, tolerance: float) -> Result:
    """A direct solver's answer with at most three steps of refinement, taken only where it misses the tolerance."""
    x = solve(b)
    target = tolerance * np.linalg.norm(b)
    for step in range(4):
        r = b - A @ x
        if np.linalg.norm(r) <= target or step == 3:
            return x, {"iterations": step}
        x += solve(r)
    raise AssertionError("unreachable")


def _scipy() -> tuple[dict[str, Solver], dict[str, str]]:
    import scipy
    from scipy.sparse.linalg import LinearOperator, cg, spilu, splu

    def run(
        A: Any, b: np.ndarray, tolerance: float, M: Any, maxiter: int | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        count = [0]

        def counter(_: Any) -> None:
            count[0] += 1

        x, info = cg(A, b, rtol=tolerance, atol=0.0, M=M, callback=counter, maxiter=maxiter)
        return x, {"iterations": count[0], "stopped": f"cg info {info}" if info else None}

    def jacobi(A: Any, b: np.ndarray, tolerance: float):
        inverse = 1.0 / A.diagonal()
        return run(A, b, tolerance, LinearOperator(A.shape, matvec=lambda r: inverse * r, dtype=np.float64))

    def incomplete(A: Any, b: np.ndarray, tolerance: float):
        # symmetric ordering, no pivoting, one dropping rule: as near to an incomplete Cholesky factor as it gets
        symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        factor = spilu(A.T, drop_tol=1e-3, fill_factor=5, drop_rule="basic", **symmetric)  # A' is A in CSC, free
        return run(A, b, tolerance, LinearOperator(A.shape, matvec=factor.solve, dtype=np.float64), 2000)

    def direct(A: Any, b: np.ndarray, tolerance: float):
        factor = splu(A.T, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return _refined(factor.solve, A, b, tolerance)

    solvers = {
        "scipy-cg": lambda A, b, tolerance: run(A, b, tolerance, None),
        "scipy-jacobi": jacobi,
        "scipy-spilu": incomplete,
        "scipy-splu": direct,
    }
    return solvers, _versions(scipy, np)


def _pyamg() -> tuple[dict[str, Solver], dict[str, str]]:
    import pyamg
    import scipy
    from scipy.sparse import csr_matrix

    def make(build: Callable) -> Solver:
        def solve(A: Any, b: np.ndarray, tolerance: float) -> Result:
            hierarchy = build(csr_matrix((A.data, A.indices, A.indptr), shape=A.shape))  # no copy
            residuals: list[float] = []
            x = hierarchy.solve(b, tol=tolerance, accel="cg", maxiter=2000, residuals=residuals)
            return x, {"iterations": len(residuals) - 1}

        return solve

    solvers = {"pyamg-sa": make(pyamg.smoothed_aggregation_solver), "pyamg-rs": make(pyamg.ruge_stuben_solver)}
    return solvers, _versions(pyamg, np, scipy)


def _cholmod() -> tuple[dict[str, Solver], dict[str, str]]:
    import sksparse
    from scipy.sparse import csc_matrix
    from sksparse.cholmod import cholesky

    def make(ordering: str) -> Solver:
        def solve(A: Any, b: np.ndarray, tolerance: float) -> Result:
            # no copy: A is symmetric
            factor = cholesky(csc_matrix((A.data, A.indices, A.indptr), shape=A.shape), ordering_method=ordering)
            return _refined(factor, A, b, tolerance)

        return solve

    solvers = {"cholmod": make("default"), "cholmod-amd": make("amd"), "cholmod-metis": make("metis")}
    return solvers, _versions(sksparse, np) | {"BLAS of cholmod": _blas()}


def _blas() -> str:
    """The BLAS library that this process has mapped: it decides the speed of a supernodal factorisation."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {
                line.split()[-1] for line in maps if "blas" in line and "numpy" not in line and "scipy" not in line
            }
    except OSError:
        return "unknown"
    names = sorted({path.rsplit("/", 1)[-1] for path in paths})
    return ", ".join(names) or "unknown"


def _petsc() -> tuple[dict[str, Solver], dict[str, str]]:
    import petsc4py

    petsc4py.init(["benchmark", "-malloc_debug", "no"])
    from petsc4py import PETSc

    PETSc.Sys.popErrorHandler()

    def make(pc: str, hypre: str | None = None) -> Solver:
        def solve(A: Any, b: np.ndarray, tolerance: float) -> Result:
            matrix = PETSc.Mat().createAIJ(A.shape, csr=(A.indptr, A.indices, A.data), comm=PETSc.COMM_SELF)
            right, x = PETSc.Vec().createWithArray(b, comm=PETSc.COMM_SELF), np.zeros_like(b)
            left = PETSc.Vec().createWithArray(x, comm=PETSc.COMM_SELF)
            matrix.setOption(PETSc.Mat.Option.SPD, True)
            ksp = PETSc.KSP().create(PETSc.COMM_SELF)
            try:
                ksp.setOperators(matrix)
                ksp.setType("cg")
                ksp.getPC().setType(pc)
                if hypre:
                    ksp.getPC().setHYPREType(hypre)
                ksp.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
                ksp.setTolerances(rtol=tolerance, atol=0.0, max_it=10 * b.size)
                ksp.solve(right, left)
                reason = ksp.getConvergedReason()
                facts = {"iterations": ksp.getIterationNumber(), "stopped": f"KSP {reason}" if reason < 0 else None}
            finally:
                for item in (ksp, matrix, right, left):
                    item.destroy()
            return x, facts

        return solve

    solvers = {
        "petsc-jacobi": make("jacobi"),
        "petsc-icc": make("icc"),
        "petsc-gamg": make("gamg"),
        "petsc-boomeramg": make("hypre", "boomeramg"),
    }
    version = ".".join(map(str, PETSc.Sys.getVersion()))
    return solvers, {"petsc": version, "numpy": np.__version__}
