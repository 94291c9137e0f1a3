"""A new paper's model: trained, shipped, loaded, evaluated, checked and used, and no file of nnla knows of it.

The model, its training task and its recipe are the three texts below, put where a paper's files go: into
`nnla.models`, `nnla.training` and a TOML file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import nnla
import nnla.models
import nnla.training
from nnla import registry
from nnla.cli import cli
from nnla.errors import WeightsError

MODEL = '''
"""A toy: the ratio a / b of the Chebyshev interval as a power of what the probe saw, and of the degree."""

from dataclasses import dataclass

import numpy as np

from nnla.models.engine_base import EngineBase


@dataclass(frozen=True)
class ToyConfig:
    features: int = 3

    def shapes(self):
        return {"weight": (self.features,), "bias": (1,)}


@dataclass(frozen=True)
class ToyChoice:
    a: float
    b: float
    predicted_iterations: float
    inside: bool = True
    reason: str = ""


def toy_features(probe, degree, rtol):
    seen = max(probe.lambda_min, 1e-12 * probe.upper_bound) / probe.upper_bound
    return np.array([np.log(seen), np.log(degree + 1), np.log(probe.steps)])


def toy_forward(parameters, x):
    return x @ parameters["weight"] + parameters["bias"]


class Toy(EngineBase):
    """Chooses the interval of a polynomial preconditioner by a power law."""

    name = "toy"
    task = "intervals"
    config_type = ToyConfig

    def choose(self, probe, *, degree=11, rtol=1e-8):
        log_ratio = float(toy_forward(self.parameters, toy_features(probe, degree, rtol)[None])[0])
        a = float(np.clip(np.exp(log_ratio), 1e-10, 0.5)) * probe.upper_bound
        return ToyChoice(a, probe.upper_bound, 0.5 * np.log(2 / rtol) * (probe.upper_bound / a) ** 0.5 / (degree + 1))
'''

TASK = '''
"""Training of the toy: virtual spectra, the ratio that a rule would take."""

import numpy as np

from nnla.models.toy import Toy, ToyConfig, toy_features, toy_forward
from nnla.polynomials.intervals import rule_interval
from nnla.problems.spectra import sample_spectrum
from nnla.spectra.simulated_cg import simulate_probe
from nnla.types import SpectralProbe


class ToyTask:
    def __init__(self, recipe):
        self.recipe = recipe
        self.config = ToyConfig(**recipe["model"])

    def prepare(self, folder, progress):
        x, y = [], []
        for index in range(self.recipe["data"]["spectra"]):
            s = sample_spectrum(np.random.default_rng([self.recipe["seed"], index]), nodes=300)
            alpha, beta, users = simulate_probe(s.lam, s.weight, s.measure, 40)
            probe = SpectralProbe(alpha, beta, s.n, reductions=users)
            degree = 4 + index % 20
            a, b = rule_interval(probe, degree)
            x.append(toy_features(probe, degree, 1e-8))
            y.append(np.log(a / b))
        self.x, self.y = np.array(x), np.array(y)

    def network(self):
        import torch

        network = torch.nn.Module()
        for key, shape in self.config.shapes().items():
            network.register_parameter(key, torch.nn.Parameter(torch.zeros(shape)))
        return network

    def batch(self, step):
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.y), size=self.recipe["optim"]["batch"])
        return {key: v[index].astype(np.float32) for key, v in (("x", self.x), ("y", self.y))}

    def loss(self, network, batch):
        import torch

        if isinstance(batch, int):  # a loop that does not make the batch itself
            batch = {key: torch.from_numpy(value) for key, value in self.batch(batch).items()}
        out = toy_forward(dict(network.named_parameters()), batch["x"])
        return {"loss": (out - batch["y"]).square().mean()}

    def validate(self, network):
        out = toy_forward(self._arrays(network), self.x)
        return {"error": float(np.abs(out - self.y).mean())}

    def export(self, network, path, card):
        Toy(self.config, self._arrays(network), card | {"envelope": {"degree": [4, 23]}}).save(path)

    def _arrays(self, network):
        return {key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}
'''

RECIPE = """
name = "toy-power"
task = "nnla.training.toy:ToyTask"
purpose = "chooses an interval by a power law, for a test"
seed = 3
threads = 1

[data]
spectra = 40

[model]
features = 3

[optim]
steps = 150
batch = 16
lr = 0.1
warmup = 0.05
weight_decay = 0.0
clip = 10.0
log_every = 50
checkpoint_every = 150
"""


def sources() -> str:
    """Fingerprint of every file of the package."""
    files = sorted(p for p in Path(nnla.__file__).parent.rglob("*") if p.is_file() and p.suffix != ".pyc")
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """The folder of a paper's files, and an empty folder of shipped weights in place of the real one."""
    for package, text in ((nnla.models, MODEL), (nnla.training, TASK)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "toy.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    (tmp_path / "toy.toml").write_text(RECIPE)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "registry.json").write_text("{}")
    before = sources()
    monkeypatch.setattr(registry, "_FOLDER", tmp_path / "weights")
    clear()
    yield tmp_path
    clear()
    for name in ("nnla.models.toy", "nnla.training.toy"):
        sys.modules.pop(name, None)
    assert sources() == before


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def clear():
    registry._names.cache_clear()
    registry._shipped.cache_clear()


def test_a_toy_paper_touches_no_file_of_the_spine(paper):
    pytest.importorskip("torch")
    from nnla.evaluation.shipping import ship

    # train
    done = run("train", paper / "toy.toml", "--out", paper / "run")
    assert done.exit_code == 0, done.output
    trained = paper / "run" / "toy-power.safetensors"
    engine = nnla.load(trained)
    assert repr(engine) == "Toy('toy-power', 4 numbers)"
    assert engine.card["validation"]["error"] < 0.5

    # ship
    entry = ship(trained, paper / "weights", paper / "cards", count=4, quick=True, command="a test")
    assert entry["reader"] == "nnla.models.toy:Toy"
    card = (paper / "cards" / "toy-power.md").read_text()
    assert "chooses an interval by a power law, for a test" in card
    assert entry["sha256"] in card
    assert "| degree | 4 to 23 |" in card
    assert "*4 held-out virtual spectra*" in card

    # load, by name and verified
    clear()
    assert list(nnla.weights()) == ["toy-power"]
    assert nnla.load("toy-power") is nnla.load("toy-power")
    assert "toy-power" in run("weights").stdout
    data = bytearray((paper / "weights" / "toy-power.safetensors").read_bytes())

    # evaluate and check
    done = run("eval", "toy-power", "--on", "spectra", "--count", 4, "--json")
    assert done.exit_code in (0, 1), done.output
    assert json.loads(done.stdout)["method"] == "autospec"
    assert nnla.checks.check_model(nnla.load("toy-power"), trials=3) == []

    # use
    A = nnla.problems.poisson2d(40)
    b = np.random.default_rng(0).standard_normal(1600)
    for given in ("toy-power", nnla.load("toy-power")):
        x, report = nnla.solve(A, b, method="autospec", engine=given)
        assert report.converged
        assert report.weights == "toy-power"
        assert np.linalg.norm(b - A @ x) <= 1.001e-8 * np.linalg.norm(b)

    # an altered file is refused
    data[-1] ^= 1
    (paper / "weights" / "toy-power.safetensors").write_bytes(data)
    clear()
    with pytest.raises(WeightsError, match="checksum"):
        nnla.load("toy-power")


def test_without_the_paper_its_files_say_what_is_missing(paper, tmp_path):
    from nnla.models.toy import Toy, ToyConfig  # pyright: ignore[reportMissingImports]

    Toy(ToyConfig(), {"weight": np.zeros(3), "bias": np.zeros(1)}, {}).save(tmp_path / "t.safetensors")
    assert nnla.load(tmp_path / "t.safetensors").task == "intervals"
    del sys.modules["nnla.models.toy"]
    (paper / "nnla.models" / "toy.py").unlink()
    sys.path_importer_cache.clear()
    with pytest.raises(WeightsError, match=r"no 'nnla\.models\.toy:Toy'"):
        nnla.load(tmp_path / "t.safetensors")
