"""The sequences of a run: read or generated once, kept on disk as plain arrays that every worker reads."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHARED, GENERATED, SMALL = "shared", "generated", "small systems"


@dataclass(frozen=True)
class Case:
    """A sequence that may not have been built yet: of a folder with A_00.mtx.gz, b_00.mtx.gz ..., or of a family."""

    name: str
    group: str
    source: Path | None = None
    family: str = ""
    n: int = 0
    steps: int = 0
    seed: int = 0

    def prepare(self, cache: Path) -> tuple[Path, dict[str, Any]]:
        """(folder of its arrays, facts). Of each step: which matrix it has, so that what is the same is told so."""
        words = f"{self.family}, {self.n}, {self.steps}, {self.seed}" if self.family else "file"
        folder = cache / self.name
        note = folder / "facts.json"
        if note.is_file() and json.loads(note.read_text())["made of"] == words:
            return folder, json.loads(note.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        digest, matrices, sizes, last, columns = hashlib.sha256(), [], [], None, 1
        for k, (A, b) in enumerate(self._systems()):
            if A is not last:
                for part in ("data", "indices", "indptr"):
                    np.save(folder / f"{part}_{k}.npy", getattr(A, part))
                last = A
                digest.update(A.data.tobytes())
                matrices.append(k)
                sizes.append((A.shape[0], int(A.nnz)))
            else:
                matrices.append(matrices[-1])
            np.save(folder / f"b_{k}.npy", b)
            digest.update(b.tobytes())
            columns = 1 if b.ndim == 1 else b.shape[1]
        facts = {
            "made of": words, "group": self.group, "steps": len(matrices), "matrices": matrices, "n": sizes[-1][0],
            "nnz": sizes[-1][1], "first n": sizes[0][0], "columns": columns, "digest": digest.hexdigest()[:10],
        }  # fmt: skip
        note.write_text(json.dumps(facts))  # last: its presence means that all is there
        return folder, facts

    def _systems(self) -> Any:
        if self.source is None:
            from nnla.problems import system_sequence

            yield from system_sequence(self.family, self.n, self.steps, seed=self.seed)
            return
        from nnla.problems import read_matrix, read_vector

        for path in sorted(self.source.glob("A_*.mtx.gz")):
            A = read_matrix(path)
            A.sum_duplicates()
            A.data = np.asarray(A.data, dtype=np.float64)
            A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
            b = np.asarray(read_vector(path.with_name(path.name.replace("A_", "b_"))), dtype=np.float64)
            yield A, np.ascontiguousarray(b[:, 0] if b.ndim == 2 and b.shape[1] == 1 else b)


def _family(family: str, n: int, steps: int, seed: int = 0, group: str = GENERATED, more: str = "") -> Case:
    return Case(family.replace(" ", "_") + more, group, None, family, n, steps, seed)


#: What is generated. The first ones are those that the bars name.
CATALOGUE = (
    _family("loads 2d", 65_536, 50),
    _family("loads 3d", 64_000, 50),
    _family("drift 2d", 65_536, 30),
    _family("drift 3d", 60_000, 30),
    _family("permeability chain", 20_000, 25, 1),
    _family("reservoir", 20_000, 30),
    _family("heat steps", 30_000, 40),
    _family("newton duct", 15_000, 24),
    _family("topology optimisation", 10_000, 30),
    _family("random field", 5_000, 30),
    _family("neighbour correlation", 5_000, 30),
    _family("contingencies", 10_000, 50),
    _family("interior point", 5_000, 36),
    _family("growing map", 9_000, 30),
    _family("water hours", 300, 2_000, group=SMALL),
    _family("contingencies", 1_000, 1_000, 1, SMALL, "_small"),
)
QUICK = (
    _family("loads 2d", 2_500, 10, more="_quick"),
    _family("drift 2d", 2_500, 10, more="_quick"),
    _family("interior point", 800, 10, more="_quick"),
    _family("growing map", 900, 8, more="_quick"),
    _family("water hours", 100, 200, group=SMALL, more="_quick"),
)


def select(folders: list[Path], *, quick: bool = False, only: str | None = None, generated: bool = True) -> list[Case]:
    """The sequences of a run: every folder below the given ones that holds A_*.mtx.gz, then the generated ones."""
    cases = []
    for folder in folders:
        found = sorted({path.parent for path in folder.rglob("A_*.mtx.gz")})
        if not found:
            raise SystemExit(f"--sequences: there are no A_*.mtx.gz below {folder}")
        cases += [Case(path.name, SHARED, path) for path in found]
    if generated:
        cases += QUICK if quick else CATALOGUE
    return [case for case in cases if only is None or re.search(only, case.name)]
