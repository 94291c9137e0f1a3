"""Models of dense matrix functions: what they reach on their family and on others; what they must keep to; card."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from nnla.errors import OptionError, ShapeError
from nnla.evaluation.conformance import say
from nnla.problems.matrix_families import MATRIX_FAMILIES, matrix_family
from nnla.problems.matrix_references import function_reference
from nnla.types import Progress

__all__ = [
    "THRESHOLDS",
    "check_matrix_functions",
    "errors",
    "evaluate_matrix_functions",
    "matrix_function_lines",
    "measure_matrix_functions",
]

THRESHOLDS = (0.05, 0.02, 0.01, 0.005)
GAPS = (0.1, 0.01, 0.0)  # lower ends of the bins that sign is reported by: least eigenvalue over the largest, in size
_HELD_OUT = 20_261_129  # training draws from [seed, ...]; these come from [_HELD_OUT, seed, ...]
_POSITIVE = ("log", "sqrt", "inv_sqrt", "inv")
_SYMMETRIC = ("symmetric", "wigner", "toeplitz", "hankel", "circulant", "band", "adjacency")
_GENERAL = ("general", "stochastic", "rate")
_MOST_SIZES = 4
_ROTATION = 1e-5


def errors(X: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """sum |x_ij - f_ij| / sum |f_ij| (B,), the paper's measure; Inf where there is no answer.

    >>> errors(np.array([[[1.0]], [[np.nan]]]), np.array([[[2.0]], [[1.0]]])).tolist()
    [0.5, inf]
    """
    with np.errstate(all="ignore"):
        off = np.abs(X - exact).sum((-2, -1))
        found = off / np.abs(exact).sum((-2, -1))
    return np.where(off == 0, 0.0, np.where(np.isnan(found), np.inf, found))


def evaluate_matrix_functions(
    model: Any, *, count: int = 1000, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """The share of answers within 5, 2, 1 and .5 %, on matrices that no training has drawn.

    Parameters
    ----------
    model : what `nnla.load` returns. Its card may say by ``drawn`` what it was trained on: function -> {"family": a
        name of `nnla.problems.MATRIX_FAMILIES`, and its options}; then that family comes first
    count : matrices of each function, size and family
    seed : of the matrices

    Returns
    -------
    dict
        JSON-able. ``functions``: function -> size -> family -> ``count`` with a real f(A) != 0, ``within`` (a
        share for each of ``thresholds``), ``median`` and ``p90`` of the error, ``declined``; of sign also ``by_gap``:
        [lower end, matrices, share within 5 %]. ``equivariance``: largest ||f(QAQ') - Q f(A) Q'|| / ||f(A)||, for
        random rotations Q, None for models that do not promise it. ``microseconds``: function -> size -> a matrix, in
        batches of ``count``.

    Notes
    -----
    Cost: seconds; the answers, and a batched eigendecomposition for each.
    """
    functions: dict[str, Any] = {}
    microseconds: dict[str, Any] = {}
    turned: list[float] = []
    sizes = _some_sizes(model.sizes)
    for number, f in enumerate(model.functions):
        if progress is not None:
            progress(f, number, len(model.functions))
        functions[f], microseconds[f] = {}, {}
        for n in sizes:
            row: dict[str, Any] = {}
            for name, family, options in _families(model, f):
                A = matrix_family(family, count, n, seed=[_HELD_OUT, seed, n], **options)
                model.function(A, f)  # what is made once is not counted
                started = time.process_time()
                X = np.asarray(model.function(A, f), dtype=np.float64)
                spent = time.process_time() - started
                microseconds[f].setdefault(str(n), round(1e6 * spent / count, 3))
                exact = function_reference(A, f)
                known = np.isfinite(exact).all(axis=(1, 2))  # those that have a sign, say
                known &= exact.any(axis=(1, 2))  # what is relative to zero says nothing
                if not known.any():
                    continue
                row[name] = _figures(A[known], X[known], exact[known], f)
                if model.equivariant and known.all() and not row[name]["declined"]:
                    turned.append(_turning(model, A[:100], X[:100], f))
            functions[f][str(n)] = row
    return {
        "count": count,
        "seed": seed,
        "thresholds": list(THRESHOLDS),
        "functions": functions,
        "equivariance": max(turned, default=0.0) if model.equivariant else None,
        "microseconds": microseconds,
    }


def _some_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """At most four of the sizes, the ends among them, evenly in their logarithms."""
    if len(sizes) <= _MOST_SIZES:
        return tuple(sizes)
    wanted = np.geomspace(sizes[0], sizes[-1], _MOST_SIZES)
    return tuple(sorted({min(sizes, key=lambda n: abs(math.log(n / w))) for w in wanted}))


def _families(model: Any, f: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Label, family and options: that of the training, and others in which f(A) is real."""
    drawn = dict(model.card.get("drawn", {}).get(f, {}))
    own = drawn.pop("family", None)
    scale = {"scale": drawn["scale"]} if "scale" in drawn else {}
    if f in _POSITIVE:
        floor = {"floor": drawn.get("floor", 0.1)}
        others = [
            ("definite", "definite", {**floor, **scale}),
            ("condition 100", "definite", {**floor, "condition": 100.0}),
        ]
    else:
        others = [(name, name, dict(scale)) for name in _SYMMETRIC]
        others += [] if model.symmetric else [(name, name, {}) for name in _GENERAL]
        if f == "sign":
            others.insert(0, ("gapped", "gapped", {"gap": 0.1, **scale}))
    if own not in MATRIX_FAMILIES:
        return others
    label = f"{own}, as trained"
    return [(label, own, drawn)] + [other for other in others if other[1:] != (own, drawn)]


def _figures(A: np.ndarray, X: np.ndarray, exact: np.ndarray, f: str) -> dict[str, Any]:
    found = errors(X, exact)
    quantiles = np.quantile(found, (0.5, 0.9), method="lower")
    figures: dict[str, Any] = {
        "count": len(found),
        "within": [float(np.mean(found <= t)) for t in THRESHOLDS],
        "median": _finite(quantiles[0]),
        "p90": _finite(quantiles[1]),
        "declined": float(np.mean(~np.isfinite(X).all(axis=(1, 2)))),
    }
    if f == "sign":
        size = np.abs(np.linalg.eigvals(A))
        gap = size.min(-1) / size.max(-1)
        above = np.inf
        figures["by_gap"] = []
        for low in GAPS:
            inside = (gap >= low) & (gap < above)
            share = float(np.mean(found[inside] <= THRESHOLDS[0])) if inside.any() else None
            figures["by_gap"].append([low, int(inside.sum()), share])
            above = low
    return figures


def _finite(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


def _turning(model: Any, A: np.ndarray, X: np.ndarray, f: str) -> float:
    """How far the model is from turning with its matrix."""
    rng = np.random.default_rng(_HELD_OUT)
    Q = np.linalg.qr(rng.standard_normal(A.shape))[0]
    B = Q @ A @ Q.swapaxes(-1, -2)
    Y = np.asarray(model.function((B + B.swapaxes(-1, -2)) / 2 if model.symmetric else B, f))
    off = Y - Q @ X @ Q.swapaxes(-1, -2)
    with np.errstate(all="ignore"):
        found = np.linalg.norm(off, axis=(1, 2)) / np.linalg.norm(X, axis=(1, 2))
    return float(np.max(found, initial=0.0))


def check_matrix_functions(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of matrix functions: shapes, repeatable answers, batches, rotations, and its use in `nnla.matfun`.

    Cost: a few small batches a trial, two of them at most for each function.
    """
    from nnla import matfun

    entries = {"exp": "expm", "log": "logm", "sqrt": "sqrtm", "inv_sqrt": "inv_sqrtm", "sign": "signm"}
    entries |= {"sin": "sinm", "cos": "cosm"}
    messages: list[str] = []
    say(messages, not model.functions or not model.sizes, "the model knows no function, or no size")
    for trial in range(min(trials, 2 * len(model.functions))):
        f = model.functions[trial % len(model.functions)]
        n = model.sizes[trial % len(model.sizes)]
        family, options = ("definite", {"floor": 0.1}) if f in _POSITIVE else ("gapped", {"gap": 0.1})
        A = matrix_family(family, 6, n, seed=[_HELD_OUT, seed, trial], **options)
        kept = A.copy()
        X, again = (np.asarray(model.function(A, f), dtype=np.float64) for _ in range(2))
        say(messages, not np.array_equal(A, kept), "the model changes A")
        say(messages, X.shape != A.shape, "an answer has another shape than A")
        say(messages, not np.array_equal(X, again, equal_nan=True), "two calls differ")
        size = float(np.nanmax(np.abs(X), initial=0.0))
        one = np.asarray(model.function(A[2], f))
        stacked = np.asarray(model.function(A.reshape(2, 3, n, n), f)).reshape(A.shape)
        say(
            messages, not np.allclose(one, X[2], rtol=1e-5, atol=1e-6 * size, equal_nan=True), "it depends on the batch"
        )
        say(messages, not np.array_equal(stacked, X, equal_nan=True), "it depends on the shape of the batch")
        if model.equivariant and np.isfinite(X).all():
            say(messages, _turning(model, A, X, f) > _ROTATION, "the answer does not turn with A")
        if f in entries:
            method = "equivariant" if model.equivariant else "transformer"
            Y = getattr(matfun, entries[f])(A, method=method, engine=model)
            wrong = errors(np.asarray(Y), function_reference(A, f)).max() > 1e-4
            say(messages, Y.report.converged and wrong, "nnla.matfun calls converged what is wrong")
    for call, kind, text in (
        (lambda: model.function(np.eye(model.sizes[0]), "gamma"), OptionError, "an unknown function is not refused"),
        (lambda: model.function(np.ones((2, 3)), model.functions[0]), ShapeError, "a matrix 2 x 3 is not refused"),
    ):
        try:
            call()
            say(messages, True, text)
        except kind:
            pass
    return messages


def measure_matrix_functions(model: Any, count: int | None, quick: bool) -> dict[str, Any]:
    """For the card."""
    return evaluate_matrix_functions(model, count=count or (100 if quick else 1000))


def matrix_function_lines(card: dict[str, Any]) -> list[str]:
    """The card's figures, in Markdown."""
    m = card["measured"]
    shares = ", ".join(f"{t:.1%}" for t in m["thresholds"])
    lines = [f"Share of {m['count']} held-out matrices with sum |error| / sum |f(A)| within {shares}, of the family of"]
    lines += [
        "the training where the card says one; the median; the least share within 5 % over the other families; the"
    ]
    lines += ["time of one matrix in such a batch.", ""]
    header = ["f", "n", "family", *(f"{t:.1%}" for t in m["thresholds"]), "median", "other families", "us"]
    lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for f, sizes in m["functions"].items():
        for n in sorted(sizes, key=int):
            families = sizes[n]
            own = min(families, key=lambda name: not name.endswith("as trained"))
            row, others = families[own], [v["within"][0] for name, v in families.items() if name != own]
            cells = [f, n, own, *(f"{share:.1%}" for share in row["within"])]
            cells += ["-" if row["median"] is None else f"{row['median']:.1e}", f"{min(others, default=math.nan):.1%}"]
            cells += [f"{m['microseconds'][f][n]:.1f}"]
            lines += [f"| {' | '.join(cells)} |"]
    if m["equivariance"] is not None:
        lines += ["", f"Largest ||f(QAQ') - Q f(A) Q'|| / ||f(A)||: {m['equivariance']:.1e}."]
    lines += [
        "",
        "**Guaranteed** through `nnla.matfun`: each answer is checked, and computed classically where it misses",
    ]
    return [
        *lines,
        "the tolerance. **Not** guaranteed: the network's own answer. Beside others: `docs/dense_matrix_functions.md`.",
    ]
