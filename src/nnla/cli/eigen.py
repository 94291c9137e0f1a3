"""``nnla eig``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from nnla.cli._output import check_target, emit_json, number, progress, say, show_pairs, show_table
from nnla.errors import OptionError, ShapeError

__all__ = ["COMMANDS"]

_VECTORS, _PICTURES = (".npy", ".mtx"), (".png", ".svg", ".pdf")


@click.command()
@click.argument("matrix", metavar="A")
@click.option("-k", "k", type=click.IntRange(min=1), default=6, show_default=True, help="Eigenpairs wanted.")
@click.option("--sigma", type=float, help="A shift: the eigenvalues nearest to it are wanted.")
@click.option("--mass", metavar="FILE", help="M of A x = lambda M x, symmetric positive definite.")
@click.option(
    "--which",
    type=click.Choice(["SA", "LA", "LM", "SM", "BE"]),
    help="Smallest, largest, largest or smallest in magnitude, both ends (default SA; LM with --sigma: nearest to it).",
)
@click.option(
    "--mode",
    type=click.Choice(["normal", "buckling", "cayley"]),
    help="Spectral transformation, with --sigma (default normal).",
)
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
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="Also run the other methods, SciPy's, and PyAMG, PRIMME, SLEPc if installed.",
)
@click.option("--plot", metavar="FILE", help="Draw the eigenvalues to this .png, .svg or .pdf file.")
@click.option("--modes", metavar="FILE", help="Draw the eigenvectors to this .png, .svg or .pdf file.")
@click.option(
    "--coordinates",
    metavar="FILE",
    help="For --modes: 2 or 3 coordinates a node, .npy, .mtx or .txt; n / nodes = 1, 2, 3 or 6.",
)
@click.option("--out", metavar="FILE", help="Write the eigenvectors to this .npy or .mtx file, a column each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def eig(
    matrix: str,
    k: int,
    sigma: float | None,
    mass: str | None,
    which: str | None,
    mode: str | None,
    tol: float,
    ncv: int | None,
    maxiter: int | None,
    method: str,
    degree: int | None,
    engine: str | None,
    seed: int,
    comparing: bool,
    plot: str | None,
    modes: str | None,
    coordinates: str | None,
    out: str | None,
    as_json: bool,
) -> int:
    """The k smallest eigenvalues of a symmetric A, or those nearest a shift, each verified, and what they took.

    The exit code is 1 where a pair has not converged, or where copies of multiple eigenvalues may be missing.

    A is a Matrix Market, Harwell-Boeing, SciPy (.npz), MATLAB (.mat) or NumPy (.npy) file; it may be indefinite.
    With --mass the problem is A x = lambda M x.
    """
    inputs = (matrix, mass, coordinates)
    check_target(out, _VECTORS, inputs)
    check_target(plot, _PICTURES, inputs)
    check_target(modes, _PICTURES, inputs)
    _check_pictures(plot, modes, coordinates)

    from nnla.eigen import eigsh
    from nnla.operators.operator import as_operator
    from nnla.problems import read_matrix, write_vector_atomic

    A = read_matrix(matrix)
    n = A.indptr.size - 1
    problem = _problem(n, sigma, mass, which, mode)
    points = None if coordinates is None else _points(coordinates, n)
    options: dict[str, Any] = problem | {"tol": tol, "ncv": ncv, "seed": seed}
    own: dict[str, Any] = {"method": method, "degree": degree, "maxiter": maxiter}
    if engine is not None:
        from nnla.registry import load

        own["engine"] = load(engine)
    op = as_operator(A, definite=False)
    w, V, report = eigsh(op, k, return_report=True, **options, **own)
    rows = None
    if comparing:
        from nnla.eigen.comparison import compare_eigensolvers

        with progress("comparing") as tell:
            rows = compare_eigensolvers(op, k, progress=tell, **options)
    if out is not None:
        write_vector_atomic(out, V)
    name = Path(matrix).name
    if plot is not None:
        from nnla.evaluation.eigen_plots import plot_eigenvalues
        from nnla.evaluation.plots import save_figure

        save_figure(plot_eigenvalues(w, report, name=name), plot)
    if modes is not None:
        from nnla.evaluation.mode_plots import plot_modes
        from nnla.evaluation.plots import save_figure

        assert points is not None
        save_figure(plot_modes(w, V, points, A=A, name=name, frequencies=mass is not None), modes)
    files = {"mass": mass, "out": out, "plot": plot, "modes": modes}
    if as_json:
        data = json.loads(report.to_json()) | {"matrix": matrix, "eigenvalues": w.tolist()} | files
        emit_json(data if rows is None else data | {"comparison": [row.to_dict() for row in rows]})
    else:
        _show_eigenvalues(w, report, frequencies=mass is not None)
        _show_report(matrix, report, files)
        if rows is not None:
            _show_comparison(rows)
    return 0 if report.verified else 1


def _check_pictures(plot: str | None, modes: str | None, coordinates: str | None) -> None:
    """Refuse, before any work, what could not be drawn in the end."""
    if modes is not None and coordinates is None:
        raise OptionError("--modes needs the places of the nodes; give --coordinates FILE")
    if coordinates is not None and modes is None:
        raise OptionError("--coordinates is of use for a picture only; give --modes FILE, too")
    if plot is not None and modes is not None and Path(plot).absolute() == Path(modes).absolute():
        raise OptionError(f"{plot}: --plot and --modes would write the same file; give two names")
    if plot is not None or modes is not None:
        from nnla.evaluation.plots import require_matplotlib

        require_matplotlib()


def _problem(n: int, sigma: float | None, mass: str | None, which: str | None, mode: str | None) -> dict[str, Any]:
    """What of the problem was given, as keywords of `nnla.eigsh`."""
    from nnla.problems import read_matrix

    if mode is not None and sigma is None:
        raise OptionError(f"--mode {mode} transforms the spectrum around a shift; give --sigma")
    if sigma is not None and not math.isfinite(sigma):
        raise OptionError(f"--sigma must be a finite number, got {sigma}")
    given: dict[str, Any] = {"sigma": sigma, "which": which, "mode": mode}
    if mass is not None:
        M = read_matrix(mass)
        if M.indptr.size != n + 1:
            raise ShapeError(f"{mass}: M has {M.indptr.size - 1} rows, A has {n}; give matrices of one size")
        given["M"] = M
    return {key: value for key, value in given.items() if value is not None}


def _points(coordinates: str, n: int) -> Any:
    """The coordinates, checked against the unknowns."""
    from nnla.evaluation.mode_plots import unknowns_per_node
    from nnla.problems.node_coordinates import read_coordinates

    points = read_coordinates(coordinates)
    try:
        unknowns_per_node(n, points)
    except ShapeError as error:
        raise ShapeError(f"{coordinates}: {error}") from None
    return points


def _show_eigenvalues(w: Any, report: Any, *, frequencies: bool) -> None:
    mass = report.mass_norm
    header = ["", "eigenvalue", "||Av - lv|| / ||A||" if mass is None else "||Av - lMv|| / (||A|| + |l| ||M||)"]
    scales = [report.norm + abs(value) * (mass or 0.0) for value in w]
    rows = [
        [str(j + 1), f"{value:.12g}", number(residual / scale if scale else 0.0)]
        for j, (value, residual, scale) in enumerate(zip(w, report.residuals, scales, strict=True))
    ]
    if frequencies:
        header.insert(2, "sqrt(l) / 2 pi")
        for row, value in zip(rows, w, strict=True):
            row.insert(2, f"{math.sqrt(value) / (2 * math.pi):.6g}" if value >= 0 else "")
    show_table(header, rows)
    say()


def _show_report(matrix: str, report: Any, files: dict[str, str | None]) -> None:
    show_pairs(
        [
            ("matrix", f"{matrix}, n = {report.n}" + (f", nnz = {report.nnz}" if report.nnz is not None else "")),
            ("mass", files["mass"] or ""),
            ("wanted", _wanted(report)),
            ("status", f"{report.status}" + (": others may be missing" if report.status == "unverified" else "")),
            ("method", report.method + (f", degree {report.degree}" if report.degree is not None else "")),
            ("reason", report.chosen_because if report.predicted_seconds else ""),
            ("fallback", report.fallback or ""),
            ("damped interval", "[{:.6g}, {:.6g}]".format(*report.interval) if report.interval else ""),
            ("restarts", f"{report.restarts} (probe {report.probe_restarts}, verification {report.verify_restarts})"),
            ("products", f"{report.products} with A (probe {report.products_probe})"),
            (
                "counted",
                f"{report.count_below} eigenvalues before {report.count_at:.6g}"
                + (", by inertia" if report.sigma is None else ", as seen from the shift, by inertia")
                if report.count_at is not None
                else "",
            ),
            (
                "solves",
                f"{report.solves} with A - ({report.shift:.6g}) {'I' if report.mass_norm is None else 'M'}"
                if report.shift is not None and report.solves
                else "",
            ),
            ("seconds", f"{report.seconds['total']:.3g}"),
            ("wrote", ", ".join(files[key] or "" for key in ("out", "plot", "modes") if files[key])),
        ]
    )


def _wanted(report: Any) -> str:
    """What was asked for, where it is not the smallest."""
    if report.sigma is None:
        return "" if report.which == "SA" else report.which
    mode = "" if report.mode == "normal" else f", {report.mode}"
    return f"{report.which}, shift {report.sigma:.6g}{mode}"


def _show_comparison(rows: list[Any]) -> None:
    say()
    show_table(
        ("method", "converged", "missing", "residual", "tol", "restarts", "products", "solves", "CPU s", "note"),
        [
            (
                row.method, "yes" if row.converged else "no", number(row.missing),
                "" if math.isnan(row.residual) else f"{row.residual:.1e}",
                "" if math.isnan(row.asked) else f"{row.asked:.0e}", number(row.restarts), number(row.products),
                number(row.solves), number(row.cpu), row.note,
            )
            for row in rows
        ],
        strong="auto",
    )  # fmt: skip
    say("missing: eigenvalues that another row holds and this one lacks, copies counted.")
    say("residual: ||Av - lv|| / ||A||, by one judge. tol: what was asked for. solves: or preconditionings.")


COMMANDS = (eig,)
