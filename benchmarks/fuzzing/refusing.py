"""Bad input to every entry: a typed error of one line, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

import nnla
from fuzzing.cases import Case, UsersError, wrong
from fuzzing.forms import arrays_of, as_form
from fuzzing.matrices import draw_matrix

__all__ = ["refused_case"]


@dataclass
class _Bad:
    """Arguments with one fault, and the errors that name it."""

    A: Any
    b: Any
    wanted: tuple[str, ...] | None
    options: dict[str, Any] = field(default_factory=dict)


def refused_case(seed: int) -> Case:
    """One fault in an otherwise good call."""
    rng = np.random.default_rng([seed, 4])
    M = draw_matrix(rng, str(rng.choice(["sparse", "grid", "diagonal", "complete graph"])))
    A: Any = M.A * (1.0 if rng.random() < 0.7 else 10.0 ** rng.uniform(-12, 12))
    b = rng.standard_normal(M.n)
    what = str(rng.choice(list(_FAULTS)))
    bad = _FAULTS[what](A, b, rng)
    A, form = bad.A, "as it is"
    if rng.random() < 0.5 and sp.issparse(A) and A.dtype.kind == "f" and what not in ("hostile", "rectangular"):
        form = str(rng.choice(["csr", "csc", "coo", "dense", "fortran", "operator"]))
        A = as_form(sp.csr_array(A), form, rng)
    of_matrix = what in ("nan", "inf", "complex", "asymmetric", "rectangular", "hostile")
    entry = str(rng.choice(["solve", "prepare", "eigsh", "funm", "preconditioner"])) if of_matrix else "solve"
    calls: dict[str, Callable[[], Any]] = {
        "solve": lambda: nnla.solve(A, bad.b, **bad.options),
        "prepare": lambda: nnla.prepare(A),
        "eigsh": lambda: nnla.eigsh(A, 1, which="LA"),
        "funm": lambda: nnla.funm_multiply(A, np.ones(np.shape(A)[-1]), "exp"),
        "preconditioner": lambda: nnla.preconditioner(A),
    }
    text = f"refuse {what} n={M.n} {form} {entry} {_short(bad.options)}"
    return Case(text, calls[entry], lambda a, w: wrong("accepted"), arrays_of(A, bad.b), bad.wanted, True)


def _short(options: dict[str, Any]) -> str:
    return " ".join(repr(options).split())[:120]


def _spoiled_entry(value: Callable[[np.random.Generator], float]) -> Callable[..., _Bad]:
    def spoil(A: Any, b: Any, rng: np.random.Generator) -> _Bad:
        A = A.copy()
        A.data[int(rng.integers(A.nnz))] = value(rng)
        return _Bad(A, b, ("NonFiniteError", "NotSymmetricError"))

    return spoil


def _asymmetric(A: Any, b: Any, rng: np.random.Generator) -> _Bad:
    n, size = A.shape[0], float(abs(A).max())
    D = np.zeros((n + 1, n + 1))
    D[:n, :n] = A.toarray()
    D[n, n] = D[int(rng.integers(n)), n] = size
    return _Bad(sp.csr_array(D), np.ones(n + 1), ("NotSymmetricError",))


def _hostile(A: Any, b: Any, rng: np.random.Generator) -> _Bad:
    """Indices that point outside, pointers that run backwards, arrays of lengths that do not fit."""
    layout = str(rng.choice(["csr", "csc", "coo"]))
    B = A.asformat(layout)
    if rng.random() < 0.3:
        B = B.astype(np.float32)
    where = int(rng.choice([-1, -(10**6), A.shape[0], 10**8]))
    if layout == "coo":
        B.coords[int(rng.integers(2))][int(rng.integers(B.nnz))] = where
    elif rng.random() < 0.6:
        B.indices[int(rng.integers(B.nnz))] = where
    else:
        B.indptr[int(rng.integers(1, B.indptr.size))] = int(rng.choice([-1, -(10**6), 10**7]))
    return _Bad(B, b, None)


def _b_nan(A: Any, b: Any, rng: np.random.Generator) -> _Bad:
    b = b.copy()
    b[int(rng.integers(b.size))] = rng.choice([np.nan, np.inf])
    return _Bad(A, b, ("NonFiniteError",))


def _raises(x: Any) -> Any:
    raise UsersError("an error of the user's own, which goes through as it is")


_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("rtol", -1.0), ("rtol", np.nan), ("rtol", "small"), ("rtol", 1j), ("rtol", None), ("atol", np.inf),
    ("atol", [1.0]), ("maxiter", -1), ("maxiter", 1.5), ("maxiter", True), ("maxiter", 10.0**30), ("method", "magic"),
    ("method", None), ("x0", "zero"), ("x0", [None]), ("callback", 3), ("callback", "print"),
    ("method", 3), ("degree", 0), ("degree", 10**6), ("degree", 2.5), ("degree", "11"), ("scaling", "magic"),
    ("scaling", 3), ("probe_steps", 0), ("probe_steps", "many"), ("dtype", "int8"), ("dtype", "nonsense"), ("dtype", 3),
    ("engine", "nothing"), ("engine", 3), ("M", 3), ("M", "ilu"), ("M", np.ones(3)), ("M", np.ones((2, 3))),
    ("warm_start", "nothing"), ("warm_start", 3),
)  # fmt: skip


def _option(A: Any, b: Any, rng: np.random.Generator) -> _Bad:
    name, value = _OPTIONS[int(rng.integers(len(_OPTIONS)))]
    options = {name: value}
    if name in ("scaling", "degree", "probe_steps", "dtype", "engine"):
        options["method"] = "autospec"
    n = A.shape[0]
    A = nnla.problems.poisson1d(n)
    wanted = ("OptionError", "DTypeError", "ShapeError", "WeightsError")
    return _Bad(A, b, wanted, options)


_FAULTS: dict[str, Callable[..., _Bad]] = {
    "nan": _spoiled_entry(lambda rng: np.nan),
    "inf": _spoiled_entry(lambda rng: float(rng.choice([np.inf, -np.inf]))),
    "complex": lambda A, b, rng: _Bad(A * (1 + 1j), b, ("DTypeError",)),
    "asymmetric": _asymmetric,
    "rectangular": lambda A, b, rng: _Bad(sp.csr_array(np.ones((b.size, b.size + 1))), b, ("ShapeError",)),
    "hostile": _hostile,
    "b nan": _b_nan,
    "b length": lambda A, b, rng: _Bad(A, np.append(b, 1.0), ("ShapeError",)),
    "b complex": lambda A, b, rng: _Bad(A, b * 1j, ("DTypeError",)),
    "b strings": lambda A, b, rng: _Bad(A, ["x"] * b.size, ("DTypeError",)),
    "b empty": lambda A, b, rng: _Bad(A, np.zeros((b.size, 0)), ("ShapeError",)),
    "b of three axes": lambda A, b, rng: _Bad(A, np.zeros((b.size, 1, 1)), ("ShapeError",)),
    "b none": lambda A, b, rng: _Bad(A, None, ("DTypeError", "ShapeError")),
    "x0 nan": lambda A, b, rng: _Bad(A, b, ("NonFiniteError",), {"x0": np.full(b.size, np.nan)}),
    "x0 shape": lambda A, b, rng: _Bad(A, b, ("ShapeError",), {"x0": np.ones(b.size + 1)}),
    "option": _option,
    "callback raises": lambda A, b, rng: _Bad(A, b, (), {"callback": _raises, "method": "cg", "rtol": 1e-14}),
}
