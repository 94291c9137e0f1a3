"""Boundary value problems: the matrices against polynomials, SciPy's collocation and fine finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_bvp
from scipy.interpolate import BarycentricInterpolator
from scipy.linalg import solve_banded

from nnla.errors import OptionError
from nnla.problems import bvp_systems
from nnla.problems.bvp import (
    AMPLITUDE,
    BOUNDARIES,
    EQUATIONS,
    REACTION,
    ROUGH_DEVIATION,
    VELOCITY,
    chebyshev_points,
    differentiation_matrix,
)


@pytest.mark.parametrize("N", [2, 3, 8, 65, 257, 1025])
def test_differentiation_is_exact_on_polynomials(N):
    D, x = differentiation_matrix(N), chebyshev_points(N)
    eps = np.finfo(float).eps
    for degree in {0, 1, 2, min(N, 7), min(N, 40)}:
        exact = degree * x ** max(degree - 1, 0)
        # entries of D reach N^2 / 3; rounding of points, which counts ``degree`` times, is amplified by its rows
        bound = (4 + degree) * eps * (np.abs(D) @ np.abs(x**degree) + 1)
        assert np.all(np.abs(D @ x**degree - exact) <= bound), degree


def test_differentiation_matrix_of_two_intervals():
    expected = [[1.5, -2, 0.5], [0.5, 0, -0.5], [-0.5, 2, -1.5]]
    np.testing.assert_allclose(differentiation_matrix(2), expected, atol=1e-15)
    corner = (2 * 64**2 + 1) / 6
    np.testing.assert_allclose(differentiation_matrix(64)[[0, -1], [0, -1]], [corner, -corner], rtol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        differentiation_matrix(2)[0, 0] = 0.0


def test_points_are_symmetric_and_descend():
    x = chebyshev_points(65)
    assert np.array_equal(x, -x[::-1])
    assert np.all(np.diff(x) < 0)
    assert (x[0], x[-1]) == (1.0, -1.0)


def polynomial(values: np.ndarray, grid: np.ndarray):
    """The function through values on the grid."""
    return BarycentricInterpolator(grid, values)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("equation", ["diffusion", "advection"])
def test_solutions_are_those_of_scipys_collocation(equation, boundary):
    """u' = q / kappa, q' = v q / kappa - f: a different formulation and a different method."""
    systems = bvp_systems(3, equation=equation, n=64, boundary=boundary, seed=5)
    grid = systems.grid
    for i in range(len(systems)):
        kappa, f, v = polynomial(systems.kappa[i], grid), polynomial(systems.f[i], grid), systems.v[i]

        def right(x, y, kappa=kappa, f=f, v=v):
            slope = y[1] / kappa(x)
            return np.stack([slope, v * slope - f(x)])

        mesh = np.linspace(-1, 1, 201)
        done = solve_bvp(
            right, lambda a, b: np.array([a[0], b[0]]), mesh, np.zeros((2, 201)), tol=1e-8, max_nodes=20_000
        )
        assert done.success
        scale = np.abs(systems.x[i]).max()
        np.testing.assert_allclose(systems.x[i], done.sol(systems.points)[0], atol=2e-5 * scale)


def test_reaction_against_finite_differences():
    """c jumps, so that both methods are only of low order: they agree to what the jump costs."""
    systems = bvp_systems(6, equation="reaction", n=256, seed=2)
    M = 4000  # intervals
    x = np.linspace(-1, 1, M + 1)
    h = 2 / M
    for i in range(len(systems)):
        order = slice(None, None, -1)
        at = systems.grid[order]
        kappa = polynomial(systems.kappa[i], systems.grid)((x[1:] + x[:-1]) / 2)
        f = polynomial(systems.f[i], systems.grid)(x[1:-1])
        inside = systems.c[i] > 0
        c = np.zeros(M - 1)
        if inside.any():
            c = systems.c[i].max() * ((x[1:-1] >= systems.grid[inside].min()) & (x[1:-1] <= systems.grid[inside].max()))
        band = np.zeros((3, M - 1))
        band[1] = (kappa[1:] + kappa[:-1]) / h**2 + c
        band[0, 1:] = band[2, :-1] = -kappa[1:-1] / h**2
        u = np.concatenate([[0], solve_banded((1, 1), band, f), [0]])
        ours = np.concatenate([[0], systems.x[i], [0]])[order]
        assert np.abs(np.interp(at, x, u) - ours).max() <= 0.03 * np.abs(u).max()


@pytest.mark.parametrize("equation", ["rough", "mapped"])
def test_rough_solution_is_the_integral(equation):
    """kappa / g u' = C - F with F the integral of f g: u in closed form, by quadrature on a fine grid."""
    systems = bvp_systems(4, equation=equation, n=64, seed=3)
    t = np.linspace(-1, 1, 20_001)
    for i in range(len(systems)):
        # between the points the polynomial method knows the fields only by their values there
        kappa, f, g = (
            polynomial(values[i], systems.grid)(t) for values in (systems.kappa / systems.g, systems.f, systems.g)
        )
        assert kappa.min() > 0

        def integral(values, step=t[1] - t[0]):
            return np.concatenate([[0], np.cumsum((values[1:] + values[:-1]) / 2) * step])

        F = integral(f * g)
        C = integral(F / kappa)[-1] / integral(1 / kappa)[-1]
        u = integral((C - F) / kappa)
        assert np.abs(np.interp(systems.points, t, u) - systems.x[i]).max() <= 0.02 * np.abs(u).max()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("n", [3, 4, 32])
def test_every_family_solves_its_systems(equation, boundary, n):
    systems = bvp_systems(5, equation=equation, n=n, boundary=boundary, seed=1)
    assert systems.A.shape == (5, n, n)
    assert systems.b.shape == systems.x.shape == (5, n)
    assert systems.n == n
    assert len(systems) == 5
    assert systems.points.shape == (n,)
    assert systems.grid.shape == (n + 2 if boundary == "interior" else n,)
    residual = np.linalg.norm(np.einsum("bij,bj->bi", systems.A, systems.x) - systems.b, axis=1)
    assert np.all(residual <= 1e-9 * np.linalg.norm(systems.b, axis=1))
    assert all(np.isfinite(getattr(systems, name)).all() for name in ("A", "b", "x", "kappa", "f", "c", "v", "g"))


@pytest.mark.parametrize("equation", EQUATIONS)
def test_conditions_are_those_of_the_paper(equation):
    interior = np.linalg.cond(bvp_systems(60, equation=equation, seed=4).A)
    rows = np.linalg.cond(bvp_systems(60, equation=equation, boundary="rows", seed=4).A)
    assert 3e4 <= np.median(interior) <= 2e6
    assert 1e6 <= np.median(rows) <= 2e8
    if equation in ("diffusion", "rough"):
        assert interior.min() >= 1.5e5
        assert interior.max() <= 4e6


def test_boundary_rows_are_the_identitys():
    systems = bvp_systems(3, boundary="rows", n=16, seed=1)
    assert np.array_equal(systems.A[:, [0, -1]], np.broadcast_to(np.eye(16)[[0, -1]], (3, 2, 16)))
    assert not systems.b[:, [0, -1]].any()
    np.testing.assert_allclose(systems.x[:, [0, -1]], 0, atol=1e-12)
    np.testing.assert_array_equal(systems.b[:, 1:-1], systems.f[:, 1:-1])


def test_both_discretisations_have_the_same_solution():
    """The boundary rows take away the unknowns that the interior system does not have."""
    one = bvp_systems(4, n=62, boundary="interior", seed=9)
    two = bvp_systems(4, n=64, boundary="rows", seed=9)
    np.testing.assert_allclose(one.x, two.x[:, 1:-1], atol=1e-7 * np.abs(one.x).max())


def test_laws_of_the_parameters():
    many = bvp_systems(4000, n=32, seed=0)
    amplitude = np.abs(many.kappa - 1).max(axis=1)
    assert many.kappa.min() > 0
    assert amplitude.max() <= AMPLITUDE[1]
    assert 0.4 <= amplitude.mean() <= 0.46  # of U(0, .9), a little less where no point meets a crest
    np.testing.assert_allclose(many.kappa[:, 16:17] + many.kappa[:, 17:18], 2, atol=1e-12)  # odd about 0
    assert np.all(many.f > 0)
    np.testing.assert_allclose(many.f.mean(axis=1), 1, rtol=1e-12)
    assert not many.c.any()
    assert not many.v.any()
    assert np.all(many.g == 1)


def test_laws_of_reaction_and_velocity():
    c = bvp_systems(2000, equation="reaction", n=32, seed=0).c
    assert c.min() >= REACTION[0]
    assert REACTION[1] * 0.9 < c.max() <= REACTION[1]
    assert all(len(np.unique(row)) <= 2 for row in c)  # constant in an interval
    changes = np.count_nonzero(np.diff(c > 0, axis=1), axis=1)
    assert changes.max() <= 2
    v = bvp_systems(2000, equation="advection", n=32, seed=0).v
    assert VELOCITY[0] <= v.min() < 0.9 * VELOCITY[0]
    assert 0.9 * VELOCITY[1] < v.max() <= VELOCITY[1]
    assert abs(v.mean()) < 0.5


def test_the_rough_field_has_many_modes_and_its_deviation():
    field = np.log(bvp_systems(3000, equation="rough", seed=0).kappa)
    np.testing.assert_allclose(field.std(axis=0), ROUGH_DEVIATION, rtol=0.1)
    assert np.abs(field.mean(axis=0)).max() < 0.05
    variance = np.linalg.svd(field - field.mean(axis=0), compute_uv=False) ** 2
    # thirty modes and more above a thousandth of the first; the paper's family has a handful
    assert np.count_nonzero(variance > 1e-3 * variance[0]) >= 20
    assert 1 - variance[:12].sum() / variance.sum() > 0.01


def test_mapped_matrices_are_linear_in_nothing():
    """Those of "rough" span as many directions as kappa has values; those of "mapped" as many as there are."""
    for equation, span in (("rough", 14), ("mapped", 144)):
        A = bvp_systems(400, equation=equation, n=12, seed=0).A.reshape(400, -1)
        assert np.linalg.matrix_rank(A / np.sqrt(np.mean(A**2, axis=0)), tol=1e-9) == span
    g = bvp_systems(2000, equation="mapped", n=32, seed=0).g
    assert g.min() > 0
    np.testing.assert_allclose(g.mean(axis=1), 1, rtol=1e-12)
    assert 0.3 < np.log(g).std() < 0.6


@pytest.mark.parametrize("equation", EQUATIONS)
def test_seeds(equation):
    one, same, other = (bvp_systems(3, equation=equation, n=8, seed=s) for s in (7, 7, 8))
    assert np.array_equal(one.A, same.A)
    assert np.array_equal(one.b, same.b)
    assert not np.array_equal(one.A, other.A)
    stream = np.random.default_rng(7)
    first, second = (bvp_systems(3, equation=equation, n=8, seed=stream) for _ in range(2))
    assert np.array_equal(first.A, one.A)
    assert not np.array_equal(second.A, one.A)
    assert np.array_equal(bvp_systems(2, n=8, seed=[1, 2]).A, bvp_systems(2, n=8, seed=[1, 2]).A)


def test_some_of_the_systems():
    systems = bvp_systems(6, equation="advection", n=8)
    part = systems[2:4]
    assert len(part) == 2
    assert np.array_equal(part.v, systems.v[2:4])
    assert np.array_equal(part.A, systems.A[2:4])
    assert np.array_equal(part.points, systems.points)
    assert np.array_equal(systems[np.array([5, 0])].x, systems.x[[5, 0]])


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": True},
        {"count": 2.0},
        {"n": 2},
        {"n": 1025},
        {"n": "64"},
        {"equation": "heat"},
        {"equation": None},
        {"boundary": "periodic"},
    ],
    ids=str,
)
def test_impossible_wishes(wrong):
    with pytest.raises(OptionError, match=r"has to be|not known"):
        bvp_systems(**({"count": 1} | wrong))
