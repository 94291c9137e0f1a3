"""What an answer says of itself: its status, the base of every report, and the report of a linear solve with its
phases: one frozen record for each stretch with one method."""

from __future__ import annotations

import dataclasses
import enum
import html
import json
import math
import types
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Self

from nnla._files import one_line, parsed_object
from nnla.errors import FileFormatError

__all__ = ["Phase", "Report", "ReportBase", "Status", "from_fields", "library_versions", "plain_json"]


class Status(enum.StrEnum):
    """Why a computation ended: a string, ``report.status == "converged"``."""

    CONVERGED = "converged"  # what was asked for is met, as checked afterwards
    MAXITER = "maxiter"  # the limit of iterations, restarts or steps came first
    TIMEOUT = "timeout"  # the limit of time came first
    STAGNATION = "stagnation"  # the true error no longer falls: the accuracy limit of the dtype
    INDEFINITE = "indefinite"  # p'Ap <= 0 was met: A is not positive definite
    SINGULAR = "singular"  # A is singular and b not in its range: the least squares solution of least norm
    BREAKDOWN = "breakdown"  # NaN or Inf, or a singular pivot, in the iteration
    UNVERIFIED = "unverified"  # pairs meet the tolerance, but copies of them, or others, may be missing
    DEGREE = "degree"  # the degree asked for does not reach the tolerance
    ROUNDING = "rounding"  # as good as float64 can: rounding alone leaves as much, of A x, or of f(A) v
    GUESSED = "guessed"  # a network's answer as it is, where a solver may start: no residual vouches for it
    PREPARED = "prepared"  # a method was set up; it solves nothing by itself
    REFUSED = "refused"  # no start was proposed: the guess is zero


@dataclass(frozen=True, repr=False)
class ReportBase:
    """What the reports of all answers share: a status, JSON both ways, one line for people, a table for notebooks.

    A report names in ``_line`` the fields of its line, with their words; the table has these and the reasons, costs
    and sources that a report may have.

    Attributes
    ----------
    status : `Status`; given as a string, it becomes a member
    converged : whether what was asked for is met, as checked afterwards

    Raises
    ------
    ValueError
        A status that is none.

    Examples
    --------
    >>> report = ReportBase("maxiter", False)
    >>> report, report.status == "maxiter", report.to_json()
    (<ReportBase maxiter>, True, '{"status": "maxiter", "converged": false}')
    >>> ReportBase.from_json(report.to_json()) == report
    True
    """

    _line: ClassVar[tuple[tuple[str, str], ...]] = ()
    _table: ClassVar[tuple[str, ...]] = ("interval", "fallback", "chosen_because", "weights", "seed", "seconds")

    status: Status
    converged: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))

    def to_json(self, *, indent: int | None = None) -> str:
        """A JSON object with the fields (non-finite numbers become null)."""
        return json.dumps(plain_json(dataclasses.asdict(self)), indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`; unknown fields are ignored.

        Raises
        ------
        FileFormatError
            Not the JSON of such a report.
        """
        try:
            return from_fields(cls, parsed_object(text))
        except (TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(
                f"this is not a {cls.__name__} in JSON ({one_line(error)}); write one with to_json()"
            ) from error

    def __repr__(self) -> str:
        values = [(words, getattr(self, name)) for name, words in self._line]
        said = [words.format(value) for words, value in values if value is not None]
        total = getattr(self, "seconds", {}).get("total")
        said += [] if total is None else [f"{total:.3g} s"]
        return f"<{type(self).__name__} {self.status}{': ' if said else ''}{', '.join(said)}>"

    def _repr_html_(self) -> str:
        """A table for notebooks, without the histories."""
        names = [name for name, _ in self._line] + [name for name in self._table if hasattr(self, name)]
        values = [(name, getattr(self, name)) for name in dict.fromkeys(names)]
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(_words(value))}</td></tr>"
            for name, value in values
            if value is not None and value != "" and value != {}
        )
        return f"<table><caption>{type(self).__name__}: {html.escape(str(self.status))}</caption>{rows}</table>"


def _words(value: Any) -> str:
    """A field's value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_words, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def from_fields(cls: type[Any], data: dict[str, Any]) -> Any:
    """A dataclass from its fields in JSON: unknown ones are left out, one of another type raises TypeError, ValueError.

    Examples
    --------
    >>> from_fields(ReportBase, {"status": "maxiter", "converged": False})
    <ReportBase maxiter>
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    return cls(**{name: _restored(hints[name], data[name]) for name in names if name in data})


def _restored(hint: Any, value: Any) -> Any:
    """A value from JSON as a field's annotation says: tuples, numbers that were not finite, nested dataclasses.

    What does not fit raises TypeError or ValueError.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not types.NoneType]
        if value is None and len(kinds) < len(inner):
            return None
        return _restored(kinds[0], value) if len(kinds) == 1 else value
    if hint is float:
        return math.nan if value is None else _checked(value, int, float)
    if origin in (tuple, list):
        items = _checked(value, list)
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1] * len(items)
        return origin(_restored(kind, item) for kind, item in zip(kinds, items, strict=True))
    if origin is dict:
        return {key: _restored(inner[1], item) for key, item in _checked(value, dict).items()}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_fields(hint, _checked(value, dict))
    return _checked(value, hint) if hint in (str, int, bool, dict, list) else value


def _checked(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise TypeError(f"{' or '.join(kind.__name__ for kind in kinds)} is needed, got {type(value).__name__}")
    return value


@dataclass(frozen=True)
class Phase:
    """One stretch of a solve with one method: what ran, what it cost, how it ended.

    A method that was declined before it could begin is a phase of no iterations.

    Attributes
    ----------
    method : as in `nnla.Report`
    scaling : what the method worked on top of
    precision : dtype inside a polynomial, None without one
    degree : degree of the polynomial, None without one
    probing : these iterations were the probe
    declined : could not begin, or was too dear to
    instead : runs in the place of the phase before, which failed
    iterations : of CG, or refinements of a direct solution
    products : with A, checks included; those of x0 and of the last check are the last phase's that is not a probe
    applies : applications of the polynomial
    reductions : global synchronisations
    setup, seconds : time of setting up, and of what followed
    status : how it ended
    reason : why it ran
    note : what is worth knowing of it
    failure : why it was given up, None where it was not
    weights, interval, predicted_iterations : of the polynomial, as in `nnla.Report`
    negative_pivots : of a factorisation, None where there is none or they could not be counted
    """

    method: str
    scaling: str = "none"
    precision: str | None = None
    degree: int | None = None
    probing: bool = False
    declined: bool = False
    instead: bool = False
    iterations: int = 0
    products: int = 0
    applies: int = 0
    reductions: int = 0
    setup: float = 0.0
    seconds: float = 0.0
    status: Status = Status.CONVERGED
    reason: str = ""
    note: str = ""
    failure: str | None = None
    weights: str | None = None
    interval: tuple[float, float] | None = None
    predicted_iterations: float | None = None
    negative_pivots: int | None = None


@dataclass(frozen=True, repr=False)
class Report(ReportBase):
    """What a solve did, what it cost, and whether to believe it.

    Attributes
    ----------
    status : see `Status`
    converged : the true residual, recomputed in float64 with the original operator for the x that is returned, met
        the tolerance, in all norms that it is judged by
    method : what ran in the end (after fallbacks), e.g. "autospec", "jacobi", "direct"
    n, nnz : size, stored entries (None for operators known only by products)
    rtol : the tolerance asked for
    relative_residual : true ||b - A x|| / ||b||, the largest over the right-hand sides
    equilibrated_residual : the larger of ||D^-1/2 (b - A x)|| / ||D^-1/2 b|| and ||D^-1 (b - A x)|| / ||D^-1 b||, D
        the diagonal of A, where heavy rows dominate b; ``converged`` covers it then, unless fewer than a tenth of the
        rows are light. Else None
    backward_error : ||b - A x|| / (||A|| ||x|| + ||b||), the largest over the right-hand sides: x solves a system
        exactly whose A and b differ by so much. 1e-16 is rounding, whatever the residual is
    iterations : outer iterations after the probe
    probe_iterations : plain CG steps that the probe doubled as
    degree : degree of P, None without a polynomial
    precision : dtype inside the polynomial preconditioner, None without one; CG itself is in float64
    scaling : "none", "jacobi" or "ic": what the method worked on top of
    products : products with A in all, probe and checks included; a block of k vectors counts k
    products_probe : those of the probe
    preconditioner_applies : applications of the polynomial
    reductions : global synchronisations for inner products (one fused group counts once)
    seconds : {"probe", "setup", "solve", "total"}
    fallback : None, or what was given up and why
    chosen_because : why this method ran
    weights : name of the learned weights used, or None
    seed : seed of anything random that went into the solve: of the probe behind a given
        `nnla.preconditioner`, of the right-hand side that the command line drew; None if nothing was
    residual_history : relative residual (recursive, largest over the right-hand sides) per iteration,
        probe iterations first
    interval : [a, b] of the polynomial, or None
    predicted_seconds : method -> seconds that "auto" expected when it last decided, what each may lead to included,
        or None
    predicted_spread : method -> factor of one standard deviation that these may be wrong by, or None
    regret : seconds of the solve by those of the cheapest way, as known at the end: what the one that ran took, and
        what the others are expected to; None where nothing was predicted
    predicted_iterations : outer iterations that the engine expected, or None
    warm_start : fields of the `nnla.guesses.guess.GuessReport`, or None where no guess was asked for
    negative_pivots : negative eigenvalues of A, where a factorisation has counted them; None where none was made, or
        where it could not
    null_space : dimension of what is known of the null space of A, 0 where A is not known to be singular
    inconsistent : norm of the part of b in that null space, which no x reaches, relative to that of b
    phases : what ran, stretch by stretch
    deterministic : no clock had a say in what ran
    versions : versions of the libraries
    """

    _line = (
        ("method", "{}"),
        ("iterations", "{} iterations"),
        ("products", "{} products"),
        ("relative_residual", "residual {:.2g}"),
    )

    status: Status
    converged: bool
    method: str
    n: int
    nnz: int | None
    rtol: float
    relative_residual: float
    iterations: int
    probe_iterations: int = 0
    degree: int | None = None
    precision: str | None = None
    scaling: str = "none"
    products: int = 0
    products_probe: int = 0
    preconditioner_applies: int = 0
    reductions: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    fallback: str | None = None
    chosen_because: str = ""
    weights: str | None = None
    seed: int | None = None
    residual_history: list[float] = field(default_factory=list[float])
    interval: tuple[float, float] | None = None
    predicted_seconds: dict[str, float] | None = None
    predicted_spread: dict[str, float] | None = None
    regret: float | None = None
    predicted_iterations: float | None = None
    warm_start: dict[str, Any] | None = None
    negative_pivots: int | None = None
    null_space: int = 0
    inconsistent: float = 0.0
    phases: tuple[Phase, ...] = ()
    equilibrated_residual: float | None = None
    backward_error: float | None = None
    deterministic: bool = False
    versions: dict[str, str] = field(default_factory=dict[str, str])


def library_versions() -> dict[str, str]:
    """Versions of what every answer depends on, for reports."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    import platform

    import numpy as np
    import scipy

    from nnla import __version__

    return {
        "nnla": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


def plain_json(value: Any) -> Any:
    """A value of lists, tables, numbers and NumPy's numbers and arrays as JSON can hold it: NaN and Inf become None."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's, which this file does not import: `nnla --help` is to be instant
        return plain_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
