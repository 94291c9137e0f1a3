"""Memory of a solve against the formula of its docstring: v arrays of b's shape and d vectors of length n."""

import re
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.krylov import conjugate_gradients
from nnla.operators import as_operator

N = 120_000
SLACK = 150_000  # bytes for Python's own objects, whatever n is
METHODS = {
    "cg": ({"method": "cg"}, (8, 0)),
    "jacobi": ({"method": "jacobi"}, (9, 1)),
    "polynomial": ({"method": "chebyshev", "degree": 7, "probe_steps": 5, "scaling": "none"}, (13, 0)),
    "over Jacobi": ({"method": "chebyshev", "degree": 7, "probe_steps": 5, "scaling": "jacobi"}, (15, 1)),
}


@pytest.fixture(scope="module")
def op():
    off = np.full(N - 1, -1.0)
    A = sp.diags_array([off, np.linspace(2.5, 2.6, N), off], offsets=[-1, 0, 1]).tocsr()
    return as_operator(A)  # conversion and validation are A's, not the solve's


@pytest.fixture(scope="module")
def b():
    return np.random.default_rng(0).standard_normal(N)


def peak(call):
    """Peak bytes allocated by a call beyond what there was, and its result."""
    call()  # imports and caches
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def check(found, shape, v, d):
    promised = 8 * (v * int(np.prod(shape)) + d * N)
    assert found <= promised + SLACK, f"{found / 8 / N:.2f} vectors, {promised / 8 / N:g} promised"
    assert found >= 0.9 * promised  # a formula that overstates helps nobody


@pytest.mark.parametrize("name", METHODS)
def test_one_right_hand_side(op, b, name):
    options, (v, d) = METHODS[name]
    found, solution = peak(lambda: nnla.solve(op, b, **options))
    assert solution.report.converged
    check(found, b.shape, v, d)


@pytest.mark.parametrize("name", METHODS)
def test_an_initial_guess_is_one_more(op, b, name):
    options, (v, d) = METHODS[name]
    found, _ = peak(lambda: nnla.solve(op, b, x0=0.3 * b, **options))
    check(found, b.shape, v + 1 + 1, d)  # x0 itself was made here


@pytest.mark.parametrize("name", METHODS)
def test_a_block_that_converges_together(op, b, name):
    options, (v, d) = METHODS[name]
    B = np.stack([b, b[::-1], np.roll(b, 7)], axis=1)
    found, _ = peak(lambda: nnla.solve(op, B, **options))
    check(found, B.shape, v, d)


@pytest.mark.parametrize("name", METHODS)
def test_a_block_that_converges_apart(op, b, name):
    options, (v, d) = METHODS[name]
    B = np.stack([0 * b, b, op @ np.ones(N), np.roll(b, 7)], axis=1)
    found, solution = peak(lambda: nnla.solve(op, B, **options))
    assert solution.report.converged
    assert found <= 8 * ((v + 3) * B.size + d * N) + SLACK


@pytest.mark.parametrize("degree", [1, 2, 31])
def test_the_degree_costs_no_memory(op, b, degree):
    found, _ = peak(lambda: nnla.solve(op, b, method="chebyshev", degree=degree, probe_steps=3, scaling="none"))
    check(found, b.shape, 13, 0)


def test_more_iterations_cost_no_memory(op, b):
    few, _ = peak(lambda: nnla.solve(op, b, method="cg", rtol=1e-2))
    many, _ = peak(lambda: nnla.solve(op, b, method="cg", rtol=1e-13))
    assert abs(many - few) < SLACK


@pytest.mark.parametrize(("one_reduction", "M", "arrays"), [(False, 0, 4), (False, 1, 5), (True, 0, 5), (True, 1, 6)])
def test_the_cg_loop_alone(op, b, one_reduction, M, arrays):
    x, r = np.zeros(N), b.copy()

    def run():
        x[:], r[:] = 0, b
        return conjugate_gradients(
            op.matvec,
            b,
            x=x,
            residual=r,
            targets=1e-8 * np.linalg.norm(b),
            maxiter=99,
            M=(lambda v: 0.5 * v) if M else None,
            one_reduction=one_reduction,
        )

    found, _ = peak(run)
    check(found, b.shape, arrays, 0)


def test_the_formula_is_the_documented_one():
    text = " ".join((nnla.solve.__doc__ or "").split())
    pairs = [(int(v), int(d)) for v, d in re.findall(r"\((\d+), (\d)\) for", text)]
    assert pairs == [METHODS[name][1] for name in ("cg", "jacobi", "polynomial")] or set(pairs) <= {
        pair for _, pair in METHODS.values()
    }
    assert set(re.findall(r"\(\d+, \d\)", text)) == {f"({v}, {d})" for _, (v, d) in METHODS.values()}
