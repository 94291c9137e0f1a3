"""One matrix of a family as a preconditioner for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.krylov.fgmres import column_sizes, flexible_gmres
from nnla.preconditioners.dense_reference import row_scaled_reference
from nnla.problems.bvp import bvp_systems


def steps(equation, n, count=32):
    reference = bvp_systems(300, equation="diffusion", n=n, seed=1).A.mean(axis=0)
    systems = bvp_systems(count, equation=equation, n=n, seed=2)
    A, b = systems.A, systems.b[:, :, None]
    apply = row_scaled_reference(reference, A)
    targets = 1e-10 * np.linalg.norm(b, axis=1)
    found = flexible_gmres(lambda v: A @ v, apply, column_sizes, b, 0 * b, targets=targets, maxiter=60)
    assert np.all(found.norms <= targets)
    return found.iterations


@pytest.mark.parametrize("equation", ["diffusion", "rough"])
def test_steps_do_not_depend_on_the_grid(equation):
    medians = [np.median(steps(equation, n)) for n in (16, 32, 64)]
    assert max(medians) <= 12
    assert max(medians) - min(medians) <= 4


def test_multiples_of_the_reference_row_by_row_are_inverted_exactly():
    rng = np.random.default_rng(0)
    C = np.eye(6) + 0.2 * rng.standard_normal((6, 6))
    A = rng.uniform(0.5, 2.0, (3, 6, 1)) * np.sign(rng.standard_normal((3, 6, 1))) * C
    v = rng.standard_normal((3, 6, 2))
    assert np.allclose(A @ row_scaled_reference(C, A)(v), v)
    assert np.allclose(row_scaled_reference(5.0 * C, 3.0 * A)(v), row_scaled_reference(C, A)(v) / 3.0)


def test_it_is_linear_and_finite_for_any_matrix():
    rng = np.random.default_rng(1)
    A = np.array([np.zeros((5, 5)), np.ones((5, 5)), rng.standard_normal((5, 5)), np.eye(5)[::-1]])
    apply = row_scaled_reference(np.eye(5) + 0.1, A)
    u, v = rng.standard_normal((2, 4, 5, 1))
    assert np.all(np.isfinite(apply(v)))
    assert np.allclose(apply(u - 2 * v), apply(u) - 2 * apply(v))
    assert row_scaled_reference(np.ones((5, 5)), A) is None
    assert row_scaled_reference(np.zeros((5, 5)), A) is None


def test_tensors():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    C, A, v = np.eye(5) + 0.1, np.eye(5) + 0.1 * rng.standard_normal((2, 5, 5)), rng.standard_normal((2, 5, 1))
    found = row_scaled_reference(C.astype(np.float32), torch.from_numpy(A))(torch.from_numpy(v))
    assert found.dtype == torch.float64
    assert np.allclose(found.numpy(), row_scaled_reference(C, A)(v), rtol=1e-6)
