"""The kinds of cases by name, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from fuzzing import dense, eigenpairs, files, functions, refusing, solving, threads
from fuzzing.cases import Case

__all__ = ["KINDS", "SHARES", "draw_cases"]

KINDS: dict[str, Callable[[int], Case]] = {
    "solve": solving.solve_case,
    "torch": partial(solving.solve_case, torch=True),
    "prepare": solving.prepare_case,
    "precondition": solving.precondition_case,
    "refuse": refusing.refused_case,
    "eigsh": eigenpairs.eigsh_case,
    "funm": functions.funm_case,
    "matrix_function": functions.matrix_function_case,
    "matfun": functions.matfun_case,
    "polar": dense.polar_case,
    "root": dense.root_case,
    "rational": dense.rational_case,
    "read": files.read_case,
    "json": files.json_case,
    "weights": files.weights_case,
    "threads": threads.threads_case,
}

# of a hundred; what is slow has little
SHARES = {
    "solve": 40.0, "torch": 2.0, "prepare": 7.0, "precondition": 5.0, "refuse": 6.0, "eigsh": 12.0, "funm": 7.0,
    "matrix_function": 0.4, "matfun": 3.0, "polar": 3.0, "root": 2.0, "rational": 0.3, "read": 8.0, "json": 3.0,
    "weights": 1.0, "threads": 0.3,
}  # fmt: skip


def draw_cases(count: int, seed: int, kinds: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """(kind, seed) of a run: each case is a function of these two alone."""
    names = kinds or tuple(SHARES)
    shares = np.array([SHARES[name] for name in names], dtype=float)
    drawn = np.random.default_rng(seed).choice(len(names), size=count, p=shares / shares.sum())
    for index, which in enumerate(drawn):
        yield names[which], seed * 10_000_000 + index
