"""Options of a solve, drawn at random, and whether they leave any excuse."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from fuzzing.forms import TORCH_FORMS
from fuzzing.residuals import columns, norms
from fuzzing.systems import System
from nnla.polynomials.design import POLYNOMIAL_METHODS

__all__ = ["draw_options", "draw_start", "easy", "make_M", "refusals"]

_PARAMETERS = inspect.signature(nnla.solve).parameters
_NEEDS_ENTRIES = ("ic", "amg", "direct")
_NOT_SPARSE = ("operator", "duck", "dense", "fortran", "strided", "list", "dense float32", "dense int", *TORCH_FORMS)
_PRECONDITIONERS = ("operator", "callable", "matrix", "exact", "made", "negative", "nonlinear", "spd")
_SURE = ("auto", "cg", "jacobi")  # what solves every easy system, the consistent singular ones included


def draw_options(rng: np.random.Generator, S: System, method: str) -> dict[str, Any]:
    """Options that this method can use, most of them left alone most of the time."""
    n = S.matrix.n
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["rtol"] = float(rng.choice([1e-2, 1e-4, 1e-6, 1e-10, 1e-12, 1e-14, 0.0]))
    if rng.random() < 0.08:
        options["atol"] = float(10.0 ** rng.uniform(-10, 0)) * float(norms(columns(S.exact_b, n)).max())
        if not np.isfinite(options["atol"]):
            options["atol"] = 1e-8
    if rng.random() < 0.15:
        options["maxiter"] = int(rng.integers(0, 40))
    polynomial = method in POLYNOMIAL_METHODS
    if polynomial or method == "auto":
        if rng.random() < 0.5:
            options["degree"] = int(rng.integers(1, 33)) if rng.random() < 0.9 else int(rng.integers(33, 200))
        if rng.random() < 0.6:
            options["probe_steps"] = int(rng.integers(1, 20))
        if rng.random() < 0.2:
            options["dtype"] = rng.choice([np.float32, np.float64])
    if polynomial and rng.random() < 0.5:
        names = ["none", "jacobi", "ic"] if S.form not in ("operator", "duck", *TORCH_FORMS) else ["none"]
        options["scaling"] = str(rng.choice(names))
    if method in ("auto", "cg", "fcg") and rng.random() < (0.15 if method == "auto" else 0.4):
        for key in ("degree", "probe_steps", "dtype"):
            options.pop(key, None)
        options["M"] = str(rng.choice(_PRECONDITIONERS))
    if rng.random() < 0.05:
        options["timeout"] = float(10.0 ** rng.uniform(-6, 1))
    if rng.random() < 0.3 and method == "auto":
        options["deterministic"] = True
    if rng.random() < 0.2 and S.matrix.null is not None:
        options["nullspace"] = S.matrix.null
    return {key: value for key, value in options.items() if key in _PARAMETERS}


def draw_start(rng: np.random.Generator, S: System) -> tuple[str, Any]:
    """An initial guess, good, bad or absurd."""
    shape = S.exact_b.shape
    kind = str(rng.choice(["random", "near", "zero", "huge", "small", "null"]))
    x0 = rng.standard_normal(shape)
    if kind == "near" and S.matrix.n <= 100 and S.range:
        unit = float(abs(S.exact.data).max(initial=0.0)) or 1.0
        with np.errstate(all="ignore"):
            x0 = np.linalg.lstsq(S.exact.toarray() / unit, S.exact_b.astype(float), rcond=None)[0] / unit
            x0 = x0 * (1 + 10.0 ** rng.uniform(-12, 0) * rng.standard_normal(shape))
        x0 = np.where(np.isfinite(x0), x0, 0.0)
    elif kind == "zero":
        x0 = np.zeros(shape)
    elif kind == "huge":
        x0 = x0 * 10.0 ** rng.uniform(50, 300)
    elif kind == "small":
        x0 = x0 * 10.0 ** -rng.uniform(50, 300)
    elif kind == "null" and S.matrix.null is not None:
        x0 = (S.matrix.null @ rng.standard_normal(S.matrix.null.shape[1])).reshape(-1, *[1] * (len(shape) - 1)) + 0 * x0
    return kind, x0


def make_M(name: str, S: System, rng: np.random.Generator) -> Any:
    """A preconditioner of a kind: nothing, where the matrix does not offer it."""
    n = S.matrix.n
    d = S.exact.diagonal()
    unit = float(abs(d).max()) or 1.0
    inverse = 1.0 / np.where(d > 0, d, unit)
    if name == "operator":
        return LinearOperator((n, n), matvec=lambda r: inverse * np.ravel(r), dtype=np.float64)
    if name == "callable":
        return lambda r: (inverse * r.T).T
    if name == "matrix":
        return sp.csr_array(sp.diags_array(inverse))
    if name == "exact" and S.matrix.kind == "spd" and S.matrix.n <= 60 and S.matrix.condition < 1e6 and S.range:
        s = inverse**0.5
        E = np.linalg.inv(S.exact.toarray() * s * s[:, None]) * s * s[:, None]
        return 0.5 * (E + E.T)
    if name == "made" and S.matrix.kind == "spd" and S.range and S.form not in ("operator", "duck"):
        return name  # by the call itself: it is a call of the library
    if name == "negative":
        return sp.csr_array(-sp.diags_array(inverse))
    if name == "nonlinear":
        return lambda r: inverse_of(r, inverse)
    B = rng.standard_normal((n, n)) / np.sqrt(n)
    return (B @ B.T + np.eye(n)) / unit


def inverse_of(r: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    size = float(np.abs(r).max()) or 1.0
    return ((inverse * r.T).T) * (1.0 + 0.5 * np.abs(r) / size)


def easy(S: System, method: str, options: dict[str, Any]) -> bool:
    """Whether anything but convergence would be a fault."""
    M = S.matrix
    if not S.range or not S.consistent or M.kind == "indefinite" or "maxiter" in options or "timeout" in options:
        return False
    if options.get("rtol", 1e-8) < 1e-10 or options.get("M") in ("negative", "nonlinear", "spd", "made"):
        return False
    if M.kind == "semi":
        return method in _SURE and M.null is not None and M.family != "gram" and "M" not in options
    if M.graded:
        return M.family == "graded" and method in ("auto", "jacobi", "direct") and M.condition < 1e6
    if method == "cg" and M.condition > 1e4:
        return False
    polynomial = method in POLYNOMIAL_METHODS
    if polynomial and (options.get("probe_steps", 50) < 10 or options.get("degree", 11) > 20):
        return False  # a polynomial made for what little the probe has seen
    limit = 1e4 if polynomial or "M" in options else 1e10 if method in ("auto", "direct") else 1e6
    return M.n <= 60 and M.condition < limit and np.linalg.cond(M.dense / (abs(M.dense).max() or 1.0)) < limit


def refusals(S: System, method: str, options: dict[str, Any], must: bool) -> tuple[str, ...] | None:
    """The errors that are right for a system."""
    allowed: list[str] = []
    sparse_only = method in _NEEDS_ENTRIES or options.get("scaling") == "ic" or options.get("dtype") is not None
    if S.form in _NOT_SPARSE and (sparse_only or "M" in options):
        allowed += ["OptionError", "DTypeError"]
    if method == "autospec-paper" and options.get("degree", 11) != 11:
        allowed.append("OptionError")
    if method == "jacobi" and S.form in ("operator", "duck"):
        allowed.append("OptionError")
    if S.matrix.kind != "spd" and not (must and np.any(S.exact.data)):
        allowed.append("NotPositiveDefiniteError")
    if not S.range or abs(S.exponent) > 140 or (options.get("dtype") is np.float32 and abs(S.exponent) > 30):
        return None  # an error that names the range is right
    if options.get("M") is not None and not must:
        allowed += ["OptionError", "NotPositiveDefiniteError", "NotSymmetricError", "NonFiniteError"]
    if S.matrix.graded:
        allowed.append("NonFiniteError")
    if "x0" in options and not np.all(np.abs(np.asarray(options["x0"], dtype=float)) < 1e150):
        allowed.append("NonFiniteError")
    return tuple(allowed)
