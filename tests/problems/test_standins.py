"""Stand-ins: the row lengths of RECIPES.md at reduced size, and definiteness."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from nnla.errors import OptionError
from nnla.problems import standins
from nnla.problems.assembly import assemble
from nnla.problems.finite_elements import eliminate


def row_lengths(A):
    return np.diff(A.indptr)


def quartiles(A):
    return tuple(int(q) for q in np.percentile(row_lengths(A), [25, 50, 75]))


def condition(A):
    high = eigsh(A, k=1, which="LA", return_eigenvectors=False, tol=1e-3, v0=np.ones(A.shape[0]))[0]
    low = eigsh(A.tocsc(), k=1, sigma=0, return_eigenvectors=False, tol=1e-3, v0=np.ones(A.shape[0]))[0]
    assert low > 0
    return high / low


def exactly_symmetric(A: csr_array):
    T = A.T.tocsr()
    T.sort_indices()
    return np.array_equal(A.indices, T.indices) and np.array_equal(A.data, T.data)


def test_dubcova2_like():
    A = standins.dubcova2_like()
    assert A.shape[0] == 65_025
    assert A.nnz == 1_030_225
    assert quartiles(A) == (9, 15, 15)
    assert (row_lengths(A).min(), row_lengths(A).max()) == (4, 25)
    assert exactly_symmetric(A)
    assert np.linalg.eigvalsh(standins.dubcova2_like(8).toarray())[0] > 0
    # The recipe's 2.5e4 for the plain Laplacian on 128 cells; it goes with the square of their number.
    assert condition(standins.dubcova2_like(32, s=0.0)) * 16 == pytest.approx(2.5e4, rel=0.05)


def test_thermal1_like():
    A = standins.thermal1_like(8000)
    assert quartiles(A) == (6, 7, 7)
    assert row_lengths(A).min() == 1
    assert 10 <= row_lengths(A).max() <= 12
    assert row_lengths(A).mean() == pytest.approx(6.950, rel=0.03)
    identity = row_lengths(A) == 1
    assert np.all(A.diagonal()[identity] == 1.0)
    # 248 of about 2000 boundary nodes in the real one.
    assert identity.sum() == pytest.approx(248 * np.sqrt(8000 / 82654), rel=0.1)
    norms = np.sqrt(np.asarray(A.multiply(A).sum(axis=1)))[~identity]
    assert np.median(norms) == pytest.approx(4.16, rel=0.05)
    assert exactly_symmetric(A)
    # The condition number goes with n: 3.2e5 at full size.
    assert condition(A) * 82654 / 8000 == pytest.approx(3.2e5, rel=0.5)


def test_thermal2_like():
    A = standins.thermal2_like(0.01)
    assert A.shape[0] == pytest.approx(12_280, rel=0.03)
    assert quartiles(A) == (6, 7, 7)
    assert row_lengths(A).mean() == pytest.approx(6.987, rel=0.03)


def test_thermomech_tc_like():
    A = standins.thermomech_tc_like(0.1)
    assert quartiles(A) == (7, 7, 7)
    assert (row_lengths(A).min(), row_lengths(A).max()) in {(4, 10), (3, 10), (4, 11), (4, 9)}
    assert row_lengths(A).mean() == pytest.approx(6.965, rel=0.015)
    assert exactly_symmetric(A)
    assert condition(A) == pytest.approx(67, rel=0.15)


def test_g3_circuit_like():
    A = standins.g3_circuit_like(0.02)
    assert A.shape[0] == pytest.approx(31_710, rel=0.03)
    assert quartiles(A) == (5, 5, 5)
    assert (row_lengths(A).min(), row_lengths(A).max()) == (2, 6)
    assert row_lengths(A).mean() == pytest.approx(4.832, rel=0.01)
    supplied = A.sum(axis=1) > 1.0
    assert supplied.mean() == pytest.approx(0.021, rel=0.02)
    assert exactly_symmetric(A)
    np.linalg.cholesky(standins.g3_circuit_like(0.0005).toarray())


def test_flan_like_small():
    A = standins.flan_like(0.002)
    assert exactly_symmetric(A)
    np.linalg.cholesky(A.toarray())
    assert row_lengths(A).max() == 81
    assert row_lengths(A).min() >= 24


def test_flan_like_row_lengths_of_the_mesh():
    """From the scalar graph of the mesh, as the matrix itself is too large for a test."""
    points, cells = standins._flange(0.2)
    graph = eliminate(assemble(cells, np.ones((len(cells), 8, 8)), len(points)), points[:, 2] == 0.0)
    lengths = 3 * row_lengths(graph)
    assert graph.shape[0] == pytest.approx(0.2 * 521_598, rel=0.05)
    assert (lengths.min(), lengths.max()) == (24, 81)
    assert tuple(np.percentile(lengths, [25, 50, 75])) == (81, 81, 81) or np.median(lengths) == 81
    assert lengths.mean() == pytest.approx(75.03, rel=0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: standins.dubcova2_like(1),
        lambda: standins.thermal1_like(10),
        lambda: standins.thermal2_like(0.0),
        lambda: standins.g3_circuit_like(float("nan")),
        lambda: standins.flan_like(-1.0),
    ],
)
def test_refusals(call):
    with pytest.raises(OptionError):
        call()
