"""The page and the picture of reproduce/nlaformer_constructions.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAPER = {  # Table 1: layers of NLAFormer and of the loop-transformer, input sizes of both
    "add": ("1", "12n", "O(n)", "O(n)"),
    "subtract": ("1", "12n", "O(n)", "O(n)"),
    "multiply": ("1", "12n", "O(n)", "O(n)"),
    "divide": ("1", "12n", "O(n)", "O(n)"),
    "column_shift": ("1", "4", "O(n)", "O(n)"),
    "row_shift": ("1", "4n", "O(n)", "O(n log n)"),
    "vector_transpose": ("1", "4", "O(n^2)", "O(n^3)"),
    "inner": ("1", "6", "O(n^2)", "O(n^3)"),
    "outer": ("1", "6", "O(n^2)", "O(n^3)"),
    "transpose": ("1", "4", "O(n^2)", "O(n^3)"),
    "AtB": ("1", "6", "O(n^2)", "O(n^3)"),
    "AB": ("2", "10", "O(n^2)", "O(n^3)"),
    "Ab": ("2", "6", "O(n^2)", "O(n^3)"),
    "AB_one_layer": ("–", "10", "–", "O(n^3)"),
    "Ab_one_layer": ("–", "6", "–", "O(n^3)"),
}
HEADS = {"paper": "+c, 0 (paper)", "central": "+c, -c", "four": "four", "eight": "eight"}
COUNT = {"paper": 2, "central": 2, "four": 4, "eight": 8}
ORDER = {"paper": "1", "central": "2", "four": "4", "eight": "8"}
BARS = {"central": 1e-9, "four": 1e-11, "eight": 1e-12}


_COMPILER = """
## The compiler

```python
from nnla.constructions import Algorithm, dot

m = Algorithm(20)  # tokens; the sink is one more
A = m.matrix("A", symmetric=True)  # column j in token j
b = m.vector("b", across=True)  # a row; without `across`, a column in the last token
x = m.state("x", m.vector("x", unit=b.unit / A.unit))
r = m.state("r", b - A @ x)
q = A @ r
alpha = dot(r, r) / dot(r, q)
m.update(x, x + alpha * r)  # all states at once
m.update(r, r - alpha * q)
program = m.compile(heads="four")  # "paper", "central", "four", "eight"; dtype, c, C, network, ...
program.run(50, A=A0, b=b0)["x"]  # batches (..., 20, 20), (..., 20)
print(program)  # pre 1 layer (8 heads), loop 1 layer (4 heads); prompt 102 x 21
```

`+ - * / @ .T`, `dot`, `norm`, `outer`, `diag`, `sqrt`, `row_sums`, `permute_columns`, `keep`, and `within`, which tells
real networks how large something is. Products go to attention, in the first layer in which their operands lie in the
prompt; combinations of stored blocks are formed by the weights; all else is local to a token and goes to the network.
Working rows come from a pool and are cleared after their last use. Inputs are divided by powers of two near their
norms, and every expression has a unit, so that results do not depend on scale (1e-250 to 1e250), and what has no common
unit cannot be added. `Program.run` refuses scores, steps and sinks that would leave products less than two digits.

`program.weights()` gives named arrays to start a trainable network from: `pre.0.heads.0.W_Q`, `.W_K` (k, rows) and
`.W_V` (rows, rows), `loop.0.heads.0...`, and of real networks `loop.0.ffn.0.W`, `.b`; tokens in columns.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)])


def number(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:.1e}"


def markdown(data: dict[str, Any]) -> str:
    meta = data["meta"]
    parts = [
        f"""# Constructed transformers: the NLAFormer paper's theorems, run

NLAFormer, Theorems 2.1 and 3.1. Made by

    {meta["command"]}

on {meta["date"]}, {meta["hardware"]}, {meta["seconds"]} s of processor time; float64 unless said otherwise;
n = {meta["n"]}.

Everything here is `nnla.constructions`: softmax attention with explicit W_Q, W_K, W_V as in the paper's (1), and behind
it either an *exact pointwise map* (what the paper's networks approximate, computed as it is) or a real ReLU network.
All of it comes from one compiler, which is given formulas such as `r - alpha * (A @ d)`.

![errors](nlaformer_constructions.png)

## How attention multiplies

A sink token, in column 0, has the score C for every query. Then e^C softmax(c z) = exp(c z) / (1 + e^-C sum exp(c z)),
and a weighted sum of heads with steps t c is a difference formula for the derivative of exp at zero: z, with an error
that is the sum of

* the formula's: c z / 2 for the paper's +c and 0, (c z)^2 / 6 for +c and -c, (c z)^4 / 30 and (c z)^8 / 630 for four
  and eight heads (Richardson's extrapolation);
* the sink's: n e^-C;
* rounding: eps / c. A softmax that subtracts its largest score first, as libraries for training do, turns small scores
  z into z - C and loses C times as much; a plain one, which fits in the exponents' range, does not.

So the best c is where truncation meets rounding, and C = 36 in float64 or 18 in float32 is enough; larger ones gain
nothing. Defaults: """
        + "; ".join(f"{s} c = {v['float64']:.0e} (float32 {v['float32']:.0e})" for s, v in meta["steps"].items())
        + ".\n\nA product is V (K' Q), with V, K, Q any rows of the prompt. That of conjugate gradients, n = 8:"
        "\n\n![prompt](nlaformer_prompt.png)\n",
        _COMPILER,
        _table_one(data),
        _operations(data),
        _steps(data),
        _gradients(data),
        _relu(data),
        _others(data),
    ]
    return "\n".join(parts)


def _table_one(data: dict[str, Any]) -> str:
    n, rows = data["meta"]["n"], []
    for row in data["table"]:
        ours, loop, size, other = PAPER[row["operation"]]
        heads = " + ".join(map(str, row["heads"]))
        prompts = " → ".join(f"{r} x {c}" for r, c in zip(row["rows"], row["columns"], strict=True))
        rows.append([f"`{row['operation']}`", ours, str(row["layers"]), loop, heads, size, prompts, other,
                     f"{row['nonzeros'][0]} → {row['nonzeros'][1]}"])  # fmt: skip
    head = ["operation", "layers: paper", "**here**", "loop-transformer", "heads", "input: paper",
            f"**prompt here**, n = {n} → {2 * n}", "loop-transformer", "weights ≠ 0"]  # fmt: skip
    return f"""
## Table 1

Layers and sizes of inputs; the loop-transformer's are the paper's, from Giannou et al. (2023), and were not run. Heads
are those of two to a product; four and eight replace them where more digits are wanted.

{table(head, rows)}

Two findings. The layers and heads of all ten operations are as the theorem says. And **AB and A b need one layer, not
two**: values may be the columns of A themselves, with positions as keys, A (E' B) = A B (`AB_one_layer`,
`Ab_one_layer`); it is the more exact way too, as no error is made twice.
"""


def _operations(data: dict[str, Any]) -> str:
    found = data["operations"]
    names = list(dict.fromkeys(r["operation"] for r in found))
    values = {(r["operation"], r["heads"], r["dtype"], r["shift"]): r["max"] for r in found}

    def cell(name: str, scheme: str, dtype: str, shift: bool) -> str:
        value = values.get((name, scheme, dtype, shift))
        met = dtype == "float64" and not shift and value is not None and value <= BARS.get(scheme, 0)
        return f"**{number(value)}**" if met else number(value)

    out = []
    for dtype, shift, words in (
        ("float64", False, "float64"),
        ("float64", True, "float64, the softmax with the largest score subtracted"),
        ("float32", False, "float32"),
        ("float32", True, "float32, the softmax with the largest score subtracted"),
    ):
        rows = [[f"`{n}`" if " " not in n else n, *(cell(n, s, dtype, shift) for s in HEADS)] for n in names]
        rows = [row for row in rows if set(row[1:]) != {"–"}]
        out.append(f"**{words}**\n\n{table(['operation', *HEADS.values()], rows)}\n")
    return f"""
## Errors of the operations

Largest relative error over {data["meta"]["inputs"]} random inputs, standard normal, in the Euclidean (Frobenius) norm;
of inner products relative to ||a|| ||b||. Pointwise operations and the row shift are local: exact, but for rounding.
Aimed at: 1e-9 with two heads (+c, -c), 1e-11 with four, 1e-12 with eight; **bold** where met.

{chr(10).join(out)}
Relative to a'b itself, an inner product of vectors that are nearly orthogonal has no such bound, whatever computes
it: rounding of a sum is relative to its terms. That row is the worst of all random pairs.
"""


def _steps(data: dict[str, Any]) -> str:
    rows = [[HEADS[s], str(COUNT[s]), f"{data['slopes'][s]:.2f}", ORDER[s],
             number(_least(data, s, False)), number(_least(data, s, True))] for s in HEADS]  # fmt: skip
    sinks = [r for r in data["sinks"] if not r["shift"] and r["C"] in (6, 10, 16, 20, 24, 28, 36, 60, 200)]
    by_C = [[str(C), *(f"{number(r['median'])} ({number(r['law'])})" for r in sinks if r["C"] == C)]
            for C in dict.fromkeys(r["C"] for r in sinks)]  # fmt: skip
    return f"""
## Error against c and C

A'B, largest relative error: the slope where truncation rules, and the least over all c.

{table(["heads", "count", "slope", "expected", "least error", "with the largest score subtracted"], rows)}

The sink's part, median relative error of a vector's transposition with eight heads; in brackets n e^-C:

{table(["C", "n = 5", "n = 20", "n = 80"], by_C)}
"""


def _least(data: dict[str, Any], scheme: str, shift: bool) -> float:
    return min(r["max"] for r in data["steps"] if r["heads"] == scheme and r["shift"] == shift)


def _gradients(data: dict[str, Any]) -> str:
    loops = [t for t in (5, 10, 20, 30, 40) if t < len(data["gradients"][0]["error"])]
    rows = []
    for row in data["gradients"]:
        against = "–" if row["against"] is None else number(row["against"][loops[-2]])
        heads = "–" if row["against"] is None else f"{row['heads']['pre'][0]} / {row['heads']['loop'][0]}"
        rows.append(
            [row["program"], heads, *(number(row["error"][t]) for t in loops), against, number(row.get("worst"))]
        )
    return f"""
## Conjugate gradients (Theorem 3.1)

The paper's systems (sigma = 1.2), a stack `pre` of one layer, then one layer a loop, with exact pointwise maps; the
mean of ||x_t - x||^2 / ||x||^2 after t loops, and the distance ||x_t - x_t^CG|| / ||x|| from the textbook's iterate,
mean at loop {loops[-2]} and largest at the end. Directions are kept at norm one, and divisions guarded; "raw d" is the
paper's formula as it stands, whose products drown in rounding as d shrinks.

{table(["program", "heads pre / loop", *(f"t = {t}" for t in loops), f"from CG, t = {loops[-2]}", "largest"], rows)}

With "merged" products that have values or scores in common share heads: b - A x0 is one product of twice as many
keys, so `pre` takes half the heads of the paper's.
"""


def _relu(data: dict[str, Any]) -> str:
    relu = data["relu"]
    products = [[r["network"], str(r["depth"]), str(r["width"]), str(r["nonzeros"]), number(r["bound"]),
                 number(r["measured"])] for r in relu["products"]]  # fmt: skip
    maps = [[f"`{r['operation']}`", str(r["m"]), str(r["units"]), str(r["depth"]), str(r["width"]), str(r["nonzeros"]),
             number(r["bound"]), number(r["measured"])] for r in relu["maps"]]  # fmt: skip
    loops = [t for t in (2, 5, 8, 10, 12, 15, 20, 24) if t < len(relu["book"])]
    cg = [["textbook CG", "–", "–", "–", "–", *(number(relu["book"][t]) for t in loops)]]
    cg += [[f"m = {r['m']}, {r['units']} units", str(r["depth"]), str(r["width"]), f"{r['nonzeros']:,}",
            number(r["bound_x"]), *(number(r["error"][t]) for t in loops)] for r in relu["cg"]]  # fmt: skip
    return f"""
## With real ReLU networks

The paper's feed-forward parts exist by universal approximation. Here they are made. x y on [-1, 1]^2:

{table(["network", "hidden layers", "width", "weights ≠ 0", "proved bound", "measured"], products)}

Pointwise maps as networks, entries in [0.1, 1]; maps that are linear need one hidden layer and are exact:

{table(["operation", "m", "units of 1/x", "hidden layers", "width", "weights ≠ 0", "proved bound", "measured"], maps)}

One loop of conjugate gradients has quotients of inner products: the theorem's network is of existence only. This one
has a stated domain: in units of the norms of A and b, entries of x at most 64 and of r at most 4, curvatures d'Ad of
at least 2^-10 and residuals of at least 2^-20. The bound is on the new x of one loop; that on the new direction is too
large to be of use, as it is divided by its norm, which may be the smallest.

{table(["network", "hidden layers", "width", "weights ≠ 0", "bound, x", *(f"t = {t}" for t in loops)], cg)}

It follows CG until products of numbers of very different sizes, 1 / r'd times ||r||^2, have lost their digits: a ReLU
network computes to an absolute error, CG needs a relative one.
"""


def _others(data: dict[str, Any]) -> str:
    rows = []
    for r in data["others"]:
        layers = f"{r['layers']['pre']} / {r['layers']['loop']}"
        rows.append([r["program"], HEADS[r["heads"]], layers, str(r["rows"]), number(r["against"]), number(r["error"]),
                     number(r["plain"])])  # fmt: skip
    head = ["program", "heads", "layers pre / loop", "prompt rows", "largest distance", "error", "error in NumPy"]
    return f"""
## Other iterations, by the same compiler

60 loops against the same iteration in NumPy: largest relative distance, and the mean of ||x_t - x||^2 / ||x||^2.
Jacobi's matrices have a larger diagonal, so that it converges; Chebyshev's interval is the exact spectrum.

{table(head, rows)}
"""


def figure(data: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.3), layout="constrained")
    colours = dict(zip(HEADS, ("C3", "C0", "C2", "C4"), strict=True))
    for scheme, words in HEADS.items():
        for shift, style in ((False, "-"), (True, ":")):
            points = [(r["c"], r["max"]) for r in data["steps"] if r["heads"] == scheme and r["shift"] == shift]
            label = f"{words}: slope {data['slopes'][scheme]:.1f}" if not shift else None
            left.loglog(*zip(*points, strict=True), style, color=colours[scheme], label=label)
    left.plot([], [], ":", color="0.4", label="largest score subtracted first")
    left.set(xlabel="c", ylabel="largest relative error of A'B", title="step of the differences", ylim=(1e-15, 10))
    left.legend(fontsize=7)
    for i, n in enumerate(dict.fromkeys(r["n"] for r in data["sinks"])):
        for shift, style in ((False, "o-"), (True, "x:")):
            points = [(r["C"], r["median"]) for r in data["sinks"] if r["n"] == n and r["shift"] == shift]
            middle.loglog(
                *zip(*points, strict=True), style, color=f"C{i}", markersize=3, label=None if shift else f"n = {n}"
            )
        law = [(r["C"], r["law"]) for r in data["sinks"] if r["n"] == n and not r["shift"] and r["C"] <= 40]
        middle.loglog(*zip(*law, strict=True), "--", color="0.6", linewidth=0.8, label="$n e^{-C}$" if i == 0 else None)
    middle.set(xlabel="C", ylabel="median relative error, transposition", title="score of the sink", ylim=(1e-16, 10))
    middle.legend(fontsize=7)
    styles = {"textbook CG": ("k", "-"), "central, raw d": ("C0", "-."), "four, raw d": ("C2", "-.")}
    styles |= {"central, float32": ("C0", ":"), "four, float32": ("C2", ":")}
    styles |= {scheme: (colours[scheme], "-") for scheme in HEADS}
    for row in data["gradients"]:
        if row["program"] in styles:
            colour, style = styles[row["program"]]
            right.semilogy(row["error"], style, color=colour, label=HEADS.get(row["program"], row["program"]))
    best = data["relu"]["cg"][-1]
    right.semilogy(best["error"], "--", color="C1", label="eight, ReLU networks")
    right.set(
        xlabel="loops", ylabel="mean $\\|x_t - x\\|^2 / \\|x\\|^2$", title="conjugate gradients", ylim=(1e-32, 10)
    )
    right.legend(fontsize=7)
    for axes in (left, middle, right):
        axes.grid(alpha=0.25)
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)
