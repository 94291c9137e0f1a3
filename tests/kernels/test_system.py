"""The native forms of one matrix: made once, when asked for, and only where there are any."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.kernels import native
from nnla.kernels.system import native_layers
from nnla.polynomials.recurrence import Recurrence, chebyshev

pytestmark = pytest.mark.usefixtures("native_kernels")


@pytest.fixture
def op():
    return nnla.as_operator(nnla.problems.poisson2d(30))


def test_forms_are_made_once(op):
    system = op.native
    assert op.native is system
    assert (system.n, system.nnz) == (900, op.nnz)
    assert system.matrix("float32", scaled=True) is system.matrix("float32", scaled=True)
    assert system.matrix("float32", scaled=True) is not system.matrix("float32", scaled=False)
    assert system.matrix("float64", scaled=False) is not system.matrix("float32", scaled=False)
    arrays = system.product()
    assert system.product() is arrays
    sliced = system.product(sliced=True)
    assert sliced is not arrays
    assert system.product() is sliced  # what is there and faster is used


def test_nothing_is_made_before_it_is_asked_for(op):
    system = op.native
    system.product()
    assert not system._matrices


@pytest.mark.parametrize("form", ["dense", "products", "int64", "torch"])
def test_what_has_no_native_form(form):
    A = nnla.problems.poisson2d(30)
    b = np.random.default_rng(0).standard_normal(900)
    if form == "int64":
        op = nnla.as_operator(A)
        op.csr.indices, op.csr.indptr = op.csr.indices.astype(np.int64), op.csr.indptr.astype(np.int64)
        A = op
    elif form == "torch":
        A = pytest.importorskip("torch").from_numpy(A.toarray())
    else:
        A = A.toarray() if form == "dense" else aslinearoperator(A)
    assert nnla.as_operator(A).native is None
    report = nnla.solve(A, b, method="chebyshev").report
    assert report.converged
    assert report.precision in ("float64", None)


def test_scale_is_that_of_the_diagonal():
    A = sp.csr_array(sp.diags_array([4.0, 16.0, 0.25]))
    assert nnla.as_operator(A).native.scale == pytest.approx([0.5, 0.25, 2.0])


@pytest.mark.parametrize("factor", [1e-20, 1e-10, 1.0, 1e10, 1e20])
def test_the_range_of_single_precision(factor):
    system = nnla.as_operator(factor * nnla.problems.poisson2d(10)).native
    assert system.holds("float64", scaled=False)
    assert system.holds("float32", scaled=True)
    assert system.holds("float32", scaled=False) == system.holds("bfloat16", scaled=False) == (1e-15 < factor < 1e15)


@pytest.mark.parametrize("degree", [1, 2, 5, 40])
def test_layers_are_the_recurrence_without_shift_and_scale(degree, rng):
    recurrence = chebyshev(0.3, 7.9, degree)
    found = native_layers(recurrence)
    assert found is not None
    layers, alpha, beta = found
    again = Recurrence(*layers)  # shift 0, scale 1
    lam = np.linspace(0.1, 8.0, 20)
    # C_0 = alpha + beta lam, which a Recurrence without shift would start from lam
    accumulated, old, new = np.ones(20), np.ones(20), alpha + beta * lam
    for rho, gamma, eta, a, b in zip(*layers, strict=True):
        accumulated, old, new = (
            accumulated + rho * new,
            new,
            gamma * accumulated + eta * old + (a + b * lam) * new,
        )
    assert new == pytest.approx(recurrence(lam), rel=1e-11)
    assert again.products == recurrence.products


def test_constants_have_no_native_form(op):
    constant = Recurrence([0.0], [0.5], [0.0], [0.0], [0.0])
    assert native_layers(constant) is None
    assert op.native.polynomial(constant, "float64", scaled=False) is None
    M = nnla.preconditioner(op, method="richardson", degree=1)
    r = np.arange(900.0)
    assert M(r) == pytest.approx(M.recurrence.apply(op, r))


def test_a_product_keeps_its_arrays_alive(rng):
    """The native product looks at the arrays of the matrix, which nobody else may hold."""
    A = nnla.problems.poisson2d(40)
    arrays = (A.indptr.astype(np.int32), A.indices.astype(np.int32), A.data.copy())
    product = native.Product.csr(*arrays)
    del arrays
    cg = native.ConjugateGradients(product, None, None)
    del product
    trash = [np.full(8000, 7e7) for _ in range(50)]
    b = rng.standard_normal(1600)
    x, r = np.zeros(1600), b.copy()
    cg.run(x, r, 1e-8, 500, 0, False, True)
    assert np.linalg.norm(b - A @ x) <= 1e-7
    assert len(trash) == 50


def test_the_level_structure_of_a_graph():
    A = nnla.as_operator(nnla.problems.poisson1d(50)).csr
    components, longest, cubed = native.level_structure(A.indptr, A.indices)
    assert (components, longest) == (1, 50)
    assert cubed == pytest.approx(1.0)
    two = nnla.as_operator(sp.block_diag([nnla.problems.poisson1d(50), nnla.problems.poisson1d(20)]).tocsr()).csr
    components, longest, _ = native.level_structure(two.indptr, two.indices)
    assert (components, longest) == (2, 50)
