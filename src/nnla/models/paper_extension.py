"""Degree extension: append layers to a trained backbone, and read every prefix as an algorithm of its own.

Appendix C.3 of the AutoSpec paper: because every layer was trained to end a useful polynomial, a filter of higher
degree continues where one of lower degree ends.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.polynomials.recurrence import Recurrence

__all__ = ["extend", "prefix"]


def extend(engine: Any, layers: int) -> Any:
    """An engine of the same kind with ``layers`` more layers, copies of the last: where training goes on from.

    Parameters
    ----------
    engine : an engine of the paper (`nnla.load`), in use for filters: only those have prefixes that mean the same
    layers : layers to append, each one degree more

    Returns
    -------
    engine
        Its first layers give the polynomials of the given engine, unchanged. A copy of the last layer continues a
        three-term recurrence with constant coefficients as Chebyshev's, so that the longer filter is usable at once;
        ``nnla train autospec-eig-paper --set model.degree=31 --set model.start=autospec-eig-paper`` trains it further.

    Raises
    ------
    OptionError
        ``layers`` below 1.

    Notes
    -----
    Cost: a copy of the parameters; the longer filter takes ``layers`` products more an application.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix C.3.
    """
    if isinstance(layers, bool) or not isinstance(layers, (int, np.integer)) or layers < 1:
        raise OptionError(f"layers must be a positive integer, got {layers!r}")
    parameters = dict(engine.parameters)
    for key in ("W", "b"):
        old = parameters[key].copy()
        old[-1, :, 0] = 0.0  # rho of the last layer was never used, hence never trained: nothing is accumulated
        parameters[key] = np.concatenate([old, np.repeat(old[-1:], layers, axis=0)])
    config = dataclasses.replace(engine.config, degree=engine.config.degree + int(layers))
    card = engine.card | {"extended_from": engine.config.degree}
    return type(engine)(config, parameters, card)


def prefix(recurrence: Recurrence, degree: int) -> Recurrence:
    """The polynomial that the first ``degree - 1`` layers of a recurrence end with (Figure 11a).

    Notes
    -----
    Cost: a copy of ``degree - 1`` layers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix C.3 and Figure 11a.

    Examples
    --------
    >>> from nnla.training.autospec_paper import chebyshev_layers
    >>> P = Recurrence(*chebyshev_layers(0.1, 1.0, 10).T)
    >>> prefix(P, 4).degree
    4
    """
    if not 2 <= degree <= recurrence.rho.size + 1:
        raise OptionError(f"a prefix has a degree from 2 to {recurrence.rho.size + 1}, got {degree}")
    fields = ("rho", "gamma", "eta", "alpha", "beta")
    coefficients = [getattr(recurrence, f)[: degree - 1] for f in fields]
    return Recurrence(*coefficients, domain=recurrence.domain, shift=recurrence.shift, scale=recurrence.scale)
