"""Limits of time, and signals, in everything that takes long."""

from __future__ import annotations

import math
import signal
import threading
import time

import numpy as np
import pytest

import nnla
from nnla.errors import NNLAError, OptionError, TimeLimitError
from nnla.kernels import native
from nnla.kernels.basis import combine, extend, products, project, squares, transposed
from nnla.kernels.cholesky import Cholesky, level_structure
from nnla.kernels.interruption import check, remaining, time_limit
from nnla.kernels.reordering import locality, permute, reverse_cuthill_mckee
from nnla.kernels.repeated import RepeatedCholesky
from nnla.kernels.system import NativeSystem
from nnla.preconditioners.incomplete_cholesky import ic0


def test_the_error_is_a_timeout():
    assert issubclass(TimeLimitError, NNLAError)
    assert issubclass(TimeLimitError, TimeoutError)


def test_none_is_no_limit():
    with time_limit(None):
        assert remaining() == math.inf
        check()


@pytest.mark.parametrize("bad", [-1.0, math.nan, -math.inf])
def test_limits_make_sense(bad):
    with pytest.raises(OptionError, match="seconds"):
        time_limit(bad)


@pytest.mark.parametrize(("outer", "inner"), [(0.0, 50.0), (50.0, 0.0), (0.0, None)])
def test_the_earlier_of_two_limits_counts(outer, inner):
    with time_limit(outer), time_limit(inner), pytest.raises(TimeLimitError):
        check()
    check()


def test_the_outer_limit_comes_back():
    limit = time_limit(100.0)
    with limit:
        with time_limit(0.0):
            assert remaining() == 0.0
        assert 90 < remaining() <= 100
        with limit:  # the same object within itself
            check()
        assert remaining() <= 100
    assert remaining() == math.inf


def test_a_limit_holds_for_its_own_thread():
    seen = []
    with time_limit(0.0):
        worker = threading.Thread(target=lambda: seen.append(remaining()))
        worker.start()
        worker.join()
    assert seen == [math.inf]


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("method", ["cg", "jacobi", "ic", "autospec"])
def test_an_iteration_ends_and_can_be_repeated(method):
    A = nnla.problems.poisson2d(300)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    alone = nnla.solve(A, b, method=method).x
    started = time.perf_counter()
    with pytest.raises(TimeLimitError), time_limit(0.05):
        nnla.solve(A, b, method=method, rtol=1e-300, maxiter=10**7)
    assert time.perf_counter() - started < 2.0  # some 0.06 s on a quiet machine
    assert np.array_equal(nnla.solve(A, b, method=method).x, alone)


# --------------------------------------------------------------------------------------------------------
# Every native loop


@pytest.fixture(scope="module")
def long_calls():
    """Name -> a call of some milliseconds in one native function."""
    if native is None:
        pytest.skip("needs the native kernels")
    A = nnla.as_operator(nnla.problems.poisson2d(300)).csr
    n = A.shape[0]
    parts = A.indptr, A.indices, A.data
    x, X = np.ones(n), np.ones((n, 5))
    order = np.random.default_rng(0).permutation(n)
    system, blocks, rows_of_five = NativeSystem(A, A.diagonal()), native.BlockMatrix(*parts), np.ones((5, n))
    M = nnla.preconditioner(A, method="chebyshev")
    incomplete, factor, repeated = ic0(A), Cholesky(A).factor(), RepeatedCholesky(A)
    strong = native.classical_strength(*parts, 0.25)[:2]
    thirds = np.arange(n, dtype=np.int32) // 3
    P = np.arange(n + 1, dtype=np.int32), thirds, np.ones(n)
    coarse = native.galerkin(*parts, *P, n // 3)
    rows = np.ones(2)
    V, W = np.zeros((20, n)), np.random.default_rng(0).standard_normal((4, n))
    V[np.arange(16), np.arange(16)] = 1.0

    def level(multigrid):
        multigrid.add_level(*parts, 1 / np.sqrt(A.diagonal()), *P, np.ones(n // 3))
        return multigrid

    def hierarchy():
        multigrid = level(native.make_multigrid(False))
        multigrid.add_coarsest(*coarse, np.ones(n // 3))
        for k in (0, 1):
            multigrid.set_smoother(k, *[rows] * 5, 0.0, 2.0)
        return multigrid

    cycle = hierarchy()
    small = nnla.as_operator(nnla.problems.poisson2d(20)).csr
    dense = native.make_multigrid(False)
    dense.add_coarsest(small.indptr, small.indices, small.data, np.ones(400))
    return {
        "check_spd": lambda: native.check_spd(*parts, 1e-10),
        "describe_csr": lambda: native.describe_csr(*parts),
        "product and vectors": lambda: nnla.solve(A, x, method="cg", rtol=1e-2),
        "slices": lambda: NativeSystem(A, A.diagonal()).matrix("float32", scaled=False),
        "polynomial": lambda: M(x),
        "polynomial of a block": lambda: M(X),
        "run share and levels": lambda: level_structure(A),
        "reverse Cuthill-McKee": lambda: reverse_cuthill_mckee(A),
        "permute": lambda: permute(A, order),
        "locality": lambda: locality(permute(A, np.arange(n))),
        "minimum degree": lambda: Cholesky(A),
        "factor": lambda: factor.factor(A.data, max_bytes=2.5 * factor.nbytes),
        "solve with it": lambda: factor.solve(X),
        "repeated solve": lambda: repeated.solve(A, x),
        "incomplete factor": lambda: ic0(A),
        "solve with that": lambda: incomplete.solve(x),
        "block solve with that": lambda: incomplete.solve(X),
        "traits": lambda: native.coarsening_traits(*parts, 0.25),
        "signs": lambda: native.balancing_signs(*parts, 0.25),
        "transpose": lambda: native.transpose_pattern(A.indptr, A.indices, n),
        "symmetric strength": lambda: native.symmetric_strength(*parts, 0.1, 1),
        "strength of blocks": lambda: native.symmetric_strength(*parts, 0.1, 2),
        "classical strength": lambda: native.classical_strength(*parts, 0.25),
        "smoothed prolongator": lambda: native.smoothed_prolongator(*parts, *strong, 1, thirds, np.ones(n)),
        "classical prolongator": lambda: native.classical_prolongator(*parts, *strong, thirds % 2),
        "Galerkin product": lambda: native.galerkin(*parts, *P, n // 3),
        "level": lambda: level(native.make_multigrid(True)),
        "Lanczos": lambda: cycle.lanczos(0, 10),
        "cycle": lambda: cycle.apply(x, np.empty(n)),
        "inverse": dense.invert,
        "products with a basis": lambda: products(V, W),
        "projection": lambda: project(V, W, np.zeros_like(W)),
        "combination": lambda: combine(V[:16], np.eye(16), V[:16]),
        "step of Lanczos": lambda: extend(V, 16, 0, W.T.copy(), np.empty_like(W), 0.0, 1e-15),
        "norms": lambda: squares(V),
        "transpose of a block": lambda: transposed(W),
        "dot": lambda: native.dot(np.ones(10**6), np.ones(10**6)),
        "system": lambda: system.product(sliced=True),
        "block matrix": lambda: native.BlockMatrix(*parts),
        "block product": lambda: blocks.product(rows_of_five, np.empty((5, n))),
        "block filter": lambda: blocks.filter(
            rows_of_five, np.ones(5), np.ones((3, 5)), 4.0, 4.0, np.empty((5, n)), True
        ),
    }


CALLS = [
    "check_spd",
    "describe_csr",
    "product and vectors",
    "slices",
    "polynomial",
    "polynomial of a block",
    "run share and levels",
    "reverse Cuthill-McKee",
    "permute",
    "locality",
    "minimum degree",
    "factor",
    "solve with it",
    "repeated solve",
    "incomplete factor",
    "solve with that",
    "block solve with that",
    "traits",
    "signs",
    "transpose",
    "symmetric strength",
    "strength of blocks",
    "classical strength",
    "smoothed prolongator",
    "classical prolongator",
    "Galerkin product",
    "level",
    "Lanczos",
    "cycle",
    "inverse",
    "products with a basis",
    "projection",
    "combination",
    "step of Lanczos",
    "norms",
    "transpose of a block",
    "dot",
    "block matrix",
    "block product",
    "block filter",
]


def often(call, count):
    for _ in range(count):
        call()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_every_long_loop_looks_at_the_limit(long_calls, name, threads):
    native.set_threads(threads)
    try:
        for _ in range(2):
            with pytest.raises(TimeLimitError), time_limit(0.0):
                often(long_calls[name], 20)  # ticks of short calls add up
            long_calls[name]()  # and what was there works
    finally:
        native.set_threads(0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["minimum degree", "factor", "polynomial", "Galerkin product", "cycle"])
def test_exceptions_of_handlers_come_out_of_a_loop(long_calls, name, threads):
    def handler(number, frame):
        raise ZeroDivisionError

    before = signal.signal(signal.SIGALRM, handler)
    native.set_threads(threads)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(ZeroDivisionError):
            often(long_calls[name], 10**6)
        long_calls[name]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        native.set_threads(0)


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")
def test_one_long_factorisation_is_not_deaf():
    """It would take many seconds; its large fronts look inside of themselves."""
    A = nnla.as_operator(nnla.problems.poisson3d(48)).csr
    factor = Cholesky(A)
    late = []

    def handler(number, frame):
        late.append(time.perf_counter())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    try:
        started = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            often(factor.factor, 50)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert late[0] - started < 2.0  # 0.32 s on a quiet machine
