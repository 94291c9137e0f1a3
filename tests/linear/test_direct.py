"""Direct solution: what is kept, and when iterative refinement goes on or gives up."""

import numpy as np
import pytest

import nnla
from nnla.kernels import native
from nnla.linear.direct import Factor, factorise, solve_factored
from nnla.types import Status


@pytest.fixture
def op():
    return nnla.as_operator(nnla.problems.poisson2d(12))


def rough(op, share):
    """A factorisation that leaves this share of the error in the residual, in a direction that stays."""
    exact = factorise(op).solve
    return Factor("cholesky", lambda r: (1 - share) * exact(r))


@pytest.mark.parametrize(
    ("share", "target", "status", "refinements"),
    [
        (0.0, 1e-10, Status.CONVERGED, 0),
        (0.1, 5e-3, Status.CONVERGED, 2),  # 0.1, 0.01, 0.001
        (0.45, 1e-12, Status.STAGNATION, 3),  # halves each time, but three refinements are all there are
        (0.6, 0.3, Status.STAGNATION, 3),  # does not halve: no second refinement
    ],
)
def test_refinement_goes_on_while_the_residual_halves(op, share, target, status, refinements, rng):
    b = rng.standard_normal(op.n)
    before = op.products
    targets = np.array([target * np.linalg.norm(b)])
    x, how, count = solve_factored(op, rough(op, share), b, targets)
    assert how is status
    assert count == refinements
    residual = np.linalg.norm(b - op.matvec(x)) / np.linalg.norm(b)
    products = op.products - before - 1
    assert products == {0.0: 1, 0.1: 3, 0.45: 4, 0.6: 2}[share]  # one for each residual
    assert residual == pytest.approx({0.0: 0.0, 0.1: 1e-3, 0.45: 0.45**4, 0.6: 0.6}[share], abs=1e-9)


def test_what_is_not_finite_is_a_breakdown(op, rng):
    b = rng.standard_normal(op.n)
    x, how, _ = solve_factored(op, Factor("lu", lambda r: np.full_like(r, np.nan)), b, np.array([1e-8]))
    assert how is Status.BREAKDOWN
    assert not x.any()


def test_the_factor_says_what_it_is(op):
    kept = factorise(op)
    assert kept.kind == ("cholesky" if native is not None else "lu")
    assert 0 <= kept.seconds < 60
    indefinite = nnla.as_operator(np.array([[1.0, 3.0], [3.0, 1.0]]))
    assert (factorise(indefinite).kind, factorise(indefinite).negative_pivots) == ("ldl", 1)
    assert factorise(nnla.as_operator(np.eye(3))).kind == "cholesky"
