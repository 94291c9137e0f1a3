"""Certified ReLU networks for exp(A): measured error <= certificate <= eps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from nnla.constructions import relu_expm
from nnla.errors import OptionError

CONSTRUCTIONS = ("scaling", "taylor", "paterson-stockmeyer")


def ball(count, n, bound, seed=0):
    """Matrices on the sphere of the spectral norm."""
    A = np.random.default_rng(seed).standard_normal((count, n, n))
    return A * (bound / np.linalg.norm(A, 2, axis=(-2, -1)))[:, None, None]


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize(("n", "bound", "eps"), [(1, 0.5, 1e-3), (2, 1.0, 1e-8), (3, 4.0, 1e-5)])
def test_measured_below_certificate_below_eps(n, bound, eps, construction):
    network = relu_expm(n, bound, eps, construction=construction)
    A = ball(50, n, bound)
    error = np.linalg.norm(network(A) - expm(A), axis=(-2, -1)).max()
    assert error <= network.certificate.error <= eps
    explicit = network.evaluate_layers(A[:5])
    np.testing.assert_allclose(explicit, network(A[:5]), rtol=0, atol=network.certificate.rounding)
    bare = network.network
    assert (bare.depth, bare.width, bare.nonzeros) == (
        network.size.depth,
        network.size.width,
        network.size.parameters,
    )


def test_what_rounding_forbids_is_refused():
    with pytest.raises(OptionError, match="eps >= "):
        relu_expm(8, 4.0, 1e-12)
