"""What a learned model answers: one table. Whoever meets a model looks it up here, and nowhere else.

A model says its task (`EngineBase.task`). The table says what a model of that task has to offer (a protocol), which
public functions ask it under which ``method=``, which weights are shipped for that, and where it is measured
(``nnla eval``), checked (`nnla.checks.check_model`) and described (its card). The places are dotted names,
imported when they are asked for, so that this file stands below everything and a model above everything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nnla.errors import OptionError

if TYPE_CHECKING:  # the command line asks the table, and does without NumPy until it works
    from nnla.types import SpectralProbe

__all__ = ["FAMILIES", "MATRIX_FUNCTION_WEIGHTS", "TASKS", "Task", "check_engine", "engine_for", "resolve", "task_of"]


class Model(Protocol):
    """What every model offers, whatever it answers."""

    name: ClassVar[str]
    task: ClassVar[str]  # a key of TASKS
    card: dict[str, Any]

    @property
    def degree(self) -> int | None:
        """The only degree that it knows; None where it is told one, or has none."""
        ...


class Intervals(Model, Protocol):
    """Interval of a Chebyshev preconditioner: an answer with ``a``, ``b``, ``predicted_iterations``, and ``inside``
    with ``reason``, whether the probe is like those of the training."""

    def choose(self, probe: SpectralProbe, *, degree: int, rtol: float) -> Any: ...


class OutlierRoots(Model, Protocol):
    """Polynomial with roots on outlying eigenvalues that beats an interval: ``recurrence``, ``outliers``, ``gain``; or
    None. ``a`` and ``iterations`` are the interval's lower end and what it is expected to take."""

    def improve(self, probe: SpectralProbe, a: float, iterations: float, *, degree: int, rtol: float) -> Any: ...


class Polynomials(Model, Protocol):
    """A `Recurrence` for a probe: P(A) about A^-1 for "polynomials", about A^-1/2 for "inverse square roots"."""

    def recurrence(self, probe: SpectralProbe, *, degree: int) -> Any: ...


class FilterCuts(Model, Protocol):
    """Where a Chebyshev filter begins to damp, for an `nnla.eigen.window.Window`: ``cut``, ``steps``, ``inside``."""

    def choose(self, window: Any, *, degree: int) -> Any: ...


class Filters(Model, Protocol):
    """A `Recurrence` that filters, from (l,) Ritz values in [0, 1], descending, and residuals, for the first k."""

    def recurrence(self, values: Any, residuals: Any, k: int, *, degree: int) -> Any: ...


class SubspacePlans(Model, Protocol):
    """What `nnla.eigen.filtered_subspace.solve_subspace` takes by each plan, for an `nnla.eigen.window.Window`:
    ``plans``, ``products``, ``filterings``, ``flops``, ``inside``."""

    def counts(self, window: Any, *, digits: float) -> Any: ...


class FunctionMargins(Model, Protocol):
    """How far a polynomial for f(A) trusts a probe: ``margins``, ``inside``, ``reason``."""

    def margins(self, probe: SpectralProbe, *, degree: int) -> Any: ...


class InitialGuesses(Model, Protocol):
    """Approximate solutions x (n,) of A x = b, float64, one by one by ``guess``; or, with ``subspace``, the subspace W
    that x was found in, to deflate by, with A W: ``propose``, which gives ``x``, ``W``, ``AW``, ``network_products``.
    Models that take geometry are given it after b."""

    @property
    def takes_geometry(self) -> bool: ...

    @property
    def subspace(self) -> bool: ...

    @property
    def products(self) -> int:
        """Products with A in float64 that a guess takes."""
        ...

    @property
    def network_products(self) -> int:
        """Products with a vector inside the network that a guess amounts to."""
        ...

    def guess(self, A: Any, b: Any, *geometry: Any) -> Any: ...

    def propose(self, A: Any, b: Any, *geometry: Any) -> Any: ...


class MomentumSchedules(Model, Protocol):
    """Lower end of the interval of a Chebyshev semi-iteration that reduces the gradient by a factor fastest."""

    def lower(self, probe: SpectralProbe, reduction: float) -> float: ...


class Transitions(Model, Protocol):
    """Parameters of matrix iterations for a grid of ratios: (ratios (R,), parameters (R, P), errors (R,))."""

    def table(self) -> Any: ...


class NewtonSteps(Model, Protocol):
    """Direction of a step for a `nnla.extensions.lp_steps.NewtonState`, in its coordinates; None where it declines."""

    def direction(self, state: Any) -> Any: ...


class DenseSolutions(Model, Protocol):
    """x and a report for dense systems of the sizes that it was trained for: `nnla.models.dense_solutions`."""

    @property
    def sizes(self) -> tuple[int, ...]: ...

    @property
    def linear(self) -> bool:
        """Whether x is linear in b."""
        ...

    def solve(
        self, A: Any, b: Any, *, refine: Any = None, rtol: float = 1e-10, maxiter: int = 30, batch: int = 256
    ) -> Any: ...

    def guess(self, A: Any, b: Any) -> Any: ...


class SPDSolutions(Model, Protocol):
    """x and a report for symmetric positive definite systems of any size, by a loop with counted products:
    `nnla.models.nlaformer_exact_engine`. Also guesses as those of `InitialGuesses`, and a non-linear preconditioner."""

    @property
    def products(self) -> int: ...

    @property
    def network_products(self) -> int: ...

    def solve(
        self, A: Any, b: Any, *, rtol: float = 1e-8, maxiter: Any = None, guard: bool = True, batch: int = 256
    ) -> Any: ...

    def guess(self, A: Any, b: Any) -> Any: ...

    def aspreconditioner(self, A: Any, *, loops: int = 6, guard: bool = True) -> Any: ...


class IteratedSolutions(DenseSolutions, Protocol):
    """As `DenseSolutions`, for symmetric positive definite systems and by iterations, each of which has an answer."""

    @property
    def loops(self) -> int:
        """Iterations."""
        ...

    @property
    def loop_multiplications(self) -> int:
        """Multiplications of an iteration, for one system."""
        ...

    def path(self, A: Any, b: Any) -> list[Any]:
        """x_t (B, n) after 0, 1, ..., loops iterations, for matrices (B, n, n) and right-hand sides (B, n)."""
        ...


class MatrixFunctions(Model, Protocol):
    """f(A) (..., n, n) for dense matrices, by a network alone: `nnla.models.matrix_functions`."""

    functions: tuple[str, ...]
    sizes: tuple[int, ...]
    symmetric: bool
    equivariant: bool

    def function(self, A: Any, f: str) -> Any: ...


class SolverCosts(Model, Protocol):
    """Logarithms of what each method of `nnla.solve` takes, with their spread, and probabilities of failure, from
    features of a matrix and of first steps: ``mean``, ``std``, ``failure``, ``outside``, in the order of ``targets``
    and ``failures``."""

    targets: ClassVar[tuple[str, ...]]
    failures: ClassVar[tuple[str, ...]]

    def predict(self, structure: Any, steps: Any = None, *, rtol: Any = 1e-8) -> Any: ...

    def after_analysis(self, flops: Any, entries: Any, n: Any) -> dict[str, tuple[Any, Any]]: ...


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes
    ----------
    answer : protocol that a model of this task keeps to
    field : what kind of problem it helps with, in words
    asked_by : public functions that use it
    method : the ``method=`` under which they do; None where it does not depend on one
    weights : shipped weights that are asked unless the caller brings a model
    evaluate : "module:function" for `nnla.evaluation.evaluate_model`, called with the model and the options it takes
    families : what it can be measured on, the default first
    check : "module:function" for `nnla.checks.check_model`, called with (model, trials, seed)
    show : "module:function" that prints what ``evaluate`` found; None for a plain list
    card : "module:name" of the `nnla.evaluation.cards.Section` with the figures of its card
    """

    answer: type
    field: str
    asked_by: tuple[str, ...]
    method: str | None = None
    weights: str | None = None
    evaluate: str | None = None
    families: tuple[str, ...] = ()
    check: str | None = None
    show: str | None = None
    card: str | None = None


_CHECKS = "nnla.evaluation.model_checks:"
_CARDS = "nnla.evaluation.cards:"
_LINEAR: dict[str, Any] = {
    "field": "linear systems",
    "asked_by": ("nnla.solve", "nnla.preconditioner"),
    "evaluate": "nnla.evaluation.engines:evaluate_engine",
    "families": ("suite", "spectra"),
    "check": _CHECKS + "check_polynomials",
    "show": "nnla.cli.evaluations:show_engine",
}
_EIGEN: dict[str, Any] = {
    "field": "eigenproblems",
    "asked_by": ("nnla.eigsh",),
    "families": ("spectra",),
    "check": _CHECKS + "check_filters",
}
_FUNCTIONS: dict[str, Any] = {"field": "matrix functions", "families": ("spectra",)}
_HELD_OUT = "nnla.analysis.held_out:"
_CHOICES = "nnla.analysis.held_out_choices:"

TASKS: dict[str, Task] = {
    "intervals": Task(Intervals, method="autospec", weights="autospec-cg", card=_CARDS + "PRECONDITIONERS", **_LINEAR),
    "outlier roots": Task(
        OutlierRoots, method="autospec-tail", weights="autospec-tail", card=_CARDS + "OUTLIER_ROOTS", **_LINEAR
    ),
    "polynomials": Task(
        Polynomials, method="autospec-paper", weights="autospec-cg-paper", card=_CARDS + "PRECONDITIONERS", **_LINEAR
    ),
    "solver costs": Task(
        SolverCosts,
        "choices of a method",
        ("nnla.solve", "nnla.prepare"),
        weights="auto-costs",
        evaluate="nnla.evaluation.solver_cost_models:evaluate_solver_costs",
        families=("systems",),
        check="nnla.evaluation.solver_cost_models:check_solver_costs",
        show="nnla.cli.evaluations:show_solver_costs",
        card=_CARDS + "SOLVER_COSTS",
    ),
    "filter cuts": Task(
        FilterCuts,
        method="autospec",
        weights="autospec-eig",
        evaluate=_CHOICES + "cuts_held_out",
        card=_CARDS + "FILTER_CUTS",
        **_EIGEN,
    ),
    "filters": Task(
        Filters,
        method="autospec-paper",
        weights="autospec-eig-paper",
        evaluate=_HELD_OUT + "filters_held_out",
        card=_CARDS + "IMPROVEMENTS",
        **_EIGEN,
    ),
    "subspace plans": Task(
        SubspacePlans,
        "eigenproblems",
        ("nnla.eigsh",),
        method="subspace",
        weights="subspace-plans",
        check=_CHECKS + "check_plans",
        card=_CARDS + "PLANS",
    ),
    "margins": Task(
        FunctionMargins,
        asked_by=("nnla.funm_multiply", "nnla.matrix_function"),
        method="autospec",
        weights="autospec-invsqrt",
        evaluate=_CHOICES + "margins_held_out",
        check=_CHECKS + "check_margins",
        card=_CARDS + "MARGINS",
        **_FUNCTIONS,
    ),
    "inverse square roots": Task(
        Polynomials,
        asked_by=(),  # kept for comparison
        weights="autospec-funm-paper",
        evaluate=_HELD_OUT + "roots_held_out",
        check=_CHECKS + "check_inverse_square_roots",
        card=_CARDS + "IMPROVEMENTS",
        **_FUNCTIONS,
    ),
    "initial guesses": Task(
        InitialGuesses,
        "initial guesses",
        ("nnla.initial_guess", "nnla.solve"),
        evaluate="nnla.evaluation.guesses:evaluate_on_frames",
        families=("frames",),
        check=_CHECKS + "check_guesses",
        show="nnla.cli.evaluations:show_guesses",
        card=_CARDS + "GUESSES",
    ),
    "momentum schedules": Task(
        MomentumSchedules,
        "convex minimisation",
        ("nnla.extensions.minimise",),
        method="autospec",
        weights="momentum-schedules",
        check=_CHECKS + "check_schedules",
        card=_CARDS + "SCHEDULES",
    ),
    "transitions": Task(
        Transitions,
        "polar factors and inverse roots",
        ("nnla.extensions.polar", "nnla.extensions.inverse_root"),
        method="autospec",
        weights="quadratic-transitions",
        check=_CHECKS + "check_transitions",
        card=_CARDS + "TRANSITIONS",
    ),
    "dense solutions": Task(
        DenseSolutions,
        "dense linear systems",
        (),  # by its own solve
        evaluate="nnla.evaluation.dense_models:evaluate_on_bvp",
        families=("bvp",),
        check=_CHECKS + "check_dense_solutions",
        show="nnla.cli.evaluations:show_dense_solutions",
        card=_CARDS + "DENSE_SOLUTIONS",
    ),
    "spd solutions": Task(
        SPDSolutions,
        "dense definite systems",
        ("nnla.initial_guess", "nnla.solve"),  # and by its own solve
        evaluate="nnla.evaluation.spd_models:evaluate_on_spd",
        families=("spd",),
        check="nnla.evaluation.spd_models:check_spd_solutions",
        show="nnla.cli.evaluations:show_spd_solutions",
        card=_CARDS + "SPD_SOLUTIONS",
    ),
    "iterated solutions": Task(
        IteratedSolutions,
        "dense definite systems of one size",
        (),  # by its own solve
        evaluate="nnla.evaluation.iterated_models:evaluate_iterations",
        families=("spd",),
        check=_CHECKS + "check_iterated_solutions",
        show="nnla.cli.evaluations:show_iterated_solutions",
        card=_CARDS + "ITERATED_SOLUTIONS",
    ),
    "newton steps": Task(
        NewtonSteps,
        "regression in the p-norm",
        ("nnla.extensions.newton_lp",),
        weights="algebraformer-newton",
        check=_CHECKS + "check_newton_steps",
        card=_CARDS + "NEWTON_STEPS",
    ),
    "matrix functions": Task(
        MatrixFunctions,
        "dense matrix functions",
        ("nnla.matfun",),  # by the methods of its functions; which weights: MATRIX_FUNCTION_WEIGHTS
        evaluate="nnla.evaluation.matrix_function_models:evaluate_matrix_functions",
        families=("matrices",),
        check="nnla.evaluation.matrix_function_models:check_matrix_functions",
        show="nnla.cli.evaluations:show_matrix_functions",
        card=_CARDS + "MATRIX_FUNCTIONS",
    ),
}


# weights that `nnla.matfun` asks by method, or "method f", unless the caller brings a model
MATRIX_FUNCTION_WEIGHTS: dict[str, str] = {
    "equivariant": "matfun-equivariant",
    "transformer sign": "matfun-regression-sign",
    **{f"transformer {f}": "matfun-regression-entire" for f in ("exp", "sin", "cos", "cube")},
    **{f"transformer {f}": "matfun-regression-definite" for f in ("sqrt", "log", "inv_sqrt", "inv")},
}

FAMILIES = tuple(dict.fromkeys(family for task in TASKS.values() for family in task.families))


def resolve(dotted: str) -> Any:
    """What "module:name" stands for, imported now.

    Examples
    --------
    >>> resolve("nnla.errors:OptionError").__name__
    'OptionError'
    """
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def task_of(engine: Any) -> Task:
    """The task of a model.

    Raises
    ------
    OptionError
        It names none that is in the table.
    """
    key = getattr(engine, "task", None)
    if not isinstance(key, str) or key not in TASKS:
        raise OptionError(f"engine={engine!r} names no task that nnla knows; its class needs task = {_some()}")
    return TASKS[key]


def _some() -> str:
    return " or ".join(repr(key) for key in list(TASKS)[:3]) + " ... (nnla.tasks.TASKS)"


def check_engine(engine: Any, field: str, method: str) -> None:
    """Raise `OptionError` unless an engine is of the task that ``method`` ("auto" stands for "autospec") asks."""
    task = task_of(engine)
    if task.field != field:
        raise OptionError(f"engine={engine!r} is for {task.field}, not for {field}")
    if task.method is None:
        raise OptionError(f"engine={engine!r} is asked by no method of {field}: call it by itself")
    if task is not _asked(field, method):
        raise OptionError(f"engine={engine!r} has no effect on method={method!r}; use method={task.method!r}")


def engine_for(engine: Any, field: str, method: str) -> Any:
    """The engine given, itself or by the path of its weights, else the one shipped for a method.

    Parameters
    ----------
    engine : model, name or path, or None
    field, method : as in `TASKS`; "auto" and the classical methods ask the engine of "autospec"

    Raises
    ------
    WeightsError
        The weights cannot be loaded.
    OptionError
        The engine is of another task.

    Notes
    -----
    Cost: the weights are read once in a process; a file given by path at every call.
    """
    from nnla.registry import load

    if engine is None:
        engine = _asked(field, method).weights
    if isinstance(engine, (str, os.PathLike)):
        engine = load(engine)
    check_engine(engine, field, method)
    return engine


def _asked(field: str, method: str) -> Task:
    """The task that a method asks, else that of "autospec"."""
    found = {task.method: task for task in TASKS.values() if task.field == field and task.method is not None}
    return found.get(method, found["autospec"])
