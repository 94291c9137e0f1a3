"""The table of tasks: complete, resolvable, kept by the models, and the only place that tells them apart."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import nnla
from nnla.errors import OptionError
from nnla.evaluation.cards import card_text
from nnla.tasks import FAMILIES, TASKS, Task, check_engine, engine_for, resolve, task_of

PACKAGE = Path(nnla.__file__).parent
KNOWN = {key: task for key, task in TASKS.items() if task.card is not None}


@pytest.mark.parametrize("key", sorted(KNOWN))
def test_every_place_of_a_task_is_there(key):
    task = TASKS[key]
    for dotted in (task.evaluate, task.check, task.card, task.show):
        assert dotted is None or resolve(dotted) is not None
    assert (task.evaluate is None) == (task.families == ())
    for name in task.asked_by:
        assert callable(resolve(":".join(name.rsplit(".", 1))))


@pytest.mark.parametrize("name", sorted(nnla.weights()))
def test_shipped_models_offer_what_their_task_asks(name):
    model = nnla.load(name)
    task = task_of(model)
    for member, wanted in inspect.getmembers(task.answer, inspect.isfunction):
        if member.startswith("_") or (member == "propose" and not model.subspace):
            continue
        given = inspect.signature(getattr(type(model), member)).parameters
        assert set(inspect.signature(wanted).parameters) - {"geometry"} <= set(given), member
    assert all(inspect.getattr_static(model, member, None) is not None for member in ("name", "card", "degree"))
    assert task.method is None or nnla.load(task.weights).task == model.task


def test_methods_get_their_engines():
    for task in KNOWN.values():
        if task.method is not None:
            assert task_of(engine_for(None, task.field, task.method)) is task
            assert task_of(engine_for(task.weights, task.field, task.method)) is task
    assert engine_for(None, "linear systems", "auto") is nnla.load("autospec-cg")
    engine = nnla.load("autospec-eig")
    with pytest.raises(OptionError, match="for eigenproblems, not for linear systems"):
        check_engine(engine, "linear systems", "autospec")
    with pytest.raises(OptionError, match="use method='autospec'"):
        check_engine(engine, "eigenproblems", "autospec-paper")
    with pytest.raises(OptionError, match="no method"):
        check_engine(nnla.load("autospec-funm-paper"), "matrix functions", "autospec")
    for thing in (object(), 3, None):
        with pytest.raises(OptionError, match="task"):
            task_of(thing)


def test_tasks_to_come_say_so(monkeypatch):
    class Solver:
        name, task, card, degree = "s", "to come", {}, None

    monkeypatch.setitem(TASKS, "to come", Task(object, "things to come", ()))
    for ask in (nnla.checks.check_model, nnla.evaluate.evaluate_model):
        with pytest.raises(OptionError, match="things to come"):
            ask(Solver())
    assert set(FAMILIES) == {"suite", "spectra", "frames", "bvp", "spd", "matrices", "systems"}


def test_no_file_tells_models_apart_by_class_or_attribute():
    asks = re.compile(r"(isinstance|hasattr)\((engine|model|network|learned|trained)\b(?!, \(?(str|os\.PathLike))")
    for path in PACKAGE.rglob("*.py"):
        if path.parts[-2] != "training":
            assert not asks.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("name", sorted(nnla.weights()))
def test_cards_are_those_of_the_registry(name):
    """Whoever ships a model, or changes what cards say, writes them: ``python reproduce/ship_weights.py --cards``."""
    folder, entry = Path(__file__).parents[1] / "docs" / "models", nnla.weights()[name]
    size = (PACKAGE / "weights" / entry["file"]).stat().st_size
    section, picture = resolve(task_of(nnla.load(name)).card or ""), (folder / f"{name}.png").exists()
    assert card_text(name, entry, size, section, picture=picture) == (folder / f"{name}.md").read_text(encoding="utf-8")
