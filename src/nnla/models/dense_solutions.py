"""What models of dense systems share: from any A and b of their sizes to x and an honest report.

A network brings ``answer``, in units that it knows; everything between a user and that is here.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import OptionError, ShapeError
from nnla.linear.dense_refinement import METHODS, refined
from nnla.linear.dense_report import DenseReport, DenseSolution, Measures, measured
from nnla.linear.dense_systems import DenseBatch, DenseInput, check_batch, dense_input, shifted
from nnla.linear.options import check_numbers
from nnla.models.engine_base import EngineBase
from nnla.operators.arrays import alike, is_torch, namespace, to_numpy
from nnla.types import Kind, Status, library_versions

__all__ = ["DensePreconditioner", "DenseSystemEngine"]

MAXITER = 30
BATCH = 256

# from bad to good: a report has the status of its worst system
_ORDER = (
    Status.BREAKDOWN,
    Status.SINGULAR,
    Status.STAGNATION,
    Status.ROUNDING,
    Status.GUESSED,
    Status.CONVERGED,
)


class DenseSystemEngine(EngineBase):
    """A network that answers dense systems A x = b of the sizes it was trained for.

    A model brings ``sizes``, ``linear`` and `answer`; where it can, `bind`, `inside` and `spread`.

    Attributes
    ----------
    linear : whether x is linear in b: the network puts out an operator, which may precondition
    """

    task = "dense solutions"
    linear: ClassVar[bool] = False

    # -- what a network brings ----------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of unknowns that it was trained for, increasing."""
        raise NotImplementedError

    def answer(self, A: Any, b: Any) -> Any:
        """Approximate solutions.

        Parameters
        ----------
        A : (B, n, n) float64, NumPy or torch on any device, finite; the largest |entry| of each in [1, 2)
        b : (B, n, k) of the same kind; the largest |entry| of each column in [1, 2), or the column is zero

        Returns
        -------
        (B, n, k) of the same library and device, any float dtype; NaN where it has no answer
        """
        raise NotImplementedError

    def bind(self, A: Any) -> Callable[[Any], Any]:
        """b -> `answer` (A, b) for many b: a model that puts out an operator makes it here, once.

        By default systems whose b is zero are not asked for.
        """
        return lambda b: _where_needed(self.answer, A, b)

    def inside(self, A: Any) -> tuple[Any, Any] | None:
        """(B,) whether matrices are like those of the training and (B,) how far they are; None where it cannot tell."""
        return None

    def spread(self, A: Any, b: Any, x: Any) -> Any:
        """(B, k) estimates of ||x - exact|| / ||exact|| of its answers x to (A, b); None where it has none."""
        return None

    # -- what a user calls --------------------------------------------------------------------------------------------

    def solve(
        self,
        A: Any,
        b: Any,
        *,
        refine: Any = None,
        rtol: float = 1e-10,
        maxiter: int = MAXITER,
        batch: int = BATCH,
    ) -> DenseSolution:
        """x for one or many dense systems, and what it is worth.

        Parameters
        ----------
        A : (n, n), or (B, n, n), or a list of matrices of one size; real, dense, NumPy or torch on any device
        b : (n,) or (n, k), for every matrix; (B, n) or (B, n, k). As `numpy.linalg.solve` takes them; a (B, n) that
            could be (n, k) is refused
        refine : None for the network's answer as it is. "gmres" (or True, "auto"): flexible GMRES, preconditioned by
            the network; "iterative": x <- x + network(b - A x) as long as that contracts. Both in float64, and what
            they do not solve is solved by LU, which the report counts
        rtol : x is verified where ||b - A x|| <= rtol ||b||, and every row's |b - A x|_i <= rtol (||a_i|| ||x|| +
            |b_i|): rows of smaller units are not lost among large ones
        maxiter : applications of the network in refinement
        batch : right-hand sides that the network sees at a time

        Returns
        -------
        DenseSolution
            ``x`` where A is, of b's shape (that of all systems, where b is for every matrix), in float64; float32 where
            A and b have no more digits than that. ``report`` is a `DenseReport`; unpacks as ``x, report``.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, OptionError
            Bad input, with the remedy in the message: sizes that it was not trained for, mixed sizes, sparse or complex
            matrices, NaN. Also where x is beyond the range of its dtype.

        Notes
        -----
        Cost: the network once, then once an iteration; LU (4/3 n^3 operations) for the systems that are not solved by
        then, and for verified ones whose matrix is not known to be like those of the training: whether they are
        singular. On a CPU LAPACK alone is faster than any of these networks.

        Guaranteed, for any weights: ``converged`` means that every system is verified, by a residual computed anew in
        float64, of the x that is returned. The answer does not depend on the units of A or b: powers of two scale x
        exactly. A and b are never modified. A singular A ends in "singular" unless b is in its range.

        Not guaranteed: that x is near the solution where A is ill-conditioned, b - A x small or not. A network that was
        trained with noise in A may be nearer to the solution without noise than any x of small residual: refining it
        is for A that are exact.
        """
        started = time.perf_counter()
        method = _method(refine)
        check_numbers(rtol, 0.0, maxiter)
        width = check_batch(batch)
        systems = dense_input(A, b)
        self.check_size(systems.n)
        parts: list[_Part] = []
        with _without_gradients(systems.A), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in _chunks(systems, width):
                parts.append(self._solved(part, systems.dtype, method, float(rtol), int(maxiter), width))
            x = systems.answer([part.x for part in parts])
        report = self._report(systems, parts, method, float(rtol), int(maxiter), time.perf_counter() - started)
        return DenseSolution(x, report)

    def guess(self, A: Any, b: Any, *, batch: int = BATCH) -> Any:
        """Where a solver of A x = b would start: the network's answer alone, zero where it has none.

        Parameters
        ----------
        A, b, batch : as `solve` takes them

        Returns
        -------
        array of x's shape: the ``x0`` of any solver

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError, OptionError
            As `solve`.

        Notes
        -----
        Cost: the network once.
        """
        width = check_batch(batch)
        systems = dense_input(A, b)
        self.check_size(systems.n)
        with _without_gradients(systems.A), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            parts = [
                part.leave(_Network(self, part.matrices(), width)(part.in_user_rows(part.b)), systems.dtype)[0]
                for part in _chunks(systems, width)
            ]
            return systems.answer(parts)

    def aspreconditioner(self, A: Any) -> DensePreconditioner:
        """The network's operator for A as a preconditioner M of anyone's GMRES or BiCGSTAB.

        Parameters
        ----------
        A : (n, n), as `solve` takes it

        Raises
        ------
        OptionError
            The network is not linear in b.
        ShapeError, DTypeError, NonFiniteError
            As `solve`.

        Notes
        -----
        Cost: the network once; then what its operator takes.
        """
        if not self.linear:
            raise OptionError(
                f"{self.title!r} is not linear in b and preconditions no Krylov method but a flexible one: use "
                "solve(A, b, refine='gmres'), or its guess(A, b) as x0"
            )
        systems = dense_input(A, np.ones(np.shape(A)[-1:]) if np.ndim(A) == 2 else A)
        if len(systems) != 1 or systems.shape != (systems.n,):
            raise ShapeError(f"a preconditioner is for one matrix (n, n), A has shape {tuple(np.shape(A))}")
        self.check_size(systems.n)
        return DensePreconditioner(self, DenseBatch.of(systems.A, systems.b))

    def check_size(self, n: int) -> None:
        """Raise `OptionError` for sizes that it was not trained for."""
        if n not in self.sizes:
            raise OptionError(
                f"A has n = {n}, and {self.title!r} was trained for n = {_ranges(self.sizes)}: solve others with "
                "numpy.linalg.solve, or train a model for them (`nnla train`, with n in the recipe)"
            )

    def details(self) -> list[str]:
        return [f"n = {_ranges(self.sizes)}", *(["linear in b"] if self.linear else [])]

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _solved(
        self, systems: DenseBatch, dtype: str, method: str | None, rtol: float, maxiter: int, width: int
    ) -> _Part:
        started = time.perf_counter()
        matrices = systems.matrices()
        known = self.inside(matrices)
        network = _Network(self, matrices, width)
        rhs = systems.in_user_rows(systems.b)
        y = network(rhs)
        failed = network.failed
        B, k = systems.columns.shape
        methods = np.full(B, "network", dtype=object)
        iterations = np.zeros((B, k), dtype=int)
        lost, uneven, uncertainty, seconds = np.zeros(B, dtype=bool), np.zeros(B, dtype=bool), None, 0.0
        if method is None:
            estimate = self.spread(matrices, _in_network_units(rhs)[0], y)
            uncertainty = None if estimate is None else to_numpy(estimate).astype(float)
            measures = measured(systems, y)
        else:
            doubtful = np.ones(B, dtype=bool) if known is None else ~to_numpy(known[0]).astype(bool)
            found = refined(systems, y, network, method=method, rtol=rtol, maxiter=maxiter, doubtful=doubtful)
            y, measures, iterations = found.y, found.measures, found.iterations
            lost, uneven, seconds = found.singular, found.uneven, found.seconds
            methods[iterations.any(axis=1)] = method
            methods[found.direct] = "lu"
            methods[lost] = "least squares"
        before = measures
        x, stands_for = systems.leave(y, dtype)
        if not bool((stands_for == y).all()):
            measures = measured(systems, stands_for)
        statuses = _statuses(measures, before, rtol, failed if method is None else None, lost, method)
        return _Part(
            x=x,
            measures=measures,
            statuses=statuses,
            methods=methods,
            iterations=iterations,
            failed=failed,
            uneven=uneven,
            lost=lost,
            known=known,
            uncertainty=uncertainty,
            calls=network.calls,
            seconds=(network.seconds, time.perf_counter() - started, seconds),
        )

    def _report(
        self, systems: DenseInput, parts: list[_Part], method: str | None, rtol: float, maxiter: int, total: float
    ) -> DenseReport:
        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        measures = {name: _worst(parts, name) for name in ("residual", "row", "backward")}
        statuses = [status for part in parts for status in part.statuses]
        methods, lost = joined("methods"), joined("lost")
        iterations = joined("iterations").max(axis=1)
        inside = distances = None
        if parts[0].known is not None:
            inside, distances = (
                np.concatenate([to_numpy(part.known[i]) for part in parts if part.known is not None]) for i in (0, 1)
            )
        network, solving, fallback = (float(sum(part.seconds[i] for part in parts)) for i in range(3))
        uncertainty = None if parts[0].uncertainty is None else joined("uncertainty").tolist()
        direct = np.isin(methods, ["lu", "least squares"])
        outside = None if inside is None else int((~inside.astype(bool)).sum())
        seed = self.card.get("seed")
        return DenseReport(
            status=min(statuses, key=_ORDER.index),
            converged=all(status is Status.CONVERGED for status in statuses),
            method=method or "network",
            n=systems.n,
            systems=len(statuses),
            columns=parts[0].measures.residual.shape[1],
            rtol=rtol,
            relative_residual=float(measures["residual"].max()),
            row_error=float(measures["row"].max()),
            backward_error=float(measures["backward"].max()),
            iterations=int(iterations.max()),
            network_calls=sum(part.calls for part in parts),
            fallbacks=int(direct.sum()),
            singular=int(lost.sum()),
            outside=outside,
            dtype=systems.dtype,
            statuses=statuses,
            verified=[status is Status.CONVERGED for status in statuses],
            methods=methods.tolist(),
            residuals=measures["residual"].tolist(),
            row_errors=measures["row"].tolist(),
            backward_errors=measures["backward"].tolist(),
            iteration_counts=iterations.tolist(),
            inside=None if inside is None else inside.astype(bool).tolist(),
            distances=None if distances is None else distances.astype(float).tolist(),
            uncertainty=uncertainty,
            fallback=_what_failed(joined("failed"), direct, joined("uneven"), lost, method, maxiter),
            chosen_because=_why(method, outside, len(statuses)),
            weights=self.title,
            seed=seed if isinstance(seed, int) else None,
            seconds={
                "network": network,
                "refinement": max(0.0, solving - network - fallback) if method else 0.0,
                "fallback": fallback,
                "total": total,
            },
            versions=library_versions(),
        )


class DensePreconditioner(LinearOperator):
    """A network's operator about A^-1, linear in what it is applied to.

    Made by `DenseSystemEngine.aspreconditioner`. ``dtype`` is float64; a torch model works where A is, the vectors are
    NumPy's.

    Attributes
    ----------
    kind : `Kind.LINEAR`: not symmetric, so no preconditioner of CG
    """

    kind = Kind.LINEAR

    def __init__(self, model: DenseSystemEngine, systems: DenseBatch) -> None:
        n = systems.A.shape[-1]
        self._systems, self._network = systems, None
        with _without_gradients(systems.A):
            self._network = _Network(model, systems.matrices(), BATCH)
        super().__init__(np.dtype(np.float64), (n, n))

    def _matmat(self, X: Any) -> np.ndarray:
        r = np.ascontiguousarray(X, dtype=np.float64)
        assert self._network is not None
        with _without_gradients(self._systems.A), np.errstate(all="ignore"):
            z = self._network(alike(r, self._systems.A)[None])[0]
            return to_numpy(shifted(z, -self._systems.size))

    def _matvec(self, x: Any) -> np.ndarray:
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]


@dataclass(frozen=True, eq=False)
class _Part:
    """What became of the systems that the network saw together; see `DenseReport`."""

    x: Any
    measures: Measures
    statuses: list[Status]
    methods: np.ndarray
    iterations: np.ndarray
    failed: np.ndarray
    uneven: np.ndarray
    lost: np.ndarray
    known: tuple[Any, Any] | None
    uncertainty: np.ndarray | None
    calls: int
    seconds: tuple[float, float, float]


class _Network:
    """The network bound to matrices: r -> about A^-1 r for residuals of any size; zero where it has no answer.

    Attributes
    ----------
    failed : (B,) whether an answer was not finite
    calls, seconds : of the network, binding not counted among the calls
    """

    def __init__(self, model: DenseSystemEngine, A: Any, width: int) -> None:
        started = time.perf_counter()
        self._model, self._width = type(model).__name__, width
        self._bound = model.bind(A)
        self.failed = np.zeros(len(A), dtype=bool)
        self.calls, self.seconds = 0, time.perf_counter() - started

    def __call__(self, r: Any) -> Any:
        started = time.perf_counter()
        xp = namespace(r)
        scaled, exponents = _in_network_units(r)
        k, width = r.shape[-1], max(1, self._width // len(r))
        answers = [self._asked(scaled[:, :, at : at + width]) for at in range(0, k, width)]
        x = answers[0] if len(answers) == 1 else xp.concatenate(answers, -1)
        usable = xp.isfinite(x).all(1)
        self.failed |= to_numpy(~usable).any(axis=1)
        use = usable & (scaled != 0).any(1)
        x = xp.where(use[:, None, :], shifted(x, exponents[:, None, :]), xp.zeros_like(x))
        self.seconds += time.perf_counter() - started
        return x

    def _asked(self, b: Any) -> Any:
        self.calls += 1
        x = self._bound(b)
        if tuple(x.shape) != tuple(b.shape):
            raise ShapeError(f"{self._model}.answer gave shape {tuple(x.shape)} for b of shape {tuple(b.shape)}")
        return alike(x, b)


def _in_network_units(b: Any) -> tuple[Any, Any]:
    """b with the largest |entry| of each column in [1, 2), and the exponents (B, k) that were taken off."""
    xp = namespace(b)
    largest = xp.amax(xp.abs(b), 1)
    exponents = xp.frexp(largest)[1] - 1
    exponents = xp.where(largest > 0, exponents, exponents * 0)
    return shifted(b, -exponents[:, None, :]), exponents


def _where_needed(answer: Callable[[Any, Any], Any], A: Any, b: Any) -> Any:
    """The answers for systems whose b is not zero; zero for the others."""
    xp = namespace(b)
    some = to_numpy((b != 0).any(1)).any(axis=1)
    if some.all():
        return answer(A, b)
    out = xp.zeros_like(b)
    which = np.flatnonzero(some)
    if len(which):
        out[which] = alike(answer(A[which], b[which]), b)
    return out


def _chunks(systems: DenseInput, width: int) -> Iterator[DenseBatch]:
    step = max(1, width // systems.b.shape[-1])
    for at in range(0, len(systems), step):
        yield DenseBatch.of(systems.A[at : at + step], systems.b[at : at + step])


def _without_gradients(A: Any) -> Any:
    return sys.modules["torch"].no_grad() if is_torch(A) else contextlib.nullcontext()


def _method(refine: Any) -> str | None:
    if refine is None or refine is False:
        return None
    if refine is True or (isinstance(refine, str) and refine == "auto"):
        return "gmres"
    if not isinstance(refine, str) or refine not in METHODS:
        raise OptionError(f"refine must be None, True or one of {', '.join(map(repr, METHODS))}, got {refine!r}")
    return refine


def _statuses(
    measures: Measures,
    before: Measures,
    rtol: float,
    failed: np.ndarray | None,
    lost: np.ndarray,
    method: str | None,
) -> list[Status]:
    """Of each system, from its worst right-hand side."""
    met = np.all(measures.met(rtol), axis=1).tolist()
    as_good = np.all(measures.met(rtol) | before.met(rtol) | measures.rounded, axis=1).tolist()
    out: list[Status] = []
    for i in range(len(met)):
        if met[i]:
            out.append(Status.CONVERGED)
        elif method is None:
            out.append(Status.BREAKDOWN if failed is not None and failed[i] else Status.GUESSED)
        elif lost[i]:
            out.append(Status.SINGULAR)
        else:
            out.append(Status.ROUNDING if as_good[i] else Status.STAGNATION)
    return out


def _worst(parts: list[_Part], name: str) -> np.ndarray:
    return np.concatenate([getattr(part.measures, name).max(axis=1) for part in parts])


def _what_failed(
    failed: np.ndarray, direct: np.ndarray, uneven: np.ndarray, lost: np.ndarray, method: str | None, maxiter: int
) -> str | None:
    said: list[str] = []
    if failed.any():
        said.append(f"the network gave NaN or Inf for {failed.sum()} of {len(failed)} systems")
    slow, rows = direct & ~uneven & ~lost, direct & uneven & ~lost
    if slow.any():
        some = f"{slow.sum()} of {len(direct)} systems"
        said.append(f"LU for {some} that {method} would not solve in {maxiter} iterations")
    if rows.any():
        said.append(f"LU for {rows.sum()} of {len(direct)} systems whose rows differ too much in size")
    if lost.any():
        said.append(f"{lost.sum()} of {len(lost)} matrices are singular: least squares solutions of least norm")
    return "; ".join(said) or None


def _why(method: str | None, outside: int | None, systems: int) -> str:
    said = "the network's answer as it is" if method is None else f"refined by {method}"
    unlike = f"{outside} of {systems} matrices are unlike those of the training"
    return f"{said}; {unlike}" if outside else said


def _ranges(sizes: tuple[int, ...]) -> str:
    """Sizes for people: "8 to 64", "16, 32 or 64"."""
    if len(sizes) > 2 and tuple(range(sizes[0], sizes[-1] + 1)) == tuple(sizes):
        return f"{sizes[0]} to {sizes[-1]}"
    words = [str(size) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
