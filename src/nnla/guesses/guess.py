"""`nnla.initial_guess`: where a trained network would start a solver, and the subspace that it found it in.

A network's guess is not linear in b. It may start a solver and deflate it; it never preconditions CG.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.errors import OptionError, ShapeError
from nnla.guesses.fingerprints import outside
from nnla.operators.arrays import to_numpy
from nnla.operators.operator import Operator, as_operator
from nnla.preconditioners.deflation import DeflationSpace
from nnla.problems.frame_recovery import recover_frame
from nnla.problems.geometry import Geometry
from nnla.registry import load
from nnla.report import ReportBase, Status
from nnla.tasks import TASKS, InitialGuesses, task_of
from nnla.types import Kind, library_versions

__all__ = ["Guess", "GuessReport", "initial_guess", "recovered_geometry", "warm_start_of"]

# short name -> shipped weights; None chooses between the two of NSLS-plus by what the matrix offers
_SHIPPED = {"nsls": "nsls-frames", "nsls-plus": None}
_GEOMETRIC, _ALGEBRAIC = "nsls-plus-geometric", "nsls-plus-algebraic"


@dataclass(frozen=True, repr=False)
class GuessReport(ReportBase):
    """What a guess was made by, what it cost, and what it is worth.

    Attributes
    ----------
    status : "guessed", or "refused" where the guess is zero
    converged : never: a guess is where a solver starts
    model : name of the weights, or None where no network ran
    used : whether the guess is a network's; else it is zero
    fallback : None, or why it is not, or what of it was not taken
    chosen_because : why these weights
    n : size
    energy : b'x, twice the energy that the guess takes off: the larger, the nearer x is to the solution in the
        A-norm; 0 for zero; largest guaranteed non-negative over the columns
    relative_residual : ||b - A x|| / ||b||, the largest over the columns. It may exceed 1 for a guess that is near
        the solution in the A-norm, which is what CG reduces
    products : products with A in float64
    network_products : what the products with blocks of vectors inside the network amount to, as products with one
        vector each; mostly in float32
    rank : dimensions of the subspace for deflation, 0 for models that have none
    geometry : "given", "recovered" from the matrix, or None
    seconds : {"geometry", "network", "setup", "total"}
    versions : versions of the libraries
    """

    _line = (
        ("model", "{}"),
        ("rank", "rank {}"),
        ("products", "{} products"),
        ("relative_residual", "residual {:.2g}"),
    )
    _table = ("network_products", "geometry", *ReportBase._table)

    status: Status = field(init=False)
    converged: bool = field(init=False, default=False)
    model: str | None
    used: bool
    fallback: str | None
    chosen_because: str
    n: int
    energy: float
    relative_residual: float
    products: int
    network_products: int
    rank: int
    geometry: str | None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    versions: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status.GUESSED if self.used else Status.REFUSED)


@dataclass(frozen=True, eq=False)
class Guess:
    """An initial guess: works as an array, and as ``warm_start`` of `nnla.solve` for any b of the same matrix.

    Attributes
    ----------
    kind : `Kind.NONLINEAR`
    x : array of b's shape
    space : DeflationSpace, or None
    report : GuessReport
    """

    x: np.ndarray
    space: DeflationSpace | None
    report: GuessReport
    kind = Kind.NONLINEAR

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        x = self.x if dtype is None else self.x.astype(dtype)
        return x.copy() if copy and x is self.x else x

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of x."""
        return self.x.shape


def initial_guess(
    A: Any, b: Any, *, model: Any = "nsls", geometry: Geometry | None = None, guard: bool = True
) -> Guess:
    """Where a trained network would start a solver of A x = b.

    Parameters
    ----------
    A : (n, n) symmetric positive definite, with entries: sparse or dense, not a LinearOperator
    b : (n,) or (n, k)
    model : "nsls" is the paper's network; "nsls-plus" proposes a subspace, with the geometric weights where
        geometry is given or can be read off the matrix (frames, unknowns node by node), else with the algebraic
        ones, "nsls-plus-geometric" and "nsls-plus-algebraic" by name. Or a model, or the path of its weights
    geometry : `nnla.problems.geometry.Geometry`: what each unknown is, and where
    guard : whether matrices unlike those of the training get the guess zero

    Returns
    -------
    Guess
        ``np.asarray(guess)`` has b's shape; ``guess.report`` says what it is worth; ``guess.space`` deflates.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        Bad input, with the remedy in the message.
    OptionError
        No entries of A are known, no such model, or geometry that does not fit the model.
    WeightsError
        Weights that cannot be read.

    Notes
    -----
    Cost: the products in the report. The network sees the first column of b that is not zero; the others start
    with their best approximations in its subspace ("nsls-plus"), or are seen one by one ("nsls").

    Guaranteed, for any weights: in the A-norm no column is farther from the solution than zero is, up to rounding,
    and with "nsls-plus" the first no farther than after its 14 steps of CG with Jacobi preconditioning.

    References
    ----------
    Grementieri & Galeone, Towards Neural Sparse Linear Solvers (arXiv:2203.06944), equations (3), (4).

    Examples
    --------
    >>> import nnla
    >>> one = nnla.problems.frame("mini", seed=20_000_001)
    >>> b, x = one.loads[:, 0], one.solve()[:, 0]
    >>> guess = initial_guess(one.A, b, model="nsls-plus")
    >>> bool(np.linalg.norm(guess.x - x) < 0.2 * np.linalg.norm(x))
    True
    """
    started = time.perf_counter()
    op = as_operator(A)
    return _guess(op, to_numpy(op.as_vector(b)), model, geometry, guard, started)


def warm_start_of(op: Operator, b: np.ndarray, given: Any) -> Guess:
    """What `nnla.solve` starts from: a guess for its right-hand side, or one made before with the same matrix.

    Parameters
    ----------
    op : the matrix
    b : (n,) or (n, k)
    given : a model, its name or path, a `Guess`, or a `DeflationSpace`

    Raises
    ------
    OptionError, ShapeError, WeightsError

    Notes
    -----
    Cost: the products in the guess's report; one product, to check, for a `Guess` or `DeflationSpace` given.
    """
    if isinstance(given, Guess):
        if given.x.shape[0] != op.n:
            raise ShapeError(f"the guess is for {given.x.shape[0]} unknowns, A has {op.n}")
        if given.space is not None:
            given.space.check(op)
        return given
    if isinstance(given, DeflationSpace):
        given.check(op)
        report = GuessReport(
            model=None,
            used=True,
            fallback=None,
            chosen_because="a subspace given",
            n=op.n,
            energy=0.0,
            relative_residual=1.0,
            products=0,
            network_products=0,
            rank=given.rank,
            geometry=None,
            seconds={"total": given.seconds},
            versions=library_versions(),
        )
        return Guess(np.zeros_like(b), given, report)
    return _guess(op, b, given, None, True, time.perf_counter())


def _guess(op: Operator, b: np.ndarray, model: Any, geometry: Geometry | None, guard: bool, started: float) -> Guess:
    A = _entries(op)
    seconds: dict[str, float] = {"geometry": 0.0, "network": 0.0, "setup": 0.0}
    before = op.products
    clock = time.perf_counter()
    network, geometry, source, reason = _choose(A, model, geometry)
    seconds["geometry"] = time.perf_counter() - clock
    name = str(network.card.get("name", network.name))
    unseen = outside(A, network.card.get("matrices", {})) if guard else []
    columns = b.reshape(op.n, -1)
    x, space, fallback, inside = np.zeros_like(columns), None, None, 0
    if unseen:
        fallback = f"{name} has seen no matrix like this one ({'; '.join(unseen[:3])}): starting from zero"
    elif np.any(columns):
        clock = time.perf_counter()
        if network.subspace:
            x, space, inside = _proposals(op, columns, network, geometry)
        else:
            more = (geometry,) if network.takes_geometry else ()
            for j in range(columns.shape[1]):
                x[:, j] = network.guess(op, columns[:, j], *more)
            op.count(columns.shape[1] * network.products)
            inside = columns.shape[1] * network.network_products
        seconds["network"] = time.perf_counter() - clock - (space.seconds if space else 0.0)
        seconds["setup"] = space.seconds if space else 0.0
    x, residual, energy, worse = _guarded(op, columns, x)
    if worse:
        fallback = f"{worse} column(s) of the guess were farther from the solution than zero; their length was changed"
    norms = np.linalg.norm(columns, axis=0)
    relative = np.linalg.norm(residual, axis=0) / np.where(norms > 0, norms, 1.0)
    seconds["total"] = time.perf_counter() - started
    report = GuessReport(
        model=None if unseen else name,
        used=not unseen,
        fallback=fallback,
        chosen_because=reason,
        n=op.n,
        energy=energy,
        relative_residual=float(relative.max()),
        products=op.products - before,
        network_products=inside,
        rank=0 if space is None else space.rank,
        geometry=source,
        seconds=seconds,
        versions=library_versions(),
    )
    return Guess(x.reshape(b.shape), space, report)


def _entries(op: Operator) -> Any:
    A = op.entries()
    if A is None:
        raise OptionError(
            "a network needs the entries of A as a NumPy or SciPy matrix; pass that, or start from zero and leave "
            "the guess out"
        )
    return A


def _choose(A: Any, model: Any, geometry: Geometry | None) -> tuple[InitialGuesses, Geometry | None, str | None, str]:
    """Network, geometry, where that is from, and why."""
    source = None if geometry is None else "given"
    reason = "asked for"
    if isinstance(model, (str, os.PathLike)):
        wanted = os.fspath(model)
        name = _SHIPPED.get(wanted, wanted)
        if name is None:
            if geometry is None:
                geometry = recovered_geometry(A)
                source = None if geometry is None else "recovered"
            name = _ALGEBRAIC if geometry is None else _GEOMETRIC
            reason = {
                "given": "geometry given",
                "recovered": "the matrix is that of a frame, whose geometry could be read off it",
                None: "no geometry",
            }[source]
        model = load(name)
    if task_of(model) is TASKS["spd solutions"]:
        if geometry is not None:
            raise OptionError("geometry has no effect on this model; leave it out, or use 'nsls-plus'")
        return model, None, None, reason
    if task_of(model) is not TASKS["initial guesses"]:
        raise OptionError(
            f"{model!r} is no model of initial guesses; choose from {', '.join(_SHIPPED)}, or load one. "
            "A model of dense systems starts a solver by x0=model.guess(A, b)"
        )
    if model.takes_geometry and geometry is None:
        geometry = recovered_geometry(A)
        if geometry is None:
            raise OptionError(
                "these weights need geometry, and none can be read off the matrix: pass geometry=, or use "
                f"{_ALGEBRAIC!r}"
            )
        source = "recovered"
    if geometry is not None and not model.takes_geometry:
        raise OptionError("geometry has no effect on this model; leave it out, or use 'nsls-plus'")
    return model, geometry, source, reason


def recovered_geometry(A: Any) -> Geometry | None:
    """Geometry read off a matrix, if it is that of a frame along the axes; else None.

    Cost: linear in the entries; about 50 ms for 4000 unknowns.
    """
    try:
        frame = recover_frame(A)
    except (OptionError, ShapeError):
        return None
    return Geometry(frame.dof, frame.coordinates)


def _proposals(
    op: Operator, columns: np.ndarray, network: InitialGuesses, geometry: Geometry | None
) -> tuple[np.ndarray, DeflationSpace, int]:
    first = int(np.argmax(np.any(columns, axis=0)))
    proposal = network.propose(op, columns[:, first], geometry)
    op.count(network.products)
    space = DeflationSpace(op, proposal.W, proposal.AW)
    x = space.solve(columns)
    x[:, first] = proposal.x
    return x, space, proposal.network_products


def _guarded(op: Operator, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, int]:
    """x and its residual, no column with more energy x'Ax / 2 - b'x than zero has; how many had."""
    if not np.any(x):
        return x, b, 0.0, 0
    Ax = to_numpy(op.matvec(x))
    along, curvature = np.sum(b * x, axis=0), np.sum(x * Ax, axis=0)
    worse = ~(curvature <= 2 * along)
    # the best length in the A-norm, where the length that it came with is worse than none
    factor = np.where(worse, np.divide(along, curvature, out=np.zeros_like(along), where=curvature > 0), 1.0)
    factor = np.where(np.isfinite(factor), factor, 0.0)
    x, Ax = np.where(factor == 0, 0.0, x * factor), np.where(factor == 0, 0.0, Ax * factor)
    energy = 2 * factor * along - factor**2 * curvature
    return x, b - Ax, float(np.min(np.where(np.isfinite(energy), energy, 0.0))), int(worse.sum())
