"""Measure how fast this machine is: the kernels of a solve on two grids, beside what the reference machine took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.start import start_cg
from nnla.linear.speeds import KERNELS
from nnla.operators.operator import Operator, as_operator
from nnla.preconditioners.scalings import bind_amg, bind_scaling

__all__ = ["REFERENCE_SECONDS", "factors_of", "measure"]

#: Of `measure` on the machine that the costs were learned on, by what it takes now: `reproduce/auto_speeds.py`.
REFERENCE_SECONDS = {
    "product": 3.3e-4,
    "order": 1.28e-2,
    "factor": 1.92e-2,
    "substitution": 1.95e-3,
    "ic": 1.51e-3,
    "amg": 6.4e-3,
    "polynomial": 1.75e-3,
}
_PLANE, _SPACE = 160, 22  # points a side
_STEPS = 20  # of CG
_REPEATS = 5


def factors_of(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds by those of the reference machine.

    >>> factors_of({"product": 2 * REFERENCE_SECONDS["product"]})
    {'product': 2.0}
    """
    return {name: seconds[name] / REFERENCE_SECONDS[name] for name in KERNELS if name in seconds}


def measure() -> dict[str, float]:
    """Seconds of each kernel: CG iterations, ordering, factorisation, substitution, with IC(0), multigrid, polynomial.

    What there is no library or no kernel for is left out.

    Notes
    -----
    Cost: about two seconds; the least of a few repetitions each, as other programs only add to it.
    """
    plane, space = as_operator(_grid(_PLANE, 2)), as_operator(_grid(_SPACE, 3))
    found = {"product": _iteration(plane, "jacobi"), "ic": math.sqrt(_setup_ic(plane) * _iteration(plane, "ic"))}
    if Cholesky.available():
        factors = [Cholesky(op.csr) for op in (plane, space)]
        found["order"] = _least(lambda: Cholesky(plane.csr))
        found["factor"] = math.sqrt(math.prod(_least(factor.factor) for factor in factors))
        b = np.ones(space.n)
        found["substitution"] = _least(lambda: factors[1].solve(b))
        found["polynomial"] = _polynomial(plane)
    if find_spec("pyamg") is not None:
        found["amg"] = math.sqrt(_least(lambda: bind_amg(plane), 2) * _iteration(plane, bind_amg(plane)))
    return found


def _least(work: Callable[[], Any], repeats: int = _REPEATS) -> float:
    # On one thread by its own clock, as solves are judged: what others do meanwhile is not this machine's speed.
    threads = native.max_threads() if native is not None else 2
    clock = time.thread_time if threads == 1 else time.perf_counter
    least = math.inf
    for _ in range(repeats):
        started = clock()
        work()
        least = min(least, clock() - started)
    return least


def _setup_ic(op: Operator) -> float:
    return _least(lambda: bind_scaling(op, "ic"))


def _iteration(op: Operator, scaling: Any) -> float:
    """Of CG, by what many take."""
    base = bind_scaling(op, scaling) if isinstance(scaling, str) else scaling
    b = np.random.default_rng(0).standard_normal(op.n)

    def work() -> None:
        cg = start_cg(
            op, b, x=np.zeros(op.n), residual=b.copy(), targets=np.zeros(1), sizes=np.ones(1), M=base
        )  # fmt: skip
        cg.advance(_STEPS)

    return _least(work) / _STEPS


def _polynomial(op: Operator) -> float:
    """An application of degree 11 in float32."""
    from nnla.operators.bound_polynomial import BoundPolynomial
    from nnla.polynomials.recurrence import chebyshev

    M = BoundPolynomial(op, chebyshev(0.01, 2.0, 11), bind_scaling(op, "jacobi"), dtype="float32")
    r = np.random.default_rng(0).standard_normal(op.n)
    return _least(lambda: M(r))


def _grid(points: int, dimensions: int) -> sp.csr_array:
    """The Laplacian of a grid, with coefficients that vary, so that nothing is a constant."""
    offsets: Any = [-1, 0, 1]
    line: Any = sp.diags_array([-1.0, 2.0, -1.0], offsets=offsets, shape=(points, points))
    A: Any = line
    for _ in range(dimensions - 1):
        one = sp.eye_array(A.shape[0])
        A = sp.kron(sp.eye_array(points), A) + sp.kron(line, one)
    d: Any = sp.diags_array(1.0 + 0.5 * np.cos(np.arange(A.shape[0])))
    return sp.csr_array(d @ A @ d)
