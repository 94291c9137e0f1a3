"""Small systems in one native call: as the ordinary way solves them, or left to it."""

import dataclasses
import pickle
import warnings
from importlib import import_module

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import NonFiniteError
from nnla.kernels import native
from nnla.linear.quick import solve_quickly
from nnla.linear.speeds import THIS_MACHINE

pytestmark = pytest.mark.skipif(native is None, reason="without the native kernels there is no quick way")

ENTRY = import_module("nnla.linear.solve")

# why a system is left to the ordinary way, as native/quick_solve.hpp numbers it
ENTRIES, MATRIX, RANGE, NULL, RIGHT_HAND_SIDE, TARGET, HEAVY, DEAR, PIVOTS, ACCURACY = range(1, 11)


def banded(n, bandwidth, seed=0):
    rng = np.random.default_rng(seed)
    A = sp.diags_array([rng.standard_normal(n - k) for k in range(1, bandwidth + 1)], offsets=range(1, bandwidth + 1))
    A = sp.csr_array(A + A.T)
    return sp.csr_array(A + sp.diags_array(abs(A).sum(axis=1) + 0.1))


def random_graph(n, degree, shift=0.1, seed=0):
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, n, (2, n * degree // 2))
    W = sp.csr_array((rng.random(i.size), (i, j)), shape=(n, n))
    W = sp.csr_array(W + W.T)
    W.setdiag(0)
    W.eliminate_zeros()
    A = sp.csr_array(sp.diags_array(W.sum(axis=1) + shift) - W)
    A.sum_duplicates()
    return A


def mass(k):
    """Masses of bilinear squares: well conditioned, not dominated by the diagonal."""
    line = sp.diags_array([np.ones(k - 1), np.full(k, 4.0), np.ones(k - 1)], offsets=[-1, 0, 1])
    return sp.csr_array(sp.kron(line, line))


def bushes(n, seed=0):
    """A network of long branches with some loops, whose band is wide in any order."""
    rng = np.random.default_rng(seed)
    parent = np.maximum(np.arange(1, n) - 1 - rng.integers(0, 20, n - 1), 0)
    i, j = np.append(np.arange(1, n), rng.integers(0, n, n // 6)), np.append(parent, rng.integers(0, n, n // 6))
    W = sp.coo_array((np.ones(i.size), (i, j)), shape=(n, n)).tocsr()
    W = sp.csr_array(W + W.T)
    W.setdiag(0)
    A = sp.csr_array(sp.diags_array(W.sum(axis=1) + 0.1) - W)
    A.eliminate_zeros()
    A.sum_duplicates()
    return A


def simplices(k):
    """Masses of linear triangles: every diagonal entry is the sum of its row's others."""
    i = np.arange(k * k).reshape(k, k)
    lower = np.stack([i[:-1, :-1], i[1:, :-1], i[:-1, 1:]], axis=-1).reshape(-1, 3)
    upper = np.stack([i[1:, 1:], i[1:, :-1], i[:-1, 1:]], axis=-1).reshape(-1, 3)
    corners = np.concatenate([lower, upper])
    rows, columns = np.repeat(corners, 3, axis=1).ravel(), np.tile(corners, (1, 3)).ravel()
    return sp.coo_array((np.tile((1 + np.eye(3)).ravel(), len(corners)), (rows, columns))).tocsr()


SYSTEMS = {
    "one": sp.csr_array(np.array([[3.0]])),
    "diagonal": sp.csr_array(sp.diags_array(np.linspace(1, 2, 40))),
    "tiny": nnla.problems.poisson2d(6),
    "grid": nnla.problems.poisson2d(30),
    "space": nnla.problems.poisson3d(9),
    "band": banded(500, 4),
    "graph": random_graph(600, 6),
    "mass": mass(30),
    "simplices": simplices(12),
    "dominated": sp.csr_array(nnla.problems.poisson2d(40) + sp.diags_array(np.linspace(20, 30, 1600))),
    "bushes": bushes(900),
    "dense": sp.csr_array(np.eye(60) + 0.1 * np.cov(np.random.default_rng(0).standard_normal((60, 90)))),
    "units": sp.csr_array(2.0**70 * nnla.problems.poisson2d(12)),
}


@pytest.fixture
def ordinary(monkeypatch):
    """`nnla.solve` without the quick way."""

    def solve(*given, **options):
        with monkeypatch.context() as patch:
            patch.setattr(ENTRY, "solve_quickly", lambda *rest: None)
            return nnla.solve(*given, **options)

    return solve


def quick(A, b, rtol=1e-8, atol=0.0):
    return solve_quickly(A, b, rtol, atol, 0.0)


def declined(A, b, rtol=1e-8, atol=0.0):
    """The number of the reason."""
    A = sp.csr_array(A)
    found = native.solve_quickly(A.indptr, A.indices, A.data, b, rtol, atol, 1e-10)
    return found if isinstance(found, int) else 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_as_the_ordinary_way(name, ordinary):
    A = SYSTEMS[name]
    b = A @ np.random.default_rng(1).standard_normal(A.shape[0])
    x, report = quick(A, b)
    y, other = ordinary(A, b)
    assert report.converged
    assert other.converged
    assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
    assert np.linalg.norm(x - y) <= 1e-5 * np.linalg.norm(y)
    assert report.relative_residual == pytest.approx(np.linalg.norm(b - A @ x) / np.linalg.norm(b), rel=1e-1, abs=1e-15)
    if report.method == other.method:
        assert report.backward_error <= 3 * max(other.backward_error, 1e-16)
    same = ("n", "nnz", "rtol", "status", "degree", "precision", "weights", "versions", "equilibrated_residual")
    same += ("interval", "seed", "warm_start", "null_space", "inconsistent", "negative_pivots", "deterministic")
    for field in same:
        assert getattr(report, field) == getattr(other, field), field
    assert [f.name for f in dataclasses.fields(report)] == list(vars(report))
    for field in dataclasses.fields(report):  # of the types that an ordinary one has
        mine, theirs = getattr(report, field.name), getattr(other, field.name)
        if mine is not None and theirs is not None:
            assert isinstance(mine, type(theirs)) or isinstance(theirs, int), field.name


@pytest.mark.parametrize(
    ("name", "method"), [("grid", "direct"), ("dominated", "jacobi"), ("grid", "jacobi"), ("graph", "jacobi")]
)
def test_the_same_numbers_as_the_method_by_itself(name, method, ordinary):
    A = SYSTEMS[name]
    b = np.random.default_rng(2).standard_normal(A.shape[0])
    x, report = nnla.solve(A, b, method=method)
    y, other = ordinary(A, b, method=method)
    assert report.method == other.method == method
    assert np.linalg.norm(x - y) <= 1e-10 * np.linalg.norm(y)
    assert (report.iterations, report.reductions, report.scaling) == (
        other.iterations, other.reductions, other.scaling,
    )  # fmt: skip
    assert report.residual_history == pytest.approx(other.residual_history, rel=1e-6)
    if method == "jacobi":
        assert report.products == other.products
    assert sum(phase.products for phase in report.phases) == report.products


def test_what_is_read_of_a_report():
    A = SYSTEMS["grid"]
    report = nnla.solve(A, np.ones(900)).report
    assert "one native call" in report.chosen_because
    assert report.method in report.predicted_seconds
    assert set(report.seconds) == {"probe", "setup", "solve", "total"}
    assert 0 < report.seconds["solve"] <= report.seconds["total"]
    assert nnla.Report.from_json(report.to_json()) == report
    assert pickle.loads(pickle.dumps(report)) == report
    assert repr(report).startswith("<Report converged: direct, 0 iterations, 1 products, residual ")
    assert dataclasses.replace(report, n=3).n == 3


def test_a_well_conditioned_matrix_of_much_fill_is_iterated():
    A = random_graph(1500, 10, 1.0)
    b = np.random.default_rng(0).standard_normal(1500)
    x, report = quick(A, b)
    assert report.method == "jacobi"
    assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)


@pytest.mark.parametrize("n", [180, 260, 340, 420, 500, 580])
def test_cg_that_falls_behind_is_left_for_a_factorisation(n):
    A = random_graph(n, 8, 1e-4, seed=n)
    b = np.random.default_rng(0).standard_normal(n)
    x, report = quick(A, b)
    assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
    assert len(report.residual_history) == sum(p.iterations for p in report.phases if p.method == "jacobi")
    if len(report.phases) == 2:
        assert "switched from jacobi to direct" in report.chosen_because
        assert "direct instead" in report.fallback
        assert report.products == sum(phase.products for phase in report.phases)


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix])
def test_matrices_of_both_orders(make):
    A, b = make(SYSTEMS["grid"]), np.arange(900.0)
    assert np.linalg.norm(A @ quick(A, b).x - b) <= 1e-8 * np.linalg.norm(b)
    A = sp.csr_array(SYSTEMS["graph"])
    A.data[1] *= 1 + 1e-14  # symmetric but for rounding
    A = make(A)
    x, report = nnla.solve(A, b[:600])
    assert np.linalg.norm(A @ x - b[:600]) <= 1e-8 * np.linalg.norm(b)
    assert ("one native call" in report.chosen_because) == (A.format == "csr")


def test_rows_that_do_not_ascend():
    B = sp.random_array((300, 120), density=0.03, format="csr", rng=np.random.default_rng(0))
    B = sp.csr_array(sp.vstack([B, sp.eye_array(120)]))
    A, b = sp.csr_array(B.T @ B), np.arange(120.0)
    A.indices, A.data = A.indices.copy(), A.data.copy()
    for i in range(120):
        row = slice(A.indptr[i], A.indptr[i + 1])
        A.indices[row], A.data[row] = A.indices[row][::-1].copy(), A.data[row][::-1].copy()
    kept = A.indices.copy()
    assert np.linalg.norm(A @ quick(A, b).x - b) <= 1e-8 * np.linalg.norm(b)
    np.testing.assert_array_equal(A.indices, kept)


def test_nothing_of_the_callers_changes():
    A, b = SYSTEMS["grid"].copy(), np.arange(900.0)
    before = A.data.copy(), A.indices.copy(), b.copy()
    A.data.flags.writeable = b.flags.writeable = False
    x = quick(A, b).x
    for mine, theirs in zip((A.data, A.indices, b), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    x[:] = 0.0  # the caller's own


def test_powers_of_two_change_nothing():
    A, b = SYSTEMS["graph"], np.arange(600.0) - 300
    x = quick(A, b).x
    np.testing.assert_array_equal(quick(sp.csr_array(A * 2.0**60), b * 2.0**-200).x, x * 2.0**-260)
    np.testing.assert_array_equal(quick(A, b * 2.0**250).x, x * 2.0**250)


def test_what_is_left_to_the_ordinary_way():
    A, b = SYSTEMS["grid"], np.ones(900)
    entry = sp.csr_array(([1e-3], ([0], [1])), shape=A.shape)
    heavy = sp.csr_array(A + sp.diags_array(np.where(np.arange(900) < 3, 1e9, 0.0)))
    indefinite = sp.csr_array(A - 3.9 * sp.eye_array(900))
    laplacian = random_graph(200, 9, 0.0)
    assert declined(nnla.problems.poisson2d(80), np.ones(6400)) == ENTRIES
    assert declined(sp.csr_array(A + entry), b) == MATRIX
    assert declined(sp.csr_array(-A), b) == MATRIX
    assert declined(sp.csr_array(A * np.inf), b) == MATRIX
    assert declined(sp.csr_array(A * 1e200), b) == declined(sp.csr_array(A * 1e-200), b) == RANGE
    assert declined(A, b * 1e120) == declined(A, b * 1e-120) == RANGE
    assert native.solve_quickly(heavy.indptr, heavy.indices, heavy.data, heavy @ b, 1e-8, 0.0, 0.0, 1) == HEAVY
    arrays = laplacian.indptr.astype(np.int32), laplacian.indices.astype(np.int32), laplacian.data
    assert native.solve_quickly(*arrays, np.arange(200.0), 1e-8, 0.0, 1e-10, 1) == NULL
    for b_of_it in (np.ones(200), laplacian @ np.arange(200.0)):  # in its null space, and in its range
        assert declined(laplacian, b_of_it) == PIVOTS
    for bad in (np.zeros(900), b * np.nan, b * np.inf, b * 1e300):
        assert declined(A, bad) == RIGHT_HAND_SIDE
    assert declined(A, b, 0.0) == declined(A, b, 1e-8, 1e3) == TARGET
    assert declined(indefinite, b) == PIVOTS
    assert declined(A, b, 1e-18) == ACCURACY


def test_light_rows_are_looked_at_beside_heavy_ones(ordinary):
    A = sp.csr_array(SYSTEMS["grid"] + sp.diags_array(np.where(np.arange(900) < 3, 1e9, 0.0)))
    for b in (A @ np.ones(900), np.ones(900)):
        x, report = quick(A, b)
        y, other = ordinary(A, b)
        assert (report.equilibrated_residual is None) == (other.equilibrated_residual is None)
        assert np.linalg.norm(x - y) <= 1e-5 * np.linalg.norm(y)
    assert quick(A, A @ np.ones(900)).report.equilibrated_residual <= 1e-8


@pytest.mark.parametrize("method", ["direct", "jacobi"])
def test_methods_that_are_asked_for(method, ordinary):
    A, b = SYSTEMS["tiny"], np.arange(36.0)
    x, report = nnla.solve(A, b, method=method)
    assert report.method == method
    assert report.chosen_because.startswith("asked for")
    assert report.predicted_seconds is None
    assert np.linalg.norm(x - ordinary(A, b, method=method).x) <= 1e-7 * np.linalg.norm(x)


@pytest.mark.parametrize("change", ["1e250", "1e-250", "zero", "indefinite", "loose", "singular", "impossible"])
def test_the_ordinary_way_answers_what_is_declined(change, ordinary):
    A, b, options = nnla.problems.poisson2d(12), np.arange(144.0), {}
    if change.startswith("1e"):
        A, b = sp.csr_array(A * float(change)), b * float(change)
    elif change == "zero":
        b = np.zeros(144)
    elif change == "indefinite":
        A = sp.csr_array(A - 3.5 * sp.eye_array(144))
    elif change == "singular":
        A = sp.csr_array(A + sp.diags_array(-A.sum(axis=1)))
    elif change == "impossible":
        options = {"rtol": 1e-19}
    else:
        options = {"rtol": 2.0}
    x, report = nnla.solve(A, b, **options)
    y, other = ordinary(A, b, **options)
    np.testing.assert_allclose(x, y, rtol=1e-5)
    assert report.status == other.status
    assert "one native call" not in report.chosen_because


def damaged():
    """A grid's arrays, each with something that nobody may follow."""
    A = nnla.problems.poisson2d(5)
    for name in ("beyond", "negative", "decreasing", "huge", "start", "twice", "short", "nan"):
        indptr, indices, data = A.indptr.copy(), A.indices.copy(), A.data.copy()
        if name == "beyond":
            indices[7] = 10**6
        elif name == "negative":
            indices[3] = -5
        elif name == "decreasing":
            indptr[3] = 50
        elif name == "huge":
            indptr[-1] = 2**31 - 1
        elif name == "start":
            indptr[0] = 3
        elif name == "twice":
            indices[1] = indices[0]
        elif name == "short":
            data = data[:-4].copy()
        else:
            data[11] = np.nan
        yield name, indptr, indices, data


@pytest.mark.parametrize(("name", "indptr", "indices", "data"), list(damaged()))
def test_garbage_is_left_alone(name, indptr, indices, data):
    assert native.solve_quickly(indptr, indices, data, np.ones(25), 1e-8, 0.0, 0.0) in (ENTRIES, MATRIX)
    A = nnla.problems.poisson2d(5)
    A.indptr, A.indices, A.data = indptr, indices, data
    assert quick(A, np.ones(25)) is None


def test_what_is_no_plain_array_is_left_alone():
    A, b = nnla.problems.poisson2d(5), np.ones(25)
    wide = A.copy()
    wide.indptr, wide.indices = A.indptr.astype(np.int64), A.indices.astype(np.int64)
    strided = A.copy()
    strided.data = np.repeat(A.data, 2)[::2]
    assert quick(wide, b) is not None
    wide.indices[2] += 2**32
    assert np.array_equal(quick(strided, b).x, quick(A, b).x)
    for matrix in (wide, A.astype(np.float32), A.toarray(), A.tocoo(), [[1.0]], None):
        assert quick(matrix, b) is None
    assert quick(A, np.ones(50)[::2]) is not None
    for vector in (list(b), b[:, None], b[:-1], b.astype(np.float32), np.ma.array(b), None, 1.0):
        assert quick(A, vector) is None
    for number in (1, True, np.float64(1e-8), np.nan, -1.0, 1.0, "1", None):
        assert quick(A, b, number) is None
        assert quick(A, b, 1e-8, number if number != 1.0 else -1.0) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rectangle = sp.csr_array(A[:20])
    assert quick(rectangle, np.ones(20)) is None
    assert quick(sp.csr_array((0, 0)), np.ones(0)) is None


def test_every_option_goes_the_ordinary_way(monkeypatch):
    def unexpected(*given):
        raise AssertionError("the quick way knows no options")

    monkeypatch.setattr(ENTRY, "solve_quickly", unexpected)
    A, b = nnla.problems.poisson2d(5), np.ones(25)
    options = {"x0": b, "maxiter": 50, "method": "cg", "callback": print, "degree": 5, "probe_steps": 3, "timeout": 9.0}
    for name, value in (*options.items(), ("deterministic", True), ("dtype", "float32")):
        quiet = {"callback": lambda x: None}.get(name, value)
        assert nnla.solve(A, b, **{name: quiet}).report.converged
    with pytest.raises(AssertionError):
        nnla.solve(A, b, rtol=1e-6, atol=1e-9)


# -- beyond 20,000 entries, by the learned costs -------------------------------------------------------------------


def mixed(A):
    """In an order that no band is narrow in."""
    order = np.random.default_rng(0).permutation(A.shape[0])
    return sp.csr_array(A[order][:, order])


LARGE = {
    "grid": nnla.problems.poisson2d(90),
    "elements": mixed(nnla.problems.elasticity2d(40, 40)),
    "mass": mass(170),
    "dominated": mixed(nnla.problems.poisson2d(90) + sp.diags_array(np.linspace(20, 30, 8100))),
    "graph": random_graph(9000, 6),
    "line": nnla.problems.poisson1d(12_000),
    "space": nnla.problems.poisson3d(18),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("method", ["auto", "direct"])
def test_larger_systems_as_the_ordinary_way(name, method, ordinary):
    A = sp.csr_array(LARGE[name])
    assert native.QUICK_ENTRIES < A.nnz < native.MOST_QUICK_ENTRIES
    b = A @ np.random.default_rng(1).standard_normal(A.shape[0])
    x, report = nnla.solve(A, b, method=method)
    y = ordinary(A, b, method="direct").x
    assert report.converged
    assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
    assert np.linalg.norm(x - y) <= 1e-5 * np.linalg.norm(y)
    assert nnla.Report.from_json(report.to_json()) == report
    if method == "auto":
        assert report.method in report.predicted_seconds
        assert all(seconds > 0 for seconds in report.predicted_seconds.values())


def test_what_is_learned_decides_on_larger_systems():
    """A factorisation where nothing comes near it, CG where a few steps are enough; and why, in the report."""
    for name, method in (("elements", "direct"), ("dominated", "jacobi"), ("space", "ic")):
        A = LARGE[name]
        report = nnla.solve(A, np.random.default_rng(0).standard_normal(A.shape[0])).report
        assert report.method == method
        assert "one native call" in report.chosen_because
        assert "learned" in report.chosen_because
        assert set(report.predicted_spread) == set(report.predicted_seconds)
        assert min(report.predicted_seconds, key=report.predicted_seconds.get) == method


def test_cg_over_an_incomplete_factor_is_the_ordinary_one(ordinary):
    A = sp.csr_array(LARGE["space"])
    b = np.random.default_rng(2).standard_normal(A.shape[0])
    x, report = nnla.solve(A, b)
    y, other = ordinary(A, b, method="ic")
    assert np.linalg.norm(x - y) <= 1e-9 * np.linalg.norm(y)
    names = ("method", "scaling", "iterations", "products", "reductions", "preconditioner_applies")
    assert [getattr(report, name) for name in names] == [getattr(other, name) for name in names]
    assert report.residual_history == pytest.approx(other.residual_history, rel=1e-6)
    assert report.phases[0].setup > 0
    mixed_up = mixed(nnla.problems.poisson3d(27))  # an order has to be found for it, which the ordinary way does
    b = np.random.default_rng(2).standard_normal(mixed_up.shape[0])
    x, report = nnla.solve(mixed_up, b)
    assert np.linalg.norm(b - mixed_up @ x) <= 1e-8 * np.linalg.norm(b)


def test_without_weights_larger_systems_go_the_ordinary_way(no_weights):
    THIS_MACHINE.forget()  # and what the native call has been given
    report = nnla.solve(LARGE["elements"], np.ones(LARGE["elements"].shape[0])).report
    assert report.converged
    assert "rule" in report.chosen_because


def test_an_ordering_that_was_given_up_is_not_made_again_for_the_same(monkeypatch):
    """Of a system whose factorisation takes more than anything else, the ordinary way knows that much."""
    A = random_graph(14_000, 12, 1.0)
    b = np.random.default_rng(0).standard_normal(14_000)
    monkeypatch.setattr(ENTRY, "solve_quickly", lambda *given: 1e12)
    report = nnla.solve(A, b).report
    assert report.converged
    assert report.method != "direct"
    assert "more than 1e+12 operations" in report.chosen_because


def test_larger_systems_that_are_bad_are_refused_as_ever(ordinary):
    A = sp.csr_array(LARGE["elements"])
    b = np.ones(A.shape[0])
    bad = A.copy()
    bad.data[7] = np.nan
    with pytest.raises(NonFiniteError):
        nnla.solve(bad, b)
    indefinite = sp.csr_array(A - 0.9 * sp.diags_array(A.diagonal()))
    report, other = nnla.solve(indefinite, b).report, ordinary(indefinite, b).report
    assert report.fallback == other.fallback
    assert report.converged == bool(report.relative_residual <= 1e-8)
