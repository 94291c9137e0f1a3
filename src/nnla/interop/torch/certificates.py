"""Certificates: residuals measured on the device from the result and the input, independently of how it came about."""

# Where torch is not installed, pyright takes this very folder for it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nnla.interop.torch.products import in_units, start_vector
from nnla.report import Status

__all__ = ["Certificate", "CertificateReport", "inverse_root_certificate", "polar_certificate", "read_certificate"]

_POWER_STEPS = 12


class Certificate(NamedTuple):
    """Tensors on the device, one number per matrix of the batch; nothing has been read.

    Attributes
    ----------
    converged : bool (...), whether ||R||_2 <= rtol: by a Cholesky factor of rtol^2 I - R'R, no estimate
    error : (...), ||R||_2 by twelve power steps, a lower bound
    error_bound : (...), the Frobenius norm of R
    zero : bool (...), the matrix was zero
    finite : bool (...), all its entries were finite
    rtol : (), what was asked for
    """

    converged: Tensor
    error: Tensor
    error_bound: Tensor
    zero: Tensor
    finite: Tensor
    rtol: Tensor

    def shaped(self, shape: torch.Size) -> Certificate:
        """With the batch as it was given."""
        return Certificate(
            self.converged.reshape(shape), self.error.reshape(shape), self.error_bound.reshape(shape),
            self.zero.reshape(shape), self.finite.reshape(shape), self.rtol,
        )  # fmt: skip


@dataclass(frozen=True)
class CertificateReport:
    """A certificate on the host.

    Attributes
    ----------
    status : "converged", or "stagnation" where a matrix is not
    converged : all of them are
    count : matrices
    failed : positions, in the flattened batch, of those that are not
    zero, non_finite : positions of matrices that were zero, or had NaN or Inf
    error : largest error of those that are finite; nan where none is
    rtol : what was asked for
    """

    status: Status
    converged: bool
    count: int
    failed: tuple[int, ...]
    zero: tuple[int, ...]
    non_finite: tuple[int, ...]
    error: float
    rtol: float


def _exact(X: Tensor) -> torch.dtype:
    return torch.float32 if X.device.type == "mps" else torch.float64


def inverse_root_certificate(A: Tensor, Z: Tensor, p: int, rtol: float, ridge: Tensor) -> Certificate:
    """||Z^p A - I||, taken as Z A Z for p = 2 and Z^2 A Z^2 for p = 4, of A + ridge I, all (b, n, n).

    Notes
    -----
    Cost: 2 to 4 products and a Cholesky factor in float64 (float32 where the device has none), and 24 products with
    vectors.
    """
    dtype = _exact(A)
    scaled, exponent, largest = in_units(A.to(dtype))
    eye = torch.eye(A.shape[-1], dtype=dtype, device=A.device)
    scaled = scaled + ridge.to(dtype) * torch.exp2(-exponent) * eye
    Z = Z.to(dtype) * torch.exp2(exponent / p)
    root = Z @ Z if p == 4 else Z
    R = (root @ scaled if p == 1 else root @ scaled @ root) - eye
    return _judged(R, eye, largest, rtol)


def polar_certificate(X: Tensor, U: Tensor, rtol: float) -> Certificate:
    """||U'U - I|| of U (b, m, n), m >= n.

    Notes
    -----
    Cost: 2 products and a Cholesky factor in float64 (float32 where the device has none), 24 products with vectors.
    """
    U = U.to(_exact(U))
    eye = torch.eye(U.shape[-1], dtype=U.dtype, device=U.device)
    return _judged(U.mT @ U - eye, eye, X.abs().amax(dim=(-2, -1), keepdim=True), rtol)


def _judged(R: Tensor, eye: Tensor, largest: Tensor, rtol: float) -> Certificate:
    bound = R.square().sum(dim=(-2, -1)).sqrt()
    # what is not finite, or would overflow when squared, is decided without a factor
    sane = torch.isfinite(bound) & (bound < 1e15)
    safe = torch.where(sane[:, None, None], R, torch.zeros_like(R))
    within = torch.linalg.cholesky_ex(rtol**2 * eye - safe.mT @ safe).info == 0
    v = start_vector(R.shape[-1], R.dtype, R.device).expand(R.shape[0], -1, -1)
    error = torch.zeros_like(bound)
    for _ in range(_POWER_STEPS):
        w = safe @ v
        error = w.square().sum(dim=(-2, -1)).sqrt()
        v = safe.mT @ w
        size = v.square().sum(dim=(-2, -1)).sqrt()
        v = v / torch.where(size > 0, size, torch.ones_like(size))[:, None, None]
    largest = largest.reshape(-1)
    zero, finite = largest == 0, torch.isfinite(largest)
    converged = within & sane & finite & ~zero
    error = torch.where(sane, error, bound)
    return Certificate(converged, error, bound, zero, finite, R.new_full((), rtol))


def read_certificate(certificate: Certificate) -> CertificateReport:
    """The certificate as plain numbers: the one call that waits for the device.

    Parameters
    ----------
    certificate : of `inverse_root` or `polar`

    Returns
    -------
    CertificateReport

    Notes
    -----
    Cost: one copy of a few numbers per matrix from the device, and the wait for it.

    References
    ----------
    None.

    Examples
    --------
    >>> import torch
    >>> from nnla.interop.torch import inverse_root
    >>> Z, certificate = inverse_root(torch.diag(torch.tensor([1.0, 4.0, 25.0])), 2, certificate=True)
    >>> read_certificate(certificate).converged
    True
    """
    flags = torch.stack([t.reshape(-1).to(torch.float32) for t in certificate[:5]]).cpu()
    converged, error, _, zero, finite = flags.tolist()
    places = range(len(converged))
    known = [e for e in error if e == e]
    done = all(converged)
    return CertificateReport(
        Status.CONVERGED if done else Status.STAGNATION, done, len(converged),
        tuple(k for k in places if not converged[k]), tuple(k for k in places if zero[k]),
        tuple(k for k in places if not finite[k]), max(known, default=float("nan")),
        float(certificate.rtol),
    )  # fmt: skip
