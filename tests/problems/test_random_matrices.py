"""Each kind has the property that it is named after."""

import numpy as np
import pytest
from scipy.sparse import issparse
from scipy.sparse.csgraph import connected_components

from nnla.errors import OptionError
from nnla.problems.random_matrices import KINDS, SPD_KINDS, random_matrix


def dense(kind, n, seed=0):
    A = random_matrix(kind, n, seed)
    return A.toarray() if issparse(A) else A


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 25])
def test_shape_dtype_and_symmetry(kind, n):
    A = random_matrix(kind, n, 1)
    assert A.dtype == np.float64
    assert A.shape == ((1, 1) if kind == "one_by_one" else (n, n))
    assert issparse(A) == (kind != "spd_dense")
    D = dense(kind, n, 1)
    if kind not in ("asymmetric", "nan"):
        assert np.array_equal(D, D.T)
        assert np.isfinite(D).all()
    assert np.array_equal(D, dense(kind, n, 1), equal_nan=True)


@pytest.mark.parametrize("kind", SPD_KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_positive_definite(kind, seed):
    A = dense(kind, 20, seed)
    d = 1 / np.sqrt(np.diag(A))  # scaling by the diagonal does not change definiteness
    assert np.linalg.eigvalsh(d[:, None] * A * d)[0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_properties(seed):
    w = np.linalg.eigvalsh(dense("indefinite", 20, seed))
    assert w[0] < 0 < w[-1]
    w = np.linalg.eigvalsh(dense("semidefinite", 20, seed))
    assert abs(w[0]) < 1e-12 * w[-1]
    assert w[1] > 1e-6 * w[-1]
    assert np.linalg.eigvalsh(dense("negative_definite", 20, seed))[-1] < 0
    w = np.linalg.eigvalsh(dense("nearly_singular", 20, seed))
    assert abs(w[0]) < 1e-12
    A = dense("asymmetric", 20, seed)
    assert np.abs(A - A.T).max() > 1e-3
    assert np.isnan(dense("nan", 20, seed)).sum() == 1
    assert not dense("zero", 20, seed).any()
    off = dense("diagonal", 20, seed)
    assert np.count_nonzero(off) == 20
    A = np.abs(dense("badly_scaled_spd", 60, seed))
    assert A.max() / A[A > 0].min() > 1e12
    assert np.abs(dense("tiny_scale", 20, seed)).max() < 1e-9
    assert np.abs(dense("huge_scale", 20, seed)).max() > 1e11
    assert connected_components(random_matrix("block_diagonal", 20, seed))[0] >= 4
    assert connected_components(random_matrix("graph_laplacian_shifted", 20, seed))[0] == 1


def test_generator_is_used_and_bad_arguments_are_named():
    rng = np.random.default_rng(0)
    assert not np.array_equal(dense("spd_dense", 4, rng), dense("spd_dense", 4, rng))
    with pytest.raises(OptionError, match="spd_sparse"):
        random_matrix("spd", 4)
    with pytest.raises(OptionError, match="at least 1"):
        random_matrix("zero", 0)
