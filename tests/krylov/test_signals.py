"""Ctrl-C in a long native iteration: seen at once, and the process goes on."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("native_kernels")

CODE = """
import signal, time
import numpy as np
import nnla

A = nnla.problems.poisson2d(700)
b = np.random.default_rng(0).standard_normal(A.shape[0])
nnla.solve(A, b, method="{method}", maxiter=1)  # imports, and the slices of the matrix
sent = []

def handler(number, frame):
    sent.append(time.perf_counter())
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
began = time.perf_counter()
signal.setitimer(signal.ITIMER_REAL, 0.6)
try:
    nnla.solve(A, b, method="{method}", rtol=1e-15, maxiter=10**6)
except KeyboardInterrupt:
    late = time.perf_counter() - began - 0.6
    assert nnla.solve(A, b, method="direct").report.converged
    print(late)
"""


@pytest.mark.parametrize("method", ["cg", "jacobi", "ic"])
def test_a_long_iteration_ends_soon_after_the_signal(method):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(method=method)], capture_output=True, text=True, timeout=120, check=True
    )
    assert float(done.stdout) < 1.0  # some 0.05 s on a quiet machine
