"""The equivariant surrogate beside SciPy, eigenvectors, torch and polynomials: errors, products, seconds.

Matrices that no training has drawn: the families of the training (its spectra are of other seeds), and others.

    python reproduce/matrix_functions_surrogate.py [--engine FILE]     # some minutes on one core
    python reproduce/matrix_functions_surrogate.py --quick             # less than one
    python reproduce/matrix_functions_surrogate.py --page              # the page anew from the JSON

Writes docs/matrix_functions_surrogate.{json,md,png}. Seconds are of processor time on one thread, medians of rounds in
which all methods take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matrix_functions_rates as rates
import numpy as np
import scipy.linalg
import torch
from matrix_functions_surrogate_page import page, picture

import nnla
from nnla.evaluation.matrix_function_models import errors
from nnla.models.equivariant import EquivariantEngine
from nnla.problems import function_reference, matrix_family
from nnla.training.equivariant import examples

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEED = 50_000_000
SIZES = (2, 3, 5, 8, 16, 32)
FAMILIES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "exp": [(name, name, {}) for name in ("symmetric", "wigner", "toeplitz", "hankel", "band", "adjacency")],
    "sign": [
        ("gap .01", "gapped", {"gap": 0.01}),
        ("gap .1", "gapped", {"gap": 0.1}),
        ("reflections", "orthogonal", {"symmetric": True}),
    ],
    "sqrt": [
        ("definite, floor .1", "definite", {"floor": 0.1}),
        ("condition 1e2", "definite", {"floor": 0.1, "condition": 1e2}),
        ("condition 1e4", "definite", {"floor": 0.1, "condition": 1e4}),
        ("condition 1e6", "definite", {"floor": 0.1, "condition": 1e6}),
    ],
}
FAMILIES |= {"inv_sqrt": FAMILIES["sqrt"], "log": FAMILIES["sqrt"], "sin": FAMILIES["exp"], "cos": FAMILIES["exp"]}
TIMED = ("exp", "sign", "sqrt", "inv_sqrt")
WORST = {"exp": 1.0, "sign": 0.01, "definite": 1e-6}  # what is asked of a composition that knows nothing
ENTRIES = {"exp": "expm", "sign": "signm", "sqrt": "sqrtm", "inv_sqrt": "inv_sqrtm"}
SCIPY: dict[str, Callable[[np.ndarray], Any]] = {
    "exp": scipy.linalg.expm,
    "sign": scipy.linalg.signm,
    "sqrt": scipy.linalg.sqrtm,
    "inv_sqrt": lambda A: scipy.linalg.inv(scipy.linalg.sqrtm(A)),
}
SCALARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "sign": np.sign,
    "sqrt": lambda w: np.sqrt(np.maximum(w, 0)),
    "inv_sqrt": lambda w: 1 / np.sqrt(w),
}


class Asked(EquivariantEngine):
    """The network asked at every size."""

    network_from = 1


class Fixed(EquivariantEngine):
    """The same bound and the same programs, for the worst case that is allowed: nothing is learned."""

    def predicted(self, head: str, features: Any) -> Any:
        return np.full(len(features), np.log(WORST[head]))


class Knowing(EquivariantEngine):
    """The same, told the truth: what a perfect prediction would be worth."""

    truth: np.ndarray

    def predicted(self, head: str, features: Any) -> Any:
        return self.truth[: len(features)]


def relative(X: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """||X - f|| / ||f||, (B,); Inf where there is no answer."""
    found = np.linalg.norm(X - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    return np.where(np.isnan(found), np.inf, found)


def accuracy(engine: Any, count: int, say: Any) -> dict[str, Any]:
    """Errors of the network's own answers: function -> size -> family."""
    out: dict[str, Any] = {}
    for f, families in FAMILIES.items():
        out[f] = {}
        for n in SIZES:
            say(f"errors of {f}, n = {n}")
            row = {}
            for name, family, options in families:
                A = matrix_family(family, count if n < 32 else max(count // 4, 20), n, seed=[SEED, n], **options)
                X, products = engine.counted(A, f)
                exact = function_reference(A, f)
                known = np.isfinite(exact).all(axis=(1, 2)) & (np.abs(exact).max(axis=(1, 2)) > 0)
                found, l1 = relative(X[known], exact[known]), errors(X[known], exact[known])
                row[name] = {
                    "largest": float(found.max()),
                    "median": float(np.median(found)),
                    "within_millionth": float(np.mean(found <= 1e-6)),
                    "within_5_percent": float(np.mean(l1 <= 0.05)),
                    "median_l1": float(np.median(l1)),
                    "products": float(products[known].mean()),
                }
            out[f][str(n)] = row
    return out


def products(engine: Any, count: int, say: Any) -> dict[str, Any]:
    """Mean products of matrices: learned, for the worst case, and for the truth."""
    heads = {"exp": "exp", "sign": "sign", "sqrt": "definite", "inv_sqrt": "definite"}
    out: dict[str, Any] = {}
    for f in TIMED:
        out[f] = {}
        for n in SIZES:
            say(f"products of {f}, n = {n}")
            _, family, options = FAMILIES[f][0]
            A = matrix_family(family, count, n, seed=[SEED, n, 1], **options)
            row = {}
            fixed = Fixed(engine.config, engine.parameters, {})
            knowing = Knowing(engine.config, engine.parameters, {})
            w = np.linalg.eigvalsh(A)
            truth = examples(heads[f], w - w.mean(-1, keepdims=True) if f == "exp" else w)[1] - 1e-9
            asked = Asked(engine.config, engine.parameters, {})
            for name, model in (("learned", asked), ("worst case", fixed), ("known", knowing)):
                if name == "known":  # in one piece, as the truth is handed over by position
                    parts = [_one(model, A[i : i + 16], f, truth[i : i + 16]) for i in range(0, len(A), 16)]
                    row[name] = float(np.concatenate(parts).mean())
                else:
                    row[name] = float(model.counted(A, f)[1].mean())
            out[f][str(n)] = row
    return out


def _one(model: Any, A: np.ndarray, f: str, truth: np.ndarray) -> np.ndarray:
    model.truth = truth
    return model.counted(A, f)[1]


def chebyshev(A: np.ndarray, f: str, count: float) -> dict[str, float]:
    """Interpolation of f between the extreme eigenvalues of each matrix, which are given, of the degree that as many
    products allow: one a degree by the recurrence; (p / 2 + 1)^2 by Paterson and Stockmeyer. Median relative errors."""
    w = np.linalg.eigvalsh(A)
    out = {}
    for name, degree in (("recurrence", int(count) + 1), ("paterson-stockmeyer", int((count / 2 + 1) ** 2))):
        found = []
        for v in w:
            low, high = v[0] - 1e-9, v[-1] + 1e-9
            p = np.polynomial.Chebyshev.interpolate(SCALARS[f], min(degree, 400), [low, high])
            found.append(np.linalg.norm(p(v) - SCALARS[f](v)) / np.linalg.norm(SCALARS[f](v)))
        out[name] = float(np.median(found))
    return out


def clocks(engine: Any, quick: bool, say: Any) -> dict[str, Any]:
    """Microseconds a matrix: function -> size -> method; and the errors of torch's and of polynomials."""
    out: dict[str, Any] = {}
    fixed = Fixed(engine.config, engine.parameters, {})
    asked = Asked(engine.config, engine.parameters, {})
    for f in TIMED:
        out[f] = {}
        for n in SIZES:
            say(f"seconds of {f}, n = {n}")
            _, family, options = FAMILIES[f][0]
            count = min(20_000, 512_000 // n**2) // (10 if quick else 1)
            A = matrix_family(family, count, n, seed=[SEED, n, 2], **options)
            T, loop = torch.from_numpy(A), A[: 20 if quick else 60]
            entry = getattr(nnla.matfun, ENTRIES[f])
            methods: dict[str, tuple[Callable[[], Any], int]] = {
                "surrogate": (lambda A=A, f=f: engine.function(A, f), count),
                "network asked": (lambda A=A, f=f: asked.function(A, f), count),
                "worst case": (lambda A=A, f=f: fixed.function(A, f), count),
                "surrogate, checked": (lambda A=A, e=entry: e(A, method="equivariant", engine=engine), count),
                "eigenvectors, checked": (lambda A=A, e=entry: e(A, method="schur"), count),
                "scipy": (lambda loop=loop, f=f: [SCIPY[f](M) for M in loop], len(loop)),
                "numpy eigh": (lambda A=A, f=f: by_eigh(A, f), count),
                "torch eigh": (lambda T=T, f=f: by_torch(T, f), count),
            }
            if f == "exp":
                methods["torch matrix_exp"] = (lambda T=T: torch.matrix_exp(T), count)
            seconds: dict[str, list[float]] = {name: [] for name in methods}
            for number in range(3 if quick else 7):
                for name, (call, some) in methods.items():
                    started = time.process_time()
                    call()
                    if number:  # the first round warms up
                        seconds[name].append((time.process_time() - started) / some)
            row: dict[str, Any] = {name: 1e6 * float(np.median(s)) for name, s in seconds.items()}
            mean = float(engine.counted(A, f)[1].mean())
            row["chebyshev"] = chebyshev(A[:50], f, mean) | {"products": mean}
            out[f][str(n)] = row
    return out


def by_eigh(A: np.ndarray, f: str) -> np.ndarray:
    """NumPy's batched eigenvectors."""
    w, Q = np.linalg.eigh(A)
    return (Q * SCALARS[f](w)[:, None, :]) @ Q.swapaxes(-1, -2)


def by_torch(A: torch.Tensor, f: str) -> torch.Tensor:
    """torch's."""
    w, Q = torch.linalg.eigh(A)
    return (Q * torch.from_numpy(SCALARS[f](w.numpy()))[:, None, :]) @ Q.mT


def turning(engine: Any, count: int) -> dict[str, float]:
    """Largest ||f(QAQ') - Q f(A) Q'|| / ||f(A)|| over sizes, for random rotations Q."""
    rng = np.random.default_rng(SEED)
    out: dict[str, float] = {}
    for f, families in FAMILIES.items():
        worst = 0.0
        for n in SIZES:
            _, family, options = families[0]
            A = matrix_family(family, count, n, seed=[SEED, n, 3], **options)
            Q = np.linalg.qr(rng.standard_normal(A.shape))[0]
            B = Q @ A @ Q.swapaxes(-1, -2)
            X, Y = engine.function(A, f), engine.function((B + B.swapaxes(-1, -2)) / 2, f)
            off = np.linalg.norm(Y - Q @ X @ Q.swapaxes(-1, -2), axis=(1, 2)) / np.linalg.norm(X, axis=(1, 2))
            worst = max(worst, float(off.max()))
        out[f] = worst
    return out


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="matfun-equivariant", help="shipped weights, or a file of them")
    parser.add_argument("--quick", action="store_true", help="few matrices")
    parser.add_argument("--page", action="store_true", help="write the page from the JSON")
    args = parser.parse_args()
    target = DOCS / "matrix_functions_surrogate.json"
    if not args.page:
        torch.set_num_threads(1)

        def say(text: str) -> None:
            if sys.stderr.isatty():
                print(text, file=sys.stderr)

        engine = nnla.load(args.engine)
        count = 50 if args.quick else 1000
        started = time.process_time()
        with np.errstate(all="ignore"):
            found = {
                "command": "python reproduce/matrix_functions_surrogate.py" + (" --quick" if args.quick else ""),
                "date": time.strftime("%Y-%m-%d"),
                "hardware": platform.machine(),
                "count": count,
                "training": {key: engine.card.get(key) for key in ("seconds", "seed", "validation")},
                "parameters": sum(v.size for v in engine.parameters.values()),
                "accuracy": accuracy(engine, count, say),
                "products": products(engine, min(count, 500), say),
                "equivariance": turning(engine, min(count, 200)),
                "clocks": clocks(engine, args.quick, say),
                "rates": rates.table(args.quick, say),
            }
        found["cpu_seconds"] = round(time.process_time() - started)
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads(target.read_text(encoding="utf-8"))
    target.with_suffix(".md").write_text(page(found), encoding="utf-8")
    picture(found, target.with_suffix(".png"))


if __name__ == "__main__":
    main()
