"""AutoSpec, Table 1 and Figures 5, 6, 10-14: what the learned polynomials are, and what they owe to their probes.

    python reproduce/autospec_analysis.py --matrices FOLDER    # G2_circuit and Si2 beside generated problems
    python reproduce/autospec_analysis.py --quick              # a minute, small problems, few spectra

Writes docs/autospec_analysis.{json,md} and docs/autospec_analysis_*.png; with --quick into --out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import nnla
from nnla import analysis
from nnla.analysis import plots
from nnla.eigen.filters import filter_quality
from nnla.errors import NNLAError
from nnla.evaluation.plots import save_figure
from nnla.polynomials.design import design_polynomial
from nnla.preconditioners.incomplete_cholesky import ic0
from nnla.problems import g3_circuit_like, read_matrix, thermal1_like, thermal2_like
from nnla.problems.filter_spectra import filter_spectra
from nnla.problems.paper_spectra import paper_spectra
from nnla.spectra.simulated_eigensolvers import subspace_probe, thick_restart_probe

DOCS = Path(__file__).resolve().parents[1] / "docs"
K, L = 10, 40  # wanted eigenpairs and search space of the filters, as in the paper's Table 3b
PAPER_TABLE_1 = {"thermal1": 9.390e-7, "thermal2": 9.331e-7, "SiO2": 8.656e-7, "CO": 8.670e-7}
PAPER_RANDOM, PAPER_OPTIMAL = 0.954, 2.850e-7
PAPER_G2 = {50: 70, 200: 69}  # Table 4a: probe steps -> CG iterations, IC(0) first


# -- operators -----------------------------------------------------------------------------------


def normalised_spectrum(A) -> np.ndarray:
    """x = (lam_max - lam) / (lam_max - lam_min), descending: the smallest eigenvalues are the wanted ones."""
    lam = np.linalg.eigvalsh(A.toarray() if hasattr(A, "toarray") else np.asarray(A))
    return (lam[-1] - lam) / (lam[-1] - lam[0])


def filter_cases(matrices: Path | None, quick: bool) -> dict[str, np.ndarray]:
    """Spectra of the operators whose filters are looked at; a filter sees nothing else of them."""
    n = 600 if quick else 3000
    cases = {f"thermal1_like({n})": normalised_spectrum(thermal1_like(n))}
    if not quick:
        A = thermal2_like(0.003)
        cases[f"thermal2_like, n = {A.shape[0]}"] = normalised_spectrum(A)
    hamiltonian = getattr(nnla.problems, "si2_like", None)
    if hamiltonian is not None:
        cases["si2_like"] = normalised_spectrum(hamiltonian())
    if matrices is not None and (matrices / "Si2.mtx.gz").exists():
        cases["Si2"] = normalised_spectrum(read_matrix(matrices / "Si2.mtx.gz"))
    return cases


def windows(x: np.ndarray, restarts, seed: int = 0, *, k: int = K, size: int = L):
    """Ritz values and residuals of thick-restart Lanczos after so many cycles: what `eigs` would have."""
    start = np.random.default_rng(seed).standard_normal(x.size)
    return thick_restart_probe(x, start, size, k + (size - k) // 3, restarts, np.random.default_rng([seed, 1]))


# -- Table 1 and equioscillation -------------------------------------------------------------------


def table_1(cases: dict[str, np.ndarray], out: Path, quick: bool) -> list[dict]:
    """Minimax gap of the learned filters (20 cycles of probe), of Chebyshev's and of random polynomials."""
    engine, rows, drawn = nnla.load("autospec-eig-paper"), [], {}
    for name, x in cases.items():
        values, residuals = windows(x, 20)[0]
        P = engine.recurrence(values, residuals, K)
        gap, e = analysis.minimax_gap(P), None
        e = analysis.equioscillation(P, window=gap.window)
        drawn[name] = (P, e)
        rows.append(row_of(name, gap) | {"alternations": e.alternations, "flatness": e.flatness})
        rows[-1] |= {"cut": gap.window[1], "x_k": float(x[K - 1]), "x_l": float(x[L - 1])}
        rows[-1] |= {"quality": filter_quality(P, values, residuals, K)}
    cheb = nnla.Recurrence.from_chebyshev(np.eye(22)[21], 0.0, 0.97)
    e = analysis.equioscillation(cheb)
    rows.append(row_of("Chebyshev", analysis.minimax_gap(cheb)) | {"alternations": e.alternations})
    rows[-1]["flatness"] = e.flatness
    random = [analysis.minimax_gap(analysis.random_recurrence(21, seed)).L for seed in range(5 if quick else 31)]
    rows.append({"name": "random, median", "L": float(np.median(random)), "gap": float(np.median(random)) / 2**-20 - 1})
    rows.append({"name": "random, least", "L": min(random), "gap": min(random) / 2**-20 - 1})
    for count in (22, 30, 100):
        gap = analysis.minimax_gap(cheb, points=np.linspace(-1, 1, count))
        rows.append({"name": f"Chebyshev, maximum over {count} uniform points", "L": gap.L, "gap": gap.gap})
    save_figure(plots.plot_equioscillation(drawn), out / "autospec_analysis_equioscillation.png")
    return rows


def row_of(name: str, gap) -> dict:
    return {"name": name, "L": gap.L, "gap": gap.gap, "window": gap.window, "degree": gap.degree}


# -- engines for linear systems ----------------------------------------------------------------------


def figure_6(out: Path, quick: bool) -> list[dict]:
    """The learned preconditioners, and 1 - x P(x), beside Chebyshev polynomials."""
    scale = 1.0 if not quick else 0.3
    systems = {"g3_circuit_like": g3_circuit_like(0.005 * scale), "thermal2_like": thermal2_like(0.008 * scale)}
    fits, rows = {}, []
    for name, A in systems.items():
        probe = nnla.probe(A, 50, start=np.random.default_rng(0).standard_normal(A.shape[0]))
        for method in ("autospec-paper", "autospec"):
            P = design_polynomial(probe, method=method, degree=11, rtol=1e-10).recurrence
            R = nnla.Recurrence.from_function(P.residual, 0.0, probe.upper_bound, 12)
            for what, Q in (("P", P), ("1 - x P", R)):
                fit = analysis.chebyshev_fit(Q)
                fits[f"{method}: {what}\n{name}, n = {A.shape[0]}"] = fit
                rows.append({"system": name, "n": A.shape[0], "method": method, "polynomial": what})
                rows[-1] |= {"inside": fit.inside, "error": fit.error, "b": fit.b, "c": fit.c}
                if what != "P":
                    rows[-1]["gap"] = analysis.minimax_gap(Q).gap
    save_figure(plots.plot_chebyshev_fits(fits), out / "autospec_analysis_fig6.png")
    return rows


def figure_10(matrices: Path | None, out: Path, quick: bool) -> list[dict]:
    """CG iterations to 1e-10 against the length of the probe."""
    steps = (25, 50, 100) if quick else (10, 25, 50, 75, 100, 150, 200, 300)
    A = thermal2_like(0.002 if quick else 0.016)
    systems = {f"thermal2_like, n = {A.shape[0]}": (A, "none")}
    if matrices is not None and not quick and (matrices / "G2_circuit.mtx.gz").exists():
        G2 = nnla.as_operator(read_matrix(matrices / "G2_circuit.mtx.gz"))
        systems["G2_circuit over IC(0)"] = (G2, ic0(G2.csr).solve)
    panels, rows = {}, []
    for name, (A, scaling) in systems.items():
        panels[name] = {}
        lengths = [k for k in steps if k in (25, 50, 100, 200)] if "G2" in name else steps  # minutes each
        for method in ("autospec", "autospec-paper", "chebyshev"):
            counts = analysis.probe_robustness(A, lengths, method=method, scaling=scaling)
            panels[name][method] = (list(counts), [v if math.isfinite(v) else math.nan for v in counts.values()])
            rows.append({"system": name, "method": method, "iterations": counts})
    figure = plots.plot_curves(panels, xlabel="Lanczos steps of the probe", ylabel="CG iterations", xlog=True)
    save_figure(figure, out / "autospec_analysis_fig10.png")
    return rows


def both_ends(lam: np.ndarray, iterations: int, rng, size: int = 20):
    """Ritz values of subspace iteration for the largest, and on the shifted operator for the smallest (D.2)."""
    top, r_top = subspace_probe(lam, size, iterations, rng)[0]
    low, r_low = subspace_probe(lam.max() - lam, size, iterations, rng)[0]
    values = np.concatenate([lam.max() - low, top[::-1]])
    residuals = np.concatenate([r_low, r_top[::-1]])
    return values, residuals, float(top[0] + min(r_top[0] + 0.005 * top[0], 0.05 * top[0]))


def spectra(count: int, n: tuple[int, int], condition: tuple[float, float], seed: int) -> list[np.ndarray]:
    lam, size = paper_spectra(count, seed, n=n, condition=condition)
    return [lam[i, : size[i]] for i in range(count)]


def figure_12(out: Path, quick: bool) -> list[dict]:
    """Improvement of the convergence rate over Richardson against the condition number, per quality of the probe."""
    engine, own = nnla.load("autospec-cg-paper"), nnla.load("autospec-cg")
    found = spectra(24 if quick else 250, (200, 800), (1e2, 1e5), 31_337)
    kappa = np.array([x.max() / x.min() for x in found])
    panels, rows = {}, []
    for iterations in (1, 5, 10, 50):
        y = []
        for i, lam in enumerate(found):
            P = engine.from_ritz(*both_ends(lam, iterations, np.random.default_rng([1, i])))
            y.append(analysis.condition_improvement(P, lam))
        panels[f"autospec-cg-paper\n{iterations} subspace iterations"] = (kappa, np.array(y))
    for label, method, used in (("autospec-cg-paper", "autospec-paper", engine), ("autospec-cg", "autospec", own)):
        y = []
        for i, lam in enumerate(found):
            start = np.random.default_rng([2, i]).standard_normal(lam.size)
            options = {"degree": 11, "rtol": 1e-10, "engine": used}
            P = design_polynomial(lanczos(lam, start), method=method, **options).recurrence
            y.append(analysis.condition_improvement(P, lam))
        panels[f"{label}\n50 Lanczos steps"] = (kappa, np.array(y))
    figure = plots.plot_improvements(panels, xlabel="condition number", ylabel="improvement of log rate")
    save_figure(figure, out / "autospec_analysis_fig12.png")
    for title, (_, y) in panels.items():
        rows.append(quantiles(title.replace("\n", ", "), y))
    return rows


def lanczos(lam: np.ndarray, start: np.ndarray, steps: int = 50):
    from nnla.spectra.simulated_cg import simulate_lanczos
    from nnla.types import SpectralProbe

    return SpectralProbe(*simulate_lanczos(lam, start**2, steps), lam.size)


def quantiles(name: str, y: np.ndarray) -> dict:
    low, middle, high = np.quantile(y, [0.1, 0.5, 0.9])
    return {
        "name": name,
        "median": float(middle),
        "10 %": float(low),
        "90 %": float(high),
        "failed": int(np.sum(y <= 0)),
    }


def figure_13(out: Path, quick: bool) -> list[dict]:
    """The engine for linear systems with and without residual features."""
    engine, count = nnla.load("autospec-cg-paper"), (8 if quick else 40)
    marks = (5, 20, 80) if quick else (3, 5, 10, 20, 40, 80, 160)
    groups = {"n = 500, condition 1e2 to 5e3": (500, (1e2, 5e3))}
    if not quick:
        groups["n = 2000, condition 2e3 to 1e5"] = (2000, (2e3, 1e5))
    panels, rows = {}, []
    for name, (n, condition) in groups.items():
        table = np.empty((2, len(marks), count))
        for i, lam in enumerate(spectra(count, (n, n), condition, 41_001)):
            for j, iterations in enumerate(marks):
                values, residuals, upper = both_ends(lam, iterations, np.random.default_rng([3, i]))
                bare = float(values[-1]) * 1.005
                table[0, j, i] = analysis.condition_improvement(engine.from_ritz(values, residuals, upper), lam)
                table[1, j, i] = analysis.condition_improvement(engine.from_ritz(values, 0 * residuals, bare), lam)
        panels[name] = with_and_without(marks, table)
        rows += ablation_rows(name, marks, table)
    figure = plots.plot_curves(panels, xlabel="subspace iterations", ylabel="improvement of log rate", xlog=True)
    save_figure(figure, out / "autospec_analysis_fig13.png")
    return rows


def with_and_without(marks, table: np.ndarray) -> dict:
    bands = np.quantile(table, [0.25, 0.5, 0.75], axis=2)
    labels = ("with residuals", "residuals 0")
    return {label: (marks, bands[1, i], bands[0, i], bands[2, i]) for i, label in enumerate(labels)}


def ablation_rows(name: str, marks, table: np.ndarray) -> list[dict]:
    middle = np.median(table, axis=2)
    return [{"name": name, "iterations": m, "with": float(a), "without": float(b)}
            for m, a, b in zip(marks, *middle, strict=True)]  # fmt: skip


# -- filters -----------------------------------------------------------------------------------------


def figure_5(cases: dict[str, np.ndarray], out: Path, quick: bool) -> list[dict]:
    """Filters with and without residual features against the quality of the probe: gap between x_k and x_1.5k."""
    engine, cut = nnla.load("autospec-eig-paper"), math.ceil(1.5 * K)
    marks = (10, 30, 70) if quick else (2, 5, 10, 20, 30, 40, 50, 60, 70)
    panels, rows = {}, []
    for name, x in cases.items():
        table = np.empty((2, len(marks), 2 if quick else 6))
        for seed in range(table.shape[2]):
            for j, (values, residuals) in enumerate(windows(x, marks, seed)):
                for i, r in enumerate((residuals, 0 * residuals)):
                    table[i, j, seed] = analysis.gap_improvement(engine.recurrence(values, r, K), x, K, cut)
        panels[name] = with_and_without(marks, table)
        rows += ablation_rows(name, marks, table)
    figure = plots.plot_curves(panels, xlabel="restart cycles of the probe", ylabel="improvement of log gap")
    save_figure(figure, out / "autospec_analysis_fig5.png")
    return rows


def figure_11(out: Path, quick: bool) -> dict:
    """Every prefix of the filter, beyond the trained degree by appended layers; improvement against the gap."""
    engine = nnla.load("autospec-eig-paper")
    longer = analysis.extend(engine, 9)
    s = filter_spectra(30 if quick else 300, 51_001, gap=(1e-3, 0.3))
    degrees = np.arange(2, 31)
    table, later, gaps = np.empty((degrees.size, s.k.size)), [], []
    for i in range(s.k.size):
        used = s.multiplicity[i] > 0
        x, k, size = s.x[i, used], int(s.k[i]), int(s.cut[i])
        P = longer.recurrence(x[:size], np.zeros(size), k, degree=30)
        for j, d in enumerate(degrees):
            table[j, i] = analysis.gap_improvement(analysis.prefix(P, int(d)), x, k, size)
        values, residuals = subspace_probe(x, size, 100, np.random.default_rng([4, i]))[0]
        later.append(analysis.gap_improvement(engine.recurrence(values, residuals, k), x, k, size))
        gaps.append(1 - x[size - 1] / x[k - 1])
    low, middle, high = np.quantile(table, [0.25, 0.5, 0.75], axis=1)
    panel = {"autospec-eig-paper, extended from 21 to 30": (degrees, middle, low, high)}
    figure = plots.plot_curves(
        {"Fig. 11a: prefixes, true eigenvalues": panel}, xlabel="degree", ylabel="improvement of log gap"
    )
    save_figure(figure, out / "autospec_analysis_fig11a.png")
    panels = {"Fig. 11b: 100 subspace iterations": (np.array(gaps), np.array(later))}
    figure = plots.plot_improvements(panels, xlabel="(x_k - x_l) / x_k", ylabel="improvement of log gap")
    save_figure(figure, out / "autospec_analysis_fig11b.png")
    return {
        "prefixes": [{"degree": int(d), "median": float(m)} for d, m in zip(degrees, middle, strict=True)],
        "after 100 subspace iterations": quantiles("all gaps", np.array(later)),
    }


def figure_14(out: Path, quick: bool) -> list[dict]:
    """The inverse square root over its Taylor series, against the condition number, per quality of the probe."""
    engine = nnla.load("autospec-funm-paper")
    found = spectra(24 if quick else 250, (200, 600), (5.0, 5e2), 61_001)
    kappa = np.array([x.max() / x.min() for x in found])
    panels = {}
    for iterations in (1, 5, 10, 50):
        y = [
            analysis.inverse_root_improvement(
                engine.from_ritz(*both_ends(lam, iterations, np.random.default_rng([5, i]))), lam
            )
            for i, lam in enumerate(found)
        ]
        panels[f"autospec-funm-paper\n{iterations} subspace iterations"] = (kappa, np.array(y))
    for name, choose in (
        ("autospec-funm-paper", lambda probe: engine.recurrence(probe)),
        ("Chebyshev interpolant", interpolant),
    ):
        y = []
        for i, lam in enumerate(found):
            P = choose(lanczos(lam, np.random.default_rng([6, i]).standard_normal(lam.size)))
            y.append(analysis.inverse_root_improvement(P, lam))
        panels[f"{name}\n50 Lanczos steps"] = (kappa, np.array(y))
    figure = plots.plot_improvements(panels, xlabel="condition number", ylabel="improvement of log error")
    save_figure(figure, out / "autospec_analysis_fig14.png")
    return [quantiles(title.replace("\n", ", "), y) for title, (_, y) in panels.items()]


def interpolant(probe):
    """Chebyshev interpolation of x^(-1/2) on the probed interval, at the engine's degree."""
    return nnla.Recurrence.from_function(lambda t: t**-0.5, probe.lambda_min, probe.upper_bound, 21)


# -- the page ----------------------------------------------------------------------------------------

SECTIONS = {
    "table_1": ("Table 1: minimax gap of the learned filters", "autospec_analysis_equioscillation.png"),
    "figure_5": ("Figure 5: filters without residual features", "autospec_analysis_fig5.png"),
    "figure_6": ("Figure 6: learned preconditioners and Chebyshev polynomials", "autospec_analysis_fig6.png"),
    "figure_10": ("Figure 10: length of the probe", "autospec_analysis_fig10.png"),
    "figure_11": ("Figure 11: prefixes, extension, initial gap", "autospec_analysis_fig11a.png"),
    "figure_12": ("Figure 12: improvement against the condition number", "autospec_analysis_fig12.png"),
    "figure_13": ("Figure 13: preconditioners without residual features", "autospec_analysis_fig13.png"),
    "figure_14": ("Figure 14: inverse square root", "autospec_analysis_fig14.png"),
}
NOTES = {
    "table_1": """(26) is the largest |P| on the best window over the leading coefficient there. For degree 21 no
polynomial has less than 2^-20 = 9.537e-7, which Chebyshev polynomials reach, and a window wide
enough gives 1. So the paper's figures for learned filters (9.39e-7, 9.33e-7, 8.66e-7, 8.67e-7)
are 1.5 to 9 % *below* the bound, and its "optimal" 2.85e-7 is 0.3 of it: maxima over too few
sampling points, as the last rows show (uniform points miss the extrema next to the ends). Its
L, not L / bound - 1, is what the paper tabulates; the gap `L / bound - 1` is free of the
degree. "Random" is 0.954 there; here the draw decides (coefficients of the recurrence standard
normal, 31 seeds). A caution: training starts our backbone as a Chebyshev filter whose cut is learned
(from a fixed filter it did not learn within minutes to move the cut), so that
a small gap says that training keeps to Chebyshev, not that it finds it.""",
    "figure_5": """Improvement: log of min |P| over the wanted / the ceil(1.5 k)-th largest |P|, over that of x^21.
k = 10, l = 40; the spectra are complete, the probes thick-restart Lanczos on them. Median and
quartiles over starts. The paper's finding (residuals help at every budget) is reproduced on Si2 and for short
probes only: on the meshes, once the wanted values have converged, our engine moves its cut too close to
lambda_k with residuals and is better without. Callers need the guard of `filter_quality`.""",
    "figure_6": """The affine copy a P(b x + c) + d nearest to T_11 (T_12 for 1 - x P) in the weighted sense of
`nnla.analysis.chebyshev_fit`. `inside` is the largest difference on [-1, 1], where |T| <= 1.
The paper draws P itself; it is 1 - x P that a Chebyshev preconditioner makes a Chebyshev
polynomial.""",
    "figure_10": """Degree 11, true relative residual 1e-10, Gaussian right-hand side, zero start, probe started
from it. The paper, G2_circuit with its own incomplete Cholesky: 70 after 50 steps, 69 after 200
(Table 4a), and "stabilises above 75 steps".""",
    "figure_11": """Prefixes read the first layers of the filter for true eigenvalues in place of Ritz values;
layers beyond degree 21 are copies of the last one (`nnla.analysis.extend`), without further
training. The paper's Figure 11a: 5 to 40.""",
    "figure_12": """log r_nn / (11 log r_Richardson). The paper: 6 to 13, more for large condition numbers. The
engines here were trained on Lanczos probes, not on subspace iteration; the last two panels are
such probes.""",
    "figure_13": """Medians over spectra; without residuals the upper bound loses its margin, too.""",
    "figure_14": """log r_nn / log r_Neumann at degree 21. The paper: 3 to 8. The last panel is the opponent that
the paper omits, Chebyshev interpolation on the interval of the same probe.""",
}


def table(rows: list[dict]) -> list[str]:
    """A Markdown table with a column for every key."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
    return [*lines, *("| " + " | ".join(cell(row.get(key)) for key in keys) + " |" for row in rows)]


def cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {cell(v)}" for k, v in value.items())
    if isinstance(value, (tuple, list)):
        return " to ".join(cell(v) for v in value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def markdown(results: dict, meta: dict) -> str:
    text = ["# AutoSpec: what the learned polynomials are", ""]
    text += [f"`{meta['command']}`, {meta['date']}, {meta['hardware']}, float64, {meta['seconds']:.0f} s CPU time.", ""]
    text += ["Figures of the AutoSpec paper (arXiv:2602.09530) are quoted where they exist; its engines and matrices"]
    text += ["are not public, except those matrices named without `_like`.", ""]
    for key, (title, picture) in SECTIONS.items():
        if key not in results:
            continue
        text += [f"## {title}", "", NOTES[key], ""]
        if key == "figure_11":
            later = results[key]["after 100 subspace iterations"]
            text += [*table(results[key]["prefixes"]), "", *table([later])]
        else:
            text += table(results[key])
        if key == "table_1":
            paper = [{"paper": k, "L": v, "L / bound - 1": v / 2**-20 - 1} for k, v in PAPER_TABLE_1.items()]
            paper += [{"paper": "random", "L": PAPER_RANDOM}, {"paper": "optimal", "L": PAPER_OPTIMAL}]
            text += ["", *table(paper)]
        text += ["", f"![{title}]({picture})", ""]
        if key == "figure_11":
            text += ["![against the gap](autospec_analysis_fig11b.png)", ""]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=Path, help="folder of *.mtx.gz, for G2_circuit and Si2")
    parser.add_argument("--quick", action="store_true", help="small problems, few spectra; needs --out")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), help="these sections; the others stay as they are")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    if args.quick and args.out is None:
        parser.error("--quick needs --out: its figures do not belong into docs")
    out = args.out or DOCS
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "autospec_analysis.json"
    results = json.loads(stored.read_text())["results"] if args.only and stored.exists() else {}
    before = json.loads(stored.read_text())["meta"]["seconds"] if results else 0.0
    started = time.process_time()
    wanted = args.only or list(SECTIONS)
    cases = filter_cases(args.matrices, args.quick) if {"table_1", "figure_5"} & set(wanted) else {}
    for key in wanted:
        function = globals()[key]
        first = {"table_1": (cases,), "figure_5": (cases,), "figure_10": (args.matrices,)}.get(key, ())
        try:
            results[key] = function(*first, out, args.quick)
        except NNLAError as error:
            raise SystemExit(f"{key}: {error}") from error
        print(key, f"{time.process_time() - started:.0f} s", flush=True)
    meta = {
        "command": "python reproduce/autospec_analysis.py" + (" --matrices FOLDER" if args.matrices else "")
        + (" --quick" if args.quick else ""),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, one thread",
        "seconds": before + time.process_time() - started,
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
    }  # fmt: skip
    results = {key: results[key] for key in SECTIONS if key in results}
    stored.write_text(json.dumps({"meta": meta, "results": results}, indent=1, default=float))
    (out / "autospec_analysis.md").write_text(markdown(results, meta))


if __name__ == "__main__":
    main()
