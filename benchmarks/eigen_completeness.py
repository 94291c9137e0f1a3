"""Is anything that `nnla.eigsh` calls verified wrong, or incomplete? Random problems with known spectra.

    OMP_NUM_THREADS=1 python benchmarks/eigen_completeness.py [--cases 2000] [--seed 0] [--jobs 1] [--out FILE.json]
    python benchmarks/eigen_completeness.py --case 137          # one case, with details

Multiple eigenvalues planted and by symmetry, identical components, products of graphs, clusters, free structures,
Hamiltonians, in units from 1e-250 to 1e250; pencils, interior shifts and other ends of the spectrum where `nnla.eigsh`
offers them. An answer is judged by these:

* the pairs: V orthonormal (in M), each residual within what the report claims;
* complete: with R = A V - V W and orthonormal V, k eigenvalues lie within ||R||_2 of the k values returned, multiple
  ones counted (Cao, Xie, Li 1996). So if the sorted values differ from the wanted ones by more than ||R||_2 and more
  than the tolerance, some are missing.

Outcomes: right; MISSING and called verified; WRONG pairs called converged; ERROR, HANG: no answer; and those that the
report does not vouch for: unverified although complete, unverified and indeed incomplete, not converged.
Exit code 1 if anything is missing, wrong, an error or a hang, or more than 2 % is not vouched for.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg as sl
from eigen.completeness_cases import EigenCase, draw, offered
from fuzzing.cases import CallLimitError, time_limit

OUTCOMES = ("right", "MISSING", "WRONG", "ERROR", "HANG", "unverified", "honest", "not converged")
BAD = ("MISSING", "WRONG", "ERROR", "HANG")
UNSURE = ("unverified", "honest", "not converged")
_MEANING = "unverified: complete, and the report does not say so; honest: incomplete, and the report does not deny it"
_EPS = float(np.finfo(float).eps)
_RESOLVED = 1e-5  # of the largest wanted eigenvalue: what `converged` promises
_MOST = 0.02  # of the cases may be not vouched for


def judge(case: EigenCase, w: np.ndarray, V: np.ndarray, report: Any) -> tuple[str, str]:
    """Outcome, and a detail."""
    n, k = case.n, case.k
    claimed = bool(report.converged)
    if w.shape != (k,) or V.shape != (n, k) or not (np.all(np.isfinite(w)) and np.all(np.isfinite(V))):
        return ("WRONG" if claimed else "not converged"), f"shapes {w.shape} {V.shape}, or not finite"
    values = w * 10.0 ** -(case.unit // 2) * 10.0 ** -(case.unit - case.unit // 2) * 10.0**case.mass_unit
    if case.M is not None:  # vectors are orthonormal in the mass given
        V = V * 10.0 ** (case.mass_unit / 2)
    R = case.A @ V - (V if case.M is None else case.M @ V) * values
    G = V.T @ (V if case.M is None else case.M @ V) - np.eye(k)
    norm = float(np.abs(case.exact).max())
    spread = 1.0  # by which a mass that is nearly singular enlarges rounding
    pencil = norm  # what a residual is relative to, in the norm of M^-1
    if case.M is not None:
        mass = case.M.toarray()
        least = float(sl.eigvalsh(mass, subset_by_index=[0, 0])[0])
        size, weight = (float(abs(B).sum(axis=1).max()) for B in (case.A, case.M))
        # ||A v - lambda M v|| <= tol (||A|| + |lambda| ||M||) ||v|| is what is claimed
        pencil = (size + float(np.abs(values).max()) * weight) / least
        R = sl.solve_triangular(np.linalg.cholesky(mass), R, lower=True)
        spread = max(1.0, size / least / norm) if norm else 1.0
    slack = 8 * _EPS * norm * spread * (n**0.5 + 4)
    rho = float(np.linalg.norm(R, 2))
    claim = max(min(case.options["tol"] * norm, _RESOLVED * float(np.abs(values).max())), 16 * _EPS * norm)
    if claimed and float(np.abs(G).max()) > 1e-8:
        return "WRONG", f"V'V is off by {np.abs(G).max():.1e}"
    if claimed and np.any(np.diff(w) < 0):
        return "WRONG", "values are not increasing"
    worst = float(np.linalg.norm(R, axis=0).max())
    if claimed and case.M is None and worst > 1.01 * claim + slack:
        return "WRONG", f"residual {worst:.1e}, claimed {claim:.1e}, norm {norm:.1e}"
    if claimed and case.M is not None and worst > case.options["tol"] * pencil + slack:
        return "WRONG", f"residual {worst:.1e} in the mass's norm, relative to {pencil:.1e}"
    off = float(np.abs(np.sort(case.keys(values)) - case.wanted()).max())
    complete = off <= max(rho, claim) + slack
    detail = f"values off by {off:.1e}, ||R|| {rho:.1e}, claim {claim:.1e}, norm {norm:.1e}"
    if claimed and report.verified:
        return ("right" if complete else "MISSING"), detail
    if claimed:
        return "unverified" if complete else "MISSING", f"converged, verified={report.verified}: {detail}"
    if worst > 1.01 * claim + slack:
        return "not converged", f"{report.status}: residual {worst:.1e}; {detail}"
    return ("unverified" if complete else "honest"), f"{report.status}: {detail}"


def run_case(index: int, seed: int, limit: float) -> dict[str, Any]:
    """One case, as a row of the result."""
    case = draw(index, seed)
    row: dict[str, Any] = {"case": index, "family": case.family, "n": case.n, "text": case.text}
    asked, begun = case.options["method"], time.process_time()
    method, extra = "-", ""
    try:
        with time_limit(limit), warnings.catch_warnings():
            warnings.simplefilter("error")
            w, V, report = case.call()
        seconds = time.process_time() - begun
        method, extra = str(report.method), f"; {report.fallback}" if report.fallback else ""
        outcome, detail = judge(case, w, V, report)
    except CallLimitError:
        seconds, outcome, detail = time.process_time() - begun, "HANG", f"more than {limit:.0f} s"
    except Exception as error:  # whatever it is, it is what the user would see
        seconds, outcome, detail = time.process_time() - begun, "ERROR", f"{type(error).__name__}: {error}"
    row |= {"asked": asked, "method": method, "outcome": outcome, "detail": detail + extra, "seconds": seconds}
    return row


def summary(rows: list[dict[str, Any]]) -> str:
    """Tables by family and by method, the failures, the slowest."""
    lines = [f"offered: {', '.join(sorted(offered()))}. {_MEANING}.", ""]
    for key in ("family", "asked", "method"):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        seconds: dict[str, float] = defaultdict(float)
        for row in rows:
            counts[row[key]][row["outcome"]] += 1
            seconds[row[key]] += row["seconds"]
        lines.append(f"{key:20s}" + "".join(f"{name:>14s}" for name in OUTCOMES) + f"{'ms a case':>12s}")
        for name in sorted(counts):
            mean = 1e3 * seconds[name] / sum(counts[name].values())
            lines.append(f"{name:20s}" + "".join(f"{counts[name][o] or '':>14}" for o in OUTCOMES) + f"{mean:12.1f}")
        lines.append("")
    total = Counter(row["outcome"] for row in rows)
    lines.append(f"{'all':20s}" + "".join(f"{total[o]:>14d}" for o in OUTCOMES))
    unsure = sum(total[o] for o in UNSURE)
    lines.append(f"not vouched for: {unsure} of {len(rows)}, {unsure / max(1, len(rows)):.2%} (at most {_MOST:.0%})")
    for row in rows:
        if row["outcome"] != "right":
            lines.append(f"{row['outcome']:14s} case {row['case']}: {row['text']}\n{'':15s}{row['detail']}")
    lines.append("slowest:")
    for row in sorted(rows, key=lambda row: -row["seconds"])[:8]:
        lines.append(f"{row['seconds']:8.2f} s case {row['case']}: {row['text']} -> {row['method']}, {row['outcome']}")
    return "\n".join(lines)


def passed(rows: list[dict[str, Any]]) -> bool:
    """Whether all bars are met."""
    total = Counter(row["outcome"] for row in rows)
    return not any(total[o] for o in BAD) and sum(total[o] for o in UNSURE) <= _MOST * len(rows)


def show(index: int, seed: int, limit: float) -> None:
    """One case, with its report."""
    case = draw(index, seed)
    print(case.text)
    w, _, report = case.call()
    print(report.to_json())
    values = w * 10.0 ** -(case.unit // 2) * 10.0 ** -(case.unit - case.unit // 2) * 10.0**case.mass_unit
    print("   returned               wanted     (what `which` sorts by, in good units)")
    for a, b in zip(np.sort(case.keys(values)), case.wanted(), strict=True):
        print(f"{a: .16e} {b: .16e} {a - b: .1e}")
    row = run_case(index, seed, limit)
    print(row["outcome"], row["detail"])


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one call")
    parser.add_argument("--case", type=int, help="run this case alone, with details")
    parser.add_argument("--out", type=Path, help="write all rows to this file, as JSON")
    args = parser.parse_args(words)
    if args.case is not None:
        show(args.case, args.seed, args.limit)
        return 0
    job, indices = partial(run_case, seed=args.seed, limit=args.limit), range(args.first, args.first + args.cases)
    if args.jobs > 1:
        with ProcessPoolExecutor(args.jobs) as pool:
            rows = list(pool.map(job, indices, chunksize=4))
    else:
        rows = []
        for index in indices:
            rows.append(job(index))
            if rows[-1]["outcome"] in BAD:  # at once: the rest may take long
                print(f"{rows[-1]['outcome']} case {index}: {rows[-1]['text']}", file=sys.stderr, flush=True)
            if sys.stderr.isatty():
                print(f"\r{len(rows)} of {args.cases}", end="", file=sys.stderr)
    print(summary(rows))
    if args.out is not None:
        args.out.write_text(json.dumps({"seed": args.seed, "offered": sorted(offered()), "rows": rows}, indent=1))
    return 0 if passed(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
