"""The suite: fifteen systems, lazy, reproducible, SPD."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import splu

from nnla.errors import OptionError
from nnla.problems import SUITE, Problem, problem, suite
from nnla.problems.demo import demo


def assert_spd(A):
    """Exactly symmetric, and all pivots of an unpivoted sparse elimination positive."""
    assert isinstance(A, csr_array)
    assert A.indices.dtype == np.int32
    assert A.has_sorted_indices
    T = A.T.tocsr()
    T.sort_indices()
    assert np.array_equal(A.indptr, T.indptr)
    assert np.array_equal(A.indices, T.indices)
    assert np.array_equal(A.data, T.data)
    lu = splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    assert np.array_equal(lu.perm_r, lu.perm_c)
    assert lu.U.diagonal().min() > 0


def test_fifteen_distinct():
    assert len(SUITE) == 15
    problems = suite("small")
    assert [p.name for p in problems] == list(SUITE)
    assert len({(p.A.shape[0], p.A.nnz, float(p.A.data.sum())) for p in problems}) == 15


@pytest.mark.parametrize("name", SUITE)
def test_small(name):
    p = problem(name, "small")
    n = p.A.shape[0]
    assert 450 <= n <= 3000
    assert p.b.shape == (n,)
    assert_spd(p.A)
    again = problem(name, "small")
    assert np.array_equal(p.A.data, again.A.data)
    assert np.array_equal(p.b, again.b)


@pytest.mark.parametrize("name", ["wathen", "lognormal3d", "circuit_supply", "elasticity3d", "checkerboard2d"])
def test_full_size(name):
    A = SUITE[name]("full")
    assert 20_000 <= A.shape[0] <= 50_000
    assert A.diagonal().min() > 0


def test_refusals():
    with pytest.raises(OptionError, match="poisson2d"):
        problem("poisson")
    with pytest.raises(OptionError, match="'small'"):
        problem("poisson2d", "medium")


def test_problem_is_frozen():
    p = Problem("one", csr_array(np.eye(1)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.name = "two"


def test_demo_is_real_sized_and_takes_plain_cg_a_while():
    p = demo()
    assert 30_000 <= p.A.shape[0] <= 50_000
    # Plain CG by hand: einsum keeps threaded BLAS, slow on vectors this short, out of the test.
    x, r = np.zeros_like(p.b), p.b.copy()
    d, rr, iterations = r.copy(), np.einsum("i,i", r, r), 0
    target = 1e-16 * rr
    while rr > target and iterations < 3000:
        Ad = p.A @ d
        alpha = rr / np.einsum("i,i", d, Ad)
        x += alpha * d
        r -= alpha * Ad
        rr, old = np.einsum("i,i", r, r), rr
        d = r + (rr / old) * d
        iterations += 1
    assert 300 <= iterations <= 2500
    assert np.linalg.norm(p.b - p.A @ x) <= 1e-7 * np.linalg.norm(p.b)
