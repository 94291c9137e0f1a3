"""Certified ReLU networks for sign, roots and inverse: measured error <= certificate <= eps, at any gap and unit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nnla.constructions import relu_inv_sqrtm, relu_invm, relu_signm, relu_sqrtm
from nnla.errors import NotSymmetricError, OptionError

CASES = {
    "sign": (relu_signm, np.sign),
    "sqrt": (relu_sqrtm, np.sqrt),
    "inv_sqrt": (relu_inv_sqrtm, lambda x: x**-0.5),
    "inv": (relu_invm, lambda x: 1 / x),
}


def spectra(count, n, gap, bound, signs, seed=0):
    """Eigenvalues in the set, its ends among them, and symmetric matrices that have them."""
    rng = np.random.default_rng(seed)
    values = gap * (bound / gap) ** rng.uniform(0, 1, (count, n))
    values[: count // 2, 0], values[: count // 2, -1] = gap, bound
    if signs:
        values *= rng.choice([-1.0, 1.0], values.shape)
    Q = np.linalg.qr(rng.standard_normal((count, n, n)))[0]
    Q[0] = np.eye(n)
    return values, Q


def rebuilt(Q, values):
    return np.einsum("bij,bj,bkj->bik", Q, values, Q)


@pytest.mark.parametrize("function", CASES)
@pytest.mark.parametrize(
    ("n", "gap", "eps", "bound"), [(2, 0.3, 1e-3, 1.0), (3, 0.05, 1e-6, 5.0), (4, 1e-4, 1e-4, 1e-2)]
)
def test_measured_below_certificate_below_eps(function, n, gap, eps, bound):
    make, scalar = CASES[function]
    if gap == 1e-4:
        eps = {"sign": 1e-4, "sqrt": 1e-4, "inv_sqrt": 1e-1, "inv": 1e1}[function]
    network = make(n, gap, eps, bound=bound)
    values, Q = spectra(60, n, gap, bound, function == "sign")
    A = rebuilt(Q, values)
    error = np.linalg.norm(network(A) - rebuilt(Q, scalar(values)), axis=(-2, -1)).max()
    assert error <= network.certificate.error <= eps
    if n == 4:
        return
    explicit = network.evaluate_layers(A[:4])
    np.testing.assert_allclose(explicit, network(A[:4]), rtol=0, atol=network.certificate.rounding)
    bare = network.network
    assert dataclasses.astuple(network.size) == (bare.depth, bare.width, bare.nonzeros)


@pytest.mark.parametrize("function", CASES)
def test_fewer_steps_break_the_bound(function):
    """The certificate can fail: products that are coarser by three steps are wrong by more than it allows."""
    make, scalar = CASES[function]
    network = make(3, 0.1, 1e-5)
    rounds = tuple(dataclasses.replace(r, m=max(1, r.m - 3)) for r in network.program.rounds)
    coarse = dataclasses.replace(network.program, rounds=rounds)
    values, Q = spectra(2000, 3, 0.1, 1.0, function == "sign")
    A, exact = rebuilt(Q, values), rebuilt(Q, scalar(values))
    assert np.linalg.norm(network(A) - exact, axis=(-2, -1)).max() <= network.certificate.error
    assert np.linalg.norm(coarse(A) - exact, axis=(-2, -1)).max() > network.certificate.error


@pytest.mark.parametrize("function", CASES)
def test_refusals(function):
    make, _ = CASES[function]
    network = make(2, 0.5, 1e-2)
    with pytest.raises(OptionError, match="outside of the set"):
        network(np.diag([0.4, 1.0]))
    with pytest.raises(OptionError, match="outside of the set"):
        network(np.diag([0.6, 1.1]))
    with pytest.raises(NotSymmetricError):
        network([[0.7, 0.1], [0.0, 0.7]])
    with pytest.raises(OptionError, match="eps >= ") as refusal:
        make(2, 0.01, 1e-14)
    smallest = float(str(refusal.value).split("eps >= ")[1].split()[0])
    assert make(2, 0.01, smallest * 1.01).certificate.error <= smallest * 1.01
    for arguments in ({"gap": 2.0}, {"gap": 1e-6}, {"eps": 0.0}, {"n": 0}, {"bound": np.inf}, {"minimise": "width"}):
        with pytest.raises(OptionError):
            make(**({"n": 2, "gap": 0.5, "eps": 1e-2} | arguments))
    assert np.isfinite(network(np.diag([0.5, -1.0 if function == "sign" else 1.0]))).all()


def test_minimise_depth():
    """Never deeper than the network of fewest parameters."""
    for make, _ in CASES.values():
        shallow, small = make(3, 0.1, 1e-4, minimise="depth"), make(3, 0.1, 1e-4)
        assert shallow.size.depth <= small.size.depth
        assert shallow.size.parameters >= small.size.parameters
