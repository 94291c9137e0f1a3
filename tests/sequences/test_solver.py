"""`nnla.Solver` and `nnla.factorized`: every answer verified, whatever came before it."""

import pickle
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg

import nnla
from nnla import errors
from nnla.problems import poisson2d, poisson3d
from nnla.sequences.policy import POLICIES, Cold, Learned


def solved(A, b, x, rtol=1e-8):
    r = np.asarray(b, dtype=float) - A @ x
    return bool(np.all(np.linalg.norm(r, axis=0) <= rtol * np.linalg.norm(b, axis=0) * (1 + 1e-9)))


def drifting(n, steps, seed=0, by=0.05):
    """D A D + diagonal with a D that wanders: the same pattern, other values."""
    rng = np.random.default_rng(seed)
    A = sp.csr_array(poisson2d(n))
    logs = np.zeros(A.shape[0])
    for _ in range(steps):
        D = sp.diags_array(np.exp(logs))
        yield sp.csr_array(D @ A @ D), rng.standard_normal(A.shape[0])
        logs += by * rng.standard_normal(A.shape[0])


@pytest.fixture
def system():
    A = sp.csr_array(poisson2d(40))
    return A, np.random.default_rng(1).standard_normal(A.shape[0])


# -- what changes --------------------------------------------------------------------------------------------------


def test_the_same_matrix_is_found_out(system):
    A, b = system
    solver = nnla.Solver(method="direct")
    for k in range(4):
        x, report = solver.solve(A, b + k)
        assert report.converged
        assert solved(A, b + k, x)
    x, _ = solver.solve(A.copy(), b)
    assert solved(A, b, x)
    x, _ = solver.solve(b + 9)  # with the matrix given last
    assert solved(A, b + 9, x)
    assert solver.report.changes == {"first": 1, "same": 5}
    assert solver.report.actions["keep"] >= 4


@pytest.mark.parametrize("n", [12, 40])
def test_a_matrix_changed_in_place_is_noticed(n):
    A = sp.csr_array(poisson2d(n))
    b = np.ones(A.shape[0])
    solver = nnla.Solver()
    for factor in (1.0, 3.0, 0.5, 2.0):
        A.data *= factor
        assert solved(A, b, solver.solve(A, b).x)
        A.data[0] *= 1.5  # only one
        assert solved(A, b, solver.solve(A, b).x)
    A.data *= 7.0
    assert solved(A, b, solver.solve(b).x)


def test_patterns_and_sizes_may_change():
    rng = np.random.default_rng(2)
    solver = nnla.Solver()
    for n in (20, 20, 31, 20, 31, 31, 5, 1):
        A = sp.csr_array(poisson2d(n)).tolil()
        if n > 5:
            i, j = rng.integers(0, n * n, 2)
            A[i, j] = A[j, i] = A[i, j] - 0.01
            A[i, i] += 0.1
            A[j, j] += 0.1
        A = sp.csr_array(A.tocsr())
        b = rng.standard_normal(A.shape[0])
        x, report = solver.solve(A, b)
        assert report.converged
        assert solved(A, b, x)
    assert solver.report.solves == 8
    assert solver.report.converged


def test_every_kind_of_matrix_and_right_hand_side(system):
    A, b = system
    solver = nnla.Solver()
    B = np.stack([b, 2 * b, np.ones_like(b)], axis=1)
    kinds = [A, A.tocsc(), A.tocoo(), A.todia(), A.tobsr(), A.toarray(), aslinearoperator(A), sp.csr_matrix(A)]
    for _ in range(2):
        for kind in kinds:
            for right in (b, B, list(b), b[:, None], b.astype(np.float32)):
                x, report = solver.solve(kind, right)
                assert report.converged
                assert x.shape == np.shape(right)
                assert solved(A, right, x)
    assert solver.solve(A, 0 * b).x.tolist() == [0.0] * b.size


def test_a_caller_may_say_what_changed(system):
    A, b = system
    solver = nnla.Solver()
    solver.solve(A, b)
    assert solved(A, 2 * b, solver.solve(A, 2 * b, same=True).x)
    assert solved(2 * A, b, solver.solve(2 * A, b, same="pattern").x)
    assert solved(A, b, solver.solve(A, b, same=False).x)
    with pytest.raises(errors.OptionError, match="same must be"):
        solver.solve(A, b, same="values")


# -- units, and what is not ordinary ------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-250, 1e-30, 1e30, 1e250])
def test_any_unit(system, unit):
    A, b = system
    solver = nnla.Solver()
    for k in (1, 2, 3):
        x, report = solver.solve(sp.csr_array(A * (unit * k)), b * unit)
        assert report.converged
        np.testing.assert_allclose(A @ x * k, b, atol=1e-6)


def test_a_singular_matrix_in_the_middle(system):
    A, b = system
    L = sp.csr_array(sp.csgraph.laplacian(abs(A) - sp.diags_array(abs(A).diagonal())))
    L.indices, L.indptr = L.indices.astype(np.int32), L.indptr.astype(np.int32)
    solver = nnla.Solver()
    right = b - b.mean()
    for _ in range(3):
        assert solved(A, b, solver.solve(A, b).x)
        x, report = solver.solve(L, right)
        assert report.converged
        assert solved(L, right, x)


@pytest.mark.parametrize("method", ["auto", "direct", "ic", "jacobi", "autospec"])
@pytest.mark.parametrize("n", [8, 45])
def test_bad_input_raises_and_the_next_system_solves(method, n):
    solver = nnla.Solver(method=method)
    good = list(drifting(n, 4))
    A, b = good[0]
    bad = A.copy()
    bad.data[3] = np.nan
    lopsided = A.copy()
    lopsided.data[1] += 1.0
    wrong = [
        (bad, b, errors.NonFiniteError),
        (A, b[:-1], errors.ShapeError),
        (A, np.where(np.arange(b.size) == 2, np.inf, b), errors.NonFiniteError),
        (lopsided, b, errors.NotSymmetricError),
        (-A, b, errors.NotPositiveDefiniteError),
        (A.astype(complex), b, errors.DTypeError),
        ("A", b, errors.NNLAError),
    ]
    for (A, b), trouble in zip(good * 2, wrong, strict=False):
        x, report = solver.solve(A, b)
        assert report.converged
        assert solved(A, b, x)
        with pytest.raises(trouble[2]):
            solver.solve(*trouble[:2])
    x, report = solver.solve(A, b)
    assert report.converged
    assert solved(A, b, x)
    assert solver.report.errors == len(wrong)


def test_an_indefinite_matrix_in_the_middle():
    solver = nnla.Solver()
    systems = list(drifting(30, 5))
    for k, (A, b) in enumerate(systems):
        x, report = solver.solve(A, b)
        assert solved(A, b, x)
        shifted = sp.csr_array(A - 0.9 * sp.diags_array(A.diagonal()))
        x, report = solver.solve(shifted, b)  # symmetric, of positive diagonal, and indefinite
        assert report.negative_pivots or not report.converged
        assert report.converged == solved(shifted, b, x)
        assert k < 5
    assert solved(A, b, solver.solve(A, b).x)


def test_non_convergence_is_told_and_leaves_the_solver_usable():
    solver = nnla.Solver(method="cg")
    A, b = next(drifting(30, 1))
    _, report = solver.solve(A, b, maxiter=2)
    assert not report.converged
    assert report.status == "maxiter"
    assert not solver.report.converged
    assert solved(A, b, solver.solve(A, b).x)


def test_callbacks_and_their_exceptions():
    class EnoughError(Exception):
        pass

    def stop(_):
        raise EnoughError

    def interrupted(_):
        raise KeyboardInterrupt

    solver = nnla.Solver(method="jacobi")
    for A, b in drifting(30, 3):
        with pytest.raises(EnoughError):
            solver.solve(A, b, callback=stop)
        seen = []
        x, _ = solver.solve(A, b, callback=seen.append)
        assert seen
        assert solved(A, b, x)
        with pytest.raises(KeyboardInterrupt):
            solver.solve(A, b[::-1], callback=interrupted)


def test_a_timeout_is_a_status(system):
    A = sp.csr_array(poisson3d(24))
    b = np.ones(A.shape[0])
    solver = nnla.Solver()
    x, report = solver.solve(A, b, timeout=0.0)
    assert report.status in ("timeout", "converged")
    assert report.converged == solved(A, b, x)
    assert solved(A, b, solver.solve(A, b).x)


def test_two_threads_at_once_are_told():
    solver = nnla.Solver(method="cg")
    A, b = next(drifting(30, 1))
    said = []

    def inside(_):
        def use():
            with pytest.raises(errors.OptionError, match="solving already"):
                solver.solve(A, b)
            said.append(True)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        with pytest.raises(errors.OptionError, match="solving already"):
            solver.solve(A, b)
        with pytest.raises(errors.OptionError, match="forget"):
            solver.forget()

    solver.solve(A, b, callback=inside)
    assert said
    assert solved(A, b, solver.solve(A, b).x)


# -- the object ----------------------------------------------------------------------------------------------------


def test_it_pickles_without_what_it_kept():
    solver = nnla.Solver(rtol=1e-6, method="direct", policy=Learned(most=3))
    for A, b in drifting(30, 3):
        solver.solve(A, b)
    copy = pickle.loads(pickle.dumps(solver))
    assert copy.report.solves == 0
    assert len(pickle.dumps(solver)) < 2000
    assert solved(A, b, copy.solve(A, b).x, 1e-6)


def test_forget_and_with():
    with nnla.Solver() as solver:
        for A, b in drifting(30, 3):
            solver.solve(A, b)
        assert solver.report.nbytes > 0
        solver.forget()
        assert solver.report.nbytes == 0
        assert solver.report.solves == 0
        with pytest.raises(errors.OptionError, match="no matrix yet"):
            solver.solve(b)
        assert solved(A, b, solver.solve(A, b).x)


@pytest.mark.parametrize("method", ["auto", "direct", "ic", "jacobi"])
def test_it_is_a_preconditioner(method):
    solver = nnla.Solver(method=method)
    with pytest.raises(errors.OptionError, match="nothing is kept"):
        solver.aspreconditioner()
    for A, b in drifting(30, 3):
        solver.solve(A, b)
        M = solver.aspreconditioner()
        assert isinstance(M, LinearOperator)
        count = []
        _, info = cg(A, b, M=M, rtol=1e-8, maxiter=400, callback=count.append)
        assert info == 0
        assert len(count) < 200


def test_memory_is_bounded():
    solver = nnla.Solver(max_bytes=100_000)
    for A, b in drifting(40, 4):
        assert solved(A, b, solver.solve(A, b).x)
        assert solver.report.nbytes <= 100_000


def test_deterministic_without_a_clock():
    runs = []
    for _ in range(2):
        solver = nnla.Solver(learn=False)
        xs = [solver.solve(A, b).x for A, b in drifting(70, 6, by=0.02)]
        steps = [step[:6] for step in solver.report.steps]
        runs.append((xs, steps))
    assert runs[0][1] == runs[1][1]
    assert all(np.array_equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))


@pytest.mark.parametrize("name", [*POLICIES, "cold"])
@pytest.mark.parametrize("method", ["auto", "ic", "direct"])
def test_every_policy_solves(name, method):
    solver = nnla.Solver(method=method, policy=POLICIES.get(name, Cold()))
    for A, b in drifting(32, 5, by=0.03):
        x, report = solver.solve(A, b)
        assert report.converged
        assert solved(A, b, x)
    if name == "cold":
        assert solver.report.actions == {"cold": 5}


def test_a_guess_of_the_callers_is_used():
    solver = nnla.Solver(method="jacobi")
    systems = list(drifting(40, 3))
    for A, b in systems:
        x, _ = solver.solve(A, b)
        x, report = solver.solve(A, b, x0=x)
        assert report.iterations <= 2
        assert solved(A, b, x)
        with pytest.raises(errors.ShapeError):
            solver.solve(A, b, x0=x[:-1])


def test_options_are_checked():
    for wrong in (
        {"rtol": -1.0}, {"method": "lu"}, {"learn": 1}, {"seed": -1}, {"max_bytes": "1"}, {"policy": "every 10"},
        {"timeout": -1.0}, {"degree": 3, "method": "cg"},
    ):  # fmt: skip
        with pytest.raises(errors.OptionError):
            nnla.Solver(**wrong)


def test_the_report_says_what_happened():
    solver = nnla.Solver()
    assert solver.report.status == "prepared"
    for A, b in drifting(40, 4):
        solver.solve(A, b)
    report = solver.report
    assert report.solves == sum(report.actions.values()) == sum(report.changes.values()) == len(report.steps)
    assert report.seconds["total"] == pytest.approx(sum(step.seconds for step in report.steps))
    assert report.steps[0].action == "cold"
    assert all(step.reason for step in report.steps)
    assert nnla.SolverReport.from_json(report.to_json()).solves == 4
    assert "4 solves" in repr(report)


# -- factorized ----------------------------------------------------------------------------------------------------


def test_factorized_is_scipys(system):
    A, b = system
    for kind in (A, A.tocsc(), A.toarray()):
        solve = nnla.factorized(kind)
        for right in (b, np.stack([b, b + 1], axis=1), np.zeros_like(b)):
            np.testing.assert_allclose(A @ solve(right), right, atol=1e-11)
    with pytest.raises(errors.ShapeError):
        solve(b[:-1])
    with pytest.raises(errors.NonFiniteError):
        solve(b * np.nan)


def test_factorized_refuses_what_it_cannot_factor(system):
    A, b = system
    with pytest.raises(errors.NotPositiveDefiniteError):
        nnla.factorized(sp.csr_array(A - 0.9 * sp.diags_array(A.diagonal())))
    L = sp.csgraph.laplacian(abs(A) - sp.diags_array(abs(A).diagonal()))
    solve = nnla.factorized(sp.csr_array(L))
    np.testing.assert_allclose(L @ solve(b - b.mean()), b - b.mean(), atol=1e-9)
    with warnings.catch_warnings(), pytest.raises(errors.NotConvergedError, match="singular"):
        solve(b)


def test_factorized_in_any_unit(system):
    A, b = system
    for unit in (1e-250, 1e250):
        x = nnla.factorized(sp.csr_array(A * unit))(b * unit)
        np.testing.assert_allclose(A @ x, b, atol=1e-9)


def test_deflation_takes_fewer_iterations():
    counts = {}
    for name in ("always fresh", "deflation only"):
        solver = nnla.Solver(method="jacobi", policy=POLICIES[name])
        rng = np.random.default_rng(5)
        for A, _ in drifting(50, 5, by=0.002):
            b = rng.standard_normal(A.shape[0])
            x, report = solver.solve(A, b)
            assert report.method == "jacobi"
            assert solved(A, b, x)
        counts[name] = report.iterations
    assert counts["deflation only"] < 0.85 * counts["always fresh"]


def test_old_solutions_take_fewer_iterations():
    solver = nnla.Solver(method="jacobi", learn=False)
    n, counts = 95 * 95, []  # beyond what one native call solves
    for k in range(9):
        A = sp.csr_array(poisson2d(95) + sp.diags_array(0.05 + 0.04 * np.sin(0.1 * k + np.arange(float(n)))))
        x, report = solver.solve(A, np.ones(n))
        assert solved(A, np.ones(n), x)
        assert report.method == "jacobi"
        counts.append(report.iterations)
    assert counts[-1] <= counts[0] / 3


def test_what_the_native_call_has_found_of_a_factorisation_is_no_solution(monkeypatch):
    """It may say that a factorisation takes more than so many operations, and solve nothing."""
    A = nnla.problems.poisson3d(16)
    b = np.ones(A.shape[0])
    for module in ("nnla.sequences.quick_steps", "nnla.sequences.one_step"):
        monkeypatch.setattr(f"{module}.solve_quickly", lambda *given: 1e9)
    solver = nnla.Solver()
    for scale in (1.0, 1.0, 2.0):
        x, report = solver.solve(scale * A, b)
        assert report.converged
        assert np.linalg.norm(scale * (A @ x) - b) <= 1e-8 * np.linalg.norm(b)


def test_cg_on_one_matrix_is_left_for_a_factorisation_once_that_adds_little():
    """One that has been solved by CG so often that a factorisation is a small part of it is factored."""
    A = poisson2d(70)
    A = sp.csr_array(A + sp.diags_array(np.linspace(0.3, 0.4, A.shape[0])))
    solver, rng = nnla.Solver(), np.random.default_rng(0)
    methods = []
    for _ in range(60):
        b = rng.standard_normal(A.shape[0])
        x, report = solver.solve(A, b)
        assert solved(A, b, x)
        methods.append(report.method)
    if methods[0] != "direct":
        assert methods[-1] == "direct"
    assert solver.report.changes["same"] == 59
