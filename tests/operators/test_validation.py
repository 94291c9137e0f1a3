"""What the checks say about common mistakes, and that their verdict does not depend on units."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla.errors import NotPositiveDefiniteError, NotSymmetricError

FORMS = {
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "dense": lambda A: sp.csr_array(A).toarray(),
    "float32": lambda A: sp.csr_array(A).astype(np.float32),
}


@pytest.fixture(scope="module")
def A():
    return sp.csr_array(nnla.problems.poisson2d(12))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("half", "word"), [(sp.tril, "lower"), (sp.triu, "upper")])
def test_one_triangle(A, form, half, word):
    with pytest.raises(
        NotSymmetricError, match=f"only the {word} triangle is stored; mirror it: A \\+ A.T - diag"
    ) as e:
        nnla.as_operator(FORMS[form](half(A)))
    assert "(A + A.T)/2" not in str(e.value)
    stored = sp.csr_array(half(A))
    mirrored = stored + stored.T - sp.diags_array(stored.diagonal())  # what the text says
    assert nnla.as_operator(mirrored).nnz == A.nnz


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [1.0, 1e10])
def test_dirichlet_rows_whose_columns_were_kept(A, form, value):
    rows = [3, 40, 41, 90]
    kept = A.tolil()
    kept[rows, :] = 0.0
    kept[rows, rows] = value
    with pytest.raises(
        NotSymmetricError, match=r"rows 3, 40, 41, 90 \(from 0\) hold nothing.*symmetrise the elim"
    ) as e:
        nnla.as_operator(FORMS[form](kept))
    assert "(A + A.T)/2" not in str(e.value)
    kept[:, rows] = 0.0
    kept[rows, rows] = value
    nnla.as_operator(FORMS[form](kept))


def test_columns_without_their_rows_and_many_of_them(A):
    rows = np.arange(7, 60, 4)
    kept = A.tolil()
    kept[:, rows] = 0.0
    kept[rows, rows] = 1.0
    with pytest.raises(NotSymmetricError, match=r"columns 7, 11, 15, 19, 23, ... \(14 in all\)"):
        nnla.as_operator(kept.tocsr())


@pytest.mark.parametrize("form", FORMS)
def test_other_asymmetry_keeps_its_text(A, form):
    B = A.tolil()
    B[2, 3] = -1.5
    with pytest.raises(NotSymmetricError, match=r"\(A \+ A.T\)/2"):
        nnla.as_operator(FORMS[form](B))
    B[7, :] = 0.0  # a kept column beside another fault is not the whole story
    B[7, 7] = 1.0
    with pytest.raises(NotSymmetricError, match=r"\(A \+ A.T\)/2"):
        nnla.as_operator(FORMS[form](B))


@pytest.mark.parametrize("unit", [1e-310, 1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300])
def test_verdicts_do_not_depend_on_units(A, unit):
    skew = A.copy()
    skew.data = skew.data * np.random.default_rng(0).uniform(0.5, 1.0, skew.nnz)
    for make in (
        lambda B: B * unit,
        lambda B: (B * unit).toarray(),
        lambda B: LinearOperator(B.shape, matvec=lambda x: unit * (B @ x), dtype=np.float64),
    ):
        nnla.as_operator(make(A))
        with pytest.raises(NotSymmetricError):
            nnla.as_operator(make(skew))
        with pytest.raises(NotPositiveDefiniteError):
            nnla.as_operator(make(-A))
