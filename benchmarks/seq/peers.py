"""The peers of `seq.methods`: SciPy, PyAMG, CHOLMOD and PETSc, as one who knows them would set them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[Any, np.ndarray, bool, float], tuple[np.ndarray, int]]
Loaded = tuple[dict[str, Callable[..., Step]], dict[str, str]]


def _columns(one: Callable[[np.ndarray], tuple[np.ndarray, int]], b: np.ndarray) -> tuple[np.ndarray, int]:
    """Column by column where there are several."""
    if b.ndim == 1:
        return one(b)
    parts = [one(np.ascontiguousarray(column)) for column in b.T]
    return np.stack([x for x, _ in parts], axis=1), max(k for _, k in parts)


def _refined(solve: Callable, A: Any, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """A direct solver's answer with at most three steps of refinement, taken only where it misses the tolerance."""
    x = solve(b)
    target = tolerance * np.linalg.norm(b, axis=0)
    for step in range(4):
        r = b - A @ x
        if np.all(np.linalg.norm(r, axis=0) <= target) or step == 3:
            return x, step
        x = x + solve(r)
    raise AssertionError("unreachable")


class _Age:
    """When what was set up is set up anew: every so many different matrices, or when the size changes."""

    def __init__(self, refresh: str) -> None:
        self.most = float("inf") if refresh == "never" else int(refresh)
        self.age, self.n = 0, -1

    def due(self, n: int, same: bool) -> bool:
        if not same:
            self.age += 1
        if n != self.n or (self.age >= self.most and not same):
            self.age, self.n = 0, n
            return True
        return False


def _cg(A: Any, b: np.ndarray, tolerance: float, apply: Callable, x0: Any = None) -> tuple[np.ndarray, int]:
    from scipy.sparse.linalg import LinearOperator, cg

    count = [0]

    def counter(_: Any) -> None:
        count[0] += 1

    M = LinearOperator(A.shape, matvec=apply, dtype=np.float64)
    x, _ = cg(A, b, x0=x0, rtol=tolerance, atol=0.0, M=M, callback=counter, maxiter=2000)
    return x, count[0]


def _factored(make: Callable[[Any], Callable], refresh: str) -> Step:
    """Solve with the factor of this very matrix, or CG preconditioned by that of an earlier one."""
    age, held = _Age(refresh), [None, False]

    def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
        if age.due(A.shape[0], same):
            held[:] = [make(A), True]
        elif not same:
            held[1] = False
        solve = held[0]
        if held[1]:
            return _refined(solve, A, b, tolerance)
        return _columns(lambda column: _cg(A, column, tolerance, solve), b)

    return step


def scipy_methods() -> Loaded:
    import scipy
    from scipy.sparse.linalg import splu

    def factor(A: Any) -> Callable:
        symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        return splu(A.T, **symmetric).solve  # A' is A in CSC, free

    return (
        {"scipy splu": lambda refresh: _factored(factor, refresh)},
        {"scipy": scipy.__version__, "numpy": np.__version__},
    )


def pyamg_methods() -> Loaded:
    import pyamg
    import scipy
    from scipy.sparse import csr_matrix

    def start(hierarchy: str, refresh: str, guess: str) -> Step:
        build = {"sa": pyamg.smoothed_aggregation_solver, "rs": pyamg.ruge_stuben_solver}[hierarchy]
        age, held, last = _Age(refresh), [None], [None]

        def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
            A = csr_matrix((A.data, A.indices, A.indptr), shape=A.shape)  # no copy
            if age.due(A.shape[0], same):
                held[0] = build(A)
            x0 = last[0] if guess == "last" and last[0] is not None and last[0].shape == b.shape else np.zeros_like(b)
            M = held[0].aspreconditioner(cycle="V")
            starts = x0.T if b.ndim == 2 else [x0]
            places = iter(starts)
            x, k = _columns(lambda column: _cg(A, column, tolerance, M.matvec, next(places)), b)
            last[0] = x
            return x, k

        return step

    return {"pyamg": start}, {"pyamg": pyamg.__version__, "numpy": np.__version__, "scipy": scipy.__version__}


def cholmod_methods() -> Loaded:
    import sksparse
    from scipy.sparse import csc_matrix
    from sksparse.cholmod import analyze, cholesky
    from tts.solvers import _blas

    def transposed(A: Any) -> Any:
        return csc_matrix((A.data, A.indices, A.indptr), shape=A.shape)  # no copy: A is symmetric

    def start(ordering: str, kept: str) -> Step:
        if kept.startswith("factor"):
            return _factored(lambda A: cholesky(transposed(A), ordering_method=ordering), kept.split()[1])
        held: list[Any] = [None, None]

        def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
            if not same:
                fresh = kept == "nothing" or held[1] is None or not _same_pattern(A, held[1])
                if fresh:
                    held[0] = analyze(transposed(A), ordering_method=ordering)
                held[0].cholesky_inplace(transposed(A))
                held[1] = A
            return _refined(held[0], A, b, tolerance)

        return step

    versions = {"sksparse": sksparse.__version__, "numpy": np.__version__}
    return {"cholmod": start}, versions | {"BLAS of cholmod": _blas()}


def _same_pattern(A: Any, B: Any) -> bool:
    return A.nnz == B.nnz and A.shape == B.shape and np.array_equal(A.indices, B.indices)


def petsc_methods() -> Loaded:
    import petsc4py

    petsc4py.init(["benchmark", "-malloc_debug", "no"])
    from petsc4py import PETSc

    PETSc.Sys.popErrorHandler()
    options, number = PETSc.Options(), [0]
    kinds = {
        "fischer 1": {"type": "fischer", "fischer_model": "1,20"},
        "fischer 2": {"type": "fischer", "fischer_model": "2,20"},
        "pod": {"type": "pod", "pod_size": "20"},
    }

    def start(pc: str, refresh: str, guess: str) -> Step:
        age, state = _Age(refresh), {"ksp": None, "matrix": None, "last": None}

        def new(n: int) -> Any:
            if state["ksp"] is not None:
                state["ksp"].destroy()
            number[0] += 1
            prefix = f"s{number[0]}_"
            ksp = PETSc.KSP().create(PETSc.COMM_SELF)
            ksp.setOptionsPrefix(prefix)
            for name, value in kinds.get(guess, {}).items():
                options[f"{prefix}ksp_guess_{name}"] = value
            ksp.setType("cg")
            ksp.getPC().setType(pc)
            if pc == "hypre":
                ksp.getPC().setHYPREType("boomeramg")
            ksp.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
            ksp.setInitialGuessNonzero(guess == "last")
            ksp.setFromOptions()
            state.update(ksp=ksp, last=None)
            return ksp

        def step(A: Any, b: np.ndarray, same: bool, tolerance: float) -> tuple[np.ndarray, int]:
            due = age.due(A.shape[0], same)
            ksp = state["ksp"]
            if ksp is None or ksp.getOperators()[0].getSize()[0] != A.shape[0]:
                ksp = new(A.shape[0])
            if not same:
                old = state["matrix"]
                matrix = PETSc.Mat().createAIJ(A.shape, csr=(A.indptr, A.indices, A.data), comm=PETSc.COMM_SELF)
                matrix.setOption(PETSc.Mat.Option.SPD, True)
                ksp.setOperators(matrix)
                state["matrix"] = matrix
                if old is not None:
                    old.destroy()
            # Set up by hand and then marked as reused, as a KSPGuess forgets its vectors at every change of the matrix
            # but where the preconditioner is reused.
            ksp.getPC().setReusePreconditioner(not due)
            ksp.getPC().setUp()
            ksp.getPC().setReusePreconditioner(True)
            ksp.setTolerances(rtol=tolerance, atol=0.0, max_it=10 * A.shape[0])

            def one(column: np.ndarray) -> tuple[np.ndarray, int]:
                x = np.zeros_like(column) if state["last"] is None or guess != "last" else state["last"].copy()
                right = PETSc.Vec().createWithArray(column, comm=PETSc.COMM_SELF)
                left = PETSc.Vec().createWithArray(x, comm=PETSc.COMM_SELF)
                ksp.solve(right, left)
                state["last"] = x
                right.destroy()
                left.destroy()
                return x, ksp.getIterationNumber()

            return _columns(one, b)

        return step

    version = ".".join(map(str, PETSc.Sys.getVersion()))
    return {"petsc": start}, {"petsc": version, "numpy": np.__version__}
