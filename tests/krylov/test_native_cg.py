"""Native CG against the one in Python: the same iterates, counts, coefficients, statuses and questions asked."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.kernels import native
from nnla.krylov.cg import ConjugateGradients, conjugate_gradients
from nnla.krylov.native_cg import NativeConjugateGradients
from nnla.operators.arrays import norm
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.incomplete_cholesky import ic0
from nnla.types import Status

pytestmark = pytest.mark.usefixtures("native_kernels")

PRECONDITIONERS = ("none", "jacobi", "ic", "polynomial", "polynomial over jacobi")


def preconditioner(op, name):
    """(M in Python, native M, inverse diagonal)."""
    if name == "none":
        return None, None, None
    inverse = 1.0 / op.diagonal()
    if name == "jacobi":
        return lambda r: inverse * r, None, inverse
    if name == "ic":
        factor = ic0(op.csr, shift="auto", triangle="upper")
        return factor.solve, factor.native, None
    scaled = name.endswith("jacobi")
    S = np.sqrt(inverse) if scaled else np.ones(op.n)
    C = sp.csr_array(sp.diags_array(S) @ op.csr @ sp.diags_array(S))
    top = float(abs(C).sum(axis=0).max())
    P = chebyshev(top / 100, top, 7)
    system = op.native
    return lambda r: S * P.apply(C, S * r), system.polynomial(P, "float64", scaled=scaled), None


def in_python(op, b, M, *, rtol, x=None, **options):
    x = np.zeros_like(b) if x is None else x.copy()
    targets = np.array([rtol * np.linalg.norm(b)])
    with np.errstate(all="ignore"):
        return conjugate_gradients(
            op.matvec, b, x=x, residual=b - op.matvec(x), targets=targets, M=M, sizes=np.linalg.norm(b), **options
        )


def native_run(op, b, M=None, inverse=None, *, rtol, x=None, **options):
    """CG ready to advance, and the products and applications that it counts."""
    x = np.zeros_like(b) if x is None else x.copy()
    counts = [0, 0]

    def count(products, applies):
        counts[0] += products
        counts[1] += applies

    return NativeConjugateGradients(
        op.native,
        lambda v: b - op.matvec(v),
        x=x,
        residual=b - op.matvec(x),
        target=rtol * norm(b),
        size=norm(b),
        M=M,
        inverse=inverse,
        count=count,
        **options,
    ), counts


def natively(op, b, M=None, inverse=None, *, maxiter, probing=False, **options):
    with np.errstate(all="ignore"):
        cg, counts = native_run(op, b, M, inverse, **options)
        result = cg.advance(maxiter)
        if probing:
            cg.couple()
    return result, *counts


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((24, 24), s=1.0))
    return nnla.as_operator(A), np.random.default_rng(5).standard_normal(A.shape[0])


@pytest.mark.parametrize("one_reduction", [False, True])
@pytest.mark.parametrize("name", PRECONDITIONERS)
@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_in_python(pattern_matrix, patterns, name, one_reduction, seed):
    for pattern in patterns:
        if pattern == "empty rows":  # singular
            continue
        n = (1, 17, 100, 400)[seed]
        op = nnla.as_operator(pattern_matrix(pattern, n, seed))
        b = np.random.default_rng(seed).standard_normal(n)
        M, own, inverse = preconditioner(op, name)
        options = {"rtol": 1e-9, "maxiter": 3 * n + 100, "one_reduction": one_reduction}
        expected = in_python(op, b, M, **options)
        got, products, applies = natively(op, b, own, inverse, **options)
        assert got.status is expected.status is Status.CONVERGED
        apart = 1 + expected.iterations // 20  # that rounding drives them
        assert abs(got.iterations - expected.iterations) <= apart
        assert abs(got.reductions - expected.reductions) <= 2 * apart + 2
        first = min(8, sum(value > 1e-8 for value in expected.history))  # below it is rounding
        for ours, theirs in ((got.history, expected.history), (got.alpha, expected.alpha), (got.first, expected.first)):
            assert len(ours) == got.iterations
            assert ours[:first] == pytest.approx(theirs[:first], rel=1e-5)
        assert len(got.beta) == max(0, got.iterations - 1)
        assert np.linalg.norm(b - op.matvec(got.x)) <= 1.0001e-9 * np.linalg.norm(b)
        assert products == got.iterations
        assert applies == (0 if own is None else got.iterations)


@pytest.mark.parametrize("one_reduction", [False, True])
@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_a_run_cut_short_tells_what_a_probe_needs(system, name, one_reduction):
    op, b = system
    M, own, inverse = preconditioner(op, name)
    options = {"rtol": 1e-14, "maxiter": 12, "one_reduction": one_reduction}
    expected = in_python(op, b, M, **options)
    got, _, _ = natively(op, b, own, inverse, probing=True, **options)
    assert got.status is expected.status is Status.MAXITER
    assert got.iterations == 12
    assert got.last_beta == pytest.approx(expected.last_beta, rel=1e-9)
    assert got.beta == pytest.approx(expected.beta, rel=1e-9)
    assert got.x == pytest.approx(expected.x, rel=1e-8, abs=1e-10)
    assert got.residual == pytest.approx(expected.residual, rel=1e-8, abs=1e-10)
    assert got.reductions == expected.reductions


def test_the_form_of_the_matrix_changes_underway_and_nothing_else(rng):
    """After some iterations the matrix is brought into slices."""
    op, b = nnla.as_operator(nnla.problems.poisson2d(60)), rng.standard_normal(3600)
    expected = in_python(op, b, None, rtol=1e-10, maxiter=1000)
    assert expected.iterations > 60
    got, products, _ = natively(op, b, rtol=1e-10, maxiter=1000)
    assert abs(got.iterations - expected.iterations) <= 1
    assert products == got.iterations
    assert got.history[:50] == pytest.approx(expected.history[:50], rel=1e-6)


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_the_callback_sees_every_iterate(system, name):
    op, b = system
    _, own, inverse = preconditioner(op, name)
    seen = []
    callback = lambda x: seen.append(np.linalg.norm(b - op.matvec(x)) / np.linalg.norm(b))  # noqa: E731
    got, _, _ = natively(op, b, own, inverse, rtol=1e-8, maxiter=500, callback=callback)
    assert len(seen) == got.iterations
    assert seen == pytest.approx(got.history, rel=1e-5)
    silent, _, _ = natively(op, b, own, inverse, rtol=1e-8, maxiter=500)
    # asked for one iteration at a time it is in slices later or sooner, which rounds otherwise
    assert abs(silent.iterations - got.iterations) <= 1


@pytest.mark.parametrize("one_reduction", [False, True])
def test_advancing_goes_on_without_a_restart(system, one_reduction):
    op, b = system
    # from slices in both runs: the first one would go over to them on its way, and rounds differently before
    op.native.product(sliced=True)
    options = {"rtol": 1e-13, "one_reduction": one_reduction}
    cg, _ = native_run(op, b, **options)
    target = np.array([1e-13 * np.linalg.norm(b)])
    other = ConjugateGradients(
        op.matvec, b, x=np.zeros_like(b), residual=b.copy(), targets=target, one_reduction=one_reduction
    )
    for steps, done in ((10, 10), (5, 15), (25, 40)):
        for one in (cg, other):
            got = one.advance(steps)
            assert got.status is Status.MAXITER
            counts = (got.iterations, len(got.alpha), len(got.beta), len(got.first), len(got.history))
            assert counts == (done, done, done - 1, done, done)
            one.couple()  # looking at the coupling changes nothing
    straight, _, _ = natively(op, b, maxiter=40, **options)
    assert cg.result.alpha == pytest.approx(straight.alpha, rel=1e-9)
    assert cg.result.x == pytest.approx(straight.x, rel=1e-9, abs=1e-12)
    assert other.result.alpha[:20] == pytest.approx(straight.alpha[:20], rel=1e-5)


def test_no_iterations_at_all(system):
    op, b = system
    got, products, applies = natively(op, b, rtol=1e-8, maxiter=0)
    assert (got.status, got.iterations, products, applies) == (Status.MAXITER, 0, 0, 0)
    assert not got.x.any()
    assert np.array_equal(got.residual, b)
    assert got.last_beta is None
    solved, products, _ = natively(op, np.zeros(op.n), rtol=1e-8, maxiter=9)
    assert (solved.status, solved.iterations, products) == (Status.CONVERGED, 0, 0)


def test_an_initial_guess(system):
    op, b = system
    rough, _, _ = natively(op, b, rtol=1e-5, maxiter=500)
    fine, _, _ = natively(op, b, rtol=1e-9, maxiter=500, x=rough.x)
    fresh, _, _ = natively(op, b, rtol=1e-9, maxiter=500)
    assert fine.status is Status.CONVERGED
    assert fine.iterations < fresh.iterations
    again, _, _ = natively(op, b, rtol=1e-5, maxiter=500, x=fine.x)
    assert again.iterations == 0


@pytest.mark.parametrize("name", ["none", "jacobi", "polynomial"])
@pytest.mark.parametrize("one_reduction", [False, True])
def test_an_impossible_tolerance_stagnates(system, name, one_reduction):
    op, b = system
    M, own, inverse = preconditioner(op, name)
    options = {"rtol": 1e-18, "maxiter": 5000, "stall": 100, "one_reduction": one_reduction}
    got, _, _ = natively(op, b, own, inverse, **options)
    expected = in_python(op, b, M, **options)
    # recursive residuals may fall to zero, where one ends by r'r = 0 and the other by the check of the true one
    assert expected.status is Status.STAGNATION
    assert got.status is Status.STAGNATION
    assert np.linalg.norm(b - op.matvec(got.x)) <= 1e-11 * np.linalg.norm(b)


@pytest.mark.parametrize("one_reduction", [False, True])
@pytest.mark.parametrize("name", ["none", "jacobi"])
def test_an_indefinite_matrix(name, one_reduction, rng):
    Q, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    A = (Q * np.append([-1.0, -0.3], np.linspace(1, 2, 58))) @ Q.T
    A = (A + A.T) / 2 + 0.0
    assert np.all(A.diagonal() > 0)
    op, b = nnla.as_operator(sp.csr_array(A)), rng.standard_normal(60)
    M, own, inverse = preconditioner(op, name)
    options = {"rtol": 1e-10, "maxiter": 500, "one_reduction": one_reduction}
    expected, (got, _, _) = in_python(op, b, M, **options), natively(op, b, own, inverse, **options)
    assert got.status is expected.status is Status.INDEFINITE
    assert abs(got.iterations - expected.iterations) <= 1
    assert np.all(np.isfinite(got.x))


def test_an_indefinite_preconditioner_is_a_breakdown(system):
    op, b = system
    P = chebyshev(0.01, 2.1, 7).scaled(-1.0)
    own = op.native.polynomial(P, "float64", scaled=True)
    got, _, applies = natively(op, b, own, rtol=1e-8, maxiter=100)
    assert got.status is Status.BREAKDOWN
    assert (got.iterations, applies) == (0, 1)
    assert not got.x.any()


@pytest.mark.parametrize("name", ["none", "jacobi", "polynomial"])
@pytest.mark.parametrize("one_reduction", [False, True])
def test_overflow_ends_in_a_breakdown(system, name, one_reduction):
    op, b = system
    _, own, inverse = preconditioner(op, name)
    b = 1e200 * b  # its square overflows, which nnla.solve prevents by scaling
    got, _, _ = natively(op, b, own, inverse, rtol=1e-8, maxiter=100, one_reduction=one_reduction)
    assert got.status is Status.BREAKDOWN
    bad = b.copy()
    bad[3] = np.nan
    got, _, _ = natively(op, bad, own, inverse, rtol=1e-8, maxiter=100, one_reduction=one_reduction)
    assert got.status is Status.BREAKDOWN
    assert got.iterations == 0


@pytest.mark.parametrize("name", PRECONDITIONERS)
@pytest.mark.parametrize("one_reduction", [False, True])
def test_the_number_of_threads_does_not_change_a_bit(name, one_reduction):
    A = nnla.problems.poisson2d(200)  # several parts of 16,384 rows
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    results = []
    for threads in (1, 2, 3, 7):
        native.set_threads(threads)
        op = nnla.as_operator(A)  # one that has no slices yet
        _, own, inverse = preconditioner(op, name)
        results.append(natively(op, b, own, inverse, rtol=1e-14, maxiter=45, one_reduction=one_reduction)[0])
    for other in results[1:]:
        assert np.array_equal(other.x, results[0].x)
        assert other.history == results[0].history


def test_a_residual_that_drifts_is_started_anew():
    """The recursive residual meets the target before the true one does: restart, with the true one."""
    lam = np.geomspace(1e-9, 1, 80)
    Q, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((80, 80)))
    A = (Q * lam) @ Q.T
    op, b = nnla.as_operator(sp.csr_array((A + A.T) / 2)), np.ones(80)
    got, _, _ = natively(op, b, rtol=1e-9, maxiter=20_000, stall=500)
    true = np.linalg.norm(b - op.matvec(got.x)) / np.linalg.norm(b)
    assert got.status is not Status.CONVERGED or true <= 1e-9
    assert got.residual == pytest.approx(b - op.matvec(got.x), abs=1e-6)
