"""``nnla eig``."""

from __future__ import annotations

import json
from typing import Any

import click

from nnla.cli._output import check_target, emit_json, number, progress, say, show_pairs, show_table

__all__ = ["COMMANDS"]


@click.command()
@click.argument("matrix", metavar="A")
@click.option("-k", "k", type=click.IntRange(min=1), default=6, show_default=True, help="Eigenpairs wanted.")
@click.option("--which", type=click.Choice(["SA", "LA"]), default="SA", show_default=True, help="Smallest or largest.")
@click.option("--tol", type=float, default=1e-10, show_default=True, help="Success when ||Av - lv|| <= tol ||A||.")
@click.option("--ncv", type=click.IntRange(min=2), help="Vectors of the subspace (default max(4 k, 20)).")
@click.option("--maxiter", type=click.IntRange(min=1), help="Fillings of the subspace at most (default 1000).")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto, autospec, autospec-paper, chebyshev, power, plain, direct or dense.",
)
@click.option("--degree", type=click.IntRange(1, 512), help="Degree of the filter (default 21).")
@click.option("--engine", metavar="FILE", help="Weights that `nnla train` wrote, instead of the shipped ones.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random.")
@click.option("--compare", "comparing", is_flag=True, help="Also run the other methods and SciPy's, and show a table.")
@click.option("--out", metavar="FILE", help="Write the eigenvectors to this .npy or .mtx file, a column each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def eig(
    matrix: str,
    k: int,
    which: str,
    tol: float,
    ncv: int | None,
    maxiter: int | None,
    method: str,
    degree: int | None,
    engine: str | None,
    seed: int,
    comparing: bool,
    out: str | None,
    as_json: bool,
) -> int:
    """The k smallest or largest eigenvalues of a symmetric A, each verified, and what they took.

    The exit code is 1 where a pair has not converged, or where copies of multiple eigenvalues may be missing.

    A is a Matrix Market, Harwell-Boeing, SciPy (.npz), MATLAB (.mat) or NumPy (.npy) file; it may be indefinite.
    """
    from nnla.eigen import eigsh
    from nnla.operators.operator import as_operator
    from nnla.problems import read_matrix, write_vector_atomic

    check_target(out, (".npy", ".mtx"), (matrix,))
    options: dict[str, Any] = {"which": which, "tol": tol, "ncv": ncv, "seed": seed}
    own: dict[str, Any] = {"method": method, "degree": degree, "maxiter": maxiter}
    if engine is not None:
        from nnla.registry import load

        own["engine"] = load(engine)
    op = as_operator(read_matrix(matrix), definite=False)
    w, V, report = eigsh(op, k, return_report=True, **options, **own)
    rows = None
    if comparing:
        from nnla.eigen.comparison import compare_eigensolvers

        with progress("comparing") as tell:
            rows = compare_eigensolvers(op, k, progress=tell, **options)
    if out is not None:
        write_vector_atomic(out, V)
    if as_json:
        data = json.loads(report.to_json()) | {"matrix": matrix, "eigenvalues": w.tolist(), "out": out}
        emit_json(data if rows is None else data | {"comparison": [row.to_dict() for row in rows]})
        return 0 if report.verified else 1
    show_table(
        ("", "eigenvalue", "||Av - lv|| / ||A||"),
        [
            (str(j + 1), f"{value:.12g}", number(residual / report.norm if report.norm else 0.0))
            for j, (value, residual) in enumerate(zip(w, report.residuals, strict=True))
        ],
    )
    say()
    show_pairs(
        [
            ("matrix", f"{matrix}, n = {report.n}" + (f", nnz = {report.nnz}" if report.nnz is not None else "")),
            ("status", f"{report.status}" + (": others may be missing" if report.status == "unverified" else "")),
            ("method", report.method + (f", degree {report.degree}" if report.degree is not None else "")),
            ("reason", report.chosen_because if report.predicted_seconds else ""),
            ("fallback", report.fallback or ""),
            ("damped interval", "[{:.6g}, {:.6g}]".format(*report.interval) if report.interval else ""),
            ("restarts", f"{report.restarts} (probe {report.probe_restarts}, verification {report.verify_restarts})"),
            ("products with A", f"{report.products} (probe {report.products_probe})"),
            (
                "counted",
                f"{report.count_below} eigenvalues before {report.count_at:.6g}, by inertia"
                if report.count_at is not None
                else "",
            ),
            ("solves", f"{report.solves} with A - ({report.shift:.6g}) I" if report.shift is not None else ""),
            ("seconds", f"{report.seconds['total']:.3g}"),
            ("wrote", out or ""),
        ]
    )
    if rows is not None:
        say()
        show_table(
            ("method", "converged", "residual", "restarts", "products", "Gflop orth.", "seconds", "note"),
            [
                (
                    row.method, "yes" if row.converged else "no", number(row.residual), number(row.restarts),
                    number(row.products),
                    "" if row.orthogonalisation_flops is None else number(row.orthogonalisation_flops / 1e9),
                    number(row.seconds), row.note,
                )
                for row in rows
            ],
        )  # fmt: skip
    return 0 if report.verified else 1


COMMANDS = (eig,)
