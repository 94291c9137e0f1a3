"""What a given M does inside is part of the cost."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.operators import as_operator
from nnla.operators.bound_polynomial import CallableOperator
from nnla.types import Kind


class OneStep(CallableOperator):
    """A Jacobi step and a half: products with an operator of its own, and a kind that plain CG refuses."""

    kind = Kind.NONLINEAR

    def __init__(self, A):
        self.operator, self.applies = as_operator(A), 0
        super().__init__(dtype=np.dtype(np.float64), shape=A.shape)

    def __call__(self, r):
        self.applies += 1
        z = r / 4
        return z + (r - self.operator.matvec(z)) / 4


def test_products_and_applications_of_a_flexible_preconditioner_are_counted():
    A = nnla.problems.poisson2d(12)
    M = OneStep(A)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    before = M.operator.products
    report = nnla.solve(A, b, M=M, method="fcg").report
    assert report.converged
    assert report.preconditioner_applies == M.applies >= report.iterations
    assert report.products == report.iterations + 1 + M.operator.products - before


def test_other_objects_with_such_names_are_taken_as_they_are():
    class Mine:
        shape, dtype, operator, applies, kind = (3, 3), np.dtype(float), "mine", "many", "of my own"

        def __matmul__(self, r):
            return r

    report = nnla.solve(np.diag([1.0, 2.0, 3.0]), np.ones(3), M=Mine(), method="fcg").report
    assert report.converged
    assert report.preconditioner_applies == 0


def test_plain_cg_refuses_it():
    with pytest.raises(nnla.errors.OptionError, match="fcg"):
        nnla.solve(np.eye(4), np.ones(4), M=OneStep(np.eye(4)), method="cg")
