"""PRIMME and SLEPc, where their Python packages are installed, asked as in `nnla.eigen.peers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from nnla.eigen.peers import Answer, OutOfPatienceError, Question, Watch, installed, multigrid, refuse_dear, relative

__all__ = ["package_peers"]


def package_peers(q: Question) -> dict[str, Callable[[Watch], Answer]]:
    """What is installed, by name; empty without the packages."""
    found: dict[str, Callable[[Watch], Answer]] = {}
    nearest = q.sigma is not None and (q.which == "LM" or q.definite) and q.mode == "normal"
    ends = q.sigma is None and q.which in ("SA", "LA", "LM", "SM")
    if (nearest or ends) and installed("primme"):
        found["primme"] = lambda watch: _primme(q, watch, amg=False)
        if q.definite and installed("pyamg"):
            found["primme, amg"] = lambda watch: _primme(q, watch, amg=True)
    if (nearest or ends) and q.op.csr is not None and _slepc_started():
        if ends and q.which != "SM":
            found["slepc"] = lambda watch: _slepc(q, watch, invert=False)
        if q.shift is not None:
            found["slepc sigma"] = lambda watch: _slepc(q, watch, invert=True)
    return found


def _primme(q: Question, watch: Watch, *, amg: bool) -> Answer:
    """PRIMME's own choice of a method; the eigenvalues at an end, or those nearest sigma."""
    import primme  # pyright: ignore[reportMissingImports]

    target: dict[str, Any] = {"which": q.which}
    if q.definite:
        target = {"which": "SA"}  # next to a shift below the spectrum lie the smallest
    elif q.sigma is not None:
        target = {"which": "SM", "sigma": q.sigma}
    options: dict[str, Any] = {"OPinv": watch.solver(multigrid(q))} if amg else {}
    if q.M is not None:
        options["M"] = csc_array(q.M)
    if q.ncv is not None:
        options["ncv"] = q.ncv
    rng = np.random.default_rng(q.seed)
    w, V = primme.eigsh(
        watch.operator(), k=q.k, tol=q.tol, v0=rng.standard_normal((q.op.n, 1)), **target, **options
    )  # fmt: skip
    return Answer(np.asarray(w), np.asarray(V), q.tol, relative(q), watch.solves if amg else None)


def _slepc_started() -> bool:
    """Whether SLEPc can be used; its handlers of signals, which would take Ctrl-C for a crash, are left out."""
    if not (installed("petsc4py") and installed("slepc4py")):
        return False
    import petsc4py  # pyright: ignore[reportMissingImports]
    import slepc4py  # pyright: ignore[reportMissingImports]

    try:
        petsc4py.init(["nnla", "-no_signal_handler"])
        slepc4py.init(["nnla", "-no_signal_handler"])
    except Exception:  # MPI may refuse to start
        return False
    return installed("petsc4py.PETSc") and installed("slepc4py.SLEPc")


def _slepc(q: Question, watch: Watch, *, invert: bool) -> Answer:
    """SLEPc's Krylov-Schur, without and with shift and invert by PETSc's own factorisation."""
    from petsc4py import PETSc  # pyright: ignore[reportMissingImports]
    from slepc4py import SLEPc  # pyright: ignore[reportMissingImports]

    def matrix(S: Any) -> Any:
        S = csr_array(S)
        arrays = (S.indptr.astype(PETSc.IntType), S.indices.astype(PETSc.IntType), S.data)
        made = PETSc.Mat().createAIJ(S.shape, csr=arrays, comm=PETSc.COMM_SELF)
        made.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        return made

    solver = SLEPc.EPS().create(PETSc.COMM_SELF)
    solver.setOperators(matrix(q.op.csr), None if q.M is None else matrix(q.M))
    solver.setProblemType(SLEPc.EPS.ProblemType.HEP if q.M is None else SLEPc.EPS.ProblemType.GHEP)
    solver.setDimensions(q.k, q.ncv or PETSc.DECIDE)
    solver.setTolerances(q.tol, 1_000_000)
    solver.setConvergenceTest(SLEPc.EPS.Conv.NORM)
    if invert:
        refuse_dear(q.shifted(), q.seconds)
        solver.setTarget(q.shift)
        solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        transform = solver.getST()
        transform.setType(SLEPc.ST.Type.SINVERT)
        transform.setShift(q.shift)
        linear = transform.getKSP()
        linear.setType("preonly")
        linear.getPC().setType("cholesky" if q.definite else "lu")
    else:
        ends = {"SA": "SMALLEST_REAL", "LA": "LARGEST_REAL", "LM": "LARGEST_MAGNITUDE"}
        solver.setWhichEigenpairs(getattr(SLEPc.EPS.Which, ends[q.which]))

    def monitor(*_: Any) -> None:
        try:
            watch.check()
        except BaseException as error:
            watch.ended = error
            raise

    solver.setMonitor(monitor)
    solver.solve()
    found = min(solver.getConverged(), q.k)
    if found == 0:
        raise OutOfPatienceError("nothing converged")
    v, pairs = solver.getOperators()[0].createVecRight(), []
    for j in range(found):
        value = solver.getEigenpair(j, v)
        pairs.append((value.real, v.getArray().copy()))
    pairs.sort(key=lambda pair: pair[0])
    note = relative(q) + (f"; sigma = {q.shift:.6g}" if invert else "")
    return Answer(np.array([x for x, _ in pairs]), np.stack([y for _, y in pairs], axis=1), q.tol, note)
