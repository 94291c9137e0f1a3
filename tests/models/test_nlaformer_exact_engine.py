"""The loop in use: right answers or errors by name, honest reports, guesses, preconditioners of flexible CG."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla import errors
from nnla.models.nlaformer_exact import ExactLoopConfig, initial_gates
from nnla.models.nlaformer_exact_engine import ExactLoopEngine
from nnla.report import Status
from nnla.types import Kind


def engine(channels=1):
    config = ExactLoopConfig(channels=channels)
    return ExactLoopEngine(config, initial_gates(config, np.random.default_rng(1)), {"name": "toy"})


@pytest.fixture(scope="module")
def model():
    return engine()


@pytest.fixture(scope="module")
def systems():
    return nnla.problems.spd_systems(7, 24, seed=41)


def residuals(A, b, x):
    return np.linalg.norm(b - np.einsum("bij,bj->bi", A, x), axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("channels", [1, 2])
def test_batches_are_solved_and_counted(systems, channels):
    model, calls = engine(channels), []
    x, report = model.solve(systems.A, systems.b, rtol=1e-9)
    assert report.converged
    assert residuals(systems.A, systems.b, x).max() <= 1e-9
    assert report.relative_residual == pytest.approx(residuals(systems.A, systems.b, x).max(), rel=1e-3)
    assert report.products == sum(report.product_counts)
    assert report.loops == max(report.loop_counts)
    assert report.methods == ["loop"] * 7
    assert (report.fallbacks, report.systems, report.columns, report.n) == (0, 7, 1, 24)
    if channels == 1:
        assert report.product_counts == [loops + 1 for loops in report.loop_counts]
    for i in range(7):
        alone = model.solve(systems.A[i], systems.b[i], rtol=1e-9)
        assert np.allclose(alone.x, x[i], rtol=1e-6, atol=1e-6)
        calls.append(alone.report.products)
    assert abs(sum(calls) - report.products) <= 7  # what is checked when depends on the others of a batch


def test_products_are_those_that_are_taken(systems):
    """Counted from outside, by a matrix that counts."""
    from nnla.linear.dense_systems import DenseBatch
    from nnla.models.nlaformer_exact_runs import run_loops

    model = engine()
    batch = DenseBatch.of(systems.A[:1], systems.b[:1, :, None])
    loop, _, _ = model._loop_of(batch, True)
    product, taken = loop.product, []
    loop.product = lambda V: taken.append(V.shape[-1]) or product(V)
    run = run_loops(loop, batch, np.zeros(1, dtype=bool), 1e-9, 100)
    assert run.done.all()
    assert run.products.tolist() == [sum(taken)]


@pytest.mark.parametrize("unit", [1e-250, 1e-30, 1e30, 1e250])
def test_units_do_not_matter(model, systems, unit):
    x, report = model.solve(systems.A, systems.b)
    scaled, other = model.solve(systems.A * unit, systems.b)
    assert other.converged
    assert other.product_counts == report.product_counts
    assert np.allclose(scaled * unit, x, rtol=1e-6)
    mixed, again = model.solve(systems.A * unit, systems.b * unit)
    assert again.converged
    assert np.allclose(mixed, x, rtol=1e-6)
    exact, _ = model.solve(systems.A * 2.0**800, systems.b * 2.0**-100)
    assert np.array_equal(exact * 2.0**450 * 2.0**450, x)


def test_many_right_hand_sides_and_shapes(model, systems):
    A, B = systems.A, np.stack([systems.b, 3 * systems.b, 0 * systems.b], axis=2)
    x, report = model.solve(A, B)
    assert report.converged
    assert x.shape == (7, 24, 3)
    assert np.array_equal(x[:, :, 2], np.zeros((7, 24)))
    assert np.allclose(x[:, :, 1], 3 * x[:, :, 0], rtol=1e-6, atol=1e-6)
    one = model.solve(A[0], B[0])
    assert one.x.shape == (24, 3)
    assert model.solve(A, B, batch=2).report.converged
    assert model.solve(A, systems.b[0]).x.shape == (7, 24)


def test_other_dtypes_and_kinds(model, systems):
    A, b = systems.A[0], systems.b[0]
    x = model.solve(A.astype(np.float32), b.astype(np.float32), rtol=1e-4)
    assert (x.x.dtype, x.report.converged) == (np.float32, True)
    assert model.solve(A.astype(np.float16) + np.eye(24, dtype=np.float16), b).report.converged
    assert np.allclose(model.solve(np.diag([2, 4, 5]), [2, 4, 10]).x, [1, 1, 2])
    assert model.solve([[2.0]], [3.0]).x.tolist() == [1.5]
    torch = pytest.importorskip("torch")
    tensor = model.solve(torch.as_tensor(A), torch.as_tensor(b)).x
    assert isinstance(tensor, torch.Tensor)
    assert np.allclose(tensor.numpy(), model.solve(A, b).x)


def test_bad_input_has_errors_by_name(model, systems):
    A, b = systems.A, systems.b
    cases = [
        (errors.ShapeError, lambda: model.solve(A[0], b[0, :5])),
        (errors.ShapeError, lambda: model.solve(A[0, :5], b[0, :5])),
        (errors.ShapeError, lambda: model.solve([A[0], np.eye(3)], b[0])),
        (errors.NonFiniteError, lambda: model.solve(np.where(A > 5, np.nan, A) * np.inf, b)),
        (errors.NotSymmetricError, lambda: model.solve(np.triu(A[0]), b[0])),
        (errors.NotPositiveDefiniteError, lambda: model.solve(-A[0], b[0])),
        (errors.NotPositiveDefiniteError, lambda: model.solve(A[0] - 40 * np.outer(b[0], b[0]) / (b[0] @ b[0]), b[0])),
        (errors.DTypeError, lambda: model.solve(A[0] + 1j, b[0])),
        (errors.DTypeError, lambda: model.solve(nnla.problems.poisson2d(3), np.ones(9))),
        (errors.OptionError, lambda: model.solve(A, b, rtol=-1)),
        (errors.OptionError, lambda: model.solve(A, b, maxiter=-1)),
        (errors.OptionError, lambda: model.solve(A, b, guard="yes")),
        (errors.OptionError, lambda: model.guess(A, b, loops=0)),
        (errors.OptionError, lambda: model.block_jacobi(A[0], size=0)),
        (errors.NonFiniteError, lambda: model.solve(np.diag([1e-200, 1.0, 1e200]), np.ones(3))),
    ]
    for error, call in cases:
        with pytest.raises(error) as caught:
            call()
        assert "\n" not in str(caught.value)
    broken = A.copy()
    broken[3, 0, 1] += 1.0
    with pytest.raises(errors.NotSymmetricError, match=r"^system 3 \(from 0\)"):
        model.solve(broken, b)


def test_what_the_loop_does_not_reach_cholesky_does(model, systems):
    x, report = model.solve(systems.A, systems.b, maxiter=2)
    assert report.converged
    assert report.fallbacks == 7
    assert report.methods == ["cholesky"] * 7
    assert "Cholesky" in report.fallback
    assert residuals(systems.A, systems.b, x).max() < 1e-12
    assert model.solve(systems.A, systems.b, maxiter=0).report.converged
    spread = np.diag(2.0 ** np.linspace(-250.0, 250, 9))
    x, report = model.solve(spread, np.diagonal(spread))
    assert (report.converged, report.fallbacks) == (True, 1)
    assert np.allclose(x, 1)


def test_a_tolerance_below_rounding_is_said_to_be(model):
    n = 30
    A = 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0) + 1e-9 * np.eye(n)
    report = model.solve(A, np.ones(n), rtol=1e-17).report
    assert not report.converged
    assert report.status is Status.ROUNDING
    assert report.backward_error < 1e-14


def test_guesses_start_solvers(model, systems):
    A, b, x = systems.A[0], systems.b[0], systems.x[0]
    guess = model.guess(A, b)
    assert np.linalg.norm(guess - x) < 0.1 * np.linalg.norm(x)
    one = nnla.initial_guess(A, b, model=model)
    assert one.report.products == 7  # six loops, and a product for the residual
    assert np.allclose(one.x, guess, rtol=1e-6, atol=1e-6)
    warm = nnla.solve(A, b, method="cg", warm_start=model).report
    assert warm.converged
    assert warm.warm_start["model"] == "toy"
    assert warm.iterations < nnla.solve(A, b, method="cg").report.iterations
    with pytest.raises(errors.OptionError, match="geometry"):
        nnla.initial_guess(A, b, model=model, geometry=object())
    sparse = nnla.problems.poisson2d(8)
    assert model.guess(sparse, np.ones(64)).shape == (64,)


def test_as_preconditioner_it_is_not_linear(model, systems):
    A, b = systems.A[0], systems.b[0]
    M = model.aspreconditioner(A, loops=3)
    assert M.kind is Kind.NONLINEAR
    with pytest.raises(errors.OptionError, match="M is not linear"):
        nnla.solve(A, b, M=M, method="cg")
    for method in ("fcg", "auto"):
        solution = nnla.solve(A, b, M=M, method=method)
        assert solution.report.converged
        assert solution.report.method == "fcg"
    assert M.products == 3 * M.applies
    r = np.stack([b, 2.0**90 * b, 0 * b], axis=1)
    z = M(r)
    assert np.array_equal(z[:, 1], 2.0**90 * z[:, 0])
    assert not z[:, 2].any()
    unit = model.aspreconditioner(A * 2.0**-700, loops=3)
    assert np.array_equal(unit(b) * 2.0**-700, M(b))
    unknown = LinearOperator((24, 24), matvec=lambda v: A @ v, dtype=float)
    with pytest.raises(errors.OptionError, match="diagonal"):
        model.aspreconditioner(unknown)


def test_block_jacobi_on_a_sparse_matrix(model):
    A = nnla.problems.poisson2d(15)
    b = np.ones(225)
    M = model.block_jacobi(A, size=30, loops=5)
    assert M.blocks.shape == (8, 30, 30)
    dense = A.toarray()
    assert np.allclose(M.blocks[1] * 2.0**M._exponent, dense[30:60, 30:60])
    exact = np.zeros(225)
    for at in range(0, 225, 30):
        part = slice(at, at + 30)
        exact[part] = np.linalg.solve(dense[part, part], b[part])
    many = model.block_jacobi(A, size=30, loops=30)
    assert np.allclose(many(b), exact, rtol=1e-8)
    solution = nnla.solve(A, b, M=M, method="fcg")
    assert solution.report.converged
    with pytest.raises(errors.OptionError, match="M is not linear"):
        nnla.solve(A, b, M=M, method="cg")


def test_files_and_checks(model, tmp_path):
    path = tmp_path / "toy.safetensors"
    model.save(path)
    again = nnla.load(path)
    assert isinstance(again, ExactLoopEngine)
    assert nnla.checks.check_model(again, trials=3) == []
    with pytest.raises(errors.WeightsError):
        ExactLoopEngine(ExactLoopConfig(channels=99), model.parameters, {})
    assert nnla.evaluate.evaluate_model(again, count=8)["products"]["20, 1.2"]["learned"][0] < 5
