"""Systems large enough for the kernels to share among threads: the same bits with one as with two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

import nnla
from fuzzing.cases import Case, right
from nnla.kernels import native

__all__ = ["threads_case"]

_METHODS = ("cg", "jacobi", "ic", "amg", "direct", "autospec", "chebyshev", "rule", "gmres")


def threads_case(seed: int) -> Case:
    """One call with one thread and with two."""
    rng = np.random.default_rng([seed, 51])
    k = int(rng.integers(40, 110))
    A: Any = nnla.problems.poisson2d(k)
    if rng.random() < 0.5:
        d = sp.diags_array(10.0 ** rng.uniform(-1, 1, A.shape[0]))
        A = sp.csr_array(d @ A @ d)
        A = sp.csr_array(0.5 * (A + A.T))
    n = A.shape[0]
    b = rng.standard_normal(n)
    entry = str(rng.choice(["solve", "solve", "solve", "preconditioner", "funm", "eigsh"]))
    method = str(rng.choice(_METHODS))
    calls: dict[str, Callable[[], Any]] = {
        "solve": lambda: nnla.solve(A, b, method=method, rtol=1e-6, maxiter=60).x,
        "preconditioner": lambda: nnla.preconditioner(A, steps=20) @ b,
        "funm": lambda: np.asarray(nnla.funm_multiply(A, b, "inv_sqrt", method="lanczos", rtol=1e-3, maxiter=60)),
        "eigsh": lambda: nnla.eigsh(A, 2, method="direct", tol=1e-6, verify=False)[0],
    }

    def call() -> Any:
        if native is None:
            return None, None
        try:
            native.set_threads(1)
            one = calls[entry]()
            native.set_threads(2)
            return one, calls[entry]()
        finally:
            native.set_threads(0)

    def judge(answers: Any, warned: bool) -> tuple[str, str]:
        one, two = answers
        if not np.array_equal(one, two, equal_nan=True):
            return "threads", f"differ by {np.abs(np.asarray(one) - np.asarray(two)).max():.1e}"
        return right()

    return Case(f"threads {entry} {method} n={n}", call, judge, [A.data, A.indices, A.indptr, b])
