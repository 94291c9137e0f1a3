"""The page and the figure of nlaformer_products.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "learned": "**learned loop**, 1 product",
    "wide": "learned loop, {K} products in parallel",
    "jacobi": "Jacobi-PCG",
    "cg": "CG",
    "chebyshev": "Chebyshev, interval known",
    "chebyshev estimated": "Chebyshev, interval estimated",
    "block cg": "block CG, 4 columns",
}

HEAD = """# Fewer products than conjugate gradients: a looped transformer with exact products

A itself is the attention matrix (linear attention over the n unknowns, no softmax), so a loop is one true product with
A, and everything is exact in float64. The block: channel z_i = g_i r_i, g by a network of {parameters} numbers, the
same for every unknown, from what knows no order and no units (the diagonal of A, what of it the directions so far
explain, the residual, the length of the last step); Galerkin's method in all directions so far, which takes no further
product; and at the end a step along one more gated residual *without* a product, as long as the network expects. The
first directions are three unit vectors, whose images, three columns of A, the guard reads anyway: 3 / n of a product.
Trained in {train:.0f} s of processor time, one thread, on n = 10 to 40, sigma = 1, 1.2, 1.4. Made by

    python reproduce/nlaformer_products.py

on {date}, {hardware}, {seconds} s of processor time. {count} systems of each kind (an eighth from n = 100), of no
training seed. Error: ||x_t - x||^2 / ||x||^2. The honest opponent is **Jacobi-PCG**: CG with the same knowledge of the
diagonal.

![figure]({stem}.png)

## Bars
"""

PRODUCTS = """
Mean products of a system to an error of 1e-6, the columns that the guard reads counted as their share of a product
(bar: a fifth fewer than CG; the honest opponent is Jacobi-PCG):
"""

ACCURACY = """
## Iterations, products and operations to an accuracy

Products until the *mean* error is below 1e-2 / 1e-4 / 1e-6 / 1e-8 (as in the paper's Fig. 7), and operations
(thousands) for one system to 1e-6: a product is 2 n^2; gates, orthogonalisation and vectors are counted, a logarithm or
exponential as ten. The guard's columns are not in these: 3 to 9 columns of A, 3 / n of a product as a rule. A dash: not
within the products that were tried (70; 110 from n = 100). **In operations the loop loses** to Jacobi-PCG up to about
n = 100: its network costs some 250 operations an unknown and loop, more than a product at n = 20.
"""

LOOPS = """
## Two operating points

What a loop is, is a convention: "50 % fewer iterations" says nothing without products. *Few products*: one product a
loop, as above. *Few loops*: several products in a loop, one after the other (a block of three attention layers is
three steps of the same weights), or at once (channels). Until the mean error is below 1e-6, sigma = 1.2:
"""

CHANNELS = """
Channels at once are a poor use of products: the second and later ones add little to the gated residual. They pay only
where a product with a block costs hardly more than one with a vector.
"""

WHY = """
## Where it comes from

CG is optimal in its Krylov space, but in the A-norm, and the error here is measured in the 2-norm; and the space is
that of A, not of the family. What each way beyond it gives: products to a mean error of 1e-6, sigma = 1.2, fractions
of a product by interpolation of the logarithm, columns that are read counted:
"""

REASONS = """
* **A-norm against 2-norm.** "Best in the 2-norm" knows the solution and is out of reach for anyone: all that the
  measured norm could ever give in the same directions is the difference of these lines, about a tenth of a product.
* **Blocks** give nothing per product: block CG and channels take two to four times as many.
* **A prior of the family gives most.** A = w w' + Q + D: a rank-one part, a rest with eigenvalues in (0, 1), a
  diagonal. Jacobi divides by w_i^2 + Q_ii + D_i; but w is one direction, which is out of the way after a step or two.
  What is left of the diagonal when the parts of A that the directions so far explain are taken off, a_i - sum over
  directions p, of A-norm one, of (A p)_i^2, costs no product: it is the diagonal of the Schur complement. This *rule*
  needs no training.
* **Reading all of A** for a diagonal without the rank-one part (about a product, not counted here) gives no more.
* **The last step without a product**, which a prior for the step's length makes possible, gives nearly one product, to
  Jacobi-PCG as well, where its length is fixed well.
* **Columns of A** are products with unit vectors, for 1 / n of a product each; three of them, where w is large, show w
  and the diagonal before the first product. (All n of them are A: counted in products alone, Cholesky takes one. What
  bounds the loop to a few is the wish for an iteration.)
* **Learning** the gates and lengths gives the difference of "the learned loop" to "the rule, a last step, and columns",
  whose one length was chosen on these very systems: {learning}. That is little beside what the rule gives: it could be
  used without any training.
"""

OTHERS = """
## Other families, and the guard

The guard reads three columns of A (three more, and again three, where these do not fit): if a rank-one matrix fits them
off the diagonal, has a moderate share of the trace, and leaves a diagonal that varies, the matrix is *inside*. Else the
first six loops are those of CG, from CG's own start, the learned gates come after that, and the last step is left out.
Mean products to 1e-6, the columns read counted. *CG, orthogonal* keeps all directions A-orthogonal, as the loop does:
where CG needs more products than n, rounding is to blame, and that part of the difference is not the loop's merit.
"""

VERDICT = """
Bar: never worse than CG by more than 5 % for a condition up to 1e4. Worst here, against the better of the two
CG and CG, orthogonal: {worst}.

It is a measurement, not a theorem: CG's own space is given up after six loops, though nothing it has found is lost.
"""

LEARNED = """
## What it has learned

In the figure. *Gates*: about one over what is left of the diagonal (line), flatter where little is left: a gate trusts
no diagonal that is a small difference. *Steps*: the length of Galerkin's step along the gated residual over the length
that the last step would have taken. From the third loop on it is near one and varies little, which is why that step can
do without its product; CG's steps along Jacobi's residual vary more. *Filter*: what is left of the error after five
products by eigenvalue of A, root mean square over 400 systems: CG's polynomial is the best in the A-norm and leaves the
small eigenvalues, which the 2-norm sees; Chebyshev's (median ends) is level by design. The learned loop is no
polynomial in A; it leaves less than CG and Jacobi-PCG at every eigenvalue.

## Uses

    model = nnla.load("nlaformer-exact")
    x, report = model.solve(A, b)                                     # one system, or a batch (B, n, n)
    nnla.solve(A, b, x0=model.guess(A, b))                            # or warm_start="nlaformer-exact"
    nnla.solve(A, b, method="fcg", M=model.aspreconditioner(A))       # not linear: plain CG refuses it
    nnla.solve(A, b, method="fcg", M=model.block_jacobi(A, size=32))

`model.solve(A, b)`, to a residual of 1e-8, mean products with every check included (16 systems, sigma = 1.2); *warm*:
`nnla.solve(method="jacobi", warm_start=model)`, the guess's products included:
"""

SPARSE = """
To a residual that is verified, the last step gains less than in the tables above: its product is that of the check. For
one such system LAPACK's Cholesky (n^3 / 3 operations) is cheaper than any iteration to this accuracy; products count
where A is large, or known only by them.

On a large sparse matrix of another kind the loop is guarded CG. As block-Jacobi (blocks solved by the loop, not linear,
so in flexible CG) on the 2-D Laplacian, {side} x {side}, to a residual of 1e-8; *inner*: products with A's blocks, or
with A (counted in the column before, too), inside the preconditioner:
"""

END = """
Block-Jacobi by Cholesky wins, as it must: its blocks are factored once, solved exactly, and linear. Take that. The loop
is for systems of its family, of any size, with products that cost.
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n" + "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def page(data: dict[str, Any], stem: str) -> str:
    """Markdown."""
    names = {key: text.format(K=data["channels"].get("wide", 0)) for key, text in NAMES.items()}
    head = HEAD.format(
        stem=stem,
        parameters=data["parameters"]["learned"],
        train=data["training"]["cpu_seconds"],
        **{key: data[key] for key in ("date", "hardware", "seconds", "count")},
    )
    return (
        head + _bars(data) + PRODUCTS + _fewer(data) + _errors(data) + ACCURACY + _accuracy(data, names) + LOOPS
        + _loops(data) + CHANNELS + WHY + _parts(data) + _reasons(data) + OTHERS + _others(data) + LEARNED + _uses(data)
    )  # fmt: skip


def _bars(data: dict[str, Any]) -> str:
    ours = [row["methods"]["learned"] for name, row in data["family"].items() if not name.endswith("none")]
    train = data["training"]["cpu_seconds"]
    bars = [
        (
            "mean error at loop 5, worst of n = 10 to 200 and sigma = 1, 1.2, 1.4",
            max(m["mean_at"]["5"] for m in ours),
            1e-4,
        ),
        ("mean error at loop 10, likewise", max(m["mean_at"]["10"] for m in ours), 1e-6),
        ("floor in float64", max(m["floor"] for m in ours), 1e-10),
    ]
    rows = [[f"{words}: <= {bar:.0e}", f"{value:.1e}", "yes" if value <= bar else "no"] for words, value, bar in bars]
    rows += [
        [
            "training: <= 15 minutes of processor time, one thread",
            f"{train / 60:.1f} minutes",
            "yes" if train <= 900 else "no",
        ]
    ]
    return table(["bar", "measured", "met"], rows)


def _fewer(data: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for name, row in data["family"].items():
        m = row["methods"]
        own, jacobi, cg = m["learned"]["each"][2] + row["read"], m["jacobi"]["each"][2], m["cg"]["each"][2]
        rows += [[name, f"{own:.1f}", f"{jacobi:.1f}", f"{1 - own / jacobi:.0%}", f"{cg:.1f}", f"{1 - own / cg:.0%}"]]
        rows[-1] += [f"{row['inside']:.1%}"]
    return table(["n, sigma", "learned", "Jacobi-PCG", "fewer", "CG", "fewer", "guard lets pass"], rows)


def _errors(data: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for name, row in data["family"].items():
        m = row["methods"]
        cells = [f"{m[key]['mean_at'][t]:.0e}" for key in ("learned", "jacobi", "cg") for t in ("5", "10", "15")]
        rows += [[name, f"{row['condition']:.0f}", *cells, f"{m['learned']['floor']:.0e}"]]
    header = [
        "n, sigma",
        "condition",
        "learned, 5",
        "10",
        "15",
        "Jacobi-PCG, 5",
        "10",
        "15",
        "CG, 5",
        "10",
        "15",
        "floor",
    ]
    words = (
        "\n## Mean error by loop\n\nOne product a loop. The floor is the loop's after n + 20 products, at least 40.\n"
    )
    return words + table(header, rows)


def _accuracy(data: dict[str, Any], names: dict[str, str]) -> str:
    text = ""
    for sigma in ("none", "1", "1.2", "1.4"):
        some = {name: row for name, row in data["family"].items() if name.endswith(f", {sigma}")}
        rows: list[list[str]] = []
        for key, words in names.items():
            if key not in next(iter(some.values()))["methods"]:
                continue
            rows += [[words]]
            for row in some.values():
                m = row["methods"][key]
                rows[-1] += [" / ".join("–" if t is None else str(t) for t in m["products"])]
                rows[-1] += ["–" if m["flops"] is None else f"{m['flops'] / 1e3:.0f}"]
        header = ["method", *(cell for name in some for cell in (f"n = {name.split(',')[0]}", "kflop"))]
        text += f"\n**sigma = {sigma}**\n" + table(header, rows)
    return text


def _loops(data: dict[str, Any]) -> str:
    some = {name: row["methods"] for name, row in data["family"].items() if name.endswith(", 1.2")}
    learned = [methods["learned"]["products"][2] for methods in some.values()]
    rows: list[list[str]] = []
    for layers in (1, 2, 3):
        cells = [f"{-(-t // layers)} loops, {-(-t // layers) * layers} products" for t in learned]
        rows += [[f"{layers} product{'s one after the other' if layers > 1 else ''}", *cells]]
    if "wide" in data["channels"]:
        K = data["channels"]["wide"]
        wide = [methods["wide"]["products"][2] for methods in some.values()]
        rows += [[f"{K} products at once", *("–" if t is None else f"{t // K} loops, {t} products" for t in wide)]]
    jacobi = [methods["jacobi"]["products"][2] for methods in some.values()]
    rows += [["Jacobi-PCG", *(f"{t} iterations, {t} products" for t in jacobi)]]
    return table(["block", *(f"n = {name.split(',')[0]}" for name in some)], rows)


def _parts(data: dict[str, Any]) -> str:
    sizes = list(data["parts"])
    rows = [[name, *(f"{data['parts'][n][name]:.1f}" for n in sizes)] for name in data["parts"][sizes[0]]]
    return table(["", *(f"n = {n}" for n in sizes)], rows)


def _reasons(data: dict[str, Any]) -> str:
    rule = "the rule, a last step, and the guard's columns as first directions"
    gains = [f"{row[rule] - row['the learned loop']:+.1f} at n = {n}" for n, row in data["parts"].items()]
    return REASONS.format(learning=", ".join(gains) + " (products saved)")


def _others(data: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    worst = ["", -1.0]
    for name, row in data["others"].items():
        own, cg = row["guarded"] + row["read"], min(row["cg"], row["orthogonal"])
        if row["condition"] <= 1.2e4 and own / cg - 1 > worst[1]:
            worst = [name, own / cg - 1]
        figures = [f"{row[key]:.1f}" for key in ("cg", "orthogonal", "jacobi")]
        rows += [[name, f"{row['condition']:.0f}", *figures, f"{own:.1f}", f"{own / cg - 1:+.1%}"]]
        rows[-1] += [f"{row['unguarded']:.1f}", f"{row['inside']:.0%}"]
    for name, row in data["family"].items():
        m = row["methods"]
        over = (m["learned"]["each"][2] + row["read"]) / m["cg"]["each"][2] - 1
        if row["condition"] <= 1.2e4 and over > worst[1]:
            worst = [f"the family, {name}", over]
    header = ["matrices", "condition", "CG", "CG, orthogonal", "Jacobi-PCG", "learned, guarded", "over CG", "unguarded"]
    text = f"{worst[1]:+.1%} ({worst[0]}), {'met' if worst[1] <= 0.05 else 'not met'}"
    return table([*header, "inside"], rows) + VERDICT.format(worst=text)


def _uses(data: dict[str, Any]) -> str:
    u = data["uses"]
    rows: list[list[str]] = []
    for n, row in u["solve"].items():
        rows += [[n, *(f"{row[key]:.1f}" for key in ("learned", "jacobi", "cg", "warm"))]]
        rows[-1] += ["yes" if row["converged"] else "no", str(row["fallbacks"])]
    first = table(["n", "learned", "nnla, Jacobi-PCG", "nnla, CG", "warm", "all converged", "by Cholesky"], rows)
    rows = []
    for row in u["blocks"]:
        counts = [str(row[key]) for key in ("iterations", "products", "inner")]
        rows += [[row["method"], *counts, f"{row['seconds']:.2f}", "yes" if row["converged"] else "no"]]
    header = ["method", "outer iterations", "products with A", "inner", "CPU s", "converged"]
    return first + SPARSE.format(side=u["side"]) + table(header, rows) + END


def picture(data: dict[str, Any], path: Path) -> None:
    """Errors by product at two sizes, gates, lengths of steps, filters."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    styles = {
        "learned": ("C3", "-", "learned loop"),
        "wide": ("C1", ":", f"learned, {data['channels'].get('wide', 0)} channels"),
        "jacobi": ("C0", "-", "Jacobi-PCG"),
        "cg": ("C7", "-", "CG"),
        "chebyshev": ("C2", "--", "Chebyshev, interval known"),
        "block cg": ("C4", ":", "block CG, 4 columns"),
    }
    for axis, n in zip(axes[0, :2], ("20", "200"), strict=True):
        methods = data["family"][f"{n}, 1.2"]["methods"]
        for key, (colour, style, label) in styles.items():
            if key in methods:
                curve = np.maximum(methods[key]["curve"], 1e-18)[:21]
                axis.semilogy(
                    curve, color=colour, linestyle=style, label=label, linewidth=2 if key == "learned" else 1.3
                )
        axis.axhline(1e-6, color="0.8", linewidth=0.8, zorder=0)
        axis.set(
            title=f"n = {n}, sigma = 1.2",
            xlabel="products with A",
            ylabel="mean squared relative error",
            ylim=(1e-14, 3),
        )
    axes[0, 0].legend(fontsize=8)
    seen = data["seen"]
    axis = axes[0, 2]
    edges = np.array(seen["edges"])
    colours = {"learned, last step included": "C3", "learned, without it": "C1", "Jacobi-PCG": "C0"}
    for name, values in seen["filters"].items():
        colour = colours.get(name, "C7" if name.startswith("CG") else "C2")
        axis.loglog(np.sqrt(edges[1:] * edges[:-1]), values, color=colour, label=name, marker=".", linewidth=1.3)
    axis.set(
        title=f"left of the error after {seen['products']} products",
        xlabel="eigenvalue of A",
        ylabel="share",
        ylim=(1e-6, 2),
    )
    axis.legend(fontsize=7)
    axis = axes[1, 0]
    for row, colour in zip((seen["gates"][k] for k in (0, 1, 3, 6)), ("0.6", "C0", "C1", "C3"), strict=True):
        axis.loglog(row["left"], row["gate"], ".", color=colour, markersize=3, label=f"loop {row['loop'] + 1}")
    line = np.logspace(-2, 0, 20)
    axis.loglog(line, 1 / line, "k-", linewidth=0.8, label="1 / what is left")
    axis.set(
        title="gates times the diagonal, n = 20",
        xlabel="what is left of the diagonal, share",
        ylabel="gate",
    )
    axis.set(xlim=(5e-3, 1.1))
    axis.legend(fontsize=8)
    axis = axes[1, 1]
    for key, colour, label in (("learned", "C3", "learned, over the expected one"), ("jacobi", "C0", "CG's (Jacobi)")):
        low, middle, high = np.array(seen["lengths"][key]).T
        loops = np.arange(1, len(middle) + 1)
        axis.plot(loops, middle, color=colour, marker=".", label=label)
        axis.fill_between(loops, low, high, color=colour, alpha=0.2)
    axis.axhline(1, color="0.7", linewidth=0.8)
    axis.set(title="lengths of steps, median, 10th to 90th percentile", xlabel="loop", ylim=(0, None))
    axis.legend(fontsize=8)
    axis = axes[1, 2]
    sizes = (10, 20, 40, 100, 200)
    for key in ("learned", "jacobi", "cg", "chebyshev"):
        values = [data["family"][f"{n}, 1.2"]["methods"][key]["each"][2] for n in sizes]
        if key == "learned":
            values = [v + data["family"][f"{n}, 1.2"]["read"] for v, n in zip(values, sizes, strict=True)]
        axis.plot(sizes, values, color=styles[key][0], linestyle=styles[key][1], marker="o", label=styles[key][2])
    axis.axvspan(10, 40, color="0.93", zorder=0)
    axis.set(title="products to 1e-6 (grey: sizes of the training)", xlabel="n", xscale="log", ylim=(0, 30))
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
