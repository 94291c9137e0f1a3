"""Probes: Gauss rules that integrate, bounds that bound, JSON that round-trips."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import FileFormatError, NonFiniteError, OptionError
from nnla.types import SpectralProbe


@pytest.fixture(scope="module")
def matrix():
    return nnla.problems.diffusion2d(nnla.problems.lognormal_field((15, 15), s=1.0))


@pytest.mark.parametrize("scaling", ["none", "jacobi", "ic"])
def test_gauss_rule_integrates_polynomials(matrix, scaling):
    """k steps integrate degree 2k - 1 exactly: moments of the (scaled) operator in its inner product."""
    from nnla.operators.operator import as_operator
    from nnla.preconditioners.scalings import bind_scaling

    p = nnla.probe(matrix, 6, seed=3, scaling=scaling)
    v = np.random.default_rng(3).standard_normal(matrix.shape[0])
    solve = bind_scaling(as_operator(matrix), scaling).solve
    w = v.copy()
    total = v @ solve(v)
    for power in range(10):
        moment = (v @ solve(w)) / total
        gauss = np.sum(p.ritz_weights * p.ritz_values**power)
        assert gauss == pytest.approx(moment, rel=1e-8), power
        w = matrix @ solve(w)


def test_ritz_residuals_are_error_bounds(matrix):
    lam = np.linalg.eigvalsh(matrix.toarray())
    p = nnla.probe(matrix, 30)
    distance = np.min(np.abs(p.ritz_values[:, None] - lam), axis=1)
    assert np.all(distance <= p.ritz_residuals * (1 + 1e-8) + 1e-12 * lam[-1])
    assert lam[0] <= p.lambda_min
    assert p.lambda_max <= lam[-1] * (1 + 1e-12) <= p.upper_bound * (1 + 1e-6)
    assert p.products == p.steps == 30
    assert p.ritz_weights.sum() == pytest.approx(1)


def test_same_seed_same_probe_and_scale_invariance(matrix):
    p, q = nnla.probe(matrix, 10, seed=1), nnla.probe(matrix, 10, seed=1)
    assert np.array_equal(p.alpha, q.alpha)
    assert not np.array_equal(p.alpha, nnla.probe(matrix, 10, seed=2).alpha)
    tiny = nnla.probe(1e-13 * matrix, 10, seed=1)
    assert np.allclose(tiny.alpha, 1e-13 * p.alpha, rtol=1e-10)


def test_exhausted_space_ends_early():
    p = nnla.probe(np.eye(8) * 3.0, 5)
    assert p.steps == 1
    assert p.exhausted
    assert p.ritz_values == pytest.approx([3.0])
    one = nnla.probe([[2.5]])
    assert one.lambda_max == 2.5


def test_indefinite_operator_shows(rng):
    from scipy.sparse.linalg import aslinearoperator

    lam = np.linspace(-1, 5, 40)  # positive on average, so that the random test of the operator passes
    p = nnla.probe(aslinearoperator(sp.diags_array(lam + 1e-9)), 30)
    assert not p.definite


def test_json(matrix):
    p = nnla.probe(matrix, 12, scaling="jacobi")
    q = SpectralProbe.from_json(p.to_json())
    assert np.array_equal(p.alpha, q.alpha)
    assert (q.n, q.scaling, q.seed, q.products) == (p.n, "jacobi", 0, 12)
    for bad in ("", "{}", '{"format": "nnla-probe", "version": 1}', "[1]"):
        with pytest.raises(FileFormatError):
            SpectralProbe.from_json(bad)


def test_json_of_an_older_version_has_no_reductions(matrix):
    p = nnla.probe(matrix, 12, scaling="jacobi")
    assert np.array_equal(SpectralProbe.from_json(p.to_json()).reductions, p.reductions)
    data = json.loads(p.to_json())
    del data["reductions"]
    old = SpectralProbe.from_json(json.dumps(data))
    assert old.reductions is None
    assert np.array_equal(old.alpha, p.alpha)
    for bad in ("many", 0, 2.5, None):
        with pytest.raises(FileFormatError):
            SpectralProbe.from_json(json.dumps(data | {"n": bad}))


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, "ten"])
def test_bad_steps(matrix, steps):
    with pytest.raises(OptionError):
        nnla.probe(matrix, steps)


def test_bad_options(matrix):
    with pytest.raises(OptionError):
        nnla.probe(matrix, 5, scaling="cholesky")
    with pytest.raises(NonFiniteError):
        nnla.probe(matrix, 5, start=np.full(matrix.shape[0], np.nan))
    with pytest.raises(NonFiniteError):
        nnla.probe(matrix, 5, start=np.zeros(matrix.shape[0]))
