"""When CG gives up: a true residual that no longer halves between two checks, or no 10 % in so many iterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.kernels import native
from nnla.krylov.cg import CGResult, conjugate_gradients
from nnla.krylov.native_cg import NativeConjugateGradients
from nnla.types import Status

N = 30
TARGET = 1e-4
KINDS = [
    "python",
    pytest.param("native", marks=pytest.mark.skipif(native is None, reason="the native kernels are not there")),
]


def natively(
    system: Any, true_residual: Callable[[np.ndarray], np.ndarray], *, maxiter: int, **options: Any
) -> CGResult:
    return NativeConjugateGradients(system, true_residual, **options).advance(maxiter)


def with_checks_that_find(norms: Sequence[float], kind: str) -> tuple[CGResult, int]:
    """CG on the identity, which takes one step from check to check; every check finds the next of these norms.

    Returns the result, and how many checks there were.
    """
    b = np.ones(N)
    found: list[float] = []

    def true_residual(x: np.ndarray) -> np.ndarray:
        found.append(norms[len(found)])
        return np.full(N, found[-1] / N**0.5)

    options: dict[str, Any] = {"x": np.zeros(N), "residual": b.copy(), "maxiter": 50}
    if kind == "native":
        system = nnla.as_operator(sp.eye_array(N, format="csr")).native
        result = natively(system, true_residual, target=TARGET, size=1.0, **options)
    else:
        calls = iter(range(200))  # of a step and of a check in turn
        product = lambda v: b - true_residual(v) if next(calls) % 2 else v * 1.0  # noqa: E731
        result = conjugate_gradients(product, b, targets=TARGET, **options)
    return result, len(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("norms", "status"),
    [
        ([0.99 * TARGET], Status.CONVERGED),
        ([5.0, 0.99 * TARGET], Status.CONVERGED),  # the first may find anything
        ([1.0, 0.49, 0.24, 0.11, 0.05, 0.99 * TARGET], Status.CONVERGED),
        ([1.0, 0.51], Status.STAGNATION),
        ([1.0, 0.49, 0.26], Status.STAGNATION),  # half of the last one, not of the first
        ([1.0, 0.49, 0.24, 2.0], Status.STAGNATION),
        ([1.0, np.nan], Status.STAGNATION),
        ([2 * TARGET, 1.01 * TARGET], Status.STAGNATION),
    ],
)
def test_a_true_residual_has_to_halve_from_check_to_check(norms, status, kind):
    result, checks = with_checks_that_find(norms, kind)
    assert result.status is (Status.BREAKDOWN if np.isnan(norms[-1]) and kind == "python" else status)
    assert checks == len(norms) == result.iterations


def test_a_column_that_stagnates_leaves_the_others_to_go_on():
    b = np.ones((N, 2))
    norms = iter([(1.0, 1.0), (0.6, 0.4), (np.nan, 0.1), (np.nan, 0.99 * TARGET)])
    calls = iter(range(200))

    def product(v: np.ndarray) -> np.ndarray:
        if next(calls) % 2 == 0:
            return v * 1.0
        found = np.array(next(norms))[-v.shape[1] :]
        return b[:, -v.shape[1] :] - np.ones((N, 1)) * found / N**0.5

    result = conjugate_gradients(
        product, b, x=np.zeros_like(b), residual=b.copy(), targets=np.full(2, TARGET), maxiter=50
    )
    assert result.status is Status.STAGNATION
    assert result.iterations == 4
    assert next(norms, None) is None
    np.testing.assert_allclose(np.linalg.norm(result.residual, axis=0), [0.6, 0.99 * TARGET])


def stalls_at(norms: Sequence[float], stall: int) -> int:
    """The iteration after which a run of these residual norms has had no 10 % in more than `stall` iterations."""
    best, best_at = np.inf, 0
    for k, norm in enumerate(norms):
        if norm < 0.9 * best:
            best, best_at = norm, k
        elif k - best_at > stall:
            return k
    return len(norms) - 1


@pytest.fixture
def cg() -> Callable[..., CGResult]:
    """CG whose residual falls by 10 % in 10 to 60 iterations, and faster and faster in the end."""
    A = sp.csr_array(nnla.problems.poisson1d(600))
    b = np.zeros(600)
    b[0] = 1.0

    def run(kind: str, **options: Any) -> CGResult:
        options |= {"x": np.zeros(600), "residual": b.copy(), "maxiter": 500}
        if kind == "python":
            return conjugate_gradients(lambda v: A @ v, b, targets=1e-10, **options)
        op = nnla.as_operator(A)
        return natively(op.native, lambda x: b - op.matvec(x), target=1e-10, size=1.0, **options)

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stall", [1, 5, 14, 30])
def test_a_residual_has_to_fall_by_a_tenth_in_so_many_iterations(cg, kind, stall):
    free = cg(kind)
    assert free.status is Status.MAXITER
    expected = stalls_at([1.0, *free.first], stall)
    assert stall < expected < 450
    result = cg(kind, stall=stall)
    assert result.status is Status.STAGNATION
    assert result.iterations == expected
    assert cg(kind, stall=400).status is Status.MAXITER


def test_a_solve_ends_when_nothing_is_left_to_gain():
    """Far beyond what float64 holds: the best there is, and not all the iterations that are allowed."""
    A = nnla.problems.poisson2d(40)
    b = np.random.default_rng(0).standard_normal(1600)
    for method in ("cg", "jacobi", "ic"):
        usual = nnla.solve(A, b, method=method, rtol=1e-12).report
        report = nnla.solve(A, b, method=method, rtol=1e-20, maxiter=50_000).report
        assert report.status == "rounding"
        assert report.relative_residual < 1e-13
        assert report.iterations < 4 * usual.iterations + 10
