"""Algebraformer, section 6: Newton's method for regression in the p-norm with learned steps, beside what people use.

The paper's problem: A (1000, 64) and b uniform, of unit norm, p = 1.5, one A for all; to a gradient of 1e-6. Every
method has the same objective, the same orthonormal basis of the range of A, the same start (least squares) and the
same test of the end. Seconds are processor time of one thread, methods interleaved, medians. Test problems are of no
training seed.

    python reproduce/algebraformer_newton.py            # some minutes on one core
    python reproduce/algebraformer_newton.py --quick    # less than one

Writes docs/algebraformer_newton.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.optimize
from algebraformer_newton_page import page, picture

from nnla.extensions.lp_newton import newton_lp
from nnla.extensions.lp_steps import ExactHessian, NewtonState
from nnla.models.transformer import TransformerConfig, initial_parameters, transform
from nnla.problems.lp_families import LAWS, lp_problems
from nnla.problems.lp_regression import LpRegression, lp_regression, lp_terms
from nnla.registry import load

DOCS = Path(__file__).resolve().parents[1] / "docs"
OURS = ("exact", "learned", "partial", "kept", "lbfgs")
SCIPY = ("L-BFGS-B", "Newton-CG", "trust-exact", "trust-ncg", "trust-krylov")
GTOL = 1e-6
SEED = 40_000_000  # of the test
PARTS = ("runs", "settings", "sizes", "tokens")


class _DoneError(Exception):
    """The gradient is small enough."""


class Watched:
    """The objective as SciPy takes it, which ends where the gradient is within the tolerance.

    The unknowns are those of the basis, scaled so that the mean of the weights is one: what a careful user would do.
    """

    def __init__(self, problem: LpRegression, gtol: float) -> None:
        self.problem, self.gtol, self.basis = problem, gtol, problem.design.basis
        self.exact = ExactHessian()
        self.evaluations = 0
        self.path: list[tuple[float, float]] = []
        self.started = time.perf_counter()
        z = problem.start
        value, _, w = lp_terms(self.basis @ z - problem.target, problem.p, problem.eps)
        self.first = value
        self.unit = float(np.sqrt(value / w.mean()))  # of z, that makes the Hessian of F / value about one
        self.start = z / self.unit

    def __call__(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        problem = self.problem
        self.z = self.unit * y
        self.r = self.basis @ self.z - problem.target
        value, s, self.w = lp_terms(self.r, problem.p, problem.eps)
        gradient = self.basis.T @ s
        self.evaluations += 1
        self.path.append((time.perf_counter() - self.started, value))
        self.value, self.gradient, self.s = value, gradient, s
        if float(gradient @ gradient) <= self.gtol**2 * float(s @ s):
            raise _DoneError
        return value / self.first, gradient * (self.unit / self.first)

    def hessian(self, y: np.ndarray) -> np.ndarray:
        state = NewtonState(
            self.problem, self.z, self.r, self.s, self.w, self.gradient, self.value, 1.0, self.problem.eps, 0
        )
        return self.exact.hessian(state) * (self.unit**2 / self.first)

    def hessp(self, y: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self.basis.T @ (self.w * (self.basis @ v)) * (self.unit**2 / self.first)


def by_scipy(problem: LpRegression, method: str, gtol: float = GTOL) -> tuple[Watched, bool]:
    """Run to the gradient asked for; whether it got there."""
    f = Watched(problem, gtol)
    options: dict = {"maxiter": 500}
    extra: dict = {}
    if method == "L-BFGS-B":
        options |= {"ftol": 0.0, "gtol": 0.0, "maxcor": 10}
    elif method == "Newton-CG":
        options |= {"xtol": 1e-14}
        extra["hessp"] = f.hessp
    elif method == "trust-exact":
        options |= {"gtol": 0.0, "initial_trust_radius": 1.0}
        extra["hess"] = f.hessian
    else:
        options |= {"gtol": 0.0, "initial_trust_radius": 1.0}
        extra["hessp"] = f.hessp
    try:
        scipy.optimize.minimize(f, f.start, jac=True, method=method, options=options, **extra)
    except _DoneError:
        return f, True
    return f, False


def one(problem: LpRegression, method: str, best: float) -> dict:
    """A run of a method: seconds of the processor, whether it converged, how far its objective is from the best."""
    if method in OURS:
        started = time.process_time()
        report = newton_lp(problem, step=method, gtol=GTOL).report
        seconds = time.process_time() - started
        row = {"converged": report.converged, "gap": abs(report.norm / best - 1) * problem.p}
        row |= {"steps": report.iterations, "exact": report.exact_steps, "rejected": report.rejected}
        row["evaluations"] = report.evaluations
    else:
        started = time.process_time()
        f, done = by_scipy(problem, method)
        seconds = time.process_time() - started
        norm = problem.unit * f.value ** (1 / problem.p)
        row = {"converged": done, "gap": abs(norm / best - 1) * problem.p, "evaluations": f.evaluations}
    return row | {"ms": 1e3 * seconds}


def interleaved(problems: list[LpRegression], methods: tuple[str, ...], repeats: int) -> dict[str, dict]:
    """Medians over problems of the smallest of some times, all methods in turn on each problem."""
    best = [newton_lp(problem, gtol=1e-11).report.norm for problem in problems]
    rows: dict[str, list[dict]] = {name: [] for name in methods}
    for index, problem in enumerate(problems):
        runs: dict[str, list[dict]] = {name: [] for name in methods}
        for repeat in range(repeats):
            shift = (index + repeat) % len(methods)
            for name in methods[shift:] + methods[:shift]:
                runs[name].append(one(problem, name, best[index]))
        for name in methods:
            rows[name].append(runs[name][0] | {"ms": min(run["ms"] for run in runs[name])})
    found = {}
    for name in methods:
        some = rows[name]
        found[name] = {
            "ms": float(np.median([row["ms"] for row in some])),
            "converged": sum(row["converged"] for row in some),
            "count": len(some),
            "worst_gap": max(row["gap"] for row in some),
            "evaluations": float(np.mean([row["evaluations"] for row in some])),
        }
        if "steps" in some[0]:
            steps = sum(row["steps"] for row in some)
            found[name]["steps"] = steps / len(some)
            found[name]["exact_share"] = sum(row["exact"] for row in some) / max(steps, 1)
            found[name]["rejected"] = sum(row["rejected"] for row in some)
        ratios = [a["ms"] / b["ms"] for a, b in zip(rows[methods[0]], some, strict=True)]
        found[name]["faster_than_exact"] = float(np.median(ratios))
    return found


def same_minimum(problems: list[LpRegression]) -> dict[str, float]:
    """Largest relative difference of x between learned and exact runs, to gradients of 1e-6 and 1e-10."""
    found = {}
    for gtol in (GTOL, 1e-10):
        worst = 0.0
        for problem in problems:
            x = newton_lp(problem, gtol=1e-11).x
            other = newton_lp(problem, step="learned", gtol=gtol).x
            worst = max(worst, float(np.linalg.norm(other - x) / np.linalg.norm(x)))
        found[f"{gtol:g}"] = worst
    return found


def settings(count: int, repeats: int) -> list[dict]:
    """Other exponents and laws."""
    rows = []
    for law in LAWS:
        for p in (1.2, 1.5, 1.8, 3.0):
            problems = list(lp_problems(count, law=law, p=p, family=SEED, seed=SEED + 1))
            rows.append({"law": law, "p": p} | {"methods": interleaved(problems, OURS, repeats)})
    return rows


def sizes(given: list[tuple[int, int, int]], repeats: int) -> list[dict]:
    """Other sizes, with A for all and, set-up included, with an A of its own for each."""
    rows = []
    for m, n, count in given:
        problems = list(lp_problems(count, m=m, n=n, family=SEED, seed=SEED + 2))
        row: dict = {"m": m, "n": n, "methods": interleaved(problems, (*OURS, "L-BFGS-B"), repeats)}
        A, b = problems[0].design.columns, problems[0].target
        times = []
        for _ in range(max(3, repeats)):
            started = time.process_time()
            lp_regression(A, b)
            times.append(time.process_time() - started)
        rows.append(row | {"setup_ms": 1e3 * min(times)})
    return rows


# --------------------------------------------------------------------------------------------------------
# What the paper's tokens can say, and what its network costs


def tokens_limit(train: int, test: int) -> dict:
    """Share of the exact steps' variance that (A'b, x) explain on held-out problems, by kernel regression.

    The kernel's width and ridge are the best in hindsight. "gradient" has the gradient beside x instead of A'b.
    """
    problems = list(lp_problems(train + test, family=SEED, seed=SEED + 3))
    data: dict[str, list] = {}
    for index, problem in enumerate(problems):
        path = newton_lp(problem, trajectory=True).trajectory
        assert path is not None
        start = problem.start
        for k in range(min(2, len(path.moves))):
            name = "first" if k == 0 else "second"
            size = 1 / np.sqrt(np.mean(problem.target**2))
            row = (start * size, (path.z[k] - start) * size, path.gradients[k], path.moves[k] * size, index < train)
            data.setdefault(name, []).append(row)
    found: dict = {}
    for name, rows in data.items():
        b, x, g, d = (np.array([row[i] for row in rows]) for i in range(4))
        known = np.array([row[4] for row in rows])
        for label, parts in {"A'b and x": (b, x), "gradient and x": (g, x)}.items():
            z = np.concatenate([part / (part.std() + 1e-300) for part in parts if part.std() > 1e-12], axis=1)
            found[f"{name} step, {label}"] = explained(z, d, known)
    return found


def explained(z: np.ndarray, d: np.ndarray, known: np.ndarray) -> float:
    """The best share over kernels: linear, and Gaussian of several widths."""
    a, b, y, t = z[known], z[~known], d[known], d[~known]
    centre = y.mean(axis=0)
    total = float(((t - centre) ** 2).sum())
    square = float(np.mean((a[:50, None] - a[None, :50]) ** 2) * a.shape[1])
    gauss = [lambda u, v, h=h: np.exp(-_distances(u, v) / (h * square)) for h in (1.0, 4.0)]
    best = 0.0
    for kernel in (lambda u, v: u @ v.T, *gauss):
        K, L = kernel(a, a), kernel(b, a)
        for ridge in (1e-2, 0.1, 1.0):
            weights = np.linalg.solve(K + ridge * np.trace(K) / len(K) * np.eye(len(K)), y - centre)
            best = max(best, 1 - float(((t - centre - L @ weights) ** 2).sum()) / total)
    return best


def _distances(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u * u).sum(1)[:, None] + (v * v).sum(1)[None] - 2 * u @ v.T


def same_tokens(count: int) -> float:
    """Mean cosine between the first exact steps of two targets with the same A'b, and so the same tokens."""
    cosines = []
    rng = np.random.default_rng(SEED + 4)
    for problem in lp_problems(count, family=SEED, seed=SEED + 4):
        Q = problem.design.basis
        inside = Q @ (Q.T @ problem.target)
        left = rng.permutation(problem.target - inside)
        left -= Q @ (Q.T @ left)
        other = lp_regression(problem.design, inside + left)
        steps = []
        for q in (problem, other):
            path = newton_lp(q, trajectory=True, maxiter=1, gtol=1e-11).trajectory
            assert path is not None
            steps.append(path.moves[0])
        cosines.append(float(steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])))
    return float(np.mean(cosines))


def network_ms(repeats: int) -> dict[str, float]:
    """One pass of the paper's network (12 blocks of width 256, 64 tokens): weights of any value take as long."""
    config = TransformerConfig()
    p = initial_parameters(config.shapes(), np.random.default_rng(0), config.blocks)
    x = np.random.default_rng(1).standard_normal((1, 64, 256)).astype(np.float32)
    found = {"NumPy": min(_timed(lambda: transform(p, x, config)) for _ in range(repeats))}
    try:
        import torch
    except ImportError:
        return found
    torch.set_num_threads(1)
    tensors = {key: torch.from_numpy(value) for key, value in p.items()}
    with torch.no_grad():
        found["torch"] = min(_timed(lambda: transform(tensors, torch.from_numpy(x), config)) for _ in range(repeats))
    return found


def _timed(run) -> float:
    started = time.process_time()
    run()
    return 1e3 * (time.process_time() - started)


# --------------------------------------------------------------------------------------------------------


def curves(repeats: int) -> dict[str, list[tuple[float, float]]]:
    """(milliseconds, relative distance of the objective from its minimum) of one test problem."""
    (problem,) = lp_problems(1, family=SEED, seed=SEED)
    report = newton_lp(problem, gtol=1e-12).report
    least = (report.norm / problem.unit) ** problem.p
    found = {}
    for name in (*OURS, *SCIPY):
        times, values = [], []
        for _ in range(repeats):
            if name in OURS:
                run = newton_lp(problem, step=name, gtol=1e-8).report
                first = lp_terms(problem.design.basis @ problem.start - problem.target, problem.p, problem.eps)[0]
                path = [(t, v * first) for t, v in zip(run.times, run.history, strict=True)]
            else:
                path = by_scipy(problem, name, 1e-8)[0].path
            times.append(np.diff([t for t, _ in path], prepend=0.0))
            values = [v for _, v in path]
        ms = 1e3 * np.cumsum(np.min(times, axis=0))  # of each step the fastest: all runs are the same
        found[name] = [(float(t), max(v / least - 1, 1e-16)) for t, v in zip(ms, values, strict=True)]
    return found


def measure(part: str, quick: bool) -> dict:
    """A part of the figures."""
    problems = list(lp_problems(5 if quick else 125, family=SEED, seed=SEED))
    if part == "runs":
        row = load("algebraformer-newton").parameters["row"].tolist()
        found = {"count": len(problems), "row": row, "runs": interleaved(problems, (*OURS, *SCIPY), 1 if quick else 2)}
        return found | {"same_minimum": same_minimum(problems), "curves": curves(3 if quick else 15)}
    if part == "settings":
        return {"settings": settings(1 if quick else 15, 1)}
    if part == "sizes":
        given = [(1000, 64, 3)] if quick else [(500, 16, 15), (1000, 64, 15), (4000, 128, 8), (8000, 256, 4)]
        return {"sizes": sizes(given, 1)}
    tokens = tokens_limit(60 if quick else 800, 20 if quick else 125)
    found = {"tokens": tokens, "same_tokens": same_tokens(5 if quick else 50)}
    return found | {"network_ms": network_ms(3 if quick else 20)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the three files")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS,
                        help="measure these anew and take the others from the JSON file")  # fmt: skip
    given = parser.parse_args(arguments)
    quick, path = given.quick, given.out / "algebraformer_newton.json"
    data: dict = {} if set(given.parts) == set(PARTS) else json.loads(path.read_text(encoding="utf-8"))
    data["command"] = "python reproduce/algebraformer_newton.py" + (" --quick" if quick else "")
    data |= {"date": time.strftime("%Y-%m-%d"), "hardware": platform.machine(), "gtol": GTOL}
    seconds = data.setdefault("cpu_seconds", {})
    for part in given.parts:
        started = time.process_time()
        data |= measure(part, quick)
        seconds[part] = round(time.process_time() - started)
        print(f"{part}: {seconds[part]} s", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    picture(data, given.out / "algebraformer_newton.png")
    (given.out / "algebraformer_newton.md").write_text(page(data), encoding="utf-8")


if __name__ == "__main__":
    main()
