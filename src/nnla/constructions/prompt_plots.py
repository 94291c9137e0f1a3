"""A picture of a program's prompt: which rows hold what, before and after its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnla.constructions.program import Program
from nnla.errors import MissingDependencyError, OptionError

__all__ = ["prompt_figure"]

_COLOURS = {  # of a role, as red, green, blue
    "input": (0.18, 0.44, 0.64),
    "state": (0.80, 0.42, 0.10),
    "output": (0.24, 0.54, 0.27),
    "work": (0.55, 0.27, 0.62),
    "positions": (0.35, 0.35, 0.35),
}


def prompt_figure(program: Program, loops: Sequence[int] = (), *, title: str | None = None, **values: Any) -> Any:
    """Prompts as coloured matrices: as they come in, after ``pre``, within the first loop, and after loops.

    Parameters
    ----------
    program
    loops : counts after which the prompt is drawn too, rising
    title : str
    **values : inputs of one system, as for `Program.run`

    Returns
    -------
    matplotlib Figure : colours say what a block is, their depth how large an entry is beside the block's largest

    Raises
    ------
    MissingDependencyError : Matplotlib is not installed
    OptionError : a batch; loops that fall or are none of this program

    Examples
    --------
    >>> from nnla.constructions import operation
    >>> figure = prompt_figure(operation("AtB", 3), A=np.eye(3), B=np.ones((3, 3)))
    >>> [axes.get_title() for axes in figure.axes]
    ['input', 'after pre']
    """
    counts = list(loops)
    good = all(isinstance(k, (int, np.integer)) and k > 0 for k in counts) and counts == sorted(set(counts))
    if not good or (counts and not program.stacks["loop"]):
        raise OptionError(f"loops={loops!r}: give rising counts from 1 on, of a program that has a loop")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("a picture needs Matplotlib; install it with: pip install 'nnla[plot]'") from error
    P, _ = program.encode(**values)
    if P.ndim != 2:
        raise OptionError(f"a batch of {P.shape[:-2]} systems; give one")
    panels = [("input", P)]
    if program.stacks["pre"]:
        P = _through(program, "pre", P)
        panels.append(("after pre", P))
    if counts:
        panels.append(("loop 1, attention", program.stacks["loop"][0].attention(P).prompt))
    done = 0
    for count in counts:
        for _ in range(done, count):
            P = _through(program, "loop", P)
        done = count
        panels.append((f"after {count} loop{'s' if count > 1 else ''}", P))
    rows, columns = P.shape
    height = min(0.115 * rows + 1.2, 16.0)
    width = max(0.115 * columns, 1.2) * min(1.0, height / (0.115 * rows + 1.2))
    figure = Figure(figsize=(1.9 + (width + 0.35) * len(panels) + 0.8, height), layout="constrained")
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    for i, (axes, (name, prompt)) in enumerate(zip(places, panels, strict=True)):
        axes.imshow(_coloured(program, prompt), interpolation="nearest", aspect="equal")
        axes.set_title(name, fontsize=9)
        for block in program.layout.blocks[1:]:
            axes.axhline(block.start - 0.5, color="0.2", linewidth=0.6)
        if program.layout.positions:
            axes.axvline(0.5, color="0.2", linewidth=0.6, linestyle=":")
        middles = [block.start + (block.rows - 1) / 2 for block in program.layout]
        labels = [f"{block.name}  ({block.rows})" for block in program.layout]
        axes.set_yticks(middles, labels if i == 0 else [""] * len(labels), fontsize=8)
        for text, block in zip(axes.get_yticklabels(), program.layout, strict=True):
            text.set_color(_COLOURS[block.role])
        ends = [0, columns - 1]
        axes.set_xticks(ends, ["sink" if program.layout.positions else "1", "last"], fontsize=7)
        axes.tick_params(length=0)
    handles = [_patch(colour, role) for role, colour in _COLOURS.items() if any(b.role == role for b in program.layout)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7, frameon=False)
    figure.suptitle(title if title is not None else str(program), fontsize=9)
    return figure


def _through(program: Program, stack: str, P: np.ndarray) -> np.ndarray:
    for layer in program.stacks[stack]:
        P = layer(P)
    return P


def _coloured(program: Program, P: np.ndarray) -> np.ndarray:
    """(rows, columns, 3): white where there is nothing."""
    picture = np.ones((*P.shape, 3))
    for block in program.layout:
        part = np.abs(P[block.slice].astype(float))
        largest = part.max(initial=0.0)
        if largest > 0:
            depth = np.where(part > 1e-12 * largest, 0.15 + 0.85 * np.sqrt(part / largest), 0.0)[..., None]
            picture[block.slice] = 1 - depth * (1 - np.array(_COLOURS[block.role]))
    return picture


def _patch(colour: tuple[float, float, float], label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
