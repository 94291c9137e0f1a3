"""Certified ReLU networks for matrix functions: certificate against measured error, and sizes against the theorem.

* exp: for n <= 8, ||A||_2 <= R and eps from 1e-2 to 1e-10: 10,000 random matrices, and an attack (adversarial families
  and an ascent from the worst of them); measured error <= certificate <= eps, and how far apart they are.
* Sizes of the three constructions, by parameters and by depth, beside the existence theorem's.
* Explicit sparse weights against the functional form; what rounding refuses; seconds; the reference against mpmath.
* The box |a_ij| <= M; sign, roots and inverse with a gap; squares, products, powers, sine and cosine.

    python reproduce/matrix_functions_relu.py
    python reproduce/matrix_functions_relu.py --quick --out /tmp/x

Writes docs/matrix_functions_relu.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from matrix_functions_relu_page import figure, markdown

import nnla
from nnla.constructions import (
    adversarial_matrices,
    attack,
    exact_function,
    product_network,
    relu_cosm,
    relu_expm,
    relu_inv_sqrtm,
    relu_invm,
    relu_matmul,
    relu_power,
    relu_signm,
    relu_sinm,
    relu_sqrtm,
    square_network,
    theorem_size,
)
from nnla.errors import OptionError
from nnla.problems import matrix_family

DOCS = Path(__file__).resolve().parents[1] / "docs"
EPS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
SIZES, BOUNDS = (2, 3, 5, 8), (1.0, 2.0, 4.0)
CONSTRUCTIONS = ("scaling", "paterson-stockmeyer", "taylor")
ROOTS = {"sign": relu_signm, "sqrt": relu_sqrtm, "inv_sqrt": relu_inv_sqrtm, "inv": relu_invm}
FAMILIES = ("general", "symmetric", "wigner", "orthogonal", "toeplitz", "hankel", "stochastic", "circulant", "band")


def random_matrices(count: int, n: int, bound: float, box: bool = False) -> np.ndarray:
    """All families in turn, half of them on the edge of the set, the others within."""
    each = -(-count // len(FAMILIES))
    A = np.concatenate([matrix_family(name, each, n, seed=i) for i, name in enumerate(FAMILIES)])[:count]
    size = np.abs(A).max(axis=(-2, -1)) if box else np.linalg.norm(A, 2, axis=(-2, -1))
    rng = np.random.default_rng(n)
    share = np.where(rng.random(count) < 0.5, 1.0, rng.random(count))
    return A * (share * bound * (1 - 1e-14) / size)[:, None, None]


def judged(network: Any, A: np.ndarray, exact: np.ndarray, quick: bool) -> dict[str, Any]:
    """Certificate, and the largest errors on random matrices and under attack."""
    random = float(np.linalg.norm(network(A) - exact, axis=(-2, -1)).max())
    found = attack(network, count=512 if quick else 4096, generations=5 if quick else 30)
    c = network.certificate
    return {
        "certificate": c.error,
        "truncation": c.truncation,
        "products": c.products,
        "rounding": c.rounding,
        "random": random,
        "attack": found.error,
        "tried": len(A) + found.tried,
        "depth": network.size.depth,
        "width": network.size.width,
        "parameters": network.size.parameters,
        **network.parameters,
    }


def exponentials(quick: bool, box: bool) -> list[dict[str, Any]]:
    rows = []
    sizes = (2, 3) if quick else SIZES if not box else (2, 3, 5)
    for n in sizes:
        for bound in (0.5, 1.0) if box else (1.0, 4.0) if quick else BOUNDS:
            A = random_matrices(500 if quick else 10_000, n, bound, box)
            exact = exact_function("exp", A)
            for eps in EPS:
                start = time.process_time()
                network = relu_expm(n, bound, eps, domain="box" if box else "ball")
                search = time.process_time() - start
                row = {"n": n, "bound": bound, "eps": eps, "search": round(search, 2)}
                rows.append(row | judged(network, A, exact, quick))
        print(f"exp {'box' if box else 'ball'} n={n}", file=sys.stderr, flush=True)
    return rows


def sizes(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for n, bound in ((3, 1.0), (3, 4.0)) if quick else ((2, 1.0), (3, 1.0), (3, 4.0), (5, 4.0), (8, 1.0), (8, 4.0)):
        for eps in (1e-2, 1e-4, 1e-8):
            theorem = theorem_size(n, bound, eps)
            row: dict[str, Any] = {
                "n": n,
                "bound": bound,
                "eps": eps,
                "theorem": {k: getattr(theorem, k) for k in ("terms", "depth", "log10_width", "log10_parameters")},
            }
            for construction in CONSTRUCTIONS:
                for minimise in ("parameters", "depth"):
                    network = relu_expm(n, bound, eps, construction=construction, minimise=minimise)
                    size = network.size
                    row[f"{construction} {minimise}"] = [size.depth, size.width, size.parameters]
            rows.append(row)
    return rows


def roots(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for function, make in ROOTS.items():
        for n in (3,) if quick else (3, 8):
            for gap in (0.1, 0.01):
                A = matrix_family("gapped" if function == "sign" else "definite", 200 if quick else 2000, n, seed=n)
                values, Q = np.linalg.eigh(A)
                values = np.sign(values) * np.clip(np.abs(values) / np.abs(values).max(-1, keepdims=True), gap, 1.0)
                A = (Q * values[:, None]) @ Q.mT
                A = (A + A.mT) / 2
                exact = exact_function(function, A)
                for eps in (1e-2, 1e-5, 1e-8):
                    network = make(n, gap, eps)
                    row = {"function": function, "n": n, "gap": gap, "eps": eps}
                    rows.append(row | judged(network, A, exact, quick))
        print(function, file=sys.stderr, flush=True)
    return rows


def blocks(quick: bool) -> list[dict[str, Any]]:
    """Squares, products of numbers and of matrices, powers, sine and cosine."""
    rows = []
    for m in (4, 10, 20):
        square, x = square_network(m), np.random.default_rng(0).uniform(-1, 1, (2, 100_000))
        x[:, :1000] = 1 - 2.0 ** -(m + 1)  # half-way between points of the grid
        u = np.abs(x[:1])
        for name, net, error in (
            ("x^2", square, np.abs(square(u) - u**2).max()),
            ("x y", product_network(m), np.abs(product_network(m)(x)[0] - x[0] * x[1]).max()),
        ):
            row = {"name": name, "n": 1, "certificate": net.error + float(net.rounding.max()), "measured": float(error)}
            rows.append(row | {"depth": net.depth, "width": net.width, "parameters": net.nonzeros})
    for n in (3, 8):
        for eps in (1e-2, 1e-6):
            network = relu_matmul(n, 1.0, eps)
            c = (1 - 2.0 ** -(network.certificate.steps[0] + 1)) / n  # entries half-way between points of the grid
            X = np.concatenate([adversarial_matrices(network.left, 4000), np.full((1, n, n), c)])
            fine = np.random.default_rng(0).uniform(0.9, 1, (4000, 1, 1)) / n * np.ones((n, n))
            X = np.concatenate([X, fine])
            row = {"name": "X Y", "n": n, "eps": eps, "certificate": network.certificate.error}
            error = float(np.linalg.norm(network(X, X) - X @ X, axis=(-2, -1)).max())
            rows.append(row | {"measured": error} | asdict(network.size))
    named = {"sin": relu_sinm, "cos": relu_cosm}
    named |= {f"A^{k}": partial(relu_power, k=k) for k in (2, 3, 8)}
    for name, make in named.items():
        for n in (3, 8):
            network = make(n, 1.0, 1e-6)
            found = attack(network, count=512 if quick else 2048, generations=5 if quick else 20, exact=EXACT[name])
            row = {"name": name, "n": n, "eps": 1e-6, "certificate": network.certificate.error}
            rows.append(row | {"measured": found.error} | asdict(network.size))
    return rows


def by_series(A: np.ndarray, first: int) -> np.ndarray:
    """sin (first = 1) or cos (0) for ||A|| <= 1 in extended precision."""
    A = A.astype(np.longdouble)
    square, term = A @ A, A if first else np.broadcast_to(np.eye(A.shape[-1], dtype=np.longdouble), A.shape)
    total = term
    for k in range(first + 2, 26, 2):
        term = -term @ square / (k * (k - 1))
        total = total + term
    return total.astype(float)


EXACT = {"sin": partial(by_series, first=1), "cos": partial(by_series, first=0)}
EXACT |= {f"A^{k}": partial(np.linalg.matrix_power, n=k) for k in (2, 3, 8)}


def explicit(quick: bool) -> list[dict[str, Any]]:
    """Sparse weights against the functional form: largest difference, beside the bound on rounding."""
    rows = []
    networks = [
        relu_expm(n, b, e, construction=c) for n, b, e in ((2, 4.0, 1e-8), (3, 1.0, 1e-6)) for c in CONSTRUCTIONS
    ]
    networks += [make(3, 0.1, 1e-6) for make in ROOTS.values()]
    networks += [] if quick else [relu_expm(5, 4.0, 1e-10), relu_expm(8, 4.0, 1e-8)]
    for network in networks:
        A = random_matrices(27, network.n, 1.0)
        if network.function != "exp":
            values, Q = np.linalg.eigh(A + A.mT)
            values = np.clip(np.abs(values), 0.1, 1.0) * (np.sign(values) if network.function == "sign" else 1.0)
            A = (Q * values[:, None]) @ Q.mT
            A = (A + A.mT) / 2
        start = time.process_time()
        by_layers = network.evaluate_layers(A)
        seconds = (time.process_time() - start) / len(A)
        bare = network.network
        rows.append(
            {
                "function": network.function,
                "construction": network.construction,
                "n": network.n,
                "eps": network.eps,
                "difference": float(np.abs(by_layers - network(A)).max()),
                "rounding": network.certificate.rounding,
                "depth": bare.depth,
                "width": bare.width,
                "nonzeros": bare.nonzeros,
                "counted": network.size.parameters,
                "seconds": seconds,
            }
        )
    return rows


def refusals() -> list[dict[str, Any]]:
    """The smallest eps that is certified, as the refusal names it, and that it can be had."""
    rows = []
    for n in SIZES:
        for bound in (1.0, 4.0):
            try:
                relu_expm(n, bound, 1e-15)
            except OptionError as refusal:
                smallest = float(str(refusal).split("eps >= ")[1].split()[0])
            reached = relu_expm(n, bound, smallest).certificate
            rows.append({"n": n, "bound": bound, "smallest": smallest, "certificate": reached.error})
    return rows


def seconds(quick: bool) -> list[dict[str, Any]]:
    """CPU microseconds for each matrix of a batch: functional form, SciPy's expm, medians of five."""
    from scipy.linalg import expm

    rows = []
    for n in (3, 8):
        A = random_matrices(200 if quick else 2000, n, 4.0)
        network = relu_expm(n, 4.0, 1e-6)
        times: dict[str, list[float]] = {"network": [], "scipy": []}
        for _ in range(5):
            for name, call in (("network", network), ("scipy", expm)):
                start = time.process_time()
                call(A)
                times[name].append((time.process_time() - start) / len(A) * 1e6)
        rows.append({"n": n, **{k: float(np.median(v)) for k, v in times.items()}})
    return rows


def reference() -> dict[str, float]:
    """Largest relative errors of the reference and of SciPy's expm against 40 digits, where attacks lead."""
    import mpmath
    from scipy.linalg import expm

    worst = {"ours": 0.0, "scipy": 0.0}
    for n, bound in ((2, 1.0), (3, 4.0), (5, 4.0), (8, 4.0)):
        network = relu_expm(n, bound, 1e-10)
        A = np.stack([attack(network, count=512, generations=5, seed=i).matrix for i in range(3)])
        by_scipy = attack(network, count=2048, generations=20, exact=expm).matrix  # where SciPy itself is off
        A = np.concatenate([A, random_matrices(3, n, bound), by_scipy[None]])
        with mpmath.workdps(40):
            exact = np.array([np.array(mpmath.expm(mpmath.matrix(a.tolist())).tolist(), dtype=float) for a in A])
        norms = np.linalg.norm(exact, axis=(-2, -1))
        for name, found in (("ours", exact_function("exp", A)), ("scipy", expm(A))):
            errors = np.linalg.norm(found - exact, axis=(-2, -1)) / norms
            worst[name] = max(worst[name], float(errors.max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=DOCS)
    arguments = parser.parse_args()
    quick, start = arguments.quick, time.process_time()
    data: dict[str, Any] = {
        "exp": exponentials(quick, box=False),
        "box": exponentials(quick, box=True),
        "sizes": sizes(quick),
        "roots": roots(quick),
        "blocks": blocks(quick),
        "explicit": explicit(quick),
        "refusals": refusals(),
        "seconds": seconds(quick),
        "reference": reference(),
    }
    data["meta"] = {
        "command": "python reproduce/matrix_functions_relu.py" + (" --quick" if quick else ""),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"one thread, {platform.machine()}",
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
        "seconds": round(time.process_time() - start),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = arguments.out / "matrix_functions_relu"
    base.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    base.with_suffix(".md").write_text(markdown(data))
    figure(data, base.with_suffix(".png"))


if __name__ == "__main__":
    main()
