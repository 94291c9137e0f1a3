"""The picture of a prompt."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import conjugate_gradients, operation, prompt_figure
from nnla.errors import OptionError

pytest.importorskip("matplotlib")
A, b = np.diag([1.0, 2.0, 3.0]), np.ones(3)


def test_panels_blocks_and_colours():
    program = conjugate_gradients(3).compile()
    figure = prompt_figure(program, [1, 3], A=A, b=b)
    assert [axes.get_title() for axes in figure.axes] == [
        "input",
        "after pre",
        "loop 1, attention",
        "after 1 loop",
        "after 3 loops",
    ]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [f"{block.name}  ({block.rows})" for block in program.layout]
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (program.layout.rows, program.layout.columns, 3)
    assert (picture[program.layout["work1"].slice] == 1).all()  # working rows are empty, so white
    assert (picture[0, 1] < 1).any()
    during = figure.axes[2].images[0].get_array()
    assert (during[program.layout["work1"].slice, -1] < 1).any()  # there they hold A d


def test_a_program_without_attention_has_no_sink():
    figure = prompt_figure(operation("add", 3), a=b, b=b)
    assert figure.axes[0].get_xticklabels()[0].get_text() == "1"


def test_what_cannot_be_drawn_is_refused():
    program = operation("transpose", 3)
    with pytest.raises(OptionError, match="loops"):
        prompt_figure(program, [1], A=A)
    with pytest.raises(OptionError, match="batch"):
        prompt_figure(program, A=A[None])
    with pytest.raises(OptionError, match="loops"):
        prompt_figure(conjugate_gradients(3).compile(), [3, 1], A=A, b=b)
