"""Algebraformer's noise figure, with every yardstick: relative error against the level of the noise.

Systems of a family of boundary value problems (n = 64), noise in A (entrywise or normwise), in b, and by laws that
nothing here was fitted for. The error is ||x - x_clean||^2 / ||x_clean||^2 of each test system, mean and median.

* LU, QR, SVD: exact solves. Tikhonov and truncated SVD by the discrepancy principle, by generalised cross-validation
  and in hindsight; total least squares and its truncated form. They know the norm of the noise (hindsight: x), not the
  family.
* Fitted on the training set, at each level, law and level known: the best affine map of b; the mean operator; affine
  and bilinear regressions on principal components of A and b; A projected on the family's principal components
  (Frobenius, and weighted by the noise's deviation), its best affine estimate with the family's covariance (LMMSE), and
  the same with weights from the estimate itself, each followed by LU and safeguarded: an answer larger than any of the
  training set is replaced by the mean operator's. PCA + MLP: one network for all levels, told the level.
* Models by name or path (``--models``): ``nnla.load(name).solve(A, b)``, as they are.

    python reproduce/algebraformer_noise.py --models algebraformer-bvp
    python reproduce/algebraformer_noise.py --models PATH --add
    python reproduce/algebraformer_noise.py --quick

Writes docs/algebraformer_noise.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NNLA_NUM_THREADS", "1")

import numpy as np

import nnla
from nnla.evaluation.dense_noise import CLOSE, GUARDED, Case, judged, make_family, measure
from nnla.problems.bvp import EQUATIONS

DOCS = Path(__file__).resolve().parents[1] / "docs"
KINDS = {  # what the figure has a column for -> law, part
    "A, entrywise": ("entrywise", "A"),
    "A, normwise": ("normwise", "A"),
    "b, entrywise": ("entrywise", "b"),
}
UNSEEN = ("coloured", "heavy", "gain", "quantised", "digits")
UNSEEN_LEVELS = (1e-3, 1e-2, 1e-1)
DEFAULT = ("mapped", "rough", "diffusion")
TITLES = {
    "diffusion": "diffusion: kappa = 1 + a sin(omega pi x), the paper's",
    "reaction": "reaction: the same, and c(x) u",
    "advection": "advection: the same, and v u'",
    "rough": "rough: kappa = exp of a Gaussian process; A is linear in kappa",
    "mapped": "mapped: the same on random points; A is linear in nothing",
}
DRAWN = {  # method -> colour, style; the others are in the table only
    "LU": ("0.2", "-"),
    "mean operator": ("0.6", ":"),
    "affine in b": ("C7", "--"),
    "affine in PCA(A), PCA(b)": ("C8", "--"),
    "PCA + MLP": ("C1", "-"),
    "PCA of A + LU": ("C0", "--"),
    "weighted PCA of A + LU": ("C0", "-."),
    "reweighted LMMSE of A + LU": ("C0", "-"),
    "Tikhonov, discrepancy": ("C2", "-"),
    "Tikhonov, hindsight": ("C2", ":"),
    "truncated TLS, hindsight": ("C4", ":"),
}
MODELS = ("C3", "C6", "C5", "C9")


def cases(levels: int) -> list[Case]:
    """Of one family."""
    some = [float(f"{level:.4g}") for level in np.logspace(-6, -1, levels)]  # as the page has them
    out = [Case(law, part, level) for law, part in KINDS.values() for level in some]
    unseen = UNSEEN_LEVELS if levels > 3 else UNSEEN_LEVELS[1:2]
    return out + [Case(law, "A", level) for law in UNSEEN for level in unseen]


# -- page --------------------------------------------------------------------------------------------------------------


def markdown(data: dict) -> str:
    meta, rows = data["meta"], data["rows"]
    models = [name + guard for name in meta["models"] for guard in ("", GUARDED)]
    text = [
        "# Noise on dense systems: every yardstick, and what is learned",
        "",
        f"`{meta['command']}`, {meta['date']}, {meta['hardware']}, yardsticks in float64, models in their own",
        "precision. Generated; do not edit.",
        "",
        f"n = {meta['n']}, {meta['training']} training systems, {meta['test']} test systems of each family, seed"
        f" {meta['seed']}. Relative mean square error:",
        "||x - x_clean||^2 / ||x_clean||^2 of each system; **mean** over the systems, (median). Bold: the best",
        "yardstick of the column, and what is better. *Italic: in hindsight*, the best that any rule could do, and no",
        "method. What a yardstick is told: law and level of the noise (for laws that nothing was fitted for, the level",
        "and the nearest of the others), Tikhonov, truncated SVD and TLS the norm of the noise. A model is told",
        "nothing but A and b. Yardsticks that clean A are safeguarded: an answer larger than any of the training set",
        "(relative to the mean operator's) is replaced by the mean operator's; a model is shown without and with that.",
        "Blank: not measured.",
        "",
        "Who knows the *equation*, not only examples of its matrices, can fit its coefficients to all entries of A; no",
        "row here does. Tikhonov's method and truncated SVD, in standard form, damp what belongs to small singular",
        "values; solutions of boundary value problems consist of just that, so they lose even against noise in b.",
        "",
    ]
    if not models:
        text += ["No model was asked for: this is what one has to beat.", ""]
    text += ["![error against level](algebraformer_noise.png)", "", "## The best yardstick at each level", ""]
    for equation in meta["equations"]:
        text += [f"### {TITLES[equation]}", "", *_best_table(rows, equation, models), ""]
    text += ["## All figures", ""]
    for equation in meta["equations"]:
        for title, (law, part) in KINDS.items():
            some = [r for r in rows if (r["equation"], r["law"], r["part"]) == (equation, law, part)]
            if some:
                text += [f"### {equation}, noise in {title}", "", *_table(some, "level"), ""]
        some = [r for r in rows if r["equation"] == equation and r["law"] in UNSEEN]
        if some:
            text += [f"### {equation}, noise in A by laws that nothing was fitted for", "", *_table(some, "law"), ""]
    if any("sure" in row for row in rows):
        text += ["## How sure a model says it is", "", _SURE, "", *_sure_table(rows), ""]
    text += [f"{meta['seconds']} seconds of processor time."]
    return "\n".join(text) + "\n"


def _best_table(rows: list[dict], equation: str, models: list[str]) -> list[str]:
    head = "| noise | level | best yardstick, mean | best yardstick, median |"
    lines = [
        head + "".join(f" {name} / best, mean; median |" for name in models),
        "|---|---|---|---|" + "---|" * len(models),
    ]
    some = [r for r in rows if r["equation"] == equation]
    for mean, median in zip(judged(some, "mean"), judged(some, "median"), strict=True):
        cells = []
        for name in models:
            a, b = mean["models"].get(name), median["models"].get(name)
            cells.append(f" {_verdict(a)}; {_verdict(b)} |" if a is not None and b is not None else " |")
        noise = mean["law"] if mean["part"] == "A" else f"{mean['law']}, in b"
        lines.append(
            f"| {noise} | {mean['level']:.0e} | {mean['best']} {mean['error']:.1e} | "
            f"{median['best']} {median['error']:.1e} |" + "".join(cells)
        )
    return lines


_SURE = """Error ||x - x_clean|| / ||x_clean|| over the uncertainty that comes with x: median, 90 % and 99 % quantile of
the systems; of a normal error of one number they are 0.67, 1.64 and 2.58. Noise in A only: that in b is not in it.
*Outside*: the share of systems that the model takes for none of its own. They are solved as they are and say 100 %."""


def _sure_table(rows: list[dict]) -> list[str]:
    lines = ["| model | family | noise | level | outside | median | 90 % | 99 % |", "|" + "---|" * 8]
    for row in rows:
        if "sure" in row and row["part"] == "A":
            cells = [f"{value:.2f}" for value in row["sure"]] if row["sure"] else [""] * 3
            some = [row["method"], row["equation"], row["law"], f"{row['level']:.0e}", f"{100 * row['outside']:.1f} %"]
            lines.append("| " + " | ".join([*some, *cells]) + " |")
    return lines


def _verdict(ratio: float) -> str:
    """Below the best yardstick: bold. Within 1.1 of it: so. Else it has lost."""
    if ratio < 1:
        return f"**{ratio:.2g} wins**"
    return f"{ratio:.2g} ({'as good' if ratio <= CLOSE else 'loses'})"


def _table(rows: list[dict], column: str) -> list[str]:
    keys = list(dict.fromkeys((r["law"], r["level"]) for r in rows))
    best = {
        key: min(r["mean"] for r in rows if (r["law"], r["level"]) == key and r["kind"] == "yardstick") for key in keys
    }
    titles = [f"{level:.0e}" if column == "level" else f"{law} {level:.0e}" for law, level in keys]
    lines = ["| method | " + " | ".join(titles) + " |", "|---|" + "---|" * len(keys)]
    for method in dict.fromkeys(r["method"] for r in rows):
        some = {(r["law"], r["level"]): r for r in rows if r["method"] == method}
        cells, kind = [], next(iter(some.values()))["kind"]
        for key in keys:
            row = some.get(key)
            if row is None:
                cells.append("")
                continue
            mean = f"{row['mean']:.1e}"
            if (kind == "yardstick" and row["mean"] == best[key]) or (kind == "model" and row["mean"] < best[key]):
                mean = f"**{mean}**"
            cells.append(f"{mean} ({row['median']:.1e})")
        name = f"*{method}*" if kind == "hindsight" else f"**{method}**" if kind == "model" else method
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def figure(data: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    equations, rows = data["meta"]["equations"], data["rows"]
    styles = dict(DRAWN)
    for name, colour in zip(data["meta"]["models"], MODELS * 9, strict=False):
        styles |= {name: (colour, "o:"), name + GUARDED: (colour, "o-")}
    size = (4.1 * len(KINDS), 3.3 * len(equations) + 1.2)
    fig, grid = plt.subplots(len(equations), len(KINDS), figsize=size, squeeze=False, sharex=True, layout="constrained")
    handles: dict[str, object] = {}
    for line, equation in zip(grid, equations, strict=True):
        for ax, (title, (law, part)) in zip(line, KINDS.items(), strict=True):
            some = [r for r in rows if (r["equation"], r["law"], r["part"]) == (equation, law, part)]
            for method, (colour, style) in styles.items():
                of = [r for r in some if r["method"] == method]
                if not of:
                    continue
                x, thick = [r["level"] for r in of], 2.2 if "o" in style else 1.2
                (handle,) = ax.loglog(x, [r["mean"] for r in of], style, color=colour, linewidth=thick, markersize=4)
                handles.setdefault(method, handle)
            ax.set_ylim(1e-14, 10)  # what is above is no solution any more
            ax.set_title(f"{equation}, noise in {title}", fontsize=10)
            ax.grid(alpha=0.3)
        line[0].set_ylabel("relative MSE, mean")
    for ax in grid[-1]:
        ax.set_xlabel("level of the noise")
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=[], help="shipped models by name, or paths of weights")
    parser.add_argument("--equations", nargs="*", default=None, choices=EQUATIONS, help="families")
    parser.add_argument("--test", type=int, default=2000, help="test systems of each family")
    parser.add_argument("--training", type=int, default=5000, help="training systems of the yardsticks")
    parser.add_argument("--levels", type=int, default=11, help="from 1e-6 to 1e-1; 11 are half decades")
    parser.add_argument("--network-seconds", type=float, default=60.0, help="of training for PCA + MLP; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the page")
    parser.add_argument("--add", action="store_true", help="measure the models only, on the page's other rows")
    parser.add_argument("--quick", action="store_true", help="50 test systems, three levels, one family, no network")
    args = parser.parse_args()
    equations = list(args.equations or (DEFAULT[:1] if args.quick else DEFAULT))
    if args.quick:
        args.test, args.training, args.levels, args.network_seconds = 50, 500, 3, 0.0
    started = time.process_time()
    models = {Path(name).stem: nnla.load(name) for name in args.models}
    sizes = {"training": args.training, "test": args.test, "seed": args.seed}
    kept: list[dict] = []
    if args.add:
        page = json.loads((args.out / "algebraformer_noise.json").read_text(encoding="utf-8"))
        if not args.models or any(page["meta"][name] != value for name, value in sizes.items()):
            parser.error("--add needs --models, and a page of the same --training, --test and --seed")
        equations = page["meta"]["equations"]
        kept = [_numbers(row) for row in page["rows"] if row["method"].removesuffix(GUARDED) not in models]
    given = [("models", args.models), ("equations", args.equations or [])]
    command = "python reproduce/algebraformer_noise.py"
    command += "".join(f" --{name} {' '.join(Path(v).name for v in values)}" for name, values in given if values)
    for name, default in (("test", 2000), ("training", 5000), ("levels", 11), ("seed", 0)):
        value = getattr(args, name)
        command += f" --{name} {value}" if value != default and not args.quick else ""
    command += " --quick" if args.quick else ""
    if args.add:
        command = f"{page['meta']['command']}` and `{command} --add"
    meta = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, one core",
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
        "n": 64,
        **sizes,
        "equations": equations,
        "models": [*(name for name in (page["meta"]["models"] if args.add else []) if name not in models), *models],
    }
    rows: list[dict] = []
    for equation in equations:
        options = {"seconds": args.network_seconds, "yardsticks": not args.add}
        family = make_family(equation, **sizes, **options)
        for case in cases(args.levels):
            of_case = [r for r in kept if (r["equation"], *_case(r)) == (equation, *_case(vars(case)))]
            if args.add and not of_case:
                continue  # a page of fewer levels
            yardsticks = {"methods": (), "classical": False} if args.add else {}
            rows += of_case + measure(family, case, models, **yardsticks)
            best = judged(rows[-40:])[-1]
            print(equation, case, f"{best['best']} {best['error']:.1e}", best["models"], flush=True)
            # a run that is ended leaves the cases that are done
            some = meta | {"equations": equations[: equations.index(equation) + 1]}
            data = {"meta": some | {"seconds": round(time.process_time() - started)}, "rows": rows}
            (args.out / "algebraformer_noise.json").write_text(json.dumps(_finite(data), indent=1) + "\n", "utf-8")
        write(data, args.out)


def _case(row) -> tuple[str, str, str]:
    return row["law"], row["part"], f"{row['level']:.3g}"


def _numbers(row: dict) -> dict:
    """What JSON has no number for is infinite."""
    return {key: float("inf") if value is None else value for key, value in row.items()}


def write(data: dict, folder: Path) -> None:
    """The page, its picture and its figures."""
    stem = folder / "algebraformer_noise"
    stem.with_suffix(".json").write_text(json.dumps(_finite(data), indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(data), encoding="utf-8")
    figure(data, stem.with_suffix(".png"))


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
