"""`nnla.solve` as its users call it: right answers, honest reports, named errors."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.sparse.linalg import cg as scipy_cg

import nnla
from nnla.errors import NNLAError, OptionError, ShapeError
from nnla.problems.random_matrices import KINDS, random_matrix
from nnla.types import Report

ITERATIVE = (
    "auto",
    "autospec",
    "chebyshev",
    "chebyshev4",
    "rule",
    "dos",
    "least-squares",
    "gmres",
    "cg",
    "jacobi",
)
METHODS = (*ITERATIVE, "richardson", "ic", "direct")


def residual(A, x, b):
    return np.max(np.linalg.norm(b - A @ x, axis=0) / np.linalg.norm(b, axis=0))


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((48, 48), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_the_true_tolerance(system, method):
    A, b = system
    x, report = nnla.solve(A, b, method=method, rtol=1e-9)
    assert report.converged
    assert report.status == "converged"
    assert residual(A, x, b) <= 1e-9
    assert report.relative_residual == pytest.approx(residual(A, x, b), rel=1e-3)


@pytest.mark.parametrize("method", ["auto", "autospec", "jacobi", "direct", "ic"])
def test_several_right_hand_sides_of_any_size(system, method):
    A, b = system
    B = np.stack([b, 1e-200 * b[::-1], 1e200 * np.ones_like(b), A @ np.ones_like(b)], axis=1)
    x, report = nnla.solve(A, B, method=method, rtol=1e-8)
    assert x.shape == B.shape
    assert report.converged
    for j in range(4):
        scale = np.abs(B[:, j]).max()
        r = (B[:, j] - A @ x[:, j]) / scale
        assert np.linalg.norm(r) <= 1.0001e-8 * np.linalg.norm(B[:, j] / scale)


def test_a_zero_column_gives_zero(system):
    A, b = system
    x, report = nnla.solve(A, np.stack([b, 0 * b], axis=1), method="autospec")
    assert report.converged
    assert not x[:, 1].any()
    x, report = nnla.solve(A, 0 * b)
    assert report.converged
    assert not x.any()


@pytest.mark.parametrize("method", ["autospec", "cg", "jacobi", "ic", "direct", "auto"])
def test_products_are_all_counted(system, method):
    A, b = system
    count = 0

    def matvec(v):
        nonlocal count
        count += 1
        return A @ v

    if method in ("ic", "direct"):
        report = nnla.solve(A, b, method=method).report
        assert report.products >= report.iterations
        return
    operator = LinearOperator(A.shape, matvec=matvec, dtype=float)
    if method in ("jacobi",):
        pytest.skip("a LinearOperator has no diagonal")
    report = nnla.solve(operator, b, method=method).report
    assert report.converged
    assert report.products == count
    if method == "autospec":
        assert report.preconditioner_applies == report.iterations
        assert report.products_probe >= report.probe_iterations >= 50
        inner = report.iterations * (report.degree + 1)
        assert report.products_probe + inner <= report.products <= report.products_probe + inner + 4


@pytest.mark.parametrize(("dtype", "each"), [(np.float64, 1), (np.float32, 2)])
def test_reductions_per_outer_iteration(system, dtype, each):
    """One in float64; a polynomial in float32 does not bear Chronopoulos and Gear's rounding as well."""
    A, b = system
    report = nnla.solve(A, b, method="autospec", rtol=1e-10, dtype=dtype).report
    total = each * report.iterations + report.probe_iterations
    assert report.precision == np.dtype(dtype).name
    assert total <= report.reductions <= total + 6


def test_history_is_complete_and_ends_below_the_tolerance(system):
    A, b = system
    report = nnla.solve(A, b, method="autospec", rtol=1e-7).report
    assert len(report.residual_history) == report.iterations + report.probe_iterations
    assert report.residual_history[-1] <= 1e-7
    assert min(report.residual_history[:-1]) > 1e-7


def test_scipys_cg_takes_the_preconditioner(system):
    A, b = system
    M = nnla.preconditioner(A, degree=11)
    steps = 0

    def callback(_):
        nonlocal steps
        steps += 1

    x, info = scipy_cg(A, b, M=M, rtol=1e-9, callback=callback)
    assert info == 0
    assert residual(A, x, b) < 1e-8
    plain = nnla.solve(A, b, method="cg", rtol=1e-9).report.iterations
    assert steps < plain / 6
    assert M.report["applies"] >= steps


@pytest.mark.parametrize("method", ["autospec", "dos", "least-squares", "gmres"])
@pytest.mark.parametrize("scaling", ["none", "jacobi", "ic"])
def test_preconditioner_is_symmetric_positive_definite(method, scaling):
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((12, 12), s=1.5))
    M = nnla.preconditioner(A, method=method, scaling=scaling, degree=7)
    dense = M @ np.eye(144)
    assert np.allclose(dense, dense.T, atol=1e-10 * np.abs(dense).max())
    assert np.linalg.eigvalsh((dense + dense.T) / 2)[0] > 0
    v = np.arange(144.0)
    assert np.allclose(M @ v, M.matvec(v))
    assert M.dtype == np.float64


def test_reuse_of_a_preconditioner(system, rng):
    A, b = system
    M = nnla.preconditioner(A)
    probe_products = M.probe.products
    for _ in range(3):
        rhs = rng.standard_normal(b.size)
        x, report = nnla.solve(A, rhs, M=M)
        assert report.converged
        assert residual(A, x, rhs) <= 1e-8
        assert report.products_probe == 0
        assert report.products >= report.iterations * 12
        assert report.method == "autospec"
    assert M.probe.products == probe_products
    again = nnla.preconditioner(A, probe=M.probe, scaling=M.scaling)
    assert again.recurrence == M.recurrence


def test_single_precision_preconditioner(system):
    A, b = system
    M64, M32 = nnla.preconditioner(A), nnla.preconditioner(A, dtype=np.float32)
    z = M64 @ b
    assert 0 < np.linalg.norm(M32 @ b - z) < 1e-4 * np.linalg.norm(z)
    x, report = nnla.solve(A, b, M=M32, rtol=1e-10)
    assert report.converged
    assert residual(A, x, b) <= 1e-10


def test_initial_guess(system):
    A, b = system
    x, _ = nnla.solve(A, b, method="autospec", rtol=1e-6)
    better = nnla.solve(A, b, x0=x, method="autospec", rtol=1e-9)
    assert better.report.converged
    assert better.report.products < nnla.solve(A, b, method="autospec", rtol=1e-9).report.products
    done = nnla.solve(A, b, x0=x, rtol=1e-5)
    assert done.report.iterations == 0
    useless = nnla.solve(A, b, x0=1e6 * np.ones_like(b), method="autospec", rtol=1e-9)
    assert useless.report.converged
    assert residual(A, useless.x, b) <= 1e-9


def test_user_preconditioner_under_cg_and_under_the_polynomial(system):
    A, b = system
    M = sp.diags_array(1 / A.diagonal())
    for method in ("auto", "cg", "autospec"):
        x, report = nnla.solve(A, b, M=M, method=method)
        assert report.converged
        assert report.scaling == "user"
        assert residual(A, x, b) <= 1e-8


def test_nonconvergence_is_reported_not_raised(system):
    A, b = system
    x, report = nnla.solve(A, b, method="autospec", rtol=1e-12, maxiter=3)
    assert not report.converged
    assert report.status == "maxiter"
    assert report.iterations == 3
    assert residual(A, x, b) == pytest.approx(report.relative_residual, rel=1e-3)
    _, report = nnla.solve(A, b, method="cg", rtol=0.0)
    assert report.status == "rounding"


def test_callback(system):
    A, b = system
    norms = []
    _, report = nnla.solve(A, 1e5 * b, method="autospec", callback=lambda x: norms.append(residual(A, x, 1e5 * b)))
    assert len(norms) == len(report.residual_history)
    assert np.allclose(norms, report.residual_history, rtol=1e-4)


def test_indefinite_matrix_that_passes_the_diagonal_test():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((80, 80)))
    lam = np.concatenate([[-0.5, -0.1], np.linspace(1, 4, 78)])
    A = (Q * lam) @ Q.T
    A = (A + A.T) / 2
    b = rng.standard_normal(80)
    for method in ("cg", "autospec", "chebyshev", "jacobi"):
        x, report = nnla.solve(A, b, method=method)
        assert report.converged == (residual(A, x, b) <= 1e-8)
        assert report.converged or report.status in ("indefinite", "breakdown", "stagnation", "maxiter")
    x, report = nnla.solve(A, b, method="auto")
    assert report.converged  # LU does not mind, and the residual vouches for it
    assert residual(A, x, b) <= 1e-8


def test_singular_but_consistent(rng):
    graph = nnla.problems.poisson1d(60).toarray()
    graph[0, 0] = graph[-1, -1] = 1  # the Laplacian of a path: constants are its kernel
    b = graph @ rng.standard_normal(60)
    for method in ("cg", "autospec"):
        x, report = nnla.solve(graph, b, method=method, rtol=1e-8)
        assert report.converged == (residual(graph, x, b) <= 1.001e-8)


@pytest.mark.parametrize("factor", [1e-13, 1e12])
def test_scale_of_the_matrix_does_not_matter(system, factor):
    A, b = system
    one = nnla.solve(A, b, method="autospec").report
    other = nnla.solve(factor * A, b, method="autospec").report
    assert other.converged
    assert abs(one.iterations - other.iterations) <= 1


def test_torch_stays_torch(system):
    torch = pytest.importorskip("torch")
    A, b = system
    dense, rhs = torch.from_numpy(A.toarray()), torch.from_numpy(b)
    for method in ("autospec", "jacobi", "direct", "auto"):
        x, report = nnla.solve(dense, rhs, method=method)
        assert isinstance(x, torch.Tensor)
        assert report.converged
        assert residual(A, x.numpy(), b) <= 1e-8
    block, report = nnla.solve(dense, torch.stack([rhs, 2 * rhs], dim=1), method="autospec")
    assert tuple(block.shape) == (b.size, 2)
    assert torch.allclose(2 * block[:, 0], block[:, 1], rtol=1e-5)


def test_tiny_systems():
    assert nnla.solve([[4.0]], [2.0]).x == pytest.approx([0.5])
    assert nnla.solve([[4.0]], [2.0], method="autospec").x == pytest.approx([0.5])
    assert nnla.solve(np.diag([1, 2, 3]), [1, 2, 3], method="autospec").x == pytest.approx([1, 1, 1])


def test_report_round_trip(system):
    A, b = system
    report = nnla.solve(A, b, method="autospec").report
    data = json.loads(report.to_json())
    promised = {
        "status", "converged", "method", "n", "nnz", "rtol", "relative_residual", "iterations",
        "probe_iterations", "degree", "products", "products_probe", "preconditioner_applies",
        "reductions", "seconds", "fallback", "chosen_because", "weights", "seed",
        "residual_history", "versions",
    }  # fmt: skip
    assert promised <= set(data)
    assert set(data["seconds"]) == {"probe", "setup", "solve", "total"}
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "options",
    [
        {"method": "magic"},
        {"rtol": -1.0},
        {"rtol": np.nan},
        {"rtol": "tight"},
        {"atol": np.inf},
        {"maxiter": -1},
        {"maxiter": 1.5},
        {"degree": 0, "method": "autospec"},
        {"degree": 2.0, "method": "autospec"},
        {"scaling": "odd", "method": "autospec"},
        {"probe_steps": 0, "method": "autospec"},
        {"warm_start": 3},
    ],
)
def test_bad_options(system, options):
    with pytest.raises(OptionError):
        nnla.solve(*system, **options)


def test_bad_shapes(system):
    A, b = system
    for bad in (b[:-1], np.zeros((2, b.size)), np.zeros((b.size, 0)), 1.0):
        with pytest.raises(ShapeError):
            nnla.solve(A, bad)
    with pytest.raises(ShapeError):
        nnla.solve(A, b, x0=np.zeros((b.size, 2)))
    with pytest.raises(ShapeError):
        nnla.solve(A, b, M=sp.eye_array(3))
    with pytest.raises(OptionError):
        nnla.solve(aslinearoperator(A), b, method="ic")


def test_a_column_that_needs_nothing_does_not_stop_the_others(system):
    """The probe's coefficients are those of the first column that needs a step, wherever it stands."""
    A, b = system
    for first in (0 * b, A @ np.ones_like(b)):
        B = np.stack([first, b], axis=1)
        x0 = np.stack([np.ones_like(b), 0 * b], axis=1)
        x, report = nnla.solve(A, B, method="chebyshev", x0=x0 if first.any() else None)
        assert report.converged
        assert report.degree == 11
        assert np.linalg.norm(b - A @ x[:, 1]) <= 1e-8 * np.linalg.norm(b)


def test_a_probe_whose_column_converged_early_is_not_called_exhausted(system, monkeypatch):
    from nnla.linear import polynomial as phases

    A, b = system
    seen = []
    real = phases.design_polynomial
    monkeypatch.setattr(phases, "design_polynomial", lambda p, **k: seen.append(p) or real(p, **k))
    easy = b.copy()
    x0 = np.stack([nnla.solve(A, b, rtol=1e-6, method="cg").x, 0 * b], axis=1)
    _, report = nnla.solve(A, np.stack([easy, b], axis=1), x0=x0, rtol=1e-7, method="chebyshev")
    assert report.converged
    assert seen[0].steps < 50
    assert not seen[0].exhausted


def test_the_residual_checked_is_that_of_the_x_returned():
    """Rounding x while undoing the scaling of b would be enough to miss the tolerance here."""
    rng = np.random.default_rng(6)
    A = random_matrix("badly_scaled_spd", 6, rng)
    for scale in (1.0, 0.3, 1e-150, 7e150):
        b = scale * rng.standard_normal(6)
        for method in ("cg", "jacobi", "chebyshev", "direct"):
            x, report = nnla.solve(A, b, method=method)
            unit = np.abs(b).max()
            true = np.linalg.norm(b / unit - A @ (x / unit)) / np.linalg.norm(b / unit)
            if scale in (1.0, 0.3):
                true = np.linalg.norm(b - A @ x) / np.linalg.norm(b)
                assert report.relative_residual == pytest.approx(true, rel=1e-9)
            assert not report.converged or scale not in (1.0, 0.3) or true <= 1e-8


def test_seed_is_that_of_the_probe_behind_the_preconditioner(system):
    A, b = system
    assert nnla.solve(A, b, method="cg").report.seed is None  # nothing random went into it
    M = nnla.preconditioner(A, method="chebyshev", seed=17)
    assert nnla.solve(A, b, M=M).report.seed == 17


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 90), st.integers(0, 10**6), st.sampled_from(METHODS))
@settings(max_examples=300, deadline=None)
def test_never_silently_wrong(kind, n, seed, method):
    """Any matrix, any method: a true residual under the tolerance, a stated failure, or a named error."""
    rng = np.random.default_rng(seed)
    A = random_matrix(kind, n, rng)
    b = rng.standard_normal(A.shape[0])
    try:
        x, report = nnla.solve(A, b, method=method, rtol=1e-8)
    except NNLAError as error:
        text = str(error)
    else:
        text = None
    if text is not None:
        assert text
        assert "\n" not in text
        return
    assert np.all(np.isfinite(x))
    true = np.linalg.norm(b - A @ x) / np.linalg.norm(b)
    assert report.converged == (report.status == "converged")
    if report.converged:
        assert true <= 1.0001e-8
    else:
        assert report.status in ("maxiter", "stagnation", "rounding", "breakdown", "indefinite", "singular")
        assert true <= 1 + 1e-8  # never worse than not having tried


@pytest.mark.parametrize(("limit", "reductions"), [(1e12, 1), (1.0, 2)])
def test_bad_conditioning_takes_two_reductions_an_iteration(limit, reductions, monkeypatch):
    from nnla.linear import polynomial as phases

    monkeypatch.setattr(phases, "_ILL_CONDITIONED", limit)
    A = nnla.problems.poisson2d(60)
    b = np.random.default_rng(0).standard_normal(3600)
    report = nnla.solve(A, b, method="chebyshev", rtol=1e-10, dtype=np.float64).report
    assert report.converged
    assert report.iterations >= 5
    assert abs(report.reductions - report.probe_iterations - reductions * report.iterations) <= 3


@pytest.mark.parametrize("method", ["auto", "direct"])
def test_an_exactly_singular_dense_matrix_is_no_warning(method):
    """LU meets a zero pivot: SciPy would warn, and the user can read it in the status."""
    x, report = nnla.solve(np.ones((2, 2)), np.array([1.0, 2.0]), method=method)
    assert not report.converged
    assert report.status == "singular"
    assert np.all(np.isfinite(x))


@pytest.mark.parametrize("method", ["cg", "jacobi", "ic", "autospec", "direct", "auto"])
@pytest.mark.parametrize("columns", [None, 2])
def test_a_guess_beyond_what_A_can_multiply_is_left(method, columns):
    """Zero times its infinite residual was NaN, and nothing converged."""
    A = 1e10 * nnla.problems.poisson2d(12)
    b = np.ones(144) if columns is None else np.ones((144, columns))
    x0 = 1e300 * np.arange(1.0, 145.0)
    x0 = x0 if columns is None else np.column_stack([x0, np.zeros(144)])
    x, report = nnla.solve(A, b, x0=x0, method=method)
    assert report.converged
    assert np.linalg.norm(b - A @ x) <= 2e-8 * np.linalg.norm(b)
