"""The systems of a run: generated or read once, kept on disk as plain arrays that every worker reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tts.catalogue import CATALOGUE, DEFAULT, QUICK

FACTORED = 12_500  # unknowns up to which a system is checked by factoring it
_SYMMETRIC: dict[str, Any] = {
    "permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True},
}  # fmt: skip
_PARTS = ("data", "indices", "indptr", "b")


@dataclass(frozen=True)
class Case:
    """A system that may not have been built yet."""

    name: str
    family: str
    source: Path | None = None  # a file, or None for a generated one
    group: str = "development"  # the set that it is counted in

    def prepare(self, cache: Path) -> tuple[Path, dict[str, Any]]:
        """(folder of its arrays, facts); facts has "excluded" where this is no SPD system."""
        folder = cache / self.name
        note = folder / "facts.json"
        if note.is_file():
            return folder, json.loads(note.read_text())
        A, b = self._build()
        facts: dict[str, Any] = {"n": A.shape[0], "nnz": int(A.nnz)}
        if reason := not_spd(A):
            facts["excluded"] = reason
        rng = np.random.default_rng(sum(map(ord, self.name)))
        facts["rhs"] = "own" if b is not None else "standard normal"
        if b is None:
            b = rng.standard_normal(A.shape[0])
            if not reason and not solvable(A, b):
                b = A @ rng.standard_normal(A.shape[0])
                facts["rhs"] = "A x with x standard normal"
        facts["digest"] = hashlib.sha256(b.tobytes() + A.data.tobytes()).hexdigest()[:10]
        folder.mkdir(parents=True, exist_ok=True)
        for part, array in zip(_PARTS, (A.data, A.indices, A.indptr, b), strict=True):
            np.save(folder / f"{part}.npy", array)
        note.write_text(json.dumps(facts))  # last: its presence means that all is there
        return folder, facts

    def _build(self) -> tuple[Any, np.ndarray | None]:
        from nnla.problems import read_matrix, read_vector

        if self.source is None:
            A = CATALOGUE[self.name].build()
            right = None
        else:
            A = read_matrix(self.source)
            own = self.source.with_name(f"{self.name}_b.mtx.gz")
            right = read_vector(own) if own.is_file() else None
            if right is not None and right.ndim == 2:
                right = np.ascontiguousarray(right[:, 0])
        A.sum_duplicates()
        A.data = np.asarray(A.data, dtype=np.float64)
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
        return A, right


def not_spd(A: Any) -> str | None:
    """Why a matrix is not symmetric positive definite: by its pivots, up to a size that a factorisation takes."""
    from scipy.sparse.linalg import splu

    if abs(A - A.T).max() > 1e-12 * abs(A).max():
        return "not symmetric"
    if (A.diagonal() <= 0).any():
        return "a diagonal entry is not positive"
    if A.shape[0] <= FACTORED:
        try:
            factor = splu(A.T, **_SYMMETRIC)
        except RuntimeError as error:
            return str(error)
        if (factor.U.diagonal() <= 0).any():
            return "a pivot is not positive"
    return None


def solvable(A: Any, b: np.ndarray, rtol: float = 1e-9) -> bool:
    """Whether float64 can hold a solution to a true relative residual of rtol.

    A random right-hand side is full of the modes whose solution is large: with a condition number of 10^10,
    rounding x alone leaves a residual above 1e-8 and no solver could be judged. Only checked where factoring is cheap.
    """
    from scipy.sparse.linalg import splu

    if A.shape[0] > FACTORED:
        return True
    factor = splu(A.T, **_SYMMETRIC)
    x = factor.solve(b)
    for _ in range(2):
        x += factor.solve(b - A @ x)
    return bool(np.linalg.norm(b - A @ x) <= rtol * np.linalg.norm(b))


def select(
    folders: dict[str, Path], *, groups: Collection[str] | None = None, quick: bool = False, only: str | None = None,
    generated: bool = True,
) -> list[Case]:  # fmt: skip
    """The cases of a run: of each folder the small ones first, then the generated ones in the catalogue's order.

    `folders` maps a set to its folder, `groups` names the sets that are wanted (default: the folders' and `DEFAULT`).
    """
    cases = []
    for group, folder in folders.items():
        paths = sorted(folder.glob("*.mtx.gz"), key=lambda path: (path.stat().st_size, path.name))
        for path in paths:
            name = path.name.removesuffix(".mtx.gz")
            if not re.search(r"_[bx]$", name):
                cases.append(Case(name, "frames (StAnD)" if name.startswith("stand_") else "files", path, group))
    if quick:
        cases = [case for case in cases if case.source is not None and case.source.stat().st_size < 100_000]
    if generated:
        wanted = DEFAULT if groups is None else groups
        names = QUICK if quick else [name for name, entry in CATALOGUE.items() if entry.group in wanted]
        cases += [Case(name, CATALOGUE[name].family, group=CATALOGUE[name].group) for name in names]
    cases = [case for case in cases if groups is None or case.group in groups]
    cases = [case for case in cases if only is None or re.search(only, case.name)]
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if twice:
        raise SystemExit(f"two systems are named {twice[0]!r}: rename a file, or leave one out with --sets")
    return cases
