"""Which of other projects' tests are run with nnla, and which of them fail for a stated reason."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True)
class Suite:
    """A test module of an installed package.

    Attributes
    ----------
    names : name in the module -> name of the shim in its place
    tests : beginnings of the names of the tests that concern nnla
    least : tests that pass at least: what skips itself is outside of what nnla is for, and must not become all
    fails : pattern of names -> reason. Every test that it matches has to fail, and at least one has to match
    symmetric : random matrices are replaced by their symmetric parts
    """

    names: dict[str, str]
    tests: tuple[str, ...]
    least: int
    fails: dict[str, str] = field(default_factory=dict[str, str])
    symmetric: bool = False


_CHECKS = "as_operator asks whether the operator is symmetric, and that takes products, which the test counts"
_ZEROS = "integer matrix, some entries of the answer are exact zeros: the test compares entry by entry without atol"
_OWN_WARNING = "the test wants a warning of SciPy's own"

SUITES = {
    "scipy.sparse.linalg._isolve.tests.test_iterative": Suite(
        {"cg": "cg"},
        ("test_maxiter[", "test_convergence", "test_precond_dummy", "test_precond_inverse", "test_atol",
         "test_zero_rhs", "test_x0_working", "test_x0_equals_Mb", "test_x0_solves_problem_exactly",
         "test_positional_error", "test_invalid_atol"),
        30,
        {"test_precond_inverse*": _CHECKS},
    ),
    # All tests of eigsh. They skip themselves for complex matrices, and where k > n goes on to LAPACK for a matrix
    # that is not symmetric. Left out are the tests of eigs, and of the memory of SciPy's own inverses.
    "scipy.sparse.linalg._eigen.arpack.tests.test_arpack": Suite(
        {"eigsh": "eigsh"},
        ("test_symmetric_modes", "test_hermitian_modes", "test_symmetric_starting_vector",
         "test_symmetric_no_convergence", "test_parallel_threads", "test_reentering", "test_eigsh_for_k_greater"),
        260,
    ),
    "scipy.sparse.linalg._eigen.lobpcg.tests.test_lobpcg": Suite(
        {"lobpcg": "lobpcg", "eigsh": "eigsh"},
        ("test_regression", "test_fiedler", "test_failure_to_run_iterations", "test_eigsh_consistency",
         "test_tolerance_float32", "test_hermitian"),
        6,
        {"test_fiedler_small_8": _OWN_WARNING},
    ),
    "scipy.sparse.linalg.tests.test_funm_multiply_krylov": Suite(
        {"funm_multiply_krylov": "funm_multiply_krylov"}, ("",), 34, symmetric=True,
    ),
    "scipy.sparse.linalg.tests.test_expm_multiply": Suite(
        {"expm_multiply": "expm_multiply", "_expm_multiply_simple": "expm_multiply_simple"},
        ("TestExpmActionSimple::test_expm", "TestExpmActionSimple::test_matrix", "TestExpmActionSimple::test_scaled",
         "TestExpmActionSimple::test_sparse", "TestExpmActionInterval::test_sparse",
         "TestExpmActionInterval::test_expm_multiply_interval_vector",
         "TestExpmActionInterval::test_expm_multiply_interval_matrix", "test_expm_multiply_dtype"),
        70,
        {"TestExpmActionSimple::test_scaled_expm_multiply": "exp(953) is beyond float64, which nnla says by an error",
         "test_expm_multiply_dtype?True-int*-int*": _ZEROS,
         "test_expm_multiply_dtype?True-int*-longlong*": _ZEROS,
         "test_expm_multiply_dtype?True-longlong-int*": _ZEROS,
         "test_expm_multiply_dtype?True-longlong-longlong*": _ZEROS},
        symmetric=True,
    ),
    "scipy.linalg.tests.test_matfuncs": Suite(
        {name: name for name in ("signm", "logm", "sqrtm", "expm", "fractional_matrix_power", "funm", "cosm", "sinm",
                                 "tanm", "coshm", "sinhm", "tanhm")},
        ("TestSignM", "TestLogM", "TestSqrtM", "TestFractionalMatrixPower", "TestExpM"),
        75,
        {"TestLogM::test_nearly_singular": _OWN_WARNING,
         "TestSqrtM::test_data_size_preservation_float_in_float_out": "answers are in float64, whatever A is in"},
        symmetric=True,
    ),
    "pyamg.krylov.tests.test_krylov": Suite({"cg": "pyamg_cg"}, ("",), 11),
}  # fmt: skip
