"""AutoSpec, appendix A.1: quadratic, rational and gradient-driven transitions beside their classical counterparts.

Quadratic: products of matrices until ||X'X - I||_2 is below a tolerance, over random matrices of eight kinds, in
float64 and bfloat16 (torch's own arithmetic on the CPU). The product that checks the result is left out for every
method. "Polar Express" runs as published (Frobenius norm, smallest singular value 1e-3) and on the exact interval of
singular values, which no user has. Rational: solves against the products of Chebyshev interpolation and Lanczos at
condition 1e6. Gradient-driven: gradients until their norm is 1e-6 of the first one. Seeds here are in no training run
and were not looked at while the rules were chosen.

    python reproduce/autospec_extensions.py            # some minutes on one core
    python reproduce/autospec_extensions.py --quick    # one minute

Writes docs/autospec_extensions.{json,md,png}.
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
import scipy.sparse as sp
from autospec_extensions_page import page, picture

from nnla.extensions import minimise, polar, rational_function
from nnla.extensions.minimax import PRODUCTS, plan
from nnla.training.momentum_schedules import generate_spectrum

DOCS = Path(__file__).resolve().parents[1] / "docs"
KINDS = ("gaussian", "gaussian 2:1", "log-uniform", "power law", "Pareto", "low rank + noise", "uniform", "clusters")
TOLERANCES = {"float64": (1e-2, 1e-6, 1e-10), "bfloat16": (0.1, 0.03)}
RTOL = 1e-6
PARTS = ("rational", "quadratic", "gradient")


# --------------------------------------------------------------------------------------------------------
# Quadratic


def random_matrix(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "gaussian":
        return rng.standard_normal((n, n))
    if kind == "gaussian 2:1":
        return rng.standard_normal((2 * n, n))
    if kind == "low rank + noise":  # as gradients of network layers are
        signal = rng.standard_normal((2 * n, n // 16)) @ rng.standard_normal((n // 16, n)) / n**0.5
        return signal + 10 ** -rng.uniform(0.5, 2.5) * rng.standard_normal((2 * n, n))
    values = {
        "log-uniform": lambda: 10 ** (-rng.uniform(1, 6) * rng.random(n)),
        "power law": lambda: (1.0 + np.arange(n)) ** -rng.uniform(0.5, 2.5),
        "Pareto": lambda: np.clip(rng.pareto(1.0, n), 1e-3, 1e6),
        "uniform": lambda: rng.uniform(0.01, 1, n),
        "clusters": lambda: (
            np.where(np.arange(n) < n // 2, 1.0, 10 ** -rng.uniform(0.5, 4)) * np.exp(0.02 * rng.standard_normal(n))
        ),
    }[kind]()
    U = np.linalg.qr(rng.standard_normal((n, n)))[0]
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (U * values) @ V.T


def quadratic(sizes: tuple[int, ...], seeds: int) -> dict:
    import torch

    torch.set_num_threads(1)
    rows = []
    for n in sizes:
        for seed in range(seeds):
            for index, kind in enumerate(KINDS):
                A = random_matrix(kind, n, np.random.default_rng([1000 + seed, n, index]))
                for dtype, tolerances in TOLERANCES.items():
                    B = A if dtype == "float64" else torch.from_numpy(A).to(torch.bfloat16)
                    exact = A if dtype == "float64" else B.double().numpy()
                    values = np.linalg.svd(exact, compute_uv=False)
                    for tol in tolerances:
                        rows.append({"kind": kind, "n": n, "seed": seed, "dtype": dtype, "tol": tol})
                        rows[-1]["condition"] = float(values[0] / values[-1])
                        for name, options in {
                            "autospec": {},
                            "polar-express": {"method": "polar-express"},
                            "polar-express, exact interval": {
                                "method": "polar-express",
                                "interval": (values[-1], values[0]),
                            },
                            "prism": {"method": "prism"},
                            "newton-schulz": {"method": "newton-schulz"},
                            "newton-schulz-3": {"method": "newton-schulz-3"},
                        }.items():
                            rows[-1][name] = one_polar(B, exact, tol, seed, options)
    return {"rows": rows, "summary": summarise(rows), "muon": muon(), "planned": planned()}


def one_polar(B, exact: np.ndarray, tol: float, seed: int, options: dict) -> int | None:
    """Products until the tolerance, the check left out; None where it is not reached. Judged by the SVD."""
    result = polar(B, rtol=tol, seed=seed, maxsteps=60, **options)
    U = result.U if isinstance(result.U, np.ndarray) else result.U.double().numpy()
    if not result.report.converged or not np.all(np.isfinite(U)):
        return None
    values = np.linalg.svd(U, compute_uv=False)
    # converged must mean converged, and no singular value may have changed its sign
    assert np.abs(values**2 - 1).max() <= 1.3 * tol, (result.report, values)
    H = U.T @ exact
    assert np.linalg.eigvalsh(0.5 * (H + H.T)).min() >= -0.1 * np.linalg.norm(exact, 2), result.report
    return result.report.products - result.report.products_check


def summarise(rows: list[dict]) -> list[dict]:
    out = []
    names = [key for key in rows[0] if isinstance(rows[0][key], int | None) and key not in ("n", "seed")]
    for dtype, tolerances in TOLERANCES.items():
        for tol in tolerances:
            group = [r for r in rows if r["dtype"] == dtype and r["tol"] == tol]
            line: dict = {"dtype": dtype, "tol": tol, "count": len(group)}
            both = [r for r in group if all(r[m] is not None for m in names)]
            line["mean_where_all_converge"] = {m: round(float(np.mean([r[m] for r in both])), 2) for m in names}
            line["failed"] = {m: sum(r[m] is None for r in group) for m in names}
            for other in ("polar-express", "polar-express, exact interval"):
                pairs = [(r["autospec"], r[other]) for r in group if r["autospec"] is not None and r[other] is not None]
                saved = np.array([b - a for a, b in pairs])
                line[f"against {other}"] = {
                    "fewer": int((saved > 0).sum()), "equal": int((saved == 0).sum()), "more": int((saved < 0).sum()),
                    "saved_mean": round(float(saved.mean()), 2), "saved_min": int(saved.min()),
                    "saved_max": int(saved.max()),
                }  # fmt: skip
            out.append(line)
    return out


def muon() -> dict:
    """Singular values after the five steps of fixed coefficients that Muon is known for."""
    A = np.random.default_rng(7).standard_normal((128, 128))
    values = np.linalg.svd(polar(A, method="muon").U, compute_uv=False)
    return {"products": 15, "smallest": float(values[-1]), "largest": float(values[0])}


def planned() -> list[dict]:
    """Products planned for an interval that is known: what the degrees are worth, without any probing."""
    cost = lambda ratio, tol, degrees: sum(PRODUCTS[d] for d in plan(ratio, tol, degrees=degrees))  # noqa: E731
    return [
        {
            "ratio": ratio,
            "tol": tol,
            "Polar Express (5)": cost(ratio, tol, (5,)),
            "3, 5": cost(ratio, tol, (3, 5)),
            "3, 5, 9": cost(ratio, tol, (3, 5, 9)),
            "3, 5, 9, 17 (learned)": cost(ratio, tol, (3, 5, 9, 17)),
        }
        for ratio in (1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3)
        for tol in (1e-2, 1e-6, 1e-12)
    ]


# --------------------------------------------------------------------------------------------------------
# Rational


def rational(n: int) -> list[dict]:
    A = sp.diags_array([np.full(n - 1, -1.0), np.full(n, 2.0), np.full(n - 1, -1.0)], offsets=[-1, 0, 1]).tocsr()
    w, V = np.linalg.eigh(A.toarray())
    v = np.random.default_rng(1001).standard_normal(n)
    coordinates = V.T @ v
    out = []
    for name, f in {"inv_sqrt": lambda x: x**-0.5, "sqrt": np.sqrt, "log": np.log}.items():
        exact = f(w) * coordinates
        size = np.linalg.norm(exact)
        chebyshev = chebyshev_errors(f, w, exact, coordinates)
        lanczos = lanczos_errors(f, A, v, V, exact)
        for tol in (1e-3, 1e-6, 1e-9):
            started = time.process_time()
            R = rational_function(A, name, rtol=tol / 2)
            bind = time.process_time() - started
            started = time.process_time()
            y = R @ v
            apply = time.process_time() - started
            row = {"function": name, "tol": tol, "n": n, "condition": float(w[-1] / w[0])}
            row |= {"solves": R.report.solves_per_apply, "error": float(np.linalg.norm(V.T @ y - exact) / size)}
            row |= {"reported": R.report.error, "bind_products": R.report.products}
            row |= {"bind_solves": R.report.solves - R.report.solves_per_apply}
            row |= {"bind_ms": round(1e3 * bind, 1), "apply_ms": round(1e3 * apply, 2)}
            row["chebyshev_products"] = next((d for d, e in chebyshev if e <= tol), None)
            row["lanczos_products"] = next((d for d, e in lanczos if e <= tol), None)
            out.append(row)
    return out


def chebyshev_errors(f, w: np.ndarray, exact: np.ndarray, coordinates: np.ndarray) -> list[tuple[int, float]]:
    """(degree, relative error) of interpolation on the exact interval."""
    a, b = w[0], w[-1]
    out = []
    for degree in np.unique(np.round(np.geomspace(4, 12000, 60)).astype(int)):
        series = np.polynomial.chebyshev.chebinterpolate(lambda t: f(0.5 * (b - a) * t + 0.5 * (b + a)), degree)
        values = np.polynomial.chebyshev.chebval((2 * w - a - b) / (b - a), series)
        out.append((int(degree), float(np.linalg.norm(values * coordinates - exact) / np.linalg.norm(exact))))
        if out[-1][1] < 1e-9:
            break
    return out


def lanczos_errors(f, A, v: np.ndarray, V: np.ndarray, exact: np.ndarray) -> list[tuple[int, float]]:
    """(steps, relative error) of the Lanczos approximation of f(A) v, fully reorthogonalised."""
    from scipy.linalg import eigh_tridiagonal

    n, out = v.size, []
    Q, alpha, beta = [v / np.linalg.norm(v)], [], []
    marks = set(np.unique(np.round(np.geomspace(4, n - 1, 60)).astype(int)).tolist())
    for k in range(1, n):
        q = A @ Q[-1]
        alpha.append(float(q @ Q[-1]))
        basis = np.array(Q)
        q = q - basis.T @ (basis @ q)
        q = q - basis.T @ (basis @ q)
        beta.append(float(np.linalg.norm(q)))
        if k in marks:
            theta, S = eigh_tridiagonal(np.array(alpha), np.array(beta[:-1]))
            y = basis.T @ (S @ (f(theta) * S[0])) * np.linalg.norm(v)
            out.append((k, float(np.linalg.norm(V.T @ y - exact) / np.linalg.norm(exact))))
            if out[-1][1] < 1e-9:
                break
        Q.append(q / beta[-1])
    return out


# --------------------------------------------------------------------------------------------------------
# Gradient-driven


def objectives(count: int) -> list[tuple[str, object, np.ndarray, object]]:
    """(name, f_grad, x0, Hessian at a point or None) of held-out problems."""
    out = []
    for seed in range(count):
        rng = np.random.default_rng(50_000 + seed)
        values, weights = generate_spectrum(rng)
        g = np.sqrt(weights)
        out.append((f"quadratic {seed}", lambda x, d=values, g=g: (0.5 * x @ (d * x) + g @ x, d * x + g),
                    np.zeros(values.size), lambda x, d=values: np.diag(d)))  # fmt: skip
    for seed, decay in enumerate((0.0, 1.0)):
        rng = np.random.default_rng(60_000 + seed)
        m, n = 400, 60
        X = rng.standard_normal((m, n)) * (1.0 + np.arange(n)) ** -decay
        truth = rng.standard_normal(n) * 3
        labels = np.where(rng.random(m) < 1 / (1 + np.exp(-X @ truth)), 1.0, -1.0)
        target = X @ truth + rng.standard_t(2, m)
        classes = np.argmax(X @ rng.standard_normal((n, 4)) + rng.gumbel(size=(m, 4)), axis=1)
        for name, size, (f, hessian) in (
            ("ridge", n, ridge(X, target, 1e-3)),
            ("logistic", n, logistic(X, labels, 1e-3)),
            ("Huber", n, huber(X, target, 1e-3)),
            ("softmax", 4 * n, softmax(X, classes, 4, 1e-3)),
        ):
            out.append((f"{name}, feature decay {decay:g}", f, np.zeros(size), hessian))
    return out


def ridge(X, t, mu):
    m = len(t)
    f = lambda x: (0.5 * np.sum((X @ x - t) ** 2) / m + 0.5 * mu * x @ x, X.T @ (X @ x - t) / m + mu * x)  # noqa: E731
    return f, lambda x: X.T @ X / m + mu * np.eye(X.shape[1])


def logistic(X, y, mu):
    m = len(y)

    def f(x):
        z = y * (X @ x)
        s = 1 / (1 + np.exp(np.clip(z, -500, 500)))
        return np.logaddexp(0, -z).mean() + 0.5 * mu * x @ x, -X.T @ (y * s) / m + mu * x

    def hessian(x):
        s = 1 / (1 + np.exp(np.clip(X @ x, -500, 500)))
        return (X.T * (s * (1 - s))) @ X / m + mu * np.eye(X.shape[1])

    return f, hessian


def huber(X, t, mu, delta=1.0):
    m = len(t)

    def f(x):  # the pseudo-Huber function: smooth
        r = X @ x - t
        root = np.sqrt(1 + (r / delta) ** 2)
        return delta**2 * np.mean(root - 1) + 0.5 * mu * x @ x, X.T @ (r / root) / m + mu * x

    def hessian(x):
        root = np.sqrt(1 + ((X @ x - t) / delta) ** 2)
        return (X.T * root**-3) @ X / m + mu * np.eye(X.shape[1])

    return f, hessian


def softmax(X, classes, k, mu):
    m, n = X.shape
    hot = np.eye(k)[classes]

    def probabilities(x):
        Z = X @ x.reshape(n, k)
        Z = Z - Z.max(1, keepdims=True)
        E = np.exp(Z)
        return Z - np.log(E.sum(1, keepdims=True)), E / E.sum(1, keepdims=True)

    def f(x):
        logs, P = probabilities(x)
        return -np.mean(np.sum(hot * logs, 1)) + 0.5 * mu * x @ x, (X.T @ (P - hot) / m).ravel() + mu * x

    def hessian(x):
        _, P = probabilities(x)
        W = P[:, :, None] * (np.eye(k) - P[:, None, :])
        return np.einsum("mi,mkl,mj->ikjl", X, W, X, optimize=True).reshape(n * k, n * k) / m + mu * np.eye(n * k)

    return f, hessian


def gradient(count: int, maxiter: int) -> dict:
    rows, curves = [], {}
    for name, f, x0, hessian in objectives(count):
        g0 = np.linalg.norm(f(x0)[1])
        best = scipy.optimize.minimize(f, x0, jac=True, method="L-BFGS-B", options={"gtol": 1e-12, "maxiter": 20000})
        ends = [np.linalg.eigvalsh(hessian(point)) for point in (x0, best.x)]
        bounds = (min(e[0] for e in ends), max(e[-1] for e in ends))
        row: dict = {"name": name, "n": x0.size, "condition": float(bounds[1] / bounds[0])}
        for method in ("autospec", "chebyshev", "nesterov-safe"):
            result = minimise(f, x0, gtol=RTOL, method=method, maxiter=maxiter)
            row[method] = result.report.evaluations if result.report.converged else None
            if method == "autospec":
                row["restarts"], row["fallback"] = len(result.report.restarts), result.report.fallback
            curves.setdefault(name, {})[method] = result.report.history
        for method in ("chebyshev", "gradient-descent", "heavy-ball", "nesterov", "nesterov-convex"):
            key = f"{method}, exact interval"
            result = minimise(f, x0, gtol=RTOL, method=method, interval=bounds, maxiter=maxiter)
            row[key] = result.report.evaluations if result.report.converged else None
            curves[name][key] = result.report.history
        for method in ("CG", "L-BFGS-B"):
            row[f"scipy {method}"] = scipy_count(f, x0, method, RTOL * g0)
        row["conjugate gradients"] = linear_cg(hessian(x0), f(x0)[1]) if name.startswith(("quad", "ridge")) else None
        rows.append(row)
    methods = [key for key in rows[0] if key not in ("name", "n", "condition", "restarts", "fallback")]
    summary = {}
    for group in ("quadratic", "other"):
        chosen = [r for r in rows if r["name"].startswith("quadratic") == (group == "quadratic")]
        summary[group] = {"count": len(chosen)}
        for m in methods:
            pairs = [r["autospec"] / r[m] for r in chosen if r[m] and r["autospec"]]
            summary[group][m] = {
                "autospec_over_it": round(float(np.exp(np.mean(np.log(pairs)))), 3) if pairs else None,
                "autospec_fewer": sum(p < 1 for p in pairs), "compared": len(pairs),
                "failed": sum(r[m] is None for r in chosen),
            }  # fmt: skip
    shown = "logistic, feature decay 1"
    return {"rows": rows, "summary": summary, "curves": {shown: {m: thin(h) for m, h in curves[shown].items()}}}


def thin(history: list[float]) -> list[tuple[int, float]]:
    """(evaluation, smallest gradient norm so far) at some evenly spaced logarithms."""
    lowest = np.minimum.accumulate(np.nan_to_num(np.array(history), nan=np.inf, posinf=1e300))
    marks = np.unique(np.round(np.geomspace(1, lowest.size, 150)).astype(int))
    return [(int(k), float(lowest[k - 1] / lowest[0])) for k in marks]


def scipy_count(f, x0, method: str, gtol: float) -> int | None:
    """Evaluations of f and gradient until a gradient is small enough."""
    state = {"count": 0, "hit": None}

    def watched(x):
        value, g = f(x)
        state["count"] += 1
        if state["hit"] is None and np.linalg.norm(g) <= gtol:
            state["hit"] = state["count"]
        return value, g

    tight = {"gtol": 0.1 * gtol / np.sqrt(x0.size), "maxiter": 20000}
    if method == "L-BFGS-B":
        tight |= {"ftol": 0.0, "maxfun": 50000}
    scipy.optimize.minimize(watched, x0, jac=True, method=method, options=tight)
    return state["hit"]


def linear_cg(H: np.ndarray, g: np.ndarray) -> int | None:
    """Products of conjugate gradients for H x = -g until the residual is RTOL of the first."""
    r, p, size = -g, -g, np.linalg.norm(g)
    for k in range(1, 5 * g.size + 1000):
        q = H @ p
        alpha = (r @ r) / (p @ q)
        new = r - alpha * q
        if np.linalg.norm(new) <= RTOL * size:
            return k + 1  # and the gradient at the start
        p = new + (new @ new) / (r @ r) * p
        r = new
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the three files")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS,
                        help="measure these anew and take the others from the JSON file")  # fmt: skip
    given = parser.parse_args()
    quick, path = given.quick, given.out / "autospec_extensions.json"
    data: dict = {} if set(given.parts) == set(PARTS) else json.loads(path.read_text(encoding="utf-8"))
    data["command"] = "python reproduce/autospec_extensions.py" + (" --quick" if quick else "")
    data |= {"date": "2026-11-21", "hardware": platform.machine(), "rtol": RTOL}
    seconds = data.setdefault("cpu_seconds", {})
    for part in given.parts:
        started = time.process_time()
        if part == "rational":
            data[part] = rational(400 if quick else 1500)
        elif part == "quadratic":
            data[part] = quadratic((64,) if quick else (64, 160), 1 if quick else 4)
        else:
            data[part] = gradient(3 if quick else 20, 2000 if quick else 5000)
        seconds[part] = round(time.process_time() - started)
        print(f"{part}: {seconds[part]} s", flush=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    picture(data, given.out / "autospec_extensions.png")
    (given.out / "autospec_extensions.md").write_text(page(data), encoding="utf-8")


if __name__ == "__main__":
    main()
