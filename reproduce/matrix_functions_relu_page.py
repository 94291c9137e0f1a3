"""The page and the picture of reproduce/matrix_functions_relu.py."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

ROOTS = {"sign": "sign(A)", "sqrt": "A^1/2", "inv_sqrt": "A^-1/2", "inv": "A^-1"}
CONSTRUCTIONS = {"scaling": "scaling", "paterson-stockmeyer": "Paterson-Stockmeyer", "taylor": "Taylor (Horner)"}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)])


def worst(row: dict[str, Any]) -> float:
    return max(row["random"], row["attack"])


def ratio(row: dict[str, Any]) -> float:
    return row["certificate"] / worst(row)


def verdict(what: str, rows: list[dict[str, Any]]) -> str:
    held = sum(worst(r) <= r["certificate"] <= r["eps"] for r in rows)
    ratios = [ratio(r) for r in rows]
    return (
        f"* {what}: measured <= certificate <= eps in {held} of {len(rows)} configurations,\n"
        f"  {sum(r['tried'] for r in rows):,} matrices; certificate / measured {median(ratios):.2f} in the median, "
        f"{min(ratios):.2f} to {max(ratios):.2f}."
    )


def markdown(data: dict[str, Any]) -> str:
    meta = data["meta"]
    return "\n".join(
        [
            f"""# Certified ReLU networks for matrix functions

Made by

    {meta["command"]}

on {meta["date"]}, {meta["hardware"]}, {meta["seconds"]} s of processor time. The error is ||network(A) - f(A)||_F,
absolute; the spectral norm is no larger. A certificate holds for *every* matrix of its set, evaluated in float64,
rounding included.

```python
from nnla.constructions import relu_expm, relu_function

network = relu_expm(3, 4.0, 1e-6)  # n, ||A||_2 <= bound, eps
network(A)  # (..., 3, 3); a matrix outside of the set is refused
network.certificate  # truncation, products, rounding, steps; .error <= eps
network.size, network.theorem  # depth, width, parameters; the existence theorem's
network.layers  # explicit sparse weights: (W, b) of each layer, SciPy CSR
network.save("exp.safetensors")  # `load_layers` reads it
relu_function(A, "sqrt", eps=1e-4)  # values, error, network: a set is chosen for A
```

![certificates and sizes](matrix_functions_relu.png)

{verdict("exp, ||A||_2 <= R", data["exp"])}
{verdict("exp, |a_ij| <= M", data["box"])}
{verdict("sign, roots, inverse", data["roots"])}
""",
            _how(),
            _exp(data),
            _sizes(data),
            _box(data),
            _roots(data),
            _blocks(data),
            _explicit(data),
            _limits(data),
        ]
    )


def _how() -> str:
    return """## How it is built and proved

* **Square** (Yarotsky 2017): m tents interpolate u^2 on the grid of step 2^-m: 0 <= f(u) - u^2 <= 4^-(m+1).
* **Product**: xy = XY [f(|x/X + y/Y| / 2) - f(|x/X - y/Y| / 2)], wrong by at most XY 4^-(m+1); n^3 of them make a
  matrix product, wrong by n^2 XY 4^-(m+1) in the Frobenius norm. m + 2 hidden layers of 4 n^3 + 2 n^2 units and what is
  carried along; sums over k are shared.
* **exp**: with B = A / 2^s, Z = sum_(k=1..K) B^k / k! by Horner's rule in B^q, then s times Z := 2 Z + Z^2, and the
  identity last: Z is small where B is, and a product is as fine as its factors are small. An error E grows to at most
  (2 e^r + ||E||) ||E|| in a squaring.
* **Rounding**: tents are exact in float64; the roundings of arguments and sums are bounded a priori, whatever the order
  of the sums.
* **Search**: every (s, K, q), and for each the steps of every product by marginal gain, which is optimal to first
  order; the true bound decides.

The proofs are in the docstrings: `relu_matrix_products`, `relu_certificates`, `relu_exponential`, `relu_newton_schulz`,
`relu_theorem`.
"""


def _exp(data: dict[str, Any]) -> str:
    rows = [
        [
            str(r["n"]),
            f"{r['bound']:g}",
            f"{r['eps']:.0e}",
            f"{r['squarings']}, {r['terms']}, {r['block']}",
            f"{r['depth']} x {r['width']}",
            f"{r['certificate']:.1e}",
            f"{r['truncation']:.0e} + {r['products']:.0e} + {r['rounding']:.0e}",
            f"{r['random']:.1e}",
            f"{r['attack']:.1e}",
            f"{ratio(r):.2f}",
        ]
        for r in data["exp"]
    ]
    head = ["n", "R", "eps", "s, K, q", "depth x width", "certificate", "truncation + products + rounding"]
    return "## exp: certificate against measured error\n\n" + table(
        [*head, "random", "attack", "certificate / measured"], rows
    )


def _sizes(data: dict[str, Any]) -> str:
    rows = []
    for r in data["sizes"]:
        t = r["theorem"]
        cells = [str(r["n"]), f"{r['bound']:g}", f"{r['eps']:.0e}"]
        for construction in CONSTRUCTIONS:
            depth, width, parameters = r[f"{construction} parameters"]
            cells.append(f"{depth} x {width}, {parameters:,}")
        depth, width, parameters = r["scaling depth"]
        cells.append(f"{depth} x {width}, {parameters:,}")
        cells.append(f"{t['depth']} x 10^{t['log10_width']:.0f}, 10^{t['log10_parameters']:.0f}")
        rows.append(cells)
    head = ["n", "R", "eps", *CONSTRUCTIONS.values(), "scaling, least depth", "theorem (|a_ij| <= R)"]
    return f"""
## Sizes

Depth x width, parameters. The theorem's network follows every path of A^k through a tree of products; its constants are
ours, as the paper's are not public: K with (nM)^(K+1)/(K+1)! e^(nM) <= eps/2, depth ceil(log2 K) (m + 1), about linear
in nM, width about n^(K+1) 3 K, exponential in nM.

{table(head, rows)}
"""


def _box(data: dict[str, Any]) -> str:
    rows = [
        [
            str(r["n"]),
            f"{r['bound']:g}",
            f"{r['eps']:.0e}",
            f"{r['depth']} x {r['width']}",
            f"{r['parameters']:,}",
            f"{r['certificate']:.1e}",
            f"{worst(r):.1e}",
            f"{ratio(r):.2f}",
        ]
        for r in data["box"]
    ]
    head = ["n", "M", "eps", "depth x width", "parameters", "certificate", "measured", "certificate / measured"]
    return "## exp on the box |a_ij| <= M\n\n" + table(head, rows) + "\n"


def _roots(data: dict[str, Any]) -> str:
    rows = [
        [
            ROOTS[r["function"]],
            str(r["n"]),
            f"{r['gap']:g}",
            f"{r['eps']:.0e}",
            f"{r['depth']} x {r['width']}",
            f"{r['parameters']:,}",
            f"{r['certificate']:.1e}",
            f"{worst(r):.1e}",
            f"{ratio(r):.1f}",
        ]
        for r in data["roots"]
    ]
    head = ["f", "n", "gap", "eps", "depth x width", "parameters", "certificate", "measured", "certificate / measured"]
    return f"""## Sign, roots and inverse by Newton-Schulz

Symmetric A with gap <= |eigenvalues| <= 1 (`relu_signm`), gap <= eigenvalues <= 1 (`relu_sqrtm`, `relu_inv_sqrtm`,
`relu_invm`); any bound in place of 1.

{table(head, rows)}
"""


def _blocks(data: dict[str, Any]) -> str:
    rows = [
        [
            r["name"],
            str(r["n"]),
            f"{r['eps']:.0e}" if "eps" in r else "–",
            f"{r['depth']} x {r['width']}",
            f"{r['parameters']:,}",
            f"{r['certificate']:.1e}",
            f"{r['measured']:.1e}",
        ]
        for r in data["blocks"]
    ]
    head = ["f", "n", "eps", "depth x width", "parameters", "certificate", "measured"]
    return f"""## What it is made of, and polynomials

Numbers in [0, 1] and [-1, 1] with m = 4, 10, 20 (`square_network`, `product_network`); matrices with ||A||_2 <= 1
(`relu_matmul`, `relu_power`, `relu_sinm`, `relu_cosm`; `relu_polynomial` for any coefficients).

{table(head, rows)}
"""


def _explicit(data: dict[str, Any]) -> str:
    rows = [
        [
            r["function"],
            r["construction"],
            str(r["n"]),
            f"{r['eps']:.0e}",
            f"{r['depth']} x {r['width']}",
            f"{r['nonzeros']:,}" + ("" if r["nonzeros"] == r["counted"] else f" (counted {r['counted']:,})"),
            f"{r['difference']:.1e}",
            f"{r['rounding']:.1e}",
            f"{1e3 * r['seconds']:.1f}",
        ]
        for r in data["explicit"]
    ]
    head = ["f", "construction", "n", "eps", "depth x width", "nonzero weights", "largest difference"]
    return f"""## Explicit weights and the functional form

The functional form interpolates squares directly; the layers run tents, in sparse products, for 27 matrices at once.

{table([*head, "rounding in the certificate", "ms a matrix by layers"], rows)}
"""


def _limits(data: dict[str, Any]) -> str:
    rows = [
        [str(r["n"]), f"{r['bound']:g}", f"{r['smallest']:.1e}", f"{r['certificate']:.1e}"] for r in data["refusals"]
    ]
    times = "; ".join(f"n = {r['n']}: {r['network']:.0f} against {r['scipy']:.0f}" for r in data["seconds"])
    lost = [r["n"] for r in data["seconds"] if r["network"] > r["scipy"]]
    losses = f"it loses at n = {', '.join(map(str, lost))}" if lost else "it does not lose at these sizes"
    ref = data["reference"]
    return f"""## Limits

The smallest eps that can be certified in float64, as the refusal names it, and the certificate at that eps. Rounding
bounds are a priori, for any order of the sums; what rounding really does is far less (the table above).

{table(["n", "R", "smallest eps", "certificate there"], rows)}

Microseconds of processor time for a matrix of a batch of 2,000 (R = 4, eps = 1e-6), functional form against
`scipy.linalg.expm`: {times}; {losses}. By layers, see above. A certified network is
the theorem made to run, and an error bound for a whole set; it is no way to save time on larger matrices.

The reference is computed in extended precision: {ref["ours"]:.0e} relative against mpmath's 40 digits on matrices from
attacks. SciPy's expm is off by up to {ref["scipy"]:.0e} there, near multiples of the identity: too much to judge eps =
1e-10.
"""


def figure(data: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(14.5, 4.5), layout="constrained")
    rows = data["exp"]
    sizes = sorted({r["n"] for r in rows})
    marks = (("certificate", "_", "black", 9), ("attack", "^", "C3", 4), ("random", ".", "C0", 5))
    names = {"certificate": "certificate", "attack": "measured, under attack", "random": "measured, random"}
    for k, n in enumerate(sizes):
        own = [r for r in rows if r["n"] == n]
        shift = 10 ** (0.34 * (k - (len(sizes) - 1) / 2))
        for key, mark, color, size in marks:
            y = [r[key] / r["eps"] for r in own]
            x = [r["eps"] * shift for r in own]
            left.plot(x, y, mark, color=color, ms=size, label=names[key] if k == 0 else None)
    left.axhline(1, color="grey", lw=0.8)
    left.set(xscale="log", yscale="log", xlabel="eps (at each, n grows to the right)", ylabel="error / eps")
    left.set_title(f"exp, n = {', '.join(map(str, sizes))}, all R")
    left.set_ylim(0.01, 1.5)
    left.legend(loc="lower left")
    for k, n in enumerate(sizes):
        own = [r for r in rows if r["n"] == n]
        x = [r["eps"] * 10 ** (0.2 * (k - (len(sizes) - 1) / 2)) for r in own]
        middle.plot(x, [ratio(r) for r in own], "osD^"[k % 4], ms=4, color=f"C{k}", label=f"n = {n}")
    middle.axhline(5, color="grey", lw=0.8, ls="--")
    middle.axhline(1, color="black", lw=0.8)
    middle.set(xscale="log", ylim=(0.8, 5.3), xlabel="eps", ylabel="certificate / largest measured error")
    middle.set_title("What the certificate gives away")
    middle.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 0.93))
    styles = {"scaling": "-", "paterson-stockmeyer": "--", "taylor": ":"}
    pairs = sorted({(r["n"], r["bound"]) for r in data["sizes"]}, reverse=True)
    for k, (n, bound) in enumerate(pairs):
        own = [r for r in data["sizes"] if (r["n"], r["bound"]) == (n, bound)]
        for construction, style in styles.items():
            y = [r[f"{construction} parameters"][2] for r in own]
            name = f"n = {n}, R = {bound:g}" if construction == "scaling" else None
            right.plot([r["eps"] for r in own], y, style, color=f"C{k}", label=name)
    right.set(xscale="log", yscale="log", xlabel="eps", ylabel="parameters")
    right.set_title("Scaling, Paterson-Stockmeyer (--), Taylor (...)", fontsize=11)
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    fig.savefig(path, dpi=110)
    plt.close(fig)
