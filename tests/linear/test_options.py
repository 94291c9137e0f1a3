"""Options that a method would ignore are errors with a remedy, the same from Python and the command line."""

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import OptionError
from nnla.linear.options import METHODS, check_numbers, check_usable, usable
from nnla.polynomials.design import POLYNOMIAL_METHODS

CLASSICAL = ("cg", "jacobi", "ic", "amg", "direct")


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.poisson2d(12)
    return A, np.ones(A.shape[0])


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize(
    "option",
    [{"degree": 5}, {"scaling": "ic"}, {"scaling": "none"}, {"probe_steps": 9}, {"engine": object()}],
)
def test_solve_refuses_what_the_method_would_ignore(system, method, option):
    with pytest.raises(OptionError, match=f"{next(iter(option))}.* has no effect on method='{method}'; leave it out"):
        nnla.solve(*system, method=method, **option)


def test_auto_takes_a_degree_but_no_scaling(system):
    assert nnla.solve(*system, degree=5).report.converged
    with pytest.raises(OptionError, match="chooses its own scaling"):
        nnla.solve(*system, scaling="jacobi")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", [0, -1, 513, 2.0, True, "eleven"])
def test_degree_zero_is_not_the_default(system, method, degree):
    with pytest.raises(OptionError, match="degree"):
        nnla.solve(*system, method=method, degree=degree)


def test_a_preconditioner_has_its_own_polynomial(system):
    A, b = system
    M = nnla.preconditioner(A, method="chebyshev", degree=5)
    assert nnla.solve(A, b, M=M).report.degree == 5
    for option in ({"degree": 7}, {"scaling": "jacobi"}, {"probe_steps": 9}):
        with pytest.raises(OptionError, match="beside a given"):
            nnla.solve(A, b, M=M, **option)
    for method in ("jacobi", "ic", "amg", "direct"):
        with pytest.raises(OptionError, match="M has no effect"):
            nnla.solve(A, b, M=M, method=method)


def test_user_preconditioner_and_scaling_exclude_each_other(system):
    A, b = system
    M = sp.diags_array(1 / A.diagonal())
    assert nnla.solve(A, b, M=M, method="chebyshev", degree=7).report.scaling == "user"
    with pytest.raises(OptionError, match="beside M"):
        nnla.solve(A, b, M=M, method="chebyshev", scaling="jacobi")
    with pytest.raises(OptionError, match="no effect"):
        nnla.solve(A, b, M=M, degree=7)  # CG with M has no polynomial


def test_an_engine_is_for_learned_methods(system, make_engine):
    with pytest.raises(OptionError, match="engine has no effect"):
        nnla.solve(*system, method="chebyshev", engine=make_engine())
    with pytest.raises(OptionError, match="use method='autospec'"):
        nnla.solve(*system, method="autospec-paper", engine=make_engine())


def test_usable_is_what_check_usable_accepts():
    for method in METHODS:
        given = usable(method, degree=7, scaling="ic")
        check_usable(method, **given)
        assert ("degree" in given) == (method in POLYNOMIAL_METHODS or method == "auto")
        assert ("scaling" in given) == (method in POLYNOMIAL_METHODS)


@pytest.mark.parametrize(
    "bad", [{"rtol": -1}, {"rtol": np.inf}, {"rtol": True}, {"atol": "0"}, {"maxiter": -1}, {"maxiter": 2.0}]
)
def test_numbers(bad):
    check_numbers(np.float32(1e-3), 0, np.int64(5))
    with pytest.raises(OptionError, match=next(iter(bad))):
        check_numbers(**{"rtol": 1e-8, **bad})
