"""Matrices whose indices do not fit 32 bits: SciPy's products, never a truncated index."""

import types

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla import kernels
from nnla.kernels import limits
from nnla.kernels.limits import INDEX_MAX, index_type, why_not_native
from nnla.operators.operator import as_operator


class Huge:
    """The arrays of a matrix nobody has the memory for: they know their length only."""

    def __init__(self, n, nnz, dtype=np.int64):
        array = types.SimpleNamespace(dtype=np.dtype(dtype))
        self.shape, self.nnz, self.indptr = (n, n), nnz, array
        self.indices = type("Indices", (), {"dtype": np.dtype(dtype), "__len__": lambda self: nnz})()


def test_the_boundary():
    assert index_type(1, INDEX_MAX) is np.int32
    assert index_type(1, INDEX_MAX + 1) is np.int64
    assert index_type(INDEX_MAX + 1, 1) is np.int64


def test_what_does_not_fit_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(kernels, "native", object())
    assert why_not_native(Huge(1000, 1000, np.int32)) is None
    for big in (Huge(2**31, 2**32), Huge(1000, 2**31), Huge(2**31, 1000), Huge(1000, 2**31, np.int32)):
        assert f"{big.nnz} entries: too large" in why_not_native(big)
    assert "32-bit" in why_not_native(Huge(1000, 1000))  # 64-bit arrays, whatever their length
    assert "stored entries" in why_not_native(None)


def test_without_native_code_the_reason_is_the_import_error(monkeypatch):
    monkeypatch.setattr(kernels, "native", None)
    monkeypatch.setattr(kernels, "why_not", "the moon is full")
    assert "the moon is full" in why_not_native(as_operator(sp.eye_array(3)).csr)


@pytest.mark.parametrize("method", ["auto", "cg", "jacobi", "autospec", "ic", "direct"])
def test_a_solve_with_64_bit_indices(monkeypatch, method):
    monkeypatch.setattr(limits, "INDEX_MAX", 1000)
    A = nnla.problems.poisson2d(25)
    op = as_operator(A)
    assert op.csr.indices.dtype == op.csr.indptr.dtype == np.int64
    assert why_not_native(op.csr) is not None
    x, report = nnla.solve(op, np.ones(op.n), method=method)
    assert report.converged
    np.testing.assert_allclose(x, nnla.solve(A, np.ones(op.n), method="direct").x, rtol=1e-6)


def test_too_many_indices_for_their_type_are_found():
    # indptr of 32 bits that overflowed: negative, so refused, not followed
    A = sp.csr_array(np.eye(3))
    A.indptr = np.array([0, 2**31 - 1, -(2**31), 3], dtype=np.int32)
    with pytest.raises(nnla.errors.ShapeError, match="not a valid CSR"):
        as_operator(A)
