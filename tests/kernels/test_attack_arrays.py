"""Every bound function against arrays of every wrong kind: a typed error, or the right work on a safe object; no crash.

`tests/sanitized/exercise.py` runs `attack` on a build with sanitizers, too.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from nnla.errors import ShapeError
from nnla.kernels import native

_ATTACK = runpy.run_path(str(Path(__file__).parents[1] / "sanitized" / "attack.py"))
ATTACKS, attack, victims = _ATTACK["ATTACKS"], _ATTACK["attack"], _ATTACK["victims"]

pytestmark = pytest.mark.usefixtures("native_kernels")


def test_every_function_with_arrays_is_attacked():
    attacked = {victim.name for victim in victims(native)}
    without_arrays = {"Preconditioner", "isa", "make_multigrid", "max_threads", "set_deadline", "set_threads"}
    classes = {"IncompleteCholesky", "Multigrid", "ConjugateGradients", "Product"}  # by their methods
    bound = {name for name in dir(native) if not name.startswith("_") and callable(getattr(native, name))}
    assert bound - without_arrays - classes <= {name.split(".")[0] for name in attacked}
    for name in classes:
        assert any(one.startswith(f"{name}.") for one in attacked)


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_end_in_typed_errors(kind):
    refused = attack(native, kind)
    assert refused > 0


def test_errors_of_the_native_module_are_ours():
    with pytest.raises(ShapeError, match="out of range"):
        native.level_structure(np.array([0, 1], np.int32), np.array([7], np.int32))
    with pytest.raises(ShapeError, match="decrease"):
        native.level_structure(np.array([0, 2, 1], np.int32), np.array([0, 1], np.int32))
    with pytest.raises(ShapeError, match="ascend"):
        native.Matrix64(np.array([0, 2, 2], np.int32), np.array([1, 0], np.int32), np.ones(2), None)


def test_descents_at_the_start_of_rows_are_allowed():
    indptr, indices = np.array([0, 2, 2, 3, 5], np.int32), np.array([1, 3, 0, 0, 2], np.int32)
    assert native.Matrix64(indptr, indices, np.ones(5), None).n == 4
    for k in (1, 4):
        wrong = indices.copy()
        wrong[k] = wrong[k - 1]
        with pytest.raises(ShapeError):
            native.Matrix64(indptr, wrong, np.ones(5), None)
