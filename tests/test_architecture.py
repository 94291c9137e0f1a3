"""Imports point one way: between files, between folders, and away from the root's foundations."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import nnla
from nnla._moved import MOVED

PACKAGE = Path(nnla.__file__).parent
# What everyone stands on. Nothing else lies at the root, and nothing here imports a folder when it is imported.
ROOT = {"__init__", "__main__", "_files", "_lazy", "_moved", "errors", "registry", "report", "tasks", "types"}


# The script that draws docs/architecture.png reads the imports.
MAP = runpy.run_path(str(Path(__file__).parents[1] / "reproduce" / "architecture.py"))
room, rooms = MAP["room"], MAP["room_graph"]
GRAPH: dict[str, set[str]] = MAP["file_graph"](PACKAGE)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Some circle of the graph, or []."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> list[str]:
        state[node] = 1
        path.append(node)
        for target in sorted(graph.get(node, ())):
            if state.get(target) == 1:
                return path[path.index(target) :]
            if target not in state and (found := visit(target)):
                return found
        path.pop()
        state[node] = 2
        return []

    for node in sorted(graph):
        if node not in state and (found := visit(node)):
            return found
    return []


def test_the_search_finds_a_circle():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_circle_between_files():
    assert circle(GRAPH) == []


def test_no_circle_between_folders():
    assert circle(rooms(GRAPH)) == []


def test_only_the_foundations_lie_at_the_root():
    assert {path.stem for path in PACKAGE.glob("*.py")} <= ROOT


def test_the_foundations_import_nothing_above_them():
    for name in ROOT - {"__init__", "__main__"}:
        above = {t for t in GRAPH.get(f"nnla.{name}", set()) if room(t).removeprefix("nnla.") not in ROOT}
        assert not above, f"nnla.{name} imports {above}"


def test_the_spine_imports_no_paper():
    """A paper's model is found by the registry; only its own training, and studies of the papers, import it."""
    allowed = {"nnla.models", "nnla.training", "nnla.analysis"}
    users = {name for name, targets in GRAPH.items() if any(room(t) == "nnla.models" for t in targets)}
    assert {room(name) for name in users} <= allowed


# Each old path is imported first in a process of its own, forked from one that knows NumPy and SciPy alone.
OLD_PATHS = """
import importlib, json, os, sys
import numpy, scipy.linalg, scipy.sparse.linalg
import nnla
for old, new in json.load(sys.stdin).items():
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            a, b = importlib.import_module(old), importlib.import_module(new)
            code = 0 if a is b and a.__name__ == new else 1
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        print(old)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_old_import_paths_are_the_same_modules():
    done = subprocess.run(
        [sys.executable, "-c", OLD_PATHS], input=json.dumps(MOVED), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    wrong = json.dumps({"nnla.options": "nnla.errors", "nnla.nowhere": "nnla.errors"})
    done = subprocess.run([sys.executable, "-c", OLD_PATHS], input=wrong, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nnla.options", "nnla.nowhere"]


def test_modules_that_became_packages_keep_their_names():
    from nnla.evaluate import compare, evaluate_model

    from nnla.guesses import Guess, initial_guess
    from nnla.krylov import CGResult, conjugate_gradients, lanczos_from_cg
    from nnla.operators import Operator, as_operator

    assert all((compare, evaluate_model, Guess, initial_guess, CGResult, conjugate_gradients, lanczos_from_cg))
    assert isinstance(as_operator([[1.0]]), Operator)
