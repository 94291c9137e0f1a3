"""The facts on a matrix, and the native verdict against the NumPy one on damaged matrices."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from nnla import structure
from nnla.errors import NNLAError
from nnla.kernels import native
from nnla.operators.operator import as_operator
from nnla.operators.structure import structure_of, verified_structure

needs_native = pytest.mark.skipif(native is None, reason="the native kernels are not built")
FACTS = ("nnz", "bandwidth", "shortest_row", "longest_row", "slots", "constant_diagonal", "nonpositive_off_diagonal")


def facts(s):
    return {name: getattr(s, name) for name in FACTS}


def spd(rng, n, density=0.3):
    A = np.where(rng.random((n, n)) < density, rng.standard_normal((n, n)), 0.0)
    A = A + A.T
    return sp.csr_array(A + np.diag(1.0 + np.abs(A).sum(axis=1)))


def arrow(n):
    A = sp.lil_array((n, n))
    A[0, :], A[:, 0] = -1.0, -1.0
    A.setdiag(float(n))
    return A.tocsr()


@pytest.fixture(params=["native", "numpy"])
def either(request, monkeypatch):
    """With and without native code."""
    if request.param == "numpy":
        monkeypatch.setattr(structure, "native", None)
    elif native is None:
        pytest.skip("the native kernels are not built")
    return request.param


def test_facts_of_a_known_matrix(either):
    A = sp.csr_array([[4.0, -1, 0, 0], [-1, 4, 0, -2], [0, 0, 4, 0], [0, -2, 0, 4]])
    s = as_operator(A).structure
    assert facts(s) == {
        "nnz": 8,
        "bandwidth": 2,
        "shortest_row": 1,
        "longest_row": 3,
        "slots": 48,
        "constant_diagonal": True,
        "nonpositive_off_diagonal": True,
    }
    assert s.mean_row == 2
    np.testing.assert_array_equal(s.diagonal, [4.0] * 4)
    assert s.exactly_symmetric is (True if either == "native" else None)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33])
@pytest.mark.parametrize("wide", [False, True])
def test_native_and_numpy_agree(n, wide, either, rng):
    for A in (
        spd(rng, n),
        arrow(n) if n > 1 else sp.eye_array(1).tocsr(),
        sp.csr_array(np.diag(np.arange(1.0, n + 1))),
    ):
        if wide:
            A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
        dense = A.toarray()
        i, j = np.nonzero(dense)
        lengths = np.diff(A.indptr)
        s = as_operator(A).structure
        assert facts(s) == {
            "nnz": len(i),
            "bandwidth": np.abs(i - j).max(),
            "shortest_row": lengths.min(),
            "longest_row": lengths.max(),
            "slots": 16 * sum(lengths[k : k + 16].max() for k in range(0, n, 16)),
            "constant_diagonal": len(set(np.diag(dense))) == 1,
            "nonpositive_off_diagonal": bool((dense[i[i != j], j[i != j]] <= 0).all()),
        }
        np.testing.assert_array_equal(s.diagonal, np.diag(dense))


def test_unsymmetric_and_empty_rows_are_described_without_a_verdict(either):
    A = sp.csr_array(([1.0, 2.0], ([0, 0], [0, 3])), shape=(4, 4))
    s = structure_of(A)
    assert (s.nnz, s.bandwidth, s.shortest_row, s.longest_row) == (2, 3, 0, 2)
    np.testing.assert_array_equal(s.diagonal, [1, 0, 0, 0])
    assert s.exactly_symmetric is None
    assert facts(as_operator(A, check=False).structure) == facts(s)


def test_only_stored_entries_have_a_structure():
    assert as_operator(np.eye(3)).structure is None
    assert as_operator(sp.linalg.aslinearoperator(np.eye(3))).structure is None


def test_the_diagonal_is_protected():
    op = as_operator(spd(np.random.default_rng(0), 5))
    before = op.diagonal()
    op.diagonal()[:] = 0
    np.testing.assert_array_equal(op.diagonal(), before)
    with pytest.raises(ValueError, match="read-only"):
        op.structure.diagonal[0] = 1.0


@needs_native
def test_csc_is_shared_only_if_exactly_symmetric():
    A = sp.csc_array(spd(np.random.default_rng(0), 20))
    assert np.shares_memory(as_operator(A).csr.data, A.data)
    k = int(np.flatnonzero(A.indices != np.repeat(np.arange(20), np.diff(A.indptr)))[0])
    A.data[k] = np.nextafter(A.data[k], 9.0)
    op = as_operator(A)
    assert op.structure.exactly_symmetric is False
    np.testing.assert_array_equal(op.csr.toarray(), A.toarray())


def test_the_operator_keeps_its_matrix_when_the_users_object_changes():
    A = spd(np.random.default_rng(0), 6)
    op, before = as_operator(A), A.toarray()
    A.data = A.data * 2
    np.testing.assert_array_equal(op.csr.toarray(), before)


@needs_native
def test_scattered_rows_of_a_larger_matrix():
    rng = np.random.default_rng(0)
    n = 200_000
    i, j = rng.integers(0, n, (2, 300_000))
    B = sp.coo_array((-rng.random(i.size), (i, j)), shape=(n, n)).tocsr()
    A = (B + B.T + sp.diags_array(np.full(n, 60.0))).tocsr()
    op = as_operator(A)
    assert op.structure.exactly_symmetric
    assert facts(op.structure) == facts(structure_of(A))
    A.data[A.indptr[n - 5] + 1 if A.indices[A.indptr[n - 5]] == n - 5 else A.indptr[n - 5]] += 1.0
    assert verified_structure(A.indptr, A.indices, A.data, 1e-10) is None


DAMAGES = ("none", "value", "rounding", "sign", "nan", "inf pair", "zero diagonal", "column", "swap", "indptr", "drop")


@needs_native
@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10**6), st.sampled_from(DAMAGES), st.booleans())
def test_native_and_numpy_say_the_same_of_damaged_matrices(n, seed, damage, wide):
    rng = np.random.default_rng(seed)
    A = spd(rng, n)
    A.data, A.indices, A.indptr = A.data.copy(), A.indices.copy(), A.indptr.copy()
    k = int(rng.integers(A.nnz))
    if damage in ("value", "rounding", "sign", "nan"):
        A.data[k] = {"value": A.data[k] + 0.1, "rounding": A.data[k] * (1 + 1e-15), "sign": -A.data[k], "nan": np.nan}[
            damage
        ]
    elif damage == "inf pair":
        i = int(np.searchsorted(A.indptr, k, side="right")) - 1
        for row, column in ((i, A.indices[k]), (A.indices[k], i)):
            at = slice(A.indptr[row], A.indptr[row + 1])
            A.data[at][A.indices[at] == column] = np.inf
    elif damage == "zero diagonal":
        i = int(rng.integers(n))
        A.data[A.indptr[i] : A.indptr[i + 1]][A.indices[A.indptr[i] : A.indptr[i + 1]] == i] = 0.0
    elif damage == "column":
        A.indices[k] = rng.integers(-2, n + 2)
    elif damage == "swap":
        order = rng.permutation(A.indptr[1])
        A.indices[: A.indptr[1]], A.data[: A.indptr[1]] = A.indices[order], A.data[order]
    elif damage == "indptr":
        A.indptr[rng.integers(n + 1)] += rng.integers(-3, 4)
    elif damage == "drop":
        keep = np.arange(A.nnz) != k
        A = sp.csr_array(A.toarray() - sp.csr_array((A.data * ~keep, A.indices, A.indptr), shape=A.shape).toarray())
    if wide:
        A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    verdicts = []
    for code in (native, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(structure, "native", code)
            try:
                op = as_operator(copy.copy(A))
                verdicts.append((op.csr.toarray().tolist(), op.diagonal().tolist(), facts(op.structure)))
            except NNLAError as error:
                verdicts.append((type(error), str(error)))
    assert verdicts[0] == verdicts[1]
    if damage == "none":
        assert verified_structure(A.indptr, A.indices, A.data, 1e-10) is not None
