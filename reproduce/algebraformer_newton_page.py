"""The page and the picture of `algebraformer_newton.py`."""

from __future__ import annotations

from pathlib import Path

NAMES = {
    "exact": "exact Newton (Hessian by BLAS, Cholesky)",
    "learned": "**learned steps**, safeguarded",
    "partial": "partial Hessian, weights by rule",
    "kept": "kept factor of the first Hessian",
    "lbfgs": "L-BFGS with the factor of A'A",
    "L-BFGS-B": "SciPy L-BFGS-B",
    "Newton-CG": "SciPy Newton-CG",
    "trust-exact": "SciPy trust-exact",
    "trust-ncg": "SciPy trust-ncg",
    "trust-krylov": "SciPy trust-krylov",
}

INTRODUCTION = """# Newton's method for regression in the p-norm, with learned steps

Algebraformer, section 6 and appendix G. Made by

    {command}

on {date}, {hardware}, one thread, {seconds} s of processor time. Others worked on the machine: compare within a table.

![figure](algebraformer_newton.png)

## The paper's problem

min over x of sum_i ((A x - b)_i^2 + eps^2)^(p/2), p = 1.5, eps a thousandth of the root mean square of b; A (1000, 64)
and b uniform in (0, 1), of unit norm, A the same for all; {count} test problems of no training seed, to a gradient of
{gtol:g}: the norm of Q's over that of s, Q an orthonormal basis of the range of A, s the derivatives by the residuals.
All methods work in Q, made once, with the same objective and the same start, the least squares solution; SciPy's have
unknowns scaled to unit curvature and are stopped by the same test. Milliseconds are medians over problems of the
fastest of some interleaved runs; "faster" is the median ratio to exact Newton on the same problem. "Gap" is the largest
relative difference of the objective from that of an exact run to 1e-11.

"""

LEARNED = """What was learned can be said. A row has the weight w (w' / w)^{power:.2f} exp({tilt:.2f} arcsinh(dr / r)).
Here dr is the shift of its residual by a step by the mean weight, and w' the average of the second derivative along
it: about the geometric mean of the derivative at the iterate and of its average along the step.

"""

TOKENS = """## What the paper's tokens can say

The paper's network sees (A'b)_i and x_i, not the rows. The gradient A's depends on all of b through |r|^(p-1): two
targets with the same A'b have the same tokens and other steps. With the part of b outside of the range of A permuted
(b is then no longer uniform) the mean cosine between the exact first steps of the two is **{same_tokens:.2f}**. Within
the family A'b and the step are correlated; share of the variance of exact steps that kernel regression explains on
held-out problems (linear or Gaussian, width and ridge the best in hindsight):

"""

CLAIM = """An exact step takes {exact_step:.2f} ms here, all included. One pass of the paper's network (12 blocks of
width 256, 64 tokens; time does not depend on the weights) takes
{network}: {times:.0f} exact steps.
**The paper's claim, about four times less time than classical Newton, does not hold here** against a Newton that forms
A'WA by BLAS and solves by Cholesky, whatever the network has learned; on a GPU it was not tried. What is shipped sees
the residuals of the rows instead, and puts out a quasi-inverse of the Hessian.

"""

SETTINGS = """## Other exponents and laws

1000 x 64; milliseconds, and steps in brackets. *outliers*: a model, noise of a hundredth, and a tenth of the entries
wrong by much more, which is what p < 2 is for.

"""

SIZES = """## Other sizes

p = 1.5, uniform; the network was trained with n up to 80. The basis is made once where A stays; where every problem has
an A of its own its milliseconds come to all columns.

"""


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), "", ""])


def runs(found: dict) -> str:
    rows = []
    for name, f in found.items():
        steps = f"{f['steps']:.1f}" if "steps" in f else "–"
        share = f"{f['exact_share']:.1%}" if "steps" in f else "–"
        row = [NAMES[name], f"{f['ms']:.2f}", f"{f['faster_than_exact']:.2f}", steps, f"{f['evaluations']:.1f}", share]
        rows.append([*row, f"{f['worst_gap']:.0e}", f"{f['converged']} of {f['count']}"])
    return table(["method", "ms", "faster", "steps", "evaluations", "exact steps", "gap", "converged"], rows)


def page(data: dict) -> str:
    found = data["runs"]
    learned, exact = found["learned"], found["exact"]
    seconds = data["cpu_seconds"]
    seconds = sum(seconds.values()) if isinstance(seconds, dict) else seconds
    text = INTRODUCTION.format(**data, seconds=seconds) + runs(found)
    share = learned["exact_share"]
    text += (
        f"The safeguard took {share:.1%} of the learned runs' steps; {learned['rejected']} proposals were rejected. "
    )
    ends = ", ".join(f"{gap:.0e} to a gradient of {gtol}" for gtol, gap in data["same_minimum"].items())
    text += f"Largest relative difference of x from\nexact runs to 1e-11: {ends}.\n\n"
    text += verdict(data)
    text += LEARNED.format(tilt=data["row"][0], power=data["row"][1])
    text += TOKENS.format(**data)
    text += table(["of", "share explained"], [[k, f"{v:.2f}"] for k, v in data["tokens"].items()])
    network = " and ".join(f"{ms:.1f} ms in {name}" for name, ms in data["network_ms"].items())
    step = exact["ms"] / exact["steps"]
    text += CLAIM.format(exact_step=step, network=network, times=min(data["network_ms"].values()) / step)
    names = list(data["settings"][0]["methods"])
    rows = [[r["law"], f"{r['p']:g}", *(_cell(r["methods"][k]) for k in names)] for r in data["settings"]]
    text += SETTINGS + table(["law of b", "p", *names], rows)
    names = list(data["sizes"][0]["methods"])
    rows = []
    for r in data["sizes"]:
        rows.append([f"{r['m']} x {r['n']}", f"{r['setup_ms']:.1f}", *(_cell(r["methods"][k]) for k in names)])
    return text + SIZES + table(["size", "basis, ms", *names], rows) + at_the_largest(data)


def verdict(data: dict) -> str:
    """Who wins at the paper's size, said from the figures."""
    found = data["runs"]
    learned = found["learned"]["ms"]
    others = {name: f for name, f in found.items() if name != "learned" and f["converged"] == f["count"]}
    words = "**At this size** learned steps take " + _against(learned, found["exact"]["ms"]) + " exact Newton. "
    better = [name for name, f in others.items() if f["ms"] < learned]
    if better:
        listed = "".join(f"* {NAMES[name]}: {found[name]['ms'] / learned:.2f} of its time\n" for name in better)
        words += f"What is faster than\nthe learned steps, and so a better choice:\n\n{listed}\n"
    else:
        words += "Nothing here is faster.\n"
    return words + "The default stays exact.\n\n"


def at_the_largest(data: dict) -> str:
    """The same at the largest size."""
    row = data["sizes"][-1]
    found = row["methods"]
    learned = found["learned"]["ms"]
    parts = [f"{_against(learned, f['ms'])} {NAMES[name]}" for name, f in found.items() if name != "learned"]
    return f"At {row['m']} x {row['n']} learned steps take\n\n" + "".join(f"* {part}\n" for part in parts)


def _against(a: float, b: float) -> str:
    return f"{b / a:.2f} times less time than" if a < b else f"{a / b:.2f} times the time of"


def _cell(f: dict) -> str:
    steps = f" ({f['steps']:.1f})" if "steps" in f else ""
    return f"{f['ms']:.2f}{steps}" + ("" if f["converged"] == f["count"] else " *")


def picture(data: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(17, 5), layout="constrained")
    shown = {"exact": "C0", "learned": "C3", "partial": "C2", "kept": "C4", "lbfgs": "C1"}
    for index, (name, curve) in enumerate(data["curves"].items()):
        style = {"color": shown.get(name, f"{0.25 + 0.12 * (index % 5)}"), "lw": 2.6 if name == "learned" else 1.4}
        ms, gap = zip(*curve, strict=True)
        lowest = [min(gap[: k + 1]) for k in range(len(gap))]
        label = NAMES[name].replace("*", "")
        axes[0].semilogy(ms, lowest, marker="o", ms=3, ls="-" if name in shown else "--", label=label, **style)
    axes[0].set(xlabel="milliseconds", ylabel="objective above its minimum, relative", title="one test problem",
                ylim=(1e-16, 1))  # fmt: skip
    axes[0].set_xlim(0, 2 * data["curves"]["exact"][-1][0])
    axes[0].legend(fontsize=8)
    names = list(data["runs"])
    times = [data["runs"][name]["ms"] for name in names]
    colours = [shown.get(name, "0.6") for name in names]
    axes[1].barh(range(len(names)), times, color=colours)
    axes[1].set_yticks(range(len(names)), [NAMES[name].replace("*", "") for name in names], fontsize=8)
    axes[1].invert_yaxis()
    for y, value in enumerate(times):
        axes[1].text(value, y, f" {value:.2f}", va="center", fontsize=8)
    axes[1].set(xlabel=f"milliseconds to a gradient of {data['gtol']:g}, median of {data['count']} problems",
                xlim=(0, 1.15 * max(times)), title="1000 x 64, p = 1.5, one A for all")  # fmt: skip
    for name in data["sizes"][0]["methods"]:
        ms = [row["methods"][name]["ms"] for row in data["sizes"]]
        style = {"color": shown.get(name, "0.5"), "lw": 2.6 if name == "learned" else 1.4}
        label = NAMES[name].replace("*", "")
        axes[2].loglog([row["m"] * row["n"] for row in data["sizes"]], ms, marker="o", label=label, **style)
    axes[2].set_xticks([row["m"] * row["n"] for row in data["sizes"]], [f"{r['m']} x {r['n']}" for r in data["sizes"]])
    axes[2].minorticks_off()
    axes[2].set(ylabel="milliseconds", title="other sizes, p = 1.5, one A for all")
    axes[2].legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
