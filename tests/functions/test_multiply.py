"""f(A) V against a dense eigendecomposition: every function, every method, and estimates that can be believed."""

import json
import math
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from nnla import problems
from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.functions.multiply import funm_multiply, matfun, matrix_function, symmetric_operator
from nnla.polynomials.recurrence import Recurrence
from nnla.types import Kind

EXACT = {
    "inv_sqrt": lambda w: w**-0.5,
    "sqrt": lambda w: np.sqrt(np.maximum(w, 0)),
    "inv": lambda w: 1 / w,
    "log": np.log,
    "sign": np.sign,
    "exp": np.exp,
    "cos": np.cos,
}
POSITIVE, ANY = ("inv_sqrt", "sqrt", "inv", "log", "exp", "sign"), ("sign", "exp", "cos")


def spectrum(kind, n, rng):
    """Eigenvalues, and the functions that they are in the domain of."""
    if kind == "spread":
        return rng.uniform(0.1, 10, n), POSITIVE
    if kind == "graded":
        return 10 ** rng.uniform(-4, 0, n), POSITIVE
    if kind == "clusters":
        return rng.choice([1.0, 2.0, 5.0], n), POSITIVE
    if kind == "outlier":
        return np.append(rng.uniform(1, 1.2, n - 1), 1e-3), POSITIVE
    if kind == "indefinite":
        w = rng.standard_normal(n)
        return np.where(np.abs(w) < 0.05, 0.05, w), ANY
    return np.where(rng.random(n) < 0.3, 0.0, rng.uniform(0, 4, n)), ("sqrt", "exp", "cos")  # "singular"


def rotated(w, rng):
    Q = np.linalg.qr(rng.standard_normal((w.size, w.size)))[0]
    A = (Q * w) @ Q.T
    return (A + A.T) / 2, Q


def relative(y, exact):
    y, exact = (np.asarray(v).reshape(len(exact), -1) for v in (y, exact))
    size = np.maximum(np.linalg.norm(exact, axis=0), 1e-12)
    return float((np.linalg.norm(y - exact, axis=0) / size).max())


@pytest.mark.parametrize("kind", ["spread", "graded", "clusters", "outlier", "indefinite", "singular"])
@pytest.mark.parametrize("method", ["auto", "lanczos", "chebyshev", "autospec", "direct"])
def test_against_a_dense_eigendecomposition(kind, method):
    rng = np.random.default_rng(len(kind))
    for trial in range(12 if method in ("lanczos", "direct", "auto") else 3):
        n = int(rng.integers(1, 61))
        w, functions = spectrum(kind, n, rng)
        A, Q = rotated(w, rng)
        V = rng.standard_normal(n) if trial % 2 else rng.standard_normal((n, 3))
        for name in functions:
            f = np.cos if name == "cos" else name
            rtol = (1e-2, 1e-6, 1e-9)[trial % 3]
            y = funm_multiply(A, V, f, method=method, rtol=rtol)
            exact = Q @ (EXACT[name](w)[:, None] * (Q.T @ V.reshape(n, -1)))
            error, r = relative(y, exact.reshape(V.shape)), y.report
            assert y.shape == V.shape
            assert r.converged or (kind, name, rtol) == ("singular", "sqrt", 1e-9), (kind, name, n, r)
            assert error <= 3 * rtol + (1e-10 if r.converged else 1e-7), (kind, name, n, error, r)
            assert r.error_estimate >= error / 3 - 1e-10, (kind, name, n, error, r)


def test_estimates_of_lanczos_and_of_polynomials_on_larger_spectra():
    """What stops early: never less than a third of the true error, and converged only within three tolerances."""
    rng = np.random.default_rng(5)
    for trial in range(12):
        n = 700
        w = 10 ** rng.uniform(-trial / 3, 0, n) if trial % 2 else np.append(rng.uniform(0.5, 1, n - 3), [5, 9, 30.0])
        A, V = sp.diags_array(w), rng.standard_normal((n, 2))
        for name in ("inv_sqrt", "log", "exp"):
            for method in ("lanczos", "autospec", "chebyshev"):
                rtol = (1e-1, 1e-3, 1e-6)[trial % 3]
                y = funm_multiply(A, V, name, method=method, rtol=rtol)
                error = relative(y, EXACT[name](w)[:, None] * V)
                assert y.report.error_estimate >= error / 3, (trial, name, method, error, y.report)
                assert not y.report.converged or error <= 3 * rtol, (trial, name, method, error)


def test_a_degree_that_does_not_suffice_says_so():
    A = problems.poisson2d(30)
    v = np.random.default_rng(0).standard_normal(A.shape[0])
    exact = funm_multiply(A, v, method="direct")
    for method in ("chebyshev", "autospec", "neumann", "lanczos"):
        y = funm_multiply(A, v, method=method, degree=12)
        error = relative(y, exact)
        assert (y.report.status, y.report.converged) == ("degree", False), method
        assert y.report.error_estimate >= error / 3, method
        assert error > 1e-6, method


def test_products_are_those_of_the_operator():
    A = problems.poisson2d(30)
    count = 0

    def matvec(x):
        nonlocal count
        count += 1
        return A @ x

    operator = LinearOperator(A.shape, matvec=matvec, dtype=float)
    for method in ("lanczos", "chebyshev", "autospec"):
        op = symmetric_operator(operator)
        count = 0
        y = funm_multiply(op, np.ones((900, 3)), method=method)
        assert y.report.products == count, method
        probed = y.report.products_probe  # and some for the ends of a spectrum that is known by products only
        assert probed == 0 if method == "lanczos" else y.report.steps <= probed <= 2 * y.report.steps, method


def test_two_passes_give_the_same_for_twice_the_products():
    A = problems.poisson2d(30)
    v = np.random.default_rng(0).standard_normal(900)
    once, twice = (funm_multiply(A, v, method="lanczos", two_pass=flag) for flag in (False, True))
    assert twice.report.products == 2 * once.report.products
    assert np.allclose(once, twice, rtol=0, atol=1e-12 * np.linalg.norm(once))


@pytest.mark.parametrize("method", ["lanczos", "autospec", "chebyshev", "direct"])
def test_a_block_is_its_columns(method):
    A = problems.poisson2d(25)
    V = np.random.default_rng(0).standard_normal((625, 3)) * [1.0, 1e-8, 1e8]
    V[:, 1] = 0
    Y = funm_multiply(A, V, "sqrt", method=method)
    assert not Y[:, 1].any()
    for j in (0, 2):
        y = funm_multiply(A, V[:, j], "sqrt", method=method)
        assert np.linalg.norm(Y[:, j] - y) <= 3e-6 * np.linalg.norm(y)
    column = funm_multiply(A, V[:, :1], "sqrt", method=method)
    assert column.shape == (625, 1)


def test_functions_undo_each_other():
    A = problems.poisson2d(30)
    v = np.random.default_rng(0).standard_normal(900)
    root = funm_multiply(A, funm_multiply(A, v, "sqrt"), "sqrt")
    assert np.linalg.norm(root - A @ v) <= 1e-5 * np.linalg.norm(A @ v)
    assert np.linalg.norm(funm_multiply(A, A @ v, "inv", rtol=1e-8) - v) <= 1e-5 * np.linalg.norm(v)
    assert np.linalg.norm(funm_multiply(A, v, lambda x: x**2) - A @ (A @ v)) <= 1e-5 * np.linalg.norm(A @ (A @ v))


# -- corners -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "lanczos", "autospec", "chebyshev", "neumann", "direct"])
def test_corners(method):
    for A, v, expected in (
        ([[4.0]], [2.0], [1.0]),
        (np.eye(5), np.arange(5.0), np.arange(5.0)),
        (9 * np.eye(3), np.zeros(3), np.zeros(3)),
        (np.diag([4.0, 4.0, 16.0, 16.0]), [1, 0, 0, 1], [0.5, 0, 0, 0.25]),
        (np.diag([4.0, 16.0, 1.0]), [1, 0, 0], [0.5, 0, 0]),  # an eigenvector: the space ends at once
        (4e-200 * np.eye(2), [1, 1], [0.5e100, 0.5e100]),
    ):
        # the series of an interval around two points converges, but not within 512 terms
        rtol = 0.5 if method == "neumann" else 1e-6
        y = funm_multiply(A, v, method=method, rtol=rtol)
        assert y.report.converged
        assert np.allclose(y, expected, rtol=rtol, atol=0), (method, A)
    empty = funm_multiply(np.eye(3), np.zeros((3, 0)), method=method)
    assert empty.shape == (3, 0)
    assert empty.report.products == 0
    wide = funm_multiply(4 * np.eye(3), np.ones((3, 7)), method=method)  # k > n
    assert np.allclose(wide, 0.5)
    zero = funm_multiply(np.zeros((4, 4)), np.ones(4), "exp", method="auto" if method == "neumann" else method)
    assert np.allclose(zero, 1)
    with pytest.raises(ShapeError):
        funm_multiply(np.zeros((0, 0)), np.zeros(0), method=method)


def test_what_is_outside_of_the_domain():
    indefinite = np.diag([1.0, 2.0, -3.0])
    for f in ("inv_sqrt", "sqrt", "inv", "log"):
        for method in ("auto", "lanczos", "autospec", "chebyshev"):
            with pytest.raises(NotPositiveDefiniteError, match="-3"):
                funm_multiply(indefinite, np.ones(3), f, method=method)
    singular = np.diag([1.0, 2.0, 0.0])
    for f in ("inv_sqrt", "inv", "log"):
        for method in ("auto", "lanczos", "autospec", "chebyshev"):
            with pytest.raises(NotPositiveDefiniteError, match="singular"):
                funm_multiply(singular, np.ones(3), f, method=method)
    assert np.allclose(funm_multiply(singular, np.ones(3), "sqrt"), [1, math.sqrt(2), 0])
    # outside of the Krylov space, a zero eigenvalue does no harm
    assert np.allclose(funm_multiply(singular, [1, 1, 0], "inv", method="lanczos"), [1, 0.5, 0])
    with pytest.raises(NonFiniteError, match="exp"):
        funm_multiply(np.diag([1.0, 1e4]), np.ones(2), "exp")
    with pytest.raises(NonFiniteError, match="finite"):
        funm_multiply(indefinite, np.ones(3), lambda x: np.sqrt(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.allclose(funm_multiply(indefinite, np.ones(3), "sign"), [1, 1, -1])


def test_sign_waits_for_the_other_side():
    """The first Ritz values are all positive, where sign is constant: no change, but no convergence either."""
    w = np.concatenate([np.linspace(1, 40, 590), np.linspace(-0.4, -0.2, 10)])
    v = np.random.default_rng(0).standard_normal(600)
    y = funm_multiply(sp.diags_array(w), v, "sign", method="lanczos")
    assert y.report.converged
    assert relative(y, np.sign(w) * v) < 1e-5


def test_bad_input():
    A, v = problems.poisson2d(6), np.ones(36)
    with pytest.raises(NotSymmetricError):
        funm_multiply(np.triu(np.ones((36, 36))), v)
    with pytest.raises(DTypeError):
        funm_multiply(A.astype(complex), v)
    with pytest.raises(DTypeError):
        funm_multiply(A, v * 1j)
    with pytest.raises(NonFiniteError):
        funm_multiply(A, v * np.nan)
    with pytest.raises(ShapeError):
        funm_multiply(A, np.ones(35))
    with pytest.raises(DTypeError, match="real"):
        funm_multiply(A, v, lambda x: x + 1j)
    for bad in (
        {"f": "cosh"}, {"f": 3}, {"rtol": 0}, {"rtol": 2}, {"rtol": "small"}, {"method": "magic"}, {"degree": 0},
        {"degree": 5, "method": "auto"}, {"maxiter": 0}, {"probe_steps": 2.5}, {"engine": 3, "method": "lanczos"},
        {"method": "neumann", "f": "log"},
    ):  # fmt: skip
        with pytest.raises(OptionError):
            funm_multiply(A, v, **bad)
    from nnla import load

    with pytest.raises(OptionError, match="matrix functions"):
        funm_multiply(A, v, method="autospec", degree=8, engine=load("autospec-cg"))


def test_scalar_callables_are_called_number_by_number():
    A = problems.poisson2d(6)
    seen = []

    def f(x):
        seen.append(x)
        return math.exp(-x) if x > 0 else 1.0

    y = funm_multiply(A, np.ones(36), f)
    assert np.allclose(y, funm_multiply(A, np.ones(36), lambda x: np.exp(-x)))
    assert y.report.f == "f"
    assert all(isinstance(x, (float, np.ndarray)) for x in seen)
    constant = funm_multiply(A, np.ones(36), lambda x: 2.0)
    assert np.allclose(constant, 2)


@pytest.mark.parametrize("method", ["auto", "lanczos", "chebyshev", "direct"])
def test_callables_that_give_something_else_fail_by_name(method):
    A, v = problems.poisson2d(6), np.ones(36)
    for f, error, match in (
        (lambda x: x[:-1], OptionError, "one real number"),
        (lambda x: np.ones(7), ShapeError, "one real number"),
        (lambda x: np.ones(np.size(x) + 1), ShapeError, "one real number"),
        (lambda x: (x, x), ShapeError, "one real number"),
        (lambda x: None, DTypeError, "NoneType"),
        (lambda x: "a", DTypeError, "real number"),
        (lambda x: 1 / 0, OptionError, "ZeroDivisionError"),
        (lambda x: {}[x], OptionError, "KeyError"),
        (lambda x, y: x, OptionError, "TypeError"),
        (lambda x: x * 1j, DTypeError, "real values"),
        (lambda x: x * np.nan, NonFiniteError, "finite"),
    ):
        for call in (lambda f=f: funm_multiply(A, v, f, method=method), lambda f=f: matfun(A, f)):
            with pytest.raises(error, match=match):
                call()
    for f in (
        lambda x: x.__imul__(2) if np.ndim(x) else 2 * x,
        lambda x: list(2 * np.asarray(x)) if np.ndim(x) else 2 * x,
    ):
        assert np.allclose(funm_multiply(A, v, f, method=method), 2 * (A @ v))
    for options in ({"method": np.array(["auto", "lanczos"])}, {"rtol": 10**400}):
        with pytest.raises(OptionError):
            funm_multiply(A, v, **options)


def test_operators_of_every_kind_agree():
    A = problems.poisson2d(15)
    v = np.ones(225)
    expected = funm_multiply(A, v, method="direct")
    for other in (A.toarray(), A.tocoo(), A.tocsc(), aslinearoperator(A), A.astype(np.float32)):
        for method in ("direct", "lanczos", "autospec"):
            assert relative(funm_multiply(other, v, method=method), expected) < 1e-5


def test_torch_stays_torch():
    torch = pytest.importorskip("torch")
    A = problems.poisson2d(15)
    expected = funm_multiply(A, np.ones(225), method="direct")
    T = torch.from_numpy(A.toarray())
    for method in ("auto", "lanczos", "autospec", "direct"):
        y = funm_multiply(T, torch.ones(225), method=method)
        assert isinstance(y, torch.Tensor)
        assert y.report.converged
        assert relative(y.numpy(), expected) < 1e-5
    block = funm_multiply(T, torch.ones((225, 2)), method="lanczos")
    assert tuple(block.shape) == (225, 2)


# -- the result ----------------------------------------------------------------------------------------


def test_the_result_is_an_array_with_a_report():
    A = problems.poisson2d(15)
    y = funm_multiply(A, np.ones(225))
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float64
    assert type(y + 1) is np.ndarray
    assert not hasattr(y[3:], "report")
    assert np.isfinite(A @ y).all()
    data = json.loads(y.report.to_json())
    fields = {"status", "converged", "method", "f", "n", "nnz", "rtol", "error_estimate", "degree", "products"}
    fields |= {"products_probe", "seconds", "interval", "fallback", "chosen_because", "weights", "seed", "versions"}
    assert fields <= set(data)
    assert data["chosen_because"]


def test_auto_says_why(monkeypatch):
    A, rng = problems.poisson2d(30), np.random.default_rng(0)
    chosen = {}
    for k in (1, 20, 300):
        report = funm_multiply(A, rng.standard_normal((900, k))).report
        chosen[k] = report.method
        assert report.chosen_because
    assert chosen == {1: "lanczos", 20: "lanczos", 300: "direct"}
    assert funm_multiply(problems.poisson2d(10), np.ones(100)).report.method == "direct"
    from nnla.functions import run as running

    monkeypatch.setattr(running, "STORED", 1 << 20)  # a polynomial where the basis would not fit
    report = funm_multiply(A, rng.standard_normal((900, 20))).report
    assert report.method in ("autospec", "chebyshev")
    assert "memory" in report.chosen_because


def test_auto_ends_with_an_eigendecomposition_where_lanczos_does_not_converge():
    w = np.linspace(-1, 1, 600) ** 3  # a jump in the thick of the spectrum
    y = funm_multiply(sp.diags_array(w), np.ones(600), "sign")
    assert (y.report.method, y.report.converged) == ("direct", True)
    assert "eigendecomposition" in y.report.fallback
    assert np.array_equal(np.sign(w), np.round(y))


def test_the_input_is_not_modified():
    A, V = problems.poisson2d(12), np.random.default_rng(0).standard_normal((144, 2))
    data, copy = A.data.copy(), V.copy()
    for method in ("lanczos", "autospec", "direct"):
        funm_multiply(A, V, method=method)
    assert np.array_equal(A.data, data)
    assert np.array_equal(V, copy)


# -- bound functions -----------------------------------------------------------------------------------


def test_a_bound_function_is_a_linear_operator_whose_coefficients_travel():
    A = problems.poisson2d(20)
    W = matrix_function(A, "inv_sqrt", rtol=1e-5)
    assert W.kind is Kind.LINEAR
    V = np.random.default_rng(0).standard_normal((400, 3))
    exact = funm_multiply(A, V, method="direct")
    assert relative(W @ V, exact) <= 3e-5
    assert relative(W @ V[:, 0], exact[:, 0]) <= 3e-5
    assert W.error_estimate <= 1e-5
    again = Recurrence.from_json(W.recurrence.to_json())
    assert np.allclose(again.apply(A, V), W @ V, rtol=1e-12)
    assert W.products == 7 * W.recurrence.products
    assert W.report.converged
    with pytest.raises(OptionError, match="polynomial"):
        matrix_function(A, "inv_sqrt", method="lanczos")


def test_matfun_is_exact():
    A = problems.poisson2d(8)
    root = matfun(A, "sqrt")
    assert np.allclose(root @ root, A.toarray(), atol=1e-12)
    assert np.allclose(matfun(aslinearoperator(A), "inv") @ A.toarray(), np.eye(64), atol=1e-10)
