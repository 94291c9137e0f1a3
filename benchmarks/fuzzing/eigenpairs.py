"""Cases of `nnla.eigsh`."""

from __future__ import annotations

from typing import Any

import numpy as np

import nnla
from fuzzing.cases import Case, right, wrong
from fuzzing.forms import MATRIX_FORMS, arrays_of, as_form
from fuzzing.matrices import Matrix, draw_matrix, draw_size
from nnla.eigen.state import METHODS

__all__ = ["eigsh_case"]

_FAMILIES = (
    "spectrum", "sparse", "grid", "shifted laplacian", "diagonal", "complete graph", "arrow", "symmetric graph",
    "symmetric graph", "symmetric graph", "laplacian", "laplacian", "isolated", "gram", "stiff", "penalty",
    "nearly singular", "indefinite", "indefinite",
)  # fmt: skip
_NEEDS_ENTRIES = ("direct",)


def eigsh_case(seed: int) -> Case:
    """A few pairs of anything symmetric."""
    rng = np.random.default_rng([seed, 11])
    n = int(rng.integers(260, 700)) if rng.random() < 0.04 else draw_size(rng, 80)
    M = draw_matrix(rng, str(rng.choice(_FAMILIES)), n)
    if rng.random() < 0.15:
        M = Matrix(f"-{M.family}", -M.A, "indefinite")
    exponent = 0.0 if rng.random() < 0.7 else float(np.round(rng.uniform(-240, 240)))
    if exponent:
        with np.errstate(all="ignore"):
            A = M.A * 10.0**exponent
        if np.all(np.isfinite(A.data)) and abs(A).max() < 1e280:
            M = Matrix(M.family, A, M.kind)
    n = M.n
    form = str(rng.choice(MATRIX_FORMS)) if rng.random() < 0.5 else "csr"
    form = "csr" if form == "dok" and n > 100 else form
    A = as_form(M.A, form, rng)
    k = int(rng.integers(1, min(n, 12) + 1)) if rng.random() < 0.85 else int(rng.integers(1, n + 1))
    options: dict[str, Any] = {"k": k, "which": str(rng.choice(["SA", "LA"]))}
    if rng.random() < 0.75:
        options["method"] = str(rng.choice(METHODS))
    if rng.random() < 0.6 and k < n:
        options["ncv"] = int(min(n, max(k + 1, rng.integers(k + 1, 3 * k + 8))))
    if rng.random() < 0.25:
        options["tol"] = float(rng.choice([1e-4, 1e-6, 1e-8, 1e-12, 1e-14, 0.0]))
    if rng.random() < 0.12:
        options["maxiter"] = int(rng.integers(1, 20))
    if rng.random() < 0.2:
        options["seed"] = int(rng.integers(1000))
    if rng.random() < 0.1:
        options["verify"] = False
    if options.get("method") in ("autospec", "chebyshev", "power") and rng.random() < 0.3:
        options["degree"] = int(rng.integers(1, 50))
    start = None
    if rng.random() < 0.2:
        start = str(rng.choice(["ones", "unit", "random", "eigenvector", "tiny", "huge"]))
        options["v0"] = _start(start, M, rng)
    with_report = rng.random() < 0.8
    shown = ", ".join(f"{key}={value if key != 'v0' else start}" for key, value in options.items())
    text = f"eigsh {M.family} ({M.kind}) n={n} A:{form}*1e{exponent:.0f} {shown} report={with_report}"

    def call() -> Any:
        return nnla.eigsh(A, return_report=with_report, **options)

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        return _judge(M, answer, warned, options, exponent, form)

    refusals: tuple[str, ...] | None = ()
    if form in ("operator", "duck", "dense", "fortran", "strided", "list") and options.get("method") in _NEEDS_ENTRIES:
        refusals = ("OptionError",)
    if options.get("method") == "autospec-paper":
        refusals = ("OptionError",)  # made for some k and degrees
    if abs(exponent) > 140 or start in ("tiny", "huge"):
        refusals = None
    return Case(text, call, judge, arrays_of(A, options.get("v0")), refusals)


def _start(kind: str, M: Matrix, rng: np.random.Generator) -> np.ndarray:
    n = M.n
    if kind == "ones":
        return np.ones(n)
    if kind == "unit":
        return np.eye(n)[int(rng.integers(n))]
    if kind == "eigenvector":
        return M.eigen[1][:, int(rng.integers(n))].copy()
    return rng.standard_normal(n) * {"tiny": 1e-250, "huge": 1e250}.get(kind, 1.0)


def _judge(
    M: Matrix, answer: Any, warned: bool, options: dict[str, Any], exponent: float, form: str
) -> tuple[str, str]:
    w, V = np.asarray(answer[0]), np.asarray(answer[1])
    report = answer[2] if len(answer) == 3 else None
    k, which, tol = options["k"], options["which"], options.get("tol", 1e-10)
    converged = report.converged if report is not None else not warned
    if report is not None and report.converged != (report.status == "converged"):
        return wrong(f"converged={report.converged}, status={report.status}")
    if w.shape != (k,) or V.shape != (M.n, k):
        return ("stated", "fewer") if not converged else wrong(f"shapes {w.shape}, {V.shape} for k={k}")
    if np.any(np.diff(w) < 0):
        return wrong("values are not increasing")
    if not (np.all(np.isfinite(w)) and np.all(np.isfinite(V))):
        return wrong(f"not finite, converged={converged}")
    if not converged:
        if not warned and report is None:
            return wrong("not converged, and nothing said")
        status = str(report.status) if report is not None else "warned"
        if _must(M, options, exponent, form):
            return "missed", f"easy, and {status} ({getattr(report, 'fallback', None)})"
        return "stated", status
    unit = float(2.0 ** np.floor(np.log2(M.norm))) if M.norm > 0 else 1.0
    B, values, norm = M.dense / unit, w / unit, M.norm / unit
    true = M.eigen[0] / unit
    expected = true[:k] if which == "SA" else true[-k:]
    bound = max(tol, 4e-16) * norm
    slack = 8e-16 * norm * (M.n**0.5 + 4)
    orthogonal = float(np.abs(V.T @ V - np.eye(k)).max())
    if orthogonal > 1e-8:
        return wrong(f"V'V is off by {orthogonal:.1e}")
    residuals = np.linalg.norm(B @ V - V * values, axis=0)
    if np.any(residuals > bound * 1.01 + slack):
        return wrong(f"converged at a residual of {residuals.max() / norm:.1e} ||A||, tol {tol:.0e}")
    error = float(np.abs(values - expected).max())
    if error > 2 * bound + slack:
        said = "" if report is None else f", verified={report.verified}, method={report.method}, shift={report.shift}"
        if warned or not options.get("verify", True):
            return "stated", "unverified"
        return wrong(
            f"values off by {error / norm:.1e} ||A||, converged{said}; fallback {getattr(report, 'fallback', None)}"
        )
    return right()


def _must(M: Matrix, options: dict[str, Any], exponent: float, form: str) -> bool:
    """Whether anything but convergence would be a fault: small, and nothing asked for that is hard."""
    if (
        options.get("maxiter") is not None
        or options.get("tol", 1e-10) < 1e-12
        or abs(exponent) > 120
        or "v0" in options
    ):
        return False
    return options.get("method", "auto") in ("auto", "dense", "autospec") and "ncv" not in options and M.n <= 80
