"""What an eigenvalue computation did, what it cost, and whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnla.report import ReportBase, Status

__all__ = ["EigenReport"]


@dataclass(frozen=True, repr=False)
class EigenReport(ReportBase):
    """Report of `nnla.eigsh`.

    Attributes
    ----------
    status : "converged", "unverified" (every pair meets the tolerance, but others may be missing), "maxiter",
        "stagnation" or "rounding"
    converged : every pair met ``||A v - lambda v|| <= tol ||A||``, recomputed in float64 with the operator given; with
        a mass matrix ``||A v - lambda M v|| <= tol (||A|| + |lambda| ||M||) ||v||``
    verified : a search from a fresh random vector, long enough to show a copy of the last eigenvalue, found no
        further pair that belongs among the k; exact for methods that see the whole spectrum
    method : what ran in the end, e.g. "autospec", "plain", "direct", "dense"
    which : "SA", "LA", "LM", "SM" or "BE"
    n, nnz, k, ncv : sizes; ncv vectors were kept
    tol : the tolerance asked for
    norm : the estimate of ||A||_2 that the tolerance refers to: the largest Ritz value in magnitude
    residuals : ||A v - lambda M v|| / ||v|| of each pair, absolute
    converged_pairs : how many pairs met the tolerance
    sigma : the shift that eigenvalues were wanted near, None without one
    mode : what `which` referred to with a shift: "normal", "buckling" or "cayley"
    mass_norm : the estimate of ||M||_2, None without a mass matrix
    restarts : fillings of the subspace, without those of the probe and of the verification
    probe_restarts, verify_restarts : fillings of the subspace by the probe and by the verification
    steps : applications of the filter (or of A, or of the inverse), verification included
    degree : degree of the filter, None without one
    cut : the eigenvalue from which on the filter damps
    interval : what the filter damps
    products : products with A in all, probe and checks included
    products_probe : those of the probe
    solves : solves with a factorised shifted matrix
    shift : that shift, or None
    shifts : all that were tried: the last is ``shift``, those before were moved off the spectrum or nearer to it
    count_below : eigenvalues before ``count_at`` (below it for "SA", above it for "LA"), as the inertia of a
        factorisation tells; None where none was counted
    count_at : a number before the last of the pairs that were found first: all eigenvalues before it are known
    orthogonalisation_flops : operations spent on keeping the basis orthogonal and on Ritz vectors
    seconds : {"probe", "setup", "iterate", "verify", "total"}
    fallback : None, or what was given up and why
    chosen_because : why this method ran
    predicted_seconds : method -> seconds that "auto" predicted, or None
    weights : name of the learned weights used, or None
    seed : of the start vector, None if one was given
    history : largest residual among the k wanted pairs, estimated, after each restart
    versions : versions of the libraries
    """

    _line = (
        ("method", "{}"),
        ("converged_pairs", "{} pairs"),
        ("restarts", "{} restarts"),
        ("products", "{} products"),
    )

    status: Status
    converged: bool
    verified: bool
    method: str
    which: str
    n: int
    nnz: int | None
    k: int
    ncv: int
    tol: float
    norm: float
    residuals: list[float]
    converged_pairs: int
    sigma: float | None = None
    mode: str = "normal"
    mass_norm: float | None = None
    restarts: int = 0
    probe_restarts: int = 0
    verify_restarts: int = 0
    steps: int = 0
    degree: int | None = None
    cut: float | None = None
    interval: tuple[float, float] | None = None
    products: int = 0
    products_probe: int = 0
    solves: int = 0
    shift: float | None = None
    shifts: list[float] = field(default_factory=list[float])
    count_below: int | None = None
    count_at: float | None = None
    orthogonalisation_flops: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    fallback: str | None = None
    chosen_because: str = ""
    predicted_seconds: dict[str, float] | None = None
    weights: str | None = None
    seed: int | None = None
    history: list[float] = field(default_factory=list[float])
    versions: dict[str, str] = field(default_factory=dict[str, str])
