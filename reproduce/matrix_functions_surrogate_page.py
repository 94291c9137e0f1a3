"""The page and the picture of `python reproduce/matrix_functions_surrogate.py`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

Found = dict[str, Any]
_SHOWN = (
    "surrogate",
    "network asked",
    "worst case",
    "surrogate, checked",
    "eigenvectors, checked",
    "numpy eigh",
    "torch eigh",
)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Markdown."""
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(r) + " |" for r in rows),
        "",
    ]


def page(found: Found) -> str:
    """docs/matrix_functions_surrogate.md."""
    lines = ["# The equivariant surrogate, and rate matrices", ""]
    lines += [f"By `{found['command']}`, {found['date']}, one thread, {found['cpu_seconds']} s of processor time. The"]
    lines += [f"network has {found['parameters']} numbers, trained in"]
    lines += [f"{sum((found['training']['seconds'] or {}).values()):.0f} s (`nnla train matfun-equivariant`).", ""]
    lines += [*_idea(), *_accuracy(found), *_five_percent(found), *_products(found), *_clocks(found)]
    return "\n".join([*lines, *_chebyshev(found), *_rates(found)]).rstrip() + "\n"


def _ratios(found: Found) -> str:
    """Geometric means over sizes of the loop over SciPy by the surrogate."""
    means = {f: [r["scipy"] / r["surrogate"] for r in sizes.values()] for f, sizes in found["clocks"].items()}
    return ", ".join(f"{f} {math.exp(sum(map(math.log, v)) / len(v)):.1f}" for f, v in means.items())


def _idea() -> list[str]:
    return [
        "f(A) is a polynomial in A, or a composition of polynomials, so the answer turns with its matrix and does not",
        "depend on the family that A is from. Traces of powers bound the largest eigenvalue; the network predicts what",
        "they do not bound: how close to zero an eigenvalue lies (sign, roots, logarithm), or how far below the bound",
        "the largest one is (exp). From that the program of fewest products follows. Up to n = 6 a product costs less",
        "than the question, and the network is not asked: one program serves all. Sign and roots are checked, X^2 = I",
        "and its like (counted), and go on where a prediction was wrong.",
        "",
        "![errors, products and seconds](matrix_functions_surrogate.png)",
        "",
    ]


def _accuracy(found: Found) -> list[str]:
    rows = []
    for f, sizes in found["accuracy"].items():
        for family in next(iter(sizes.values())):
            values = [sizes[n][family] for n in sizes]
            rows.append([f, family, *(f"{v['largest']:.0e}" for v in values)])
    sizes = list(next(iter(found["accuracy"].values())))
    some = found["accuracy"]
    bar = {f: min(v["within_millionth"] for n in some[f].values() for v in n.values()) for f in some}
    lines = [
        "## Errors",
        "",
        f"Largest ||X - f(A)||_F / ||f(A)||_F over {found['count']} matrices (a quarter at n = 32), the network's own",
    ]
    lines += ["answers. Least share within 1e-6 over families and sizes: "]
    lines[-1] += ", ".join(f"{f} {share:.1%}" for f, share in bar.items()) + "."
    worst = max(found["equivariance"].values())
    lines += [f"Largest ||f(QAQ') - Q f(A) Q'|| / ||f(A)||: {worst:.0e}.", ""]
    lines += table(["f", "family", *(f"n = {n}" for n in sizes)], rows)
    return [
        *lines,
        "sin, cos and log are relative to matrices that may be small: near a zero of the function digits are lost.",
        "",
    ]


def _five_percent(found: Found) -> list[str]:
    lines = ["## The paper's measure, n = 3 and 5", "", "Share within 5 % and median of sum |error| / sum |f(A)|.", ""]
    rows = []
    for f, sizes in found["accuracy"].items():
        for n in ("3", "5"):
            family = next(iter(sizes[n]))
            v = sizes[n][family]
            rows.append([f, n, family, f"{v['within_5_percent']:.1%}", f"{v['median_l1']:.0e}"])
    return [*lines, *table(["f", "n", "family", "within 5 %", "median"], rows)]


def _products(found: Found) -> list[str]:
    lines = ["## What the prediction saves", ""]
    lines += ["Mean products of matrices, checks included: for the prediction, for the worst case that is allowed (gap"]
    lines += ["1e-2, condition 1e6, largest eigenvalue anywhere), and for the truth.", ""]
    rows = [
        [
            f,
            n,
            *(f"{row[key]:.1f}" for key in ("learned", "worst case", "known")),
            f"{1 - row['learned'] / row['worst case']:.0%}",
        ]
        for f, sizes in found["products"].items()
        for n, row in sizes.items()
    ]
    lines += table(["f", "n", "learned", "worst case", "known", "saved"], rows)
    lines += ["The larger the matrix, the less its smallest eigenvalue shows in six traces, and the less is saved."]
    return [*lines, ""]


def _clocks(found: Found) -> list[str]:
    lines = [
        "## Seconds",
        "",
        "Microseconds a matrix, batched, one thread; *scipy* is a loop over its function; *network asked*: n <= 6 too;",
        "*worst case*: never, one program for all; *checked*: through `nnla.matfun`, every answer checked by itself.",
        "The last column: the loop over SciPy by the surrogate.",
        "",
    ]
    rows, wins, ten = [], [], []
    for f, sizes in found["clocks"].items():
        for n, row in sizes.items():
            best = min(row["numpy eigh"], row["torch eigh"])
            ratio = row["scipy"] / row["surrogate"]
            extra = f"{row['torch matrix_exp']:.1f}" if "torch matrix_exp" in row else "-"
            rows.append([f, n, *(f"{row[m]:.1f}" for m in _SHOWN), extra, f"{row['scipy']:.1f}", f"{ratio:.1f}"])
            if row["surrogate"] < best:
                wins.append(f"{f} n = {n}")
            if ratio >= 10:
                ten.append(f"{f} n = {n}")
    lines += table(["f", "n", *_SHOWN, "torch matrix_exp", "scipy", "scipy / surrogate"], rows)
    lines += [f"A loop over SciPy by the surrogate, geometric means over these sizes: {_ratios(found)}."]
    lines += [f"Ten times a loop over SciPy: {', '.join(ten) or 'nowhere'}."]
    lines += [f"Faster than batched eigenvectors (the better of NumPy's and torch's): {', '.join(wins) or 'nowhere'}."]
    lost = [f"{f} n = {n}" for f, sizes in found["clocks"].items() for n in sizes if f"{f} n = {n}" not in wins]
    lines += [f"Batched eigenvectors win: {', '.join(lost) or 'nowhere'}."]
    lines += [
        "So on a CPU eigenvectors are the method for symmetric matrices, which `nnla.matfun` takes unless asked; the"
    ]
    lines += ["surrogate consists of products alone, which is what other devices are good at: not measured here."]
    slower = [
        f"{f} n = {n}" for f, s in found["clocks"].items() for n, r in s.items() if r["surrogate"] > r["worst case"]
    ]
    lines += [f"The network costs more seconds than its prediction saves: {', '.join(slower) or 'nowhere'}."]
    return [*lines, ""]


def _chebyshev(found: Found) -> list[str]:
    lines = ["## A Chebyshev polynomial of as many products", ""]
    lines += [
        "Median relative error of interpolation between the extreme eigenvalues of each matrix, which are given: of the"
    ]
    lines += [
        "degree that the surrogate's products make by a recurrence, and by Paterson's and Stockmeyer's rule.",
        "",
    ]
    rows = [
        [f, n, f"{c['products']:.1f}", f"{c['recurrence']:.0e}", f"{c['paterson-stockmeyer']:.0e}"]
        for f, sizes in found["clocks"].items()
        for n, c in ((n, row["chebyshev"]) for n, row in sizes.items())
    ]
    return [*lines, *table(["f", "n", "products", "by recurrence", "by Paterson-Stockmeyer"], rows)]


def _rates(found: Found) -> list[str]:
    lines = [
        "## Rate matrices",
        "",
        "`nnla.matfun.expm(t Q)` finds a rate matrix by its signs and row sums, and uses a series of non-negative",
    ]
    lines += [
        "numbers. Errors beside 30 digits (mpmath): in the norm, of the worst entry; largest |row sum - 1|. LG: Le and"
    ]
    lines += [
        "Gascuel (2008); *one-way*: LG's rates by random factors, no detailed balance; *codons*: Goldman and Yang's"
    ]
    lines += ["form (1994) with the standard genetic code, frequencies generated.", ""]
    rows = []
    for row in found["rates"]:
        cells = [row["matrix"], f"{row['t']:g}", f"{row['smallest']:.0e}"]
        for method in ("nnla", "scipy"):
            cells += [f"{row[method][key]:.0e}" for key in ("norm", "entry", "rows")]
        rows.append(cells)
    header = ["matrix", "t", "least entry", "nnla: norm", "entry", "rows", "scipy: norm", "entry", "rows"]
    lines += table(header, rows)
    worst = {m: max(r[m]["entry"] for r in found["rates"]) for m in ("nnla", "scipy")}
    lines += [f"Worst entry: {worst['nnla']:.0e} (nnla), {worst['scipy']:.0e} (SciPy). Negative entries:"]
    negative = {m: sum(r[m]["smallest"] < 0 for r in found["rates"]) for m in ("nnla", "scipy")}
    return [
        *lines[:-1],
        lines[-1] + f" {negative['nnla']} and {negative['scipy']} of {len(found['rates'])} matrices.",
        "",
    ]


def picture(found: Found, path: Path) -> None:
    """Errors, products and seconds by size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    for color, f in zip(("C0", "C1", "C2", "C3"), found["clocks"], strict=True):
        sizes = [int(n) for n in found["accuracy"][f]]
        worst = [max(v["largest"] for v in row.values()) for row in found["accuracy"][f].values()]
        axes[0].loglog(sizes, worst, "o-", color=color, label=f)
        for key, style in (("learned", "o-"), ("worst case", ":"), ("known", "--")):
            label = f"{f}, {key}" if f == "exp" else None
            axes[1].semilogx(
                sizes, [row[key] for row in found["products"][f].values()], style, color=color, label=label
            )
        rows = found["clocks"][f].values()
        axes[2].loglog(sizes, [r["scipy"] / r["surrogate"] for r in rows], "o-", color=color, label=f"{f}: scipy")
        best = [min(r["numpy eigh"], r["torch eigh"]) / r["surrogate"] for r in rows]
        axes[2].loglog(sizes, best, ":", color=color, label=f"{f}: eigenvectors")
    axes[0].axhline(1e-6, color="grey", lw=0.8)
    axes[2].axhline(1, color="grey", lw=0.8)
    axes[2].axhline(10, color="grey", lw=0.8)
    for axis, title in zip(axes, ("largest relative error", "products", "seconds over the surrogate's"), strict=True):
        axis.set_xlabel("n")
        axis.set_xticks([2, 3, 5, 8, 16, 32], labels=["2", "3", "5", "8", "16", "32"])
        axis.minorticks_off()
        axis.set_title(title)
        axis.legend(fontsize=6)
    figure.savefig(path, dpi=110)
    plt.close(figure)
