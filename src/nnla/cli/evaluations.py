"""What ``nnla eval`` prints of models whose figures make a table; `nnla.tasks.TASKS` says for which tasks."""

from __future__ import annotations

from typing import Any

from nnla.cli._output import number, say, show_table

__all__ = [
    "show_dense_solutions",
    "show_engine",
    "show_guesses",
    "show_iterated_solutions",
    "show_matrix_functions",
    "show_solver_costs",
    "show_spd_solutions",
]

_ERRORS = {"of x": "delta", "in the A-norm": "energy", "residual": "residual"}
_RATIOS = ("geometric_mean", "best", "worst", "better", "equal", "worse")


def show_guesses(d: dict[str, Any]) -> None:
    """Of a model of initial guesses."""
    low, mean, high = d["n"]
    say(f"{d['model']} on {d['count']} frames that no training has drawn, n = {low:,} to {high:,} (mean {mean:,.0f})")
    rows = [[name, *(number(d[key][q]) for q in ("mean", "median", "p90"))] for name, key in _ERRORS.items()]
    show_table(("relative error", "mean", "median", "90th percentile"), rows)
    for style, figures in d["styles"].items():
        say(f"of x, frames of style {style}: mean {number(figures['mean'])}, median {number(figures['median'])}")
    say(f"CG iterations over Jacobi until the error is below; the guess takes {d['products']} products before:")
    rows = [[key, *(number(v) for v in values)] for key, values in d["iterations"].items()]
    show_table(("start", *(f"{t:.0e}" for t in d["targets"])), rows)


def show_dense_solutions(d: dict[str, Any]) -> None:
    """Of a model of dense systems."""
    say(f"{d['model']} on {d['count']} systems of each equation that no training has drawn, n = {d['n']}")
    say(f"trained on: {', '.join(d['trained_on'])}; errors are sums of squares by those of the solutions")
    rows: list[list[str]] = []
    for name, f in d["equations"].items():
        refined = f["refined"]
        figures = (f["relative_mse"], f["median"], f["mse"], f["residual"], f["lu_float32"], f["outside"])
        found = (refined["iterations"], refined["largest"], f"{refined['fallbacks']} of {refined['count']}")
        rows.append([name, *(number(value) for value in (*figures, *found))])
    header = ("equation", "relative MSE", "median", "MSE", "residual", "LU float32", "outside")
    show_table((*header, f"steps to {d['rtol']:.0e}", "largest", "by LU"), rows)
    if len(d["sizes"]) > 1:
        say("relative MSE by size: " + ", ".join(f"{size}: {number(value)}" for size, value in d["sizes"].items()))
    say("relative MSE with noise in every entry of A, against the solutions without:")
    show_table(
        ("noise", "model", "LU"), [[k, *(number(v[key]) for key in ("model", "lu"))] for k, v in d["noise"].items()]
    )
    if d["unsolved"]:
        say(f"{d['unsolved']} systems were not solved to the tolerance, by LU neither")


def show_spd_solutions(d: dict[str, Any]) -> None:
    """Of a learned loop for definite systems."""
    say(f"{d['model']} on {d['count']} systems of each kind that no training has drawn (a quarter from n = 100)")
    say("mean products of a system until ||x_t - x||^2 / ||x||^2 is below:")
    rows = [[name, key, *map(number, row)] for name, methods in d["products"].items() for key, row in methods.items()]
    show_table(("n, sigma", "method", *(f"{t:.0e}" for t in d["targets"])), rows)
    rows = [
        [name, f"{d['inside'][name]:.1%}", number(f["products"]), str(f["converged"]), str(f["fallbacks"])]
        for name, f in d["solved"].items()
    ]
    say("by solve, to a residual of 1e-8, every check included:")
    show_table(("n, sigma", "inside", "products", "converged", "by Cholesky"), rows)


def show_matrix_functions(d: dict[str, Any]) -> None:
    """Of a model of dense matrix functions."""
    say(f"{d['model']} on {d['count']} matrices of each kind that no training has drawn: share of answers within")
    rows = [
        [f, n, family, *(f"{share:.1%}" for share in row["within"]), number(row["median"]), f"{row['declined']:.1%}"]
        for f, sizes in d["functions"].items()
        for n, families in sizes.items()
        for family, row in families.items()
    ]
    show_table(("f", "n", "family", *(f"{t:.1%}" for t in d["thresholds"]), "median", "declined"), rows)
    for n, families in d["functions"].get("sign", {}).items():
        for family, row in families.items():
            bins = ", ".join(
                f"from {low:g} on: {share:.1%} of {some}" for low, some, share in row["by_gap"] if share is not None
            )
            say(f"sign, n = {n}, {family}, within 5 % by the gap |lambda|_min / |lambda|_max: {bins}")
    if d["equivariance"] is not None:
        say(f"largest ||f(QAQ') - Q f(A) Q'|| / ||f(A)||: {number(d['equivariance'])}")
    rows = [[f, n, number(us)] for f, sizes in d["microseconds"].items() for n, us in sizes.items()]
    show_table(("f", "n", "microseconds a matrix"), rows)


def show_iterated_solutions(d: dict[str, Any]) -> None:
    """Of a model of small positive definite systems."""
    say(f"{d['model']} on {d['count']} systems of each sigma that no training has drawn, n = {d['n']}")
    work = number(d["loop_multiplications"] / d["n"] ** 2)
    say(f"mean ||x_t - x||^2 / ||x||^2 after t iterations; one of the model multiplies as often as {work} products")
    rows = []
    for name, f in d["sigmas"].items():
        for key, label in (("model", d["model"]), ("cg", "CG"), ("pcg", "Jacobi-PCG")):
            rows.append([name, label, *(number(f[key][t]) for t in d["shown"])])
    show_table(("sigma", "method", *(f"t = {t}" for t in d["shown"])), rows)


def show_engine(d: dict[str, Any]) -> None:
    """Of an engine for linear systems."""
    unit = f"systems ({d['size']})" if d["family"] == "suite" else f"spectra (seed {d['seed']})"
    say(f"{d['model']}: {d['method']}, degree {d['degree']}, rtol {d['rtol']:.0e}, on {d['count']} {unit}")
    header = ("", "geo. mean", "best", "worst", "better", "equal", "worse")
    if d["family"] == "suite":
        rows = [
            [
                *(number(row[key]) for key in ("problem", "n", "plain_iterations", "probe_iterations", "iterations")),
                *(number(row[key]) for key in ("products", "efficiency")),
                *(number(row["opponents"].get(key)) for key in d["against"]),
            ]
            for row in d["problems"]
        ]
        show_table(("problem", "n", "N", "probe", "outer", "products", "E", *d["against"]), rows)
        say("N: iterations of plain CG over the same scaling; E = N / (m outer), the probe not counted;")
        say("on the right the outer iterations of the others, after a probe of 50 steps")
        e, every = d["efficiency"], d["plain_over_products"]
        say(f"geometric mean (worst): E {number(e['geometric_mean'])} ({number(e['worst'])}),", end=" ")
        say(f"N / products {number(every['geometric_mean'])} ({number(every['worst'])})")
        say(f"{d['solved_by_the_probe']} solved by the probe alone, {d['unsolved']} not solved,", end=" ")
        say(f"{d['fallbacks']} fallbacks")
    else:
        say(f"{d['left_out']} are beyond 400 outer iterations for every interval and are left out")
        say(f"{d['indefinite']} learned polynomials were indefinite on the probed interval, before any guard,")
        say(f"{d['indefinite_on_spectrum']} on eigenvalues beyond it, which CG notices as it runs")
        say(f"{d['outside_envelope']} probes were outside the training envelope, {d['fallbacks']} fell back")
        say()
        say("outer iterations over those of the best interval known in hindsight (10 stands for 10 or more):")
        rows = [[key, *(number(v[r]) for r in _RATIOS[:3])] for key, v in d["above_best"].items()]
        show_table(
            (*header[:4], "unsolved"),
            [[*row, str(d["unsolved"][row[0]])] for row in rows],
            strong=d["method"],
        )
    say()
    say(f"outer iterations of {d['method']} over those of:")
    show_table(header, [[key, *(number(v[r]) for r in _RATIOS)] for key, v in d["against"].items()])


def show_solver_costs(d: dict[str, Any]) -> None:
    """Of a model of the costs of solvers."""
    low, high = d["n"]
    say(f"{d['model']} on {d['count']} systems that no training has drawn, n = {low:,} to {high:,}, rtol {d['rtol']:g}")
    say(f"predicted from the structure, and after {d['steps']} steps of Jacobi-CG; errors are of natural logarithms")
    rows = [
        [
            target,
            label,
            str(f["systems"]),
            number(f["error"]),
            number(f["bias"]),
            f"{f['within1']:.0%}",
            f"{f['within2']:.0%}",
        ]
        for label, targets in d["targets"].items()
        for target, f in targets.items()
    ]
    show_table(("counted", "from", "systems", "rms error", "bias", "inside 1 sigma", "2 sigma"), rows)
