"""The NLAFormer paper's constructed transformers, run: Table 1, and what Theorems 2.1 and 3.1 leave open: the errors.

* Table 1: layers and prompts of the running constructions beside the paper's figures, for n and 2n.
* Errors of the operations over random inputs (standard normal, n = 20): by scheme of the heads, dtype, and softmax
  (plain, or with the largest score subtracted first, as libraries for training do).
* Error against the step c, with its slopes, and against the sink's score C, beside n e^-C.
* Conjugate gradients on the paper's systems against the textbook's, loop by loop; with real ReLU networks in place of
  exact pointwise maps; Jacobi, Richardson, Chebyshev and power iteration by the same compiler.

    python reproduce/nlaformer_constructions.py
    python reproduce/nlaformer_constructions.py --quick

Writes docs/nlaformer_constructions.{json,md,png} and the picture of a prompt, docs/nlaformer_prompt.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from nlaformer_constructions_page import figure, markdown

import nnla
from nnla.constructions import (
    OPERATIONS,
    SCHEMES,
    ReLUDomain,
    chebyshev,
    conjugate_gradients,
    default_step,
    jacobi,
    one_layer_product,
    operation,
    power_iteration,
    product_network,
    prompt_figure,
    relu_network,
    richardson,
)
from nnla.problems import spd_systems

DOCS = Path(__file__).resolve().parents[1] / "docs"
N = 20
ATTENTION = [name for name in OPERATIONS if name not in ("add", "subtract", "multiply", "divide", "row_shift")]
CHUNK = 250


def inputs(count: int, n: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, count, n, n))
    a, b = rng.standard_normal((2, count, n))
    return {"A": A, "B": B, "a": a, "b": b, "X": rng.standard_normal((count, n, 2))}


def exact(name: str, v: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """Result's name, and the result."""
    A, B, a, b = v["A"], v["B"], v["a"], v["b"]
    if name in ("AB", "AB_one_layer"):
        return "Y", A @ B
    if name in ("Ab", "Ab_one_layer"):
        return "y", (A @ b[..., None])[..., 0]
    return {
        "column_shift": lambda: ("X", v["X"][..., ::-1]),
        "vector_transpose": lambda: ("y", a),
        "inner": lambda: ("y", (a * b).sum(axis=-1)),
        "outer": lambda: ("y", a[:, :, None] * b[:, None, :]),
        "transpose": lambda: ("A", A.swapaxes(-1, -2)),
        "AtB": lambda: ("Y", A.swapaxes(-1, -2) @ B),
    }[name]()


def relative(name: str, v: dict[str, np.ndarray], n: int = N, **options: Any) -> np.ndarray:
    """Relative errors in the Euclidean (Frobenius) norm; of inner products, relative to ||a|| ||b||.

    The layers are run as they are, so that errors from which on `Program.run` refuses are seen too.
    """
    program = operation(name, n, **options)
    errors = []
    for start in range(0, len(v["a"]), CHUNK):
        some = {key: value[start : start + CHUNK] for key, value in v.items()}
        key, result = exact(name, some)
        P, exponents = program.encode(**{k: some[k] for k in program.inputs})
        for layer in program.layers:
            P = layer(P)
        got = program.decode(P, key, exponents)
        axes = tuple(range(1, result.ndim))
        size = (result**2).sum(axis=axes) if axes else (some["a"] ** 2).sum(-1) * (some["b"] ** 2).sum(-1)
        errors.append(np.sqrt(((got - result) ** 2).sum(axis=axes) / size))
    return np.concatenate(errors)


def table_one() -> list[dict]:
    rows = []
    for name in OPERATIONS:
        sizes = [operation(name, n).size() for n in (N, 2 * N)]
        rows.append(
            {
                "operation": name,
                "layers": sizes[0].layers["pre"],
                "heads": sizes[0].heads["pre"],
                "rows": [s.rows for s in sizes],
                "columns": [s.columns for s in sizes],
                "nonzeros": [s.nonzeros for s in sizes],
            }
        )
    return rows


def operations(count: int) -> list[dict]:
    rows = []
    v = inputs(count)
    for name in ATTENTION:
        for scheme in SCHEMES:
            for dtype, shift in (("float64", False), ("float64", True), ("float32", False), ("float32", True)):
                e = relative(name, v, heads=scheme, dtype=np.dtype(dtype), shift=shift)
                rows.append({"operation": name, "heads": scheme, "dtype": dtype, "shift": shift, "max": float(e.max()),
                             "median": float(np.median(e))})  # fmt: skip
        print(name, [f"{r['max']:.1e}" for r in rows[-16:]], flush=True)
    inner = []
    for scheme in SCHEMES:
        got = operation("inner", N, heads=scheme).run(a=v["a"], b=v["b"])["y"]
        e = np.abs(got - exact("inner", v)[1]) / np.abs(exact("inner", v)[1])
        inner.append({"heads": scheme, "max": float(e.max()), "median": float(np.median(e))})
    return rows + [{"operation": "inner, relative to a'b", "dtype": "float64", "shift": False, **row} for row in inner]


def steps(count: int) -> list[dict]:
    v, rows = inputs(count, seed=1), []
    for scheme in SCHEMES:
        for shift in (False, True):
            for c in np.logspace(-10, 1, 34):
                worst = float(relative("AtB", v, heads=scheme, c=float(c), shift=shift).max())
                rows.append({"heads": scheme, "shift": shift, "c": float(c), "max": worst})
    return rows


def slopes(rows: list[dict]) -> dict[str, float]:
    """Of the errors that are far above rounding and far below one."""
    found = {}
    for scheme in SCHEMES:
        points = [(r["c"], r["max"]) for r in rows if r["heads"] == scheme and not r["shift"]]
        least = min(points, key=lambda p: p[1])
        right = [(c, e) for c, e in points if c > least[0] and 30 * least[1] < e < 0.03]
        found[scheme] = float(np.polyfit(*np.log(np.array(right)).T, 1)[0]) if len(right) > 1 else float("nan")
    return found


def sinks(count: int) -> list[dict]:
    rows = []
    for n in (5, 20, 80):
        v = {"a": inputs(count, n, seed=2)["a"]} | dict.fromkeys("bABX", np.zeros((count, n)))
        for C in (4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40, 60, 100, 200):
            for shift in (False, True):
                e = relative("vector_transpose", v, n, heads="eight", C=float(C), shift=shift)
                rows.append({"n": n, "C": C, "shift": shift, "median": float(np.median(e)), "law": n * np.exp(-C)})
    return rows


# ---------------------------------------------------------------------------------------------------- iterations


def textbook(A: np.ndarray, b: np.ndarray, loops: int) -> list[np.ndarray]:
    x, r = np.zeros_like(b), b.copy()
    d, out = r.copy(), [x]
    for _ in range(loops):
        q, rr = (A @ d[..., None])[..., 0], (r * r).sum(-1, keepdims=True)
        dq, alive = (d * q).sum(-1, keepdims=True), rr > 1e-290
        alpha = np.divide(rr, dq, out=np.zeros_like(rr), where=alive)
        x, r = x + alpha * d, r - alpha * q
        d = r + np.divide((r * r).sum(-1, keepdims=True), rr, out=np.zeros_like(rr), where=alive) * d
        out.append(x)
    return out


def squared(y: np.ndarray, x: np.ndarray) -> float:
    """The paper's error: mean of ||y - x||^2 / ||x||^2."""
    return float((((y - x) ** 2).sum(-1) / (x**2).sum(-1)).mean())


def gradients(count: int, loops: int) -> list[dict]:
    systems = spd_systems(count, N, sigma=1.2, seed=0)
    A, b, x = systems.A, systems.b, systems.x
    book = textbook(A, b, loops)
    rows = [{"program": "textbook CG", "error": [squared(y, x) for y in book], "against": None}]
    runs = [(f"{scheme}", {"heads": scheme}, True) for scheme in SCHEMES]
    runs += [("central, raw d", {"heads": "central"}, False), ("four, raw d", {"heads": "four"}, False)]
    runs += [
        ("four, merged", {"heads": "four", "merge": True}, True),
        ("four, shifted", {"heads": "four", "shift": True}, True),
    ]
    runs += [(f"{scheme}, float32", {"heads": scheme, "dtype": np.float32}, True) for scheme in ("central", "four")]
    for name, options, normalised in runs:
        program = conjugate_gradients(N, normalised=normalised).compile(**options)
        states = [state["x"] for state in program.trajectory(loops, A=A, b=b)]
        against = [
            np.linalg.norm(y - z, axis=-1) / np.linalg.norm(x, axis=-1) for y, z in zip(states, book, strict=True)
        ]
        size = program.size()
        rows.append({"program": name, "error": [squared(y, x) for y in states], "heads": size.heads,
                     "against": [float(e.mean()) for e in against], "worst": float(against[-1].max())})  # fmt: skip
        print(name, f"{rows[-1]['error'][-1]:.1e} {rows[-1]['against'][-1]:.1e}", flush=True)
    return rows


def relu(count: int, loops: int) -> dict[str, Any]:
    """Real networks: products, quotients, and conjugate gradients."""
    grid = np.linspace(-1, 1, 401)
    X, Y = (g.ravel() for g in np.meshgrid(grid, grid))
    products = []
    for what, network in [(f"one layer, N = {k}", one_layer_product(k)) for k in (100, 1000)] + [
        (f"m = {m}", product_network(m)) for m in (4, 8, 12, 16, 20, 24)
    ]:
        measured = float(np.abs(network(np.stack([X, Y]))[0] - X * Y).max())
        products.append({"network": what, "depth": network.depth, "width": network.width, "nonzeros": network.nonzeros,
                         "bound": network.error, "measured": measured})  # fmt: skip
    maps = []
    rng = np.random.default_rng(0)
    for name in ("add", "multiply", "divide", "transpose", "AB"):
        for m, units in ((10, 100), (26, 1000)):
            map_ = next(layer.ffn for layer in operation(name, N).layers if layer.ffn is not None)
            network = relu_network(map_, ReLUDomain(smallest=0.1, steps=m, units=units))  # type: ignore[arg-type]
            program = operation(name, N)
            U = rng.uniform(0.1, 1.0, (count, program.layout.rows, program.layout.columns))
            measured = float(np.abs(network(U) - map_(U)).max())  # type: ignore[misc]
            maps.append({"operation": name, "m": m, "units": units, "depth": network.depth, "width": network.width,
                         "nonzeros": network.nonzeros, "bound": network.error, "measured": measured})  # fmt: skip
    systems = spd_systems(min(count, 16), N, sigma=1.2, seed=0)
    cg, book = [], textbook(systems.A, systems.b, loops)
    for m, units in ((20, 500), (26, 1000), (30, 2000)):
        domain = ReLUDomain(bounds={"x": 64.0, "r": 4.0}, steps=m, units=units)
        program = conjugate_gradients(N).compile(heads="eight", network=domain)
        network: Any = program.stacks["loop"][0].ffn
        states = [state["x"] for state in program.trajectory(loops, A=systems.A, b=systems.b)]
        cg.append({"m": m, "units": units, "depth": network.depth, "width": network.width, "nonzeros": network.nonzeros,
                   "bound_x": float(network.errors[program.layout["x"].slice].max()),
                   "bound_d": float(network.errors[program.layout["d"].slice].max()),
                   "error": [squared(y, systems.x) for y in states]})  # fmt: skip
        print("relu", m, [f"{e:.1e}" for e in cg[-1]["error"][::4]], flush=True)
    return {"products": products, "maps": maps, "cg": cg, "book": [squared(y, systems.x) for y in book]}


def others(count: int) -> list[dict]:
    """Iterations against the same in NumPy, and against the solution."""
    systems = spd_systems(count, N, sigma=1.2, seed=1)
    A, b = systems.A, systems.b
    w = np.linalg.eigvalsh(A)
    theta, delta = (w[:, -1] + w[:, 0]) / 2, (w[:, -1] - w[:, 0]) / 2
    D = A + 2 * np.abs(A).sum(axis=-1)[:, :, None] * np.eye(N)  # Jacobi's iteration converges on these
    D, loops, rows = (D + D.swapaxes(-1, -2)) / 2, 60, []
    xD = np.linalg.solve(D, b[..., None])[..., 0]
    cases = {
        "jacobi": (jacobi, {"A": D, "b": b}, xD),
        "richardson": (richardson, {"A": A, "b": b, "omega": 1 / theta}, systems.x),
        "chebyshev": (chebyshev, {"A": A, "b": b, "theta": theta, "delta": delta}, systems.x),
        "power_iteration": (power_iteration, {"A": A, "start": np.ones(N)}, None),
    }
    for name, (make, values, x) in cases.items():
        plain = plain_iteration(name, values, loops)
        for scheme in ("central", "four", "eight"):
            program = make(N).compile(heads=scheme)
            got = program.run(loops, **values)["v" if x is None else "x"]
            against = np.linalg.norm(got - plain, axis=-1) / np.linalg.norm(plain, axis=-1)
            size = program.size()
            rows.append({"program": name, "heads": scheme, "layers": size.layers, "rows": size.rows,
                         "against": float(against.max()), "error": None if x is None else squared(got, x),
                         "plain": None if x is None else squared(plain, x)})  # fmt: skip
    return rows


def plain_iteration(name: str, v: dict[str, np.ndarray], loops: int) -> np.ndarray:
    """The same in NumPy."""
    A = v["A"]
    times = lambda x: (A @ x[..., None])[..., 0]  # noqa: E731
    if name == "power_iteration":
        x = np.broadcast_to(v["start"], (len(A), N)) / np.linalg.norm(v["start"])
        for _ in range(loops):
            x = times(x)
            x = x / np.linalg.norm(x, axis=-1, keepdims=True)
        return x
    b, x = v["b"], np.zeros_like(v["b"])
    if name == "chebyshev":
        theta, delta = v["theta"][:, None], v["delta"][:, None]
        d, rho = b / theta, delta / theta
        for _ in range(loops):
            x = x + d
            following = 1 / (2 * theta / delta - rho)
            d, rho = following * rho * d + 2 * following / delta * (b - times(x)), following
        return x
    scale = 1 / np.diagonal(A, axis1=1, axis2=2) if name == "jacobi" else v["omega"][:, None]
    for _ in range(loops):
        x = x + scale * (b - times(x))
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few inputs, for a trial")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    count, loops = (20, 12) if args.quick else (1000, 40)
    started = time.process_time()
    rows = steps(20 if args.quick else 50)
    data = {
        "meta": {
            "command": "python reproduce/nlaformer_constructions.py" + (" --quick" if args.quick else ""),
            "date": time.strftime("%Y-%m-%d"),
            "hardware": f"{platform.machine()}, one core",
            "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
            "n": N,
            "inputs": count,
            "steps": {s: {t: default_step(s, np.dtype(t)) for t in ("float64", "float32")} for s in SCHEMES},
        },
        "table": table_one(),
        "operations": operations(count),
        "steps": rows,
        "slopes": slopes(rows),
        "sinks": sinks(20),
        "gradients": gradients(count if args.quick else 200, loops),
        "relu": relu(20, 12 if args.quick else 24),
        "others": others(20 if args.quick else 100),
    }
    data["meta"]["seconds"] = round(time.process_time() - started)
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / "nlaformer_constructions"
    stem.with_suffix(".json").write_text(json.dumps(_short(data), indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(data), encoding="utf-8")
    figure(data, stem.with_suffix(".png"))
    one = spd_systems(1, 8, sigma=1.2, seed=0)
    picture = prompt_figure(conjugate_gradients(8).compile(), [1, 4], A=one.A[0], b=one.b[0])
    picture.savefig(args.out / "nlaformer_prompt.png", dpi=110, metadata={"Software": None})


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
