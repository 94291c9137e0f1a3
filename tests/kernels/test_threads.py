"""The kernels among threads, forks and instruction sets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nnla
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.system import NativeSystem
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.incomplete_cholesky import ic0
from nnla.preconditioners.multigrid import multigrid

pytestmark = pytest.mark.usefixtures("native_kernels")


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SOLVES = """
import numpy as np, nnla
from nnla.kernels import native
native.set_threads(2)
def solve(seed):
    A = nnla.problems.poisson2d(200)
    b = np.random.default_rng(seed).standard_normal(A.shape[0])
    x, report = nnla.solve(A, b, method="autospec", rtol=1e-9)
    return bool(report.converged and np.linalg.norm(b - A @ x) <= 1e-9 * np.linalg.norm(b))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_solves_and_ends():
    """The pool has run with two threads in the parent; the child has none of them."""
    code = f"""{SOLVES}
import os
assert solve(0)
for generation in range(3):
    child = os.fork()
    if child == 0:
        grandchild = os.fork()  # a child's own pool is forked as well
        if grandchild == 0:
            os._exit(0 if solve(generation) else 3)
        fine = solve(generation)
        os._exit(0 if fine and os.waitpid(grandchild, 0)[1] == 0 else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert solve(generation)
"""
    python(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_multiprocessing_by_fork():
    code = f"""{SOLVES}
import multiprocessing
assert solve(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(solve, range(4)))
assert solve(9)
"""
    python(code)


def test_threads_of_python_solve_different_systems_at_once():
    native.set_threads(2)
    systems = [
        (nnla.problems.poisson2d(120 + 5 * k), np.random.default_rng(k).standard_normal((120 + 5 * k) ** 2))
        for k in range(4)
    ]
    alone = [nnla.solve(A, b, method="autospec").x for A, b in systems]
    together: list[list[np.ndarray]] = [[] for _ in systems]

    def work(k):
        for _ in range(4):
            together[k].append(nnla.solve(*systems[k], method="autospec").x)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(systems))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for one, several in zip(alone, together, strict=True):
        assert len(several) == 4
        for x in several:
            assert np.array_equal(x, one)


def shared_by_threads(apply, n, columns):
    """How often three threads that apply the same object do not get what each gets alone."""
    rng = np.random.default_rng(0)
    R = [rng.standard_normal((n, columns)).squeeze() for _ in range(3)]
    alone = [apply(r) for r in R]
    wrong: list[int] = []

    def work(k):
        for _ in range(40):
            if not np.array_equal(apply(R[k]), alone[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(wrong)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, "bfloat16"])
def test_threads_of_python_share_a_polynomial(dtype, columns):
    """An object owns its work vectors; the second caller waits."""
    A = nnla.problems.poisson2d(150)
    M = nnla.preconditioner(A, method="chebyshev", dtype=dtype)
    assert shared_by_threads(M, A.shape[0], columns) == 0


@pytest.mark.parametrize("columns", [1, 3])
def test_threads_of_python_share_factors(columns):
    A = nnla.as_operator(nnla.problems.poisson2d(120)).csr
    assert shared_by_threads(ic0(A, triangle="upper").solve, A.shape[0], columns) == 0
    assert shared_by_threads(Cholesky(A).factor().solve, A.shape[0], columns) == 0


def test_threads_of_python_share_a_multigrid_cycle():
    pytest.importorskip("pyamg")
    A = nnla.as_operator(nnla.problems.poisson2d(120)).csr
    assert shared_by_threads(multigrid(A).solve, A.shape[0], 1) == 0


def test_others_run_while_a_kernel_does(pattern_matrix):
    """A thread that counts gets on during one long call: the interpreter's lock is not held."""
    A = pattern_matrix("banded", 200_000, 0)
    recurrence = chebyshev(0.05, 1.02, 400)
    M = NativeSystem(A, A.diagonal()).polynomial(recurrence, "float64", scaled=False)
    r, z = np.ones(A.shape[0]), np.zeros(A.shape[0])
    stop, ticks = threading.Event(), []

    def count():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    started = time.perf_counter()
    M.apply(r, z)
    ended = time.perf_counter()
    stop.set()
    counter.join()
    assert ended - started > 0.02, "too short to tell"
    inside = [t for t in ticks if started + 0.1 * (ended - started) < t < ended - 0.1 * (ended - started)]
    assert len(inside) >= 3


ISA = """
import numpy as np, nnla
from nnla.kernels import native
A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((40, 37), s=1.0))
b = np.random.default_rng(0).standard_normal(A.shape[0])
z = [nnla.preconditioner(A, method="chebyshev", dtype=t)(b) for t in (np.float64, np.float32, "bfloat16")]
Z = nnla.preconditioner(A, method="chebyshev")(np.stack([b, b[::-1], 2 * b], axis=1))
x, report = nnla.solve(A, b, method="autospec", rtol=1e-10)
y, jacobi = nnla.solve(A, b, method="jacobi", rtol=1e-10)
np.savez(OUT, isa=native.isa(), z64=z[0], z32=z[1], z16=z[2], Z=Z, x=x, y=y,
         counts=[report.iterations, jacobi.iterations], fine=[report.converged, jacobi.converged])
"""


@pytest.fixture(scope="module")
def by_instruction_set(tmp_path_factory):
    found = {}
    for name in ("", "generic", "avx2"):
        path = tmp_path_factory.mktemp("isa") / "r.npz"
        python(f"OUT = {str(path)!r}\n{ISA}", NNLA_ISA=name)
        found[name] = np.load(path)
    return found


@pytest.mark.parametrize("name", ["generic", "avx2"])
def test_instruction_sets_agree_to_rounding(by_instruction_set, name):
    usual, other = by_instruction_set[""], by_instruction_set[name]
    assert str(other["isa"]) in (name, "generic")  # a machine may have less than was asked for
    for key, tolerance in (("z64", 1e-13), ("Z", 1e-13), ("z32", 1e-5), ("z16", 1e-5), ("x", 1e-7), ("y", 1e-7)):
        assert np.linalg.norm(other[key] - usual[key]) <= tolerance * np.linalg.norm(usual[key])
    assert all(other["fine"])
    assert np.all(np.abs(other["counts"] - usual["counts"]) <= 1 + usual["counts"] // 50)
