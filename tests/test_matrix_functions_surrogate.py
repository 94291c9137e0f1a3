"""The rate matrices and the page of reproduce/matrix_functions_surrogate.py."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import nnla
from nnla.matfun.options import read_batch
from nnla.matfun.rates import rate_matrices

ROOT = Path(__file__).resolve().parents[1]
JSON = ROOT / "docs" / "matrix_functions_surrogate.json"


@pytest.fixture
def script(monkeypatch):
    """Modules of the study by name."""
    if not JSON.is_file() or not (ROOT / "reproduce").is_dir():
        pytest.skip("the documentation is not here")
    monkeypatch.setattr(sys, "path", [str(ROOT / "reproduce"), *sys.path])
    return import_module


@pytest.mark.parametrize("name", ["amino_acids", "codons", "one_way"])
def test_rate_matrices_are_what_they_are_called(script, name):
    Q, pi = getattr(script("matrix_functions_rates"), name)()
    assert rate_matrices(read_batch(Q, "exp")).all()
    assert np.abs(pi @ Q).max() < 1e-14
    assert pi @ np.diag(Q) == pytest.approx(-1.0)
    flow = pi[:, None] * Q
    assert (np.abs(flow - flow.T).max() < 1e-14) == (name != "one_way")
    if name == "codons":
        assert Q.shape == (61, 61)
        assert (np.count_nonzero(Q, axis=1) <= 10).all()  # nine neighbours, and itself


def test_real_rates_against_digits(script):
    rates = script("matrix_functions_rates")
    Q, pi = rates.amino_acids()
    P = nnla.matfun.expm(10.0 * Q)
    E = rates.exact(10.0 * Q)
    assert np.abs(P / E - 1).max() < 1e-13
    np.testing.assert_allclose(pi @ P, pi, rtol=1e-13)


def test_the_page_is_that_of_the_figures(script):
    page = script("matrix_functions_surrogate_page").page
    found = json.loads(JSON.read_text(encoding="utf-8"))
    assert page(found) == JSON.with_suffix(".md").read_text(encoding="utf-8")
    for f in ("exp", "sign"):
        for families in found["accuracy"][f].values():
            assert all(row["within_millionth"] == 1.0 for row in families.values())
    assert max(found["equivariance"].values()) < 1e-5
    assert all(row["nnla"]["entry"] < 1e-10 and row["nnla"]["rows"] < 1e-12 for row in found["rates"])
