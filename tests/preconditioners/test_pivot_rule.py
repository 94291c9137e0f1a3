"""The pivot rule of IC(0): in units of its diagonal entry a pivot is more than rounding leaves of it, or none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from nnla import kernels
from nnla.preconditioners.incomplete_cholesky import IncompleteFactorizationError, ic0

EPS = float(np.finfo(np.float64).eps)


@pytest.fixture(params=["native", "numpy"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "native", None)
    elif kernels.native is None:
        pytest.skip("the native kernels are not built")
    return request.param


def pair(below_one: float, scales: tuple[float, float]) -> sp.csr_array:
    """D [[1, c], [c, 1]] D with c = 1 - `below_one`: powers of two in D, and everything below is exact."""
    c = 1.0 - below_one
    D = np.diag(scales)
    return sp.csr_array(D @ np.array([[1.0, c], [c, 1.0]]) @ D)


SCALES = [(1.0, 1.0), (2.0**20, 2.0**-30), (2.0**-200, 2.0**-200)]


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("below_one", "pivot"), [(EPS, 2 * EPS), (8 * EPS, 16 * EPS), (0.25, 0.4375)])
def test_a_pivot_beyond_rounding_is_one(below_one, pivot, scales):
    factor = ic0(pair(below_one, scales))
    assert factor.shift == 0.0
    assert factor.L.toarray()[1, 1] == pytest.approx(scales[1] * pivot**0.5, rel=1e-14)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("below_one", "pivot"), [(EPS / 2, EPS), (0.0, 0.0), (-EPS, -2 * EPS), (-0.5, -1.25)])
def test_what_rounding_leaves_is_none(below_one, pivot, scales):
    A = pair(below_one, scales)
    with pytest.raises(IncompleteFactorizationError, match=r"row 1 \(from 0\)") as error:
        ic0(A)
    assert f"is {pivot:.3g} times" in str(error.value)
    # with a shift there is one, and it is the first of those that are tried
    repaired = ic0(A, shift="auto")
    assert repaired.shift >= 1e-3
    assert repaired.shift == 1e-3 or below_one == -0.5
    L = repaired.L.toarray()
    expected = A.toarray() + repaired.shift * np.diag(A.diagonal())
    np.testing.assert_allclose((L @ L.T) / np.outer(scales, scales), expected / np.outer(scales, scales), rtol=1e-12)


@pytest.mark.parametrize("modified", [0.0, 1.0])
def test_the_first_row_without_a_pivot_is_named(modified):
    blocks = [pair(0.25, (1.0, 1.0)), pair(-0.25, (1.0, 1.0)), pair(0.5, (1.0, 2.0)), pair(-0.5, (1.0, 1.0))]
    with pytest.raises(IncompleteFactorizationError, match=r"row 3 \(from 0\)"):
        ic0(sp.csr_array(sp.block_diag(blocks)), modified=modified)


def test_a_pivot_that_is_no_number_is_none():
    for value in (np.inf, np.nan):
        A = sp.csr_array(np.array([[1.0, value], [value, 1.0]]))
        with pytest.raises(IncompleteFactorizationError, match="row 1"), np.errstate(all="ignore"):
            ic0(A)
