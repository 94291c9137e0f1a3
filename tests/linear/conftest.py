"""Prices for ``method="auto"``: what it is to expect of each way, whatever the system and the machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from nnla.linear.decision import Lognormal, Steps, Way
from nnla.linear.estimates import Estimates

DEAR = 1e6


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what ways cost in all, in seconds, for sure; the others are dear. An iteration of any kind costs 1 ms, as far
    as counts tell; nothing is bought to know more."""

    def install(**seconds: float) -> None:
        def way(self: Any, name: str) -> Way:
            price = Lognormal.of(seconds.get(name, DEAR))
            return Way(name, price, None) if name == "direct" else Way(name, Lognormal.of(0.0), price)

        monkeypatch.setattr(Estimates, "way", way)
        monkeypatch.setattr(Estimates, "direct_for_sure", lambda self: None)
        monkeypatch.setattr(Estimates, "ordering", property(lambda self: 0.0))
        monkeypatch.setattr(Estimates, "steps", lambda self, count, overhead=0.0: Steps(0.0, 0.0, "plain"))
        monkeypatch.setattr(Estimates, "step", lambda self, way: Lognormal.of(1e-3))
        monkeypatch.setattr(Estimates, "observe", lambda self, seconds, iterations: None)
        monkeypatch.setattr(Estimates, "worth_ordering", 1e13)
        monkeypatch.setattr(import_module("nnla.linear.solve"), "solve_quickly", lambda *given: None)

    return install
