"""Multigrid hierarchies over PyAMG's coarsening: smoothed aggregation or classical, by a stated rule.

PyAMG picks the aggregates and the C/F splitting; what its set-up spends most of its time on (spectral radii,
interpolation, triple products) is done here, natively where the kernels are installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla import kernels
from nnla.errors import MissingDependencyError, NotPositiveDefiniteError, OptionError
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.sparse import sound

__all__ = ["Hierarchy", "Level", "build_hierarchy"]

KINDS = ("auto", "aggregation", "classical")

_COARSEST = 200  # a level this small is solved by a dense inverse
_MOST_LEVELS = 30
# Later levels of an aggregation have wider stencils of smaller entries: the threshold follows.
_AGGREGATION_THETA, _THETA_DECAY = 0.05, 0.8
_CLASSICAL_THETA = 0.25
_SHORT_ROWS = 5.5
_SAMPLED_NODES = 4000
_SMALL_QUOTIENT = 0.1
_FEW_POSITIVE = 0.05
_RELAXATIONS = 6


@dataclass
class Level:
    """One level: operator, the prolongation to it from the next (None on the last), 1 / sqrt(diagonal)."""

    A: Any
    P: Any
    scale: np.ndarray

    @property
    def n(self) -> int:
        return int(self.A.shape[0])


@dataclass
class Hierarchy:
    """Levels from the finest on, the kind of coarsening, and why that kind."""

    levels: list[Level]
    kind: str
    reason: str
    block: int = 1

    @property
    def operator_complexity(self) -> float:
        """Stored entries of all operators over those of the finest."""
        return sum(level.A.nnz for level in self.levels) / max(self.levels[0].A.nnz, 1)


def build_hierarchy(A: Any, kind: str = "auto", *, native: bool = True) -> Hierarchy:
    """A hierarchy of Galerkin operators for a symmetric positive definite matrix.

    Parameters
    ----------
    A : csr_array (n, n), float64, canonical
    kind : "auto", "aggregation" (smoothed) or "classical" (Ruge-Stueben)
        "auto": see `choose_kind`.
    native : use the native kernels where they are installed

    Raises
    ------
    MissingDependencyError
        PyAMG is not installed.
    NotPositiveDefiniteError
        The diagonal of A is not positive, or that of a coarse operator is negative beyond rounding.
    OptionError
        Unknown kind, or a matrix with more than 2^31 entries.

    Notes
    -----
    Cost: the time of some ten to fifty products with A.

    References
    ----------
    Vanek, Mandel, Brezina, Computing 56 (1996) 179-196 (smoothed aggregation). Ruge, Stueben, in McCormick (ed.),
    Multigrid Methods, SIAM 1987, chapter 4 (classical).
    """
    if kind not in KINDS:
        raise OptionError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if A.nnz > np.iinfo(np.int32).max:
        raise OptionError(f"method='amg' stores 32-bit indices and A has {A.nnz} entries; use method='auto'")
    pieces = _pieces(native)
    A = sound(A)
    indptr, indices, data = csr_arrays(A)
    A = sp.csr_array((data, indices, indptr), A.shape)
    block, reason = 1, "asked for"
    if kind == "auto":
        kind, block, reason = choose_kind(A, native)
    elif kind == "aggregation":
        block = block_size(A)
    levels: list[Level] = []
    candidate = near_kernel(A, pieces) if kind == "aggregation" and block == 1 else np.ones(A.shape[0])
    if not np.all(A.diagonal() > 0):
        raise NotPositiveDefiniteError(
            "multigrid needs a positive diagonal; A is not positive definite, or has isolated unknowns"
        )
    while True:
        levels.append(Level(A, None, 1.0 / np.sqrt(A.diagonal())))
        if A.shape[0] <= _COARSEST or len(levels) == _MOST_LEVELS:
            break
        if kind == "aggregation":
            theta = _AGGREGATION_THETA * _THETA_DECAY ** (len(levels) - 1)
            P, candidate = _aggregate(pieces, A, block, candidate, theta)
        else:
            P = _split(pieces, A)
        if P is None or P.shape[1] > 0.9 * P.shape[0]:
            break
        coarse = pieces.galerkin(A, P)
        if not _sound(A, P, coarse, len(levels)):
            break
        levels[-1].P = P
        A = coarse
    return Hierarchy(levels, kind, reason, block)


def _sound(A: Any, P: Any, coarse: Any, level: int) -> bool:
    """Whether the Galerkin operator has a diagonal beyond rounding: where not, a vector of P is a null vector of A.

    Cost: two passes over P.
    """
    energy = sp.csr_array((P.data**2, P.indices, P.indptr), shape=P.shape).T @ A.diagonal()
    rounding = 64 * np.finfo(np.float64).eps * energy
    diagonal = coarse.diagonal()
    if np.any(diagonal < -rounding):  # p'Ap < 0 for a vector of P
        row = int(np.argmin(diagonal + rounding))
        raise NotPositiveDefiniteError(
            f"A is not positive definite: p'Ap = {diagonal[row]:.3g} for a vector p of level {level} of the hierarchy"
        )
    return bool(np.all(diagonal > rounding))


def choose_kind(A: Any, native: bool = True) -> tuple[str, int, str]:
    """The kind of coarsening, the block size and the reason, from the matrix alone.

    Classical coarsening converges better where coefficients are constant in pieces with large jumps between
    them, and its set-up and coarse operators stay cheap for short rows without positive entries. Everywhere
    else smoothed aggregation, with a threshold, is as good or better, and cheaper.
    """
    block = block_size(A)
    if block > 1:
        return "aggregation", block, f"{block} unknowns a node"
    if A.nnz > _SHORT_ROWS * A.shape[0]:
        return "aggregation", 1, f"{A.nnz / A.shape[0]:.1f} entries a row"
    pieces = _pieces(native)
    positive, weak, uniform = pieces.traits(A, _AGGREGATION_THETA)
    if positive < 0.01 and weak > 0.001 and uniform > 0.5:
        return "classical", 1, f"coefficients jump between uniform pieces ({weak:.1%} weak connections)"
    return "aggregation", 1, f"{uniform:.0%} uniform rows, {weak:.1%} weak connections"


def block_size(A: Any) -> int:
    """Unknowns that share a node: 3, 2 or 6 where consecutive rows come with the same columns, else 1."""
    n = A.shape[0]
    for block in (3, 2, 6):
        if n % block or n == block:
            continue
        nodes = n // block
        width = min(nodes, _SAMPLED_NODES // 4)
        starts = np.unique(np.linspace(0, nodes - width, 4).astype(int)) if nodes > width else [0]
        if all(_comes_in_blocks(A, block, int(k), int(k) + width) for k in starts):
            return block
    return 1


def _comes_in_blocks(A: Any, block: int, first: int, last: int) -> bool:
    """Whether nodes first to last have rows of one length with columns in whole blocks, up to a tenth."""
    indptr = A.indptr[first * block : last * block + 1]
    counts = np.diff(indptr).reshape(-1, block)
    stored = int(indptr[-1] - indptr[0])
    if stored < 3 * block * len(counts) * block or np.mean(counts.min(axis=1) >= 0.9 * counts.max(axis=1)) < 0.9:
        return False
    nodes = A.indices[indptr[0] : indptr[-1]] // block
    return bool(np.count_nonzero(nodes[:-1] == nodes[1:]) >= 0.9 * stored * (block - 1) / block)


def near_kernel(A: Any, pieces: _Pieces) -> np.ndarray:
    """The vector whose piecewise multiples an aggregation interpolates: one that A nearly annihilates.

    Ones, unless a small Rayleigh quotient x'Ax / x'Dx is found for another: ones with signs that make the strong
    connections negative, or the same over the root of the diagonal (a symmetric scaling D A D turns ones into
    that), both after a few damped Jacobi steps.
    """
    diagonal = A.diagonal()
    ones = np.ones(A.shape[0])
    quotient = float(np.sum(A @ ones) / np.sum(diagonal))
    if quotient < _SMALL_QUOTIENT:
        return ones
    signs, positive = pieces.balancing_signs(A)
    if positive > _FEW_POSITIVE:
        signs = ones
    best = ones
    for x in (signs, signs * (np.sqrt(diagonal.max()) / np.sqrt(diagonal))):
        for _ in range(_RELAXATIONS):  # before the comparison: a few rows tied to ground must not decide it
            x = x - (0.5 / diagonal) * (A @ x)
        value = float(x @ (A @ x) / (x @ (diagonal * x)))
        if value < 0.5 * quotient:
            best, quotient = x, value
    return best / np.max(np.abs(best))


def _aggregate(pieces: _Pieces, A: Any, block: int, candidate: np.ndarray, theta: float) -> tuple[Any, np.ndarray]:
    """Prolongation of smoothed aggregation and the candidate on the coarse level."""
    strength = pieces.symmetric_strength(A, theta, block)
    aggregate, count = pieces.aggregates(*strength)
    if count == 0:
        return None, candidate
    if block > 1:
        spread = aggregate[:, None] * block + np.arange(block, dtype=np.int32)
        aggregate = np.where(aggregate[:, None] < 0, np.int32(-1), spread).ravel().astype(np.int32)
        count *= block
    P = pieces.smoothed_prolongator(A, strength, block, aggregate, candidate, count)
    return P, np.ones(count)


def _split(pieces: _Pieces, A: Any) -> Any:
    """Prolongation of classical multigrid, None where there is nothing to coarsen."""
    strength = pieces.classical_strength(A, _CLASSICAL_THETA)
    splitting = pieces.splitting(*strength)
    coarse = int(np.count_nonzero(splitting))
    if coarse in (0, A.shape[0]):
        return None
    return pieces.classical_prolongator(A, strength, splitting, coarse)


def _pieces(native: bool) -> _Pieces:
    try:
        from pyamg import amg_core
    except ImportError as error:
        raise MissingDependencyError("method='amg' needs PyAMG; install it with: pip install 'nnla[amg]'") from error
    return _NativePieces(amg_core) if native and kernels.native is not None else _Pieces(amg_core)


Pattern = tuple[np.ndarray, np.ndarray]


class _Pieces:
    """What a set-up is made of, in NumPy and SciPy; aggregates and splittings are those of PyAMG's compiled core."""

    def __init__(self, amg_core: Any) -> None:
        self.core = amg_core

    def aggregates(self, indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, int]:
        n = len(indptr) - 1
        aggregate, roots = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
        count = int(self.core.standard_aggregation(n, indptr, indices, aggregate, roots))
        return aggregate, count

    def splitting(self, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
        n = len(indptr) - 1
        splitting, influence = np.empty(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
        self.core.rs_cf_splitting(n, indptr, indices, *self.transpose(indptr, indices), influence, splitting)
        return splitting

    def traits(self, A: Any, theta: float) -> tuple[float, float, float]:
        coo = A.tocoo()
        off = (coo.row != coo.col) & (coo.data != 0)
        i, j, a = coo.row[off], coo.col[off], coo.data[off]
        root = np.sqrt(np.abs(A.diagonal()))
        size = np.abs(a) / root[i] / root[j]
        total = size.sum()
        smallest, largest = np.full(A.shape[0], np.inf), np.zeros(A.shape[0])
        np.minimum.at(smallest, i, np.abs(a))
        np.maximum.at(largest, i, np.abs(a))
        positive = float(size[a > 0].sum() / total) if total > 0 else 0.0
        weak = float(np.mean(size < theta)) if len(size) else 0.0
        return positive, weak, float(np.mean(smallest >= 0.9 * largest))

    def balancing_signs(self, A: Any) -> tuple[np.ndarray, float]:
        indptr, indices = (part.tolist() for part in self.classical_strength(A, _CLASSICAL_THETA))
        coo = A.tocoo()
        entry = dict(zip(zip(coo.row.tolist(), coo.col.tolist(), strict=True), coo.data.tolist(), strict=True))
        signs = [0.0] * A.shape[0]
        for root in range(len(signs)):
            if signs[root] != 0:
                continue
            signs[root] = 1.0
            queue = [root]
            for i in queue:
                for j in indices[indptr[i] : indptr[i + 1]]:
                    if signs[j] == 0:
                        signs[j] = signs[i] if entry[i, j] < 0 else -signs[i]
                        queue.append(j)
        s = np.array(signs)
        d = np.sqrt(np.abs(A.diagonal()))
        off = coo.row != coo.col
        a = (s[coo.row] * s[coo.col] * (coo.data / d[coo.row] / d[coo.col]))[off]
        total = np.abs(a).sum()
        return s, float(a[a > 0].sum() / total) if total > 0 else 0.0

    def transpose(self, indptr: np.ndarray, indices: np.ndarray) -> Pattern:
        n = len(indptr) - 1
        T = sp.csr_array((np.ones(len(indices), dtype=np.int8), indices, indptr), shape=(n, n)).T
        return _arrays(sp.csr_array(T))

    def symmetric_strength(self, A: Any, theta: float, block: int) -> Pattern:
        if block > 1:
            nodes = A.shape[0] // block
            coo = A.tocoo()
            coo.data = np.ldexp(coo.data, -int(np.frexp(np.max(np.abs(coo.data)))[1]))  # squares stay in the range
            squares = sp.coo_array((coo.data**2, (coo.row // block, coo.col // block)), shape=(nodes, nodes)).tocsr()
            d, squares = np.sqrt(squares.diagonal()), squares.tocoo()  # type: ignore[index]
        else:
            squares, root = A.tocoo(), np.sqrt(np.abs(A.diagonal()))
            squares.data = (squares.data / root[squares.row] / root[squares.col]) ** 2
            d = np.ones(A.shape[0])
        return _strong(squares, theta, d)

    def classical_strength(self, A: Any, theta: float) -> Pattern:
        coo = A.tocoo()
        off = (coo.row != coo.col) & (coo.data != 0)
        i, j, a = coo.row[off], coo.col[off], np.abs(coo.data[off])
        largest = np.zeros(A.shape[0])
        np.maximum.at(largest, i, a)
        keep = a >= theta * largest[i]
        return _pattern(i[keep], j[keep], A.shape[0])

    def smoothed_prolongator(
        self, A: Any, strength: Pattern, block: int, aggregate: np.ndarray, candidate: np.ndarray, count: int
    ) -> sp.csr_array:
        n = A.shape[0]
        indptr, indices = strength
        nodes = len(indptr) - 1
        C = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=(nodes, nodes))
        C = sp.csr_array(C + sp.eye_array(nodes))
        strong = sp.kron(C, np.ones((block, block)), format="csr") if block > 1 else C
        F = sp.csr_array(A.multiply(strong))
        F.sum_duplicates()
        d = A.diagonal()
        lumped = d + ((A - F) @ candidate) / np.where(candidate != 0, candidate, 1.0)
        diagonal = np.where((candidate != 0) & (lumped > 0.1 * d) & (lumped < 10 * d), lumped, d)
        F.setdiag(diagonal)
        weight = 4.0 / 3.0 / np.asarray(abs(F).sum(axis=1)).ravel()
        at = np.flatnonzero(aggregate >= 0)
        T = sp.csr_array((candidate[at], (at, aggregate[at])), shape=(n, count))
        return sp.csr_array(T - sp.diags_array(weight) @ (F @ T))

    def classical_prolongator(self, A: Any, strength: Pattern, splitting: np.ndarray, count: int) -> sp.csr_array:
        from pyamg.classical.interpolate import classical_interpolation

        indptr, indices = strength
        C = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=A.shape)
        return sp.csr_array(classical_interpolation(A, C, splitting))

    def galerkin(self, A: Any, P: Any) -> sp.csr_array:
        C = sp.csr_array(P.T.tocsr() @ A @ P)
        C.sort_indices()
        return C


class _NativePieces(_Pieces):
    """The same in the native kernels (native/coarsening.cpp)."""

    def traits(self, A: Any, theta: float) -> tuple[float, float, float]:
        return kernels.native.coarsening_traits(*csr_arrays(A), theta)

    def balancing_signs(self, A: Any) -> tuple[np.ndarray, float]:
        return kernels.native.balancing_signs(*csr_arrays(A), _CLASSICAL_THETA)

    def transpose(self, indptr: np.ndarray, indices: np.ndarray) -> Pattern:
        return kernels.native.transpose_pattern(plain(indptr, np.int32), plain(indices, np.int32), len(indptr) - 1)

    def symmetric_strength(self, A: Any, theta: float, block: int) -> Pattern:
        return kernels.native.symmetric_strength(*csr_arrays(A), theta, block)

    def classical_strength(self, A: Any, theta: float) -> Pattern:
        return kernels.native.classical_strength(*csr_arrays(A), theta)

    def smoothed_prolongator(
        self, A: Any, strength: Pattern, block: int, aggregate: np.ndarray, candidate: np.ndarray, count: int
    ) -> sp.csr_array:
        P = kernels.native.smoothed_prolongator(
            *csr_arrays(A), *_plain(strength), block, plain(aggregate, np.int32), plain(candidate, np.float64)
        )
        return _csr(P, (A.shape[0], count))

    def classical_prolongator(self, A: Any, strength: Pattern, splitting: np.ndarray, count: int) -> sp.csr_array:
        P = kernels.native.classical_prolongator(*csr_arrays(A), *_plain(strength), plain(splitting, np.int32))
        return _csr(P, (A.shape[0], count))

    def galerkin(self, A: Any, P: Any) -> sp.csr_array:
        C = kernels.native.galerkin(*csr_arrays(A), *csr_arrays(P), P.shape[1])
        return _csr(C, (P.shape[1], P.shape[1]))


def _plain(strength: Pattern) -> Pattern:
    indptr, indices = strength
    return plain(indptr, np.int32), plain(indices, np.int32)


def _csr(arrays: tuple[np.ndarray, np.ndarray, np.ndarray], shape: tuple[int, int]) -> sp.csr_array:
    indptr, indices, data = arrays
    return sp.csr_array((data, indices, indptr), shape=shape)


def _strong(squares: Any, theta: float, d: np.ndarray) -> Pattern:
    """The pattern of squared entries that are not small beside the diagonal d."""
    i, j, a = squares.row, squares.col, squares.data
    keep = (i != j) & (a != 0) & (a >= theta**2 * d[i] * d[j])
    return _pattern(i[keep], j[keep], len(d))


def _pattern(i: np.ndarray, j: np.ndarray, n: int) -> Pattern:
    C = sp.csr_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n, n))
    indptr, indices = _arrays(C)
    return indptr.astype(np.int32, copy=False), indices.astype(np.int32, copy=False)


def _arrays(C: Any) -> Pattern:
    return C.indptr, C.indices
