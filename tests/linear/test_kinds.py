"""The kind of M decides which CG may take it, and is found out where M does not say it."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError
from nnla.linear.kinds import kind_of
from nnla.types import Kind


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((24, 24), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


def nonlinear(A):
    d = A.diagonal()
    return lambda r: r / d * (1 + 0.5 * np.tanh(r))


def skewed(A):
    n = A.shape[0]
    return sp.diags_array([1 / A.diagonal(), np.full(n - 1, 0.02)], offsets=[0, 1]).tocsr()


def test_kinds_are_found_out(system):
    A, _ = system
    op = nnla.as_operator(A)
    jacobi = sp.diags_array(1 / A.diagonal())
    assert kind_of(op, jacobi) is Kind.LINEAR_SPD
    assert kind_of(op, lambda r: (r / A.diagonal()).astype(np.float32)) is Kind.LINEAR_SPD  # rounding is no defect
    assert kind_of(op, nonlinear(A)) is Kind.NONLINEAR
    assert kind_of(op, skewed(A)) is Kind.LINEAR
    assert kind_of(op, -jacobi) is Kind.LINEAR
    assert kind_of(op, nnla.preconditioner(A)) is Kind.LINEAR_SPD
    with_kind = LinearOperator(A.shape, matvec=nonlinear(A), dtype=np.float64)
    with_kind.kind = Kind.LINEAR_SPD  # who says so is believed, at no cost
    assert kind_of(op, with_kind) is Kind.LINEAR_SPD


@pytest.mark.parametrize(("defect", "harmless"), [(1e-6, True), (1e-2, False)])
def test_rounding_is_told_from_a_defect(system, defect, harmless):
    """M in low precision is taken as it is; what differs by a hundredth is no longer linear, or symmetric."""
    A, _ = system
    op, d, n = nnla.as_operator(A), A.diagonal(), A.shape[0]
    bent = lambda r: r / d * (1 + defect * np.cos(5 * r))  # noqa: E731
    skew = sp.diags_array([1 / d, defect * np.ones(n - 1)], offsets=[0, 1]).tocsr()
    assert (kind_of(op, bent) is Kind.LINEAR_SPD) == harmless
    assert (kind_of(op, skew) is Kind.LINEAR_SPD) == harmless
    scaled = lambda r: 1e-12 * (r / d)  # noqa: E731 - whatever the units
    assert kind_of(op, scaled) is Kind.LINEAR_SPD


@pytest.mark.parametrize("method", ["cg", "autospec", "chebyshev"])
def test_cg_refuses_what_it_cannot_take(system, method):
    A, b = system
    with pytest.raises(OptionError, match=r"not linear.*method='fcg'"):
        nnla.solve(A, b, method=method, M=nonlinear(A))
    with pytest.raises(NotPositiveDefiniteError, match=r"symmetric positive definite.*method='fcg'"):
        nnla.solve(A, b, method=method, M=skewed(A))
    declared = LinearOperator(A.shape, matvec=lambda r: r.copy(), dtype=np.float64)
    declared.kind = "nonlinear"
    with pytest.raises(OptionError, match="not linear"):
        nnla.solve(A, b, method=method, M=declared)


@pytest.mark.parametrize("make", [nonlinear, skewed])
@pytest.mark.parametrize("method", ["fcg", "auto"])
def test_flexible_cg_takes_them_and_auto_takes_flexible_cg(system, make, method):
    A, b = system
    x, report = nnla.solve(A, b, method=method, M=make(A), rtol=1e-9)
    assert report.converged
    assert report.phases[0].method == "fcg"
    assert report.method == "fcg" or method == "auto"  # which may leave it for something faster, after a while
    assert np.linalg.norm(b - A @ x) <= 1e-9 * np.linalg.norm(b)


def test_an_m_that_leads_nowhere_is_left_for_cg_without_it(system):
    A, b = system
    n = A.shape[0]
    M = sp.diags_array([1 / A.diagonal(), np.full(n - 1, 0.4)], offsets=[0, 1]).tocsr()  # z = M r has r'z < 0 at times
    x, report = nnla.solve(A, b, method="fcg", M=M, rtol=1e-9)
    assert report.converged
    assert [phase.method for phase in report.phases] == ["fcg", "jacobi"]
    assert report.phases[0].failure == report.fallback
    assert np.linalg.norm(b - A @ x) <= 1e-9 * np.linalg.norm(b)


def test_auto_with_a_sound_m_is_cg(system):
    A, b = system
    report = nnla.solve(A, b, M=sp.diags_array(1 / A.diagonal())).report
    assert (report.method, report.converged) == ("cg", True)


def test_an_m_that_reuses_its_buffer_or_works_in_its_argument_is_linear(system):
    """What a wrapper of another library does; it was called non-linear, or spoilt the residual."""
    A, b = system
    d, buffer = A.diagonal(), np.empty_like(b)

    def buffered(r):
        return np.divide(r, d, out=buffer)

    def in_place(r):
        r /= d
        return r

    op = nnla.as_operator(A)
    plain = nnla.solve(A, b, method="autospec", M=lambda r: r / d)
    for M in (buffered, in_place, LinearOperator(A.shape, matvec=buffered, dtype=np.float64)):
        assert kind_of(op, M) is Kind.LINEAR_SPD
        for method in ("cg", "fcg", "autospec"):
            report = nnla.solve(A, b, method=method, M=M).report
            assert report.converged
            assert report.fallback is None
        assert np.array_equal(nnla.solve(A, b, method="autospec", M=M).x, plain.x)


def test_a_linear_operator_that_knows_vectors_only_takes_blocks(system):
    A, b = system
    d = A.diagonal()
    M = LinearOperator(A.shape, matvec=lambda r: r / d, dtype=np.float64)  # (n, 1) / (n,) would be (n, n)
    assert nnla.solve(A, np.column_stack([b, b[::-1]]), method="cg", M=M).report.converged


@pytest.mark.parametrize("method", ["cg", "fcg", "auto", "autospec"])
def test_an_m_of_another_shape_is_named_and_a_column_is_a_vector(system, method):
    A, b = system
    for M in (lambda r: r[:-1], lambda r: 1.0, lambda r: np.outer(r, r[:2])):
        with pytest.raises(ShapeError, match="M r has shape"):
            nnla.solve(A, b, method=method, M=M)
    assert nnla.solve(A, b, method=method, M=lambda r: (r / A.diagonal())[:, None]).report.converged


def test_a_kind_of_another_library_is_not_ours(system):
    A, b = system

    class Theirs:
        kind = "smoother"

        def __call__(self, r):
            return r / A.diagonal()

    assert kind_of(nnla.as_operator(A), Theirs()) is Kind.LINEAR_SPD
    assert nnla.solve(A, b, method="cg", M=Theirs()).report.converged
