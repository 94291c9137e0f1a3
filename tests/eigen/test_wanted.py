"""Which eigenvalues are wanted: every which, sigma and mode against what ARPACK's numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.wanted import MODES, WHICH, Ends, Near, Wanted
from nnla.errors import OptionError


def transformed(w, sigma, mode):
    """What SciPy documents."""
    if sigma is None:
        return w
    return {"normal": 1 / (w - sigma), "cayley": (w + sigma) / (w - sigma), "buckling": w / (w - sigma)}[mode]


def chosen(w, k, which, sigma, mode):
    """The k of SciPy's names, increasing."""
    numbers = transformed(w, sigma, mode)
    order = np.argsort(np.abs(numbers) if which in ("LM", "SM") else numbers, kind="stable")
    places = {
        "LM": order[-k:],
        "LA": order[-k:],
        "SM": order[:k],
        "SA": order[:k],
        "BE": np.concatenate([order[: k // 2], order[k // 2 - k :]]),
    }[which]
    return np.sort(w[places])


CASES = [(None, "normal"), (0.0, "normal"), *((s, mode) for s in (0.3, -0.7, 50.0, -50.0) for mode in MODES)]


@pytest.mark.parametrize(("sigma", "mode"), CASES)
@pytest.mark.parametrize("which", WHICH)
def test_the_k_are_those_of_arpack(which, sigma, mode):
    w = np.sort(np.random.default_rng(0).standard_normal(30))
    for k in (1, 2, 5, 29, 30):
        wanted = Wanted(which, k, sigma, mode)
        x = np.sort(1 / w) if wanted.exchanged else w
        found = x[wanted.choose(x)]
        assert np.all(np.diff(found) > 0)
        np.testing.assert_allclose(np.sort(1 / found) if wanted.exchanged else found, chosen(w, k, which, sigma, mode))


@pytest.mark.parametrize(("sigma", "mode"), CASES[:8])
@pytest.mark.parametrize("which", WHICH)
def test_they_are_among_those_looked_for(which, sigma, mode):
    """Where enough lie on each side of the shift."""
    w = np.sort(np.random.default_rng(1).standard_normal(40))
    for k in (1, 2, 3):
        wanted = Wanted(which, k, sigma, mode)
        x = np.sort(1 / w) if wanted.exchanged else w
        look = wanted.look()
        if isinstance(look, Ends):
            seen = np.concatenate([x[: look.low], x[x.size - look.high :]])
        elif look.select == "nearest":
            seen = x[np.argsort(np.abs(x - look.shift))[: look.count]]
        else:
            split = int(np.searchsorted(x, look.shift))
            seen = x[max(split - look.below, 0) : split + look.above]
        assert set(x[wanted.choose(x)]) <= set(seen)
        if isinstance(look, Near):
            assert look.select == ("ends" if look.below and look.above else look.select)


@pytest.mark.parametrize("mode", ["buckling", "cayley"])
def test_modes_that_zero_leaves_without_a_meaning(mode):
    with pytest.raises(OptionError, match="sigma = 0"):
        Wanted("LM", 2, 0.0, mode)


def test_an_eigenvalue_at_the_shift_is_the_nearest():
    x = np.array([-1.0, 0.5, 0.6, 3.0])
    for mode in ("normal", "cayley"):
        assert Wanted("LM", 1, 0.5, mode).choose(x).tolist() == [1]
        assert Wanted("LA", 2, 0.5, mode).choose(x).tolist() == [1, 2]
