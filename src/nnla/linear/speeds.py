"""How fast this machine is beside the one that costs were learned on: a factor for each kind of kernel.

Without a calibration every factor is 1. `nnla doctor --calibrate` measures them and keeps them in the user's cache
folder; what solves really took corrects them in the process, by medians and within bounds.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from nnla._files import parsed_object, write_atomic

__all__ = ["KERNELS", "REFERENCE", "Machine", "Speeds", "cache_file", "read_speeds", "write_speeds"]

KERNELS = ("product", "order", "factor", "substitution", "ic", "amg", "polynomial")
_NUMPY = (3.0, 2.4, 8.0, 3.0, 10.0, 4.0, 2.5)  # without the native kernels (selection_constants.py, NNLA_NATIVE=0)
_UNKNOWN, _CALIBRATED = 0.5, 0.15  # standard deviations of the logarithm of a factor
_RECENT, _PRIOR = 15, 5  # solves whose median counts, and as many as what was known before stands for
_MOST = math.log(4.0)  # of a correction, either way


@dataclass(frozen=True, eq=False)
class Speeds:
    """Seconds by those of the reference machine, for each of `KERNELS`.

    Attributes
    ----------
    factors : kernel -> factor
    spread : standard deviation of the logarithm of what all of them may be wrong by together

    Examples
    --------
    >>> Speeds().of("factor"), Speeds({"factor": 2.0}).of("factor")
    (0.0, 0.6931471805599453)
    """

    factors: dict[str, float] = field(default_factory=dict[str, float])
    spread: float = 0.0

    def of(self, kernel: str) -> float:
        """Logarithm of the factor of one kernel."""
        factor = self.factors.get(kernel)
        return 0.0 if factor is None else math.log(factor)


REFERENCE = Speeds()  # the machine of the data itself, which no clock has a say in
NUMPY = Speeds(dict(zip(KERNELS, _NUMPY, strict=True)))


class Machine:
    """The speeds of this machine as far as this process knows them; safe to use from several threads.

    Parameters
    ----------
    path : of a calibration, read when it is first asked for; None for none

    Examples
    --------
    >>> machine = Machine(None)
    >>> for _ in range(200):
    ...     machine.learn("factor", measured=2.0, predicted=machine.speeds().factors["factor"])
    >>> round(machine.speeds().factors["factor"], 1)
    2.0
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._calibrated: Speeds | None = None
        self._corrections: dict[str, float] = {}
        self._gaps: dict[str, deque[float]] = {kernel: deque(maxlen=_RECENT) for kernel in KERNELS}
        self._solves: dict[str, int] = dict.fromkeys(KERNELS, 0)
        self._now: Speeds | None = None

    def speeds(self, *, native: bool = True) -> Speeds:
        """What is known now: the calibration, corrected.

        Cost: the first time, a small file is read; then nothing, unless a solve has corrected it.
        """
        with self._lock:
            if self._now is None:
                if self._calibrated is None:
                    self._calibrated = read_speeds(self._path) or Speeds(spread=_UNKNOWN)
                base = self._calibrated
                factors = {k: math.exp(base.of(k) + self._corrections.get(k, 0.0)) for k in KERNELS}
                self._now = Speeds(factors, base.spread)
            now = self._now
        return now if native else Speeds({k: now.factors[k] * NUMPY.factors[k] for k in KERNELS}, now.spread)

    def learn(self, kernel: str, *, measured: float, predicted: float) -> None:
        """Take note of the seconds that a kernel took, and of those predicted by `speeds`.

        The median of the newest logarithms of their ratios, as a clock on a busy machine is far off now and then, drawn
        towards what was known before while they are few; within a factor of four either way.
        """
        if not (0.0 < measured < math.inf and 0.0 < predicted < math.inf):
            return
        gap = math.log(measured / predicted)
        with self._lock:
            self._gaps[kernel].append(gap + self._corrections.get(kernel, 0.0))
            self._solves[kernel] += 1
            weight = self._solves[kernel] / (self._solves[kernel] + _PRIOR)
            self._corrections[kernel] = weight * min(max(median(self._gaps[kernel]), -_MOST), _MOST)
            self._now = None

    def forget(self) -> None:
        """Drop the corrections, and read the calibration anew."""
        with self._lock:
            self._calibrated, self._corrections, self._now = None, {}, None
            for kernel in KERNELS:
                self._gaps[kernel].clear()
                self._solves[kernel] = 0


def cache_file() -> Path | None:
    """Where a calibration is kept: $NNLA_CACHE, else $XDG_CACHE_HOME/nnla, else ~/.cache/nnla; None without a home."""
    chosen = os.environ.get("NNLA_CACHE")
    if chosen:
        return Path(chosen) / "speeds.json"
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "nnla" / "speeds.json"
    except RuntimeError:  # no home folder
        return None


def read_speeds(path: Path | None) -> Speeds | None:
    """A calibration, or None where there is none that can be read: it is a help and no more."""
    try:
        found: Any = None if path is None else parsed_object(path.read_bytes())["factors"]
        factors = {name: float(found[name]) for name in KERNELS if name in found}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if "product" not in factors or not all(0.01 < factor < 100.0 for factor in factors.values()):
        return None
    return Speeds(factors, _CALIBRATED)


def write_speeds(path: Path, factors: dict[str, float], seconds: dict[str, float]) -> None:
    """Keep a calibration, with the seconds that it is from; the file is the old one or the new one, never half of it.

    Raises
    ------
    OSError
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"factors": factors, "seconds": seconds}, indent=1)
    write_atomic(path, text.encode())


THIS_MACHINE = Machine(cache_file())
