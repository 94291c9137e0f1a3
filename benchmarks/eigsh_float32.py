"""Operators that multiply in float32: where `nnla.eigsh` ends, and with how many products, beside SciPy's `eigsh`.

    OMP_NUM_THREADS=1 python benchmarks/eigsh_float32.py [--methods auto autospec] [--k 6 10] [--quick] [--out FILE.md]

Both get a LinearOperator of dtype float32 and no tolerance, so that each goes on to what the operator allows. Residuals
are those of A rounded to float32, multiplied in float64, relative to ||A||; `values` is the largest error of a value.
To be met: ours "rounding" or "converged", verified, no more products than SciPy's, and no larger residual than twice
SciPy's or 16 float32 roundings.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import linalg as spla

import nnla

_EPS = float(np.finfo(np.float32).eps)
_MOST = 60_000  # products of SciPy's


class _StoppedError(Exception):
    pass


def problems(quick: bool) -> dict[str, Any]:
    """Matrices by name."""
    P = nnla.problems
    few = {"Poisson 2-D, 2,000": P.poisson2d(45), "thermal1-like, 2,000": P.thermal1_like(2000)}
    if quick:
        return few
    field = P.diffusion2d(P.lognormal_field((70, 70), seed=1))
    more = {"Poisson 3-D, 8,000": P.poisson3d(20), "SiH4-like": P.sih4_like(), "lognormal field, 4,900": field}
    return few | more | {"thermal1-like, 20,000": P.thermal1_like(20_000), "Poisson 2-D, 20,000": P.poisson2d(141)}


def operator32(A: Any, most: float) -> tuple[Any, list[int]]:
    """A in float32, as an operator that counts, and its count."""
    B, count = sp.csr_array(A.astype(np.float32)), [0]

    def matvec(v: np.ndarray) -> np.ndarray:
        count[0] += 1
        if count[0] > most:
            raise _StoppedError
        return B @ v.astype(np.float32)

    def matmat(V: np.ndarray) -> np.ndarray:
        count[0] += V.shape[1]
        return B @ V.astype(np.float32)

    make: Any = spla.LinearOperator
    return make(B.shape, matvec=matvec, matmat=matmat, dtype=np.dtype(np.float32)), count


def rows(name: str, A: Any, k: int, methods: list[str]) -> list[dict[str, Any]]:
    """SciPy's answer, and ours by each method."""
    exact = sp.csr_array(A.astype(np.float32).astype(np.float64))
    wanted = np.sort(spla.eigsh(exact.tocsc(), k=k, sigma=_below(exact), which="LM", return_eigenvectors=False))
    norm = float(spla.eigsh(exact, k=1, which="LM", tol=1e-3, return_eigenvectors=False)[0])
    found = []
    for method in ["scipy", *methods]:
        op, count = operator32(A, _MOST if method == "scipy" else np.inf)
        begun, note = time.process_time(), ""
        try:
            if method == "scipy":
                start = np.random.default_rng(0).standard_normal(A.shape[0]).astype(np.float32)
                w, V = spla.eigsh(op, k=k, which="SA", v0=start)
            else:
                w, V, report = nnla.eigsh(op, k, which="SA", method=method, return_report=True)
                note = f"{report.status}, {report.method}" + ("" if report.verified else ", not verified")
        except (_StoppedError, spla.ArpackError) as error:
            note = f"failed: {type(error).__name__}"
            w, V = np.full(k, np.nan), np.full((A.shape[0], k), np.nan)
        seconds = time.process_time() - begun
        w, V = np.asarray(w, dtype=float), np.asarray(V, dtype=float)
        residual = float(np.linalg.norm(exact @ V - V * w, axis=0).max()) / abs(norm)
        error = float(np.abs(np.sort(w) - wanted).max()) / abs(norm)
        found.append({"problem": name, "k": k, "method": method, "products": count[0], "residual": residual,
                      "values": error, "seconds": seconds, "note": note})  # fmt: skip
    return found


def _below(A: Any) -> float:
    """A shift below the spectrum: by Gershgorin's circles, or 0."""
    d = A.diagonal()
    low = float((d - (abs(A).sum(axis=1) - np.abs(d))).min())
    return 0.0 if low > -1e-3 * float(np.abs(d).max()) else low


def met(row: dict[str, Any], scipy: dict[str, Any]) -> bool:
    """Whether ours has ended at the operator's precision in no more products than SciPy's."""
    fine = "failed" not in row["note"] and "not verified" not in row["note"]
    precise = row["residual"] <= max(2 * scipy["residual"] if np.isfinite(scipy["residual"]) else 0.0, 16 * _EPS)
    return fine and precise and row["products"] <= scipy["products"]


def main(words: list[str] | None = None) -> int:
    """The command; exit code 1 where the first method does not meet the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["auto", "autospec"])
    parser.add_argument("--k", nargs="+", type=int, default=[6, 10])
    parser.add_argument("--quick", action="store_true", help="small problems only")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    args = parser.parse_args(words)
    lines = ["| problem | k | method | products | residual / norm | values | CPU s | met | note |",
             "|---|---:|---|---:|---:|---:|---:|---|---|"]  # fmt: skip
    good = True
    for name, A in problems(args.quick).items():
        for k in args.k:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = rows(name, A, k, args.methods)
            for row in found:
                fine = "" if row is found[0] else "yes" if met(row, found[0]) else "no"
                good &= row["method"] != args.methods[0] or fine == "yes"
                lines.append(
                    f"| {name} | {k} | {row['method']} | {row['products']} | {row['residual']:.1e} | "
                    f"{row['values']:.1e} | {row['seconds']:.2f} | {fine} | {row['note']} |"
                )
    print("\n".join(lines))
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
