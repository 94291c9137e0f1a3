"""The loop with exact products in use: dense systems with a report, guesses, and a preconditioner for flexible CG."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NonFiniteError, OptionError
from nnla.linear.dense_measures import measured
from nnla.linear.dense_systems import DenseBatch, DenseInput, check_batch, dense_input
from nnla.linear.options import check_numbers
from nnla.models.engine_base import EngineBase
from nnla.models.nlaformer_exact import ExactLoop, ExactLoopConfig
from nnla.models.nlaformer_exact_guard import FamilyTest, family_test
from nnla.models.nlaformer_exact_preconditioner import BlockLoops, LoopPreconditioner
from nnla.models.nlaformer_exact_report import LoopReport, LoopSolution
from nnla.models.nlaformer_exact_runs import Run, cholesky, run_loops
from nnla.operators.arrays import is_torch, to_numpy
from nnla.operators.operator import Operator, as_operator
from nnla.operators.validation import check_dense
from nnla.report import Status, library_versions

__all__ = ["ExactLoopEngine"]

LOOPS = 6  # of a guess, and of a preconditioner
BATCH = 256
_SPREAD = 400  # exponents of a diagonal beyond which products of entries leave the range of float64


class ExactLoopEngine(EngineBase):
    """A looped transformer with exact products: symmetric positive definite systems of any size, in float64.

    Examples
    --------
    >>> import nnla
    >>> from nnla.models.nlaformer_exact import initial_gates
    >>> config = ExactLoopConfig()
    >>> model = ExactLoopEngine(config, initial_gates(config, np.random.default_rng(0)), {})
    >>> systems = nnla.problems.spd_systems(2, 30, seed=5)
    >>> x, report = model.solve(systems.A, systems.b)
    >>> report.converged, report.fallbacks, bool(abs(x - systems.x).max() < 1e-7)
    (True, 0, True)
    """

    name = "nlaformer-exact"
    task = "spd solutions"
    label = "weights of the loop with exact products"
    config_type = ExactLoopConfig

    @staticmethod
    def possible(config: ExactLoopConfig) -> bool:
        """Whether the sizes make sense."""
        return config.possible()

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return ["any n", f"{self.config.channels} product(s) a loop"]

    @property
    def products(self) -> int:
        """Of a guess, beyond those that it takes of an operator, which counts them."""
        return 0

    @property
    def network_products(self) -> int:
        """None: the network's products are those with A."""
        return 0

    @property
    def takes_geometry(self) -> bool:
        """It does not."""
        return False

    @property
    def subspace(self) -> bool:
        """None for deflation."""
        return False

    # -- what a user calls --------------------------------------------------------------------------------------------

    def solve(
        self,
        A: Any,
        b: Any,
        *,
        rtol: float = 1e-8,
        maxiter: int | None = None,
        guard: bool = True,
        batch: int = BATCH,
    ) -> LoopSolution:
        """x for one or many dense systems, and what it is worth.

        Parameters
        ----------
        A : (n, n), or (B, n, n), or a list of matrices of one size; real, dense, symmetric positive definite; NumPy,
            or torch, which is answered by torch and computed by NumPy
        b : (n,) or (n, k), for every matrix; (B, n) or (B, n, k)
        rtol : x is verified where ||b - A x|| <= rtol ||b||, and every row's |b - A x|_i <= rtol (||a_i|| ||x|| +
            |b_i|)
        maxiter : loops, after which Cholesky solves; those of n + 20 products, at least 40, by default
        guard : whether matrices unlike those of the training start as conjugate gradients; else all are held to be like
            them
        batch : right-hand sides at a time

        Returns
        -------
        LoopSolution
            ``x`` of b's shape, in float64, or float32 where A and b have no more digits; ``report`` is a `LoopReport`.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, OptionError
            Bad input, with the remedy in the message.

        Notes
        -----
        Guaranteed, for any weights: ``converged`` means that every x is verified, by a residual computed anew in
        float64; in exact arithmetic the A-norm of the error falls with every loop; the answer does not depend on the
        units of A or b, which powers of two scale exactly, nor on the order of the unknowns but for rounding. With the
        guard, matrices of other families start with 6 loops of conjugate gradients. A and b are never modified.

        Learned: how few products it takes. Figures: ``docs/nlaformer_products.md``.

        Cost: for each right-hand side as many products as the report has, 16 n times the square of the loops besides,
        and the network of some 250 operations a token and loop. Memory: 16 n bytes a loop, channel and right-hand side.
        """
        started = time.perf_counter()
        check_numbers(rtol, 0.0, maxiter)
        width = check_batch(batch)
        _check_guard(guard)
        systems = self._systems(A, b)
        loops = -(-max(systems.n + 20, 40) // self.config.channels) if maxiter is None else int(maxiter)
        runs: list[Run] = []
        parts: list[Any] = []
        step = max(1, width // systems.b.shape[-1])
        with np.errstate(all="ignore"):
            for at in range(0, len(systems), step):
                run = self._solved(systems.A[at : at + step], systems.b[at : at + step], at, rtol, loops, guard)
                if not np.isfinite(run.y).all():
                    raise NonFiniteError(
                        "a step to the solution leaves the range of float64: the rows of A are of too different units; "
                        "use nnla.solve, which scales them"
                    )
                x, stands_for = run.batch.leave(run.y, systems.dtype)
                run.measures = measured(run.batch, stands_for)
                runs.append(run)
                parts.append(x)
        x = systems.answer(parts)
        report = self._report(runs, systems, float(rtol), guard, time.perf_counter() - started)
        return LoopSolution(_like(x, A), report)

    def guess(self, A: Any, b: Any, *, loops: int = LOOPS, guard: bool = True) -> np.ndarray:
        """Where a solver of A x = b would start: the answer after a few loops, no residual vouches for it.

        Parameters
        ----------
        A : as `solve` takes it; or an Operator or SciPy sparse matrix (n, n)
        b : as `solve` takes it; (n,) with a sparse A or an Operator
        loops : each of as many products as there are channels
        guard : as in `solve`

        Returns
        -------
        array of x's shape: the ``x0`` of any solver

        Raises
        ------
        As `solve`.

        Notes
        -----
        Cost: ``loops`` loops.
        """
        _check_guard(guard)
        loops = _checked_loops(loops)
        if isinstance(A, Operator) or hasattr(A, "tocsr"):
            return self.aspreconditioner(A, loops=loops, guard=guard)(b)
        systems = self._systems(A, b)
        with np.errstate(all="ignore"):
            batch = DenseBatch.of(systems.A, systems.b)
            loop = self._loop_of(batch, guard)[0]
            for _ in range(loops):
                loop.advance()
            y = _columns(loop.answer(), batch)
            return _like(systems.answer([batch.leave(np.where(np.isfinite(y), y, 0.0), systems.dtype)[0]]), A)

    def aspreconditioner(self, A: Any, *, loops: int = LOOPS, guard: bool = True) -> LoopPreconditioner:
        """r -> about A^-1 r, not linear in r: for ``nnla.solve(A, b, method="fcg", M=...)`` and other flexible methods.

        Parameters
        ----------
        A : (n, n) symmetric positive definite: dense, sparse, or an operator with a diagonal
        loops : of an application
        guard : as in `solve`, asked at every application

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, OptionError
            Bad input, with the remedy in the message.

        Notes
        -----
        Plain CG refuses it: its kind is `Kind.NONLINEAR`. Cost of an application: ``loops`` loops; an outer iteration
        of flexible CG takes one product more.

        References
        ----------
        Golub, Ye, Inexact preconditioned conjugate gradient method with inner-outer iteration, SIAM J. Sci. Comput. 21
        (1999).
        """
        _check_guard(guard)
        op = A if isinstance(A, Operator) else as_operator(A)
        return LoopPreconditioner(self.parameters, self.config, op, _checked_loops(loops), guard)

    def block_jacobi(self, A: Any, *, size: int = 32, loops: int = LOOPS, guard: bool = True) -> BlockLoops:
        """Block-Jacobi whose diagonal blocks, of neighbouring unknowns, are solved by the loop, all at once.

        Parameters
        ----------
        A : (n, n) symmetric positive definite with entries, sparse or dense
        size : unknowns of a block
        loops, guard : as in `aspreconditioner`

        Raises
        ------
        As `aspreconditioner`; OptionError for an operator without entries.

        Notes
        -----
        Not linear: for flexible CG. Block-Jacobi by Cholesky is linear, exact, and cheaper wherever the blocks' factors
        fit into memory: this is for comparison (``docs/nlaformer_products.md``).

        Cost of an application: ``loops`` products with the blocks.

        References
        ----------
        Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 4.1.1.
        """
        _check_guard(guard)
        op = A if isinstance(A, Operator) else as_operator(A)
        return BlockLoops(self.parameters, self.config, op, size, _checked_loops(loops), guard)

    # -- inside -------------------------------------------------------------------------------------------------------

    def loop(self, A: np.ndarray, b: np.ndarray, *, guard: bool = True, columns: bool = True) -> ExactLoop:
        """The loop for systems (B, n, n) and (B, n) of moderate size, not advanced yet: for measurements.

        Without ``columns`` it begins with no directions.
        """
        test = self.family(A, b, guard=guard)
        diagonal, product = np.einsum("bii->bi", A), lambda V: A @ V
        begin = test.directions() if columns else None
        return ExactLoop(self.parameters, self.config, product, diagonal, b, ~test.inside, begin)

    @staticmethod
    def family(A: np.ndarray, b: np.ndarray, *, guard: bool = True) -> FamilyTest:
        """What the guard says of systems (B, n, n) and (B, n)."""
        test = family_test(lambda s, j: A[s, :, j], np.einsum("bii->bi", A), b)
        return test if guard else test.taken()

    def _systems(self, A: Any, b: Any) -> DenseInput:
        systems = dense_input(A, b)
        if is_torch(systems.A):
            systems = DenseInput(to_numpy(systems.A), to_numpy(systems.b), systems.shape, systems.dtype)
        distinct = systems.A if systems.A.strides[0] else systems.A[:1]
        for number, one in enumerate(distinct):
            try:
                check_dense(one, float(np.finfo(one.dtype).eps))
            except NNLAError as error:
                if len(distinct) == 1:
                    raise
                raise type(error)(f"system {number} (from 0): {error}") from None
        return systems

    def _loop_of(self, batch: DenseBatch, guard: bool) -> tuple[ExactLoop, np.ndarray, np.ndarray]:
        """The loop for every right-hand side of a batch, one after the other, and what the guard found and read."""
        A, b = batch.matrices(), batch.in_user_rows(batch.b)
        B, n, k = b.shape
        which = np.repeat(np.arange(B), k)
        columns = np.ascontiguousarray(b.swapaxes(1, 2)).reshape(B * k, n)
        diagonal = np.einsum("bii->bi", A)[which]
        test = family_test(lambda s, j: A[which[s], :, j], diagonal, columns)
        test = test if guard else test.taken()
        product, directions = Run.product(A, which), test.directions()
        loop = ExactLoop(self.parameters, self.config, product, diagonal, columns, ~test.inside, directions)
        return loop, test.inside, test.read

    def _solved(self, A: Any, b: Any, first: int, rtol: float, maxiter: int, guard: bool) -> Run:
        clock = time.perf_counter()
        batch = DenseBatch.of(A, b)
        diagonal = np.frexp(np.einsum("bii->bi", A))[1]
        extreme = np.ptp(diagonal, axis=1) > _SPREAD  # entries whose products leave the range
        loop, inside, read = self._loop_of(batch, guard)
        guarded = time.perf_counter()
        run = run_loops(loop, batch, np.repeat(extreme, b.shape[-1]), rtol, maxiter)
        run.inside, run.read = inside, read
        looped = time.perf_counter()
        cholesky(run, first)
        run.seconds = (guarded - clock, looped - guarded, time.perf_counter() - looped)
        return run

    def _report(self, runs: list[Run], systems: DenseInput, rtol: float, guard: bool, total: float) -> LoopReport:
        counts = np.concatenate([run.loops for run in runs])
        products = np.concatenate([run.products for run in runs]) + 1  # the check of what is returned
        direct = np.concatenate([run.direct for run in runs])
        residual = np.concatenate([run.measures.residual.reshape(-1) for run in runs])
        row = np.concatenate([run.measures.row.reshape(-1) for run in runs])
        backward = np.concatenate([run.measures.backward.reshape(-1) for run in runs])
        met = (residual <= rtol) & (row <= rtol)
        k = systems.b.shape[-1]
        inside = np.concatenate([run.inside for run in runs]).reshape(-1, k).all(axis=1)
        by_system = int(direct.reshape(-1, k).any(axis=1).sum())
        statuses = [Status.CONVERGED if one else Status.ROUNDING for one in met]
        outside = int((~inside).sum())
        words = ["the loop of the network"]
        if outside:
            words.append(f"{outside} system(s) of another family than the training's began as conjugate gradients")
        seconds = np.sum([run.seconds for run in runs], axis=0)
        return LoopReport(
            status=Status.CONVERGED if met.all() else Status.ROUNDING,
            converged=bool(met.all()),
            n=systems.n,
            systems=len(systems),
            columns=k,
            rtol=rtol,
            relative_residual=float(residual.max()),
            row_error=float(row.max()),
            backward_error=float(backward.max()),
            loops=int(counts.max()),
            products=int(products.sum()),
            columns_read=int(sum(run.read.sum() for run in runs)),
            outside=outside,
            fallbacks=by_system,
            loop_counts=counts.tolist(),
            product_counts=products.tolist(),
            residuals=residual.tolist(),
            statuses=statuses,
            methods=["cholesky" if one else "loop" for one in direct],
            inside=np.asarray(inside).tolist(),
            fallback=f"{by_system} system(s) that the loop did not verify were solved by Cholesky"
            if by_system
            else None,
            chosen_because="; ".join(words),
            weights=self.title,
            seconds={**dict(zip(("guard", "loop", "fallback"), map(float, seconds), strict=True)), "total": total},
            versions=library_versions(),
        )


def _columns(y: np.ndarray, batch: DenseBatch) -> np.ndarray:
    """(B k, n) as (B, n, k)."""
    B, n, k = batch.b.shape
    return y.reshape(B, k, n).swapaxes(1, 2)


def _like(x: np.ndarray, A: Any) -> Any:
    """x where a tensor A is."""
    if not is_torch(A):
        return x
    import torch

    return torch.as_tensor(x, device=A.device)


def _check_guard(guard: Any) -> None:
    if not isinstance(guard, (bool, np.bool_)):
        raise OptionError(f"guard must be True or False, got {guard!r}")


def _checked_loops(loops: Any) -> int:
    if isinstance(loops, bool) or not isinstance(loops, (int, np.integer)) or not 1 <= loops <= 1000:
        raise OptionError(f"loops must be a whole number from 1 to 1000, got {loops!r}")
    return int(loops)
