"""One object among threads, forks and handlers of signals: nobody waits for anybody, and nobody's work is disturbed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NotPositiveDefiniteError
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.preconditioners.incomplete_cholesky import ic0
from nnla.preconditioners.multigrid import multigrid

pytestmark = pytest.mark.usefixtures("native_kernels")


def python(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NNLA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def together(*jobs, repeat=1):
    """Run the jobs in threads of their own; returns what went wrong."""
    errors: list[BaseException] = []

    def run(job):
        try:
            for _ in range(repeat):
                job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


# --------------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.parametrize("method", ["cg", "autospec", "ic"])
def test_reports_of_a_shared_operator_count_their_own_products(method):
    op = nnla.as_operator(nnla.problems.poisson2d(40))
    rhs = [np.random.default_rng(k).standard_normal(op.n) for k in range(4)]
    alone = [nnla.solve(op, b, method=method).report.products for b in rhs]
    before, wrong = op.products, []

    def job(k):
        if nnla.solve(op, rhs[k], method=method).report.products != alone[k]:
            wrong.append(k)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert together(*[lambda k=k: job(k) for k in range(4)], repeat=5) == []
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert op.products == before  # this thread has done none


def test_a_shared_polynomial_counts_by_thread():
    A = nnla.problems.poisson2d(30)
    M = nnla.preconditioner(A, method="chebyshev")
    b = np.ones(A.shape[0])
    counts = []

    def job():
        before = M.applies
        M(b)
        counts.append(M.applies - before)

    assert together(*[job] * 4, repeat=20) == []
    assert set(counts) == {1}


def test_threads_factor_and_solve_with_one_object():
    A = nnla.problems.poisson2d(60)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    factor = Cholesky(A).factor()
    alone, wrong = factor.solve(b), []

    def solve():
        if not np.array_equal(factor.solve(b), alone):
            wrong.append(1)

    assert together(*[lambda: factor.factor(A.data)] * 2, *[solve] * 3, repeat=25) == []
    assert wrong == []


def test_refactoring_in_place_where_memory_allows_for_one_factor_only():
    A = nnla.problems.poisson2d(20)
    factor = Cholesky(A).factor()
    factor.factor(2 * A.data, max_bytes=1.5 * factor.nbytes)
    assert np.allclose(2 * (A @ factor.solve(np.ones(400))), 1.0)
    with pytest.raises(NotPositiveDefiniteError):
        factor.factor(-A.data)
    with pytest.raises(nnla.errors.OptionError, match="no factor"):
        factor.solve(np.ones(400))


def _appliers(A):
    yield "polynomial", nnla.preconditioner(A, method="chebyshev")
    yield "single", nnla.preconditioner(A, method="chebyshev", dtype=np.float32)
    yield "ic", ic0(A).solve
    yield "cholesky", Cholesky(A).factor().solve
    with contextlib.suppress(nnla.errors.MissingDependencyError):
        yield "multigrid", multigrid(A).solve


@pytest.mark.parametrize("columns", [1, 5])
def test_bitwise_the_same_with_one_thread_and_with_two(columns):
    A = nnla.as_operator(nnla.problems.poisson2d(180)).csr
    B = np.random.default_rng(0).standard_normal((A.shape[0], columns)).squeeze()
    found = []
    for threads in (1, 2):
        native.set_threads(threads)
        found.append({name: apply(B) for name, apply in _appliers(A) if columns == 1 or name != "multigrid"})
        order = native.reverse_cuthill_mckee(A.indptr, A.indices)
        found[-1]["order"], found[-1]["permuted"] = order, native.permute64(A.indptr, A.indices, A.data, order)[0]
        x = np.linspace(0, 1, 200_000)
        found[-1]["dot"] = native.dot(x, x)
        P = sp.csr_array((np.ones(A.shape[0]), np.arange(A.shape[0], dtype=np.int32) // 4, np.arange(A.shape[0] + 1)))
        arrays = P.indptr.astype(np.int32), P.indices.astype(np.int32), P.data
        found[-1]["galerkin"] = native.galerkin(A.indptr, A.indices, A.data, *arrays, P.shape[1])[2]
        for method in ("cg", "jacobi") if columns == 1 else ():
            found[-1][method] = nnla.solve(A, B, method=method, rtol=1e-4).x
    native.set_threads(0)
    for name, one in found[0].items():
        assert np.array_equal(one, found[1][name]), name


# --------------------------------------------------------------------------------------------------------
# Handlers of signals


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX signals")
def test_a_handler_uses_the_object_that_it_interrupts():
    """Work space in use by the interrupted call is not waited for, and not written into."""
    code = """
import signal, time
import numpy as np, nnla
from nnla.preconditioners.incomplete_cholesky import ic0
A = nnla.problems.poisson2d(200)
b = np.random.default_rng(0).standard_normal(A.shape[0])
M = nnla.preconditioner(A, method="chebyshev")
factor = ic0(A)
B = np.tile(b[:, None], 16)
jobs = [lambda: nnla.solve(A, b, M=M, maxiter=10).x, lambda: factor.solve(B), lambda: M(b)]
alone = [job() for job in jobs]
seen, inside = [], []

def handler(number, frame):
    if not inside:
        inside.append(1)
        seen.append(np.array_equal(M(b), alone[2]) and np.array_equal(factor.solve(b), alone[1][:, 0]))
        inside.clear()

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
until = time.monotonic() + 1
while time.monotonic() < until or not seen:
    for job, x in zip(jobs, alone):
        assert np.array_equal(job(), x)
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen and all(seen)
"""
    python(code)


# --------------------------------------------------------------------------------------------------------
# Forks, and systems without another thread


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_threads_hold_work_space():
    code = """
import os, threading, time
import numpy as np, nnla
from nnla.kernels import native
from nnla.preconditioners.incomplete_cholesky import ic0
native.set_threads(2)
A = nnla.problems.poisson2d(100)
b = np.ones(A.shape[0])
appliers = [nnla.preconditioner(A, method="chebyshev"), nnla.preconditioner(A, method="chebyshev", dtype=np.float32),
            ic0(A).solve]
try:
    from nnla.preconditioners.multigrid import multigrid
    appliers.append(multigrid(A).solve)
except nnla.errors.MissingDependencyError:
    pass
alone = [apply(b) for apply in appliers]
stop = False

def busy(apply):
    while not stop:
        apply(b)

threads = [threading.Thread(target=busy, args=(apply,), daemon=True) for apply in appliers for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(6):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(np.array_equal(apply(b), x) for apply, x in zip(appliers, alone)) else 3)
    until = time.monotonic() + 60
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            assert status == 0, status
            break
        assert time.monotonic() < until, "the child waits for a thread that it has not"
        time.sleep(0.01)
stop = True
for thread in threads:
    thread.join()
"""
    python(code)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_thread_can_be_started():
    """Then the work is done on the calling thread; the answer is the same."""
    code = """
import resource, threading
import numpy as np, nnla
from nnla.kernels import native
A = nnla.problems.poisson2d(220)
b = np.ones(A.shape[0])
native.set_threads(1)
alone = nnla.solve(A, b, method="cg").x
native.set_threads(2)
spare = [np.zeros(10**6) for _ in range(6)]
del spare
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + (7 << 20),) * 2)  # less than the stack of a thread
try:
    threading.Thread(target=print).start()
    print("a thread was started after all")
except RuntimeError:
    pass
for _ in range(2):
    assert np.array_equal(nnla.solve(A, b, method="cg").x, alone)
"""
    python(code)


# --------------------------------------------------------------------------------------------------------
# Callbacks


@pytest.mark.parametrize("method", ["cg", "jacobi", "ic"])
def test_a_callback_may_keep_and_overwrite_what_it_gets(method):
    A = nnla.problems.poisson2d(30)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    alone, kept = nnla.solve(A, b, method=method).x, []
    x = nnla.solve(A, b, method=method, callback=lambda x: x.fill(np.nan)).x
    assert np.array_equal(x, alone)
    x = nnla.solve(A, b, method=method, callback=kept.append).x
    assert len({id(one) for one in kept}) == len(kept)
    assert np.array_equal(kept[-1], x)
    assert not np.array_equal(kept[0], x)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_exceptions_of_callbacks_come_through_and_leave_a_sane_operator(error):
    op = nnla.as_operator(nnla.problems.poisson2d(30))
    b = np.random.default_rng(0).standard_normal(op.n)
    nnla.solve(op, b, method="jacobi")  # lays out the slices, which later solves on it use from the start
    alone, calls = nnla.solve(op, b, method="jacobi").x, []

    def stop(x):
        calls.append(1)
        if len(calls) == 5:
            raise error("mine")

    with pytest.raises(error, match="mine"):
        nnla.solve(op, b, method="jacobi", callback=stop)
    assert np.array_equal(nnla.solve(op, b, method="jacobi").x, alone)
