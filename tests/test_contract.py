"""The public contract, name by name: other code relies on these signatures, fields and exit codes."""

import dataclasses
import inspect
import json
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from scipy.io import mmwrite
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import nnla
from nnla import errors
from nnla.cli import cli
from nnla.types import Status

REPORT = {
    "status", "converged", "method", "n", "nnz", "rtol", "relative_residual", "iterations",
    "probe_iterations", "degree", "products", "products_probe", "preconditioner_applies", "reductions",
    "seconds", "fallback",
    "chosen_because", "weights", "seed", "residual_history", "versions",
}  # fmt: skip
METHODS = ("auto", "autospec", "chebyshev", "chebyshev4", "jacobi", "cg", "ic", "direct")
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.poisson2d(50)
    return A, np.random.default_rng(0).standard_normal(A.shape[0])


def keywords(function):
    """Keyword-only parameters and their defaults; positional ones by name."""
    parameters = inspect.signature(function).parameters.values()
    only = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return only, [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


# -- signatures -------------------------------------------------------------------------------------


def test_solve():
    only, positional = keywords(nnla.solve)
    assert positional == ["A", "b"]
    promised = {"x0": None, "rtol": 1e-8, "atol": 0.0, "maxiter": None, "method": "auto"}
    promised |= {"M": None, "warm_start": None, "callback": None}
    assert promised.items() <= only.items()


def test_preconditioner():
    only, positional = keywords(nnla.preconditioner)
    assert positional == ["A"]
    assert {"method": "autospec", "degree": None, "probe": None, "dtype": None}.items() <= only.items()


def test_probe():
    only, positional = keywords(nnla.probe)
    assert positional == ["A", "steps"]
    assert inspect.signature(nnla.probe).parameters["steps"].default == 50
    assert only["seed"] == 0


def test_public_names():
    assert {"solve", "preconditioner", "probe", "Recurrence", "load", "weights", "problems"} <= set(dir(nnla))
    for name in ("Problem", "SpectralProbe", "Report"):
        assert dataclasses.is_dataclass(getattr(nnla, name))
        assert getattr(nnla, name).__dataclass_params__.frozen
    assert set(Status) >= {"maxiter", "stagnation", "breakdown", "indefinite"}


def test_errors_are_type_or_value_errors_with_names():
    promised = ("NotSymmetricError", "NotPositiveDefiniteError", "NonFiniteError", "ShapeError")
    for name in (*promised, "WeightsError", "FileFormatError", "OptionError", "DTypeError"):
        kind = getattr(errors, name)
        assert issubclass(kind, (TypeError, ValueError))
        assert issubclass(kind, errors.NNLAError)


# -- solve ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_report_has_every_field(system, method):
    A, b = system
    solution = nnla.solve(A, b, method=method)
    x, report = solution
    assert solution.x is x
    assert solution.report is report
    assert set(json.loads(report.to_json())) >= REPORT
    assert set(report.seconds) == {"probe", "setup", "solve", "total"}
    assert report.converged is True
    assert report.status == "converged"
    assert (report.n, report.nnz, report.rtol) == (2500, A.nnz, 1e-8)
    assert report.products >= report.products_probe >= report.probe_iterations
    assert len(report.residual_history) in (0, report.iterations + report.probe_iterations)
    assert {"nnla", "numpy", "scipy", "python"} <= set(report.versions)
    assert report.chosen_because
    if method not in ("auto", "autospec"):
        assert report.method == method


def test_a_degree_costs_degree_products_and_an_iteration_one_more(system):
    A, b = system
    report = nnla.solve(A, b, method="chebyshev", degree=6).report
    inner = report.products - report.products_probe
    assert report.degree == 6
    assert 7 * report.iterations <= inner <= 7 * report.iterations + 3
    assert report.preconditioner_applies == report.iterations


@pytest.mark.parametrize("shape", [(2500,), (2500, 1), (2500, 3)])
def test_x_has_the_shape_of_b(system, shape):
    A, _ = system
    b = np.random.default_rng(1).standard_normal(shape)
    x = nnla.solve(A, b, method="cg").x
    assert x.shape == shape
    assert np.all(np.linalg.norm(b - A @ x, axis=0) <= 1e-8 * np.linalg.norm(b, axis=0))


def test_tolerances_are_scipys(system):
    A, b = system
    size = np.linalg.norm(b)
    for rtol, atol in ((1e-4, 0.0), (0.0, 1e-5 * size), (1e-9, 1e-3 * size), (1e-3, 1e-9)):
        x, report = nnla.solve(A, b, rtol=rtol, atol=atol, method="cg")
        assert report.converged
        left = np.linalg.norm(b - A @ x)
        target = max(rtol * size, atol)
        assert left <= target
        assert left > 1e-3 * target  # it stopped there, and not long after


def test_a_is_never_modified(system):
    A, b = system
    for method in METHODS:
        copy, rhs = A.copy(), b.copy()
        nnla.solve(copy, rhs, method=method)
        assert (copy != A).nnz == 0
        assert np.array_equal(rhs, b)


class Duck:
    """``shape``, ``dtype`` and ``@``: enough to be an operator."""

    def __init__(self, A):
        self.A, self.shape, self.dtype = A, A.shape, A.dtype

    def __matmul__(self, x):
        return self.A @ x


@pytest.mark.parametrize("kind", [*FORMATS, "matrix", "dense", "linear", "duck", "list", "float32", "int"])
def test_kinds_of_operators(kind):
    A = nnla.problems.poisson2d(9)
    given = {
        "matrix": lambda: sp.csr_matrix(A),
        "dense": A.toarray,
        "linear": lambda: aslinearoperator(A),
        "duck": lambda: Duck(A),
        "list": lambda: A.toarray().tolist(),
        "float32": lambda: A.astype(np.float32),
        "int": lambda: A.astype(int),
    }.get(kind, lambda: A.asformat(kind))()
    x, report = nnla.solve(given, np.ones(81))
    assert report.converged
    assert np.linalg.norm(np.ones(81) - A @ x) <= 1e-8 * 9


def test_torch_in_torch_out(system):
    torch = pytest.importorskip("torch")
    A = nnla.problems.poisson2d(9)
    dense = torch.from_numpy(A.toarray())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch announces that its CSR layout is in beta
        kinds = (dense, dense.to_sparse_csr(), dense.to_sparse_coo())
    for given in kinds:
        x, report = nnla.solve(given, torch.ones(81, dtype=torch.float64), method="chebyshev")
        assert isinstance(x, torch.Tensor)
        assert x.device == dense.device
        assert report.converged


def test_non_convergence_is_not_an_exception(system):
    A, b = system
    x, report = nnla.solve(A, b, method="cg", maxiter=2)
    assert (report.converged, report.status, report.iterations) == (False, "maxiter", 2)
    assert np.linalg.norm(b - A @ x) < np.linalg.norm(b)


def test_errors_name_the_problem_and_the_remedy(system):
    A, b = system
    for wrong, rhs, kind, remedy in (
        (A[:5], b, errors.ShapeError, "lsmr"),
        (A, b[:5], errors.ShapeError, "must have shape"),
        (-A, b, errors.NotPositiveDefiniteError, "minres"),
        (A * 1j, b, errors.DTypeError, "real"),
        (A * np.nan, b, errors.NonFiniteError, "repair"),
        (sp.triu(A, format="csr"), b, errors.NotSymmetricError, "gmres"),
    ):
        with pytest.raises(kind, match=remedy):
            nnla.solve(wrong, rhs)


# -- preconditioner, probe, recurrence, models -------------------------------------------------------


def test_a_preconditioner_is_a_symmetric_linear_operator(system):
    A, b = system
    M = nnla.preconditioner(A, method="chebyshev", degree=5, probe=nnla.probe(A, 20))
    assert isinstance(M, LinearOperator)
    assert M.shape == A.shape
    assert M.dtype == np.float64
    assert isinstance(M.recurrence, nnla.Recurrence)
    assert M.recurrence.degree == 5
    assert isinstance(M.probe, nnla.SpectralProbe)
    assert M.probe.steps == 20
    json.dumps(M.report)
    u, v = b, np.roll(b, 3)
    assert u @ (M @ v) == pytest.approx(v @ (M @ u))
    assert v @ (M @ v) > 0
    assert (M.T @ v) == pytest.approx(M @ v)


def test_a_probe_is_frozen_and_serialisable(system):
    p = nnla.probe(system[0], 10, seed=3)
    assert (p.steps, p.seed, p.n, p.products) == (10, 3, 2500, 10)
    assert p.ritz_values.shape == p.ritz_weights.shape == p.ritz_residuals.shape == (10,)
    assert p.lambda_min <= p.lambda_max <= p.upper_bound
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.n = 3
    again = nnla.SpectralProbe.from_json(p.to_json())
    assert np.array_equal(again.ritz_values, p.ritz_values)


def test_recurrence(system):
    A, b = system
    r = nnla.Recurrence.chebyshev(0.1, 8.0, 7)
    assert r.degree == 7
    assert isinstance(r(1.0), float)
    lam = np.linspace(0.1, 8.0, 5)
    assert r(lam) == pytest.approx([r(float(v)) for v in lam])
    D = sp.diags_array(lam)
    assert r.apply(D, np.ones(5)) == pytest.approx(r(lam))
    assert r.apply(A, np.stack([b, b], axis=1)).shape == (2500, 2)
    assert nnla.Recurrence.from_json(r.to_json()) == r


def test_weights_are_listed_with_their_envelopes():
    listed = nnla.weights()
    assert "autospec-cg" in listed
    for entry in listed.values():
        assert {"file", "sha256", "card"} <= set(entry)
        assert entry["card"]["envelope"]
    with pytest.raises(errors.WeightsError):
        nnla.load("nothing")


def test_problems_are_systems():
    assert {"poisson2d", "suite", "problem", "SUITE", "read_matrix"} <= set(dir(nnla.problems))
    p = nnla.problems.problem(next(iter(nnla.problems.SUITE)), "small")
    assert isinstance(p, nnla.Problem)
    assert nnla.problems.Problem is nnla.Problem
    assert p.A.shape[0] == len(p.b)


# -- command line -----------------------------------------------------------------------------------

OPTIONS = {
    "solve": {"--rhs", "--seed", "--method", "--rtol", "--maxiter", "--compare", "--out", "--plot", "--json"},
    "probe": {"--steps", "--plot", "--json"},
    "train": {"--set", "--out", "--resume"},
    "eval": {"--on", "--json"},
    "weights": set(),
    "doctor": set(),
}


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.mark.parametrize("command", OPTIONS)
def test_commands_and_their_options(command):
    found = {name for parameter in cli.commands[command].params for name in parameter.opts}
    assert OPTIONS[command] <= found
    text = run(command, "--help")
    assert text.exit_code == 0
    for option in OPTIONS[command]:
        assert option in text.stdout


def test_defaults_of_the_commands():
    default = {
        (name, parameter.name): parameter.default
        for name, command in cli.commands.items()
        for parameter in command.params
    }
    assert default["solve", "seed"] == 0
    assert default["solve", "method"] == "auto"
    assert default["solve", "rtol"] == 1e-8
    assert default["probe", "steps"] == 50


def test_exit_codes_and_streams(tmp_path):
    mmwrite(tmp_path / "a.mtx", sp.coo_array(nnla.problems.poisson2d(40)))
    good = run("solve", tmp_path / "a.mtx", "--method", "cg", "--json")
    assert good.exit_code == 0
    assert good.stderr == ""
    assert set(json.loads(good.stdout)) >= REPORT
    stopped = run("solve", tmp_path / "a.mtx", "--method", "cg", "--maxiter", "2", "--json")
    assert stopped.exit_code == 1
    assert json.loads(stopped.stdout)["status"] == "maxiter"
    bad = run("solve", tmp_path / "a.mtx", "--method", "cg", "--degree", "3")
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert len(bad.stderr.splitlines()) == 1
