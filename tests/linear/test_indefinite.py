"""Indefinite matrices that look definite: recognised by every method, with the negative pivots where a factor knows."""

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NotPositiveDefiniteError
from nnla.linear.direct import factorise
from nnla.linear.inertia import lost_pivots, negative_count, null_basis

ITERATIVE = ("cg", "fcg", "jacobi", "ic", "amg", "autospec", "chebyshev", "chebyshev4", "rule", "gmres")


def network(n, turned, rng):
    """A grounded network in which some lines have a negative reactance, and a positive diagonal all the same."""
    pairs = [(i, int(rng.integers(0, i))) for i in range(1, n)]
    pairs += [(int(i), int(j)) for i, j in rng.integers(0, n, (2 * n, 2)) if i != j]
    i, j = np.array(pairs).T
    w = rng.uniform(1.0, 10.0, i.size)
    for line in rng.permutation(i.size)[:turned]:
        w[line] = -0.9 * w[line]
    W = sp.coo_array((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(n, n)).tocsr()
    A = sp.lil_array(sp.diags_array(np.asarray(W.sum(axis=1)).ravel()) - W)
    A[0, 0] += 1.0
    d = A.diagonal()
    A.setdiag(np.where(d > 0, d, 0.1))
    return sp.csr_array(A)


@pytest.fixture(params=[60, 400])
def case(request, rng):
    A = network(request.param, request.param // 5, rng)
    negative = int(np.count_nonzero(np.linalg.eigvalsh(A.toarray()) < 0))
    assert negative > 0
    assert A.diagonal().min() > 0
    return A, rng.standard_normal(A.shape[0]), negative


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("method", ["auto", "direct"])
def test_a_direct_solution_says_that_a_is_indefinite(case, method, dense):
    """It was `converged` with no word: a wrong sign in an assembly stayed hidden."""
    A, b, negative = case
    M = A.toarray() if dense else A
    for report in (nnla.solve(M, b, method=method).report, nnla.prepare(M, method).solve(b).report):
        assert report.converged
        assert report.negative_pivots == negative
        assert f"indefinite: {negative} negative pivots" in report.fallback
    if method == "direct":
        assert f"{negative} negative pivots" in nnla.prepare(M, method).report.fallback
        assert factorise(nnla.as_operator(M)).negative_pivots == negative


@pytest.mark.parametrize("method", ITERATIVE)
def test_iterations_recognise_it(case, method):
    """ "ic" raised and advised an option that `solve` does not have, "amg" raised the base class."""
    A, b, _ = case
    x, report = nnla.solve(A, b, method=method)
    assert not report.converged
    assert report.status == "indefinite"
    assert np.all(np.isfinite(x))
    try:
        assert nnla.prepare(A, method).solve(b).report.status == "indefinite"
    except NotPositiveDefiniteError as error:
        said = str(error)
    else:
        said = ""
    assert "shift=" not in said


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e200])
def test_in_any_unit(scale, rng):
    A = network(60, 12, rng)
    s = 10.0 ** rng.uniform(-4, 4, 60)
    scaled = sp.csr_array(sp.diags_array(s) @ A @ sp.diags_array(s)) * scale
    negative = int(np.count_nonzero(np.linalg.eigvalsh(A.toarray()) < 0))
    assert nnla.solve(scaled, rng.standard_normal(60), method="direct", rtol=1e-4).report.negative_pivots == negative
    assert nnla.solve(scaled, rng.standard_normal(60), method="jacobi").report.status == "indefinite"


def test_a_definite_matrix_has_no_negative_pivots_to_report():
    A, b = nnla.problems.poisson2d(12), np.ones(144)
    for method in ("auto", "direct", "ic"):
        report = nnla.solve(A, b, method=method).report
        assert report.negative_pivots is None
        assert report.fallback is None


def test_rounding_is_not_called_indefinite():
    assert negative_count(np.array([1.0, -1e-17, 1.0]), np.ones(3)) == 0
    assert negative_count(np.array([1.0, -1e-3, 1.0]), np.ones(3)) == 1
    assert lost_pivots(np.array([1.0, 1e-16]), np.ones(2))
    assert not lost_pivots(np.array([1e-200, 1e-210]), np.array([1e-200, 1e-205]))
    assert null_basis(nnla.as_operator(np.array([[1.0, 2.0], [2.0, 1.0]]))) is None
    assert null_basis(nnla.as_operator(np.eye(3))).shape == (3, 0)
    assert null_basis(nnla.as_operator(np.ones((3, 3)))).shape == (3, 2)


def test_a_scaling_that_cannot_be_made_is_left_for_another(case):
    A, b, _ = case
    hard = sp.csr_array(A + sp.csr_array(0.0 * A))
    report = nnla.solve(hard, b, method="chebyshev", scaling="ic").report
    assert report.status in ("indefinite", "breakdown")


@pytest.mark.parametrize("limit", ["DIRECT_LIMIT", "_FLOPS_LIMIT"])
def test_auto_never_advises_auto(limit, monkeypatch, rng):
    """What a direct solution finds too large is the end of "auto", not an error that names it as the remedy."""
    monkeypatch.setattr(f"nnla.linear.direct.{limit}", 1)
    A = network(60, 12, rng)
    b = rng.standard_normal(60)
    report = nnla.solve(A, b, method="auto").report
    assert not report.converged
    assert "auto" not in report.fallback
    with pytest.raises(nnla.errors.OptionError, match="use method='auto'"):
        nnla.solve(A, b, method="direct")
