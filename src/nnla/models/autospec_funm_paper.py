"""AutoSpec's engine for the inverse square root: a Lanczos probe -> a degree-21 polynomial, as the paper builds it.

Backbone and embedding are those for linear systems (Algorithms 1 and 3); the objective is the relative error
|1 - P(x) x^(1/2)| (23), so that here the scale of P is learned, too. Nothing bounds the error beyond the probed
interval: whoever uses it estimates the error, and compares with Chebyshev interpolation of the same degree.
"""

from __future__ import annotations

import numpy as np

from nnla.errors import NotPositiveDefiniteError
from nnla.models.autospec_paper import PaperConfig, paper_features, paper_forward
from nnla.models.paper_backbone import PaperBase
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = ["FunmPaperEngine"]


class FunmPaperEngine(PaperBase):
    """The paper's trained engine for A^(-1/2): NumPy arrays, a config and a card.

    Parameters
    ----------
    config : PaperConfig, of the degree trained (21)
    parameters : dict of arrays as `nnla.models.autospec_paper.paper_forward` takes them
    card : facts about the training, as JSON-able values

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithms 1 and 3, equations (23)-(25).
    """

    name = "autospec-funm-paper"
    kind = "autospec-funm-paper"
    task = "inverse square roots"
    config_type = PaperConfig

    def recurrence(self, probe: SpectralProbe, *, degree: int = 21) -> Recurrence:
        """The learned polynomial P with P(A) about A^(-1/2).

        Parameters
        ----------
        probe : SpectralProbe, definite
        degree : degree of P; the one that was trained

        Returns
        -------
        Recurrence in X = A / b, b the probe's upper bound. The factor b^(-1/2) is in it: ``recurrence(lam)``
        approximates ``lam ** -0.5`` for the eigenvalues of the operator probed.

        Raises
        ------
        OptionError
            Another degree than the trained one.
        NotPositiveDefiniteError
            The probe has Ritz values that are not positive.

        Notes
        -----
        Cost: an eigenproblem of a tridiagonal matrix of the probe's size and a few small matrix-vector
        products. Everything is learned and nothing guaranteed, most of all for condition numbers beyond the
        training's (`envelope`).

        Examples
        --------
        >>> import nnla
        >>> engine, p = nnla.load("autospec-funm-paper"), nnla.probe(np.diag(np.linspace(0.05, 1, 200)), 40)
        >>> bool(abs(engine.recurrence(p)(0.5) * 0.5**0.5 - 1) < 0.05)
        True
        """
        self.check_degree(degree, "chebyshev")
        if not probe.lambda_min > 0:
            raise NotPositiveDefiniteError(
                f"the probe has Ritz values from {probe.lambda_min:.3g} to {probe.lambda_max:.3g}: the inverse "
                "square root needs a positive definite operator; add a multiple of the identity"
            )
        return self.from_ritz(probe.ritz_values, probe.ritz_residuals, probe.upper_bound)

    def from_ritz(self, values: np.ndarray, residuals: np.ndarray, upper: float) -> Recurrence:
        """The learned polynomial for Ritz values of any origin, increasing, with their residual norms.

        ``upper`` bounds the spectrum from above; see `recurrence`, which this does the work of.
        """
        x = paper_features(np.asarray(values), np.asarray(residuals), upper, self.config.k)
        coefficients = paper_forward(self.parameters, x[None, :])[:, 0, :].T
        coefficients[0, -1] = 0.0  # rho of the last layer is not used (line 5)
        domain = (min(float(values[0]), 0.5 * upper), upper)
        return Recurrence(*coefficients, domain=domain, scale=upper).scaled(upper**-0.5)
