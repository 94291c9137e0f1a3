"""``nnla fun``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nnla.cli._output import check_target, emit_json, show_pairs

__all__ = ["COMMANDS"]

_VECTORS = (".npy", ".mtx")


@click.command()
@click.argument("matrix", metavar="A")
@click.option(
    "--f", "function", default="inv_sqrt", show_default=True, help="inv_sqrt, sqrt, inv, log, sign or exp: f of f(A) v."
)
@click.option(
    "--times",
    metavar="FILE|ones|random",
    default="random",
    show_default=True,
    help="v or V: a file (.npy, .mtx, .mat), all ones, or standard normal from --seed.",
)
@click.option("--columns", type=click.IntRange(min=1), default=1, show_default=True, help="Columns of --times random.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of --times and the probe.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto, lanczos, autospec, chebyshev, neumann or direct.",
)
@click.option("--rtol", type=float, default=1e-6, show_default=True, help="On ||y - f(A) v|| / ||f(A) v||, estimated.")
@click.option("--degree", type=click.IntRange(1, 512), help="Degree of the polynomial, or Lanczos steps.")
@click.option("--engine", metavar="FILE", help="Weights that `nnla train` wrote, instead of the shipped ones.")
@click.option("--out", metavar="FILE", help="Write f(A) V to this .npy or .mtx file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def fun(
    matrix: str,
    function: str,
    times: str,
    columns: int,
    seed: int,
    method: str,
    rtol: float,
    degree: int | None,
    engine: str | None,
    out: str | None,
    as_json: bool,
) -> int:
    """Multiply a function of a symmetric matrix by vectors, f(A) v, and say how exactly.

    A is a Matrix Market, Harwell-Boeing, SciPy (.npz), MATLAB (.mat) or NumPy (.npy) file.
    """
    from nnla.errors import OptionError
    from nnla.functions.multiply import funm_multiply
    from nnla.functions.scalars import scalar_function
    from nnla.problems import read_matrix

    scalar_function(function)  # before any file is read
    if columns > 1 and times != "random":
        raise OptionError("--columns is for --times random")
    check_target(out, _VECTORS, (matrix, times if times not in ("ones", "random") else None))
    A = read_matrix(matrix)
    V = _vectors(times, len(A.indptr) - 1, columns, seed)
    y = funm_multiply(A, V, function, rtol=rtol, method=method, degree=degree, seed=seed, engine=engine)
    if out is not None:
        from nnla.problems import write_vector_atomic

        write_vector_atomic(out, y)
    name, report = Path(matrix).name, y.report
    if as_json:
        emit_json(json.loads(report.to_json()) | {"matrix": name, "times": times, "out": out})
    else:
        _show(name, report, out)
    return 0 if report.converged else 1


def _vectors(times: str, n: int, columns: int, seed: int) -> Any:
    import numpy as np

    from nnla.problems import read_vector

    if times == "ones":
        return np.ones(n)
    if times == "random":
        return np.random.default_rng(seed).standard_normal(n if columns == 1 else (n, columns))
    return read_vector(times)


def _show(name: str, r: Any, out: str | None) -> None:
    sign = "<=" if r.converged else ">"
    polynomial = ""
    if r.degree is not None:
        polynomial = f"degree {r.degree}" + (f", weights {r.weights}" if r.weights else "")
    spectrum = "" if r.interval is None else f"[{r.interval[0]:.4g}, {r.interval[1]:.4g}]"
    show_pairs(
        [
            ("matrix", f"{name}, n = {r.n:,}" + ("" if r.nnz is None else f", nnz = {r.nnz:,}")),
            ("function", f"{r.f}(A) times {r.columns} column(s)"),
            ("method", r.method),
            ("reason", r.chosen_because),
            ("fallback", r.fallback or ""),
            ("polynomial", polynomial),
            ("spectrum", spectrum),
            ("status", f"{r.status}: estimated relative error {r.error_estimate:.1e} {sign} {r.rtol:.0e}"),
            ("estimate", r.estimated_by),
            ("products", f"{r.products} with A, of which {r.products_probe} for the probe"),
            ("seconds", f"{r.seconds.get('total', 0):.3g}"),
            ("result", out or ""),
        ]
    )


COMMANDS = (fun,)
