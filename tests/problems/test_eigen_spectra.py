"""Spectra for eigenproblems: well formed, reproducible, and as varied at the wanted end as they claim."""

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems.eigen_spectra import EIGEN_FAMILIES, eigen_spectrum


def relative(w):
    return (w - w[0]) / (w[-1] - w[0])


@pytest.mark.parametrize("family", EIGEN_FAMILIES)
def test_well_formed(family):
    sizes = set()
    for seed in range(60):
        w = eigen_spectrum(seed, family=family)
        sizes.add(w.size)
        assert w.dtype == np.float64
        assert w.ndim == 1
        assert 200 <= w.size <= 3000
        assert np.isfinite(w).all()
        assert (np.diff(w) >= 0).all()
        assert w[-1] > w[0]
    assert len(sizes) > 40


@pytest.mark.parametrize("family", EIGEN_FAMILIES)
@pytest.mark.parametrize("n", [200, 201, 777, 3000])
def test_size_as_asked(family, n):
    for seed in range(5):
        assert eigen_spectrum(seed, family=family, n=n).size == n


@pytest.mark.parametrize("family", EIGEN_FAMILIES)
def test_filters_can_resolve_them(family):
    """Forty values span at least 1e-7 of the width, but for multiplicities, so that doubles tell them apart."""
    spans = [relative(eigen_spectrum(seed, family=family))[80] for seed in range(60)]
    assert min(spans) > 1e-8


def test_deterministic():
    assert np.array_equal(eigen_spectrum(5), eigen_spectrum(5))
    assert not np.array_equal(eigen_spectrum(5, n=300), eigen_spectrum(6, n=300))
    rng = np.random.default_rng(5)
    assert np.array_equal(eigen_spectrum(5), eigen_spectrum(rng))
    assert not np.array_equal(eigen_spectrum(5, n=300), eigen_spectrum(rng, n=300))


def test_variety():
    spectra = [eigen_spectrum(seed) for seed in range(400)]
    gaps = np.array([(w[15] - w[9]) / (w[-1] - w[0]) for w in spectra])
    low, middle, high = np.percentile(gaps, [5, 50, 95])
    assert low < 1e-5  # large operators
    assert 1e-4 < middle < 1e-2
    assert high > 0.03
    assert 0.2 < np.mean([w[0] < 0 for w in spectra]) < 0.6
    multiple = [np.min(np.diff(w[:20])) < 1e-9 * (w[-1] - w[0]) for w in spectra]
    assert 0.15 < np.mean(multiple) < 0.6
    scales = np.log10([w[-1] - w[0] for w in spectra])
    assert np.ptp(scales) > 4


def test_weyl_law_of_a_square():
    """Counting lattice points of the equal-sided box: an integer spectrum of sums of squares."""
    found = 0
    for seed in range(200):
        w = eigen_spectrum(seed, family="box", n=400)
        if w[0] <= 0:
            continue
        ratio = w[:3] / w[0]
        if np.allclose(ratio, [1.0, 2.5, 2.5], atol=1e-10):  # 2, 5, 5 in the plane
            found += 1
            whole = w[:60] / w[0] * 2
            assert np.allclose(whole, np.round(whole), atol=1e-9)
    assert found > 3


def test_clusters_and_bound_states():
    tight = [relative(eigen_spectrum(seed, family="clustered")) for seed in range(60)]
    assert np.mean([np.min(np.diff(w[:30])) < 1e-6 for w in tight]) > 0.4
    bound = [(eigen_spectrum(seed, family="hamiltonian") < 0).sum() for seed in range(60)]
    assert 1 <= np.median(bound) <= 60


def test_the_paper_family_has_small_leading_gaps():
    gaps = [np.diff(eigen_spectrum(seed, family="decay"))[0] for seed in range(100)]
    widths = [np.ptp(eigen_spectrum(seed, family="decay")) for seed in range(100)]
    assert np.quantile(np.array(gaps) / np.array(widths), 0.9) < 0.12


@pytest.mark.parametrize("call", [lambda: eigen_spectrum(0, n=100), lambda: eigen_spectrum(0, family="mehs")])
def test_refusals(call):
    with pytest.raises(OptionError):
        call()
