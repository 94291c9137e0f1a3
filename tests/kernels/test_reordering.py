"""Reverse Cuthill-McKee: permutations always, SciPy's bandwidth or better, the same without native code."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import reverse_cuthill_mckee as scipys
from scipy.spatial import Delaunay

from nnla import kernels
from nnla.errors import ShapeError
from nnla.kernels.reordering import locality, permute, reverse_cuthill_mckee
from nnla.problems import poisson2d, poisson3d


@pytest.fixture(params=["native", "fallback"])
def either(request, monkeypatch):
    if request.param == "fallback":
        monkeypatch.setattr(kernels, "native", None)
    elif kernels.native is None:
        pytest.skip("the native kernels are not built")
    return request.param


def mesh(n, dimension, seed=0):
    """The graph Laplacian of a Delaunay mesh of random points, in random order."""
    cells = Delaunay(np.random.default_rng(seed).random((n, dimension))).simplices
    i, j = (np.repeat(cells, dimension + 1, axis=1).ravel(), np.tile(cells, (1, dimension + 1)).ravel())
    A = sp.coo_array((-np.ones(i.size), (i, j)), shape=(n, n)).tocsr()
    A.data[:] = -1.0
    return canonical(A + sp.diags_array(1.0 - A.sum(axis=1)))


def canonical(A):
    A = sp.csr_array(A)
    A.sum_duplicates()
    return A


def shuffled(A, seed=0):
    p = np.random.default_rng(seed).permutation(A.shape[0])
    return canonical(sp.csr_array(A)[p][:, p])


def is_permutation(order, n):
    return np.array_equal(np.sort(order), np.arange(n))


MESHES = {
    "2-D mesh": lambda: mesh(3000, 2),
    "3-D mesh": lambda: mesh(1500, 3),
    "2-D grid": lambda: shuffled(poisson2d(40)),
    "3-D grid": lambda: shuffled(poisson3d(12)),
    "long strip": lambda: shuffled(poisson2d(200, 7)),
    "two pieces": lambda: shuffled(sp.block_diag([mesh(700, 2), mesh(300, 2, 1)])),
}


@pytest.mark.parametrize("name", MESHES)
def test_the_bandwidth_is_no_worse_than_scipys(name, either):
    A = MESHES[name]()
    order = reverse_cuthill_mckee(A)
    assert is_permutation(order, A.shape[0])
    ours, theirs = (locality(permute(A, o)).bandwidth for o in (order, scipys(A, symmetric_mode=True)))
    assert ours <= 1.1 * theirs
    assert ours < locality(A).bandwidth


@pytest.mark.parametrize("name", MESHES)
def test_fewer_cache_lines_afterwards(name, either):
    A = MESHES[name]()
    before, after = locality(A), locality(permute(A, reverse_cuthill_mckee(A)))
    assert after.lines < 0.9 * before.lines
    assert after.span < before.span


def test_the_same_order_every_time():
    A = mesh(2000, 2)
    assert np.array_equal(reverse_cuthill_mckee(A), reverse_cuthill_mckee(A.copy()))


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 33])
def test_small_and_special_patterns(n, either):
    rng = np.random.default_rng(n)
    random = sp.random_array((n, n), density=0.2, rng=rng)
    arrow = np.eye(n)
    arrow[0], arrow[:, 0] = 1.0, 1.0
    patterns = {
        "diagonal": sp.eye_array(n),
        "empty": sp.csr_array((n, n)),
        "dense": np.ones((n, n)),
        "arrow": arrow,
        "reversed arrow": arrow[::-1, ::-1],
        "some empty rows": sp.diags_array((np.arange(n) % 3 == 0).astype(float)),
        "symmetric": random + random.T,
        "unsymmetric": random,
    }
    for name, pattern in patterns.items():
        A = canonical(pattern)
        order = reverse_cuthill_mckee(A)
        assert is_permutation(order, n), name
        np.testing.assert_array_equal(permute(A, order).toarray(), A.toarray()[order][:, order])


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 120), st.floats(0, 0.2), st.integers(0, 10**6), st.booleans())
def test_random_patterns(n, density, seed, symmetric):
    rng = np.random.default_rng(seed)
    A = sp.random_array((n, n), density=density, rng=rng)
    A = canonical(A + A.T if symmetric else A)
    order = reverse_cuthill_mckee(A)
    assert is_permutation(order, n)
    p = rng.permutation(n)
    B = permute(A, p)
    assert B.has_canonical_format
    assert sp.csr_array((B.data, B.indices, B.indptr), shape=B.shape).has_canonical_format  # looked at, not believed
    np.testing.assert_array_equal(B.toarray(), A.toarray()[p][:, p])


def test_permute_to_float32(either, rng):
    A = mesh(300, 2)
    A.data *= rng.random(A.nnz)
    p = rng.permutation(300)
    B = permute(A, p, np.float32)
    assert B.dtype == np.float32
    np.testing.assert_array_equal(B.toarray(), A.toarray()[p][:, p].astype(np.float32))


def test_a_row_longer_than_insertion_sort_is_good_for(rng):
    A = np.eye(400)
    A[0], A[:, 0] = rng.random(400), rng.random(400)
    p = rng.permutation(400)
    np.testing.assert_array_equal(permute(canonical(A), p).toarray(), A[p][:, p])


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3], [-1, 0, 1], [0.0, 1.0, 2.0]])
def test_what_is_no_permutation_is_refused(order):
    with pytest.raises(ShapeError, match="permutation"):
        permute(sp.eye_array(3, format="csr"), order)


def test_what_is_not_canonical_is_refused():
    A = sp.csr_array((np.ones(2), [1, 0], [0, 2, 2]), shape=(2, 2))
    for call in (reverse_cuthill_mckee, locality, lambda A: permute(A, [0, 1])):
        with pytest.raises(ShapeError, match="canonical"):
            call(A)


def test_native_and_fallback_measure_the_same(monkeypatch):
    if kernels.native is None:
        pytest.skip("the native kernels are not built")
    matrices = [mesh(3000, 2), sp.csr_array((40, 40)), sp.eye_array(1, format="csr"), canonical(poisson2d(30))]
    found = [locality(A, itemsize) for A in matrices for itemsize in (4, 8)]
    monkeypatch.setattr(kernels, "native", None)
    assert found == [locality(A, itemsize) for A in matrices for itemsize in (4, 8)]
