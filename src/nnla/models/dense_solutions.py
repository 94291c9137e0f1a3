"""What models of dense systems share: from any A and b of their sizes to x and an honest report.

A network brings ``answer``, in units that it knows; everything between a user and that is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self

import numpy as np

from nnla.errors import OptionError, ShapeError
from nnla.linear.dense_measures import measured
from nnla.linear.dense_refinement import METHODS, refined
from nnla.linear.dense_report import DenseSolution, Outcome, report_of, statuses_of
from nnla.linear.dense_systems import DenseBatch, DenseInput, check_batch, dense_input
from nnla.linear.options import check_numbers
from nnla.models.dense_network import (
    DensePreconditioner,
    bound_network,
    bound_preconditioner,
    in_network_units,
    where_needed,
    without_gradients,
)
from nnla.models.engine_base import EngineBase
from nnla.operators.arrays import is_torch, to_numpy

__all__ = ["DenseSystemEngine"]

MAXITER = 30
BATCH = 256


class DenseSystemEngine(EngineBase):
    """A network that answers dense systems A x = b of the sizes it was trained for.

    A model brings `sizes` and `answer`; one that is linear in b says so by `linear` and brings `operator`; where it
    can, `preconditioner`, `distances` and `spread`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Sizes:
    ...     n: int
    ...
    ...     def shapes(self):
    ...         return {"inverse": (self.n, self.n)}
    >>> class StoredInverse(DenseSystemEngine):
    ...     name, linear, sizes = "stored inverse", True, (2,)
    ...
    ...     def answer(self, A, b):
    ...         return self.parameters["inverse"] @ b
    >>> model = StoredInverse(Sizes(2), {"inverse": np.eye(2)}, {})
    >>> x, report = model.solve([[1.0, 0.25], [0.0, 1.0]], [1.0, 1.0], refine=True)
    >>> x.round(9).tolist(), report.converged, report.iterations, report.fallbacks
    ([0.75, 1.0], True, 1, 0)
    """

    task = "dense solutions"

    # -- what a network brings ----------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of unknowns that it was trained for, increasing."""
        raise NotImplementedError

    @property
    def linear(self) -> bool:
        """Whether x is linear in b: the network puts out an operator, which may precondition."""
        return False

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

    def operator(self, A: Any) -> Callable[[Any], Any]:
        """b -> `answer` (A, b) of a model that is linear in b: the network runs here, once for many b."""
        return partial(where_needed, self.answer, A)

    def preconditioner(self, A: Any) -> Callable[[Any], Any] | None:
        """b -> about A^-1 b, linear in b, for refinement; None for the network itself.

        Residuals are rougher than the right-hand sides of a family, which is all that most networks have seen.
        """
        return None

    def on(self, A: Any) -> Self:
        """The model for some matrices: one that needs the same of A in several of its methods makes it here, once."""
        return self

    def distances(self, A: Any) -> Any:
        """(B,) how far matrices are from those of the training, 1 the farthest of those; None where it cannot tell."""
        return None

    def spread(self, A: Any, b: Any, x: Any) -> Any:
        """(B, k) estimates of ||x - exact|| / ||exact|| of its answers x to (A, b); None where it has none."""
        return None

    # -- what models share ---------------------------------------------------------------------------------------------

    def parameters_like(self, like: Any) -> Mapping[str, Any]:
        """The parameters as arrays of the kind and on the device of another.

        Cost: a copy to a device, once for each.
        """
        if not is_torch(like):
            return self.parameters
        import torch

        known: dict[str, dict[str, Any]] = self.__dict__.setdefault("_tensors", {})
        device = str(like.device)
        if device not in known:
            known[device] = {key: torch.as_tensor(value, device=like.device) for key, value in self.parameters.items()}
        return known[device]

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
            the network, or by what the model has for that; "iterative": x <- x + M (b - A x), with the same M, as long
            as that contracts. Both in float64, and what they do not solve is solved by LU, which the report counts
        rtol : x is verified where ||b - A x|| <= rtol ||b||, and every row's |b - A x|_i <= rtol (||a_i|| ||x|| +
            |b_i|): rows of smaller units are not lost among large ones
        maxiter : steps of refinement
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
        exactly. A and b are never modified. A singular A ends in "singular" unless b is in its range; then x is one of
        the solutions, that of least norm where A is not like the training's matrices or LU solves.

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
        parts: list[Outcome] = []
        with without_gradients(systems.A), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in _chunks(systems, width):
                parts.append(self._solved(part, systems.dtype, method, float(rtol), int(maxiter), width))
            x = systems.answer([part.x for part in parts])
        seed = self.card.get("seed")
        report = report_of(
            parts,
            n=systems.n,
            dtype=systems.dtype,
            method=method,
            rtol=float(rtol),
            maxiter=int(maxiter),
            weights=self.title,
            seed=seed if isinstance(seed, int) else None,
            total=time.perf_counter() - started,
        )
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
        with without_gradients(systems.A), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            parts = [
                part.leave(bound_network(self, part.matrices(), width)(part.in_user_rows(part.b)), systems.dtype)[0]
                for part in _chunks(systems, width)
            ]
            return systems.answer(parts)

    def aspreconditioner(self, A: Any) -> DensePreconditioner:
        """About A^-1, linear: a preconditioner of anyone's GMRES or BiCGSTAB.

        Parameters
        ----------
        A : (n, n), as `solve` takes it

        Raises
        ------
        OptionError
            The network is not linear in b, and the model has nothing else.
        ShapeError, DTypeError, NonFiniteError
            As `solve`.

        Notes
        -----
        Cost: the network once, or what the model has in its place; then what that takes.
        """
        systems = dense_input(A, np.ones(np.shape(A)[-1:]) if np.ndim(A) == 2 else A)
        if len(systems) != 1 or systems.shape != (systems.n,):
            raise ShapeError(f"a preconditioner is for one matrix (n, n), A has shape {tuple(np.shape(A))}")
        self.check_size(systems.n)
        with without_gradients(systems.A):
            batch = DenseBatch.of(systems.A, systems.b)
            matrices = batch.matrices()
            bound = bound_preconditioner(self, matrices, BATCH)
            if bound is None and not self.linear:
                raise OptionError(
                    f"{self.title!r} is not linear in b and preconditions no Krylov method but a flexible one: use "
                    "solve(A, b, refine='gmres'), or its guess(A, b) as x0"
                )
            return DensePreconditioner(bound or bound_network(self, matrices, BATCH), batch)

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
    ) -> Outcome:
        started = time.perf_counter()
        matrices = systems.matrices()
        model = self.on(matrices)
        far = model.distances(matrices)
        far = None if far is None else to_numpy(far).astype(float)
        network = bound_network(model, matrices, width)
        b = systems.in_user_rows(systems.b)
        y = network(b)
        B, k = systems.columns.shape
        methods = np.full(B, "network", dtype=object)
        iterations = np.zeros((B, k), dtype=int)
        singular, uneven, uncertainty, seconds = np.zeros(B, dtype=bool), np.zeros(B, dtype=bool), None, 0.0
        used = None
        if method is None:
            estimate = model.spread(matrices, in_network_units(b)[0], y)
            uncertainty = None if estimate is None else to_numpy(estimate).astype(float)
            before = measured(systems, y)
        else:
            doubtful = np.ones(B, dtype=bool) if far is None else ~(far <= 1)
            M = bound_preconditioner(model, matrices, width) or network
            used = "network" if M is network else "reference"
            found = refined(systems, y, M, method=method, rtol=rtol, maxiter=maxiter, doubtful=doubtful)
            y, before, iterations = found.y, found.measures, found.iterations
            singular, uneven, seconds = found.singular, found.uneven, found.seconds
            methods[iterations.any(axis=1)] = method
            methods[found.direct] = "lu"
            methods[singular] = "least squares"
        x, stands_for = systems.leave(y, dtype)
        measures = before if bool((stands_for == y).all()) else measured(systems, stands_for)
        statuses = statuses_of(
            measures, before, rtol, failed=network.failed, singular=singular, refined=method is not None
        )
        return Outcome(
            x=x,
            measures=measures,
            statuses=statuses,
            methods=methods,
            iterations=iterations,
            failed=network.failed,
            uneven=uneven,
            singular=singular,
            distances=far,
            uncertainty=uncertainty,
            calls=network.calls,
            preconditioner=used,
            seconds=(network.seconds, time.perf_counter() - started, seconds),
        )


def _chunks(systems: DenseInput, width: int) -> Iterator[DenseBatch]:
    step = max(1, width // systems.b.shape[-1])
    for at in range(0, len(systems), step):
        yield DenseBatch.of(systems.A[at : at + step], systems.b[at : at + step])


def _method(refine: Any) -> str | None:
    if refine is None or refine is False:
        return None
    if refine is True or (isinstance(refine, str) and refine == "auto"):
        return "gmres"
    if not isinstance(refine, str) or refine not in METHODS:
        raise OptionError(f"refine must be None, True or one of {', '.join(map(repr, METHODS))}, got {refine!r}")
    return refine


def _ranges(sizes: tuple[int, ...]) -> str:
    """Sizes for people: "8 to 64", "16, 32 or 64"."""
    if len(sizes) > 2 and tuple(range(sizes[0], sizes[-1] + 1)) == tuple(sizes):
        return f"{sizes[0]} to {sizes[-1]}"
    words = [str(size) for size in sizes]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
