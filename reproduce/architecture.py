"""The map of the package: its rooms drawn from its imports, and the figures that say how tidy the house is.

    python reproduce/architecture.py              # writes docs/architecture.png and the table in docs/architecture.md
    python reproduce/architecture.py OTHER/nnla   # the figures of another version, printed only
    python reproduce/architecture.py --missing    # public functions whose docstring leaves out cost or source

Only text is read: nothing of the package is imported. Drawing needs the extra ``nnla[plot]``.
"""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "nnla"
PAGE = REPOSITORY / "docs" / "architecture.md"
Graph = dict[str, set[str]]

# ------------------------------------------------------------------------------------------- reading


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module of a package."""
    found: dict[str, Path] = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: Iterable[str]) -> set[str]:
    """Modules of the package that a file imports anywhere, also inside functions and for type checkers."""
    known = set(known)
    out: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            out |= {name if name in known else node.module for name in names}
    return {name for name in out if name in known and "." in name}


def file_graph(package: Path) -> Graph:
    """Who imports whom. The lazy names in packages' ``__init__`` are no dependencies of the package."""
    found = modules(package)
    return {name: imports(path, found) for name, path in found.items() if path.name != "__init__.py"}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def room_graph(graph: Mapping[str, set[str]]) -> Graph:
    """The same between what lies directly under the package: folders, and the files at its root."""
    out: Graph = {}
    for name, targets in graph.items():
        out.setdefault(room(name), set()).update(room(t) for t in targets if room(t) != room(name))
    return out


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Sets of nodes that reach each other: strongly connected components of more than one node."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        stack = [start]
        while stack:
            new = graph.get(stack.pop(), set()) - seen
            seen |= new
            stack.extend(new)
        return seen

    reached = {node: reach(node) for node in graph}
    groups = {
        frozenset({node} | {other for other in to if node in reached.get(other, ())}) for node, to in reached.items()
    }
    return sorted((set(group) for group in groups if len(group) > 1), key=sorted)


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Longest chain of imports below each node, itself counted; a circle counts as one floor."""
    together = {node: frozenset(group) for group in circles(graph) for node in group}
    known: dict[frozenset[str], int] = {}

    def floor(group: frozenset[str]) -> int:
        if group not in known:
            below = {together.get(t, frozenset({t})) for node in group for t in graph.get(node, ())} - {group}
            known[group] = 1 + max((floor(g) for g in below), default=0)
        return known[group]

    return {node: floor(together.get(node, frozenset({node}))) for node in sorted(graph)}


def lines(paths: Iterable[Path]) -> int:
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


# ----------------------------------------------------------------------------------------- docstrings

_COST = re.compile(r"^\s*Costs?\b", re.MULTILINE)
_SOURCE = re.compile(r"^\s*References?\s*$|^\s*Source\b|\beqs?\. ?\(|\bAlgorithm \d|arXiv|\bdoi\b", re.MULTILINE)


def public_functions(package: Path) -> dict[str, str]:
    """Docstrings of the functions that the modules without an underscore list in ``__all__``."""
    out: dict[str, str] = {}
    for name, path in modules(package).items():
        if any(part.startswith("_") for part in name.split(".")):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public: set[str] = set()
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                public |= {
                    c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant) and type(c.value) is str
                }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in public:
                out[f"{name}.{node.name}"] = ast.get_docstring(node) or ""
    return out


def front_door(package: Path) -> set[str]:
    """Where the names of the package itself live: what its table of lazy names says."""
    out: set[str] = set()
    for node in ast.walk(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            pairs = [
                (ast.literal_eval(k), ast.literal_eval(v)) for k, v in zip(node.keys, node.values, strict=True) if k
            ]
            out |= {f"{home}.{name}" for name, home in pairs}
    return out


def figures(package: Path) -> dict[str, str]:
    """What the issue tracker and docs/architecture.md quote."""
    graph = file_graph(package)
    rooms = room_graph(graph)
    found = modules(package)
    docs = public_functions(package)
    cost = {name for name, text in docs.items() if _COST.search(text)}
    source = {name for name, text in docs.items() if _SOURCE.search(text)}
    native = package.parents[1] / "native"

    door = docs.keys() & front_door(package)

    def share(names: set[str], of: Collection[str] = docs) -> str:
        return f"{len(names)} of {len(of)} ({100 * len(names) / max(len(of), 1):.0f} %)"

    def list_circles(graph: Graph) -> str:
        sizes = [len(group) for group in circles(graph)]
        return f"{len(sizes)}" + (f" (of {', '.join(map(str, sizes))})" if sizes else "")

    return {
        "files": str(len(found)),
        "files at the root": str(len(list(package.glob("*.py")))),
        "folders": str(len({room(name) for name, path in found.items() if path.parent != package})),
        "floors of files (longest chain of imports)": str(max(floors(graph).values())),
        "floors of rooms (folders, and files at the root)": str(max(floors(rooms).values())),
        "arrows between files": str(sum(map(len, graph.values()))),
        "arrows between rooms": str(sum(map(len, rooms.values()))),
        "circles of files": list_circles(graph),
        "circles of rooms": list_circles(rooms),
        "lines of Python": f"{lines(found.values()):,}",
        "lines of C++": f"{lines([*native.glob('*.cpp'), *native.glob('*.hpp')]):,}",
        "public functions that state their cost": share(cost),
        "public functions that state their source": share(source),
        "public functions that state both": share(cost & source),
        "functions of `nnla` itself that state their cost": share(cost & door, door),
        "functions of `nnla` itself that state their source": share(source & door, door),
    }


# -------------------------------------------------------------------------------------------- drawing

GROUPS = {
    "mathematics": ("#dbe9f6", "#2f6ca3", "kernels operators spectra polynomials preconditioners krylov constructions"),
    "answers": ("#dff0e0", "#3c8a45", "linear eigen functions matfun"),
    "learned": ("#fdeacb", "#b97b12", "models training extensions guesses"),
    "around": ("#ece6f3", "#75559c", "problems evaluation analysis interop cli"),
}
BOX, HEIGHT, GAP, STOREY = 2.9, 1.05, 0.3, 1.75  # width and height of a box, space beside it, height of a floor


def essential(graph: Graph) -> set[tuple[str, str]]:
    """Arrows that no longer way replaces (transitive reduction of a graph without circles)."""
    level = floors(graph)
    below: Graph = {}
    for node in sorted(graph, key=lambda name: level[name]):
        below[node] = set(graph[node]).union(*(below[t] for t in graph[node]))
    return {(node, target) for node, to in graph.items() for target in to if not any(target in below[o] for o in to)}


def layout(graph: Graph, arrows: set[tuple[str, str]]) -> tuple[dict[str, float], dict[tuple[str, str], list[str]]]:
    """Places on the floors after Sugiyama: a long arrow has a narrow stand-in on each floor that it passes; rows are
    sorted by the mean place of their neighbours, then pulled below them as far as the order allows."""
    from scipy.optimize import isotonic_regression

    level = floors(graph)
    rows: dict[int, list[str]] = {}
    for node in sorted(graph):
        rows.setdefault(level[node], []).append(node)
    chains: dict[tuple[str, str], list[str]] = {}
    beside: Graph = {node: set() for node in graph}
    for start, end in sorted(arrows):
        stops = [f"{start}>{end}>{floor}" for floor in range(level[start] - 1, level[end], -1)]
        for floor, stop in zip(range(level[start] - 1, level[end], -1), stops, strict=True):
            rows[floor].append(stop)
        chain = [start, *stops, end]
        chains[start, end] = chain
        for a, b in pairwise(chain):
            beside.setdefault(a, set()).add(b)
            beside.setdefault(b, set()).add(a)
    width = {node: BOX + GAP if node in graph else GAP for row in rows.values() for node in row}
    place = {node: float(i) for row in rows.values() for i, node in enumerate(row)}
    on = {node: floor for floor, row in rows.items() for node in row}

    def pack(floor: int, wanted: dict[str, float]) -> None:
        row = rows[floor]
        offset = [sum(width[n] for n in row[:i]) + width[node] / 2 for i, node in enumerate(row)]
        best = isotonic_regression([wanted[n] - o for n, o in zip(row, offset, strict=True)]).x
        place.update({node: float(x) + o for node, x, o in zip(row, best, offset, strict=True)})

    for floor in rows:
        pack(floor, dict.fromkeys(rows[floor], 0.0))
    order = sorted(rows)
    for sweep in range(60):
        down = sweep % 2 == 0
        for floor in reversed(order) if down else order:
            side = {
                node: [place[o] for o in beside[node] if (on[o] > floor) == down or sweep > 40] for node in rows[floor]
            }
            wanted = {node: sum(s) / len(s) if s else place[node] for node, s in side.items()}
            if sweep < 40:
                rows[floor].sort(key=lambda node: (wanted[node], node))
            pack(floor, wanted)
    return place, chains


def draw(package: Path, out: Path) -> None:
    """The rooms by floor, each with what its own first docstring line says, and the imports between them."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Curve

    files = file_graph(package)
    found = modules(package)
    ground = sorted(n for n in files if room(n) == n)
    all_rooms = {name: to - set(ground) for name, to in room_graph(files).items() if name not in ground}
    arrows = essential(all_rooms)
    level = floors(all_rooms)
    place, chains = layout(all_rooms, arrows)
    left, right = min(place[n] for n in all_rooms) - BOX / 2, max(place[n] for n in all_rooms) + BOX / 2
    top = max(level.values())
    figure, axes = plt.subplots(figsize=(13.2, 1.28 * top + 2.6), dpi=110)

    def height(node: str) -> float:
        floor = level[node] if node in level else int(node.rsplit(">", 1)[1])
        return STOREY * floor

    for pair, chain in sorted(chains.items()):
        # sideways only between two floors, straight down beside the boxes of a floor that it passes
        vertices = [(place[pair[0]], height(pair[0]) - HEIGHT / 2)]
        codes = [Curve.MOVETO]
        for node in chain[1:]:
            x, y = place[node], height(node) + HEIGHT / 2
            x0, y0 = vertices[-1]
            y += 0.1 if node == pair[1] else 0.0
            bend = 0.6 * (y0 - y)
            vertices += [(x0, y0 - bend), (x, y + bend), (x, y)]
            codes += [Curve.CURVE4] * 3
            if node != pair[1]:
                vertices.append((x, y - HEIGHT))
                codes.append(Curve.LINETO)
        colour = style(pair[0])[1]
        axes.add_patch(PathPatch(Curve(vertices, codes), fill=False, edgecolor=colour, linewidth=1.5, alpha=0.75))
        x, y = vertices[-1]
        head = [(x - 0.07, y + 0.06), (x + 0.07, y + 0.06), (x, y - 0.1), (x - 0.07, y + 0.06)]
        axes.add_patch(PathPatch(Curve(head), facecolor=colour, edgecolor="none", alpha=0.9))

    for name in all_rooms:
        x, y = place[name], height(name)
        face, edge, _ = style(name)
        corner = (x - BOX / 2, y - HEIGHT / 2)
        axes.add_patch(
            FancyBboxPatch(
                corner, BOX, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", fc=face, ec=edge, lw=1.3, zorder=3
            )
        )
        inside = [path for module, path in found.items() if room(module) == name]
        short = name.rsplit(".", 1)[1]
        axes.text(corner[0] + 0.12, y + 0.33, short, size=11.5, weight="bold", color=edge, va="center", zorder=4)
        size = f"{len(inside)} files, {lines(inside):,} lines"
        axes.text(corner[0] + BOX - 0.12, y + 0.33, size, size=6.6, color="#555555", va="center", ha="right", zorder=4)
        axes.text(
            corner[0] + 0.12,
            y + 0.14,
            caption(found[name]),
            size=7,
            color="#222222",
            va="top",
            linespacing=1.1,
            zorder=4,
        )

    axes.add_patch(
        FancyBboxPatch(
            (left, STOREY - 1.62),
            right - left,
            0.62,
            boxstyle="round,pad=0,rounding_size=0.08",
            fc="#e7e5e0",
            ec="#77736a",
        )
    )
    names = "   ".join(n.rsplit(".", 1)[1] for n in ground if not n.endswith("__main__"))
    middle = (left + right) / 2
    axes.text(middle, STOREY - 1.2, names, size=10, weight="bold", color="#55524b", ha="center", va="center")
    note = "the ground: everyone may import it, it imports no room (arrows left out)"
    axes.text(middle, STOREY - 1.43, note, size=7.5, color="#55524b", ha="center", va="center")
    axes.text(left, STOREY * top + 1.3, "The rooms of nnla", size=16, weight="bold", color="#222222", va="center")
    subtitle = (
        "An arrow points from a room to what it imports; arrows that a longer way replaces are left out "
        f"({len(arrows)} of {sum(map(len, all_rooms.values()))} drawn)."
    )
    axes.text(left, STOREY * top + 0.92, subtitle, size=8.5, color="#444444", va="center")
    for i, (group, (face, edge, _)) in enumerate(reversed(GROUPS.items())):
        x = right - 1.35 * (i + 1)
        axes.add_patch(plt.Rectangle((x, STOREY * top + 1.2), 0.25, 0.2, fc=face, ec=edge))
        axes.text(x + 0.33, STOREY * top + 1.3, group, size=8.5, color=edge, va="center")
    axes.set_xlim(left - 0.15, right + 0.15)
    axes.set_ylim(STOREY - 1.7, STOREY * top + 1.6)
    axes.axis("off")
    figure.savefig(out, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None})
    plt.close(figure)


def style(name: str) -> tuple[str, str, str]:
    """Face, edge and members of the group that a room belongs to."""
    short = name.rsplit(".", 1)[1]
    return next((group for group in GROUPS.values() if short in group[2].split()), GROUPS["around"])


def caption(init: Path) -> str:
    """The first line of a room's own docstring, as two short lines."""
    text = (ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    text = " ".join(text.replace("`", "").split()).rstrip(".")
    return "\n".join(textwrap.wrap(text, 43, max_lines=3, placeholder=" ..."))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE)
    parser.add_argument("--missing", action="store_true", help="list the public functions without cost or source")
    options: Any = parser.parse_args()
    package = options.package.resolve()
    if options.missing:
        for name, text in public_functions(package).items():
            lacks = [word for word, pattern in (("cost", _COST), ("source", _SOURCE)) if not pattern.search(text)]
            if lacks:
                print(f"{name}: no {' and no '.join(lacks)}")
        return
    rows = [f"| {name} | {value} |" for name, value in figures(package).items()]
    table = "\n".join(["| figure | now |", "|---|---:|", *rows])
    print(table)
    if package == PACKAGE:
        draw(package, PAGE.with_suffix(".png"))
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split("<!-- figures -->\n")
        after = rest.split("<!-- end of figures -->\n")[1]
        PAGE.write_text(f"{before}<!-- figures -->\n{table}\n<!-- end of figures -->\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
