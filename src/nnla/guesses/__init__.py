"""Initial guesses and deflation spaces by trained networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Guess": "nnla.guesses.guess",
        "GuessReport": "nnla.guesses.guess",
        "initial_guess": "nnla.guesses.guess",
        "warm_start_of": "nnla.guesses.guess",
    },
)
__all__ = ["Guess", "GuessReport", "initial_guess", "warm_start_of"]

if TYPE_CHECKING:
    from nnla.guesses.guess import Guess, GuessReport, initial_guess, warm_start_of
