"""eigsh: pairs against dense eigh, multiplicities, options, reports, every kind of operator."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla.errors import DTypeError, NonFiniteError, NotSymmetricError, OptionError, ShapeError

ITERATIVE = ("plain", "autospec", "chebyshev", "power")


def random_symmetric(seed):
    """A symmetric matrix of any kind: clusters, zeros, multiples, negative, badly scaled; k and the wanted end."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 201)) if rng.random() < 0.85 else int(rng.integers(1, 6))
    kind = seed % 8
    d = rng.standard_normal(n)
    if kind == 1:
        d[:] = 0.0
    elif kind == 2:
        d[:] = -3.0
    elif kind == 3:
        d = np.repeat(d, rng.integers(1, 6, size=n))[:n]
    elif kind == 4:
        d = np.round(3 * d)
    elif kind == 5:
        d = 10 ** rng.uniform(-8, 3, n)
    elif kind == 6:
        d *= 1e-6
        d[: max(1, n // 10)] += 1
    elif kind == 7:
        d = -(10 ** rng.uniform(-3, 3, n))
        d[: n // 3] = d[0]
    if rng.random() < 0.7:
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        A = (Q * d) @ Q.T
    else:
        A = np.diag(d)
    A = (A + A.T) / 2 * 10.0 ** rng.integers(-5, 6)
    k = int(rng.integers(1, n + 1)) if rng.random() < 0.3 else int(min(n, rng.integers(1, 9)))
    return A, k, str(rng.choice(["SA", "LA"]))


@pytest.mark.parametrize("part", range(10))
def test_pairs_of_random_matrices_are_right_or_reported_missing(part):
    """500 matrices in all: whatever is called converged and verified is the answer."""
    missed = 0
    for seed in range(50 * part, 50 * part + 50):
        A, k, which = random_symmetric(seed)
        method = ("plain", "autospec", "chebyshev", "direct", "power")[seed % 5]
        ncv = None if seed % 2 else min(A.shape[0], max(4 * k, 20))
        given = sp.csr_array(A) if method == "direct" or seed % 3 == 0 else A
        w, V, report = nnla.eigsh(given, k, which=which, method=method, ncv=ncv, maxiter=60, return_report=True)
        all_values = np.linalg.eigvalsh(A)
        wanted = all_values[:k] if which == "SA" else all_values[-k:]
        norm = np.abs(all_values).max()
        assert w.shape == (k,)
        assert V.shape == (A.shape[0], k)
        assert np.all(np.diff(w) >= -1e-12 * norm)
        np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-10)
        true = np.linalg.norm(A @ V - V * w, axis=0)
        np.testing.assert_allclose(true, report.residuals, atol=1e-13 * norm)
        if report.converged:
            assert true.max(initial=0) <= 1.1e-10 * norm
        if report.verified:
            np.testing.assert_allclose(w, wanted, atol=1e-9 * norm, err_msg=f"seed {seed}, {method}")
        else:
            missed += 1
    assert missed <= 10  # slow ones under this limit of restarts: said so, not wrong


@pytest.mark.parametrize("method", [*ITERATIVE, "direct", "dense", "auto"])
@pytest.mark.parametrize("which", ["SA", "LA"])
def test_every_method_finds_a_double_eigenvalue(method, which):
    A = nnla.problems.poisson2d(30)
    w, V, report = nnla.eigsh(A, 4, which=which, method=method, return_report=True)
    j = np.arange(1, 31)
    values = 4 - 2 * np.cos(j * np.pi / 31)
    values = np.sort((values[:, None] + values[None, :] - 4).ravel())
    wanted = values[:4] if which == "SA" else values[-4:]
    if report.verified:
        np.testing.assert_allclose(w, wanted, rtol=1e-8)
    else:
        assert method in ("plain", "power")  # which may not have seen the copy, and say so
    assert report.converged
    assert np.abs(A @ V - V * w).max() < 1e-8


def test_the_contract_of_the_call():
    A = nnla.problems.poisson2d(20)
    w, V = nnla.eigsh(A, 3)
    assert w.shape == (3,)
    assert V.shape == (400, 3)
    w, V, report = nnla.eigsh(A, k=3, which="SA", tol=1e-8, ncv=20, v0=np.ones(400), maxiter=50, return_report=True)
    data = json.loads(report.to_json())
    assert data["converged"] is True
    assert data["k"] == 3
    assert data["seed"] is None  # a start vector was given
    assert data["products"] > data["products_probe"] >= 0
    assert set(data["seconds"]) == {"probe", "setup", "iterate", "verify", "total"}
    assert (data["orthogonalisation_flops"] > 0) == (data["method"] != "dense")


def test_the_filter_saves_restarts_and_its_report_tells():
    A = nnla.problems.poisson2d(70)
    found = {m: nnla.eigsh(A, 5, method=m, return_report=True)[2] for m in ("autospec", "power", "plain")}
    assert all(report.converged for report in found.values())
    assert found["autospec"].restarts < 0.5 * found["power"].restarts < 0.5 * found["plain"].restarts
    learned = found["autospec"]
    assert learned.degree == 21
    assert learned.weights == "autospec-eig"
    assert learned.interval is not None
    assert learned.interval[0] == pytest.approx(learned.cut)
    assert learned.interval[1] >= 8 * (1 - np.cos(np.pi * 70 / 71)) / 2  # the top of the spectrum is inside
    assert found["plain"].degree is None
    assert found["plain"].products < learned.products  # what a filter does not save


def test_runs_repeat_bit_for_bit():
    A = nnla.problems.poisson2d(40)
    first, second = (nnla.eigsh(A, 4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_negative_and_indefinite_matrices(rng):
    A = nnla.problems.poisson2d(25)
    shifted = sp.csr_array(A - 3.0 * sp.eye_array(625))
    for method in ("autospec", "direct", "plain"):
        w, _, report = nnla.eigsh(shifted, 3, method=method, return_report=True)
        np.testing.assert_allclose(w, nnla.eigsh(A, 3, method="dense")[0] - 3, atol=1e-9)
        assert report.converged
        w, _ = nnla.eigsh(sp.csr_array(-A), 3, which="LA", method=method)
        np.testing.assert_allclose(w, -nnla.eigsh(A, 3, method="dense")[0][::-1], atol=1e-9)


def test_operators_of_every_kind(rng):
    A = nnla.problems.poisson2d(20)
    expected = nnla.eigsh(A, 3, method="dense")[0]

    class Duck:
        shape, dtype = A.shape, np.dtype(np.float64)

        def __matmul__(self, x):
            return A @ x

    black = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=np.float64)
    for form in (A.tocoo(), A.toarray(), black, Duck(), nnla.as_operator(A), A.astype(np.float32)):
        w, _, report = nnla.eigsh(form, 3, return_report=True)
        np.testing.assert_allclose(w, expected, rtol=1e-6)
        assert report.converged
    w, _, report = nnla.eigsh(black, 3, method="auto", return_report=True)
    np.testing.assert_allclose(w, expected, rtol=1e-8)


def test_torch_operators_give_tensors():
    torch = pytest.importorskip("torch")
    A = nnla.problems.poisson2d(12)
    w, V = nnla.eigsh(torch.from_numpy(A.toarray()), 3)
    assert isinstance(w, np.ndarray)
    assert isinstance(V, torch.Tensor)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(A.toarray())[:3], rtol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_all_pairs_of_tiny_matrices(n, rng):
    A = rng.standard_normal((n, n))
    A = A + A.T
    for method in ("autospec", "plain", "dense", "auto"):
        w, _, report = nnla.eigsh(A, n, method=method, return_report=True)
        np.testing.assert_allclose(w, np.linalg.eigvalsh(A), atol=1e-12)
        assert report.verified


@pytest.mark.parametrize("method", ["dense", "auto", "direct", "autospec"])
def test_the_tolerance_refers_to_the_whole_spectrum(method):
    """The wanted eigenvalues may be a billion times smaller than the norm that residuals are compared with."""
    A = sp.csr_array(sp.diags_array(np.concatenate([1e-9 * np.arange(1.0, 6.0), np.geomspace(1e-3, 1.0, 395)])))
    w, _, report = nnla.eigsh(A, 3, method=method, return_report=True)
    assert report.norm == pytest.approx(1.0, rel=0.05)
    assert report.converged
    np.testing.assert_allclose(w, [1e-9, 2e-9, 3e-9], atol=1e-10)


def test_what_does_not_converge_is_returned_and_said(rng):
    A = nnla.problems.poisson2d(60)
    w, V, report = nnla.eigsh(A, 5, method="plain", maxiter=3, return_report=True)
    assert report.status == "maxiter"
    assert not report.converged
    assert not report.verified
    assert report.converged_pairs < 5
    assert w.shape == (5,)
    np.testing.assert_allclose(np.linalg.norm(A @ V - V * w, axis=0), report.residuals, atol=1e-12)


def test_a_tolerance_below_rounding_ends(rng):
    A = nnla.problems.poisson2d(30)
    w, _, report = nnla.eigsh(A, 3, tol=0.0, maxiter=40, return_report=True)
    np.testing.assert_allclose(w, nnla.eigsh(A, 3, method="dense")[0], rtol=1e-10)
    assert max(report.residuals) < 1e-13 * report.norm


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (OptionError, {"k": 0}),
        (OptionError, {"k": 500}),
        (OptionError, {"k": 2.0}),
        (OptionError, {"k": True}),
        (OptionError, {"which": "LR"}),
        (OptionError, {"which": np.ones(2)}),
        (OptionError, {"method": np.ones(2)}),
        (OptionError, {"tol": None}),
        (OptionError, {"tol": "x"}),
        (OptionError, {"tol": np.ones(2)}),
        (OptionError, {"method": "chebyshev", "cut": "x"}),
        (OptionError, {"seed": -1}),
        (OptionError, {"seed": "x"}),
        (OptionError, {"tol": -1.0}),
        (OptionError, {"tol": float("nan")}),
        (OptionError, {"ncv": 3, "k": 3}),
        (OptionError, {"ncv": 500}),
        (OptionError, {"maxiter": 0}),
        (OptionError, {"method": "magic"}),
        (OptionError, {"method": "plain", "degree": 5}),
        (OptionError, {"method": "power", "cut": 2.0}),
        (OptionError, {"method": "chebyshev", "cut": 0.5}),
        (OptionError, {"method": "power", "engine": object()}),
        (OptionError, {"method": "autospec", "engine": object()}),
        (OptionError, {"degree": 0}),
        (OptionError, {"probe_restarts": 0}),
        (ShapeError, {"v0": np.zeros(400)}),
        (ShapeError, {"v0": np.ones(3)}),
        (NonFiniteError, {"v0": np.full(400, np.nan)}),
    ],
)
def test_bad_options_have_typed_errors(error, options):
    with pytest.raises(error):
        nnla.eigsh(nnla.problems.poisson2d(20), **options)


@pytest.mark.parametrize(
    ("error", "A"),
    [
        (NotSymmetricError, np.array([[1.0, 2.0], [0.0, 1.0]])),
        (NonFiniteError, np.array([[1.0, np.nan], [np.nan, 1.0]])),
        (DTypeError, np.array([[1.0, 1j], [-1j, 1.0]])),
        (ShapeError, np.ones((2, 3))),
        (ShapeError, np.zeros((0, 0))),
    ],
)
def test_bad_matrices_have_typed_errors(error, A):
    with pytest.raises(error):
        nnla.eigsh(A, 1)


def test_damaged_weights_fall_back_to_a_rule(no_weights):
    A = nnla.problems.poisson2d(60)
    _, _, report = nnla.eigsh(A, 4, method="autospec", return_report=True)
    assert report.converged
    assert "rule" in report.fallback
    assert report.weights is None


def test_a_misleading_engine_is_noticed():
    class Wrong:
        name, card, task = "wrong", {}, "filter cuts"

        def choose(self, window, *, degree):
            from nnla.models.autospec_eig import EigChoice

            cut = window.edge + 0.2 * (window.values[1] - window.edge)  # far too few eigenvalues beyond it
            return EigChoice(cut, 0.0, np.zeros(3))

    A = nnla.problems.poisson2d(60)
    w, _, report = nnla.eigsh(A, 6, method="autospec", engine=Wrong(), return_report=True)
    assert report.converged
    assert report.fallback is not None
    np.testing.assert_allclose(w, nnla.eigsh(A, 6, method="direct")[0], rtol=1e-8)
    assert report.verified


def test_real_indefinite_hamiltonian(real_matrix):
    A = real_matrix("Si2")
    values = np.linalg.eigvalsh(A.toarray())
    for method in ("autospec", "auto", "direct"):
        w, _, report = nnla.eigsh(A, 8, method=method, return_report=True)
        assert report.converged
        assert report.verified
        np.testing.assert_allclose(w, values[:8], atol=1e-9)
