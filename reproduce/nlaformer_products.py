"""The loop with exact products beside CG, Jacobi-PCG, Chebyshev and block CG: errors, loops, products and operations.

Systems of the NLAFormer paper's family at n = 10 to 200 with sigma = none, 1, 1.2, 1.4 (training has n <= 40 and the
last three), other families, what each part of the loop gives, what it learned, and its uses. Systems are of no training
and no validation seed. Error: ||x_t - x||^2 / ||x||^2.

    python reproduce/nlaformer_products.py              # some minutes on one core
    python reproduce/nlaformer_products.py --quick      # less than one
    python reproduce/nlaformer_products.py --page       # the page anew from the JSON

Writes docs/nlaformer_products.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.linalg
from nlaformer_products_page import page, picture

import nnla
from nnla.evaluation.spd_models import guarded_errors
from nnla.evaluation.spd_rivals import block_cg_errors, cg_errors, chebyshev_errors, products_to, rival_flops
from nnla.models.nlaformer_exact import flops
from nnla.problems.dense_spd import spd_systems
from nnla.problems.gallery import poisson1d, poisson2d

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEED = 40_000_000
SIZES, SIGMAS = (10, 20, 40, 100, 200), (None, 1.0, 1.2, 1.4)
TARGETS = (1e-2, 1e-4, 1e-6, 1e-8)
RIVALS = ("cg", "jacobi", "chebyshev", "chebyshev estimated", "block cg")


def rival(name: str, A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int) -> np.ndarray:
    """Errors of a classical method, (products + 1, B)."""
    if name in ("cg", "jacobi"):
        return cg_errors(A, b, x, products, jacobi=name == "jacobi")
    if name == "block cg":
        return block_cg_errors(A, b, x, products)
    return chebyshev_errors(A, b, x, products, exact=name == "chebyshev")


def first(errors: np.ndarray, target: float) -> int | None:
    """The first number of products at which the mean error is below a target."""
    met = np.flatnonzero(errors.mean(1) <= target)
    return int(met[0]) if len(met) else None


def each(errors: np.ndarray, target: float) -> float:
    """Mean over systems of the products that each takes; those that do not end count all that there were."""
    return float(np.minimum(products_to(errors, target), len(errors) - 1).mean())


def drawn(n: int, sigma: float | None, count: int) -> Any:
    """Systems of the test."""
    return spd_systems(count if n < 100 else max(20, count // 8), n, sigma=sigma, seed=[SEED, n])


def family(models: dict[str, Any], count: int) -> dict[str, Any]:
    """Every size and sigma by every method."""
    found: dict[str, Any] = {}
    for n in SIZES:
        for sigma in SIGMAS:
            systems = drawn(n, sigma, count)
            A, b, x = systems.A, systems.b, systems.x
            most = 70 if n < 100 else 110
            curves = {name: rival(name, A, b, x, most) for name in RIVALS}
            test = models["learned"].family(A, b)
            read, inside = float(test.read.mean()) / n, float(test.inside.mean())
            for name, model in models.items():
                K = model.config.channels
                products = min(most, max(n + 20, 40) // K * K)
                curves[name] = guarded_errors(model, A, b, x, products)
            row: dict[str, Any] = {"condition": float(np.median(np.linalg.cond(A))), "read": read, "inside": inside}
            row["methods"] = {}
            for name, errors in curves.items():
                means = errors.mean(1)
                to = [first(errors, t) for t in TARGETS]
                needs = to[2]
                row["methods"][name] = {
                    "mean_at": {str(t): float(means[t]) for t in (5, 10, 15)},
                    "products": to,
                    "each": [each(errors, t) for t in TARGETS],
                    "flops": None if needs is None else operations(name, models, n, needs),
                    "curve": means[:31].tolist(),
                    "floor": float(means[-1]),
                }
            found[f"{n}, {'none' if sigma is None else f'{sigma:g}'}"] = row
    return found


def operations(name: str, models: dict[str, Any], n: int, products: int) -> float:
    """To so many products, for one system."""
    if name not in models:
        return rival_flops(name, n, products)
    config = models[name].config
    return flops(config, n, -(-products // config.channels))


def spectrum(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Matrices with these eigenvalues and random eigenvectors."""
    Q = np.linalg.qr(rng.standard_normal((count, len(values), len(values))))[0]
    return (Q * values) @ Q.swapaxes(1, 2)


def other_families(count: int) -> dict[str, np.ndarray]:
    """Matrices that no training has seen."""
    rng, n = np.random.default_rng([SEED, 1]), 100
    points = rng.random((count, n, 2))
    square = ((points[:, :, None] - points[:, None]) ** 2).sum(-1)
    outliers = np.concatenate([1 + 0.1 * rng.random(n - 3), [1e2, 1e3, 1e4]])
    w = rng.standard_normal((count, 50))
    sizes = np.exp(rng.standard_normal((count, n)))
    same = np.ones((count, 1, 1))
    return {
        "log-uniform spectrum, condition 1e4, n = 20": spectrum(np.logspace(0, 4, 20), count, rng),
        "log-uniform spectrum, condition 1e4, n = 100": spectrum(np.logspace(0, 4, n), count, rng),
        "linear spectrum, condition 1e4, n = 100": spectrum(np.linspace(1, 1e4, n), count, rng),
        "three outliers, condition 1e4, n = 100": spectrum(outliers, count, rng),
        "identity and a rank-one matrix, n = 50": np.eye(50) + w[:, :, None] * w[:, None, :],
        "1-D Laplacian, n = 100": same * poisson1d(n).toarray(),
        "2-D Laplacian, 14 x 14": same * poisson2d(14).toarray(),
        "Gaussian kernel + 0.001, n = 100": np.exp(-square / 0.1) + 1e-3 * np.eye(n),
        "exponential kernel + 0.01, n = 100": np.exp(-np.sqrt(square) / 0.3) + 1e-2 * np.eye(n),
        "three outliers, rows rescaled, n = 100": spectrum(outliers, count, rng) * sizes[:, :, None] * sizes[:, None],
    }


def others(model: Any, count: int) -> dict[str, Any]:
    """Mean products of a system to 1e-6 on other families, with and without the guard."""
    found: dict[str, Any] = {}
    rng = np.random.default_rng([SEED, 2])
    for name, A in other_families(count).items():
        n = A.shape[-1]
        x = rng.standard_normal(A.shape[:2])
        b = np.einsum("bij,bj->bi", A, x)
        most = 3 * n if n < 100 else 2 * n
        curves = {
            "cg": cg_errors(A, b, x, most),
            "orthogonal": galerkin_only(model, A, b, x, most, lambda loop, a: np.ones_like(a), columns=False)[0],
            "jacobi": cg_errors(A, b, x, most, jacobi=True),
            "guarded": guarded_errors(model, A, b, x, most),
            "unguarded": guarded_errors(model, A, b, x, most, guard=False),
        }
        test = model.family(A, b)
        found[name] = {key: each(errors, 1e-6) for key, errors in curves.items()}
        found[name] |= {
            "condition": float(np.median(np.linalg.cond(A))),
            "inside": float(test.inside.mean()),
            "read": float(test.read.mean()) / n,
        }
    return found


def galerkin_only(
    model: Any, A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int, gate: Any = None, columns: bool = True
) -> Any:
    """Errors of the loop without its last step, and of the 2-norm's best approximation in the same directions."""
    loop = model.loop(A, b, guard=False, columns=columns)
    size = (x * x).sum(-1)
    found, best = [np.ones(len(b))], [np.ones(len(b))]
    diagonal = np.einsum("bii->bi", A)
    for _ in range(products):
        loop.advance(None if gate is None else gate(loop, diagonal)[..., None])
        found.append(((loop.x - x) ** 2).sum(-1) / size)
        Q = np.linalg.qr(np.stack(loop._P, -1))[0]
        rest = x - (Q @ (Q.swapaxes(1, 2) @ x[..., None]))[..., 0]
        best.append((rest * rest).sum(-1) / size)
    return np.array(found), np.array(best)


def with_last_step(
    model: Any, A: np.ndarray, b: np.ndarray, x: np.ndarray, products: int, gate: Any, length: float, columns: bool
) -> np.ndarray:
    """The loop with gates by a rule, and a step after it without a product, of one length for all."""
    loop, size = model.loop(A, b, guard=False, columns=columns), (x * x).sum(-1)
    diagonal = np.einsum("bii->bi", A)
    found = []
    for t in range(products + 1):
        gates = gate(loop, diagonal)[..., None]
        z = loop._conjugate(gates * loop.r[..., None])[..., 0]
        found.append(((loop.x + length * z - x) ** 2).sum(-1) / size)
        if t < products:
            loop.advance(gates)
    return np.array(found)


def parts(models: dict[str, Any], count: int) -> dict[str, Any]:
    """What each part gives: products to a mean error of 1e-6, linear between products in the logarithm."""
    from nnla.training.nlaformer_exact import products_to as between

    model, found = models["learned"], {}
    rules = {
        "CG": lambda loop, a: np.ones_like(a),
        "Jacobi-PCG": lambda loop, a: 1 / a,
        "the rule 1 / what is left": lambda loop, a: 1 / np.maximum(a - loop._explained, 1e-3 * a),
    }
    lengths = (0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8)
    for n in (20, 40, 100):
        systems = drawn(n, 1.2, count)
        A, b, x = systems.A, systems.b, systems.x
        most = min(30, n + 5)
        row: dict[str, float] = {}
        read = float(model.family(A, b).read.mean()) / n

        def last(rule: Any, columns: bool, A: Any = A, b: Any = b, x: Any = x, most: int = most) -> float:
            errors = (with_last_step(model, A, b, x, most, rule, length, columns).mean(1) for length in lengths)
            return min(between(one, 1e-6) for one in errors)

        for name, rule in rules.items():
            errors, best = galerkin_only(model, A, b, x, most, rule, columns=False)
            row[name] = between(errors.mean(1), 1e-6)
            row[f"{name}: best in the 2-norm in its directions"] = between(best.mean(1), 1e-6)
            if name != "CG":  # whose residuals have the unit of A
                row[f"{name}, and a last step of the best fixed length"] = last(rule, False)
        off = A - np.einsum("bi,ij->bij", np.einsum("bii->bi", A), np.eye(n))
        values, vectors = np.linalg.eigh(off)
        known = np.einsum("bii->bi", A) - np.clip(values[:, -1:] * vectors[:, :, -1] ** 2, 0, None)
        fixed = 1 / np.maximum(known, 0.05)
        row["the rule, the rank-one part known from all entries"] = between(
            galerkin_only(model, A, b, x, most, lambda loop, a, fixed=fixed: fixed, columns=False)[0].mean(1), 1e-6
        )
        row["block CG, 4 right-hand sides"] = between(block_cg_errors(A, b, x, n + 20).mean(1), 1e-6)
        columns = read + last(rules["the rule 1 / what is left"], True)
        row["the rule, a last step, and the guard's columns as first directions"] = columns
        learned, best = galerkin_only(model, A, b, x, most)
        row["the learned loop without the last step"] = read + between(learned.mean(1), 1e-6)
        row["the learned loop: best in the 2-norm in its directions"] = read + between(best.mean(1), 1e-6)
        unguarded = guarded_errors(model, A, b, x, most, guard=False)
        row["the learned loop"] = read + between(unguarded.mean(1), 1e-6)
        row["the learned loop, guarded"] = read + between(guarded_errors(model, A, b, x, most).mean(1), 1e-6)
        if "wide" in models:
            K = models["wide"].config.channels
            errors = guarded_errors(models["wide"], A, b, x, most // K * K, guard=False).mean(1)[::K]
            row[f"{K} learned channels a loop, in parallel"] = read + K * between(errors, 1e-6)
        found[str(n)] = row
    return found


def seen(model: Any) -> dict[str, Any]:
    """What it learned: gates, lengths of steps, and what is left of the error by eigenvalue."""
    systems = drawn(20, 1.2, 400)
    A, b, x = systems.A, systems.b, systems.x
    loop, diagonal = model.loop(A, b, guard=False), np.einsum("bii->bi", A)
    gates: list[dict[str, Any]] = []
    lengths: dict[str, list[Any]] = {"learned": [], "jacobi": []}
    rule = model.loop(A, b, guard=False, columns=False)
    for t in range(8):
        left = np.clip(1 - loop._explained / diagonal, 0, 1)
        value = loop.gates()[..., 0] * diagonal
        some = left > 0.01  # not those of the columns, of which nothing is left
        level = np.exp(
            (np.log(value * np.where(some, left, 1)) * some).sum(1, keepdims=True) / some.sum(1, keepdims=True)
        )
        value = value / level
        pick = np.flatnonzero(some)[np.random.default_rng(t).permutation(int(some.sum()))[:400]]
        gates.append({"loop": t, "left": left.reshape(-1)[pick].tolist(), "gate": value.reshape(-1)[pick].tolist()})
        last, first_gate = loop.gates()[..., -1], loop.gates()[..., 0]
        ratio = np.exp(np.log(last / first_gate).mean(1))  # the same unknowns: those of the columns have no residual
        loop.advance()
        rule.advance((1 / diagonal)[..., None])
        lengths["learned"].append(np.quantile(loop.lengths[-1][:, 0] / ratio, [0.1, 0.5, 0.9]).tolist())
        lengths["jacobi"].append(np.quantile(rule.lengths[-1][:, 0], [0.1, 0.5, 0.9]).tolist())
    values, vectors = np.linalg.eigh(A)
    edges = np.logspace(-0.7, 1.7, 13)
    products = 5
    filters: dict[str, list[float]] = {}
    part = np.digitize(values, edges)
    start = np.einsum("bij,bi->bj", vectors, x) ** 2

    def left_of(y: np.ndarray) -> list[float]:
        rest = np.einsum("bij,bi->bj", vectors, y - x) ** 2
        sums = [(float(rest[part == k].sum()), float(start[part == k].sum())) for k in range(1, len(edges))]
        return [float(np.sqrt(a / s)) if s > 0 else float("nan") for a, s in sums]

    run = model.loop(A, b, guard=False)
    plain, jacobi = (model.loop(A, b, guard=False, columns=False) for _ in range(2))
    for _ in range(products):
        run.advance()
        plain.advance(np.ones((*b.shape, 1)))
        jacobi.advance((1 / diagonal)[..., None])
    filters["learned, last step included"] = left_of(run.answer())
    filters["learned, without it"] = left_of(run.x)
    filters["Jacobi-PCG"] = left_of(jacobi.x)
    filters["CG (the best polynomial in the A-norm)"] = left_of(plain.x)
    low, high = float(np.quantile(values[:, 0], 0.5)), float(np.quantile(values[:, -1], 0.5))
    middle, half = (high + low) / 2, (high - low) / 2
    top = np.cosh(products * np.arccosh(middle / half))
    t = (middle - np.sqrt(edges[1:] * edges[:-1])) / half
    chebyshev = np.where(
        np.abs(t) <= 1,
        np.cos(products * np.arccos(np.clip(t, -1, 1))),
        np.cosh(products * np.arccosh(np.maximum(np.abs(t), 1))),
    )
    filters["Chebyshev's polynomial"] = np.abs(chebyshev / top).tolist()
    return {"gates": gates, "lengths": lengths, "edges": edges.tolist(), "filters": filters, "products": products}


def uses(model: Any, quick: bool) -> dict[str, Any]:
    """`solve` to a residual beside CG; as x0; as flexible preconditioner; block-Jacobi."""
    found: dict[str, Any] = {"solve": {}, "blocks": []}
    for n in (20, 40, 100, 200):
        systems = drawn(n, 1.2, 64 if n < 100 else 160)
        counts: dict[str, list[float]] = {"learned": [], "jacobi": [], "cg": [], "warm": []}
        report = model.solve(systems.A, systems.b)[1]
        for A, b in zip(systems.A[:16], systems.b[:16], strict=False):
            counts["jacobi"].append(nnla.solve(A, b, method="jacobi").report.products)
            counts["cg"].append(nnla.solve(A, b, method="cg").report.products)
            counts["warm"].append(nnla.solve(A, b, method="jacobi", warm_start=model).report.products)
        counts["learned"] = report.product_counts[:16]
        found["solve"][str(n)] = {key: float(np.mean(value)) for key, value in counts.items()}
        found["solve"][str(n)] |= {"converged": report.converged, "fallbacks": report.fallbacks}
    side = 20 if quick else 60
    A, n, size = poisson2d(side), side * side, side
    b = np.random.default_rng(SEED).standard_normal(n)
    dense = [A[at : at + size, at : at + size].toarray() for at in range(0, n, size)]
    factors = [scipy.linalg.cho_factor(block) for block in dense]

    def exact(r: np.ndarray) -> np.ndarray:
        z = np.empty_like(r)
        for k, factor in enumerate(factors):
            z[k * size : (k + 1) * size] = scipy.linalg.cho_solve(factor, r[k * size : (k + 1) * size])
        return z

    cases: dict[str, Any] = {
        "CG": {"method": "cg"},
        "block-Jacobi by Cholesky, CG": {"method": "cg", "M": exact},
        "block-Jacobi by 6 loops, flexible CG": {"method": "fcg", "M": model.block_jacobi(A, size=size)},
        "block-Jacobi by 20 loops, flexible CG": {"method": "fcg", "M": model.block_jacobi(A, size=size, loops=20)},
        "6 loops with A, flexible CG": {"method": "fcg", "M": model.aspreconditioner(A)},
    }
    for name, options in cases.items():
        started = time.process_time()
        report = nnla.solve(A, b, **options).report
        seconds = time.process_time() - started
        inner = getattr(options.get("M"), "products", 0)  # of a loop; a function has none
        found["blocks"].append(
            {
                "method": name,
                "iterations": report.iterations,
                "products": report.products,
                "inner": inner,
                "seconds": seconds,
                "converged": report.converged,
            }
        )
    found["side"] = side
    return found


def short(value: Any) -> Any:
    """Numbers with five digits."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer systems; writes docs/nlaformer_products_quick.*")
    parser.add_argument("--page", action="store_true", help="write the page anew from the JSON")
    parser.add_argument("--weights", help="file of the loop of one product; the shipped ones by default")
    parser.add_argument("--wide", help="file of the loop of several products; the shipped ones by default")
    args = parser.parse_args()
    stem = DOCS / ("nlaformer_products_quick" if args.quick else "nlaformer_products")
    if not args.page:
        started = time.process_time()
        models = {"learned": nnla.load(args.weights or "nlaformer-exact")}
        wide = args.wide or ("nlaformer-exact-wide" if "nlaformer-exact-wide" in nnla.weights() else None)
        if wide is not None:
            models["wide"] = nnla.load(wide)
        count = 80 if args.quick else 400
        data: dict[str, Any] = {"count": count}
        with np.errstate(all="ignore"):
            for name, make in {
                "family": lambda: family(models, count),
                "others": lambda: others(models["learned"], 6 if args.quick else 16),
                "parts": lambda: parts(models, count),
                "seen": lambda: seen(models["learned"]),
                "uses": lambda: uses(models["learned"], args.quick),
            }.items():
                data[name] = make()
                print(f"{name}: {time.process_time() - started:.0f} s", file=sys.stderr)
        card = models["learned"].card
        data["training"] = {"cpu_seconds": card["cpu_seconds"], "steps": card["recipe"]["optim"]["steps"]}
        data["parameters"] = {name: sum(v.size for v in m.parameters.values()) for name, m in models.items()}
        data["channels"] = {name: m.config.channels for name, m in models.items()}
        data |= {"date": time.strftime("%Y-%m-%d"), "hardware": f"{platform.machine()}, one thread"}
        data |= {"seconds": round(time.process_time() - started)}
        stem.with_suffix(".json").write_text(json.dumps(short(data)) + "\n", encoding="utf-8")
    data = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    stem.with_suffix(".md").write_text(page(data, stem.name), encoding="utf-8")
    picture(data, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
