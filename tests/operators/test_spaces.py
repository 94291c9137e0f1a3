"""A backend is one class: a space written here carries probe, polynomial and CG without touching anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnla
from nnla.errors import DTypeError, OptionError
from nnla.operators.arrays import alike, space_of
from nnla.operators.bound_polynomial import BoundPolynomial
from nnla.operators.numpy_space import NUMPY, NumpySpace
from nnla.operators.operator import Operator, as_operator
from nnla.operators.spaces import Space
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.scalings import bind_scaling, kind_of
from nnla.types import Kind

N = 144


class LoggingSpace(NumpySpace):
    """NumPy without native kernels, and a log of what was asked of it."""

    def __init__(self) -> None:
        self.products = self.inners = 0

    def product(self, matrix: Any, x: Any) -> Any:
        self.products += 1 if x.ndim == 1 else x.shape[1]
        return super().product(matrix, x)

    def inner(self, x: Any, y: Any) -> Any:
        self.inners += 1
        return super().inner(x, y)

    def native(self, matrix: Any, diagonal: Any) -> None:
        return None


class Far:
    """Vectors of another library, as this one sees them: arithmetic, shape, and nothing of NumPy's protocols."""

    __array_ufunc__ = None

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.ndim, self.shape = data, data.ndim, data.shape

    def __add__(self, other: Far) -> Far:
        return Far(self.data + other.data)

    def __sub__(self, other: Far) -> Far:
        return Far(self.data - other.data)

    def __mul__(self, factor: float) -> Far:
        return Far(self.data * factor)

    def __truediv__(self, factor: float) -> Far:
        return Far(self.data / factor)

    __rmul__ = __mul__


class FarSpace(Space):
    name = "far"

    def inner(self, x: Far, y: Far) -> Any:
        return NUMPY.inner(x.data, y.data)

    def finite(self, x: Far) -> bool:
        return NUMPY.finite(x.data)

    def zeros_like(self, x: Far) -> Far:
        return Far(np.zeros(x.shape))

    def row(self, values: np.ndarray, like: Far) -> Any:
        return NUMPY.row(values, like)

    def host(self, x: Far) -> np.ndarray:
        return x.data

    def own(self, x: Any) -> Far:
        return x if isinstance(x, Far) else Far(np.asarray(x, dtype=np.float64))

    def product(self, matrix: Any, x: Far) -> Far:
        return Far(matrix @ x.data)

    def diagonal(self, matrix: Any) -> Far:
        return Far(matrix.diagonal())


@pytest.fixture
def A() -> Any:
    return nnla.problems.poisson2d(12)


@pytest.fixture
def logged(A: Any) -> Operator:
    return Operator(as_operator(A).csr, A.nnz, space=LoggingSpace())


def test_a_probe_runs_in_a_space_of_its_own(A, logged):
    found, expected = nnla.probe(logged, 20), nnla.probe(A, 20)
    np.testing.assert_allclose(found.ritz_values, expected.ritz_values, rtol=1e-10)
    assert logged.products == logged.space.products == 20


def test_a_probe_takes_its_inner_products_from_the_space(logged):
    nnla.probe(logged, 20)
    assert logged.space.inners >= 40


def test_a_polynomial_runs_in_a_space_of_its_own(A, logged, rng):
    P, Z = chebyshev(0.1, 8.0, 7), rng.standard_normal((N, 3))
    F = BoundPolynomial(logged, P)
    np.testing.assert_allclose(F(Z), BoundPolynomial(as_operator(A), P)(Z), rtol=1e-12, atol=1e-13)
    assert F.native is None
    assert logged.products == logged.space.products == F.products == 21


@pytest.mark.parametrize("method", ["cg", "jacobi", "chebyshev", "autospec"])
def test_cg_runs_in_a_space_of_its_own(A, logged, method, rng):
    b = rng.standard_normal(N)
    x, report = nnla.solve(logged, b, method=method)
    assert report.converged
    assert np.linalg.norm(A @ x - b) <= 1e-8 * np.linalg.norm(b)
    assert report.products == logged.products == logged.space.products


def test_a_preconditioner_made_before_runs_in_a_space_of_its_own(logged, rng):
    M = nnla.preconditioner(logged, degree=5)
    assert logged.products == logged.space.products == M.probe.products
    report = nnla.solve(logged, rng.standard_normal(N), M=M).report
    assert report.converged
    assert logged.products == logged.space.products
    assert M.products == 5 * M.applies


def test_cg_takes_its_inner_products_from_the_space(logged, rng):
    report = nnla.solve(logged, rng.standard_normal(N), method="cg").report
    assert logged.space.inners >= 2 * report.iterations


def test_vectors_that_are_no_arrays(A, rng):
    """Products, norms, conversions and polynomials over vectors that only know arithmetic."""
    op = Operator(as_operator(A).matrix, space=FarSpace())
    b = rng.standard_normal(N)
    x = op.as_vector(b)
    assert isinstance(op @ x, Far)
    assert op.space.norm(x) == pytest.approx(np.linalg.norm(b))
    P = chebyshev(0.1, 8.0, 7)
    expected = P.apply(A, b)
    y = BoundPolynomial(op, P)(x)
    assert isinstance(y, Far)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(BoundPolynomial(op, P) @ b, expected, rtol=1e-12, atol=1e-13)
    assert op.products == 1 + 7 + 7
    with pytest.raises(OptionError, match="float32"):
        BoundPolynomial(op, P, dtype=np.float32)


def test_cg_on_vectors_that_are_no_arrays(A, rng):
    op = Operator(as_operator(A).matrix, space=FarSpace())
    b = rng.standard_normal(N)
    x, report = nnla.solve(op, b, method="cg")
    assert report.converged
    assert np.linalg.norm(A @ x.data - b) <= 1e-8 * np.linalg.norm(b)


# -- counting --------------------------------------------------------------------------------------------


def test_products_are_counted_in_one_place(logged):
    with pytest.raises(AttributeError):
        logged.products = 3
    logged.count(3)
    assert logged.products == 3
    logged.reset_count()
    assert logged.products == 0


def test_two_orders_of_one_matrix_count_into_one_number(A, rng):
    op, order = as_operator(A), np.random.default_rng(0).permutation(N)
    other = op.permuted(order)
    v = rng.standard_normal(N)
    np.testing.assert_allclose(other @ v[order], (A @ v)[order], rtol=1e-13, atol=1e-13)
    op.count(2)
    assert other.products == op.products == 3


@pytest.mark.parametrize("form", ["sparse", "dense", "torch", "torch sparse", "products"])
def test_reading_known_entries_costs_no_product(A, form):
    torch = pytest.importorskip("torch") if form.startswith("torch") else None
    dense = A.toarray()
    given = {"sparse": lambda: A, "dense": lambda: dense, "products": lambda: nnla.preconditioner(A, degree=1)}
    if torch is not None:
        given |= {"torch": lambda: torch.tensor(dense), "torch sparse": lambda: torch.tensor(dense).to_sparse()}
    op = as_operator(given[form]())
    op.reset_count()
    entries = op.dense()
    assert op.products == (N if form == "products" else 0)
    if form != "products":
        np.testing.assert_array_equal(entries, dense)


# -- columns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_columns(kind):
    given = np.arange(12.0).reshape(3, 4)
    x = pytest.importorskip("torch").tensor(given) if kind == "torch" else given.copy()
    space, mask = space_of(x), np.array([True, False, True, False])
    assert space.name == kind
    assert space.take(x, np.ones(4, dtype=bool)) is x
    np.testing.assert_array_equal(space.host(space.take(x, mask)), given[:, [0, 2]])
    y = space.copy(x)
    space.assign(y, np.array([3, 1]), space.zeros_like(y) + 1.0, mask)
    np.testing.assert_array_equal(space.host(y)[:, [1, 3]], 1.0)
    space.clear(y, ~mask)
    np.testing.assert_array_equal(space.host(y), np.where(mask, given, 0.0))
    np.testing.assert_array_equal(space.host(space.choose(mask, x, space.zeros_like(x))), space.host(y))
    vector = space.copy(x[:, 0])
    space.assign(vector, np.array([True]), x[:, 1])
    np.testing.assert_array_equal(space.host(vector), given[:, 1])
    space.assign(vector, np.array([False]), x[:, 2])
    np.testing.assert_array_equal(space.host(vector), given[:, 1])
    space.clear(vector, np.array([True]))
    assert not space.host(vector).any()
    assert space.choose(np.array([False]), x[:, 0], vector) is vector


def test_arrays_of_another_kind_are_converted_there_and_back(A, rng):
    torch = pytest.importorskip("torch")
    P, z = chebyshev(0.1, 8.0, 7), rng.standard_normal(N)
    expected = P.apply(A, z)
    for matrix in (A, torch.tensor(A.toarray())):
        F = BoundPolynomial(as_operator(matrix), P)
        for given in (z, torch.tensor(z)):
            found = F @ given
            assert type(found) is type(given)
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-11, atol=1e-12)
    single = z.astype(np.float32)
    assert NUMPY.own(single).dtype == np.float64
    assert alike(torch.tensor(z), single).dtype == np.float64
    with pytest.raises(DTypeError, match="complex"):
        NUMPY.own(1j * z)


# -- what may be used for what -----------------------------------------------------------------------------


def test_every_scaling_says_its_kind(A):
    op = as_operator(A)
    for name in ("none", "jacobi", "ic"):
        assert bind_scaling(op, name).kind is Kind.LINEAR_SPD
    M = nnla.preconditioner(op, degree=3)
    assert M.kind is Kind.LINEAR_SPD
    assert bind_scaling(op, M).kind is Kind.LINEAR_SPD
    assert bind_scaling(op, A).kind is Kind.LINEAR_SPD  # says nothing


@pytest.mark.parametrize("kind", [Kind.LINEAR, Kind.NONLINEAR, "nonlinear"])
def test_a_users_operator_is_taken_at_its_word(A, kind):
    def network(r: Any) -> Any:
        return r

    network.kind = kind  # type: ignore[attr-defined]
    base = bind_scaling(as_operator(A), network)
    assert base.kind == kind
    assert isinstance(base.kind, Kind)


def test_another_librarys_kind_is_none_of_ours():
    class Theirs:
        kind = "ruge-stuben"

    assert kind_of(Theirs()) is Kind.LINEAR_SPD
