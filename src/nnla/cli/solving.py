"""``nnla solve`` and ``nnla probe``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from nnla.cli._output import check_target, emit_json, number, progress, say, show_pairs, show_table

__all__ = ["COMMANDS"]

_VECTORS = (".npy", ".mtx")
_PICTURES = (".png", ".svg", ".pdf")
_SCALINGS = click.Choice(["auto", "none", "jacobi", "ic"])


@click.command()
@click.argument("matrix", required=False, metavar="[A]")
@click.option(
    "--rhs",
    metavar="FILE|ones|random",
    help="Right-hand side: a file (.npy, .mtx, .mat), all ones, or standard normal from --seed "
    "(the paper's setting, and the default for a matrix from a file).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of --rhs random.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto, autospec, autospec-tail, autospec-paper, chebyshev, chebyshev4, rule, dos, least-squares, gmres, "
    "richardson, neumann, jacobi, cg, ic, amg or direct.",
)
@click.option("--rtol", type=float, default=1e-8, show_default=True, help="Success when ||b - Ax|| <= rtol ||b||.")
@click.option("--maxiter", type=click.IntRange(min=0), help="Outer iterations at most.")
@click.option("--timeout", type=float, help="Seconds at most; the best iterate so far is returned.")
@click.option("--deterministic", is_flag=True, help="Let auto choose from counts, not from its own timings.")
@click.option("--degree", type=click.IntRange(1, 512), help="Degree of the polynomial (default 11).")
@click.option("--scaling", type=_SCALINGS, default="auto", show_default=True, help="What a polynomial works on top of.")
@click.option("--engine", metavar="FILE", help="Weights that `nnla train` wrote, instead of the shipped ones.")
@click.option(
    "--warm-start",
    metavar="NAME|FILE",
    help="Start CG from a network's guess, for building frames: nsls, nsls-plus, or weights of your own.",
)
@click.option("--compare", "comparing", is_flag=True, help="Also run the other methods, and show a table of all.")
@click.option("--out", metavar="FILE", help="Write x to this .npy or .mtx file.")
@click.option("--plot", metavar="FILE", help="Draw the convergence to this .png, .svg or .pdf file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def solve(
    matrix: str | None,
    rhs: str | None,
    seed: int,
    method: str,
    rtol: float,
    maxiter: int | None,
    timeout: float | None,
    deterministic: bool,
    degree: int | None,
    scaling: str,
    engine: str | None,
    warm_start: str | None,
    comparing: bool,
    out: str | None,
    plot: str | None,
    as_json: bool,
) -> int:
    """Solve A x = b for a symmetric positive definite A, and say what it took.

    A is a Matrix Market, Harwell-Boeing, SciPy (.npz), MATLAB (.mat) or NumPy (.npy) file. Without A a
    built-in power grid of 40 000 nodes is solved.
    """
    from nnla.linear.options import check_numbers, check_usable, usable

    # beside a comparison the options are the other methods', too
    own: dict[str, Any] = {"degree": degree, "scaling": scaling}
    own = usable(method, **own) if comparing else own
    if engine is not None:
        from nnla.registry import load

        own["engine"] = load(engine)
    check_usable(method, **own)
    check_numbers(rtol, timeout=timeout)
    check_target(out, _VECTORS, (matrix, rhs))
    check_target(plot, _PICTURES, (matrix, rhs))
    if plot is not None:
        from nnla.evaluation.plots import require_matplotlib

        require_matplotlib()
    name, A, b, drawn = _system(matrix, rhs, seed)

    from nnla.linear.solve import solve as run

    limits: dict[str, Any] = {"rtol": rtol, "maxiter": maxiter}
    clocks: dict[str, Any] = {"timeout": timeout, "deterministic": deterministic}
    x, report = run(A, b, method=method, warm_start=warm_start, **limits, **clocks, **own)
    report = dataclasses.replace(report, seed=drawn)
    rows = None
    if comparing:
        from nnla.evaluation.comparison import compare

        options: dict[str, Any] = limits | {"degree": degree, "scaling": scaling, "engine": own.get("engine")}
        with progress("comparing") as tell:
            rows = compare(A, b, progress=tell, **options)
            if method not in [row.method for row in rows]:
                rows = compare(A, b, methods=[method], **options) + rows
    if out is not None:
        from nnla.problems import write_vector_atomic

        write_vector_atomic(out, x)
    if plot is not None:
        _draw(plot, name, A, b, rows or report, degree, scaling)
    if as_json:
        data = json.loads(report.to_json()) | {"matrix": name, "out": out, "plot": plot}
        emit_json(data if rows is None else data | {"comparison": [row.to_dict() for row in rows]})
    else:
        _show_report(name, report, out, plot)
        if rows is not None:
            _show_comparison(rows)
    return 0 if report.converged else 1


def _system(matrix: str | None, rhs: str | None, seed: int) -> tuple[str, Any, Any, int | None]:
    """Name, A, b, and the seed that b was drawn from, None where it was not drawn."""
    import numpy as np

    from nnla.problems import read_matrix, read_vector

    if matrix is None:
        from nnla.problems.demo import demo

        problem = demo()
        name, A = problem.name, problem.A
        if rhs is None:
            return name, A, problem.b, problem.meta["seed"]
    else:
        name, A = Path(matrix).name, read_matrix(matrix)
    n = len(A.indptr) - 1
    if rhs in (None, "random"):
        return name, A, np.random.default_rng(seed).standard_normal(n), seed
    return name, A, np.ones(n) if rhs == "ones" else read_vector(rhs), None


def _draw(path: str, name: str, A: Any, b: Any, runs: Any, degree: int | None, scaling: str) -> None:
    from nnla.errors import NNLAError
    from nnla.evaluation.plots import plot_convergence, save_figure
    from nnla.krylov.probes import probe
    from nnla.linear.polynomial import PROBE_STEPS
    from nnla.linear.preconditioner import choose_scaling
    from nnla.operators.operator import as_operator

    op = as_operator(A)
    try:
        # the probe that the polynomials were made from: the same start, the same scaling
        ran = next((r for r in _reports(runs) if r.degree is not None), None)
        base = ran.scaling if ran is not None else choose_scaling(op, scaling)
        steps = PROBE_STEPS if ran is None else max(ran.probe_iterations, 2)
        seen = probe(op, steps, start=b, scaling=base)
    except NNLAError:
        seen = None  # the picture then has no spectrum
    save_figure(plot_convergence(runs, name=name, probe=seen, degree=degree), path)


def _reports(runs: Any) -> list[Any]:
    return [row.report for row in runs if row.report is not None] if isinstance(runs, list) else [runs]


def _show_report(name: str, r: Any, out: str | None, plot: str | None) -> None:
    sign = "<=" if r.converged else ">"
    verdict = f"||b - Ax|| / ||b|| = {r.relative_residual:.1e} {sign} {r.rtol:.0e}, recomputed from A"
    polynomial = ""
    if r.degree is not None:
        polynomial = f"degree {r.degree}"
        if r.interval is not None:
            polynomial += f" on [{r.interval[0]:.3g}, {r.interval[1]:.3g}]"
        polynomial += f", weights {r.weights}" if r.weights else ""
    steps = f"{r.iterations}"
    if r.probe_iterations:
        steps = f"{r.probe_iterations} CG steps as the probe, then {r.iterations}"
    s = r.seconds
    parts = f"(probe {s.get('probe', 0):.3g}, setup {s.get('setup', 0):.3g}, solve {s.get('solve', 0):.3g})"
    show_pairs(
        [
            ("matrix", f"{name}, n = {r.n:,}" + ("" if r.nnz is None else f", nnz = {r.nnz:,}")),
            ("method", r.method + ("" if r.scaling in ("none", r.method) else f" over {r.scaling} scaling")),
            ("reason", r.chosen_because),
            ("warm start", _warm(r.warm_start)),
            ("fallback", r.fallback or ""),
            ("polynomial", polynomial),
            ("status", f"{r.status}: {verdict}"),
            ("", _accuracy(r)),
            ("iterations", steps),
            ("products", f"{r.products} with A, everything included; {r.reductions} global reductions"),
            ("seconds", f"{s.get('total', 0):.3g} {parts}"),
            ("solution", out or ""),
            ("picture", plot or ""),
        ]
    )


def _accuracy(r: Any) -> str:
    """What else is known of the residual."""
    if r.status == "rounding":
        return f"as good as float64 can: rounding leaves as much of A x (backward error {r.backward_error:.1e})"
    if r.equilibrated_residual is not None:
        return f"heavy rows dominate b: equilibrated residual {r.equilibrated_residual:.1e}"
    return ""


def _warm(guess: dict[str, Any] | None) -> str:
    if guess is None:
        return ""
    if not guess["used"]:
        return "none: see fallback"
    geometry = f", geometry {guess['geometry']}" if guess["geometry"] else ""
    space = f", deflated by {guess['rank']} vectors" if guess["rank"] else ""
    return f"{guess['model']}{geometry}{space}; {guess['products']} products, {guess['seconds']['total']:.3g} s"


def _show_comparison(rows: list[Any]) -> None:
    from nnla.evaluation.comparison import HEADER, cells, remark

    say()
    show_table(HEADER, [cells(row) for row in rows], left=2, strong="autospec")
    for row in rows:
        if remark(row):
            say(f"{row.method}: {remark(row)}")
    say("iterations: the probe's CG steps + those after it. products: with A, all included, but not the")
    say("work of ic and amg between products. E = N / (m iterations): N iterations of plain CG over the same")
    say("scaling, m products an iteration after the probe.")


@click.command()
@click.argument("matrix", metavar="A")
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Lanczos steps.")
@click.option("--scaling", type=_SCALINGS, default="auto", show_default=True, help="Which scaled operator to probe.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the start vector.")
@click.option("--plot", metavar="FILE", help="Draw the spectrum to this .png, .svg or .pdf file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def probe(matrix: str, steps: int, scaling: str, seed: int, plot: str | None, as_json: bool) -> int:
    """What a short Lanczos run sees of the spectrum of A, and what the engine makes of it."""
    check_target(plot, _PICTURES, (matrix,))
    if plot is not None:
        from nnla.evaluation.plots import require_matplotlib

        require_matplotlib()
    from nnla.krylov.probes import probe as run
    from nnla.linear.preconditioner import DEFAULT_DEGREE, choose_scaling
    from nnla.operators.operator import as_operator
    from nnla.problems import read_matrix

    op = as_operator(read_matrix(matrix))
    seen = run(op, steps, seed=seed, scaling=choose_scaling(op, scaling))
    name = Path(matrix).name
    choices = _choices(seen, DEFAULT_DEGREE) if seen.definite else {}
    if plot is not None:
        from nnla.evaluation.plots import plot_spectrum, save_figure

        save_figure(plot_spectrum(seen, name=name, nnz=op.nnz, degree=DEFAULT_DEGREE), plot)
    if as_json:
        extra = {"matrix": name, "nnz": op.nnz, "degree": DEFAULT_DEGREE, "choices": choices, "plot": plot}
        emit_json(json.loads(seen.to_json()) | {"exhausted": seen.exhausted} | extra)
        return 0
    show_pairs(
        [
            ("matrix", f"{name}, n = {op.n:,}, nnz = {op.nnz:,}"),
            (
                "probe",
                f"{seen.steps} Lanczos steps, {seen.scaling} scaling, seed {seed}: {seen.products} products",
            ),
            ("ritz values", f"{seen.lambda_min:.6g} to {seen.lambda_max:.6g}"),
            ("upper bound", f"{seen.upper_bound:.6g}"),
            ("condition", f"at least {seen.lambda_max / seen.lambda_min:.3g}" if seen.definite else ""),
            ("definite", "as far as the probe sees" if seen.definite else "no: a Ritz value is negative"),
            (
                "exhausted",
                "the Krylov space ended: the Ritz values are eigenvalues" if seen.exhausted else "",
            ),
            *((key, _describe(value)) for key, value in choices.items()),
            ("picture", plot or ""),
        ]
    )
    return 0


def _choices(seen: Any, degree: int) -> dict[str, dict[str, Any]]:
    from nnla.polynomials.design import design_polynomial

    found: dict[str, dict[str, Any]] = {}
    for method in ("autospec", "rule"):
        d = design_polynomial(seen, method=method, degree=degree)
        found[method] = {
            "interval": list(d.interval),
            "predicted_iterations": d.predicted_iterations,
            "fallback": d.fallback,
            "weights": d.weights,
        }
    return found


def _describe(choice: dict[str, Any]) -> str:
    a, b = choice["interval"]
    text = f"degree 11 on [{number(a)}, {number(b, 4)}]"
    if choice["predicted_iterations"] is not None:
        text += f", {choice['predicted_iterations']:.0f} outer iterations expected to 1e-8"
    return f"{text}; {choice['fallback']}" if choice["fallback"] else text


COMMANDS = (solve, probe)
