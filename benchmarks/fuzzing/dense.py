"""Cases of `nnla.extensions`: polar factors and inverse roots of dense matrices, rational functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzzing.cases import Case, right, wrong
from fuzzing.forms import arrays_of
from fuzzing.matrices import draw_matrix, draw_size, orthogonal
from nnla.extensions import inverse_root, polar, rational_function

__all__ = ["polar_case", "rational_case", "root_case"]

_DTYPES = ("float64", "float32")
_ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}


def polar_case(seed: int) -> Case:
    """The polar factor of any matrix: tall, wide, of low rank, badly conditioned, in any unit."""
    rng = np.random.default_rng([seed, 31])
    m, n = draw_size(rng), draw_size(rng)
    most = min(m, n)
    kind = str(rng.choice(["random", "low rank", "condition", "orthogonal", "clusters", "zero columns"]))
    s = np.ones(most)
    rank = most
    if kind == "condition":
        s = np.logspace(0, -rng.uniform(0, 15), most)
    elif kind == "clusters":
        s = rng.choice(10.0 ** rng.uniform(-4, 2, 2), most)
    elif kind == "random":
        s = rng.uniform(0.1, 2.0, most)
    elif kind == "low rank":
        rank = int(rng.integers(0, most + 1))
        s[:rank] = rng.lognormal(0, 1, rank)
        s[rank:] = 0.0
    U, V = orthogonal(m, rng)[:, :most], orthogonal(n, rng)[:, :most]
    A = (U[:, :rank] * s[:rank]) @ V[:, :rank].T if kind == "low rank" else (U * s) @ V.T
    if kind == "zero columns":
        A[:, rng.random(n) < 0.4] = 0.0
    torch_dtype = str(rng.choice(["", "", "", "float32", "bfloat16", "float16", "float64"]))
    dtype = torch_dtype or str(rng.choice(_DTYPES))
    reach = {"float64": 140, "float32": 15, "bfloat16": 15, "float16": 1}[dtype]
    exponent = 0.0 if rng.random() < 0.7 else float(np.round(rng.uniform(-reach, reach)))
    A = A * 10.0**exponent
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["method"] = str(rng.choice(["polar-express", "newton-schulz", "newton-schulz-3", "prism", "muon"]))
    if rng.random() < 0.2:
        options["rtol"] = float(rng.choice([0.3, 1e-2, 1e-4, 1e-10]))
    if rng.random() < 0.2:
        options["seed"] = int(rng.integers(100))
    given: Any = A.astype(dtype) if not torch_dtype else A
    if torch_dtype:
        import torch

        given = torch.from_numpy(A).to(getattr(torch, torch_dtype))
        exact = given.double().numpy()
    else:
        exact = given.astype(np.float64)
    text = f"polar {kind} {m}x{n} rank {rank} {'torch ' if torch_dtype else ''}{dtype}*1e{exponent:.0f} {options}"

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        U, report = answer.U, answer.report
        factor = U.double().numpy() if torch_dtype else np.asarray(U, dtype=np.float64)
        return _judge_polar(exact, factor, report, _ROUNDING[dtype])

    return Case(text, lambda: polar(given, **options), judge, arrays_of(given if not torch_dtype else None))


def _judge_polar(A: np.ndarray, U: np.ndarray, report: Any, eps: float) -> tuple[str, str]:
    if report.converged != (report.status == "converged"):
        return wrong(f"converged={report.converged}, status={report.status}")
    if U.shape != A.shape:
        return wrong(f"U has shape {U.shape}, A {A.shape}")
    if not np.all(np.isfinite(U)):
        return wrong("U is not finite") if report.converged else ("stated", f"not finite: {report.status}")
    if not report.converged:
        return "stated", str(report.status)
    size = float(np.abs(A).max())
    P, s, Qt = np.linalg.svd(A / size, full_matrices=False)
    G = U.T @ U if U.shape[0] >= U.shape[1] else U @ U.T
    error = float(np.linalg.norm(G - np.eye(G.shape[0]), 2))
    slack = 60 * eps * max(U.shape) ** 0.5
    cutoff = 1e3 * eps * s[0] * max(A.shape) ** 0.5
    sure = s > cutoff  # below, singular vectors are those of rounding
    if sure.all() and error > 1.5 * report.rtol + slack:
        return wrong(f"converged, and ||U'U - I|| = {error:.1e} (rtol {report.rtol:.0e})")
    # the factor on the row space, where it is unique
    core = P[:, sure].T @ U @ Qt[sure].T
    off = float(np.linalg.norm(core - np.eye(core.shape[0]), 2)) if core.size else 0.0
    worst = report.rtol + slack + 200 * eps * max(A.shape) * s[0] / float(s[sure].min()) if core.size else 0.0
    if off > 2 * worst:
        return wrong(
            f"converged, and off by {off:.1e} on the row space, rank {int(sure.sum())}, rtol {report.rtol:.0e}"
        )
    partial = float(np.linalg.norm(U - P[:, sure] @ Qt[sure], 2))
    if not sure.all() and error > 1.5 * report.rtol + slack and partial > 2 * worst + 1e-2:
        return wrong("of low rank, converged, and neither orthonormal nor the partial isometry")
    return right()


def root_case(seed: int) -> Case:
    """A^(-1/p) of symmetric matrices, definite or not."""
    rng = np.random.default_rng([seed, 32])
    family = str(
        rng.choice(["spectrum", "sparse", "grid", "complete graph", "diagonal", "laplacian", "indefinite", "gram"])
    )
    M = draw_matrix(rng, family)
    dtype = str(rng.choice(_DTYPES))
    reach = 100 if dtype == "float64" else 8
    exponent = 0.0 if rng.random() < 0.75 else float(np.round(rng.uniform(-reach, reach)))
    given = (M.dense * 10.0**exponent).astype(dtype)
    exact = given.astype(np.float64)
    options: dict[str, Any] = {"p": int(rng.choice([1, 2, 4]))}
    if rng.random() < 0.2:
        options["rtol"] = float(rng.choice([1e-1, 1e-4, 1e-11]))
    text = f"inverse_root {M.family} ({M.kind}) n={M.n} {dtype}*1e{exponent:.0f} {options}"

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        Z, report = np.asarray(answer.Z, dtype=np.float64), answer.report
        if report.converged != (report.status == "converged"):
            return wrong(f"converged={report.converged}, status={report.status}")
        if not report.converged:
            return "stated", str(report.status)
        if not np.all(np.isfinite(Z)):
            return wrong("converged, and not finite")
        size = float(np.abs(exact).max())
        w, Q = np.linalg.eigh(exact / size)
        eps = _ROUNDING[dtype]
        if w[0] < -100 * eps * w[-1] * M.n**0.5:
            return wrong("converged for an indefinite matrix")
        if w[0] <= 100 * eps * w[-1]:
            return right()
        root = (Q * w ** (-1 / options["p"])) @ Q.T
        D = Z * size ** (1 / options["p"]) - root
        error = float(np.linalg.norm(D, 2) / np.linalg.norm(root, 2))
        if error > 4 * report.rtol + 400 * eps * M.n * w[-1] / w[0]:
            return wrong(f"converged at an error of {error:.1e} (rtol {report.rtol:.0e}, condition {w[-1] / w[0]:.1e})")
        return right()

    refusals = () if M.kind == "spd" else ("NotPositiveDefiniteError",)
    if M.kind == "spd" and M.eigen[0][0] < 1e3 * _ROUNDING[dtype] * M.norm:
        refusals = ("NotPositiveDefiniteError",)
    return Case(text, lambda: inverse_root(given, **options), judge, arrays_of(given), refusals)


def rational_case(seed: int) -> Case:
    """f(A) by shifted solves."""
    rng = np.random.default_rng([seed, 33])
    M = draw_matrix(rng, str(rng.choice(["sparse", "grid", "shifted laplacian", "spectrum", "arrow"])))
    f = str(rng.choice(["inv_sqrt", "sqrt", "log", "inv"]))
    v = rng.standard_normal(M.n)
    text = f"rational_function {M.family} n={M.n} f={f}"

    def call() -> Any:
        F = rational_function(M.A, f)
        return F @ v, F.report

    def judge(answer: Any, warned: bool) -> tuple[str, str]:
        y, report = answer
        if not report.converged:
            return "stated", str(report.status)
        w, Q = M.eigen
        if w[0] < 1e5 * 2.2e-16 * w[-1]:
            return right()
        image = {"inv_sqrt": w**-0.5, "sqrt": w**0.5, "log": np.log(w), "inv": 1 / w}[f]
        exact = Q @ (image * (Q.T @ v))
        error = float(np.linalg.norm(y - exact) / np.linalg.norm(exact))
        loss = 64 * 2.2e-16 * M.n * w[-1] / w[0] * (np.abs(image).max() / (np.linalg.norm(exact) / np.linalg.norm(v)))
        if error > 10 * report.rtol + loss:
            return wrong(f"converged at an error of {error:.1e} (rtol {report.rtol:.0e})")
        return right()

    return Case(text, call, judge, arrays_of(M.A, v), None)
