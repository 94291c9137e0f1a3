"""Named errors: each message says what is wrong and what to do about it.

Every error is a subclass of `NNLAError` and of the built-in exception that Python users would expect
(`ValueError`, `TypeError`, `ImportError`, `OSError`), so both ``except nnla.errors.NNLAError`` and
``except ValueError`` work.
"""

from __future__ import annotations

__all__ = [
    "DTypeError",
    "DownloadError",
    "FileFormatError",
    "MissingDependencyError",
    "NNLAError",
    "NonFiniteError",
    "NotPositiveDefiniteError",
    "NotSymmetricError",
    "OptionError",
    "ShapeError",
    "TimeLimitError",
    "WeightsError",
]


class NNLAError(Exception):
    """Base class of all errors that nnla raises on purpose."""


class ShapeError(NNLAError, ValueError):
    """A matrix is not square, a vector has the wrong length, or something is empty."""


class NonFiniteError(NNLAError, ValueError):
    """NaN or Inf among the values of an operator or a vector."""


class NotSymmetricError(NNLAError, ValueError):
    """The operator is not symmetric."""


class NotPositiveDefiniteError(NNLAError, ValueError):
    """The operator is provably not positive definite."""


class DTypeError(NNLAError, TypeError):
    """A type or dtype that nnla cannot compute with (complex, object, strings, ...)."""


class OptionError(NNLAError, ValueError):
    """An argument outside its allowed values."""


class TimeLimitError(NNLAError, TimeoutError):
    """A computation has used up the time that it was given."""


class WeightsError(NNLAError, ValueError):
    """Weights that are unknown, truncated, altered, or do not fit the model."""


class FileFormatError(NNLAError, ValueError):
    """A file that is not what its name or header promises."""


class MissingDependencyError(NNLAError, ImportError):
    """An optional library is needed for this call; the message names the extra to install."""


class DownloadError(NNLAError, OSError):
    """A download failed or its checksum does not match."""
