"""Nothing that calls itself converged is wrong: closed forms and LAPACK, where f hides from the first Ritz values."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla import problems
from nnla.errors import NonFiniteError
from nnla.functions.multiply import funm_multiply, matfun

EXACT = {
    "inv_sqrt": lambda x: x**-0.5,
    "sqrt": np.sqrt,
    "inv": lambda x: 1 / x,
    "log": np.log,
    "sign": np.sign,
    "exp": np.exp,
}


def path(n):
    """Laplacian of a path, its eigenvalues and vectors."""
    k = np.arange(n)
    L = sp.csr_array(
        sp.diags_array([-np.ones(n - 1), np.r_[1, 2 * np.ones(n - 2), 1], -np.ones(n - 1)], offsets=[-1, 0, 1])
    )
    Q = np.cos(np.pi * np.outer(k + 0.5, k) / n)
    return L, 2 - 2 * np.cos(np.pi * k / n), Q / np.linalg.norm(Q, axis=0)


def random_graph(n, rng):
    i, j = rng.integers(0, n, (2, 3 * n))
    W = sp.coo_array((np.ones(i.size), (i, j)), shape=(n, n)).tocsr()
    W = sp.csr_array(W + W.T)
    W.setdiag(0)
    L = sp.csr_array(sp.diags_array(np.asarray(W.sum(axis=1)).ravel()) - W)
    return (L, *np.linalg.eigh(L.toarray()))


def error(y, exact):
    y, scale = np.asarray(y), float(np.abs(exact).max())
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(y / scale - exact / scale) / np.linalg.norm(exact / scale))


def right(A, v, f, exact, rtol=1e-6, **options):
    y = funm_multiply(A, v, f, rtol=rtol, **options)
    assert y.report.converged, y.report
    assert error(y, exact) <= 3 * rtol, (error(y, exact), y.report)
    return y


# -- f that is zero, or as good as zero, on the first Ritz values --------------------------------------


@pytest.mark.parametrize("t", [1e2, 1e4, 1e6])
def test_heat_kernels_at_large_times(t):
    rng = np.random.default_rng(0)
    L, w, Q = path(520)
    delta = np.zeros(520)
    delta[170] = 1
    for v in (delta, rng.standard_normal(520), rng.standard_normal((520, 2))):
        inner = Q.T @ v
        exact = Q @ (np.exp(-t * w) * inner if v.ndim == 1 else np.exp(-t * w)[:, None] * inner)
        right(-t * L, v, "exp", exact)
        right(L, v, lambda x: np.exp(-t * x), exact)
    right(aslinearoperator(-t * L), delta, "exp", Q @ (np.exp(-t * w) * (Q.T @ delta)))
    G, w, Q = random_graph(520, rng)
    right(-t * G, delta, "exp", Q @ (np.exp(-t * w) * (Q.T @ delta)))


def test_the_image_may_be_tiny():
    m, t = 30, 3000.0
    th = 2 - 2 * np.cos(np.pi * np.arange(1, m + 1) / (m + 1))
    k = np.arange(1, m + 1)
    S = np.sqrt(2 / (m + 1)) * np.sin(np.pi * np.outer(k, k) / (m + 1))
    d = np.zeros(m * m)
    d[m * m // 2 + 3] = 1
    exact = (S @ (np.exp(-t * np.add.outer(th, th)) * (S @ d.reshape(m, m) @ S)) @ S).ravel()
    assert np.linalg.norm(exact) < 1e-26
    right(-t * problems.poisson2d(m), d, "exp", exact)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 1 / (1 + np.exp(np.clip((x - 0.021) / 1e-3, -700, 700))),  # Fermi, few states below
        lambda x: 1.0 * (x < 0.021),  # projector on the lowest
        lambda x: 1.0 * ((x > 1.003) & (x < 1.021)),  # window
        lambda x: np.exp(-(((x - 3.99) / 1e-3) ** 2)),
    ],
)
def test_fermi_functions_projectors_and_windows(f):
    L, w, Q = path(520)
    v = np.random.default_rng(3).standard_normal(520)
    exact = Q @ (f(w) * (Q.T @ v))
    y = funm_multiply(L, v, f, method="lanczos")
    assert not y.report.converged or error(y, exact) <= 3e-6
    assert y.report.steps > 50
    right(L, v, f, exact)


def test_zeros_of_f_on_the_first_ritz_values():
    rng = np.random.default_rng(4)
    w = np.sort(rng.uniform(0, 1, 700))
    v = rng.standard_normal(700)
    T = [v / np.linalg.norm(v)]
    alpha, beta = [], []
    for _ in range(6):  # six Lanczos steps: f is zero on their Ritz values, and positive elsewhere
        z = w * T[-1] - (beta[-1] * T[-2] if beta else 0)
        alpha.append(z @ T[-1])
        z -= alpha[-1] * T[-1]
        beta.append(np.linalg.norm(z))
        T.append(z / beta[-1])
    theta = np.linalg.eigvalsh(np.diag(alpha) + np.diag(beta[:5], 1) + np.diag(beta[:5], -1))

    def f(x):
        return np.prod([np.subtract(x, t) ** 2 for t in theta], axis=0)

    right(sp.diags_array(w), v, f, f(w) * v, method="lanczos")


def test_no_image_is_no_reason_to_stop():
    w = np.linspace(0, 1, 520)
    y = funm_multiply(
        sp.diags_array(w), np.ones(520), lambda x: 1.0 * (np.abs(x - w[300]) < 1e-5), method="lanczos", maxiter=40
    )
    assert not y.report.converged
    assert np.isinf(y.report.error_estimate)


# -- units ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lanczos", "chebyshev", "autospec", "direct"])
def test_units_of_v_f_and_A(method):
    A = problems.poisson2d(10)
    w, Q = np.linalg.eigh(A.toarray())
    v = np.random.default_rng(1).standard_normal(100)
    exact = Q @ (w**-0.5 * (Q.T @ v))
    for s in (1e-300, 1e-200, 1e-160, 1e154, 1e300):
        right(A, v * s, "inv_sqrt", exact * s, method=method)
        right(A * s, v, "inv_sqrt", exact * s**-0.5, method=method)
        right(A * s, v, "sign", v, method=method)
        right(A, v, lambda x, s=s: s * np.asarray(x) ** -0.5, exact * s, method=method)
    V = v[:, None] * np.array([1e-300, 1.0, 1e300])
    Y = funm_multiply(A, V, method=method)
    assert Y.report.converged
    for j in range(3):
        assert error(Y[:, j], exact * V[0, j] / v[0]) < 3e-6


@pytest.mark.parametrize("method", ["lanczos", "direct", "chebyshev"])
def test_exponentials_up_to_the_end_of_float64(method):
    A = problems.poisson2d(12) / 8
    w, Q = np.linalg.eigh(A.toarray())
    v = np.random.default_rng(1).standard_normal(144)
    for t in (355.0, 500.0, 705.0):
        right(A * t, v, "exp", Q @ (np.exp(t * w) * (Q.T @ v)), method=method)
    right(A * 800, v * 1e-200, "exp", Q @ (np.exp(800 * w - 200 * np.log(10)) * (Q.T @ v)), method=method)
    with pytest.raises(NonFiniteError, match=r"range of float64.*shifted"):
        funm_multiply(A * 800, v, "exp", method=method)


# -- vectors that show only a part of the spectrum -----------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "lanczos", "autospec", "chebyshev", "neumann"])
@pytest.mark.parametrize("degree", [None, 20, 120])
def test_vectors_in_small_invariant_subspaces(method, degree):
    if method == "auto" and degree is not None:
        pytest.skip("auto takes no degree")
    m = 16
    A = problems.poisson2d(m)
    th = 2 - 2 * np.cos(np.pi * np.arange(1, m + 1) / (m + 1))
    modes = {k: np.sin(np.pi * np.arange(1, m + 1) * k / (m + 1)) for k in (1, 2, 3, 7)}
    one, two = np.kron(modes[3], modes[2]), np.kron(modes[1], modes[7])
    w = th[2] + th[1], th[0] + th[6]
    L = problems.poisson2d(m)
    L = sp.csr_array(L - sp.diags_array(np.asarray(L.sum(axis=1)).ravel()) + sp.eye_array(m * m))  # L 1 = 1
    for f in ("inv_sqrt", "inv") if method == "neumann" else ("inv_sqrt", "inv", "log", "exp"):
        g = EXACT[f]
        cases = [(A, one + two, g(w[0]) * one + g(w[1]) * two)]
        if f != "log":  # log 1 = 0: of rounding, no digit is right
            cases.append((L, np.ones(m * m), np.full(m * m, g(1.0))))
        for B, v, exact in cases:
            y = funm_multiply(B, v, f, method=method, degree=degree)
            assert y.report.converged
            assert np.linalg.norm(y - exact) <= 3e-6 * np.linalg.norm(v), (f, y.report)


@pytest.mark.parametrize("method", ["chebyshev", "autospec"])
def test_a_degree_beyond_the_probe(method):
    """v in 60 of 400 eigenvectors, and rounding in the others: P must not be large there."""
    A = problems.poisson2d(20)
    w, Q = np.linalg.eigh(A.toarray())
    c = np.random.default_rng(2).standard_normal(60)
    for part in (slice(170, 230), slice(0, 60), slice(340, 400)):
        v = Q[:, part] @ c
        for f in ("inv_sqrt", "exp", np.cos):
            g = EXACT.get(f, f)
            for degree in (30, 100, 200):
                y = funm_multiply(A, v, f, method=method, degree=degree)
                e = error(y, Q[:, part] @ (g(w[part]) * c))
                assert not y.report.converged or e <= 3e-6, (f, degree, e, y.report)
    v = np.random.default_rng(0).standard_normal(400)
    right(A, v, "exp", Q @ (np.exp(w) * (Q.T @ v)), method=method, degree=200)


# -- semidefinite to rounding --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "lanczos", "direct"])
def test_a_covariance_of_float32_is_semidefinite(method):
    rng = np.random.default_rng(8)
    for n, samples in ((60, 20), (300, 100)):
        X = (rng.standard_normal((samples, n)) * np.geomspace(10, 1e-2, n)).astype(np.float32)
        C = X.T @ X / np.float32(samples)
        C = (C + C.T) / 2
        w, Q = np.linalg.eigh(C.astype(float))
        assert w[0] < -1e-9 * w[-1]
        v = rng.standard_normal(n)
        right(C, v, "sqrt", Q @ (np.sqrt(np.maximum(w, 0)) * (Q.T @ v)), rtol=1e-4, method=method)
        root = matfun(C, "sqrt")
        assert np.abs(root @ root - C).max() < n * np.finfo(np.float32).eps * w[-1]


# -- random ones ---------------------------------------------------------------------------------------


def draw(rng):
    """A spectrum, a function and a vector."""
    n = int(rng.integers(1, 81))
    t, m = 10.0 ** rng.uniform(-2, 5), rng.uniform(-1, 4)
    w = (
        rng.uniform(0.1, 10, n),
        np.geomspace(10.0 ** -rng.uniform(1, 8), 1, n),
        rng.choice([1.0, 2, 5, 7], n),
        np.append(rng.uniform(1, 1.2, n - 1), 10.0 ** rng.uniform(-6, 4)),
        rng.standard_normal(n),
        2 - 2 * np.cos(np.pi * np.arange(n) / n),
        np.append(rng.uniform(-1e-3, 1e-3, n - 1), rng.uniform(5, 50)),
        np.where(rng.random(n) < 0.4, 0, rng.uniform(0, 4, n)),
    )[rng.integers(8)]
    named = list(EXACT) if w.min() > 1e-12 * w.max() else ["exp", "sign"]
    f = (
        lambda x: np.exp(-t * x),
        lambda x: 1 / (1 + np.exp(np.clip((x - m) * t, -700, 700))),
        lambda x: 1.0 * (x < m),
        lambda x: np.cos(t * x),
        lambda x: (x - m) ** 3,
        lambda x: 1 / (1 + t * x * x),
        lambda x: np.exp(-(((x - m) * t) ** 2)),
        named[rng.integers(len(named))],
    )[min(rng.integers(12), 7)]
    v = rng.standard_normal(n)
    v = (v, np.ones(n), v * 10.0 ** rng.uniform(-16, 0, n), np.where(rng.random(n) < 0.8, 1e-16, 1) * v)[
        rng.integers(4)
    ]
    if rng.random() < 0.2:
        v[rng.random(n) < 0.7] = 0
    return w, f, v * 10.0 ** rng.choice([0, 0, rng.uniform(-250, 250)])


@pytest.mark.parametrize("seed", range(4))
def test_random_spectra_functions_and_vectors(seed):
    """Never wrong and converged; diagonal matrices, where the exact image is known to the last bit."""
    rng = np.random.default_rng(seed)
    converged = 0
    for _ in range(60):
        w, f, v = draw(rng)
        method = ("lanczos", "lanczos", "lanczos", "chebyshev")[rng.integers(4)]
        rtol = 10.0 ** rng.choice([-3, -6, -9])
        degree = int(rng.integers(1, 150)) if method == "chebyshev" else None
        with np.errstate(all="ignore"):
            exact = EXACT.get(f, f)(w) * v
        try:
            y = funm_multiply(sp.diags_array(w), v, f, method=method, rtol=rtol, degree=degree)
        except NonFiniteError:
            assert not np.all(np.isfinite(exact[v != 0])) or method == "chebyshev"
            continue
        if y.report.converged and np.abs(exact).max() > 1e-290:
            converged += 1
            assert error(y, exact) <= 3 * rtol + 1e-12, (w.size, f, rtol, y.report)
    assert converged > 25


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("method", ["autospec", "chebyshev"])
def test_a_probe_of_a_step_or_two_is_not_believed(steps, method):
    """One Ritz value is fitted exactly by a constant."""
    A = nnla.problems.poisson2d(6)
    F = nnla.matrix_function(A, lambda x: 1 / (1 + np.exp(4 * (x - 3))), method=method, probe_steps=steps)
    w, Q = np.linalg.eigh(A.toarray())
    exact = Q @ ((Q.T @ np.ones(36)) / (1 + np.exp(4 * (w - 3))))
    assert not F.report.converged or np.linalg.norm(F @ np.ones(36) - exact) <= 1e-5 * np.linalg.norm(exact)
