"""Every kind of input, every named error, and the promise that A is never modified."""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from nnla.errors import (
    DTypeError,
    NNLAError,
    NonFiniteError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
)
from nnla.operators.operator import Operator, as_operator
from nnla.operators.validation import symmetric_on_device

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
N = 6
DENSE = 3.0 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
X = np.linspace(-1.0, 2.0, N)
BLOCK = np.stack([X, X**2, np.ones(N)], axis=1)


class Duck:
    """The least that may be given as an operator."""

    def __init__(self, A, dtype=np.float64):
        self.A, self.dtype, self.shape, self.seen = A, dtype, A.shape, []

    def __matmul__(self, x):
        self.seen.append(x.shape)
        return self.A @ x


def linear(matvec, n=N, dtype=np.float64, **more):
    return LinearOperator((n, n), matvec=matvec, dtype=dtype, **more)


def with_entry(i, j, value):
    A = DENSE.copy()
    A[i, j] = value
    return A


def check_products(op):
    """Products, counting and shapes of any representation of DENSE."""
    op.reset_count()
    for x in (X, X[:, None], BLOCK, np.asfortranarray(BLOCK)):
        y = op @ x
        assert y.shape == x.shape
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, DENSE @ x, rtol=1e-14, atol=1e-14)
    assert op.products == 1 + 1 + 3 + 3
    np.testing.assert_allclose(op.matvec(X), DENSE @ X, rtol=1e-14, atol=1e-14)
    assert op.products == 9
    op.reset_count()
    assert op.products == 0
    assert (op.n, op.shape) == (N, (N, N))


# --------------------------------------------------------------------------------------------------------
# Kinds of input


@pytest.mark.parametrize("cls", [sp.coo_array, sp.coo_matrix])
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.longdouble, np.int8, np.int64])
def test_sparse(cls, fmt, dtype):
    op = as_operator(cls(DENSE).astype(dtype).asformat(fmt))
    check_products(op)
    assert (op.xp, op.device, op.dtype) == ("numpy", None, np.float64)
    assert isinstance(op.csr, sp.csr_array)
    assert op.csr.dtype == np.float64
    assert op.csr.indices.dtype == np.int32
    assert op.csr.has_canonical_format
    np.testing.assert_array_equal(op.diagonal(), np.full(N, 3.0))
    if fmt not in ("bsr", "dia"):
        assert op.nnz == 3 * N - 2


def test_half_precision_diagonals():
    A = sp.dia_array((np.full((1, N), 2.0, dtype=np.float16), [0]), shape=(N, N))  # the one format that takes it
    np.testing.assert_array_equal(as_operator(A) @ X, 2 * X)


def test_canonical_csr_is_shared_and_64_bit_indices_are_narrowed():
    A = sp.csr_array(DENSE)
    op = as_operator(A)
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(op.csr, name), getattr(A, name))
    wide = sp.csr_array(DENSE)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    op = as_operator(wide)
    check_products(op)
    assert op.csr.indices.dtype == op.csr.indptr.dtype == np.int32
    assert wide.indices.dtype == np.int64


def test_coo_duplicates_are_summed():
    coo = sp.coo_array(DENSE)
    data, row, col = (np.tile(part, 2) for part in (coo.data / 2, coo.row, coo.col))
    op = as_operator(sp.coo_array((data, (row, col)), shape=(N, N)))
    check_products(op)
    assert op.nnz == coo.nnz


@pytest.mark.parametrize("cls", [sp.csr_array, sp.csr_matrix])
def test_unsorted_and_duplicate_csr(cls):
    data = np.array([-1.0, 1.0, 2.0, 4.0, -1.0])
    indices, indptr = np.array([1, 0, 0, 1, 0]), np.array([0, 3, 5])
    A = cls((data, indices, indptr), shape=(2, 2))
    op = as_operator(A)
    np.testing.assert_array_equal(op.csr.toarray(), [[3.0, -1.0], [-1.0, 4.0]])
    assert op.csr.has_canonical_format
    np.testing.assert_array_equal(A.data, [-1.0, 1.0, 2.0, 4.0, -1.0])
    np.testing.assert_array_equal(A.indices, [1, 0, 0, 1, 0])


def test_csr_with_spare_room_at_the_end():
    A = sp.csr_array(DENSE)
    A.data, A.indices = np.append(A.data, np.nan), np.append(A.indices, 0)
    check_products(as_operator(A))


@pytest.mark.parametrize("damage", ["high", "low", "indptr"])
def test_invalid_csr_is_refused_instead_of_read_out_of_bounds(damage):
    A = sp.csr_array(DENSE)
    if damage == "indptr":
        A.indptr[2] = 0
    else:
        A.indices[3] = N if damage == "high" else -1
    with pytest.raises(ShapeError, match="not a valid CSR"):
        as_operator(A)


DENSE_INPUTS = {
    "C": DENSE,
    "F": np.asfortranarray(DENSE),
    "strided": np.repeat(np.repeat(DENSE, 2, axis=0), 2, axis=1)[::2, ::2],
    "reversed": DENSE[::-1, ::-1],
    "int": DENSE.astype(int),
    "int8": DENSE.astype(np.int8),
    "float32": DENSE.astype(np.float32),
    "float16": DENSE.astype(np.float16),
    "longdouble": DENSE.astype(np.longdouble),
    "big endian": DENSE.astype(">f8"),
    "list": DENSE.tolist(),
    "unmasked": np.ma.array(DENSE),
}


@pytest.mark.parametrize("key", DENSE_INPUTS)
def test_dense(key):
    op = as_operator(DENSE_INPUTS[key])
    check_products(op)
    assert op.csr is None
    assert op.nnz == N * N
    assert op.diagonal().dtype == np.float64
    np.testing.assert_array_equal(op.diagonal(), np.full(N, 3.0))


def test_read_only_and_matrix_subclass():
    A = DENSE.copy()
    A.setflags(write=False)
    check_products(as_operator(A))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy discourages np.matrix; users still have them
        check_products(as_operator(np.matrix(DENSE)))


def test_operator_is_returned_as_is():
    op = as_operator(DENSE)
    assert as_operator(op) is op
    assert "6x6" in repr(op)


def test_linear_operator():
    op = as_operator(aslinearoperator(sp.csr_array(DENSE)))
    assert op.products == 2  # the check
    check_products(op)
    assert op.diagonal() is None
    assert op.nnz is None
    assert op.csr is None


def test_linear_operator_blocks_use_matmat_where_it_exists():
    calls = []

    def matmat(x):
        calls.append(x.shape)
        return DENSE @ x

    op = as_operator(linear(lambda x: DENSE @ x, matmat=matmat))
    check_products(op)
    assert (N, 3) in calls


def test_linear_operator_without_matmat_sees_only_vectors():
    def matvec(x):
        assert x.shape == (N,)
        return DENSE @ x

    check_products(as_operator(linear(matvec)))

    class Mine(LinearOperator):
        def __init__(self):
            super().__init__(np.dtype(np.float64), (N, N))

        def _matvec(self, x):
            return matvec(x)

    check_products(as_operator(Mine()))


def test_linear_operator_in_float32_gives_float64():
    A = DENSE.astype(np.float32)
    op = as_operator(linear(lambda x: A @ x.astype(np.float32), dtype=np.float32))
    y = op @ X
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, DENSE @ X, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrap", [linear, lambda f: type("D", (Duck,), {"__matmul__": lambda s, x: f(x)})(DENSE)])
def test_results_in_a_reused_buffer_are_copied(wrap):
    buffer = np.empty(N)

    def matvec(x):
        np.matmul(DENSE, x, out=buffer)
        return buffer

    op = as_operator(wrap(matvec))
    first = op @ X
    op @ np.ones(N)
    np.testing.assert_allclose(first, DENSE @ X)
    identity = as_operator(wrap(lambda x: x))
    assert not np.shares_memory(identity @ X, X)


@pytest.mark.parametrize("dtype", [np.float64, "float64", float, int, None])
def test_duck(dtype):
    op = as_operator(Duck(DENSE, dtype))
    check_products(op)
    assert op.diagonal() is None


def test_duck_that_returns_columns():
    class Column(Duck):
        def __matmul__(self, x):
            return self.A @ x.reshape(N, -1)

    check_products(as_operator(Column(DENSE)))


def test_array_of_another_library_is_a_matrix():
    class Foreign(Duck):
        def __array__(self, dtype=None, copy=None):
            return self.A

    op = as_operator(Foreign(DENSE))
    assert op.nnz == N * N
    check_products(op)


def test_sparse_of_another_library_is_sparse():
    class Foreign:
        def tocsr(self):
            return sp.csr_matrix(DENSE)

    check_products(as_operator(Foreign()))


# --------------------------------------------------------------------------------------------------------
# A is never modified


@pytest.mark.parametrize("fmt", FORMATS)
def test_sparse_input_is_never_modified(fmt):
    A = sp.coo_array(DENSE).asformat(fmt)
    before = {k: v.copy() if hasattr(v, "copy") else v for k, v in vars(A).items()}
    dense = A.toarray()
    op = as_operator(A)
    op @ X
    op.diagonal()[:] = 0
    op.as_vector(X)
    np.testing.assert_array_equal(A.toarray(), dense)
    for name in ("data", "indices", "indptr", "row", "col", "offsets"):
        if name in before and fmt not in ("lil", "dok"):
            np.testing.assert_array_equal(getattr(A, name), before[name])


def test_dense_input_is_never_modified():
    A = DENSE.copy()
    op = as_operator(A)
    op @ BLOCK
    op.diagonal()[:] = 0
    np.testing.assert_array_equal(A, DENSE)


# --------------------------------------------------------------------------------------------------------
# Errors


def representations(A):
    yield A
    yield sp.csr_array(A)
    yield sp.coo_matrix(A)


@pytest.mark.parametrize("shape", [(0, 0), (3, 4), (4, 3), (0, 3)])
def test_shape_errors(shape):
    for A in representations(np.ones(shape)):
        with pytest.raises(ShapeError, match=re.escape("0x0" if shape == (0, 0) else str(shape))):
            as_operator(A, check=False)


@pytest.mark.parametrize("A", [np.ones(3), np.ones((2, 2, 2)), 3.0, [], [[1.0, 2.0], [3.0]], [1.0, 2.0]])
def test_not_a_matrix(A):
    with pytest.raises(ShapeError):
        as_operator(A)


@pytest.mark.parametrize("other", [linear, None])
def test_shape_errors_of_operators_known_by_products(other):
    with pytest.raises(ShapeError, match="not square"):
        as_operator(LinearOperator((3, 4), matvec=lambda x: x[:3], dtype=float) if other else Duck(np.ones((3, 4))))


@pytest.mark.parametrize("dtype", [bool, complex, np.complex64])
def test_dtype_errors(dtype):
    for A in representations(np.eye(3).astype(dtype)):
        with pytest.raises(DTypeError, match=np.dtype(dtype).name):
            as_operator(A, check=False)
    with pytest.raises(DTypeError):
        as_operator(linear(lambda x: x, dtype=dtype))
    with pytest.raises(DTypeError):
        as_operator(Duck(np.eye(3), dtype))


@pytest.mark.parametrize(
    "A",
    [
        np.eye(2, dtype=object),
        np.array([["1", "0"], ["0", "1"]]),
        "A.mtx",
        None,
        {"a": 1},
        object(),
        [[None]],
    ],
)
def test_not_numbers(A):
    with pytest.raises(DTypeError):
        as_operator(A)


def test_masked_entries_are_refused():
    with pytest.raises(DTypeError, match="masked"):
        as_operator(np.ma.array(DENSE, mask=DENSE < 0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite(value):
    A = with_entry(2, 3, value)
    A[4, 1] = np.nan
    for B in representations(A):
        with pytest.raises(NonFiniteError, match=re.escape(f"{value} at row 2, column 3")):
            as_operator(B)
        as_operator(B, check=False)


def test_symmetric_infinities_and_overflowing_longdouble_are_found():
    with pytest.raises(NonFiniteError, match="row 0, column 1"):
        as_operator(np.array([[1.0, np.inf], [np.inf, 1.0]]))
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(NonFiniteError):
            as_operator(np.eye(2, dtype=np.longdouble) * np.longdouble("1e400"))


@pytest.mark.parametrize(("value", "size"), [(-0.75, "0.25"), (0.0, "1")])  # same and different pattern
def test_not_symmetric(value, size):
    for A in representations(with_entry(3, 2, value)):
        with pytest.raises(NotSymmetricError) as error:
            as_operator(A)
        text = str(error.value)
        assert f"= {size} at row" in text
        assert "row 2, column 3" in text or "row 3, column 2" in text
        assert "(A + A.T)/2" in text
        assert "gmres" in text
        assert "\n" not in text
        as_operator(A, check=False)


def test_largest_asymmetry_is_named():
    A = with_entry(1, 0, -0.9)
    A[5, 4] = -0.5
    for B in representations(A):
        with pytest.raises(NotSymmetricError, match=r"0\.5 at row (4, column 5|5, column 4)"):
            as_operator(B)


def test_asymmetry_across_tiles_of_a_larger_dense_matrix():
    A = np.eye(1100)
    A[1050, 3] = 0.5
    with pytest.raises(NotSymmetricError, match="row 3, column 1050"):
        as_operator(A)
    A[3, 1050] = 0.5
    assert as_operator(A).n == 1100


def test_symmetry_up_to_rounding_passes_whatever_the_scaling():
    rng = np.random.default_rng(0)
    d = 10.0 ** rng.uniform(-8, 8, N)
    A = d[:, None] * DENSE * d * (1 + 1e-15 * rng.standard_normal((N, N)))
    assert not np.array_equal(A, A.T)
    for B in representations(A):
        as_operator(B)
    # Rounding of a product: entries small beside sqrt(a_ii a_jj) have large relative differences.
    as_operator(np.array([[1e8, 1e-6, 0], [2e-6, 1e8, 0], [0, 0, 1.0]]))


def test_asymmetry_in_a_tiny_block_is_found():
    A = np.diag([1e12, 1e12, 1e-12, 1e-12])
    A[2, 3] = 1e-13
    for B in representations(A):
        with pytest.raises(NotSymmetricError, match=r"row (2, column 3|3, column 2)"):
            as_operator(B)


def test_float32_symmetric_to_its_own_rounding_passes():
    A = DENSE.astype(np.float32)
    A[0, 1] = np.nextafter(A[0, 1], np.float32(0))
    as_operator(A)
    as_operator(sp.csr_array(A))
    with pytest.raises(NotSymmetricError):
        as_operator(A.astype(np.float64))


def test_explicit_zeros_do_not_matter():
    A = sp.csr_array(DENSE + 9.0 * (np.arange(N) == 0)[:, None] * (np.arange(N) == 4))
    A.data[A.data == 9.0] = 0.0
    assert A.nnz == 3 * N - 1
    as_operator(A)
    A.data[A.indices == 4] = np.where(A.data[A.indices == 4] == 0, 1e-20, A.data[A.indices == 4])
    as_operator(A)


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_non_positive_diagonal(value):
    for A in representations(with_entry(4, 4, value)):
        with pytest.raises(NotPositiveDefiniteError, match=rf"row 4 \(from 0\) is {value:.6g} "):
            as_operator(A)


def test_zero_matrix():
    for A in (*representations(np.zeros((3, 3))), sp.csr_array((3, 3)), linear(lambda x: 0 * x)):
        with pytest.raises(NotPositiveDefiniteError):
            as_operator(A)


@pytest.mark.parametrize("wrap", [lambda A: aslinearoperator(A), Duck])
def test_errors_found_by_random_products(wrap):
    with pytest.raises(NotSymmetricError, match="gmres"):
        as_operator(wrap(with_entry(0, 1, 0.0)))
    with pytest.raises(NotPositiveDefiniteError, match="random z"):
        as_operator(wrap(-DENSE))
    with pytest.raises(NonFiniteError, match="index 0"):
        as_operator(wrap(with_entry(0, 1, np.nan)))
    op = as_operator(wrap(with_entry(0, 1, 0.0)), check=False)
    assert op.products == 0


def test_wrong_result_of_a_product():
    with pytest.raises(ShapeError, match="6 numbers"):
        as_operator(linear(lambda x: x[:-1]))
    with pytest.raises(ShapeError, match=r"\(5,\)"):
        as_operator(type("D", (Duck,), {"__matmul__": lambda self, x: x[:-1]})(DENSE))
    with pytest.raises(DTypeError, match="complex128"):
        as_operator(linear(lambda x: 1j * x))


def test_what_a_matvec_raises_passes_untouched():
    class OwnError(Exception):
        pass

    for error in (OwnError("mine"), ValueError("cannot reshape array, says the user")):

        def matvec(x, error=error):
            raise error

        with pytest.raises(type(error)) as caught:
            as_operator(linear(matvec))
        assert caught.value is error


def test_all_errors_are_of_the_family_and_the_expected_builtin():
    for error, builtin in [
        (ShapeError, ValueError),
        (DTypeError, TypeError),
        (NotSymmetricError, ValueError),
    ]:
        assert issubclass(error, NNLAError)
        assert issubclass(error, builtin)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10**6), st.sampled_from(FORMATS))
def test_random_symmetric_patterns_pass_and_one_change_is_found(n, seed, fmt):
    rng = np.random.default_rng(seed)
    A = np.where(rng.random((n, n)) < 0.3, rng.standard_normal((n, n)), 0.0)
    A = A + A.T + np.diag(1.0 + 10 * rng.random(n) + np.abs(A + A.T).sum(axis=1))
    op = as_operator(sp.csr_array(A).asformat(fmt))
    x = rng.standard_normal(n)
    np.testing.assert_allclose(op @ x, A @ x, rtol=1e-13, atol=1e-12)
    if n > 1:
        i, j = rng.choice(n, 2, replace=False)
        A[i, j] += 0.01
        for B in (A, sp.csr_array(A).asformat(fmt)):
            with pytest.raises(NotSymmetricError, match=rf"0\.01 at row ({i}, column {j}|{j}, column {i}) "):
                as_operator(B)


# --------------------------------------------------------------------------------------------------------
# Products and vectors


@pytest.mark.parametrize("A", [DENSE, sp.csr_array(DENSE), aslinearoperator(DENSE), Duck(DENSE)])
@pytest.mark.parametrize("shape", [(N + 1,), (N + 1, 2), (1, N), (N, 1, 1), ()])
def test_product_with_a_wrong_shape(A, shape):
    op = as_operator(A)
    before = op.products
    with pytest.raises(ShapeError, match="6x6"):
        op @ np.ones(shape)
    assert op.products == before


VECTORS = {
    "vector": X,
    "column": X[:, None],
    "block": BLOCK,
    "F block": np.asfortranarray(BLOCK),
    "view": np.repeat(X, 2)[::2],
    "list": X.tolist(),
    "tuple": tuple(X),
    "float32": X.astype(np.float32),
    "int": np.arange(N),
    "bool": np.arange(N) % 2 == 0,
    "longdouble": X.astype(np.longdouble),
    "sparse column": sp.csc_array(X[:, None]),
    "sparse block": sp.coo_matrix(BLOCK),
}


@pytest.mark.parametrize("key", VECTORS)
def test_as_vector(key):
    b = VECTORS[key]
    expected = np.asarray(b.toarray() if sp.issparse(b) else b, dtype=np.float64)
    x = as_operator(DENSE).as_vector(b)
    assert type(x) is np.ndarray
    assert x.dtype == np.float64
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert x.shape == expected.shape
    np.testing.assert_array_equal(x, expected)
    if isinstance(b, np.ndarray):
        assert not np.shares_memory(x, b)


@pytest.mark.parametrize("b", [np.ones(5), np.ones((1, N)), np.ones((N, 2, 2)), 1.0, sp.csr_array((10**9, 2))])
def test_as_vector_wrong_shape_names_both(b):
    with pytest.raises(ShapeError, match=r"x0 has shape .* but A is 6x6"):
        as_operator(DENSE).as_vector(b, name="x0")


def test_as_vector_hints_at_the_transpose_and_refuses_no_columns():
    op = as_operator(DENSE)
    with pytest.raises(ShapeError, match=r"pass b\.T"):
        op.as_vector(np.ones((1, N)))
    with pytest.raises(ShapeError, match=r"\(6, 0\)"):
        op.as_vector(np.ones((N, 0)))
    with pytest.raises(ShapeError, match="rectangular"):
        op.as_vector([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("b", [1j * X, X.astype(object), ["1"] * N, None, [None] * N, sp.csr_array(1j * BLOCK)])
def test_as_vector_dtype(b):
    with pytest.raises(DTypeError, match="b "):
        as_operator(DENSE).as_vector(b)


def test_as_vector_non_finite():
    op, block = as_operator(DENSE), BLOCK.copy()
    block[3, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"b contains inf at index \(3, 1\)"):
        op.as_vector(block)
    with pytest.raises(NonFiniteError, match="x0 contains nan at index 2"):
        op.as_vector([0, 0, np.nan, 0, 0, 0], name="x0")
    with pytest.raises(NonFiniteError):
        op.as_vector(sp.csr_array(block))


# --------------------------------------------------------------------------------------------------------
# torch


TORCH_KEYS = ["dense", "transposed", "float32", "bfloat16", "int", "grad"]
TORCH_KEYS += ["coo", "uncoalesced", "csr", "csc", "bsr", "coo float32"]


def torch_inputs():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the CSR layout is in beta
        dense = torch.tensor(DENSE)
        return {
            "dense": dense,
            "transposed": dense.T,
            "float32": dense.to(torch.float32),
            "bfloat16": dense.to(torch.bfloat16),
            "int": dense.to(torch.int32),
            "grad": dense.clone().requires_grad_(),
            "coo": dense.to_sparse(),
            "uncoalesced": torch.sparse_coo_tensor(
                dense.to_sparse().indices().repeat(1, 2), dense.to_sparse().values().repeat(2) / 2, (N, N)
            ),
            "csr": dense.to_sparse_csr(),
            "csc": dense.to_sparse_csc(),
            "bsr": dense.to_sparse_bsr((2, 2)),
            "coo float32": dense.to(torch.float32).to_sparse(),
        }


@pytest.mark.parametrize("key", TORCH_KEYS)
def test_torch(key):
    A = torch_inputs()[key]
    import torch

    before = A.detach().clone()
    with torch.no_grad():  # outside, one that requires a gradient is refused
        op = as_operator(A)
    assert (op.xp, op.device, op.dtype, op.csr) == ("torch", A.device, torch.float64, None)
    for b in (X, BLOCK, torch.tensor(X, dtype=torch.float32), sp.csr_array(BLOCK)):
        x = op.as_vector(b)
        op.reset_count()
        y = op @ x
        assert y.dtype == torch.float64
        assert y.shape == x.shape
        assert op.products == (1 if x.ndim == 1 else 3)
        assert not y.requires_grad
        np.testing.assert_allclose(y.numpy(), DENSE @ x.numpy(), rtol=1e-13, atol=1e-13)
    assert op.diagonal().dtype == torch.float64
    np.testing.assert_array_equal(op.diagonal().numpy(), np.full(N, 3.0))
    assert torch.equal(A.detach().to_dense(), before.to_dense())
    assert op.nnz >= 3 * N - 2


@pytest.mark.parametrize("key", ["dense", "coo"])
def test_the_verdict_on_the_device_agrees_with_the_host(key):
    torch = pytest.importorskip("torch")
    layout = (lambda A: torch.tensor(A)) if key == "dense" else (lambda A: torch.tensor(A).to_sparse())
    good = as_operator(layout(DENSE)).matrix
    assert symmetric_on_device(good)
    for value in (np.nan, -1.0 - 1e-14, 0.0):
        assert not symmetric_on_device(as_operator(layout(with_entry(3, 2, value)), check=False).matrix)
    both = with_entry(3, 2, np.inf)
    both[2, 3] = np.inf
    assert not symmetric_on_device(as_operator(layout(both), check=False).matrix)


def test_torch_csr_with_unsorted_columns():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        A = torch.sparse_csr_tensor([0, 2, 4], [1, 0, 0, 1], torch.tensor([-1.0, 3.0, -1.0, 4.0]), (2, 2))
    op = as_operator(A)
    np.testing.assert_array_equal((op @ torch.eye(2, dtype=torch.float64)).numpy(), [[3.0, -1.0], [-1.0, 4.0]])
    assert op.matrix.col_indices().tolist() == [0, 1, 0, 1]


def test_torch_errors():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor
    for layout in (lambda A: tensor(A), lambda A: tensor(A).to_sparse()):
        with pytest.raises(ShapeError):
            as_operator(layout(DENSE[:3]))
        with pytest.raises(NotSymmetricError, match=r"0\.25 at row"):
            as_operator(layout(with_entry(3, 2, -0.75)))
        with pytest.raises(NotSymmetricError, match=r"1 at row"):
            as_operator(layout(with_entry(3, 2, 0.0)))
        with pytest.raises(NonFiniteError, match="nan at row 2, column 3"):
            as_operator(layout(with_entry(2, 3, np.nan)))
        with pytest.raises(NotPositiveDefiniteError, match="row 4"):
            as_operator(layout(with_entry(4, 4, -1.0)))
        with pytest.raises(DTypeError, match="complex"):
            as_operator(layout(DENSE + 0j))
        as_operator(layout(with_entry(3, 2, -1 - 1e-14)))
        as_operator(layout(with_entry(3, 2, 0.0)), check=False)
    with pytest.raises(ShapeError):
        as_operator(torch.ones(0, 0))
    with pytest.raises(DTypeError, match="bool"):
        as_operator(torch.eye(3, dtype=torch.bool))
    with pytest.raises(DTypeError, match="meta"):
        as_operator(torch.ones(3, 3, device="meta"))


def test_torch_vectors():
    torch = pytest.importorskip("torch")
    op, given_tensor = as_operator(torch.tensor(DENSE)), torch.tensor(X)
    x = op.as_vector(given_tensor)
    assert x.data_ptr() != given_tensor.data_ptr()
    assert op.as_vector(torch.tensor(BLOCK).T.contiguous().T).is_contiguous()
    given_array = X.copy()
    op.as_vector(given_array).zero_()
    np.testing.assert_array_equal(given_array, X)
    with torch.no_grad():
        assert op.as_vector(given_tensor.clone().requires_grad_()).requires_grad is False
    np.testing.assert_array_equal(as_operator(DENSE).as_vector(given_tensor.to(torch.bfloat16).to_sparse()).shape, (N,))
    with pytest.raises(DTypeError):
        op.as_vector(given_tensor * 1j)
    with pytest.raises(ShapeError):
        op.as_vector(torch.ones(N + 1))
    with pytest.raises(NonFiniteError, match="index 0"):
        op.as_vector(torch.full((N,), torch.nan))


def test_torch_tensor_of_a_subclass_is_a_tensor():
    torch = pytest.importorskip("torch")
    assert as_operator(torch.nn.Parameter(torch.tensor(DENSE), requires_grad=False)).xp == "torch"
    assert isinstance(as_operator(torch.tensor(DENSE)), Operator)
