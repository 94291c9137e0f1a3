"""Batches: which process takes which, made ahead without a trace, moved as a whole."""

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nnla.training.batches import as_tensors, own_batches, prefetched

torch = pytest.importorskip("torch")


def test_every_batch_belongs_to_one_process():
    for world in (1, 2, 3, 6):
        taken = [n for step in range(3) for rank in range(world) for n in own_batches(step, 6, rank, world)]
        assert sorted(taken) == list(range(18))


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_order_and_end(ahead):
    assert list(prefetched(lambda n: -n, range(4), ahead)) == [0, -1, -2, -3]
    assert list(prefetched(lambda n: n, (), ahead)) == []


def test_no_more_is_begun_than_asked_for():
    begun = []
    stream = prefetched(begun.append, iter(range(100)), 2)
    next(stream)
    next(stream)
    stream.close()
    assert begun in ([0, 1], [0, 1, 2], [0, 1, 2, 3])
    assert not [t for t in threading.enumerate() if t.name.startswith("nnla-batches")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_errors_come_in_their_turn(error):
    def make(n):
        if n == 2:
            raise error("two")
        return n

    stream = prefetched(make, range(9), 4)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(error, match="two"):
        next(stream)
    assert not [t for t in threading.enumerate() if t.name.startswith("nnla-batches")]


def test_batches_are_made_while_others_are_used():
    made = threading.Event()

    def make(n):
        if n == 1:
            made.set()
        return n

    stream = prefetched(make, range(3), 1)
    next(stream)
    assert made.wait(10)  # batch 1, though nobody has asked for it
    stream.close()


def test_a_slow_batch_is_waited_for():
    stream = prefetched(lambda n: time.sleep(0.05) or n, range(3), 2)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("nnla-batches")]


@dataclass(frozen=True)
class Pair:
    x: Any
    names: tuple[str, ...]


def test_a_nested_batch_is_moved_as_a_whole():
    sparse = torch.eye(2, dtype=torch.float32).to_sparse()
    batch = {
        "a": (np.zeros((2, 3), np.float32), [np.arange(3), None]),
        "b": Pair(np.asfortranarray(np.ones((2, 2))), ("u", "v")),
        "c": sparse,
        "d": 7,
        "e": np.float64(2.0),
    }
    moved = as_tensors(batch, dtype=torch.float64)
    assert moved["a"][0].dtype == torch.float64
    assert moved["a"][1][0].dtype == torch.int64
    assert moved["a"][1][1] is None
    assert isinstance(moved["b"], Pair)
    assert moved["b"].names == ("u", "v")
    assert moved["b"].x.is_contiguous()
    assert moved["c"].dtype == torch.float64
    assert (moved["d"], moved["e"]) == (7, 2.0)
    assert as_tensors(batch, "meta")["b"].x.device.type == "meta"
    assert as_tensors(batch)["a"][0].dtype == torch.float32


def test_arrays_that_must_not_be_written_to_are_copied():
    x = np.arange(4.0)
    x.flags.writeable = False
    tensor = as_tensors(x[::-1])
    tensor += 1
    np.testing.assert_array_equal(x, np.arange(4.0))
    np.testing.assert_array_equal(tensor.numpy(), [4.0, 3.0, 2.0, 1.0])
    assert as_tensors(np.array(3.0)).shape == ()
