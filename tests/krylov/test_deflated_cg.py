"""Deflation by harvested vectors: fewer iterations over any preconditioner, on the matrix itself and on later ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import TimeLimitError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.interruption import time_limit
from nnla.krylov.deflated_cg import DeflationBasis, Harvest
from nnla.krylov.start import start_cg
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.deflation import DeflatedPreconditioner
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.types import Status

pytestmark = pytest.mark.usefixtures("native_kernels")


def jumps(k, seed=0):
    """Diffusion with islands a thousand times as conducting, of which each gives D^-1 A a small eigenvalue."""
    kappa = np.ones((k, k))
    rng = np.random.default_rng(seed)
    for _ in range(6):
        i, j = rng.integers(1, k - k // 5, 2)
        kappa[i : i + k // 6, j : j + k // 6] = 1e3
    n = k * k
    at = np.arange(n).reshape(k, k)
    pairs = [(at[1:], at[:-1], kappa[1:], kappa[:-1]), (at[:, 1:], at[:, :-1], kappa[:, 1:], kappa[:, :-1])]
    rows, columns, values = [], [], []
    for p, q, a, b in pairs:
        w = (2 * a * b / (a + b)).ravel()
        rows += [p.ravel(), q.ravel(), p.ravel(), q.ravel()]
        columns += [q.ravel(), p.ravel(), p.ravel(), q.ravel()]
        values += [-w, -w, w, w]
    A = sp.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)).tocsr()
    return sp.csr_array(A + sp.diags_array(1e-3 * kappa.ravel()))


def run(op, b, M, *, space=None, harvest=None, rtol=1e-8, cap=5000):
    x, r = np.zeros(op.n), b.copy()
    if space is not None:
        x, r = x + space.solve(r), r - space.image(r)
        M = DeflatedPreconditioner(M, space)
    size = np.linalg.norm(b)
    targets, sizes = np.array([rtol * size]), np.array([size])
    cg = start_cg(op, b, x=x, residual=r, targets=targets, sizes=sizes, M=M, harvest=harvest)
    result = cg.advance(cap)
    assert np.linalg.norm(b - op.csr @ result.x) <= 1.001 * rtol * size
    return result.iterations


@pytest.mark.parametrize("scaling", ["jacobi", "ic", "none"])
@pytest.mark.parametrize("window", [28, 64, 400])
def test_harvested_vectors_save_iterations(scaling, window, rng):
    op = nnla.as_operator(jumps(40))
    M = bind_scaling(op, scaling)
    harvest = Harvest(op.n, 10, window)
    before = run(op, rng.standard_normal(op.n), M, harvest=harvest)
    space = harvest.basis(op)
    assert space is not None
    assert 0 < space.rank <= 10
    after = run(op, rng.standard_normal(op.n), M, space=space)
    assert after < (0.75 if scaling != "none" else 0.95) * before


def test_ritz_vectors_are_eigenvectors_of_the_preconditioned_matrix(rng):
    op = nnla.as_operator(jumps(30))
    for window in (40, 300):
        harvest = Harvest(op.n, 6, window)
        run(op, rng.standard_normal(op.n), bind_scaling(op, "jacobi"), harvest=harvest, rtol=1e-11)
        W, theta = harvest.ritz()
        D = op.csr.diagonal()
        np.testing.assert_allclose(np.sum(W * D * W, axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(np.sum(W * (op.csr @ W.T).T, axis=1), theta, rtol=1e-6)
        scaled = op.csr.toarray() / np.sqrt(D)[:, None] / np.sqrt(D)
        exact = np.linalg.eigvalsh(scaled)[:6]
        np.testing.assert_allclose(theta[:4], exact[:4], rtol=1e-2)


def test_a_space_can_be_renewed_and_added_to(rng):
    A = jumps(40)
    op = nnla.as_operator(A)
    M = bind_scaling(op, "jacobi")
    harvest = Harvest(op.n, 8, 64)
    cold = run(op, rng.standard_normal(op.n), M, harvest=harvest)
    space = harvest.basis(op)
    d = sp.diags_array(np.exp(0.05 * rng.standard_normal(op.n)))
    later = nnla.as_operator(sp.csr_array(d @ A @ d))
    products = later.products
    space.renew(later)
    assert later.products == products + space.rank
    M = bind_scaling(later, "jacobi")
    again = Harvest(op.n, 8, 64)
    warm = run(later, rng.standard_normal(op.n), M, space=space, harvest=again)
    assert warm < 0.8 * cold
    more = again.basis(later, space, 16)
    assert more.rank == 16
    assert run(later, rng.standard_normal(op.n), M, space=more) < 0.9 * warm
    best = again.basis(later, space)
    assert best.rank == 8
    assert run(later, rng.standard_normal(op.n), M, space=best) < 0.8 * cold


def test_over_an_old_factor_and_a_polynomial(rng):
    A = jumps(30)
    op = nnla.as_operator(A)
    d = sp.diags_array(np.exp(0.5 * rng.standard_normal(op.n)))
    later = nnla.as_operator(sp.csr_array(d @ A @ d))
    factor = Cholesky(op.csr).factor()
    old = Scaling("user", factor.solve, native=factor.native.preconditioner())
    harvest = Harvest(op.n, 10, 200)
    before = run(later, rng.standard_normal(op.n), old, harvest=harvest)
    assert run(later, rng.standard_normal(op.n), old, space=harvest.basis(later)) < 0.9 * before


def often(call):
    for _ in range(100):
        call()


def polynomial(op, degree=11):
    """A Chebyshev polynomial over Jacobi's scaling, in float32 within."""
    native = op.native.polynomial(chebyshev(0.02, 2.0, degree), "float32", scaled=True)
    return Scaling("user", lambda r: r, native=native)


def test_inside_polynomial_cg_once_an_outer_iteration(rng):
    op = nnla.as_operator(jumps(60))
    M, harvest = polynomial(op), Harvest(op.n, 10, 100)
    before = run(op, rng.standard_normal(op.n), M, harvest=harvest)
    after = run(op, rng.standard_normal(op.n), M, space=harvest.basis(op))
    assert after < 0.5 * before


def test_it_is_the_deflation_of_the_reference(rng):
    from nnla.preconditioners.deflation import DeflationSpace

    op = nnla.as_operator(jumps(15))
    W = rng.standard_normal((5, op.n))
    mine, reference = DeflationBasis(op, W), DeflationSpace(op, W.T)
    r, z = rng.standard_normal(op.n), rng.standard_normal(op.n)
    for name, arguments in (("solve", (r,)), ("image", (r,)), ("precondition", (r, z))):
        np.testing.assert_allclose(getattr(mine, name)(*arguments), getattr(reference, name)(*arguments), rtol=1e-8)
    M = bind_scaling(op, "jacobi")
    native, out = mine.native(M), np.empty(op.n)
    native.multiply(r, out)
    exact = mine.precondition(r, M(r))
    np.testing.assert_allclose(out, exact, atol=1e-6 * np.abs(exact).max())  # its vectors are in float32
    assert reference.native(M) is None
    assert mine.native(Scaling("user", lambda v: v)) is None


def test_degenerate_spaces(rng):
    op = nnla.as_operator(jumps(15))
    W = rng.standard_normal((4, op.n))
    W[1], W[2], W[3] = W[0], 0.0, np.nan
    space = DeflationBasis(op, W)
    assert space.rank == 1
    none = DeflationBasis(op, np.zeros((2, op.n)))
    assert none.rank == 0
    b = rng.standard_normal(op.n)
    assert not none.solve(b).any()
    assert run(op, b, bind_scaling(op, "jacobi"), space=none) > 0
    assert Harvest(op.n).basis(op) is None


def test_blocks_and_foreign_preconditioners_leave_a_harvest_empty(rng):
    op = nnla.as_operator(jumps(15))
    harvest = Harvest(op.n, 4, 20)
    run(op, rng.standard_normal(op.n), Scaling("user", lambda v: v), harvest=harvest)
    assert harvest.basis(op) is None
    assert harvest.nbytes == 0


def test_limits_of_time_leave_everything_usable(rng):
    op = nnla.as_operator(jumps(60))
    b, M, harvest = rng.standard_normal(op.n), bind_scaling(op, "jacobi"), Harvest(op.n, 10, 28)
    size = np.linalg.norm(b)
    options = {"targets": np.array([1e-12 * size]), "sizes": np.array([size]), "M": M, "harvest": harvest}
    for seconds in (0.0, 0.001, 0.01):
        cg = start_cg(op, b, x=np.zeros(op.n), residual=b.copy(), **options)
        with time_limit(seconds):
            assert cg.advance(10**4).status is Status.TIMEOUT
        W, theta = harvest.ritz()
        assert len(W) == len(theta) <= 10
        assert np.all(theta > 0)
    assert cg.advance(10**4).status is Status.CONVERGED
    space = DeflationBasis(op, rng.standard_normal((6, op.n)))
    with pytest.raises(TimeLimitError), time_limit(0.0):
        often(lambda: space.renew(op))
    assert space.rank == 0


def test_where_cg_restarts_the_harvest_ends(rng):
    op = nnla.as_operator(jumps(25))
    harvest = Harvest(op.n, 4, 500)
    size = 1.0
    b = rng.standard_normal(op.n)
    b /= np.linalg.norm(b)
    M = bind_scaling(op, "none")
    cg = start_cg(
        op, b, x=np.zeros(op.n), residual=b.copy(), targets=np.array([1e-15]), sizes=np.array([size]), M=M,
        harvest=harvest,
    )  # fmt: skip
    cg.advance(2000)
    W, theta = harvest.ritz()
    assert np.all(theta > 0)
    assert np.isfinite(W).all()
    assert harvest.basis(op).rank > 0
