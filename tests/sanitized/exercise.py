"""Call everything that the native module binds, on every awkward pattern: run by a build with sanitizers.

Usage: python exercise.py MODULE [THREADS]. MODULE is the path of a built ``_native``. Ends with status 0 and
"exercised N functions" if no sanitizer stopped it. A new bound name needs an entry in `EXERCISES`.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).parent))
from attack import ATTACKS, attack

SIZES = (1, 2, 15, 16, 17, 33, 70)
EXERCISES = {}


def exercise(*names):
    """Register a function of (native, A, rng) that calls these bound names for one canonical SPD matrix A."""

    def register(function):
        for name in names:
            EXERCISES[name] = function
        return function

    return register


# --------------------------------------------------------------------------------------------------------
# Patterns


def canonical(pattern, rng):
    """A symmetric positive definite CSR matrix with the off-diagonal pattern of `pattern`."""
    B = sp.csr_array(pattern).astype(float)
    B.data = -rng.random(B.nnz) - 0.1
    B = sp.csr_array(B + B.T)
    A = sp.csr_array(B - sp.diags_array(B.diagonal()) + sp.diags_array(np.asarray(abs(B).sum(axis=1)).ravel() + 0.5))
    A.sum_duplicates()
    A.eliminate_zeros()
    A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    return A


def matrices(rng):
    """Every kind of pattern in every size: rows of one entry, dense rows, arrows, bands, pieces, noise."""
    for n in SIZES:
        i = np.arange(n)
        arrow = sp.csr_array((np.ones(2 * n), (np.r_[i, 0 * i], np.r_[0 * i, i])), shape=(n, n))
        far = sp.csr_array((np.ones(n), (i, i[::-1])), shape=(n, n))
        pieces = sp.csr_array(np.add.outer(i // 5, -(i // 5)) == 0)
        bands = [sp.diags_array(np.ones(n - k), offsets=k, shape=(n, n)) for k in (1, 3, 16) if k < n]
        noise = [sp.random_array((n, n), density=d, rng=rng) for d in (0.02, 0.2)]
        dense_row = noise[0] + sp.csr_array((np.ones(n), (0 * i + n // 2, i)), shape=(n, n))
        some = [sp.eye_array(n), np.ones((n, n)), arrow, arrow[::-1, ::-1], far, pieces, dense_row, *bands, *noise]
        for pattern in some:
            yield canonical(pattern, rng)
        if bands:
            yield canonical(sum(bands[1:], bands[0]), rng)


def larger(rng):
    """Enough rows for several chunks and threads."""
    line = sp.diags_array([np.ones(69), np.ones(69)], offsets=[-1, 1])
    yield canonical(sp.kron(line, sp.eye_array(70)) + sp.kron(sp.eye_array(70), line), rng)
    yield canonical(sp.random_array((3001, 3001), density=1e-3, rng=rng), rng)
    wide = sp.random_array((2007, 2007), density=3e-4, rng=rng).tolil()
    wide[17, ::2] = 1.0
    yield canonical(wide, rng)


# --------------------------------------------------------------------------------------------------------
# What is called


@exercise("check_spd", "describe_csr")
def checks(native, A, rng):
    for wide in (np.int32, np.int64):
        parts = A.indptr.astype(wide), A.indices.astype(wide), A.data
        assert native.check_spd(*parts, 1e-10)[1] == A.nnz
        assert native.describe_csr(*parts)[1] == A.nnz
        for _ in range(6):  # nothing that arrays can hold may be followed out of bounds
            indptr, indices, data = (part.copy() for part in parts)
            if indices.size:
                indices[rng.integers(indices.size)] = rng.choice([-1, 0, A.shape[0], np.iinfo(wide).max])
            indptr[rng.integers(indptr.size)] += rng.choice([-(2**31), -1, 1, 2**20, 2**30]).astype(wide)
            native.check_spd(indptr, indices, data, 1e-10)
            native.describe_csr(indptr, indices, data)
        native.check_spd(parts[0], parts[1][:-1], parts[2], 1e-10)
        native.check_spd(parts[0], parts[1], rng.standard_normal(A.nnz), 1e-10)
        native.check_spd(parts[0], parts[1], parts[2] * (1 + 1e-15 * rng.standard_normal(A.nnz)), 1e-10)
    native.check_spd(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0), 1e-10)
    native.describe_csr(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0))


@exercise("may_have_null_vectors")
def null_vectors(native, A, rng):
    assert not native.may_have_null_vectors(A.indptr, A.indices, A.data)
    laplacian = A - sp.diags_array(A @ np.ones(A.shape[0]))
    laplacian.sort_indices()
    assert native.may_have_null_vectors(laplacian.indptr, laplacian.indices, laplacian.data)


@exercise("reverse_cuthill_mckee", "permute64", "permute32", "locality")
def reordering(native, A, rng):
    n = A.shape[0]
    upper = sp.triu(A, format="csr")  # not symmetric, and with empty rows
    upper.data[rng.random(upper.nnz) < 0.5] = 0.0
    upper.eliminate_zeros()
    for B in (A, sp.csr_array(upper), sp.csr_array((0, 0)), sp.csr_array((n, n))):
        parts = B.indptr.astype(np.int32), B.indices.astype(np.int32)
        order = native.reverse_cuthill_mckee(*parts)
        assert np.array_equal(np.sort(order), np.arange(B.shape[0]))
        native.permute64(*parts, B.data, order)
        native.permute32(*parts, B.data, rng.permutation(B.shape[0]).astype(np.int32))
        for per_line in (8, 16):
            native.locality(*parts, per_line)


@exercise("Matrix64", "Matrix32", "Matrix16", "Polynomial64", "Polynomial32", "Polynomial16", "Preconditioner")
def polynomials(native, A, rng):
    from nnla.kernels.system import native_layers
    from nnla.polynomials.classical import richardson
    from nnla.polynomials.recurrence import chebyshev

    n = A.shape[0]
    scale = 1 / np.sqrt(A.diagonal())
    top = 2.0 * float(abs(A).sum(axis=1).max())
    x = rng.standard_normal(n)
    many = rng.standard_normal((n, 5))
    for kind, digits in (("64", 1e-10), ("32", 1e-2), ("16", 1.0)):
        for s in (None, scale):
            M = getattr(native, f"Matrix{kind}")(A.indptr, A.indices, A.data, s)
            assert M.n == n
            assert M.bytes >= 0
            assert len(M.census) == 5
            b = top if s is None else 2.5 * n
            for recurrence in (chebyshev(b / 50, b, 5), chebyshev(b / 50, b, 1), richardson(b, 3)):
                layers = native_layers(recurrence)
                if layers is None:
                    continue
                for near, far in ((0, 0), (1 << 12, 1 << 14), (1 << 20, 1 << 23)):
                    P = getattr(native, f"Polynomial{kind}")(M, *layers, s, near, far)
                    z = np.empty(n)
                    P.apply(x, z)
                    Z = np.empty((n, 5))
                    P.apply_block(many, Z)
                    P.apply_block(np.ascontiguousarray(many[:, :1]), Z[:, :1].copy())
                    again = np.empty(n)
                    P.apply(x, again)
                    assert np.array_equal(z, again)
                    if s is None:
                        exact = recurrence.apply(A.__matmul__, x)
                        assert np.linalg.norm(z - exact) <= digits * np.linalg.norm(exact)


@exercise("BlockMatrix")
def blocks(native, A, rng):
    n = A.shape[0]
    M = native.BlockMatrix(A.indptr, A.indices, A.data)
    assert M.n == n
    far = 2.0 * float(abs(A).sum(axis=1).max())
    for vectors in (0, 1, 4, 5, 9, 16, 21):
        X = rng.standard_normal((vectors, n))
        Y, W = np.empty((2, vectors, n))
        M.product(X, Y)
        assert np.allclose(Y, (A @ X.T).T)
        for single, digits in ((False, 1e-10), (True, 1e-3)):
            # z = r, then 2 S r + 2 r with S = 1 - 2 A / far
            M.filter(X, np.ones(vectors), np.array([[1.0], [2.0]]) * np.ones(vectors), far / 2, far / 2, W, single)
            assert np.allclose(W, 4 * X - 4 / far * Y, rtol=digits, atol=digits)


@exercise("Product", "ConjugateGradients")
def conjugate_gradients(native, A, rng):
    n = A.shape[0]
    inverse = 1 / A.diagonal()
    b = rng.standard_normal(n)
    products = [native.Product.csr(A.indptr, A.indices, A.data)]
    products.append(native.Product.sliced(native.Matrix64(A.indptr, A.indices, A.data, None)))
    for (first, second), M, one in itertools.product((products, products[::-1]), (None, inverse), (False, True)):
        cg = native.ConjugateGradients(first, None, M)
        x, r = np.zeros(n), b.copy()
        cg.run(x, r, 1e-9 * np.linalg.norm(b), 5, 0, one, True)
        cg.use(second)
        cg.run(x, r, 1e-9 * np.linalg.norm(b), 10 * n + 10, 50, one, False)
        cg.next_beta()
        assert np.linalg.norm(b - A @ x) <= 1e-6 * np.linalg.norm(b)
        assert len(cg.alphas) == cg.iterations == len(cg.norms)


@exercise("Cholesky")
def cholesky(native, A, rng):
    from nnla.kernels.cholesky import Cholesky

    n = A.shape[0]
    factor = Cholesky(A).factor()
    for columns in (1, 3, 5, 9, 16):
        b = rng.standard_normal((n, columns))
        assert np.linalg.norm(b - A @ factor.solve(b)) <= 1e-9 * np.linalg.norm(b)
    factor.factor(2 * A.data)
    assert np.array_equal(np.sort(factor.order), np.arange(n))
    raw = native.Cholesky(A.indptr, A.indices, 0.0)
    if not raw.complete:
        assert not raw.factored
    assert native.Cholesky(A.indptr, A.indices).factor(-A.data) >= 0  # a row without a pivot
    signed = native.Cholesky(A.indptr, A.indices)
    assert signed.factor(-A.data, True) == -1
    assert signed.negative == A.shape[0]
    assert 0.99 < signed.growth() < 1.01
    signed.solve(np.ones(A.shape[0]))


@exercise("solve_quickly")
def quick_solve(native, A, rng):
    b = rng.standard_normal(A.shape[0])
    shifts = (0.0, 100.0, -0.4, -3.0)  # direct, iterated, hardly definite, not definite
    for shift, index in itertools.product(shifts, (np.int32, np.int64)):
        B = sp.csr_array(A + shift * sp.eye_array(A.shape[0]))
        arrays = B.indptr.astype(index), B.indices.astype(index), B.data
        found = native.solve_quickly(*arrays, b, 1e-10, 0.0, 1e-10)
        if not isinstance(found, int):
            assert np.linalg.norm(b - B @ found[0]) <= 1e-9 * np.linalg.norm(b)


def learned_costs(native, rng):
    """A network of random weights and what the quick solve makes of it."""
    features, structure, members, hidden, failures, targets = native.FEATURES + 3, native.FEATURES, 2, 4, 4, 17
    inputs, outputs = features + structure, 2 * targets + failures
    sizes = (inputs * members * hidden, members * hidden, members * hidden**2, members * hidden)
    sizes += (members * hidden * outputs, members * outputs, inputs * outputs)
    floats = [(0.05 * rng.standard_normal(size)).astype(np.float32) for size in sizes]
    one = np.ones(features)
    network = native.CostNetwork(
        structure, members, hidden, failures, 0 * one, one, -one, one, np.ones(targets), *floats
    )
    shifts = np.full(targets, -7.0)
    return network, native.QuickCosts(network, shifts, np.zeros(7), np.zeros(7), 1.2, 0.5, 1.5, True)


@exercise("CostNetwork", "QuickCosts")
def costs(native, A, rng):
    network, kept = learned_costs(native, rng)
    x = rng.standard_normal(native.FEATURES + 3)
    mean, std, failure, outside = network(x)
    assert len(mean) == len(std) == 17
    assert min(std) > 0
    assert all(0 < p < 1 for p in failure)
    assert outside >= 0
    x[::3] = np.nan
    assert np.isfinite(network(x)[0]).all()
    known = native.structure_features(A.indptr, A.indices, A.data, A.diagonal(), False)
    for n in (A.shape[0], 10_000):
        assert len(kept.choose(known, n, True, 1e-8)[0]) == 5
    assert kept.factoring(1e6, 1e4, 1e3) > 0
    if A.shape[0] != max(SIZES):  # a large one takes long under sanitizers
        return
    B = sp.kron(sp.eye_array(-(-25_000 // A.nnz)), A, format="csr")
    b = rng.standard_normal(B.shape[0])
    for method in (0, 2):
        found = native.solve_quickly(B.indptr, B.indices, B.data, b, 1e-8, 0.0, 1e-10, method, kept)
        if not isinstance(found, int | float):
            assert np.linalg.norm(b - B @ found[0]) <= 1e-7 * np.linalg.norm(b)


@exercise("fingerprint", "same_bytes")
def fingerprints(native, A, rng):
    from nnla.kernels.fingerprints import fingerprint, same_values

    for array in (A.data, A.indices, A.data[::2], A.data.view(np.uint8)[: A.data.nbytes - 3]):
        assert fingerprint(array) == fingerprint(array.copy())
        assert same_values(array, array.copy())
    assert not same_values(A.data, 2 * A.data)


@exercise("Deflation")
def deflation(native, A, rng):
    from nnla import as_operator
    from nnla.krylov.deflated_cg import Harvest
    from nnla.krylov.solution_space import SolutionSpace
    from nnla.krylov.start import start_cg
    from nnla.preconditioners.deflation import DeflatedPreconditioner
    from nnla.preconditioners.scalings import bind_scaling

    rng = np.random.default_rng(A.nnz)  # the others go on with what they had
    op, n = as_operator(A), A.shape[0]
    space, basis, harvest = SolutionSpace(n, 3), None, Harvest(n, 2, 8)
    for scaling in ("none", "jacobi", "ic"):
        b = rng.standard_normal(n)
        x, _ = space.guess(b)
        r = b - op.matvec(x)
        M = bind_scaling(op, scaling)
        if basis is not None:
            x, r = x + basis.solve(r), r - basis.image(r)
            M = DeflatedPreconditioner(M, basis)
        size = np.linalg.norm(b)
        targets = np.array([1e-8 * size])
        options = {"targets": targets, "sizes": np.array([size]), "M": M, "harvest": harvest}
        cg = start_cg(op, b, x=x, residual=r, **options)
        cg.advance(10 * n + 100)
        assert np.linalg.norm(b - A @ cg.result.x) <= 1e-6 * size
        space.add(cg.result.x, A @ cg.result.x)
        space.renew(op)
        basis = harvest.basis(op, basis)


@exercise("RepeatedCholesky")
def repeated_solve(native, A, rng):
    n = A.shape[0]
    rng = np.random.default_rng(A.nnz)  # the others go on with what they had
    kept = native.RepeatedCholesky(A.indptr, A.indices)
    M, z = None, np.empty(n)
    for shift in (0.0, 0.0, 100.0, -3.0, 1.0):
        B = sp.csr_array(A + shift * sp.eye_array(n))
        b = rng.standard_normal(n)
        for index in (np.int32, np.int64):
            found = kept.solve(B.indptr.astype(index), B.indices.astype(index), B.data, b, 1e-10, 0.0, 1e-10)
            if not isinstance(found, int):
                assert np.linalg.norm(b - B @ found[0]) <= 1e-9 * np.linalg.norm(b)
                M = kept.preconditioner()
                kept.solve_again(b, 1e-10, 0.0)
            if M is not None:
                M.multiply(b, z)


@exercise("IncompleteCholesky", "factor_incomplete")
def incomplete_cholesky(native, A, rng):
    from nnla.preconditioners.incomplete_cholesky import ic0

    n = A.shape[0]
    b = rng.standard_normal((n, 9))
    for dtype, modified in itertools.product((np.float64, np.float32), (0.0, 0.9)):
        made = ic0(A, shift="auto", modified=modified, dtype=dtype)
        columns = np.stack([made.solve(b[:, j].copy()) for j in range(9)], axis=1)
        assert np.allclose(made.solve(b), columns, rtol=1e-3, atol=1e-5)
        made.native.lower()
    for upper in (False, True):
        assert native.factor_incomplete(A.indptr, A.indices, -A.data, 0.0, 0.0, True, False, upper)[0] is None


@exercise(
    "Multigrid",
    "make_multigrid",
    "transpose_pattern",
    "balancing_signs",
    "symmetric_strength",
    "classical_strength",
    "smoothed_prolongator",
    "classical_prolongator",
    "galerkin",
)
def multigrid(native, A, rng):
    n = A.shape[0]
    parts = A.indptr, A.indices, A.data
    native.transpose_pattern(A.indptr, A.indices, n)
    i = np.arange(n, dtype=np.int32)
    for theta in (0.0, 0.25, 1.0):
        native.balancing_signs(*parts, theta)
        strong = native.symmetric_strength(*parts, theta, 1)
        native.smoothed_prolongator(*parts, *strong[:2], 1, i // 3, rng.random(n) + 0.5)
        native.smoothed_prolongator(
            *parts, *strong[:2], 1, np.where(i % 4 == 0, -1, i // 4).astype(np.int32), np.ones(n)
        )
        if n % 2 == 0:
            native.symmetric_strength(*parts, theta, 2)
        strong = native.classical_strength(*parts, theta)
        for splitting in (i % 2, 0 * i, 0 * i + 1):
            native.classical_prolongator(*parts, *strong[:2], splitting)
    P = sp.csr_array((rng.random(n), i // 3, np.arange(n + 1, dtype=np.int32)), shape=(n, -(-n // 3)))
    native.galerkin(*parts, P.indptr.astype(np.int32), P.indices.astype(np.int32), P.data, P.shape[1])
    if importlib.util.find_spec("pyamg") is None:
        return
    from nnla.preconditioners.multigrid import multigrid

    b = rng.standard_normal(n)
    for kind, single in itertools.product(("aggregation", "classical"), (False, True)):
        made = multigrid(A, kind=kind, single=single)
        x = made.solve(b)
        assert np.all(np.isfinite(x))
        assert np.array_equal(x, made.solve(b))


@exercise("coarsening_traits", "dot", "level_structure", "run_share", "structure_features", "triad")
def measures(native, A, rng):
    n = A.shape[0]
    x, y, z = rng.standard_normal((3, n))
    assert np.isclose(native.dot(x, y), x @ y)
    native.triad(0.5, x, y, z)
    assert np.allclose(z, x + 0.5 * y)
    empty = np.zeros(0)
    native.dot(empty, empty)
    native.triad(0.5, empty, empty, empty.copy())
    native.coarsening_traits(A.indptr, A.indices, A.data, 0.25)
    assert 0 <= native.run_share(A.indptr, A.indices) <= 1
    assert native.level_structure(A.indptr, A.indices)[0] >= 1
    known = native.structure_features(A.indptr, A.indices, A.data, A.diagonal())
    assert known.size == native.FEATURES
    assert np.isfinite(known[: native.VALUE_FEATURES]).all()


@exercise("basis_products", "basis_subtract", "basis_combine", "basis_extend", "basis_squares", "transpose")
def basis(native, A, rng):
    from nnla.kernels.basis import combine, extend, products, project, squares, transposed

    n = A.shape[0]
    for b, m in itertools.product((1, 2, 3, 4, 5, 8), (0, 1, 2, 7, 14, 29)):
        if m + b > n:
            continue
        V = np.zeros((m + b, n))
        V[:m] = np.linalg.qr(rng.standard_normal((n, m)))[0].T
        W = rng.standard_normal((b, n))
        assert np.allclose(products(V, W), V @ W.T)
        assert np.allclose(squares(W, np.arange(b) + 0.0, 2 * W), ((1 - 2 * np.arange(b)) ** 2 * squares(W).T))
        X = W.copy()
        assert np.allclose(X + project(V[:m], X, X).T @ V[:m], W)
        done = extend(V, m, m // 2, W.T.copy(), X, 0.0, 1e-15)
        assert done is not None
        if done.L is not None:
            assert np.allclose(done.H.T @ V[:m] + done.L @ V[m:], W)
            assert np.allclose(V @ V.T, np.eye(m + b), atol=1e-13)
        dependent = extend(V, m, 0, (V[:m].T @ rng.standard_normal((m, b))).copy(), X, 1.0, 1e-13)
        assert dependent is not None
        assert m == 0 or dependent.L is None
        C = rng.standard_normal((m + b, b))
        expected = C.T @ V
        assert np.allclose(combine(V, C), expected)
        assert np.allclose(combine(V, C, V[m:]), expected)
        assert np.array_equal(transposed(V), V.T)


@exercise("isa", "max_threads", "set_threads", "set_deadline")
def settings(native, A, rng):
    before = native.max_threads()
    native.set_deadline(100.0)
    native.set_deadline(None)
    assert native.isa()
    native.set_threads(1)
    native.set_threads(before)


def solves(A, rng):
    """The library's own use of all this, with several right-hand sides, too."""
    import nnla

    n = A.shape[0]
    for method in ("auto", "cg", "jacobi", "autospec", "chebyshev", "ic"):
        for b in (rng.standard_normal(n), rng.standard_normal((n, 3))):
            assert nnla.solve(A, b, method=method, rtol=1e-6, maxiter=200).report.products > 0


def interruptions(native):
    """Whatever the limit of time ends releases what it had, and leaves objects that work."""
    import nnla
    from nnla.kernels.interruption import time_limit

    A = nnla.problems.poisson2d(150)
    b = np.ones(A.shape[0])
    for method in ("cg", "ic", "autospec", "direct"):
        for seconds in (0.0, 0.02):
            try:
                with time_limit(seconds):
                    nnla.solve(A, b, method=method, rtol=1e-10)
            except nnla.errors.TimeLimitError:
                pass
        assert nnla.solve(A, b, method=method).report.converged


def main(path, threads=1):
    spec = importlib.util.spec_from_file_location("nnla.kernels._native", path)
    native = importlib.util.module_from_spec(spec)
    sys.modules["nnla.kernels._native"] = native  # before nnla looks for its own
    spec.loader.exec_module(native)
    from nnla import kernels

    assert kernels.native is native, "nnla did not take the module under test"
    native.set_threads(threads)
    bound = {name for name in dir(native) if not name.startswith("_") and callable(getattr(native, name))}
    if bound - set(EXERCISES):
        sys.exit(f"no exercise for {sorted(bound - set(EXERCISES))}; add one to {__file__}")
    functions = list(dict.fromkeys(function for name, function in EXERCISES.items() if name in bound))
    rng = np.random.default_rng(0)
    # threads come into play for the larger ones only
    for k, A in enumerate(itertools.chain(matrices(rng) if threads == 1 else (), larger(rng))):
        for function in functions:
            function(native, A, rng)
        if k % 5 == 0 or A.shape[0] > 1000:
            solves(A, rng)
    if threads == 1:
        for kind in ATTACKS:
            attack(native, kind)
        interruptions(native)
    print(f"exercised {len(bound)} functions")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
