"""The V-cycle: symmetric positive definite, independent of the grid, natively as in NumPy, and where it stops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla import kernels
from nnla.errors import MissingDependencyError, NotPositiveDefiniteError, OptionError
from nnla.polynomials.classical import chebyshev4, chebyshev4_optimised, richardson
from nnla.preconditioners.multigrid import _NumpyCycle, _start, default_smoother, multigrid
from nnla.preconditioners.multigrid_setup import block_size, build_hierarchy, choose_kind, near_kernel
from nnla.problems import gallery

pyamg = pytest.importorskip("pyamg")
needs_native = pytest.mark.skipif(kernels.native is None, reason="built without native kernels")


def jumps(n: int, block: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    k = np.kron(10.0 ** (5 * rng.random((n // block, n // block))), np.ones((block, block)))
    return gallery.diffusion2d(k)


def flipped(A, seed: int = 0):
    D = sp.diags_array(np.where(np.random.default_rng(seed).random(A.shape[0]) < 0.5, 1.0, -1.0))
    return sp.csr_array(D @ A @ D)


def rescaled(A, seed: int = 0):
    D = sp.diags_array(np.exp(2 * np.random.default_rng(seed).standard_normal(A.shape[0])))
    return sp.csr_array(D @ A @ D)


PROBLEMS = {
    "poisson2d": lambda: gallery.poisson2d(40),
    "poisson3d": lambda: gallery.poisson3d(12),
    "jumps": lambda: jumps(40, 10),
    "anisotropy": lambda: gallery.diffusion2d(np.ones((40, 40)), weights=(1.0, 1e3)),
    "circuit": lambda: gallery.power_grid(24, 30, seed=3),
    "wathen": lambda: gallery.wathen(16, 16, seed=1),
    "elasticity": lambda: gallery.elasticity2d(20, 20),
    "flipped": lambda: flipped(gallery.poisson2d(40)),
    "rescaled": lambda: rescaled(gallery.poisson2d(40)),
}


def iterations(A, M, rtol=1e-8, limit=200) -> int:
    """CG iterations to rtol for a random right-hand side; the limit + 1 where they are not enough."""
    b = np.random.default_rng(7).standard_normal(A.shape[0])
    x, r = np.zeros_like(b), b.copy()
    z = M(r)
    p, rz = z.copy(), r @ z
    for k in range(1, limit + 1):
        q = A @ p
        step = rz / (p @ q)
        x += step * p
        r -= step * q
        if np.linalg.norm(r) <= rtol * np.linalg.norm(b):
            assert np.linalg.norm(b - A @ x) <= 2 * rtol * np.linalg.norm(b)
            return k
        z = M(r)
        rz, before = r @ z, rz
        p = z + (rz / before) * p
    return limit + 1


@pytest.fixture(params=[pytest.param(True, marks=needs_native), False], ids=["native", "numpy"])
def native(request) -> bool:
    return request.param


# -- the smoother ------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6, 10])
def test_optimised_weights_meet_the_optimality_condition(m):
    b = 1.7
    R = chebyshev4_optimised(b, m - 1).residual
    x = np.linspace(0, b, 20_001)[1:]
    gamma = 1 / np.max((x / b) * R(x) ** 2 / (1 - R(x) ** 2))
    assert gamma == pytest.approx(4 / np.pi**2 * (2 * m + 1) ** 2 - 2 / 3, rel=0.01)  # Lottes, to first order
    # f = R sqrt(1 + gamma x / b) equioscillates: +1 at 0, then m extrema of alternating sign, the last at b.
    f = R(x) * np.sqrt(1 + gamma * x / b)
    assert f[-1] == pytest.approx((-1) ** m, abs=1e-6)
    extrema = [f[k] for k in range(1, len(f) - 1) if (f[k] - f[k - 1]) * (f[k + 1] - f[k]) < 0]
    np.testing.assert_allclose(extrema, [(-1) ** k for k in range(1, m)], atol=1e-6)


def test_optimised_weights_known_values():
    # Exact: m = 1 is damped Jacobi with weight 3/2, whose sup x R^2 / (1 - R^2) is 1/3; m = 2 gives 5 + 2 sqrt 5.
    assert chebyshev4_optimised(1.0, 0)(0.3) == pytest.approx(1.5)
    x = np.linspace(0, 1, 100_001)[1:]
    R = chebyshev4_optimised(1.0, 1).residual(x)
    assert 1 / np.max(x * R**2 / (1 - R**2)) == pytest.approx(5 + 2 * 5**0.5, rel=1e-6)


@pytest.mark.parametrize("m", [2, 4])
def test_optimised_weights_beat_the_plain_ones(m):
    x = np.linspace(0, 1, 20_001)[1:]
    measure = lambda R: np.max(x * R**2 / (1 - R**2))  # noqa: E731
    assert measure(chebyshev4_optimised(1.0, m - 1).residual(x)) < 0.9 * measure(chebyshev4(1.0, m - 1).residual(x))


# -- the cycle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_cycle_is_symmetric_positive_definite(name, native):
    A = PROBLEMS[name]()
    M = multigrid(A, single=False, native=native)
    rng = np.random.default_rng(0)
    U = rng.standard_normal((A.shape[0], 6))
    G = U.T @ M.solve(U)
    assert np.max(np.abs(G - G.T)) < 1e-10 * np.max(np.abs(G))
    assert np.linalg.eigvalsh((G + G.T) / 2)[0] > 0
    # and it is contracting: the smoothers' bounds hold, so no eigenvalue of M A exceeds 1
    size = lambda V: np.sqrt(np.sum(V * (A @ V), axis=0))  # noqa: E731
    V = U
    for _ in range(15):
        V = M.solve(A @ (V / size(V)))
    assert np.max(size(V)) < 1 + 1e-8


@pytest.mark.parametrize("name", PROBLEMS)
def test_single_precision_costs_no_iterations(name, native):
    A = PROBLEMS[name]()
    single = iterations(A, multigrid(A, native=native).solve)
    double = iterations(A, multigrid(A, single=False, native=native).solve)
    assert single <= double + 1


@needs_native
@pytest.mark.parametrize("kind", ["aggregation", "classical"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_native_cycle_is_the_numpy_cycle(name, kind):
    A = PROBLEMS[name]()
    r = np.random.default_rng(1).standard_normal(A.shape[0])
    for single, tolerance in ((True, 1e-4), (False, 1e-10)):
        M = multigrid(A, kind=kind, single=single)
        reference = _NumpyCycle(M.hierarchy, single)
        for k, smoother in enumerate(M.smoothers):
            if smoother is None:
                reference.invert()
            else:
                reference.set_smoother(k, smoother)
        expected = reference.apply(r)
        assert np.linalg.norm(M.solve(r) - expected) < tolerance * np.linalg.norm(expected)


@needs_native
def test_smoothers_of_any_form_are_applied_natively():
    # Residual roots make a recurrence with an accumulator (rho), Chebyshev series one without.
    A = gallery.poisson2d(40)
    r = np.random.default_rng(1).standard_normal(A.shape[0])
    for smoother in (
        lambda level: richardson(level.bound, 0),
        lambda level: richardson(level.bound, 3),
        lambda level: chebyshev4(level.bound, 1),
        lambda level: nnla.Recurrence.from_roots([level.bound, level.bound / 2, level.bound * 0.7]),
    ):
        M = multigrid(A, smoother=smoother, single=False)
        reference = _NumpyCycle(M.hierarchy, False)
        reference.invert()
        for k, recurrence in enumerate(M.smoothers[:-1]):
            reference.set_smoother(k, recurrence)
        np.testing.assert_allclose(M.solve(r), reference.apply(r), rtol=1e-9, atol=1e-11)


@needs_native
def test_the_same_bits_whatever_the_threads():
    A = gallery.poisson2d(160)
    r = np.random.default_rng(2).standard_normal(A.shape[0])
    results = []
    try:
        for threads in (1, 2, 3, 1):
            kernels.native.set_threads(threads)
            results.append(multigrid(A).solve(r))
    finally:
        kernels.native.set_threads(0)
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_blocks_are_columns(native):
    A = gallery.poisson2d(30)
    M = multigrid(A, native=native)
    R = np.random.default_rng(3).standard_normal((900, 3))
    np.testing.assert_array_equal(M.solve(R), np.column_stack([M.solve(R[:, k]) for k in range(3)]))


def test_input_range_is_no_issue(native):
    A = gallery.poisson2d(40) * 1e-30
    M = multigrid(sp.csr_array(A), native=native)
    r = np.random.default_rng(4).standard_normal(1600)
    for factor in (2.0**-600, 2.0**600):
        np.testing.assert_array_equal(M.solve(factor * r), factor * M.solve(r))
    assert not np.any(M.solve(0 * r))


# -- convergence -------------------------------------------------------------------------------------


@needs_native
@pytest.mark.parametrize(
    ("make", "sizes", "bound"),
    [
        (gallery.poisson2d, (32, 64, 128, 256), 11),
        (gallery.poisson3d, (12, 24, 40), 10),
        (lambda n: jumps(n, n // 8), (64, 128, 256), 19),
        (lambda n: gallery.diffusion2d(np.ones((n, n)), weights=(1.0, 1e4)), (64, 128, 256), 10),
        (lambda n: gallery.elasticity2d(n, n), (32, 64), 24),
    ],
    ids=["poisson2d", "poisson3d", "jumps", "anisotropy", "elasticity"],
)
def test_iterations_do_not_grow_with_the_grid(make, sizes, bound):
    counts = [iterations(A, multigrid(A).solve) for A in map(make, sizes)]
    assert max(counts) <= bound, counts


@needs_native
@pytest.mark.parametrize("name", PROBLEMS)
def test_work_is_not_above_that_of_pyamg_by_default(name):
    A = PROBLEMS[name]()
    M = multigrid(A)
    ours = iterations(A, M.solve) * (M.work + 1)
    peers = []
    for make in (pyamg.smoothed_aggregation_solver, pyamg.ruge_stuben_solver):
        try:
            hierarchy = make(sp.csr_array(A))
            count = iterations(A, hierarchy.aspreconditioner().matvec)
        except ValueError:  # Ruge-Stueben on elasticity: NaN in its coarse operators
            continue
        # symmetric Gauss-Seidel before and after: four sweeps, and a residual
        peers.append(count * (5 * hierarchy.operator_complexity() + 1))
    assert ours <= 1.5 * min(peers)  # in products, of which ours are of half the bytes


# -- the choice of a hierarchy -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("poisson2d", "aggregation"),
        ("poisson3d", "aggregation"),
        ("jumps", "classical"),
        ("anisotropy", "aggregation"),
        ("circuit", "aggregation"),
        ("wathen", "aggregation"),
        ("elasticity", "aggregation"),
    ],
)
def test_kind_follows_the_matrix(name, kind, native):
    A = PROBLEMS[name]()
    assert choose_kind(A, native)[0] == kind
    M = multigrid(A, native=native)
    assert M.kind == kind
    assert kind in M.describe()
    assert ("NumPy" in M.describe()) != native


def test_block_size():
    assert block_size(gallery.elasticity2d(12, 12)) == 2
    assert block_size(gallery.elasticity3d(5, 5, 5)) == 3
    assert block_size(gallery.poisson2d(12)) == 1
    assert block_size(gallery.wathen(8, 8, seed=1)) == 1


def test_signs_and_scales_are_found(native):
    from nnla.preconditioners.multigrid_setup import _pieces

    A = gallery.poisson2d(40)
    plain = near_kernel(A, _pieces(native))
    np.testing.assert_array_equal(plain, 1.0)
    D = np.where(np.random.default_rng(0).random(1600) < 0.5, 1.0, -1.0)
    x = near_kernel(flipped(A), _pieces(native)) * D
    assert np.all(x > 0) or np.all(x < 0)
    bound = iterations(A, multigrid(A, native=native).solve)
    assert iterations(flipped(A), multigrid(flipped(A), native=native).solve) <= bound + 1
    assert iterations(rescaled(A), multigrid(rescaled(A), native=native).solve) <= 2 * bound + 2


def test_ties_to_ground_do_not_spoil_the_candidate(native):
    A = gallery.power_grid(60, 60, seed=2)  # a few supply rows with a thousand times the diagonal of the others
    assert iterations(A, multigrid(A, native=native).solve) <= 20


@needs_native
@pytest.mark.parametrize("name", PROBLEMS)
def test_native_pieces_are_the_scipy_pieces(name):
    A = PROBLEMS[name]()
    ours, theirs = (build_hierarchy(A, "aggregation", native=flag) for flag in (True, False))
    assert [level.n for level in ours.levels] == [level.n for level in theirs.levels]
    for a, b in zip(ours.levels, theirs.levels, strict=True):
        assert abs(a.A - b.A).max() <= 1e-10 * abs(b.A).max()


# -- edges and failures ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 150])
def test_small_matrices_are_solved_by_one_level(n, native):
    A = gallery.poisson1d(n)
    M = multigrid(A, native=native)
    assert len(M.hierarchy.levels) == 1
    b = np.arange(1.0, n + 1)
    np.testing.assert_allclose(A @ M.solve(b), b, rtol=1e-2 if n == 150 else 1e-4, atol=1e-3)


def test_diagonal_and_disconnected_matrices(native):
    A = sp.csr_array(sp.diags_array(np.arange(1.0, 1001.0)))
    assert iterations(A, multigrid(A, native=native).solve) <= 2
    A = sp.csr_array(sp.block_diag([gallery.poisson2d(20), sp.eye_array(300) * 5, gallery.poisson2d(18)]))
    assert iterations(A, multigrid(A, native=native).solve) <= 10


def test_singular_coarse_grids(native):
    # Pure Neumann but for a very small shift: the coarsest operators are singular to single precision.
    A = gallery.poisson2d(32)
    A = sp.csr_array(A - sp.diags_array(np.asarray(A.sum(axis=1)).ravel() * (1 - 1e-10)))
    A = sp.csr_array((A + A.T) / 2)
    z = multigrid(A, native=native).solve(np.random.default_rng(0).standard_normal(1024))
    assert np.all(np.isfinite(z))


def test_indefinite_matrices_are_named(native):
    A = sp.csr_array(gallery.poisson2d(30) - 3.9 * sp.eye_array(900))
    with pytest.raises(NotPositiveDefiniteError, match="positive definite"):  # it was the base class
        multigrid(A, native=native)


@pytest.mark.parametrize("unit", [1e-250, 1.0, 1e250])
def test_coarsening_stops_at_a_null_vector(native, unit):
    """A coarse operator of a singular matrix had a diagonal of rounding, which was called indefinite, or divided by."""
    L = sp.csr_array(gallery.poisson2d(40))
    L.setdiag(0)
    L = sp.csr_array((L - sp.diags_array(np.asarray(L.sum(axis=1)).ravel())) * unit)
    A = sp.csr_array(sp.block_diag([L[:400][:, :400], L]))
    A = A - sp.diags_array(np.asarray(A.sum(axis=1)).ravel())
    M = multigrid(sp.csr_array(A), native=native)
    r = np.random.default_rng(0).standard_normal(A.shape[0])
    z = M.solve(r)
    assert np.all(np.isfinite(z))
    assert r @ z > 0


def test_a_graded_diagonal_is_no_warning(native):
    d = np.geomspace(1e-300, 1e300, 400)
    A = sp.csr_array(sp.diags_array(d))
    assert np.all(np.isfinite(multigrid(A, native=native).solve(np.sqrt(d))))


def test_bad_options(native):
    A = gallery.poisson2d(30)
    with pytest.raises(OptionError, match="kind must be one of auto, aggregation, classical"):
        multigrid(A, kind="geometric", native=native)
    with pytest.raises(OptionError, match="does not converge"):
        multigrid(A, smoother=lambda level: chebyshev4(level.bound / 2, 2), native=native)


def test_without_pyamg(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyamg", None)
    with pytest.raises(MissingDependencyError, match=r"nnla\[amg\]"):
        multigrid(gallery.poisson2d(30))


def test_default_smoother_converges_on_its_interval():
    from nnla.preconditioners.multigrid import SmootherLevel

    for kind in ("aggregation", "classical"):
        for index in range(6):
            R = default_smoother(SmootherLevel(index, 100, 500, 2.2, kind)).residual(np.linspace(1e-3, 2.2, 500))
            assert np.all(np.abs(R) < 1)


def test_start_of_lanczos_is_well_spread():
    x = _start(10_000)
    assert abs(x.mean()) < 0.03
    assert x.std() == pytest.approx(3**-0.5, rel=0.03)


def test_solve_by_amg():
    A = jumps(64, 8)
    b = np.random.default_rng(5).standard_normal((4096, 2))
    x, report = nnla.solve(A, b, method="amg")
    assert report.converged
    assert report.method == "amg"
    assert np.all(np.linalg.norm(b - A @ x, axis=0) <= 1.01e-8 * np.linalg.norm(b, axis=0))
