"""Cases of `nnla.solve`, `nnla.prepare` and `nnla.preconditioner`."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

import nnla
from fuzzing.answers import judge_solution
from fuzzing.cases import Case, right, wrong
from fuzzing.forms import arrays_of
from fuzzing.options import draw_options, draw_start, easy, make_M, refusals
from fuzzing.systems import draw_system
from nnla.linear.options import METHODS
from nnla.polynomials.design import POLYNOMIAL_METHODS

__all__ = ["precondition_case", "prepare_case", "solve_case"]


def solve_case(seed: int, torch: bool = False) -> Case:
    """`nnla.solve` with anything."""
    rng = np.random.default_rng([seed, 1])
    S = draw_system(rng, torch)
    method = str(rng.choice(METHODS)) if rng.random() < 0.65 else "auto"
    if method == "dos" and rng.random() < 0.8:
        method = "autospec"
    options = draw_options(rng, S, method)
    start = None
    if rng.random() < 0.15:
        start, x0 = draw_start(rng, S)
        options["x0"] = x0
    must = easy(S, method, options)
    seen: list[np.ndarray] = []
    if rng.random() < 0.15:
        options["callback"] = lambda x: seen.append(np.array(x.tolist() if torch else x, dtype=np.float64, copy=True))
    shown = ", ".join(
        f"{k}={v if k not in ('x0', 'callback', 'nullspace') else start or '...'}" for k, v in options.items()
    )
    text = f"solve {S.text} method={method} {shown}"
    if "M" in options:
        name = options.pop("M")
        degree, steps = int(rng.integers(1, 20)), int(rng.integers(1, 30))
        options["M"] = make_M(name, S, rng)
        must = must and not torch
        if torch and callable(options["M"]) and name in ("callable", "nonlinear"):
            options["M"] = _for_tensors(options["M"])
    made = options.get("M") == "made" if isinstance(options.get("M"), str) else False
    twice = bool(options.get("deterministic")) and "timeout" not in options

    def call() -> Any:
        if made:
            options["M"] = nnla.preconditioner(S.A, degree=degree, steps=steps)
        first = nnla.solve(S.A, S.b, method=method, **options)
        return (first, nnla.solve(S.A, S.b, method=method, **options) if twice else None)

    def judge(answers: Any, warned: bool) -> tuple[str, str]:
        (x, report), second = answers
        if second is not None and not np.array_equal(np.asarray(x), np.asarray(second.x), equal_nan=True):
            return wrong("deterministic=True, and two calls differ")
        return judge_solution(S, x, report, options, must, seen)

    return Case(text, call, judge, arrays_of(S.A, S.b, options.get("x0")), refusals(S, method, options, must))


def _for_tensors(f: Any) -> Any:
    import torch

    return lambda r: torch.from_numpy(np.ascontiguousarray(f(r.numpy())))


def prepare_case(seed: int) -> Case:
    """`nnla.prepare`, two solves, and what it made as a preconditioner."""
    rng = np.random.default_rng([seed, 2])
    S = draw_system(rng)
    method = str(rng.choice(METHODS)) if rng.random() < 0.7 else "auto"
    options = draw_options(rng, S, method)
    solving = {key: options.pop(key) for key in ("atol", "maxiter", "rtol", "timeout") if key in options}
    for key in ("M", "deterministic", "nullspace"):
        options.pop(key, None)
    must = easy(S, method, options | solving)
    text = f"prepare {S.text} method={method} {options} solve {solving}"
    v = rng.standard_normal((S.matrix.n, 2))

    def call() -> Any:
        P = nnla.prepare(S.A, method, **options)
        if "timeout" in solving and "timeout" not in inspect.signature(P.solve).parameters:
            solving.pop("timeout")
        first = P.solve(S.b, **solving)
        P.solve(S.b, **solving)
        P.report.to_json()
        M = P.aspreconditioner()
        return first, (M @ v[:, 0], M @ v[:, 1])

    def judge(answers: Any, warned: bool) -> tuple[str, str]:
        (x, report), (y, z) = answers
        outcome = judge_solution(S, x, report, solving, must, [])
        if outcome[0] not in ("right", "stated") or not S.range or S.matrix.kind != "spd" or S.matrix.condition > 1e4:
            return outcome
        if not (np.all(np.isfinite(y)) and np.all(np.isfinite(z))):
            return wrong("its preconditioner gives what is not finite")
        unit = np.abs(y).max() or 1.0
        y, z = y / unit, z / unit
        size = np.linalg.norm(y) * np.linalg.norm(v[:, 1])
        if abs(y @ v[:, 1] - z @ v[:, 0]) > 1e-3 * size:  # a polynomial may run in float32
            return wrong("its preconditioner is not symmetric")
        return outcome

    due = refusals(S, method, options, must)
    if due is not None and S.matrix.kind != "spd":
        due += ("NotPositiveDefiniteError",)
    return Case(text, call, judge, arrays_of(S.A, S.b), due)


def precondition_case(seed: int) -> Case:
    """`nnla.preconditioner` by every polynomial: symmetric, positive definite, finite."""
    rng = np.random.default_rng([seed, 3])
    S = draw_system(rng)
    method = str(rng.choice(POLYNOMIAL_METHODS)) if rng.random() < 0.7 else "autospec"
    options: dict[str, Any] = {"method": method, "steps": int(rng.integers(1, 40)), "seed": int(rng.integers(100))}
    if rng.random() < 0.5:
        options["degree"] = int(rng.integers(1, 64))
    if rng.random() < 0.3:
        entries = S.form not in ("operator", "duck")
        options["scaling"] = str(rng.choice(["none", "jacobi", "ic"] if entries else ["none"]))
    if rng.random() < 0.2:
        options["dtype"] = np.float32
    v = rng.standard_normal((S.matrix.n, 3))
    single = options.get("dtype") is np.float32

    def call() -> Any:
        M = nnla.preconditioner(S.A, **options)
        nnla.Recurrence.from_json(M.recurrence.to_json())
        nnla.SpectralProbe.from_json(M.probe.to_json())
        return np.stack([M @ v[:, k] for k in range(3)], axis=1), M @ v

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        Y, block = answer
        if not S.range or S.matrix.kind != "spd" or S.matrix.condition > (1e3 if single else 1e8) or S.matrix.graded:
            return right()
        if not np.all(np.isfinite(Y)):
            return wrong("M v is not finite")
        unit = np.abs(Y).max() or 1.0
        Y, block = Y / unit, block / unit
        G = v.T @ Y
        size = float(np.linalg.norm(Y) * np.linalg.norm(v))
        tolerance = 1e-3 if single else 1e-7
        if np.abs(G - G.T).max() > tolerance * size:
            return wrong(f"not symmetric: {np.abs(G - G.T).max() / size:.1e}")
        if np.abs(block - Y).max() > tolerance * np.abs(Y).max():
            return wrong("a block is treated unlike its columns")
        return right()

    due = refusals(S, method, options, False)
    if due is not None and S.matrix.condition > 1e10:
        due += ("NotPositiveDefiniteError",)
    if S.matrix.graded or single:
        due = None
    return Case(f"preconditioner {S.text} {options}", call, judge, arrays_of(S.A), due)
