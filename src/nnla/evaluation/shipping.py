"""Shipping a model: measured, copied beside the other weights, listed with its checksum, described by a card."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from nnla._files import write_atomic
from nnla.errors import OptionError
from nnla.evaluation.cards import card_text
from nnla.registry import load
from nnla.tasks import resolve, task_of

__all__ = ["ship", "write_card"]


def ship(
    file: str | os.PathLike[str],
    weights: Path,
    cards: Path,
    *,
    count: int | None = None,
    quick: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Put a trained model into a folder of weights, and its card into another.

    Parameters
    ----------
    file : written by ``nnla train``, in the folder of its run: the picture of the training is taken along
    weights : folder with a registry.json, which is made where there is none
    cards : folder for NAME.md and NAME.png
    count : problems to measure it on; None for as many as its task takes
    quick : whether small problems are enough
    command : that the card gives for the figures

    Returns
    -------
    dict : the entry in the registry

    Raises
    ------
    OptionError
        Nothing says how models of this task are described.

    Notes
    -----
    What is measured, and what the card says of it, is the task's (`nnla.tasks.TASKS`). What the model is for, in
    words, is in its recipe (``purpose``), or the first line of its class's docstring.
    """
    path = Path(file)
    model, data = load(path), path.read_bytes()
    dotted = task_of(model).card
    if dotted is None:
        raise OptionError(f"models for {task_of(model).field} have no card yet; name its section in nnla.tasks")
    section, name, card = resolve(dotted), model.title, dict(model.card)
    if figures := section.measure(model, count, quick):
        made = {"command": command, "date": time.strftime("%Y-%m-%d"), "hardware": platform.machine()}
        card["measured"] = made | figures
    listing_file = weights / "registry.json"
    listing: dict[str, dict[str, Any]] = {}
    if listing_file.exists():
        listing = json.loads(listing_file.read_text(encoding="utf-8"))
    purpose = inspect.getdoc(type(model)) or type(model).__name__
    known = listing.get(name, {}).get("purpose", purpose.partition("\n")[0].rstrip("."))
    entry: dict[str, Any] = {
        "file": f"{name}.safetensors",
        "sha256": hashlib.sha256(data).hexdigest(),
        "reader": f"{type(model).__module__}:{type(model).__qualname__}",
        "purpose": card.get("recipe", {}).get("purpose", known),
        "card": card,
    }
    weights.mkdir(parents=True, exist_ok=True)
    write_atomic(weights / entry["file"], data)
    listing[name] = entry
    write_atomic(listing_file, json.dumps(listing, indent=1, sort_keys=True).encode())
    cards.mkdir(parents=True, exist_ok=True)
    if (path.parent / "loss.png").exists():
        write_atomic(cards / f"{name}.png", (path.parent / "loss.png").read_bytes())
    write_card(name, json.loads(json.dumps(entry, sort_keys=True)), weights, cards)  # in the order of the registry
    return entry


def write_card(name: str, entry: dict[str, Any], weights: Path, cards: Path) -> None:
    """NAME.md of a model that is in a registry."""
    task = task_of(resolve(entry["reader"]))
    assert task.card is not None
    picture = (cards / f"{name}.png").exists()
    size = (weights / entry["file"]).stat().st_size
    write_atomic(cards / f"{name}.md", card_text(name, entry, size, resolve(task.card), picture=picture).encode())
