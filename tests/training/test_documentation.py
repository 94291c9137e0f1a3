"""The tasks that docs/training.md shows, as it shows them; and the first losses of shipped recipes, as they were."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnla.cli import cli
from nnla.registry import load, read_safetensors
from nnla.training.config import load_recipe
from nnla.training.loop import train

torch = pytest.importorskip("torch")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The page's code in files where Python finds them, and the command line."""
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    blocks = re.findall(r"```(python|toml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "python", "toml"]
    for name, (_, text) in zip(("family.py", "conditions.py", "conditions.toml"), blocks, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def run(*args):
        result = CliRunner().invoke(cli, ["train", *args])
        assert result.exit_code == 0, result.output
        return Path(result.stdout.strip())

    yield run
    torch.set_num_threads(threads)


def test_a_task_of_one_s_own(shown, tmp_path):
    path = shown("conditions.toml", "--set", "task=conditions:Conditions", "--out", "runs/c")
    tensors, metadata = read_safetensors(path, kind="conditions")
    assert tensors["0.weight"].shape == (16, 4)
    card = json.loads(metadata["card"])
    first = json.loads((tmp_path / "runs" / "c" / "log.jsonl").read_text().splitlines()[0])
    assert card["validation"]["error"] < 0.1 * first["loss"]


def test_an_engine_for_one_s_own_family(shown):
    small = ["data.spectra=2", "data.held_out=2", "optim.steps=2", "task=family:Plates", "name=plates"]
    path = shown("autospec-cg", *(part for item in small for part in ("--set", item)), "--out", "runs/plates")
    assert load(path).envelope["n"] == [400, 400]


# Losses of the first steps, from the code that trained the shipped weights.
COMMON = ["optim.log_every=1", "optim.steps=4"]
GOLDEN = {
    "autospec-funm-paper": (
        ["data.spectra=64", "data.probed=2", "data.probes=1", "data.held_out=2", "data.n_max=120", "data.steps_max=20"],
        ["optim.batch=16", "optim.pretrain=3"],
        [-0.5736143589019775, 0.018508300185203552, -0.5961552858352661, -0.663966178894043],
    ),
    "nsls-frames": (
        ["data.structures=6", "data.held_out=1", "data.sizes.small=0.0"],
        ["model.inner=8", "model.blocks=2", "optim.batch=4"],
        [1.6284270286560059, 1.89417564868927, 1.30916166305542, 1.8674300909042358],
    ),
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_first_losses_are_as_they_were(tmp_path, name):
    data, model, losses = GOLDEN[name]
    recipe = load_recipe(name, [*data, *model, *COMMON])
    if "sizes" in recipe["data"]:
        recipe["data"]["sizes"] = {"mini": 1.0}
    train(recipe, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-6, abs=1e-6)
