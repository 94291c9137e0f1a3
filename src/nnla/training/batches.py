"""Batches on their way to the network: which ones a step takes, made ahead in a thread, moved to a device."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

__all__ = ["as_tensors", "own_batches", "prefetched"]

T = TypeVar("T")


def own_batches(step: int, accumulate: int, rank: int = 0, world: int = 1) -> range:
    """Numbers of the batches of a step that fall to process ``rank`` of ``world``.

    Parameters
    ----------
    step : from 0
    accumulate : batches per step, of all processes together
    rank, world : number of this process, and how many there are

    Examples
    --------
    >>> list(own_batches(10, 4)), list(own_batches(10, 4, rank=1, world=2))
    ([40, 41, 42, 43], [41, 43])
    """
    return range(step * accumulate + rank, (step + 1) * accumulate, world)


def prefetched(make: Callable[[int], T], numbers: Iterable[int], ahead: int) -> Generator[T, None, None]:
    """``make(number)`` for every number in turn, up to ``ahead`` of them begun before they are asked for.

    Parameters
    ----------
    make : called in one thread beside the caller's (in the caller's where ``ahead`` is 0), in order, one at a time
    numbers : may be without end
    ahead : 0 or more

    Raises
    ------
    BaseException
        Whatever ``make`` raised, `KeyboardInterrupt` included, when the value that it did not make is asked for.

    Notes
    -----
    Close the iterator when it is left before its end: that cancels what has not begun and waits for what has.

    Examples
    --------
    >>> list(prefetched(lambda n: n * n, range(4), ahead=2))
    [0, 1, 4, 9]
    """
    if ahead == 0:
        yield from map(make, numbers)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="nnla-batches")
    pending: deque[Future[T]] = deque()
    try:
        for number in numbers:
            pending.append(pool.submit(make, number))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def as_tensors(batch: Any, device: Any = "cpu", dtype: Any = None) -> Any:
    """A batch with its arrays and tensors on a device.

    Parameters
    ----------
    batch : NumPy array, tensor (sparse ones too), or a tuple, list, dict or dataclass of such, nested as one likes;
        whatever else it holds is handed on as it is
    device : as torch has it
    dtype : torch dtype of all floating-point tensors; None leaves theirs

    Examples
    --------
    >>> batch = as_tensors({"x": np.zeros(2, dtype=np.float32), "n": 3})
    >>> batch["x"], batch["n"]
    (tensor([0., 0.]), 3)
    """
    import torch

    if isinstance(batch, np.ndarray):
        batch = torch.from_numpy(np.require(batch, requirements=["C", "W"]))
    if isinstance(batch, torch.Tensor):
        return batch.to(device=device, dtype=dtype if batch.is_floating_point() else None)
    if isinstance(batch, dict):
        return {key: as_tensors(value, device, dtype) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)([as_tensors(value, device, dtype) for value in batch])
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {
            f.name: as_tensors(getattr(batch, f.name), device, dtype) for f in dataclasses.fields(batch) if f.init
        }
        return dataclasses.replace(batch, **fields)
    return batch
