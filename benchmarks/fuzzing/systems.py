"""Linear systems as a user may have them: a matrix in some form and unit, and a right-hand side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from fuzzing.forms import MATRIX_FORMS, TORCH_FORMS, VECTOR_FORMS, as_form, as_vector_form
from fuzzing.matrices import Matrix, draw_matrix, draw_size

__all__ = ["System", "draw_system"]


@dataclass
class System:
    """A x = b as the user has it and as it is.

    Attributes
    ----------
    exact : CSR matrix of the numbers that the user's A holds
    range : the exponents of A, b and x are so far from the ends of float64 that nothing need be lost
    consistent : b is in the range of A
    """

    matrix: Matrix
    exact: Any
    form: str
    A: Any
    side: str
    b: Any
    exact_b: np.ndarray
    range: bool
    consistent: bool
    exponent: float
    text: str


def draw_system(rng: np.random.Generator, torch: bool = False) -> System:
    """A matrix in some form and unit, and a right-hand side."""
    big = rng.random() < 0.03
    M = draw_matrix(rng, n=int(rng.integers(100, 1000)) if big else draw_size(rng))
    if big and M.family.startswith(("spectrum", "complete", "gram")):
        M = draw_matrix(rng, "sparse", 300)
    exponent = _exponent(rng)
    with np.errstate(all="ignore"):
        A = M.A * 10.0**exponent if exponent else M.A
    if not np.all(np.isfinite(A.data)) or (M.graded and exponent and abs(exponent) > 20):
        A, exponent = M.A, 0.0
    M = M if A is M.A else Matrix(M.family, A, M.kind, M.null, M.graded)
    form = str(rng.choice(TORCH_FORMS if torch else MATRIX_FORMS)) if rng.random() < 0.8 or torch else "csr"
    if form == "dok" and M.n > 100:
        form = "csr"
    given, exact = as_form(A, form, rng), A
    if form in ("csr", "dense") and rng.random() < 0.2:
        given, exact, form = _other_type(A, form, M, rng)
    M = M if exact is A else Matrix(M.family, exact, M.kind, M.null, M.graded)
    side, b, consistent, unit = _draw_side(M, exact, exponent, rng)
    vector_form = str(rng.choice(VECTOR_FORMS)) if rng.random() < 0.25 else "plain"
    b_given: Any = as_vector_form(b, vector_form)
    if torch:
        import torch as library

        b_given = library.from_numpy(np.ascontiguousarray(b, dtype=np.float64))
    low, high = _magnitudes(exact, b)
    in_range = low > -280 and high < 280 and abs(exponent - unit) < 250
    text = f"{M.family} ({M.kind}) n={M.n} A:{form}*1e{exponent:.0f} b:{side}/{vector_form}*1e{unit:.0f}"
    return System(M, exact, form, given, side, b_given, b, in_range, consistent, exponent, text)


def _exponent(rng: np.random.Generator) -> float:
    u = rng.random()
    reach = 0.0 if u < 0.7 else 12.0 if u < 0.85 else 250.0
    return float(np.round(rng.uniform(-reach, reach)))


def _other_type(A: Any, form: str, M: Matrix, rng: np.random.Generator) -> tuple[Any, Any, str]:
    """Of float32 or integers where the class of the matrix stays the same; else as it is."""
    given = A if form == "csr" else A.toarray()
    if np.all(A.data == np.round(A.data)) and abs(A.data).max(initial=0) < 2**20:
        kinds = ["i4", "i8", "i2"] if abs(A.data).max(initial=0) < 2**14 else ["i8"]
        return given.astype(str(rng.choice(kinds))), A, f"{form} int"
    if M.kind == "spd" and not M.graded and abs(A).max() < 1e30 and abs(A.data).min() > 1e-30 and M.condition < 1e4:
        with np.errstate(all="ignore"):
            given = given.astype(np.float32)
        return given, sp.csr_array(given).astype(np.float64), f"{form} float32"
    return given, A, form


def _draw_side(M: Matrix, A: Any, exponent: float, rng: np.random.Generator) -> tuple[str, np.ndarray, bool, float]:
    n = A.shape[0]
    side = str(rng.choice(["random", "range", "block", "unit", "ones", "zero", "column", "float32", "smooth"]))
    b = rng.standard_normal(n)
    if side == "block":
        k = int(rng.integers(1, 5))
        b = rng.standard_normal((n, k)) * (10.0 ** rng.uniform(-8, 8, k) * (rng.random(k) > 0.15))
    elif side == "unit":
        b = np.zeros(n)
        b[int(rng.integers(n))] = 1.0
    elif side == "ones":
        b = np.ones(n)
    elif side == "zero":
        b = np.zeros(n)
    elif side == "smooth":
        b = np.cos(np.pi * (np.arange(n) + 0.5) * int(rng.integers(0, n)) / n)
    elif side == "column":
        b = b[:, None]
    consistent = M.kind != "semi"
    if side == "range" or (M.kind == "semi" and rng.random() < 0.75):
        d = A.data
        unit = float(abs(d).max(initial=0.0)) or 1.0
        if M.null is not None and side != "range":
            size = float(np.linalg.norm(b))
            b = b - M.null @ (M.null.T @ b)
            b = b - M.null @ (M.null.T @ b)
            if np.linalg.norm(b) < 1e-8 * size:  # nothing was left but rounding, which is not in the range
                b = np.zeros_like(b)
            if M.family in ("isolated", "laplacian"):
                b[np.diff(A.indptr) == 0] = 0.0
        elif side == "range" or M.null is None:
            b = (A / unit) @ b
        consistent = True
    if M.kind == "semi" and not np.any(b):
        consistent = True
    unit = _exponent(rng) if rng.random() < 0.5 else 0.0
    with np.errstate(all="ignore"):
        b = b * 10.0**unit
    if side == "float32" and abs(unit) < 30:
        b = b.astype(np.float32)
    return side, b, consistent, unit


def _magnitudes(A: Any, b: np.ndarray) -> tuple[float, float]:
    """log10 of the smallest and largest magnitudes that occur."""
    values = np.abs(np.concatenate([A.data.ravel(), np.ravel(b).astype(float)]))
    values = values[values > 0]
    return (0.0, 0.0) if values.size == 0 else (float(np.log10(values.min())), float(np.log10(values.max())))
