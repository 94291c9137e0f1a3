"""What the kernels should know of the machine they run on."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

__all__ = ["cache_sizes", "memory_limit"]

_SYSFS = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@cache
def cache_sizes(folder: Path = _SYSFS) -> dict[int, int]:
    """Level -> bytes of the data caches of one core, as Linux reports them; empty where nobody does.

    The last level is usually shared by several cores, and by other programs. Read once in a process.

    Examples
    --------
    >>> all(level in (1, 2, 3, 4) and size > 0 for level, size in cache_sizes().items())
    True
    """
    found: dict[int, int] = {}
    for entry in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((entry / name).read_text().strip() for name in ("type", "level", "size"))
            if kind != "Instruction":
                found[int(level)] = int(size.rstrip("KMG")) * _UNITS.get(size[-1:], 1)
        except (OSError, ValueError):  # containers hide some of it
            continue
    return {level: size for level, size in sorted(found.items()) if size > 0}


def memory_limit() -> float:
    """Half of the memory of this machine, in bytes."""
    try:
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not POSIX: the allocation itself will tell
        return float("inf")
