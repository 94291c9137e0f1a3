"""Fingerprints of arrays: what an array is known again by."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["fingerprint"]


def fingerprint(array: np.ndarray) -> int:
    """A number that equal arrays share."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
