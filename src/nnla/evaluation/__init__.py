"""Methods on problems as a table, what engines and guesses reach, conformance checks, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnla._lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DEFAULT_METHODS": "nnla.evaluation.comparison",
        "FAMILIES": "nnla.evaluation.engines",
        "HEADER": "nnla.evaluation.comparison",
        "Row": "nnla.evaluation.comparison",
        "cells": "nnla.evaluation.comparison",
        "compare": "nnla.evaluation.comparison",
        "evaluate_model": "nnla.evaluation.engines",
        "table_markdown": "nnla.evaluation.comparison",
    },
)
__all__ = ["DEFAULT_METHODS", "FAMILIES", "HEADER", "Row", "cells", "compare", "evaluate_model", "table_markdown"]

if TYPE_CHECKING:
    from nnla.evaluation.comparison import DEFAULT_METHODS, HEADER, Row, cells, compare, table_markdown
    from nnla.evaluation.engines import FAMILIES, evaluate_model
