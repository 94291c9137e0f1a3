"""What each way to solve a system will cost, in seconds: the structure, the solve's own first steps, and constants.

Every constant is a median over generated families (``benchmarks/selection_constants.py`` measures them again). They
are stated for one core of the machine that they were measured on, and scaled to this one by the time of the solve's
own first iterations, so nothing has to be calibrated beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np

from nnla.kernels.cholesky import FILL, level_structure
from nnla.operators.operator import Operator
from nnla.polynomials.design import EFFICIENCY

__all__ = ["Costs", "Speeds"]

_LARGEST_LU = 50_000  # unknowns that SuperLU is let loose on
_LAST_LEVEL = 32 << 20  # bytes
_MANY = 150  # Jacobi-CG iterations from which on modified IC shows
_HUB = 30  # longest by mean row
_WORTH_THREADS = 200_000  # stored entries
_WORTH_COARSENING = 4000  # unknowns below which multigrid's set-up never pays


@dataclass(frozen=True)
class Speeds:
    """Constants of the kernels: seconds, or counts of CG iterations or products.

    Attributes
    ----------
    entry, row : of a Jacobi-CG iteration, per stored entry and per row
    direct_call : of a direct solution, in Python
    order_row : of the minimum degree ordering per row, with what follows it in proportion
    factor_entry, flop : of the rest of a direct solution
    fill : operations of a factorisation by the cubed width of the graph (rows by levels)
    ic_setup, ic_step : IC(0), in Jacobi-CG iterations: set-up, one iteration
    sliced : a Jacobi-CG iteration from slices of runs, by one from CSR, beyond the cache
    ic_call : seconds besides, in Python
    polynomial_step : twelve products of a polynomial, in Jacobi-CG iterations: of scattered and of run columns
    polynomial_setup : layout and engine: in Jacobi-CG iterations, and in seconds
    amg_setup, amg_step : multigrid, per stored entry: set-up, one iteration
    """

    entry: float = 6e-10
    row: float = 9e-10
    direct_call: float = 1e-4
    order_row: float = 5e-7
    factor_entry: float = 12e-9
    flop: float = 3.1e-11
    fill: float = FILL
    ic_setup: float = 12.0
    ic_step: float = 2.4
    sliced: float = 0.6
    ic_call: float = 1.5e-4
    polynomial_step: tuple[float, float] = (7.2, 3.7)
    polynomial_setup: tuple[float, float] = (6.0, 4e-3)
    amg_setup: float = 120e-9
    amg_step: float = 5.5e-9


NATIVE = Speeds()
# NumPy, SciPy and SuperLU alone.
PLAIN = Speeds(
    entry=1.0e-9,
    row=12e-9,
    order_row=1.2e-6,
    factor_entry=100e-9,
    flop=1 / 4e9,
    ic_setup=200.0,
    ic_step=5.0,
    sliced=1.0,
    polynomial_step=(13.0, 13.0),
    polynomial_setup=(1.0, 4e-3),
    amg_setup=500e-9,
    amg_step=25e-9,
)

# Medians over the same families: (modified) IC(0)'s iterations by Jacobi's and multigrid's iterations, each on
# matrices with the signs of an M-matrix and on others (of multigrid's the unlucky ones: on solids and frames it may
# take hundreds); Jacobi's by the levels of the graph, on a Laplacian.
IC_ITERATIONS = (0.17, 0.27)
LEVEL_ITERATIONS = 1.4
AMG_ITERATIONS = (12.0, 100.0)


@cache
def _has_pyamg() -> bool:
    return find_spec("pyamg") is not None


class Costs:
    """Predicted seconds for one system.

    Attributes
    ----------
    speeds : `Speeds` in use
    m_matrix : no entry off the diagonal is positive
    banded : the matrix is a band without gaps
    hubs : some rows are far longer than the others, as in networks
    iteration : seconds of a Jacobi-CG iteration, predicted until `observe` has been told
    timed : whether `observe` is listened to; else everything follows from counts
    """

    def __init__(self, op: Operator, columns: int = 1, *, timed: bool = True) -> None:
        self.timed = timed
        self.n, self.columns = op.n, columns
        self.nnz = int(op.nnz) if op.nnz is not None else op.n
        self._dense = op.csr is None and op.nnz == op.n**2
        self.sparse = op.csr is not None
        self._system = op.native
        self.speeds = PLAIN if self._system is None else NATIVE
        structure = op.structure if self.sparse else None
        self.m_matrix = bool(structure is not None and structure.nonpositive_off_diagonal)
        # A band without gaps, as of one-dimensional and spline problems.
        band = self.n * (2.0 * structure.bandwidth + 1) if structure is not None else np.inf
        self.banded = self.nnz > 0.95 * band - structure.bandwidth**2 if structure is not None else False
        # Rows a hundred times longer than the others (networks): what works row against row takes their square.
        self.hubs = structure is not None and structure.longest_row > _HUB * structure.mean_row
        self._graph: tuple[int, float] | None = None
        self._csr = op.csr
        # Threads speed up what is beyond the cache.
        threads = self._system.threads if self._system is not None and self.nnz > _WORTH_THREADS else 1
        self._speedup = 1.0 + 0.7 * (threads - 1)
        self._expected = columns * (self.speeds.entry * self.nnz + self.speeds.row * self.n) / self._speedup
        self.iteration = self._expected

    def observe(self, seconds: float, iterations: int) -> None:
        """Take note of what Jacobi-CG iterations really took."""
        if iterations > 0 and self.timed:
            self.iteration = seconds / iterations

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Within it costs follow from counts alone."""
        observed, self.iteration = self.iteration, self._expected
        try:
            yield
        finally:
            self.iteration = observed

    @property
    def machine(self) -> float:
        """How much slower than the reference machine this one is, as far as the iterations tell."""
        return min(max(self.iteration / self._expected, 0.5), 4.0)

    @property
    def levels(self) -> int:
        """Of a breadth-first search of the graph, the scale of CG's iterations; 0 where not known."""
        return self._levels_and_cubed_width[0]

    @property
    def _levels_and_cubed_width(self) -> tuple[int, float]:
        if self._graph is None:
            if self._system is not None:
                self._graph = level_structure(self._csr)
            elif self.sparse:
                self._graph = 0, float(self.n) ** 1.5  # as of a grid in the plane
            else:
                self._graph = 0, np.inf
        return self._graph

    # -- methods whose cost is known beforehand ---------------------------------------------------------

    @property
    def flops(self) -> float:
        """Operations of a factorisation, to a factor of five either way."""
        return self.speeds.fill * self._levels_and_cubed_width[1]

    def direct(self, flops: float | None = None) -> float:
        """A direct solution; ``flops`` where an analysis has counted them."""
        if not self.sparse:
            return self.machine * 2e-11 * self.n**3 if self._dense and self.n <= 4000 else np.inf
        if self._system is None and self.n > _LARGEST_LU:
            return np.inf
        s, flops = self.speeds, self.flops if flops is None else flops
        return self.ordering() + self.machine * (s.factor_entry * self.nnz + s.flop * flops)

    def ordering(self) -> float:
        """The minimum degree ordering, with what follows it in proportion."""
        # The graph leaves one cache after the other; rows of a few entries each count singly, those of solids with
        # several unknowns a node are merged first.
        entries = self.nnz / self.n / 5
        rows = self.n * (self.n / 2000) ** 0.13 * (min(entries, 2.2) if entries < 2.6 else 1.0)
        return self.machine * (self.speeds.direct_call + self.speeds.order_row * rows)

    def amg(self) -> float:
        """Multigrid; infinite without PyAMG, for small systems and for blocks."""
        if not self.sparse or self.n < _WORTH_COARSENING or self.hubs or not _has_pyamg():
            return np.inf
        iterations = AMG_ITERATIONS[0 if self.m_matrix else 1]
        s = self.speeds
        return self.machine * self.nnz * (s.amg_setup + self.columns * iterations * s.amg_step)

    # -- methods whose cost depends on the iterations -----------------------------------------------------

    @property
    def sliced(self) -> float:
        """A Jacobi-CG iteration from slices, by one from CSR: runs beyond the cache halve the traffic."""
        beyond = self._system is not None and 12 * self.nnz > _LAST_LEVEL and self.runs > 0.5
        return self.speeds.sliced if beyond else 1.0

    def jacobi(self, iterations: float) -> float:
        """So many more iterations of Jacobi-CG."""
        return iterations * self.iteration * self.sliced

    def ic(self, iterations: float) -> float:
        """CG with IC(0) where Jacobi-CG would take so many iterations."""
        if not self.sparse or self.nnz <= self.n or self.hubs:
            return np.inf
        s = self.speeds
        better, usual = IC_ITERATIONS
        share = usual * iterations
        if self.banded:  # no fill is left out: exact but for rounding
            share, iterations = 2.0, 0.0
        if self.m_matrix:  # what modified IC gains grows with the iterations
            share = max(share if self.banded else better * iterations, min(share, usual * _MANY))
        steps = s.ic_setup / self.columns + self.ic_step * share
        return self.machine * s.ic_call + self.iteration * steps

    @property
    def ic_step(self) -> float:
        """One iteration with IC(0), whose substitutions run on one thread, in Jacobi-CG iterations."""
        return self.sliced + (self.speeds.ic_step - 1.0) * self._speedup

    def polynomial(self, iterations: float, degree: int) -> float:
        """CG with a polynomial of this degree where Jacobi-CG would take so many iterations."""
        s = self.speeds
        scattered, runs = s.polynomial_step
        step = 1.0 + (scattered + (runs - scattered) * self.runs - 1.0) * (degree + 1) / 12
        step *= self.sliced
        outer = max(1.0, iterations / (EFFICIENCY * (degree + 1)))
        setup = s.polynomial_setup[0] * self.iteration / self.columns + self.machine * s.polynomial_setup[1]
        return setup + outer * step * self.iteration

    def polynomial_over_ic(self, iterations: float) -> float:
        """CG with a polynomial over IC(0): it saves reductions, not time, so it has to wait for a second machine."""
        return 1.1 * self.ic(iterations)

    @property
    def runs(self) -> float:
        """Share of the entries that lie in run columns, from a sample of the slices."""
        return 0.0 if self._system is None else self._system.runs
