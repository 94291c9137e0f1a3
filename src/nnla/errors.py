"""Named errors: each message says what is wrong and what to do about it.

Every error is a subclass of `NNLAError` and of the built-in exception that Python users would expect
(`ValueError`, `TypeError`, `ImportError`, `OSError`), so both ``except nnla.errors.NNLAError`` and
``except ValueError`` work. What is no error but must not pass in silence is a `NotConvergedWarning`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DTypeError",
    "DownloadError",
    "FileFormatError",
    "GradientError",
    "MissingDependencyError",
    "NNLAError",
    "NonFiniteError",
    "NotConvergedError",
    "NotConvergedWarning",
    "NotPositiveDefiniteError",
    "NotSymmetricError",
    "OptionError",
    "ShapeError",
    "TimeLimitError",
    "WeightsError",
]


class NNLAError(Exception):
    """Base class of all errors that nnla raises on purpose; its message is one line, whatever it quotes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*(" ".join(a.split("\n")) if isinstance(a, str) else a for a in args), **kwargs)


class NotConvergedWarning(UserWarning):
    """An answer is returned without a report, and it has not converged or may be incomplete.

    ``warnings.simplefilter("error", nnla.errors.NotConvergedWarning)`` makes it an exception.
    """


class NotConvergedError(NNLAError, RuntimeError):
    """What returns no report has not found all that was asked for: ``eigsh(..., on_failure="raise")``, and the function
    that `nnla.factorized` returns.

    Attributes
    ----------
    eigenvalues, eigenvectors : the pairs that have converged, (j,) and (n, j)
    report : `nnla.EigenReport` of all pairs, None for a linear system
    """

    def __init__(self, message: str, eigenvalues: Any = None, eigenvectors: Any = None, report: Any = None) -> None:
        super().__init__(message)
        self.eigenvalues, self.eigenvectors, self.report = eigenvalues, eigenvectors, report


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


class GradientError(NNLAError, ValueError):
    """A torch tensor requires a gradient where nnla has none to give."""


class WeightsError(NNLAError, ValueError):
    """Weights that are unknown, truncated, altered, or do not fit the model."""


class FileFormatError(NNLAError, ValueError):
    """A file that is not what its name or header promises."""


class MissingDependencyError(NNLAError, ImportError):
    """An optional library is needed for this call; the message names the extra to install."""


class DownloadError(NNLAError, OSError):
    """A download failed or its checksum does not match."""
