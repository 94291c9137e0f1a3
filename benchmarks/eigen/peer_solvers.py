"""Ways to ask for the k smallest eigenpairs, one function a way; libraries are imported where they are used.

Each gets a `Request` and returns ``(w, V, note)``. All are asked for residuals of ``tol ||A||``, in the way that each
says it; "scipy sigma" alone is left as people call it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import linalg as spla

__all__ = ["LIBRARY", "SOLVERS", "Request"]

Answer = tuple[np.ndarray, np.ndarray, str]


@dataclass
class Request:
    """What is asked for: ``sigma`` lies below the spectrum, next to it; ``norm`` is ||A||, ``mass`` ||M||, and
    ``largest`` the k-th value.

    `sigma`, `norm`, `mass` and `largest` come from the reference: a present to the others, who would have to guess.
    """

    A: Any
    M: Any
    k: int
    tol: float
    sigma: float
    norm: float
    mass: float
    largest: float
    seed: int

    def shifted(self) -> Any:
        """A - sigma M, csc."""
        if self.sigma == 0.0:
            return sp.csc_matrix(self.A)
        return sp.csc_matrix(self.A - self.sigma * (sp.eye_array(self.A.shape[0]) if self.M is None else self.M))

    def start(self) -> np.ndarray:
        return np.random.default_rng(self.seed).standard_normal(self.A.shape[0])


def _ours(method: str) -> Callable[[Request], Answer]:
    def solve(r: Request) -> Answer:
        import nnla

        extra = {} if r.M is None else {"M": r.M}
        w, V, report = nnla.eigsh(
            r.A, r.k, which="SA", method=method, tol=r.tol, seed=r.seed, return_report=True, **extra
        )
        said = f"{report.method}" if report.converged else f"{report.method}: {report.status}"
        return w, V, said

    return solve


def _scipy_sigma(r: Request) -> Answer:
    M = None if r.M is None else sp.csc_matrix(r.M)
    w, V = spla.eigsh(sp.csc_matrix(r.A), k=r.k, M=M, sigma=r.sigma, which="LM", v0=r.start())
    return w, V, ""


def _inverse(r: Request, solve: Callable[[np.ndarray], np.ndarray], note: str = "") -> Answer:
    inverse = spla.LinearOperator(r.A.shape, matvec=solve, dtype=np.dtype(float))
    M = None if r.M is None else sp.csc_matrix(r.M)
    # a residual of tol in the inverse is one of at most tol ||A|| in A
    w, V = spla.eigsh(r.A, k=r.k, M=M, sigma=r.sigma, which="LM", OPinv=inverse, tol=r.tol, v0=r.start())
    return w, V, note


def _scipy_best(r: Request) -> Answer:
    """SuperLU as a symmetric factorisation, ordered by minimum degree of A + A'."""
    options = {"SymmetricMode": True}
    lu = spla.splu(r.shifted(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return _inverse(r, lu.solve)


def _cholmod(r: Request) -> Answer:
    from sksparse.cholmod import cholesky

    factor = cholesky(r.shifted())
    return _inverse(r, lambda b: factor(np.asarray(b).ravel()))


def _arpack(r: Request) -> Answer:
    """Without a shift: its tolerance, which is of the eigenvalue, made that of ||A||."""
    M = None if r.M is None else sp.csc_matrix(r.M)
    extra = {} if M is None else {"Minv": spla.LinearOperator(M.shape, matvec=spla.splu(M).solve, dtype=float)}
    tol = min(r.tol * r.norm / r.mass / max(abs(r.largest), 1e-300), 1e-2)
    w, V = spla.eigsh(r.A, k=r.k, M=M, which="SA", tol=tol, v0=r.start(), maxiter=10**6, **extra)
    return w, V, f"tol {tol:.0e}"


def _amg(r: Request) -> Any:
    import pyamg

    return pyamg.smoothed_aggregation_solver(sp.csr_matrix(r.shifted())).aspreconditioner()


def _lobpcg(r: Request) -> Answer:
    X = np.random.default_rng(r.seed).standard_normal((r.A.shape[0], r.k))
    tol = r.tol * r.norm / r.mass**0.5  # absolute, of vectors that are orthonormal in M
    w, V = spla.lobpcg(r.A, X, B=r.M, M=_amg(r), tol=tol, largest=False, maxiter=1000)
    return w, V, ""


def _primme(amg: bool) -> Callable[[Request], Answer]:
    def solve(r: Request) -> Answer:
        import primme

        extra = {"OPinv": _amg(r)} if amg else {}
        w, V = primme.eigsh(r.A, k=r.k, M=r.M, which="SA", tol=r.tol, v0=r.start()[:, None], **extra)
        return w, V, ""

    return solve


def _slepc(invert: bool) -> Callable[[Request], Answer]:
    def solve(r: Request) -> Answer:
        from petsc4py import PETSc
        from slepc4py import SLEPc

        def convert(B: Any) -> Any:
            B = sp.csr_matrix(B)
            i, j = B.indptr.astype(PETSc.IntType), B.indices.astype(PETSc.IntType)
            return PETSc.Mat().createAIJ(size=B.shape, csr=(i, j, B.data))

        A = convert(r.A)
        E = SLEPc.EPS().create()
        if r.M is None:
            E.setOperators(A)
            E.setProblemType(SLEPc.EPS.ProblemType.HEP)
        else:
            E.setOperators(A, convert(r.M))
            E.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        E.setDimensions(r.k)
        E.setTolerances(tol=r.tol, max_it=10**6)
        E.setConvergenceTest(SLEPc.EPS.Conv.REL if invert else SLEPc.EPS.Conv.NORM)  # REL: as in `_inverse`
        if invert:
            E.setTarget(r.sigma)
            E.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
            transform = E.getST()
            transform.setType(SLEPc.ST.Type.SINVERT)
            solver = transform.getKSP()
            solver.setType("preonly")
            solver.getPC().setType("cholesky")
        else:
            E.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
        E.solve()
        found = min(E.getConverged(), r.k)
        v, _ = A.createVecs()
        w, V = np.empty(found), np.empty((r.A.shape[0], found))
        for i in range(found):
            w[i] = E.getEigenpair(i, v).real
            V[:, i] = v.getArray()
        return w, V, ""

    return solve


SOLVERS: dict[str, Callable[[Request], Answer]] = {
    "auto": _ours("auto"),
    "scipy sigma": _scipy_sigma,
    "scipy sigma, best ordering": _scipy_best,
    "scipy sigma, CHOLMOD": _cholmod,
    "arpack": _arpack,
    "lobpcg + AMG": _lobpcg,
    "primme": _primme(amg=False),
    "primme + AMG": _primme(amg=True),
    "slepc": _slepc(invert=False),
    "slepc, shift and invert": _slepc(invert=True),
}
LIBRARY = {
    "auto": ("nnla",),
    "scipy sigma": ("scipy",),
    "scipy sigma, best ordering": ("scipy",),
    "scipy sigma, CHOLMOD": ("sksparse",),
    "arpack": ("scipy",),
    "lobpcg + AMG": ("pyamg",),
    "primme": ("primme",),
    "primme + AMG": ("primme", "pyamg"),
    "slepc": ("slepc4py",),
    "slepc, shift and invert": ("slepc4py",),
}
