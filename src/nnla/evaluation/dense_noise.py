"""Noise on dense systems: the error of every yardstick and of any model, against the level.

The measure is ||x - x_clean||^2 / ||x_clean||^2 of each test system, its mean and its median; x_clean is the solution
of the system *without* noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import MissingDependencyError, OptionError
from nnla.evaluation.dense_estimators import (
    LU,
    QR,
    SVD,
    AffineMap,
    MeanOperator,
    Noisy,
    noisy_copies,
    relative_errors,
)
from nnla.evaluation.dense_features import BilinearMap, FeatureMap
from nnla.evaluation.dense_network import PCANetwork
from nnla.evaluation.dense_projections import (
    NORMWISE,
    BayesLU,
    FamilySpace,
    PosteriorLU,
    ProjectedLU,
    Safeguard,
    WeightedProjectedLU,
    family_spaces,
)
from nnla.evaluation.dense_regularisers import HINDSIGHT, regularised
from nnla.problems.bvp import BVPSystems, bvp_systems
from nnla.problems.perturbations import perturbed

__all__ = ["CLOSE", "GUARDED", "SURE", "Case", "Family", "judged", "make_family", "measure"]

GUARDED = ", safeguarded"
SURE = (0.5, 0.9, 0.99)  # quantiles of error over uncertainty; .67, 1.64, 2.58 for a normal error of one number
CLOSE = 1.1  # a model's error over the best yardstick's: up to here it has not lost
# Seeds are lists: training, test, and their noise never meet, nor any other seed of one number.
TRAINING, TEST, TRAINING_NOISE, TEST_NOISE = 1, 2, 3, 4
PURPOSE = 20_261_127
LEVELS = (1e-6, 1e-1)  # the network's range

TIE = 1.01  # errors that differ by less are one: the simpler method, which comes first, is named
FITTED: dict[str, Any] = {
    "LU": LU,
    "QR": QR,
    "SVD": SVD,
    "affine in b": AffineMap,
    "mean operator": MeanOperator,
    "affine in PCA(A), PCA(b)": FeatureMap,
    "bilinear in PCA(A), PCA(b)": BilinearMap,
    "PCA + MLP": PCANetwork,
    "PCA of A + LU": ProjectedLU,
    "weighted PCA of A + LU": WeightedProjectedLU,
    "LMMSE of A + LU": PosteriorLU,
    "reweighted LMMSE of A + LU": BayesLU,
}
IN_SPACE = (FeatureMap, BilinearMap, PCANetwork, ProjectedLU, PosteriorLU)


@dataclass(frozen=True)
class Case:
    """One point of the figure: law, part and level of `nnla.problems.perturbed`."""

    law: str
    part: str
    level: float

    @property
    def assumed(self) -> str:
        """The law that the yardsticks are fitted for: the one of the training that is nearest."""
        return "normwise" if self.law in NORMWISE else "entrywise"


@dataclass(frozen=True, eq=False)
class Family:
    """Training and test systems of an equation, and what is made once for all levels.

    Attributes
    ----------
    training, test : `BVPSystems`
    guard : `Safeguard` of the training set
    spaces : as `family_spaces` makes them; None where there are no yardsticks
    networks : law -> `PCANetwork`, trained for all levels; none without torch
    seed : of the noise
    """

    training: BVPSystems
    test: BVPSystems
    guard: Safeguard
    spaces: tuple[FamilySpace, FamilySpace] | None
    networks: Mapping[str, PCANetwork]
    seed: int


def make_family(
    equation: str,
    *,
    training: int = 5000,
    test: int = 2000,
    n: int = 64,
    seed: int = 0,
    seconds: float = 60.0,
    laws: Sequence[str] = ("entrywise", "normwise"),
    yardsticks: bool = True,
) -> Family:
    """Systems of an equation, their spaces, and the networks.

    Parameters
    ----------
    equation, n : as `nnla.problems.bvp_systems`
    training, test : systems
    seed : of all that is random
    seconds : of processor time for each network; 0 for none
    laws : of noise in A that there is a network for
    yardsticks : False: without spaces and networks, for `measure` of models alone

    Raises
    ------
    OptionError
        Impossible sizes, or an unknown name.
    """
    unseen = bvp_systems(test, equation=equation, n=n, seed=[PURPOSE, seed, TEST])
    known = bvp_systems(training, equation=equation, n=n, seed=[PURPOSE, seed, TRAINING])
    guard = Safeguard.fit(known.A, known.b, known.x)
    if not yardsticks:
        return Family(known, unseen, guard, None, {}, seed)
    spaces, networks = family_spaces(known.A), {}
    for law in laws if seconds > 0 else ():
        noisy = Noisy(known.A, known.b, law, LEVELS[0])
        try:
            networks[law] = PCANetwork.fit(
                known.A, known.b, known.x, noisy, spaces, levels=LEVELS, seconds=seconds, seed=seed
            )
        except MissingDependencyError:
            break  # the table has a row less
    return Family(known, unseen, guard, spaces, networks, seed)


def measure(
    family: Family,
    case: Case,
    models: Mapping[str, Any] | None = None,
    *,
    methods: Sequence[str] | None = None,
    classical: bool = True,
) -> list[dict[str, Any]]:
    """Rows of one case: each yardstick fitted for it, each model as it is.

    Parameters
    ----------
    family : Family
    case : Case
    models : name -> model, whose ``solve(A, b)`` gives (x, report); each has a second row with `Family.guard`
    methods : of the fitted yardsticks, by default all of `FITTED`
    classical : also Tikhonov, truncated SVD and total least squares

    Returns
    -------
    list of dict
        equation, law, part, level, method, kind ("yardstick", "hindsight" or "model"), mean, median, ninety (the 90 %
        quantile), seconds (processor time of the solve alone). Of models that say how sure they are, also
        ``outside``, the share of systems that they take for none of theirs, and ``sure``, the quantiles `SURE` of error
        over uncertainty of the others.
    """
    methods = tuple(FITTED) if methods is None else tuple(methods)
    if unknown := [name for name in methods if name not in FITTED]:
        raise OptionError(f"methods {unknown} are not known; use {', '.join(FITTED)}")
    training, test = family.training, family.test
    noise = [PURPOSE, family.seed, TEST_NOISE]
    seen = perturbed(test, case.law, case.level, part=case.part, seed=noise)
    rows: list[dict[str, Any]] = []

    def add(method: str, kind: str, answer: Callable[[], np.ndarray]) -> None:
        start = time.process_time()
        x = answer()
        seconds = time.process_time() - start
        errors = relative_errors(np.asarray(x, dtype=np.float64), test.x)
        row = {"equation": test.equation, "law": case.law, "part": case.part, "level": case.level, "method": method}
        row |= {"kind": kind, "mean": float(errors.mean()), "median": float(np.median(errors))}
        rows.append(row | {"ninety": float(np.quantile(errors, 0.9)), "seconds": seconds})

    seed = [PURPOSE, family.seed, TRAINING_NOISE]
    if methods:
        copies = noisy_copies(training, case.assumed, case.level, part=case.part, seed=seed)
    else:
        copies = Noisy(training.A, training.b)
    for name in methods:
        cls = FITTED[name]
        if cls is PCANetwork:
            if case.assumed not in family.networks:
                continue
            estimator = family.networks[case.assumed].at(copies)
        else:
            options: dict[str, Any] = {"spaces": family.spaces} if issubclass(cls, IN_SPACE) else {}
            estimator = cls.fit(training.A, training.b, training.x, copies, **options)
        add(name, "yardstick", lambda estimator=estimator: estimator.solve(seen.A, seen.b))
    if classical:
        start = time.process_time()
        answers = regularised(seen.A, seen.b, test.x, seen.A - test.A, seen.b - test.b)
        share = (time.process_time() - start) / len(answers)
        for name, x in answers.items():
            add(name, "hindsight" if name in HINDSIGHT else "yardstick", lambda x=x: x)
            rows[-1]["seconds"] = share
    for name, model in (models or {}).items():
        said: list[Any] = []  # x and the report
        add(name, "model", lambda model=model, said=said: said.extend(model.solve(seen.A, seen.b)) or said[0])
        rows[-1] |= _sure(said[0], said[1], test.x)
        # the yardsticks that clean A are safeguarded: a model may be too
        add(name + GUARDED, "model", lambda said=said: family.guard(np.asarray(said[0]), seen.b))
    return rows


def _sure(x: Any, report: Any, exact: np.ndarray) -> dict[str, Any]:
    """How errors compare with what a model says of them; nothing where it says nothing."""
    if report is None or report.uncertainty is None:
        return {}
    inside = np.asarray(report.inside)
    ratios = relative_errors(np.asarray(x), exact)[inside] ** 0.5 / np.ravel(report.uncertainty)[inside]
    sure = [float(value) for value in np.quantile(ratios, SURE)] if len(ratios) else None
    return {"outside": float(1 - inside.mean()), "sure": sure}


def judged(rows: Sequence[Mapping[str, Any]], figure: str = "mean") -> list[dict[str, Any]]:
    """For each case the best yardstick, and how far each model is from it.

    Parameters
    ----------
    rows : of `measure`, any cases
    figure : "mean" or "median"

    Returns
    -------
    list of dict
        equation, law, part, level, best, error, models: name -> its error over the best yardstick's. What is known in
        hindsight only is no opponent; of yardsticks that are equal within a hundredth the first is named.
    """
    cases: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        cases.setdefault((row["equation"], row["law"], row["part"], row["level"]), []).append(row)
    out = []
    for (equation, law, part, level), some in cases.items():
        opponents = [row for row in some if row["kind"] == "yardstick"]
        if not opponents:
            continue
        least = min(row[figure] for row in opponents)
        best = next(row for row in opponents if row[figure] <= TIE * least)
        models = {row["method"]: row[figure] / best[figure] for row in some if row["kind"] == "model"}
        found = {"equation": equation, "law": law, "part": part, "level": level}
        out.append(found | {"best": best["method"], "error": best[figure], "models": models})
    return out
