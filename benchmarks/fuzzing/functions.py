"""Cases of `nnla.funm_multiply`, `nnla.matrix_function` and `nnla.matfun`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import nnla
from fuzzing.cases import Case, UsersError, right, wrong
from fuzzing.forms import MATRIX_FORMS, VECTOR_FORMS, arrays_of, as_form, as_vector_form
from fuzzing.matrices import Matrix, draw_matrix, draw_size

__all__ = ["funm_case", "matfun_case", "matrix_function_case"]

_EPS = float(np.finfo(float).eps)
_NAMED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inv_sqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "inv": lambda x: 1 / x,
    "log": np.log,
    "sign": np.sign,
    "exp": np.exp,
}
_DEFINITE = ("inv_sqrt", "inv", "log")
_METHODS = ("auto", "lanczos", "chebyshev", "direct", "autospec", "neumann")


def _callables(
    M: Matrix, rng: np.random.Generator
) -> tuple[str, Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]:
    """(name, what the user passes, the same on arrays): smooth, steep, vanishing, stepping, constant, scalar-only."""
    w = M.eigen[0]
    size = M.norm or 1.0
    middle = float(0.5 * (w[0] + w[-1]))
    t = float(10.0 ** rng.uniform(-2, 5)) / size
    c = float(rng.choice([1.0, 1e-200, 1e-100, 1e100]))
    table: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = {
        f"exp(-{t:.1e} x)": (lambda x: np.exp(-t * x), lambda x: np.exp(-t * x)),
        "window": (
            lambda x: np.exp(-(((x - middle) * 30 / size) ** 2)),
            lambda x: np.exp(-(((x - middle) * 30 / size) ** 2)),
        ),
        "fermi": (
            lambda x: 0.5 * (1 - np.tanh(200 * (x - middle) / size)),
            lambda x: 0.5 * (1 - np.tanh(200 * (x - middle) / size)),
        ),
        "constant": (lambda x: 3.0 + 0.0 * x, lambda x: 3.0 + 0.0 * x),
        "zero": (lambda x: 0.0 * x, lambda x: 0.0 * x),
        "square": (lambda x: (x / size) ** 2, lambda x: (x / size) ** 2),
        f"{c:g} cos": (lambda x: c * np.cos(x / size), lambda x: c * np.cos(x / size)),
        "math.atan": (lambda x: math.atan(x / size), lambda x: np.arctan(x / size)),
        "scalar": (lambda x: 2.0, lambda x: np.full_like(x, 2.0)),
        "int": (lambda x: np.ones(np.shape(x), int), np.ones_like),
        "fraction": (lambda x: 1 / (2 * size + x), lambda x: 1 / (2 * size + x)),
    }
    name = str(rng.choice(list(table)))
    return name, *table[name]


def _raises(x: Any) -> Any:
    raise UsersError("an error of the user's own, which goes through as it is")


def _broken(rng: np.random.Generator) -> tuple[str, Callable[[Any], Any]]:
    table: dict[str, Callable[[Any], Any]] = {
        "too long": lambda x: np.ones(np.size(x) + 1),
        "complex": lambda x: 1j * x,
        "nan": lambda x: np.nan * x,
        "none": lambda x: None,
        "string": lambda x: "a",
        "pair": lambda x: (x, x),
        "raises": _raises,
    }
    name = str(rng.choice(list(table)))
    return name, table[name]


def _draw_vector(M: Matrix, rng: np.random.Generator) -> tuple[str, np.ndarray, float]:
    n = M.n
    kind = str(rng.choice(["random", "block", "unit", "ones", "zero", "eigenvectors", "eigenvectors", "wide"]))
    v = rng.standard_normal(n)
    if kind == "block":
        v = rng.standard_normal((n, int(rng.integers(1, 5)))) * 10.0 ** rng.uniform(-3, 3)
        if rng.random() < 0.2:
            v[:, 0] = 0.0
    elif kind == "wide":
        v = rng.standard_normal((n, n + 2))
    elif kind == "unit":
        v = np.eye(n)[int(rng.integers(n))]
    elif kind == "ones":
        v = np.ones(n)
    elif kind == "zero":
        v = np.zeros(n)
    elif kind == "eigenvectors":
        few = rng.choice(n, min(n, int(rng.integers(1, 4))), replace=False)
        v = M.eigen[1][:, few] @ rng.standard_normal(few.size)
    exponent = 0.0 if rng.random() < 0.75 else float(np.round(rng.uniform(-280, 280)))
    return kind, v * 10.0**exponent, exponent


def _reference(
    M: Matrix, f: Callable[[np.ndarray], np.ndarray], V: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f(A) V in units of each column (column sizes too), and the relative error that float64 leaves to any method."""
    w, Q = M.eigen
    W = V.reshape(M.n, -1)
    sizes = np.abs(W).max(axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    inner = Q.T @ (W / sizes)
    with np.errstate(all="ignore"):
        image = np.asarray(f(w), dtype=float)
        top = float(np.abs(image).max()) or 1.0
        step = 16 * _EPS * M.norm * (1 + M.n**0.5)
        change = np.fmax(np.abs(f(w + step) - image), np.abs(f(w - step) - image))
        change = np.where(np.isfinite(change), change, np.abs(image))
        exact = Q @ ((image / top)[:, None] * inner)
        # what rounding of the vectors does: eps times the largest |f| that v sees, and the change of f
        weight = np.linalg.norm((change / top)[:, None] * inner, axis=0)
        weight += 64 * _EPS * np.linalg.norm(inner, axis=0) * float(np.abs(image / top).max())
        loss = weight / np.linalg.norm(exact, axis=0)
    return exact, sizes * top, np.where(np.isfinite(loss), loss, np.inf)


def _compare(
    y: Any, exact: np.ndarray, sizes: np.ndarray, loss: np.ndarray, rtol: float, report: Any, must: bool
) -> tuple[str, str]:
    Y = np.reshape(np.asarray(y, dtype=np.longdouble), exact.shape)
    if report is not None and report.converged != (report.status == "converged"):
        return wrong(f"converged={report.converged}, status={report.status}")
    converged = report is None or report.converged
    if not np.all(np.isfinite(Y)):
        return wrong(f"not finite, converged={converged}") if converged else ("stated", f"not finite: {report.status}")
    size = np.linalg.norm(exact, axis=0)
    lost = 1e-290 / np.where(sizes > 0, sizes, 1.0)  # where the image itself is subnormal
    difference = np.sqrt((((Y / sizes.astype(np.longdouble)) - exact) ** 2).sum(axis=0)).astype(float)
    bound = np.where(np.isfinite(loss), (3 * rtol + 4 * np.where(np.isfinite(loss), loss, 0.0)) * size + lost, np.inf)
    bad = difference > np.where(np.isfinite(bound), bound, np.inf)
    if converged and np.any(bad):
        at = int(np.argmax(difference / np.where(bound > 0, bound, 1e-300)))
        said = (
            ""
            if report is None
            else f" estimate {report.error_estimate:.1e}, {report.method}, {report.steps} steps, degree {report.degree}"
        )
        return wrong(
            f"error {difference[at] / (size[at] or 1):.1e} and converged (float64 leaves {loss[at]:.1e}){said}"
        )
    if not converged and must and np.all(4 * loss < rtol):
        return "missed", f"easy, and {report.status}, estimate {report.error_estimate:.1e}, method {report.method}"
    return right() if converged else ("stated", str(report.status))


def _draw(seed: int, stream: int) -> tuple[np.random.Generator, Matrix, str, Any, float]:
    rng = np.random.default_rng([seed, stream])
    n = int(rng.integers(130, 520)) if rng.random() < 0.03 else draw_size(rng)
    M = draw_matrix(rng, n=n)
    if M.family in ("graded", "penalty"):
        M = draw_matrix(rng, "spectrum", min(n, 60))
    exponent = 0.0 if rng.random() < 0.75 else float(np.round(rng.uniform(-120, 120)))
    if exponent:
        M = Matrix(M.family, M.A * 10.0**exponent, M.kind)
    form = str(rng.choice(MATRIX_FORMS)) if rng.random() < 0.5 else "csr"
    form = "csr" if form == "dok" and M.n > 100 else form
    return rng, M, form, as_form(M.A, form, rng), exponent


def _draw_function(M: Matrix, rng: np.random.Generator) -> tuple[str, Any, Callable[[np.ndarray], np.ndarray], str]:
    """(name, what to pass, on arrays, "good" | "domain" (not defined for this A) | "broken")."""
    u = rng.random()
    if u < 0.6:
        name = str(rng.choice(list(_NAMED)))
        w, norm = M.eigen[0], M.norm
        low = float(w[0])
        doubtful = 1e4 * _EPS * norm
        state = "good"
        if name in _DEFINITE and low <= doubtful:
            state = "domain"
        if name == "sqrt" and low < -doubtful:
            state = "domain"
        if name == "exp" and float(w[-1]) > 709.0:
            state = "domain"
        return name, name, _NAMED[name], state
    if u < 0.96:
        name, f, on_arrays = _callables(M, rng)
        with np.errstate(all="ignore"):
            image = np.asarray(on_arrays(M.eigen[0]), dtype=float)
        return name, f, on_arrays, "good" if np.all(np.abs(image) < 1e300) else "domain"
    name, f = _broken(rng)
    return f"broken {name}", f, np.ones_like, "broken"


def funm_case(seed: int) -> Case:
    """f(A) V by every method."""
    rng, M, form, A, exponent = _draw(seed, 21)
    name, f, on_arrays, state = _draw_function(M, rng)
    kind, V, unit = _draw_vector(M, rng)
    vector_form = str(rng.choice(VECTOR_FORMS)) if rng.random() < 0.2 else "plain"
    method = str(rng.choice(_METHODS, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03]))
    options: dict[str, Any] = {"method": method}
    if rng.random() < 0.25:
        options["rtol"] = float(rng.choice([1e-3, 1e-8, 1e-10, 1e-12]))
    if method in ("lanczos", "chebyshev", "autospec", "neumann") and rng.random() < 0.3:
        options["degree"] = int(rng.integers(1, 60))
    if method in ("chebyshev", "autospec", "neumann") and rng.random() < 0.5:
        options["probe_steps"] = int(rng.integers(1, 60))
    if method in ("auto", "lanczos") and rng.random() < 0.1:
        options["maxiter"] = int(rng.integers(1, 40))
    if method == "lanczos" and rng.random() < 0.3:
        options["two_pass"] = bool(rng.random() < 0.5)
    given = as_vector_form(V, vector_form)
    shown = f"A:{form}*1e{exponent:.0f} V:{kind}/{vector_form}*1e{unit:.0f}"
    text = f"funm_multiply {M.family} ({M.kind}) n={M.n} {shown} f={name} {options}"
    must = (
        state == "good"
        and method in ("auto", "direct")
        and "maxiter" not in options
        and name != "sign"
        and abs(unit) < 250
    )

    def judge(y: Any, warned: bool) -> tuple[str, str]:
        if tuple(np.shape(y)) != V.shape:
            return wrong(f"shape {np.shape(y)}, V {V.shape}")
        if state == "broken":
            return wrong("a function that is none was accepted") if np.any(V) else right()
        if state == "domain":
            with np.errstate(all="ignore"):
                image = on_arrays(M.eigen[0])
            outside = not np.all(np.isfinite(image)) or M.eigen[0][0] < -1e4 * _EPS * M.norm
            if y.report.converged and outside and not _blind(M, V) and name in _NAMED:
                return wrong("f is not defined on the spectrum")
            return right() if y.report.converged else ("stated", str(y.report.status))
        exact, sizes, loss = _reference(M, on_arrays, V)
        return _compare(y, exact, sizes, loss, options.get("rtol", 1e-6), y.report, must)

    refusals: tuple[str, ...] | None = ()
    if state == "domain":
        refusals = ("NotPositiveDefiniteError", "NonFiniteError", "OptionError")
    elif state == "broken":
        refusals = None
    elif method == "neumann":
        refusals = ("OptionError", "NotPositiveDefiniteError")
    if abs(unit) + abs(exponent) > 140 or "1e-200" in name:
        refusals = None
    if method == "direct" and form in ("operator", "duck") and refusals is not None:
        refusals += ("OptionError",)
    return Case(text, lambda: nnla.funm_multiply(A, given, f, **options), judge, arrays_of(A, given), refusals)


def _blind(M: Matrix, V: np.ndarray) -> bool:
    """Whether V has no part where f is not defined, so that no Krylov method need see it."""
    W = V.reshape(M.n, -1)
    inner = M.eigen[1].T @ (W / (np.abs(W).max() or 1.0))
    outside = M.eigen[0] < 1e4 * _EPS * M.norm
    return bool(np.abs(inner[outside]).max(initial=0.0) < 1e-8 * np.abs(inner).max(initial=1.0)) or not np.any(V)


def matrix_function_case(seed: int) -> Case:
    """P(A) bound to A: what its report expects is what applying it does."""
    rng, M, form, A, exponent = _draw(seed, 22)
    name, f, on_arrays, state = _draw_function(M, rng)
    method = str(rng.choice(["chebyshev", "autospec", "neumann"], p=[0.7, 0.2, 0.1]))
    options: dict[str, Any] = {"method": method}
    if rng.random() < 0.4:
        options["degree"] = int(rng.integers(1, 60))
    if rng.random() < 0.4:
        options["probe_steps"] = int(rng.integers(1, 60))
    v = rng.standard_normal(M.n)
    text = f"matrix_function {M.family} ({M.kind}) n={M.n} A:{form}*1e{exponent:.0f} f={name} {options}"

    def call() -> Any:
        P = nnla.matrix_function(A, f, **options)
        return P(v), P @ v, P.report, nnla.Recurrence.from_json(P.recurrence.to_json()) == P.recurrence

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        y, z, report, same = answer
        if not same:
            return wrong("its recurrence does not survive JSON")
        if not np.array_equal(y, z, equal_nan=True):
            return wrong("P(v) and P @ v differ")
        if state != "good":
            return right()
        exact, sizes, loss = _reference(M, on_arrays, v)
        return _compare(y, exact, sizes, loss, 10 * report.rtol, report, False)

    refusals: tuple[str, ...] | None = () if state == "good" and method != "neumann" else None
    if abs(exponent) > 70:
        refusals = None
    return Case(text, call, judge, arrays_of(A), refusals)


def matfun_case(seed: int) -> Case:
    """f(A) as a matrix."""
    rng, M, form, A, exponent = _draw(seed, 23)
    name, f, on_arrays, state = _draw_function(M, rng)
    text = f"matfun {M.family} ({M.kind}) n={M.n} A:{form}*1e{exponent:.0f} f={name}"

    def judge(F: Any, warned: bool) -> tuple[str, str]:
        if np.shape(F) != (M.n, M.n):
            return wrong(f"shape {np.shape(F)}")
        if state == "broken":
            return wrong("a function that is none was accepted")
        if state == "domain":
            w = M.eigen[0]
            return (
                wrong("f is not defined on the spectrum") if w[0] < -1e4 * _EPS * M.norm and name != "exp" else right()
            )
        if name == "sign" and float(np.abs(M.eigen[0]).min()) < 1e3 * _EPS * M.norm:
            return right()
        exact, sizes, loss = _reference(M, on_arrays, np.eye(M.n))
        parts = np.linalg.norm(exact, axis=0)
        parts = np.where(parts > 0, np.where(parts > 0, loss, 0.0) * parts, 0.0)
        total = np.array([np.linalg.norm(parts) / (np.linalg.norm(exact) or 1.0)])
        return _compare(np.ravel(F)[:, None], exact.ravel()[:, None], sizes[:1], total, 1e-13, None, False)

    refusals: tuple[str, ...] | None = () if state == "good" else None
    if abs(exponent) > 140:
        refusals = None
    return Case(text, lambda: nnla.matfun(A, f), judge, arrays_of(A), refusals)
