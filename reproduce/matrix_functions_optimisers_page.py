"""The page and the picture of `matrix_functions_optimisers.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STEM = "matrix_functions_optimisers"

INTRODUCTION = """# Inverse roots and polar factors for optimisers

`nnla.interop.torch.inverse_root(A, p)` and `nnla.interop.torch.polar(X)`: batches, any device, no look at it. Made by

    python reproduce/matrix_functions_optimisers.py

on {date}, {hardware}, torch {torch}, {processor seconds} s of processor time. Others worked on the machine: compare
within a table.

![figure](matrix_functions_optimisers.png)

```python
import torch
from nnla.interop.torch import inverse_root, inverse_root_plan, polar, read_certificate

L = torch.eye(256).repeat(8, 1, 1)
plan = inverse_root_plan(4, ridge=1e-6, rtol=0.03)  # once; or plan_for(L, 4), which reads the matrices
Z = inverse_root(L, 4, plan=plan)  # as often as you like, captured or compiled
Z, certificate = inverse_root(L, 4, plan=plan, certificate=True)  # tensors: nothing has been read
read_certificate(certificate).converged  # the one call that waits
U = polar(torch.randn(8, 1024, 256))
```

What saves: minimax polynomials of degree 17, for which c(T) takes three products (in the variable 2 T - I, where its
coefficients are small enough for half precision), a sequence of degrees by shortest path, a close bound of the norm,
products by the identity and updates that no one reads left out; and one product in float64, the first with A, which is
where the smallest eigenvalues are lost.

"""

ROOTS = """## Inverse square roots, float32, n = 256

Beside ten coupled steps with fixed coefficients (CANS, scaled by the largest row sum), counted as 29 products (27 is
the least they can be written in). "Error" is ||Z - A^(-1/2)||_F over ||A^(-1/2)||_F, with eigenvalues in float64 of the
same float32 matrix. "Cost" is products of matrices, those in float64 twice, with the bound of the norm ({bound:.2f})
and the probe that plans ({probe:.2f}; an optimiser keeps the plan for many steps). "At equal error" is the cheapest
plan whose error is no more than that of the fixed schedule; "rtol = 0.03" what one gets who asks for that, and whether
its certificate calls it converged.

"""

POLAR = """## Polar factors: operations to a band

Units of 2 n^3, symmetric products halved, singular values from 7e-3. "Gram" iterates on the Gram matrix alone, which
half precision does not stand for these schedules without a restart (at the third step; ours at the second).

"""

RATIOS = """Ours over each published schedule in its cheapest form of the same kind:

"""

REMADE = """The published schedules are made for [1e-3, 1] or for no interval. Greedy minimax steps of degrees 3 and 5
made for [7e-3, 1] do better than they; the cheapest such schedule that is as narrow as each band, over all sequences of
up to six steps, and ours (narrower than all of the published) over it:

"""

BANDS = """The same on matrices, n = 256, of Frobenius norm 1 and smallest singular value 7e-3. Half precision runs with
products in float16 or bfloat16, here as on a GPU; `polar` takes float16 for both.

"""

TRAFFIC = """Operations are not seconds. Beside its products the richer polynomial takes sums of matrices, which read
and write memory where the plain schedules take all but the first scaling into their products. Bytes beside the
products, in readings or writings of X (8 matrices of 1024 columns; counted, not timed; a compiler fuses most of it):

"""

ACCURACY = """A narrower band is not sold as better training: where it was tried the loss was the same (and
`examples/muon_step.py` finds so too). What is saved are operations.

"""

SECONDS = """## Processor seconds

Medians of interleaved runs, one thread, float32, condition 1e6, rtol = 0.03. **On a processor eigenvalues are faster**:
take `torch.linalg.eigh` there.

"""


LEARNED = """## What was learned, and lost

`nnla.extensions` ships transitions of degree 17 whose coefficients were trained. The minimax polynomials of that degree
take as many products, exist for every ratio, and are more accurate: plans take these, and nothing learned is left here.

"""


def learned(data: dict[str, Any]) -> str:
    rows = [[f"{r['ratio']:g}", f"{r['learned']:.1e}", f"{r['minimax']:.1e}"] for r in data["learned"]]
    return LEARNED + table(["smallest over largest singular value", "learned: error", "minimax: error"], rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), "", ""])


def page(data: dict[str, Any]) -> str:
    text = INTRODUCTION.format(**data) + verdict(data) + roots(data) + polar(data) + learned(data) + seconds(data)
    return text.rstrip("\n") + "\n" + (gpu(data["gpu"]) if "gpu" in data else "")


def verdict(data: dict[str, Any]) -> str:
    s = data["summary"]
    missed = ", ".join(s["missed"]) or "none"
    gram = s["polar ratios"]["Gram"]
    half = s["polar ratios"]["Gram, restart"]
    published = [name for name in gram if not name.startswith("re-made")]
    return "## In short\n\n" + table(
        ["bar", "asked", "measured"],
        [
            ["inverse roots, cost at equal error over 29 products", "<= .8",
             f"median {s['median ratio at equal error']:.2f}, worst {s['worst ratio at equal error']:.2f} of "
             f"{s['roots']} matrices; no plan of equal error: {missed}"],
            ["inverse roots, error at condition 1e7", "<= 3e-2",
             f"worst {s['worst error at 1e7']:.1e} at a cost of {s['worst cost at 1e7']:.1f}"],
            ["not converged is said", "always",
             f"{s['called converged beyond rtol']} of all answers called converged beyond their tolerance"],
            ["polar, aspect 4, over the best published, without restarts", "<= .8",
             f"{max(gram[n]['4'] for n in published):.2f}"],
            ["polar, aspect 4, over the best published, fit for half precision", "<= .8",
             f"{max(half[n]['4'] for n in published):.2f}"],
            ["polar, aspect 1, the same two", "",
             f"{max(gram[n]['1'] for n in published):.2f}, {max(half[n]['1'] for n in published):.2f}"],
        ],
    )  # fmt: skip


def roots(data: dict[str, Any]) -> str:
    text = ROOTS.format(bound=data["bound cost"], probe=data["probe cost"])
    rows = []
    for r in data["roots"]:
        if "cans" not in r:
            said = "converged" if r["converged"] else "not converged"
            rows.append([r["matrix"], f"1e{r['condition']}", "rounding made it indefinite", "", "", "", said])
            continue
        equal, default = r["equal"], r["default"]
        asked = "–" if default is None else f"{default['error']:.1e} at {default['cost']:.1f}"
        said = "–" if default is None else "yes" if default["converged"] else "no"
        cells = ["–", "–"] if equal is None else [f"{equal['error']:.1e} at {equal['cost']:.1f}", f"{r['ratio']:.2f}"]
        rows.append([r["matrix"], f"1e{r['condition']}", f"{r['cans']:.1e}", *cells, asked, said])
    header = ["matrix", "condition", "fixed: error", "at equal error: error, cost", "ratio", "rtol = 0.03: error, cost"]
    return text + table([*header, "converged"], rows)


def polar(data: dict[str, Any]) -> str:
    text = POLAR
    rows = []
    for r in data["polar"]:
        name = "**nnla**" if r["schedule"] == "nnla" else r["schedule"]
        cells = [f"{r['flops'][a]:g}" for a in ("1", "4")]
        rows.append([name, r["form"], f"[{r['low']:.2f}, {r['high']:.2f}]", f"{r['low'] / r['high']:.2f}", *cells])
    text += table(["schedule", "form", "band", "low / high", "aspect 1", "aspect 4"], rows)
    own = [r for r in data["polar"] if r["schedule"] == "nnla"]
    names = [name for name in own[0]["ratios"] if not name.startswith("re-made")]
    rows = [[r["form"], a, *(f"{r['ratios'][name][a]:.2f}" for name in names)] for r in own for a in ("1", "4")]
    text += RATIOS + table(["ours", "aspect", *names], rows)
    rows = []
    for r in own:
        for aspect, found in r["best re-made"].items():
            for name, f in found.items():
                degrees = ", ".join(map(str, f["degrees"]))
                rows.append([r["form"], aspect, name, degrees, f"{f['flops']:g}", f"{f['ratio']:.2f}"])
    text += REMADE + table(["ours", "aspect", "band of", "degrees", "FLOPs", "ratio"], rows)
    rows = []
    methods = list(dict.fromkeys(r["method"] for r in data["bands"]))
    for aspect in (1, 4):
        for method in methods:
            found = {r["dtype"]: r for r in data["bands"] if r["method"] == method and r["aspect"] == aspect}
            rows.append([method, str(aspect), *(f"[{r['low']:.2f}, {r['high']:.2f}]" for r in found.values())])
    text += BANDS + table(["method", "aspect", "float32", "float16", "bfloat16"], rows)
    names = list(data["traffic"][0]["passes"])
    rows = [[r["dtype"], str(r["aspect"]), *(f"{r['passes'][n]:.0f}" for n in names)] for r in data["traffic"]]
    return text + TRAFFIC + table(["dtype", "aspect", *names], rows) + ACCURACY


def seconds(data: dict[str, Any]) -> str:
    names = list(data["seconds"][0]["seconds"])
    rows = [[f"{r['count']} x {r['n']}", *(f"{1e3 * r['seconds'][n]:.2f}" for n in names)] for r in data["seconds"]]
    return SECONDS + table(["batch x n, milliseconds", *names], rows)


GPU = """`reproduce/matrix_functions_optimisers_gpu.py`, torch {torch}, run once, at an earlier state (commit ca213e7):
since then half precision adds up in half precision and in its products, which takes a fifth of the bytes that it took
beside them; the bands of half precision became safer. **That was not timed on a GPU.** Small matrices called one by one
wait for Python: capture them in a graph or compile them. Compiled code asks for
`torch.set_float32_matmul_precision("high")`: that is TF32, whose rounding costs inverse roots their small eigenvalues
beyond condition 1e3 (the certificate says so), and polar factors nothing.

"""


def said_of_seconds(data: dict[str, Any]) -> str:
    """Who was faster, from the figures."""
    lines = []
    for r in data.get("polar seconds", []):
        t = {name.removesuffix(", graph"): s for name, s in r["seconds"].items() if name.endswith(", graph")}
        best = min(("muon", "muon gram, restart"), key=lambda name: t[name])
        ratio = t["nnla"] / t[best]
        size = f"{r['count']} x {r['n']}, aspect {r['aspect']}, {r['precision']}"
        lines.append([size, f"{ratio:.2f}", best, "faster" if ratio < 1 else "**slower**"])
    for r in data.get("root seconds", []):
        t = r["seconds"]
        if "cans, graph" in t:
            ratio = t["nnla 1e6, graph"] / t["cans, graph"]
            name = "float32" if r["precision"] == "highest" else "TF32"
            size = f"{r['count']} x {r['n']}, inverse root at 1e6, {name}"
            lines.append([size, f"{ratio:.2f}", "CANS", "faster" if ratio < 1 else "**slower**"])
            if "eigh" in t:
                ratio = t["nnla 1e6, graph"] / t["eigh"]
                lines.append([size, f"{ratio:.3f}", "eigh", "faster" if ratio < 1 else "**slower**"])
    text = "Seconds in graphs over those of the fastest schedule in use:\n\n"
    return text + table(["case", "ratio", "to", "so"], lines)


def gpu(data: dict[str, Any]) -> str:
    """What the script for GPUs measured, as far as it got."""
    text = f"\n## On {data['device']}\n\n" + GPU.format(torch=data["torch"]) + said_of_seconds(data)
    if isinstance(data.get("root values"), list):
        rows = []
        for r in data["root values"]:
            cells = [r["precision"], f"1e{r['condition']}", r["law"], str(r["p"]), str(r.get("products", "–"))]
            rows.append([*cells, f"{r['error']:.1e}", f"{r['cans']:.1e}" if "cans" in r else "–",
                         "yes" if r["converged"] else "no"])  # fmt: skip
        header = ["precision", "condition", "law", "p", "products", "error", "CANS", "converged"]
        text += "Errors of inverse roots, n = 256, rtol = 0.03:\n\n" + table(header, rows)
    if isinstance(data.get("polar values"), list):
        rows = []
        for r in data["polar values"]:
            form = r["method"] + (f", {r['phases']} Gram matrices" if "phases" in r else "")
            rows.append([form, r["precision"], str(r["aspect"]), f"[{r['low']:.2f}, {r['high']:.2f}]"])
        text += "Bands of polar factors:\n\n" + table(["method", "precision", "aspect", "band"], rows)
    if isinstance(data.get("graphs"), list):
        rows = [
            [r["call"], "yes" if r["captured"] else "no", f"{r['difference']:.1e}" if "difference" in r else r["error"]]
            for r in [*data["graphs"], *data.get("graphs of certificates", [])]
        ]
        text += "CUDA graphs, captured once and replayed with other data:\n\n"
        text += table(["call", "captured", "largest difference"], rows)
    for part, title in (("root seconds", "Inverse roots"), ("polar seconds", "Polar factors")):
        if isinstance(data.get(part), list) and data[part]:
            text += f"{title}, milliseconds, medians of interleaved runs:\n\n"
            names = list(dict.fromkeys(name for r in data[part] for name in r["seconds"]))
            rows = []
            for r in data[part]:
                first = f"{r['count']} x {r['n']}" + (f", aspect {r['aspect']}" if "aspect" in r else "")
                cells = [f"{1e3 * r['seconds'][n]:.3g}" if n in r["seconds"] else "–" for n in names]
                rows.append([first, r["precision"], *cells])
            text += table(["batch x n", "precision", *names], rows)
    if isinstance(data.get("compiled"), list):
        rows = []
        for r in data["compiled"]:
            if "seconds" not in r:
                rows.append([r["call"], r.get("error", "–"), "", "", ""])
                continue
            times = [f"{1e3 * r['seconds'][n]:.3g}" for n in ("eager", "compiled")]
            rows.append([r["call"], f"{r['compile_seconds']:.1f}", f"{r['difference']:.1e}", *times])
        text += "`torch.compile(fullgraph=True)`:\n\n"
        text += table(["call", "seconds to compile", "relative difference", "eager, ms", "compiled, ms"], rows)
    return text.rstrip("\n") + "\n"


def picture(data: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(17, 5), layout="constrained")
    rows = [r for r in data["roots"] if "cans" in r]
    conditions = sorted({r["condition"] for r in rows})
    for r in rows:
        axes[0].plot(r["condition"], r["cans"], "x", color="0.5", ms=6)
        if r["default"]:
            axes[0].plot(r["condition"] - 0.12, r["default"]["error"], "o", color="C3", ms=4)
        if r["equal"]:
            axes[0].plot(r["condition"] + 0.12, r["equal"]["error"], "s", color="C0", ms=4)
            axes[1].plot(r["condition"] + 0.12, r["equal"]["cost"], "s", color="C0", ms=4)
        if r["default"]:
            axes[1].plot(r["condition"] - 0.12, r["default"]["cost"], "o", color="C3", ms=4)
    axes[0].plot([], [], "x", color="0.5", label="fixed schedule, 29 products")
    axes[0].plot([], [], "o", color="C3", label="nnla, rtol = 0.03")
    axes[0].plot([], [], "s", color="C0", label="nnla, no less accurate than the fixed one")
    axes[0].axhline(3e-2, color="0.8", lw=1)
    axes[0].set(yscale="log", xlabel="log10 condition", ylabel="relative error of A^(-1/2), float32, n = 256")
    axes[0].set_xticks(conditions)
    axes[0].legend(fontsize=8)
    axes[1].axhline(29, color="0.5", ls="--", label="fixed schedule")
    axes[1].axhline(0.8 * 29, color="0.8", label=".8 of it")
    axes[1].set(xlabel="log10 condition", ylabel="products, probe and float64 counted", ylim=(0, 31))
    axes[1].set_xticks(conditions)
    axes[1].legend(fontsize=8)
    marks = {"plain": "o", "Gram, restart": "^", "Gram": "s"}
    schedules = dict.fromkeys(r["schedule"] for r in data["polar"])
    colours = dict(zip(schedules, ("C1", "C2", "C4", "0.7", "0.5", "0.3", "C3"), strict=False))
    for r in data["polar"]:
        name = r["schedule"]
        label = name if r["form"] == "Gram, restart" else None
        style = {"color": colours[name], "marker": marks[r["form"]], "ms": 9 if name == "nnla" else 6, "ls": ""}
        axes[2].plot(r["flops"]["4"], r["low"] / r["high"], label=label, **style)
    axes[2].set(ylabel="lowest over highest singular value, from 7e-3")
    axes[2].set_xlabel(
        "operations / 2 n^3 at aspect 4: circles plain, triangles Gram, restarted, squares Gram", fontsize=8
    )
    axes[2].legend(fontsize=8, loc="center right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(data: dict[str, Any], folder: Path) -> None:
    (folder / f"{STEM}.md").write_text(page(data), encoding="utf-8")
    picture(data, folder / f"{STEM}.png")
