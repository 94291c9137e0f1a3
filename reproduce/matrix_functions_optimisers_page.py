"""The page and the picture of `matrix_functions_optimisers.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write(result: dict[str, Any], folder: Path) -> None:
    (folder / "matrix_functions_optimisers.md").write_text("x\n")
