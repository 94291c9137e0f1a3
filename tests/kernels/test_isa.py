"""Code compiled for one instruction set is reached only by the choice that asks the processor first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"


@pytest.mark.parametrize("name", ["avx2", "avx512"])
def test_only_the_choice_calls_into_an_instruction_set(name):
    # A comparison of addresses in panel.cpp once ran an AVX-512 constructor on processors without AVX-512.
    if not NATIVE.is_dir():
        pytest.skip("the C++ sources are not here")
    calls = {
        path.name for path in NATIVE.glob("*.[ch]pp") if re.search(rf"(?<!& ){name}_kernels\(\)", path.read_text())
    }
    assert calls == {"isa.cpp"}
