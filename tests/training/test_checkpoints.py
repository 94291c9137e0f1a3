"""Checkpoints give back every bit, whatever the dtype and the optimiser."""

import numpy as np
import pytest

from nnla.errors import WeightsError
from nnla.training.checkpoints import State, load_network, load_state, save_network, save_state

torch = pytest.importorskip("torch")


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    module = torch.nn.Module()
    for name, dtype in (("p16", torch.bfloat16), ("p32", torch.float32), ("p64", torch.float64)):
        module.register_parameter(name, torch.nn.Parameter(torch.randn(3, 2, generator=generator).to(dtype)))
    module.register_parameter("scalar", torch.nn.Parameter(torch.randn((), generator=generator)))
    module.register_buffer("count", torch.tensor(seed, dtype=torch.int64))
    module.register_buffer("mask", torch.tensor([seed > 0, False]))
    return module


def stepped(module, optimizer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        sum(((p.double() - step) ** 2).sum() for p in module.parameters()).backward()
        optimizer.step()


OPTIMIZERS = [
    lambda p: torch.optim.AdamW(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_every_bit_comes_back(tmp_path, make):
    first, second = network(1), network(2)
    state = State(first, make(first.parameters()), step=5, seconds=1.25, best=0.1)
    stepped(first, state.optimizer, 3)
    save_state(tmp_path / "c.safetensors", state)
    other = State(second, make(second.parameters()))
    load_state(tmp_path / "c.safetensors", other)
    assert (other.step, other.seconds, other.best) == (5, 1.25, 0.1)
    for _ in range(2):  # as they are, and after more steps
        for key, value in first.state_dict().items():
            assert second.state_dict()[key].dtype == value.dtype
            assert torch.equal(second.state_dict()[key], value)
        stepped(first, state.optimizer, 2)
        stepped(second, other.optimizer, 2)


def test_the_network_alone(tmp_path):
    first, second = network(1), network(2)
    save_network(tmp_path / "n.safetensors", first, 7)
    assert load_network(tmp_path / "n.safetensors", second) == 7
    assert all(torch.equal(second.state_dict()[key], value) for key, value in first.state_dict().items())
    with pytest.raises(WeightsError, match="does not fit"):
        load_network(tmp_path / "n.safetensors", torch.nn.Linear(2, 2))
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load_network(tmp_path / "x.safetensors", first)


def test_damaged_facts_are_named(tmp_path):
    from nnla.registry import read_safetensors, write_safetensors

    path = tmp_path / "c.safetensors"
    module = network(1)
    save_state(path, State(module, torch.optim.SGD(module.parameters(), lr=0.1)))
    tensors, facts = read_safetensors(path, kind="checkpoint")
    for key, value in (("packed", "{"), ("packed", '{"net.p16": ["magic", [2]]}'), ("numbers", "["), ("step", "x")):
        write_safetensors(path, tensors, facts | {key: value})
        with pytest.raises(WeightsError, match="does not fit"):
            load_state(path, State(module, torch.optim.SGD(module.parameters(), lr=0.1)))
    assert np.isfinite(float(facts["seconds"]))
