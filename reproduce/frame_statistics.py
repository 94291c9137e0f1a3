"""How far the generated frames are like StAnD: statistics side by side, and the real systems rebuilt.

For each system: size, entries per row, condition after Jacobi scaling, iterations of CG and of Jacobi-CG to relative
errors of 1e-2 .. 1e-5, and the range of |x|. For each real system also how far it is from ours: the matrix, after
reading geometry and section off it, and the right-hand side, after fitting a multiple of each kind of load.

    python reproduce/frame_statistics.py --matrices FOLDER
    python reproduce/frame_statistics.py --quick         # eight generated frames of a style, nothing written

Writes docs/frames.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from nnla.problems import read_matrix, read_vector
from nnla.problems.frame_elements import uniform_loads
from nnla.problems.frame_loads import panel_loads, panels, wind_loads
from nnla.problems.frame_plots import frame_figure
from nnla.problems.frame_recovery import recover_frame
from nnla.problems.frames import frame

DOCS = Path(__file__).resolve().parents[1] / "docs"
TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)
PAPER = (240, 362, 481, 583)


def iterations(A, b, x, weight) -> list[int]:
    """Steps of CG preconditioned by a diagonal until |x_k - x| / |x| is below each of TARGETS."""
    y, r = np.zeros_like(b), b.copy()
    p, rho = weight * r, r @ (weight * r)
    size, left, out = np.linalg.norm(x), list(TARGETS), []
    for k in range(1, 20 * b.size):
        q = A @ p
        alpha = rho / (p @ q)
        y, r = y + alpha * p, r - alpha * q
        while left and np.linalg.norm(y - x) <= left[0] * size:
            left.pop(0)
            out.append(k)
        if not left:
            break
        new = r @ (weight * r)
        p, rho = weight * r + new / rho * p, new
    return out


def describe(name: str, A, b, x) -> dict:
    """One row of the table."""
    D, n = A.diagonal(), b.size
    s = 1 / np.sqrt(D)
    scaled = csr_array((A.data * np.repeat(s, np.diff(A.indptr)) * s[A.indices], A.indices, A.indptr), shape=A.shape)
    start = np.ones(n)
    high = eigsh(scaled, k=1, v0=start, tol=1e-6, return_eigenvectors=False)[0]
    low = eigsh(scaled.tocsc(), k=1, sigma=0, v0=start, tol=1e-6, return_eigenvectors=False)[0]
    size = np.abs(x[x != 0])
    return {
        "name": name,
        "n": n,
        "entries_per_row": A.nnz / n,
        "condition": float(high / low),
        "cg": iterations(A, b, x, np.ones(n)),
        "jacobi": iterations(A, b, x, 1 / D),
        "x": [float(size.min()), float(size.max())],
    }


def rebuilt(A, b) -> dict:
    """Distance of a real system from the generator's nearest one."""
    back = recover_frame(A)
    nodes, feet = back.nodes, np.nonzero(back.unknown < 0)[0]
    # StAnD has beams between feet, too, which carry no unknowns but make panels
    members = [back.members]
    for along in (0, 1):
        keys = [np.round(nodes[feet, k], 6) for k in range(2)]
        order = feet[np.lexsort((keys[along], keys[1 - along]))]
        same = np.abs(np.diff(nodes[order, 1 - along])) < 1e-6
        lines = np.unique(np.round(nodes[:, along], 6))
        place = np.searchsorted(lines, np.round(nodes[order, along], 6))
        near = np.diff(place) == 1
        members.append(np.stack([order[:-1], order[1:]], axis=1)[same & near])
    members = np.concatenate(members)
    places = [np.unique(np.round(nodes[:, k], 6)) for k in range(3)]
    index = [np.searchsorted(places[k], np.round(nodes[:, k], 6)) for k in range(3)]
    step = nodes[members[:, 1]] - nodes[members[:, 0]]
    axis = np.argmax(np.abs(step), axis=1)
    start = np.where(step[np.arange(len(members)), axis] > 0, members[:, 0], members[:, 1])
    grids = []
    for k in range(3):
        grid, mine = np.full([p.size for p in places], -1), np.nonzero(axis == k)[0]
        grid[tuple(index[d][start[mine]] for d in range(3))] = mine
        grids.append(grid)
    normal, M = [panels(k, grids, places) for k in range(3)], len(members)
    down = np.zeros((M, 3))
    down[:, 2] = -1
    cases = {
        "self weight": down,
        "slabs": panel_loads(M, normal[2], -1.0, as_stand=True),
        "snow": panel_loads(M, normal[2], -1.0 * normal[2].last, as_stand=True),
    }
    for towards in ("-x", "+x", "-y", "+y"):
        for exposure in range(5):
            q = wind_loads(M, normal[:2], np.ptp(nodes, axis=0), 0.28, towards, exposure, as_stand=True)
            cases[f"wind {towards}, category {exposure}"] = q
    best = (np.inf, "")
    for name, q in cases.items():
        v = uniform_loads(nodes, members, q)[back.unknown >= 0].ravel()
        best = min(best, (float(np.linalg.norm(b - (v @ b) / (v @ v) * v) / np.linalg.norm(b)), name))
    return {
        "matrix_mismatch": back.mismatch,
        "load": best[1],
        "load_mismatch": best[0],
        "section": [back.width, back.height, back.E],
    }


def generated(style: str, count: int) -> list[dict]:
    rows = []
    for seed in range(count):
        one = frame("small", 1000 + seed, style=style)
        case = seed % 10
        rows.append(
            describe(f"{style} {seed}: {one.load_names[case]}", one.A, one.loads[:, case], one.solve()[:, case])
        )
        print(rows[-1], flush=True)
    return rows


def seconds(count: int = 30) -> dict:
    """CPU seconds to make a system of n near 1300 with its ten load cases, and to solve them."""
    made, solved, sizes = [], [], []
    for seed in range(count):
        started = time.process_time()
        one = frame("small", seed, grid=(6, 6, 5))
        middle = time.process_time()
        one.solve()
        made.append(middle - started)
        solved.append(time.process_time() - middle)
        sizes.append(one.n)
    return {"n": float(np.mean(sizes)), "make": float(np.median(made)), "solve": float(np.median(solved))}


def mean_row(rows: list[dict]) -> str:
    def mean(key):
        return np.mean([row[key] for row in rows], axis=0)

    low, high = min(r["x"][0] for r in rows), max(r["x"][1] for r in rows)
    cells = [f"{mean('n'):.0f}", f"{mean('entries_per_row'):.1f}"]
    cells.append(f"{np.exp(np.mean(np.log([r['condition'] for r in rows]))):.1e}")
    cells += [" / ".join(f"{v:.0f}" for v in mean(key)) for key in ("cg", "jacobi")]
    return " | ".join([*cells, f"{low:.0e} .. {high:.0e}"])


def write(data: dict, out: Path) -> None:
    m = data["meta"]
    lines = [
        "# Building frames: ours and StAnD's",
        "",
        f"`{m['command']}`, {m['date']}, {m['hardware']}, float64.",
        "",
        "Iterations to a relative error of 1e-2 / 1e-3 / 1e-4 / 1e-5; condition after Jacobi scaling (geometric mean).",
        "",
        "| systems | count | n | entries / row | condition | CG | Jacobi-CG | \\|x\\| |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in data["groups"].items():
        if rows:
            lines.append(f"| {name} | {len(rows)} | {mean_row(rows)} |")
    lines.append(
        f"| StAnD small, as the paper says | 1000 | 2115 | | | {' / '.join(map(str, PAPER))} | | 1e-16 .. 1e-1 |"
    )
    s = data["seconds"]
    lines += [
        "",
        f"CPU time for one structure of n = {s['n']:.0f} with ten load cases: {1e3 * s['make']:.1f} ms; "
        f"its ten solutions by sparse LU: {1e3 * s['solve']:.1f} ms.",
    ]
    if data["rebuilt"]:
        lines += [
            "",
            "## The real systems, rebuilt",
            "",
            "Geometry and section are read off the matrix (`nnla.problems.frame_recovery`) and the matrix is assembled",
            "anew by `nnla.problems.frame_elements`; the load is the best multiple of one of 23 cases of",
            "`nnla.problems.frame_loads`. Differences are relative: to the diagonals for matrices, in norm for loads.",
            "",
            "| system | n | matrix | load case | load | section (m), E (Pa) |",
            "|---|---|---|---|---|---|",
        ]
        for row in data["rebuilt"]:
            w, h, E = row["section"]
            lines.append(
                f"| {row['name']} | {row['n']} | {row['matrix_mismatch']:.0e} | {row['load']} | "
                f"{row['load_mismatch']:.0e} | {w:.3f} x {h:.3f}, {E:.2e} |"
            )
        lines += [
            "",
            "So the `stand` style is StAnD's family, elements and loads included; what differs is the draw: the random",
            "numbers, and that one cell of ours always has the full height. The `irregular` style is not in StAnD.",
        ]
    lines += ["", "![a frame under wind](frames.png)", ""]
    (out / "frames.md").write_text("\n".join(lines))
    (out / "frames.json").write_text(json.dumps(data, indent=1) + "\n")
    one = frame("small", 0, grid=(6, 7, 6))
    case = next(k for k, name in enumerate(one.load_names) if name.startswith("wind"))
    figure = frame_figure(one, one.solve()[:, case], title=f"StAnD style, n = {one.n}, {one.load_names[case]}")
    figure.savefig(out / "frames.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=Path, help="folder with stand_*.mtx.gz, their _b and their _x")
    parser.add_argument("--count", type=int, default=40, help="generated frames of each style")
    parser.add_argument("--quick", action="store_true", help="eight frames of each style, nothing written")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    count = 8 if args.quick else args.count
    groups = {f"generated, {style}": generated(style, count) for style in ("stand", "irregular")}
    real, again = [], []
    for path in sorted(args.matrices.glob("stand_??.mtx.gz")) if args.matrices else []:
        name = path.name.removesuffix(".mtx.gz")
        A, (b, x) = read_matrix(path), (read_vector(path.with_name(f"{name}_{k}.mtx.gz")) for k in "bx")
        real.append(describe(name, A, b, x))
        again.append({"name": name, "n": b.size, **rebuilt(A, b)})
        print(real[-1], again[-1], flush=True)
    meta = {
        "command": f"python reproduce/frame_statistics.py --matrices FOLDER --count {count}",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, one core",
    }
    data = {"meta": meta, "groups": {**groups, "real StAnD systems": real}, "rebuilt": again, "seconds": seconds()}
    if args.quick:
        for name, rows in data["groups"].items():
            if rows:
                print(name, mean_row(rows))
    else:
        write(data, args.out)


if __name__ == "__main__":
    main()
