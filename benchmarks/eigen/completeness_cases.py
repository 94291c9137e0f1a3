"""Cases of the judge of completeness: a problem, a unit, a call of `nnla.eigsh`; a function of seed and number."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from eigen.spectra_known import KNOWN
from eigen.structures import PENCILS, STRUCTURES
from nnla.errors import NNLAError

__all__ = ["EigenCase", "draw", "offered"]

_TOLS = (1e-10, 1e-10, 1e-10, 1e-8, 1e-6)
_DENSE_KINDS = ("bipartite", "complete")  # whose rows are full


@cache
def offered() -> frozenset[str]:
    """What `nnla.eigsh` can be asked for: "M", "sigma", and values of ``which``."""
    parameters = inspect.signature(nnla.eigsh).parameters
    found = {name for name in ("M", "sigma") if name in parameters}
    for which in ("SA", "LA", "LM", "SM", "BE"):
        try:
            nnla.eigsh(np.diag(np.arange(1.0, 9.0)), 2, which=which, method="dense", return_report=True)
        except NNLAError:
            continue
        found.add(which)
    return frozenset(found)


@dataclass(eq=False)
class EigenCase:
    """One call, and what is known of the right answer.

    Attributes
    ----------
    index, family, n, k : which case
    A, M : the matrix and the mass, csr; M is None for a standard problem
    exact : all eigenvalues, increasing, of the problem in good units
    unit, mass_unit : powers of ten that the matrices given are multiplied by
    form : "csr" or "products"
    options : of `nnla.eigsh`
    start : what the start vector is, for the text
    """

    index: int
    family: str
    k: int
    A: sp.csr_array
    M: sp.csr_array | None
    exact: np.ndarray
    unit: int
    mass_unit: int
    form: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    start: str = ""

    @property
    def n(self) -> int:
        return self.A.shape[0]

    @property
    def text(self) -> str:
        """In a line."""
        shown = {**self.options, "v0": self.start} if self.start else dict(self.options)
        sizes = f"n={self.n} k={self.k} A:{self.form}" + ("" if self.M is None else " M")
        units = f"1e{self.unit}" + (f"/1e{self.mass_unit}" if self.M is not None else "")
        return f"{self.family} {sizes} unit {units} " + " ".join(f"{a}={b}" for a, b in shown.items())

    def call(self) -> tuple[np.ndarray, np.ndarray, Any]:
        """`nnla.eigsh` of the matrices in their units."""
        A: Any = sp.csr_array(self.A * 10.0**self.unit)
        if self.form == "products":
            entries, make = A, LinearOperator
            A = make(entries.shape, matvec=lambda v: entries @ v, matmat=lambda V: entries @ V, dtype=np.dtype(float))
        extra: dict[str, Any] = {}
        if self.M is not None:
            extra["M"] = sp.csr_array(self.M * 10.0**self.mass_unit)
        if "sigma" in self.options:
            extra["sigma"] = self.options["sigma"] * 10.0 ** (self.unit - self.mass_unit)
        return nnla.eigsh(A, self.k, return_report=True, **{**self.options, **extra})

    def keys(self, values: np.ndarray) -> np.ndarray:
        """What ``which`` sorts by: the smaller, the sooner wanted. In good units."""
        sigma, which = self.options.get("sigma"), self.options["which"]
        if sigma is not None:
            return np.abs(values - sigma)
        return {"SA": values, "LA": -values, "LM": -np.abs(values), "SM": np.abs(values), "BE": values}[which]

    def wanted(self) -> np.ndarray:
        """Sorted keys of the k wanted eigenvalues."""
        keys = np.sort(self.keys(self.exact))
        if self.options["which"] == "BE" and "sigma" not in self.options:
            low = self.k // 2
            return np.concatenate([keys[:low], keys[keys.size - (self.k - low) :]])
        return keys[: self.k]


def _size(rng: np.random.Generator) -> int:
    u = rng.random()
    if u < 0.2:
        return int(rng.integers(1, 60))
    if u < 0.55:
        return int(rng.integers(60, 400))
    if u < 0.8:
        return int(rng.integers(400, 900))
    return int(10.0 ** rng.uniform(3.0, 3.8))


def draw(index: int, seed: int) -> EigenCase:
    """The case; its matrix is the same whatever `nnla.eigsh` offers, and what that lacks is asked in another way."""
    rng = np.random.default_rng([seed, index])
    n = _size(rng)
    family = str(rng.choice([*KNOWN, *KNOWN, *STRUCTURES, *STRUCTURES, *PENCILS, *PENCILS]))
    problem_rng, u = np.random.default_rng([seed, index, 1]), rng.random(8)
    M = exact = None
    if family in PENCILS and "M" in offered():
        A, M, exact = PENCILS[family](problem_rng, min(n, 500))
    elif family in PENCILS:
        family = list(STRUCTURES)[index % len(STRUCTURES)]
        A, exact = STRUCTURES[family](problem_rng, min(n, 900))
    elif family in STRUCTURES:
        A, exact = STRUCTURES[family](problem_rng, min(n, 900))
    else:
        A, exact = KNOWN[family](problem_rng, n)
    n = A.shape[0]
    if exact is None:
        exact = sl.eigvalsh(A.toarray(), None if M is None else M.toarray())
    case = EigenCase(index, family, 1, A, M, np.sort(exact), 0, 0, "csr")
    case.k = int(min(n, rng.integers(1, 31) if u[0] < 0.7 else rng.integers(1, 9)))
    if u[1] < 0.4:
        case.unit = round(float(rng.uniform(-250, 250 - np.log10(max(1.0, abs(A).max())))))
        if M is not None:
            case.unit, case.mass_unit = case.unit // 2, round(float(rng.uniform(-110, 110)))
    case.form = "products" if u[2] < 0.2 else "csr"
    method = str(rng.choice(["auto"] * 7 + ["direct", "plain", "autospec"]))
    options: dict[str, Any] = {"method": "auto" if case.form == "products" and method == "direct" else method}
    options["which"] = str(rng.choice(["SA"] * 5 + ["LA"] * 3 + ["LM", "SM", "BE"]))
    if u[3] < 0.2 and "sigma" in offered():
        options["sigma"], options["which"], options["method"] = _shift(case.exact, rng), "LM", "auto"
        case.form = "csr"
    if options["which"] not in offered():
        options["which"] = "SA" if u[4] < 0.6 else "LA"
    if (M is not None or options["which"] == "SM") and method in ("plain", "autospec"):
        options["method"] = "auto"  # these need an inverse, which filters and plain Lanczos have not
    options["tol"] = float(rng.choice(_TOLS))
    if u[5] < 0.2:
        case.start = str(rng.choice(["random", "ones", "unit"]))
        options["v0"] = {"random": rng.standard_normal(n), "ones": np.ones(n), "unit": np.eye(1, n, n // 2)[0]}[
            case.start
        ]
    options["seed"] = int(rng.integers(1000))
    case.options = options
    return case


def _shift(exact: np.ndarray, rng: np.random.Generator) -> float:
    """Inside the spectrum, between two eigenvalues, at one of them, or 0."""
    kind = rng.integers(4)
    i = int(rng.integers(exact.size))
    if kind == 0:
        return float(rng.uniform(exact[0], exact[-1])) if exact[0] < exact[-1] else 0.0
    if kind == 1:
        return float(exact[i] + exact[min(i + 1, exact.size - 1)]) / 2
    return float(exact[i]) if kind == 2 else 0.0
