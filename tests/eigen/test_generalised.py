"""eigsh with a shift and with a mass matrix, against LAPACK's eigenvalues and by residuals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator, splu

import nnla
from nnla.errors import (
    DTypeError,
    NonFiniteError,
    NotConvergedError,
    NotConvergedWarning,
    NotPositiveDefiniteError,
    NotSymmetricError,
    OptionError,
    ShapeError,
)

FORMS = (np.asarray, sp.csr_array, aslinearoperator)


def symmetric(n, rng):
    C = rng.standard_normal((n, n))
    return (C + C.T) / 2


def definite(n, rng, condition=100.0):
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    C = (Q * np.geomspace(1.0, condition, n)) @ Q.T
    return (C + C.T) / 2


def rod(n, seed=0):
    """Stiffness and consistent mass of a graded rod: banded, so that factors are cheap."""
    h = 0.5 + np.random.default_rng(seed).random(n + 1)
    K = sp.diags_array([-1 / h[1:-1], 1 / h[:-1] + 1 / h[1:], -1 / h[1:-1]], offsets=[-1, 0, 1])
    M = sp.diags_array([h[1:-1] / 6, (h[:-1] + h[1:]) / 3, h[1:-1] / 6], offsets=[-1, 0, 1])
    return sp.csr_array(K), sp.csr_array(M)


def numbers(w, sigma, mode):
    if sigma is None:
        return w
    return {"normal": 1 / (w - sigma), "cayley": (w + sigma) / (w - sigma), "buckling": w / (w - sigma)}[mode]


def expected(w, k, which, sigma=None, mode="normal"):
    """The k eigenvalues that SciPy's names mean."""
    numbered = numbers(w, sigma, mode)
    order = np.argsort(np.abs(numbered) if which in ("LM", "SM") else numbered, kind="stable")
    picked = {"LM": order[-k:], "LA": order[-k:], "SM": order[:k], "SA": order[:k]}
    ends = np.concatenate([order[: k // 2], order[k // 2 - k :]])
    return np.sort(w[picked.get(which, ends)])


def every(A, M, mode="normal"):
    """All eigenvalues of A v = lambda M v."""
    A, M = (C.toarray() if sp.issparse(C) else C for C in (A, M))
    if mode == "buckling":
        return np.sort(1 / scipy.linalg.eigh(np.eye(len(A)) if M is None else M, A, eigvals_only=True))
    return scipy.linalg.eigh(A, M, eigvals_only=True)


def check(A, M, answer, true, mode="normal"):
    """Values, vectors, their orthogonality and what the report says of the residuals."""
    w, V, report = answer
    D, N = (C.toarray() if sp.issparse(C) else C for C in (A, np.eye(A.shape[0]) if M is None else M))
    size = np.abs(every(A, M, mode)).min() if mode == "buckling" else np.abs(every(A, M)).max()
    np.testing.assert_allclose(w, true, rtol=1e-7, atol=1e-9 * size)
    np.testing.assert_allclose(V.T @ (D if mode == "buckling" else N) @ V, np.eye(w.size), atol=1e-7)
    sizes = np.linalg.norm(D, 2) + (0.0 if M is None else np.abs(w) * np.linalg.norm(N, 2))
    residuals = np.linalg.norm(D @ V - N @ V * w, axis=0) / np.linalg.norm(V, axis=0)
    np.testing.assert_allclose(residuals, report.residuals, atol=1e-13 * sizes.max())
    assert np.all(residuals <= 1.01e-10 * sizes)
    assert report.converged
    assert report.verified


SHIFTS = [(None, "normal"), (0.0, "normal"), *itertools.product([0.3, -0.7], ["normal", "cayley", "buckling"])]


@pytest.mark.parametrize("with_mass", [False, True])
@pytest.mark.parametrize(("sigma", "mode"), [*SHIFTS, (1e4, "normal"), (-1e4, "normal")])
@pytest.mark.parametrize("which", ["SA", "LA", "LM", "SM", "BE"])
def test_small_problems_of_every_form(which, sigma, mode, with_mass, rng):
    n = 24
    A = definite(n, rng) if mode == "buckling" else symmetric(n, rng)
    M = None if not with_mass else symmetric(n, rng) if mode == "buckling" else definite(n, rng, 20.0)
    w = every(A, M, mode)
    for form, k in zip(FORMS, (1, 5, n), strict=True):
        given = None if M is None else form(M)
        answer = nnla.eigsh(form(A), k, M=given, sigma=sigma, which=which, mode=mode, return_report=True)
        check(A, M, answer, expected(w, k, which, sigma, mode), mode)
        assert answer[2].which == which
        assert answer[2].mode == mode
        assert answer[2].sigma == sigma
        assert (answer[2].mass_norm is None) == (M is None and mode != "buckling")


@pytest.mark.parametrize("with_mass", [False, True])
@pytest.mark.parametrize(("sigma", "mode"), [(None, "normal"), (0.0, "normal"), (0.31, "normal"), (0.31, "cayley")])
@pytest.mark.parametrize("which", ["SA", "LA", "LM", "SM", "BE"])
def test_by_factorisation(which, sigma, mode, with_mass):
    K, mass = rod(300)
    A = sp.csr_array(K - 0.9 * sp.eye_array(300))  # eigenvalues on both sides of everything
    M = mass if with_mass else None
    given = {"M": M, "sigma": sigma, "which": which, "mode": mode}
    answer = nnla.eigsh(A, 5, method="direct", return_report=True, **given)
    check(A, M, answer, expected(every(A, M), 5, which, sigma, mode), mode)
    assert "direct" in answer[2].method


@pytest.mark.parametrize("which", ["SA", "LA", "LM", "BE"])
@pytest.mark.parametrize("sigma", [0.31, -45.0])
def test_buckling_by_factorisation(which, sigma):
    K, mass = rod(300)
    G = sp.csr_array(mass - 0.4 * sp.eye_array(300))  # indefinite
    answer = nnla.eigsh(K, 4, M=G, sigma=sigma, which=which, mode="buckling", method="direct", return_report=True)
    check(K, G, answer, expected(every(K, G, "buckling"), 4, which, sigma, "buckling"), "buckling")


def test_what_is_asked_for_by_default():
    K, M = rod(100)
    w = every(K, M)
    np.testing.assert_allclose(nnla.eigsh(K, 3, M=M)[0], w[:3])
    np.testing.assert_allclose(nnla.eigsh(K, 3, M=M, sigma=1.0)[0], expected(w, 3, "LM", 1.0))


def test_eigenvalues_alone_and_a_report():
    K, M = rod(60)
    w = nnla.eigsh(K, 3, M=M, return_eigenvectors=False)
    np.testing.assert_allclose(w, every(K, M)[:3])
    again, report = nnla.eigsh(K, 3, M=M, return_eigenvectors=False, return_report=True)
    np.testing.assert_array_equal(w, again)
    assert report.k == 3
    assert report.mass_norm == pytest.approx(np.linalg.norm(M.toarray(), 2), rel=0.1)


def test_the_largest_in_magnitude_of_a_definite_matrix_take_one_search():
    A = nnla.problems.poisson2d(40)
    true = np.sort(np.linalg.eigvalsh(A.toarray()))[-4:]
    for form, sign in ((A, 1), (sp.csr_array(-A), -1)):
        w, _, report = nnla.eigsh(form, 4, which="LM", method="plain", return_report=True)
        np.testing.assert_allclose(np.sort(sign * w), true, atol=1e-9)
        assert report.verified
        alone = nnla.eigsh(form, 4, which="LA" if sign > 0 else "SA", method="plain", return_report=True)[2]
        assert report.products < 1.3 * alone.products + 50


def test_an_eigenvalue_that_reaches_from_one_end_to_the_other():
    """Each search has taken other vectors of its space; the answer is orthonormal all the same."""
    A = sp.csr_array(sp.diags_array(np.concatenate([np.zeros(598), [1.0, 2.0]])))
    for which, true in (("BE", [0, 0, 0, 1, 2]), ("LM", [0, 0, 0, 1, 2])):
        w, V, report = nnla.eigsh(A, 5, which=which, return_report=True)
        np.testing.assert_allclose(w, true if which == "LM" else [0, 0, 0, 1, 2], atol=1e-10)
        np.testing.assert_allclose(V.T @ V, np.eye(5), atol=1e-10)
        assert report.converged


def test_many_pairs_of_both_ends(rng):
    A = symmetric(20, rng)
    w = every(A, None)
    for k in (10, 11, 19, 20):
        for method in ("auto", "plain", "dense"):
            found = nnla.eigsh(A, k, which="LM", method=method)[0]
            np.testing.assert_allclose(found, expected(w, k, "LM"), atol=1e-10)
    assert nnla.eigsh([[3.0]], 1, which="BE", sigma=None)[0] == pytest.approx(3.0)
    assert nnla.eigsh([[3.0]], 1, M=[[2.0]], sigma=1.0)[0] == pytest.approx(1.5)


# -- inverses of the user's own --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["normal", "cayley", "buckling"])
@pytest.mark.parametrize("kind", ["operator", "array", "matrix"])
def test_an_inverse_that_was_given(mode, kind):
    K, M = rod(300)
    sigma = 0.83
    B = sp.csc_array(K - sigma * M)
    inverse = np.linalg.inv(B.toarray())
    lu = splu(B)
    calls = []

    def solve(b):
        calls.append(1)
        return lu.solve(b)

    OPinv = {
        "operator": LinearOperator(K.shape, matvec=solve, dtype=np.float64),
        "array": inverse,
        "matrix": sp.csr_array(inverse),
    }[kind]
    forms = (aslinearoperator(K), aslinearoperator(M)) if kind == "operator" else (K, M)
    answer = nnla.eigsh(
        forms[0], 4, M=forms[1], sigma=sigma, OPinv=OPinv, mode=mode, method="direct", return_report=True
    )
    check(K, M, answer, expected(every(K, M), 4, "LM", sigma, mode), mode)
    assert kind != "operator" or calls


def test_an_inverse_of_something_else_is_noticed():
    K, M = rod(300)
    wrong = splu(sp.csc_array(K - 0.5 * M))
    OPinv = LinearOperator(K.shape, matvec=wrong.solve, dtype=np.float64)
    with pytest.raises(OptionError, match="OPinv is not the inverse"):
        nnla.eigsh(aslinearoperator(K), 3, M=aslinearoperator(M), sigma=0.9, OPinv=OPinv, method="direct")


# -- mass matrices that are not definite -----------------------------------------------------------------------


@pytest.mark.parametrize("n", [40, 400])
def test_a_singular_mass_matrix_with_a_shift(n):
    K, M = rod(n)
    free = np.ones(n)
    free[::4] = 0.0
    S = sp.csr_array(sp.diags_array(free) @ M @ sp.diags_array(free))  # some unknowns have no mass
    # eliminated by hand
    D, keep = K.toarray(), free > 0
    reduced = D[np.ix_(keep, keep)] - D[np.ix_(keep, ~keep)] @ np.linalg.solve(
        D[np.ix_(~keep, ~keep)], D[np.ix_(~keep, keep)]
    )
    w = scipy.linalg.eigh(reduced, S.toarray()[np.ix_(keep, keep)], eigvals_only=True)
    for sigma in (0.0, 0.6):
        answer = nnla.eigsh(K, 4, M=S, sigma=sigma, return_report=True)
        found, V, report = answer
        np.testing.assert_allclose(found, expected(w, 4, "LM", sigma), rtol=1e-8)
        np.testing.assert_allclose(V.T @ (S @ V), np.eye(4), atol=1e-8)
        assert report.converged
    for which in ("LA", "LM", "BE"):
        with pytest.raises(NotPositiveDefiniteError, match="infinite"):
            nnla.eigsh(K, 2, M=S, which=which)


def test_more_pairs_than_are_finite():
    K, _ = rod(30)
    M = sp.csr_array(sp.diags_array(np.concatenate([np.ones(3), np.zeros(27)])))
    assert nnla.eigsh(K, 3, M=M, sigma=0.1)[0].shape == (3,)
    with pytest.raises(OptionError, match="only 3"):
        nnla.eigsh(K, 4, M=M, sigma=0.1)


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_an_indefinite_mass_matrix_is_refused(n, form):
    K, M = rod(n)
    # a positive diagonal, and a negative eigenvalue
    shifted = M - (np.linalg.eigvalsh(M.toarray())[0] + 0.05) * sp.eye_array(n)
    assert shifted.diagonal().min() > 0
    for sigma in (None, 0.5):
        with pytest.raises(NotPositiveDefiniteError, match="buckling"):
            nnla.eigsh(K, 2, M=form(shifted.toarray()), sigma=sigma)
    with pytest.raises(NotPositiveDefiniteError, match="mode='normal'"):
        nnla.eigsh(form(shifted.toarray()), 2, M=K, sigma=0.5, mode="buckling")


def test_a_mass_matrix_in_other_units_of_its_unknowns(rng):
    """A definite M whose rows differ by 10^12 is no singular one."""
    n = 60
    K, M = rod(n)
    scale = sp.diags_array(10.0 ** rng.uniform(-6, 6, n))
    w = every(K, M)
    found, _, report = nnla.eigsh(sp.csr_array(scale @ K @ scale), 3, M=sp.csr_array(scale @ M @ scale), sigma=0.0,
                                  return_report=True)  # fmt: skip
    if report.converged:
        np.testing.assert_allclose(found, w[:3], rtol=1e-4)


# -- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "m"), [(1e250, 1.0), (1e-250, 1.0), (1.0, 1e200), (1e-200, 1e-200), (1e250, 1e250)])
@pytest.mark.parametrize("n", [40, 300])
def test_any_units(n, a, m):
    K, M = rod(n)
    unit = a / m
    w = every(K, M)
    for sigma, mode in ((None, "normal"), (0.5, "normal"), (0.5, "buckling"), (0.5, "cayley")):
        given = None if sigma is None else sigma * unit
        found, V, report = nnla.eigsh(K * a, 3, M=M * m, sigma=given, mode=mode, return_report=True)
        np.testing.assert_allclose(
            found, expected(w, 3, "SA" if sigma is None else "LM", sigma, mode) * unit, rtol=1e-7
        )
        inner = K if mode == "buckling" else M
        scaled = V * np.sqrt(a if mode == "buckling" else m)
        np.testing.assert_allclose(scaled.T @ (inner @ scaled), np.eye(3), atol=1e-7)
        assert report.converged
        assert report.norm == pytest.approx(a * np.linalg.norm(K.toarray(), 2), rel=0.1)
        assert report.mass_norm == pytest.approx(m * np.linalg.norm(M.toarray(), 2), rel=0.1)


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_failure_is_a_warning_or_an_exception_with_the_pairs():
    A = nnla.problems.poisson2d(60)
    options = {"method": "plain", "maxiter": 4}
    with pytest.warns(NotConvergedWarning, match="of 5 pairs"):
        nnla.eigsh(A, 5, **options)
    with pytest.raises(NotConvergedError, match="of 5 pairs") as caught:
        nnla.eigsh(A, 5, on_failure="raise", return_report=True, **options)
    w, V, report = caught.value.eigenvalues, caught.value.eigenvectors, caught.value.report
    assert w.size == report.converged_pairs < 5
    assert V.shape == (3600, w.size)
    assert not report.converged


A, B = nnla.problems.poisson2d(5), sp.eye_array(25, format="csr")


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (OptionError, {"which": "LR"}),
        (OptionError, {"sigma": 1j}),
        (OptionError, {"sigma": np.nan}),
        (OptionError, {"sigma": np.inf}),
        (OptionError, {"sigma": "0"}),
        (OptionError, {"sigma": np.zeros(2)}),
        (OptionError, {"mode": "cayley"}),
        (OptionError, {"mode": "shift", "sigma": 1.0}),
        (OptionError, {"mode": "cayley", "sigma": 0.0}),
        (OptionError, {"mode": "buckling", "sigma": 0.0}),
        (OptionError, {"OPinv": B}),
        (OptionError, {"Minv": B}),
        (OptionError, {"Minv": B, "M": B, "sigma": 1.0}),
        (OptionError, {"method": "plain", "sigma": 1.0}),
        (OptionError, {"method": "autospec", "M": B}),
        (OptionError, {"method": "chebyshev", "which": "SM"}),
        (OptionError, {"degree": 11, "sigma": 1.0}),
        (OptionError, {"on_failure": "ignore"}),
        (OptionError, {"return_eigenvectors": "no"}),
        (OptionError, {"verify": np.ones(2)}),
        (ShapeError, {"M": np.eye(24)}),
        (ShapeError, {"M": np.ones((25, 3))}),
        (ShapeError, {"sigma": 1.0, "OPinv": np.eye(24)}),
        (ShapeError, {"M": B, "Minv": np.eye(24)}),
        (DTypeError, {"M": B * 1j}),
        (DTypeError, {"M": "M"}),
        (NotSymmetricError, {"M": np.triu(np.ones((25, 25)))}),
        (NonFiniteError, {"M": np.full((25, 25), np.nan)}),
        (NotPositiveDefiniteError, {"M": -B}),
        (NotPositiveDefiniteError, {"M": -B, "sigma": 0.3}),
        (ShapeError, {"v0": np.zeros((25, 2))}),
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_name(error, options):
    with pytest.raises(error) as caught:
        nnla.eigsh(A, 2, **options)
    assert "\n" not in str(caught.value)


def test_a_shift_without_anything_to_invert_is_refused():
    A = nnla.problems.poisson2d(70)
    with pytest.raises(OptionError, match="OPinv"):
        nnla.eigsh(aslinearoperator(A), 2, sigma=1.0)


def test_a_definite_operator_known_by_products_needs_no_inverse():
    A = nnla.problems.poisson2d(70)
    true = nnla.eigsh(A, 3)[0]
    for options in ({"which": "SM"}, {"sigma": 0.0}, {"sigma": -100.0}):
        w, _, report = nnla.eigsh(aslinearoperator(A), 3, return_report=True, **options)
        np.testing.assert_allclose(w, true, rtol=1e-8)
        assert report.converged


def test_start_vectors_as_a_block(rng):
    K, M = rod(400)
    w, V = nnla.eigsh(K, 4, M=M, sigma=0.5)
    again, _ = nnla.eigsh(K, 4, M=M, sigma=0.5, v0=V, method="direct")
    np.testing.assert_allclose(again, w, rtol=1e-10)
    plain, _ = nnla.eigsh(nnla.problems.poisson2d(30), 3, v0=rng.standard_normal((900, 3)), method="plain")
    assert plain.shape == (3,)


# -- pencils known by products -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "given"),
    [("SA", "nothing"), *itertools.product(["SA", "LA", "LM", "BE"], ["Minv", "entries of M"])],
)
def test_a_pencil_known_by_products(which, given, monkeypatch):
    monkeypatch.setattr("nnla.eigen.near.RESCUE_ROWS", 0)  # of LAPACK
    _, M = rod(300)
    few = [-9.0, -9.0, -8.0, -7.0, 10.0, 12.0, 12.0, 13.0, 20.0, 20.0]
    K = sp.csr_array(sp.diags_array(np.concatenate([np.linspace(1.0, 3.0, 290), few])))
    Minv = aslinearoperator(np.linalg.inv(M.toarray())) if given == "Minv" else None
    mass = M if given == "entries of M" else aslinearoperator(M)
    answer = nnla.eigsh(aslinearoperator(K), 4, M=mass, which=which, Minv=Minv, return_report=True)
    check(K, M, answer, expected(every(K, M), 4, which))
    assert answer[2].method == "plain"
    with pytest.raises(OptionError, match="products alone"):
        nnla.eigsh(aslinearoperator(K), 4, M=aslinearoperator(M), which=which, method="direct")


@pytest.mark.parametrize(("which", "mode"), [("LA", "normal"), ("BE", "normal"), ("SA", "cayley"), *itertools.product(
    ["LM", "SM"], ["cayley"])])  # fmt: skip
@pytest.mark.parametrize("with_mass", [False, True])
def test_a_side_of_the_shift_with_too_few_eigenvalues(which, mode, with_mass):
    """What ARPACK iterates with goes on beyond it, with those furthest on the other side."""
    K, mass = rod(40)
    M = mass if with_mass else None
    w = every(K, M)
    for sigma in (0.5 * (w[2] + w[3]), 0.5 * (w[-3] + w[-4])):
        answer = nnla.eigsh(K, 9, M=M, sigma=sigma, which=which, mode=mode, method="direct", return_report=True)
        check(K, M, answer, expected(w, 9, which, sigma, mode), mode)
