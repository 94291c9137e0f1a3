"""Arrays of every wrong kind for every function that the native module binds: `attack(native, kind)`.

Each array argument in turn is replaced; the call has to end in a typed error, or do its work. That it neither crashes
nor touches foreign memory is for the process, and for the sanitizers, to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

N = 40  # rows of the matrices


@dataclass
class Victim:
    """A bound function with good arguments."""

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]


def poisson() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(indptr, indices, data) of a tridiagonal matrix with ties over ten rows."""
    A = 4.5 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1) - np.eye(N, k=10) - np.eye(N, k=-10)
    rows, columns = np.nonzero(A)
    indptr = np.searchsorted(rows, np.arange(N + 1)).astype(np.int32)
    return indptr, columns.astype(np.int32), A[rows, columns].copy()


def victims(native: Any) -> Iterator[Victim]:
    """All of them, on fresh arrays and objects."""
    indptr, indices, data = poisson()
    pattern, matrix = (indptr, indices), (indptr, indices, data)
    x, y, z = np.linspace(1, 2, 3 * N).reshape(3, N).copy()
    block = np.linspace(1, 2, 3 * N).reshape(N, 3).copy()
    identity = np.arange(N, dtype=np.int32)

    def free(name: str, *arguments: Any) -> Victim:
        return Victim(name, getattr(native, name), arguments)

    yield free("dot", x, y)
    yield free("triad", 0.5, x, y, z)
    yield free("run_share", *pattern)
    yield free("level_structure", *pattern)
    yield free("structure_features", *matrix, data[indices == np.repeat(np.arange(N), np.diff(indptr))].copy())
    yield free("reverse_cuthill_mckee", *pattern)
    yield free("permute64", *matrix, identity)
    yield free("permute32", *matrix, identity[::-1].copy())
    yield free("locality", *pattern, 8)
    yield free("check_spd", *matrix, 1e-10)
    yield free("describe_csr", *matrix)
    yield free("may_have_null_vectors", *matrix)

    yield free("fingerprint", x.view(np.uint8), 1)
    yield free("same_bytes", x.view(np.uint8), y.view(np.uint8))

    V, W0 = np.eye(12, N), block.T.copy()
    yield free("basis_products", V, W0, np.zeros((12, 3)))
    yield free("basis_subtract", V, np.ones((12, 3)), W0)
    yield free("basis_combine", V, np.ones((12, 2)), np.zeros((2, N)))
    yield free("basis_squares", W0, np.ones(3), W0[::-1].copy(), np.zeros(3))
    yield free("transpose", block, np.zeros((3, N)))

    def extend(V: Any, X: Any, W: Any, H: Any, L: Any, before: Any) -> None:
        native.basis_extend(V, 8, 2, X, W, 1.0, 1e-15, H, L, before)

    W = np.random.default_rng(0).standard_normal((4, N))
    yield Victim("basis_extend", extend, (V, W.T.copy(), W, np.zeros((8, 4)), np.zeros((4, 4)), np.zeros(4)))

    layers = [[0.1, 0.2], [1.0, 0.5], [0.0, 0.5], [0.3, 0.1], [0.2, 0.1]]
    for bits in ("64", "32", "16"):
        make = getattr(native, f"Matrix{bits}")
        yield Victim(f"Matrix{bits}", make, (*matrix, x))
        M = make(*matrix, None)
        polynomial = getattr(native, f"Polynomial{bits}")
        yield Victim(
            f"Polynomial{bits}", lambda M, s, p=polynomial: p(M, layers, 0.0, 1.0, s, 1 << 20, 1 << 22), (M, x)
        )
        P = polynomial(M, layers, 0.0, 1.0, x, 1 << 20, 1 << 22)
        yield Victim(f"Polynomial{bits}.apply", P.apply, (x, z))
        yield Victim(f"Polynomial{bits}.apply_block", P.apply_block, (block, np.empty_like(block)))

    yield Victim("BlockMatrix", native.BlockMatrix, matrix)
    vectors = block.T.copy()
    blocks = native.BlockMatrix(*matrix)
    yield Victim("BlockMatrix.product", blocks.product, (vectors, np.empty_like(vectors)))
    for single in (False, True):
        yield Victim(
            "BlockMatrix.filter",
            lambda R, scale, gamma, W, single=single: blocks.filter(R, scale, gamma, 4.0, 4.0, W, single),
            (vectors, np.ones(3), np.ones((4, 3)), np.empty_like(vectors)),
        )

    def product(*arrays: Any) -> None:
        A = native.Product.csr(*arrays)
        r, out = np.ones(N), np.zeros(N)
        cg = native.ConjugateGradients(A, None, None)
        del arrays  # only C++ has them now
        cg.run(out, r, 1e-12, 30, 0, False, True)

    yield Victim("Product.csr", product, matrix)
    A = native.Product.csr(*matrix)
    yield Victim("ConjugateGradients", lambda d: native.ConjugateGradients(A, None, d), (x,))

    def run(out: Any, r: Any) -> None:
        native.ConjugateGradients(A, None, x).run(out, r, 1e-9, 20, 0, False, True)

    yield Victim("ConjugateGradients.run", run, (np.zeros(N), np.ones(N)))

    def record(rows: Any) -> None:
        cg = native.ConjugateGradients(A, None, x)
        cg.record(rows, 1)
        del rows  # only C++ has them now
        cg.run(np.zeros(N), np.ones(N), 1e-9, 20, 0, False, True)

    yield Victim("ConjugateGradients.record", record, (np.zeros((5, N)),))

    yield Victim("Cholesky", lambda *p: native.Cholesky(*p).factor(data), pattern)
    factor = native.Cholesky(*pattern)
    yield Victim("Cholesky.factor", factor.factor, (data,))
    good = native.Cholesky(*pattern)
    good.factor(data)
    yield Victim("Cholesky.solve", good.solve, (x, 1))

    yield free("solve_quickly", *matrix, x, 1e-8, 0.0, 1e-10)
    one, small = np.ones(native.FEATURES + 3), np.ones(17)
    sizes = (6 * (2 * native.FEATURES + 3), 6, 18, 6, 6 * 38, 2 * 38, (2 * native.FEATURES + 3) * 38)
    weights = [np.full(size, 0.01, dtype=np.float32) for size in sizes]
    network = native.CostNetwork(native.FEATURES, 2, 3, 4, one, one, -one, one, small, *weights)
    yield Victim("CostNetwork.__call__", network, (one,))
    yield Victim(
        "CostNetwork",
        lambda *w: native.CostNetwork(native.FEATURES, 2, 3, 4, *w),
        (one, one, -one, one, small, *weights),
    )
    costs = native.QuickCosts(network, small, np.ones(7), np.ones(7), 1.2, 0.5, 1.5, True)
    yield Victim("QuickCosts.choose", lambda known: costs.choose(known, 100, True, 1e-8), (one[3:].copy(),))
    M = good.preconditioner()
    yield Victim("Preconditioner.multiply", M.multiply, (x, z))
    yield Victim("RepeatedCholesky", native.RepeatedCholesky, pattern)
    kept = native.RepeatedCholesky(*pattern)
    yield Victim("RepeatedCholesky.solve", lambda *a: kept.solve(*a, 1e-8, 0.0, 1e-10), (*matrix, x))
    kept.solve(*matrix, x, 1e-8, 0.0, 1e-10)
    yield Victim("RepeatedCholesky.change", lambda *a: kept.change(*a, 1e-10), matrix)
    yield Victim("RepeatedCholesky.apply", kept.apply, (x,))

    def adopt(*arrays: Any) -> None:
        later = native.RepeatedCholesky(*pattern, np.inf, good)
        later.adopt(good, *arrays, 1e-10)
        later.solve(*matrix, x, 1e-8, 0.0, 1e-10)

    yield Victim("RepeatedCholesky.adopt", adopt, matrix)
    yield Victim("Deflation", lambda *a: native.Deflation(*a[:2], None, a[2]), (np.eye(3, N), np.eye(3, N), x))
    yield Victim("Deflation.multiply", native.Deflation(np.eye(3, N), np.eye(3, N), M, None).multiply, (x, z))
    yield Victim("RepeatedCholesky.solve_again", lambda b: kept.solve_again(b, 1e-8, 0.0), (x,))

    for upper in (False, True):
        yield free("factor_incomplete", *matrix, 0.0, 0.0, True, False, upper)
    made = native.factor_incomplete(*matrix, 0.0, 0.0, True, True, True)[0]
    yield Victim("IncompleteCholesky.solve", made.solve, (x, z))
    yield Victim("IncompleteCholesky.solve_block", made.solve_block, (block, np.empty_like(block)))

    yield free("coarsening_traits", *matrix, 0.25)
    yield free("balancing_signs", *matrix, 0.25)
    yield free("transpose_pattern", *pattern, N)
    yield free("symmetric_strength", *matrix, 0.1, 1)
    yield free("symmetric_strength", *matrix, 0.1, 2)
    yield free("classical_strength", *matrix, 0.25)
    strong = native.classical_strength(*matrix, 0.25)[:2]
    thirds, prolongation = identity // 3, (np.arange(N + 1, dtype=np.int32), identity // 3, np.ones(N))
    yield free("smoothed_prolongator", *matrix, *strong, 1, thirds, np.ones(N))
    yield free("classical_prolongator", *matrix, *strong, identity % 2)
    yield free("galerkin", *matrix, *prolongation, 14)
    scale, coarse_scale = 1 / np.sqrt(np.full(N, 4.5)), np.ones(14)
    coarse = tuple(native.galerkin(*matrix, *prolongation, 14))
    rows = np.ones(2)

    def cycle(*parts: Any) -> None:
        """A hierarchy of two levels from its nineteen arrays."""
        multigrid = native.make_multigrid(False)
        multigrid.add_level(*parts[:8])
        multigrid.add_coarsest(*parts[8:12])
        multigrid.invert()
        multigrid.set_smoother(0, *parts[12:17], 0.0, 2.0)
        multigrid.lanczos(0, 5)
        multigrid.apply(*parts[17:])

    level = (*matrix, scale, *prolongation, coarse_scale)
    yield Victim("Multigrid.cycle", cycle, (*level, *coarse, coarse_scale, *[rows] * 5, x, z))


# --------------------------------------------------------------------------------------------------------
# What is done to an array


def strided(a: np.ndarray) -> np.ndarray:
    wide = np.repeat(a, 2, axis=-1)
    return wide[..., ::2]


def misaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw[1:].view(a.dtype).reshape(a.shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def with_entry(value: float, where: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(a: np.ndarray) -> np.ndarray:
        a = a.copy()
        if a.size:
            a.flat[where % a.size] = (
                np.clip(value, np.iinfo(a.dtype).min, np.iinfo(a.dtype).max) if a.dtype.kind in "iu" else value
            )
        return a

    return change


ATTACKS: dict[str, Callable[[np.ndarray], Any]] = {
    "strided": strided,
    "reversed": lambda a: np.flip(a.copy(), axis=-1),
    "misaligned": misaligned,
    "read-only": read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "empty": lambda a: np.empty((0,) * a.ndim, a.dtype),
    "too short": lambda a: a[:-1].copy(),
    "much too short": lambda a: a[:1].copy(),
    "too long": lambda a: np.concatenate([a, a]),
    "wider integers": lambda a: a.astype(np.int64),
    "narrower floats": lambda a: a.astype(np.float32),
    "complex": lambda a: a.astype(np.complex128),
    "objects": lambda a: a.astype(object),
    "another dimension": lambda a: a[..., None].copy(),
    "a list": lambda a: a.tolist(),
    "None": lambda a: None,
    "out of range": with_entry(2**30, 7),
    "just out of range": with_entry(N, -2),
    "negative": with_entry(-1, 9),
    "very negative": with_entry(-(2**31), 3),
    "last too large": with_entry(2**28, -1),
    "first not zero": with_entry(1, 0),
    "NaN": lambda a: with_entry(np.nan, 5)(a) if a.dtype.kind == "f" else np.flip(a).copy(),
    "shuffled": lambda a: np.random.default_rng(0).permutation(a),
    "all the same": lambda a: np.full_like(a, a.flat[-1] if a.size else 0),
}

# Typed: nnla.errors.ShapeError is a ValueError; a TypeError is what nanobind says of arrays that are not taken.
EXPECTED = (TypeError, ValueError, RuntimeError)


def attack(native: Any, kind: str) -> int:
    """Every function, every array argument in turn; returns how many calls were refused."""
    change, refused = ATTACKS[kind], 0
    for victim in victims(native):
        for j, part in enumerate(victim.arguments):
            if not isinstance(part, np.ndarray):
                continue
            arguments = [one.copy() if isinstance(one, np.ndarray) else one for one in victim.arguments]
            arguments[j] = change(part)
            try:
                victim.call(*arguments)
            except EXPECTED:
                refused += 1
    return refused
