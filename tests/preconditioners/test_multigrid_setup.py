"""What an aggregation interpolates: the vector that a matrix nearly annihilates."""

import pytest
import scipy.sparse as sp

import nnla
from nnla.preconditioners.scalings import bind_amg

pytest.importorskip("pyamg")


@pytest.mark.parametrize("change", ["signs", "scaled", "shifted"])
def test_matrices_whose_near_kernel_is_not_constant(change, rng):
    """A Laplacian with signs, or with a symmetric scaling, is as easy as the Laplacian itself."""
    A = nnla.problems.poisson2d(70)
    n = A.shape[0]
    if change == "shifted":
        A = sp.csr_array(A + 0.5 * sp.eye_array(n))
    else:
        d = rng.choice([-1.0, 1.0], n) if change == "signs" else 10.0 ** rng.uniform(-1, 1, n)
        A = sp.csr_array(sp.diags_array(d) @ A @ sp.diags_array(d))
    b = rng.standard_normal(n)
    assert bind_amg(nnla.as_operator(A)).name == "amg"
    report = nnla.solve(A, b, method="amg").report
    assert report.converged
    assert report.iterations <= 60
