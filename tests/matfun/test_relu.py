"""Constructed ReLU networks as a method of nnla.matfun."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NotSymmetricError, OptionError
from nnla.matfun import cosm, expm, inv_sqrtm, logm, signm, sinm, sqrtm
from nnla.problems import matrix_family

G = matrix_family("general", 4, 3, seed=0, scale=0.5)
S = matrix_family("gapped", 4, 3, seed=0, gap=0.1)
P = matrix_family("definite", 4, 3, seed=0, condition=30.0)


@pytest.mark.parametrize(
    ("f", "A"), [(expm, G), (sinm, G), (cosm, G), (signm, S), (sqrtm, P), (inv_sqrtm, P)], ids=lambda x: ""
)
def test_networks_meet_the_tolerance(f, A):
    X = f(A, method="relu", rtol=1e-5)
    assert X.report.fallbacks == 0
    assert X.report.converged
    assert 1e-13 < X.report.residual <= 1e-5  # the network's own answer
    assert "layers" in X.report.chosen_because
    np.testing.assert_allclose(X, f(A), atol=1e-5 * np.abs(X).max())


def test_any_unit_and_what_no_network_covers():
    assert sqrtm(4.0**300 * P, method="relu", rtol=1e-4).report.fallbacks == 0
    close = np.array([np.diag([1.0, 1e-6]), np.diag([1.0, 0.5])])
    X = signm(close, method="relu", rtol=1e-4)
    assert X.report.fallbacks == 1
    assert X.report.converged
    assert not signm(close, method="relu", rtol=1e-4, fallback=False).report.converged
    with pytest.raises(OptionError, match="no ReLU network is constructed for log"):
        logm(P, method="relu")
    with pytest.raises(NotSymmetricError, match="relu"):
        signm(G + 5 * np.eye(3), method="relu")
    with pytest.raises(OptionError, match="32"):
        signm(np.eye(33), method="relu")
