"""The page and the picture of `autospec_extensions.py`."""

from __future__ import annotations

from pathlib import Path

EXACT, PUBLISHED = "polar-express, exact interval", "polar-express"

INTRODUCTION = """# Extensions: quadratic, rational and gradient-driven transitions

AutoSpec, appendix A.1, as `nnla.extensions`. Made by

    {command}

on {date}, {hardware}, one thread, {seconds} s of processor time; float64 unless said otherwise. bfloat16 is
torch's own, on the CPU.

![figures](autospec_extensions.png)

## Quadratic: polar factors by products of matrices

Products until ||X'X - I||_2 is within the tolerance. The product that checks the result is counted for nobody. Judged
by the SVD. "Exact interval" hands Polar Express the true extreme singular values; "published" takes the Frobenius norm
and 1e-3 of it.

The probes are not in these counts: 32 (t + 2) products with vectors for t transitions, or 32 (t + 2) / n of a product
of matrices. With t = 6 these are 4 products at n = 64, 1.6 at n = 160 and 0.26 at n = 1000: what is saved against the
exact interval is a saving of operations for n beyond some 150 only; against the published schedule already at n = 64.

Mean products where all methods converge:
"""

RATIONAL = """## Rational: f(A) v by shifted solves

Second difference matrix of order {n}, relative error in the 2-norm, Gaussian v. Chebyshev interpolates on the exact
interval; Lanczos keeps and reorthogonalises its whole basis, and ends after {n} steps whatever happens. "reported" is
the error that the operator measured itself when it was bound; binding takes the probes, the factorisations and that
measurement.
"""

GRADIENT = """A solve is not a product: with this tridiagonal matrix it costs little more, with a 3-D mesh a lot.

## Gradient-driven: smooth convex minimisation

Gradients until their norm is {rtol:g} of the first one, probes included. "autospec over it" is the geometric mean of
the ratio of counts: below 1, autospec takes fewer. "exact interval" was given the extreme eigenvalues of the Hessian at
the start and at the minimum.
"""

CLOSING = """**When not to use it.** On quadratics conjugate gradients take fewer gradients, always: a schedule is a
polynomial from the same Krylov space, chosen before it is seen. On the regression problems compare the columns of
L-BFGS. A schedule needs no inner products of iterates beyond the guard's norm, and that is what can speak for it.
"""


def table(rows: list[dict], columns: list[str]) -> str:
    def cell(value) -> str:
        if value is None:
            return "–"
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(c.replace("_", " ") for c in columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(cell(r.get(c)) for c in columns) + " |" for r in rows), "", ""])


def page(data: dict) -> str:
    q, g = data["quadratic"], data["gradient"]
    methods = ["autospec", EXACT, PUBLISHED, "prism", "newton-schulz", "newton-schulz-3"]
    means = [{"dtype": s["dtype"], "tolerance": s["tol"], "matrices": s["count"]} | s["mean_where_all_converge"]
             for s in q["summary"]]  # fmt: skip
    text = (
        INTRODUCTION.format(**data, seconds=sum(data["cpu_seconds"].values()))
        + "\n"
        + table(means, ["dtype", "tolerance", "matrices", *methods])
    )
    for other in (EXACT, PUBLISHED):
        rows = [{"dtype": s["dtype"], "tolerance": s["tol"]} | s[f"against {other}"]
                | {"autospec failed": s["failed"]["autospec"], "it failed": s["failed"][other]}
                for s in q["summary"]]  # fmt: skip
        text += f"Products that autospec saves against {other}:\n\n" + table(rows, list(rows[0]))
    text += (
        "Products planned from a known interval [ratio, 1] to max |1 - sigma|, without any probing: what the degrees\n"
    )
    text += "are worth. Degree 17 is the one whose coefficients are learned.\n\n"
    text += table(q["planned"], list(q["planned"][0]))
    text += "Muon's five fixed steps (15 products) leave the singular values of a Gaussian 128 x 128 matrix in\n"
    text += f"[{q['muon']['smallest']:.2g}, {q['muon']['largest']:.2f}]: fast, and not meant to converge.\n\n"
    columns = ["function", "condition", "tol", "solves", "error", "reported", "chebyshev_products", "lanczos_products"]
    text += RATIONAL.format(n=data["rational"][0]["n"]) + "\n"
    text += table(data["rational"], [*columns, "bind_products", "bind_solves", "bind_ms", "apply_ms"])
    text += GRADIENT.format(**data) + "\n"
    for group, title in (("quadratic", "Generated quadratics, held out"), ("other", "Regression problems, held out")):
        rows = [{"method": m} | v for m, v in g["summary"][group].items() if isinstance(v, dict)]
        text += f"{title} ({g['summary'][group]['count']}):\n\n"
        text += table(rows, ["method", "autospec_over_it", "autospec_fewer", "compared", "failed"])
    rows = [r for r in g["rows"] if not r["name"].startswith("quadratic")]
    return text + table(rows, [k for k in rows[0] if k != "fallback"]) + CLOSING


def picture(data: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    rows = [r for r in data["quadratic"]["rows"] if r["dtype"] == "float64" and r["tol"] == 1e-6]
    for name, style in {"prism": "v", PUBLISHED: "^", EXACT: "s", "autospec": "o"}.items():
        points = [(r["condition"], r[name]) for r in rows if r[name] is not None]
        axes[0].plot(*zip(*points, strict=True), style, ms=4, alpha=0.6, label=name)
    axes[0].set(xscale="log", xlabel="condition of the matrix", ylabel="products of matrices",
                title="polar factor to 1e-6, float64")  # fmt: skip
    axes[0].legend()
    kinds = {"solves": "solves, rational", "lanczos_products": "products, Lanczos"}
    kinds["chebyshev_products"] = "products, Chebyshev"
    for function, marker in (("inv_sqrt", "o"), ("sqrt", "s"), ("log", "^")):
        chosen = [r for r in data["rational"] if r["function"] == function]
        for index, (key, label) in enumerate(kinds.items()):
            points = [(r[key], r["tol"]) for r in chosen if r[key]]
            if points:
                label = label if function == "inv_sqrt" else None
                axes[1].loglog(*zip(*points, strict=True), marker=marker, color=f"C{index}", alpha=0.7, label=label)
    axes[1].set(
        xlabel="solves or products",
        ylabel="relative error reached",
        title=f"f(A) v, condition {data['rational'][0]['condition']:.0e} (o inv_sqrt, □ sqrt, △ log)",
    )
    axes[1].legend()
    name, curves = next(iter(data["gradient"]["curves"].items()))
    for method, history in curves.items():
        axes[2].loglog(*zip(*history, strict=True), lw=2.4 if method == "autospec" else 1.1, label=method)
    axes[2].set(xlabel="gradients at iterates (probes left out)", ylabel="smallest gradient norm so far", title=name)
    axes[2].legend(fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)
