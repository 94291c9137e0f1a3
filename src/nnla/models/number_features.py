"""What the tokens of numbers have in common: smooth features of their values, which embeddings may be linear in.

What is learned of one number is then learned of its neighbours too, and a vocabulary of 30,000 numbers has no more
parameters than one of 10.
"""

from __future__ import annotations

import numpy as np

from nnla.models.matrix_tokens import MatrixTokens

__all__ = ["number_features"]

_LINEAR = 9  # octaves of waves over [-scale, scale]; the shortest is 1 / 256 of that long
_DECADES = 12  # octaves of waves in the logarithm, from 16 decades on


def number_features(text: MatrixTokens, scale: float) -> np.ndarray:
    """Features (V, F), float32, of all symbols of a language.

    Parameters
    ----------
    text : whose symbols they are
    scale : what numbers of one token (FP15) are taken by: about the entries' size

    Notes
    -----
    Waves in octaves, sine and cosine, in the value and in the logarithm of its size (there once for each sign): near
    numbers have near features, and far ones nearly orthogonal ones. Of encodings of several tokens each part has its
    own: mantissas as above, powers of ten and digits in the value alone, and those of digits, signs and symbols that
    are no numbers tell one from another.

    Examples
    --------
    >>> from nnla.models.matrix_tokens import NumberEncoding
    >>> x = number_features(MatrixTokens(NumberEncoding("B1999")), 1.0)
    >>> x = x / np.linalg.norm(x, axis=1, keepdims=True)
    >>> near, far = x[10 + 1500] @ x[10 + 1501], x[10 + 1500] @ x[10 + 1800]
    >>> bool(near > 0.9 > 0.6 > far)
    True
    """
    value, kind = text.values.T
    columns: list[np.ndarray] = []
    for part in range(int(kind.max()) + 1):
        mask = kind == part
        whole = text.encoding.name == "FP15" and part > 0
        parts = _single(value[mask]) if mask.sum() <= 12 else _waved(value[mask], scale if whole else 0.0)
        for column in parts:
            full = np.zeros(len(value))
            full[mask] = column
            columns.append(full)
    return np.stack(columns, 1).astype(np.float32)


def _single(v: np.ndarray) -> list[np.ndarray]:
    """One feature for each of a few symbols."""
    return list(np.eye(len(v)))


def _waved(v: np.ndarray, scale: float) -> list[np.ndarray]:
    """Features of many numbers; powers of ten, of which there are at most 201, have no logarithm."""
    u = np.clip(v / (scale or np.abs(v).max()), -1.0, 1.0)
    found = [np.ones_like(u), u, *_waves(u / 2, _LINEAR)]
    if scale or len(v) >= 1000:
        size, sign = np.abs(v), np.sign(v)
        decades = np.log10(np.where(size > 0, size, size[size > 0].min()))
        for wave in (np.ones_like(u), decades / 8, *_waves(decades / 16, _DECADES)):
            found += [wave * (sign > 0), wave * (sign < 0)]
        found.append((sign == 0) * 1.0)
    return found


def _waves(x: np.ndarray, octaves: int) -> list[np.ndarray]:
    """Sines and cosines of 2 pi 2^j x, j = 0, 1, ...; slower ones weigh more."""
    return [2 ** (-j / 4) * wave(2 * np.pi * 2**j * x) for j in range(octaves) for wave in (np.sin, np.cos)]
