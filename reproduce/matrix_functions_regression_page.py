"""The page of direct regression, from its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["figure", "page"]

PAPERS = {  # share within 5 %, per cent, of the paper's deep perceptron; n = 3 "about 0"
    ("exp", 1): 30.0,
    ("log", 1): 24.0,
    ("sign", 1): 99.95,
    ("sin", 1): 62.0,
    ("cos", 1): 60.0,
    ("exp", 2): 1.6,
    ("sign", 2): 54.9,
}
BARS = {  # function -> share within 5 %, largest median
    **dict.fromkeys(("exp", "sin", "cos"), (0.99, 0.005)),
    **dict.fromkeys(("sqrt", "log"), (0.98, None)),
    "inv_sqrt": (0.90, None),
}
SIGN_BAR = 0.95  # at gap >= .1
TIMES = ("5", "2", "1", "0.5")


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.2f}" if share > 0.99 else f"{100 * share:.1f}"


def _median(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2g}"


def _family(row: dict[str, Any]) -> str:
    options = ", ".join(f"{key} {value:g}" for key, value in row["options"].items())
    return f"{row['family']} ({options})"


def bar_of(row: dict[str, Any]) -> str:
    """What the bar says of a row of the accuracy table."""
    if row["function"] not in BARS:
        return ""
    share, median = BARS[row["function"]]
    met = row["within"]["5"] >= share and (median is None or row["median"] <= median)
    return "met" if met else "missed"


def _accuracy(rows: list[dict[str, Any]]) -> list[str]:
    text = [
        "| f | n | family | 5 % | 2 % | 1 % | .5 % | median d1, % | declined, % | bar |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = " | ".join(_percent(row["within"][t]) for t in TIMES)
        ends = f"{_median(row['median'])} | {_percent(row['declined'])} | {bar_of(row)} |"
        text.append(f"| {row['function']} | {row['n']} | {_family(row)} | {shares} | {ends}")
    return text


def at_gap(rows: list[dict[str, Any]], n: int, kind: str, which: str) -> float:
    """Share within 5 % of the matrices of gap .1 and above."""
    return next(r[which]["within"]["5"] for r in rows if (r["n"], r["kind"], r["low"]) == (n, kind, 0.1))


def _gaps(rows: list[dict[str, Any]]) -> list[str]:
    text = []
    for kind, words in (
        ("relative", "gap over the largest eigenvalue (free of units)"),
        ("absolute", "gap itself, entries in [-1, 1]"),
    ):
        some = [r for r in rows if r["kind"] == kind]
        sizes = sorted({r["n"] for r in some})
        text += [
            f"By {words}; share of the matrices, within 5 % as it is, with one step S <- (3 S - S^3) / 2 after it:",
            "",
            "| gap | " + " | ".join(f"n = {n}: share | within 5 % | polished" for n in sizes) + " |",
            "|---" * (1 + 3 * len(sizes)) + "|",
        ]
        for low, high in dict.fromkeys((r["low"], r["high"]) for r in some):
            cells = []
            for r in sorted((r for r in some if r["low"] == low), key=lambda r: r["n"]):
                cells += [_percent(r["share"]), *(_percent(r[k]["within"]["5"]) for k in ("plain", "polished"))]
            name = f">= {low:g}" if high > 1 else f"{low:g} to {high:g}"
            text.append(f"| {name} | " + " | ".join(cells) + " |")
        text.append("")
    return text


def _families(rows: list[dict[str, Any]]) -> list[str]:
    functions = list(dict.fromkeys(r["function"] for r in rows))
    text = ["| family | " + " | ".join(functions) + " |", "|---" * (1 + len(functions)) + "|"]
    for family in dict.fromkeys(r["family"] for r in rows):
        cells = []
        for f in functions:
            row = next(r for r in rows if (r["family"], r["function"]) == (family, f))
            declined = f" ({_percent(row['declined'])} declined)" if row["declined"] > 0.0005 else ""
            cells.append(_percent(row["within"]["5"]) + declined)
        text.append(f"| {family} | " + " | ".join(cells) + " |")
    return text


def _wide(rows: list[dict[str, Any]]) -> list[str]:
    text = ["| f | n | 5 % | 2 % | 1 % | .5 % | median d1, % | declined, % |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        shares = " | ".join(_percent(r["within"][t]) for t in TIMES)
        text.append(f"| {r['function']} | {r['n']} | {shares} | {_median(r['median'])} | {_percent(r['declined'])} |")
    return text


def _frames(rows: list[dict[str, Any]]) -> list[str]:
    numbers = list(dict.fromkeys(r["frames"] for r in rows))
    text = ["| f | n | " + " | ".join(map(str, numbers)) + " |", "|---|---" + "|---" * len(numbers) + "|"]
    for f in dict.fromkeys(r["function"] for r in rows):
        some = [r for r in rows if r["function"] == f]
        cells = " | ".join(f"{_percent(r['within']['5'])} ({_median(r['median'])})" for r in some)
        text.append(f"| {f} | {some[0]['n']} | {cells} |")
    return text


def _time(rows: list[dict[str, Any]]) -> list[str]:
    text = ["| f | n | network, us | eigh, us | network / eigh |", "|---|---|---|---|---|"]
    for r in rows:
        ratio = r["network"] / r["eigh"]
        text.append(f"| {r['function']} | {r['n']} | {r['network']:.1f} | {r['eigh']:.1f} | {ratio:.0f} |")
    return text


def _mlp(rows: list[dict[str, Any]]) -> list[str]:
    named = list(dict.fromkeys(r["arm"] for r in rows))
    heads = " | ".join(f"{name}: 5 % | median d1, %" for name in named)
    text = [f"| f | n | paper's, 5 % | {heads} |", "|---|---|---" + "|---|---" * len(named) + "|"]
    for f, n in dict.fromkeys((r["function"], r["n"]) for r in rows):
        paper = f"{PAPERS[f, n]:g}" if (f, n) in PAPERS else "about 0" if n == 3 else ""
        cells = []
        for name in named:
            row = next(r for r in rows if (r["arm"], r["function"], r["n"]) == (name, f, n))
            cells += [_percent(row["within"]["5"]), _median(row["median"])]
        text.append(f"| {f} | {n} | {paper} | " + " | ".join(cells) + " |")
    return text


def _arms(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys((r["function"], r["n"]) for r in rows))
    heads = " | ".join(f"{f}, n = {n}" for f, n in columns)
    text = [f"| network | numbers | CPU s | {heads} |", "|---" * (3 + len(columns)) + "|"]
    for arm in dict.fromkeys(r["arm"] for r in rows):
        some = {(r["function"], r["n"]): r for r in rows if r["arm"] == arm}
        first = next(iter(some.values()))
        cells = " | ".join(f"{_percent(r['within']['5'])} ({_median(r['median'])})" for r in some.values())
        text.append(f"| {arm} | {first['numbers']} | {first['cpu']:.0f} | {cells} |")
    return text


_INTRO = """A transformer over the rows of a symmetric matrix answers the entries of f(A), n = 3 to 5 by one network.
It sees the rows, products of the matrix with itself (powers, or the matrices of Faddeev and LeVerrier) and invariants
(traces of these products): n - 1 products of n x n matrices, no eigenvalue. f(A) is a combination of these products for
every f (Cayley and Hamilton); each token says with which coefficients, and adds entries of its own. So the inverse, of
which the adjugate is a multiple, and the cube are no test of the network. A sample is right within t where
d1 = sum |error| / sum |f(A)| < t; one that the network declines, as unlike its training, is wrong. The sign, the cube,
roots, the logarithm and the inverse are answered for A / ||A||, and so are the same in every unit: entries in [-1, 1]
and in [-5, 5] are one question. exp, sin and cos are not: their entries are uniform in [-1, 1], as in the prototype;
those of the paper, in [-5, 5], are declined (below: by halving)."""
_ARMS = """Share within 5 %, (median d1 in %); sign at a relative gap of .1 and above. *With eigenvalues as input the
comparison is unfair*: finding them costs most of what f(A) does by itself."""
_FAMILIES = """Share within 5 %, n = 3 to 5 together, of matrices that no training saw. For the roots, the logarithm
and the inverse A = X X / n + .1 I with X of the family; for exp, sin and cos in the unit of the training; for the sign
those with |eigenvalue| > 1e-3 max |a_ij|."""
_WIDE = """exp, sin and cos of the paper's matrices, by three halvings before the network and three squarings or
doublings of the angle after it, which multiply its errors: identities do the work here, and the classical Pade
approximant between the same squarings leaves none of these errors."""
_FRAMES = """Share within 5 %, (median d1 in %), by how many signed permutations the answer is the mean over. It costs
as many passes; one is what is used."""
_MLP = """A perceptron of 6 hidden layers of 128, entries uniform in [-5, 5] (log: eigenvalues in [.1, 5]), trained
for a few seconds here (--steps 600 --objectives mse); the paper's architecture and budget are not public, so its column
is for the order of magnitude. Rows that are not here were not measured."""


def page(data: dict[str, Any], stem: str) -> str:
    """Markdown."""
    parts = data["meta"]["parts"]
    when = "; ".join(f"{name} {p['date']}, {p['cpu_seconds']:g} CPU s" for name, p in sorted(parts.items()))
    text = ["# Matrix functions by direct regression", "", f"`python reproduce/{stem}.py`; generated, do not edit.", ""]
    text += [_INTRO, ""]
    if data.get("models"):
        text += ["| model | functions | numbers | trained, s by the clock | steps |", "|---|---|---|---|---|"]
        for name, m in data["models"].items():
            functions = ", ".join(m["functions"])
            text.append(f"| {name} | {functions} | {m['numbers']} | {m['train_seconds']} | {m['steps']} |")
        text.append("")
    if "accuracy" in data:
        text += ["## Accuracy, per cent of the samples", "", *_accuracy(data["accuracy"]), ""]
        text += ["Bars: exp, sin, cos 99 % within 5 % and a median of .5 %; sqrt, log 98 %; inv_sqrt 90 %.", ""]
        text += [f"![accuracy]({stem}.png)", ""]
    if "gaps" in data:
        worst = {k: min(at_gap(data["gaps"], n, "relative", k) for n in (3, 4, 5)) for k in ("plain", "polished")}
        met = "met" if worst["plain"] >= SIGN_BAR else "met with the step alone"
        met = met if worst["polished"] >= SIGN_BAR or worst["plain"] >= SIGN_BAR else "missed"
        text += ["## Sign by the gap of the spectrum at zero", "", *_gaps(data["gaps"])]
        text += [f"Bar: 95 % at a relative gap of .1 and above, every n: {met} ({_percent(worst['plain'])} %).", ""]
    if "families" in data:
        text += ["## Other families", "", _FAMILIES, "", *_families(data["families"]), ""]
    if "wide" in data:
        text += ["## Entries in [-5, 5]", "", _WIDE, "", *_wide(data["wide"]), ""]
    if "frames" in data:
        text += ["## Frames", "", _FRAMES, "", *_frames(data["frames"]), ""]
    if "time" in data:
        ratios = [r["network"] / r["eigh"] for r in data["time"]]
        verdict = "**loses** to" if min(ratios) > 1 else "is beside"
        text += [
            "## Time",
            "",
            f"Microseconds of one core for a matrix, in batches. The network {verdict} NumPy's batched",
        ]
        text += [f"eigendecomposition, which is exact, by a factor of {min(ratios):.0f} to {max(ratios):.0f}: it is a"]
        text += ["study, not a tool.", "", *_time(data["time"]), ""]
    if "arms" in data:
        text += ["## What its parts are worth", "", _ARMS, "", *_arms(data["arms"]), ""]
    if "mlp" in data:
        text += ["## The perceptron", "", _MLP, "", *_mlp(data["mlp"]), ""]
    text += [f"Measured: {when}."]
    return "\n".join(text) + "\n"


def figure(data: dict[str, Any], path: Path) -> None:
    """Share within 5, 2, 1 and .5 % by function, n = 3 to 5, and the sign by gap."""
    if "accuracy" not in data:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawing, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    functions = list(dict.fromkeys(r["function"] for r in data["accuracy"]))
    for k, t in enumerate(TIMES):
        for at, f in enumerate(functions):
            shares = [100 * r["within"][t] for r in data["accuracy"] if r["function"] == f]
            x = [at + 0.2 * (m - (len(shares) - 1) / 2) for m in range(len(shares))]
            left.bar(x, shares, 0.18, color=f"C{k}", label=f"{t} %" if at == 0 else None)
    left.set_xticks(range(len(functions)), functions, rotation=30)
    left.set_ylabel("right within, % of samples")
    left.set_title("bars: n = 3, 4, 5")
    left.legend(title="d1 <", fontsize="small", loc="lower right")
    for n in sorted({r["n"] for r in data.get("gaps", [])}):
        some = [r for r in data["gaps"] if r["n"] == n and r["kind"] == "relative"]
        for style, which in (("-", "plain"), (":", "polished")):
            label = f"n = {n}" + ("" if which == "plain" else ", polished")
            right.plot([100 * r[which]["within"]["5"] for r in some], f"o{style}", color=f"C{n}", label=label)
        names = [f">= {r['low']:g}" if r["high"] > 1 else f"{r['low']:g}-{r['high']:g}" for r in some]
        right.set_xticks(range(len(names)), names, rotation=30)
    right.set_title("sign by relative gap, within 5 %")
    if right.lines:
        right.legend(fontsize="small")
    drawing.savefig(path, dpi=110)
    plt.close(drawing)
