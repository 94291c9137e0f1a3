"""`method="auto"` of `nnla.eigsh`: the cheapest way to the wanted eigenpairs, by predicted seconds."""

from __future__ import annotations

from typing import Any

from nnla.costs import Costs
from nnla.eigen.job import Job
from nnla.operators import Operator

__all__ = ["choose_method"]


def choose_method(op: Operator, job: Job) -> tuple[str, str, dict[str, float], int]:
    raise NotImplementedError
