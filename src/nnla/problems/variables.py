"""Named variables of a file, known by shape before they are read, and which of them is the matrix that is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nnla.errors import DTypeError, FileFormatError

__all__ = ["COMPLEX", "Variable", "pick_matrix", "pick_vector"]

COMPLEX = "complex numbers"


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Attributes
    ----------
    name : str
    what : of what kind, for messages: "numbers", `COMPLEX`, "text", "a cell array", "a struct", ...
    shape : of numbers, None for what holds none that can be used
    load : reads the numbers: an array or a sparse one
    fields : of a scalar struct, in order
    """

    name: str
    what: str = "numbers"
    shape: tuple[int, ...] | None = None
    load: Callable[[], Any] | None = None
    fields: Callable[[], list[Variable]] | None = None


def pick_matrix(variables: list[Variable]) -> Any:
    """SuiteSparse's ``Problem.A``, or the only square matrix; one of 1 x 1 if there is no other.

    Raises
    ------
    FileFormatError, DTypeError
        None, complex ones only, or several.

    Examples
    --------
    >>> pick_matrix([Variable("A", shape=(2, 2), load=lambda: "A"), Variable("s", shape=(1, 1), load=lambda: "s")])
    'A'
    """
    found = _of_problem(variables, "A")
    if found is not None:
        return found
    square = [v for v in variables if v.shape is not None and len(v.shape) == 2 and v.shape[0] == v.shape[1] > 0]
    return _only([v for v in square if v.shape != (1, 1)] or square, variables, "square numeric matrix")


def pick_vector(variables: list[Variable]) -> Any:
    """SuiteSparse's ``Problem.b``, or the only array; one that is not square if there are others.

    Raises
    ------
    FileFormatError, DTypeError
        None, complex ones only, or several.
    """
    found = _of_problem(variables, "b")
    if found is not None:
        return found
    numeric = [v for v in variables if v.shape is not None and len(v.shape) == 2 and 0 not in v.shape]
    if len(numeric) > 1:
        numeric = [v for v in numeric if v.shape and v.shape[0] != v.shape[1]] or numeric
    return _only(numeric, variables, "numeric array")


def _of_problem(variables: Iterable[Variable], field: str) -> Any:
    for problem in variables:
        if problem.name == "Problem" and problem.fields is not None:
            for variable in problem.fields():
                if variable.name == field and variable.load is not None:
                    return variable.load()
                if variable.name == field and variable.what == COMPLEX:
                    raise DTypeError(f"holds {COMPLEX}; nnla computes with real matrices only")
    return None


def _only(candidates: list[Variable], variables: list[Variable], what: str) -> Any:
    if len(candidates) > 1:
        names = ", ".join(sorted(v.name for v in candidates)[:8])
        raise FileFormatError(f"holds more than one {what} ({names}); save the one you mean alone")
    if candidates:
        assert candidates[0].load is not None  # it has a shape
        return candidates[0].load()
    if any(v.what == COMPLEX for v in variables):
        raise DTypeError(f"holds {COMPLEX}; nnla computes with real matrices only")
    there = ", ".join(f"{v.name}: {v.what if v.shape is None else v.shape}" for v in variables[:4])
    raise FileFormatError(
        f"holds no {what}{f' ({there})' if there else ''}; save the matrix as a variable of its own, "
        "the fields of a struct s with save(..., '-struct', 's')"
    )
