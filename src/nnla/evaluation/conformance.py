"""Conformance checks that anyone can run on their own operators, preconditioners and models.

Each returns a list of messages, empty when nothing is wrong: fit for a test (``assert not check(...)``)
and for a first look at what a code hands over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotPositiveDefiniteError, NotSymmetricError, OptionError
from nnla.operators.operator import as_operator
from nnla.tasks import resolve, task_of

__all__ = ["check_model", "check_operator", "check_preconditioner", "check_recurrence"]


def check_operator(A: Any, *, trials: int = 3, seed: int = 0) -> list[str]:
    """Is A linear, symmetric, deterministic, positive along random vectors, and does it keep its input?

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes
    trials : random vectors
    seed : of the vectors

    Notes
    -----
    Cost: 6 products a trial. Random vectors cannot prove definiteness; they refute it often.

    Examples
    --------
    >>> import numpy as np
    >>> check_operator(np.diag([1.0, 2.0]))
    []
    >>> len(check_operator(np.array([[1.0, 2.0], [0.0, 1.0]]))) > 0
    True
    """
    messages: list[str] = []
    try:
        op = as_operator(A)
    except (NotSymmetricError, NotPositiveDefiniteError) as error:
        # a product that is not linear, or not repeatable, looks like this first: go on to name the cause
        messages.append(f"{type(error).__name__}: {error}")
        op = as_operator(A, check=False)
    except NNLAError as error:
        return [f"{type(error).__name__}: {error}"]
    rng = np.random.default_rng(seed)

    def product(v: np.ndarray) -> np.ndarray:
        from nnla.operators.arrays import to_numpy

        return to_numpy(op.matvec(op.as_vector(v)))

    for _ in range(trials):
        u, v = rng.standard_normal((2, op.n))
        kept = v.copy()
        Au, Av = product(u), product(v)
        size = np.linalg.norm(Au) + np.linalg.norm(Av) + 1e-300
        say(messages, not np.array_equal(v, kept), "the product changes its input vector")
        say(
            messages,
            not np.array_equal(product(v), Av),
            "two products with one vector differ: not deterministic",
        )
        combined = product(2.0 * u - 3.0 * v)
        say(
            messages,
            np.linalg.norm(combined - 2 * Au + 3 * Av) > 1e-10 * size,
            "A(2u - 3v) != 2Au - 3Av: not linear",
        )
        gap = abs(u @ Av - v @ Au)
        say(messages, gap > 1e-9 * size * np.sqrt(op.n), "u'Av != v'Au: not symmetric")
        say(messages, not v @ Av > 0, f"v'Av = {v @ Av:.3g} for a random v: not positive definite")
        if op.n > 1:
            block = product(np.stack([u, v], axis=1))
            wrong = np.linalg.norm(block - np.stack([Au, Av], axis=1)) > 1e-10 * size
            say(messages, wrong, "the product with a block of two vectors differs from two products")
    return messages


def check_preconditioner(M: Any, A: Any = None, *, trials: int = 3, seed: int = 0) -> list[str]:
    """Is M linear, symmetric and positive: may it precondition CG? With A: does it help at all?

    Parameters
    ----------
    M : LinearOperator, matrix, or callable r -> M r with ``shape``
    A : the operator it is for, optional; then the condition along CG is compared with and without M

    Notes
    -----
    Cost: 3 applications of M a trial; with A two probes of 30 steps.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 9.2: M has to be symmetric positive definite.

    Examples
    --------
    >>> import nnla
    >>> A = nnla.problems.poisson2d(20)
    >>> check_preconditioner(nnla.preconditioner(A), A)
    []
    """
    if not hasattr(M, "shape") and A is None:
        return ["M has no shape; pass a LinearOperator, or A beside it"]
    n = int(M.shape[0]) if hasattr(M, "shape") else as_operator(A).n
    apply: Callable[[Any], Any] = (lambda v: M @ v) if hasattr(M, "__matmul__") else M
    messages: list[str] = []
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        u, v = rng.standard_normal((2, n))
        Mu, Mv = np.asarray(apply(u)), np.asarray(apply(v))
        if Mu.shape != (n,) or not np.all(np.isfinite(Mu)):
            return [f"M r has shape {Mu.shape} or non-finite entries for a finite r of shape ({n},)"]
        size = np.linalg.norm(Mu) + np.linalg.norm(Mv) + 1e-300
        nonlinear = np.linalg.norm(np.asarray(apply(u - 2 * v)) - Mu + 2 * Mv) > 1e-8 * size
        say(messages, nonlinear, "M(u - 2v) != Mu - 2Mv: not linear; use a flexible method")
        say(messages, abs(u @ Mv - v @ Mu) > 1e-8 * size * np.sqrt(n), "u'Mv != v'Mu: not symmetric")
        say(messages, not v @ Mv > 0, f"v'Mv = {v @ Mv:.3g} for a random v: not positive definite")
    if A is not None and not messages:
        from nnla.krylov.probes import probe

        plain, better = probe(A, min(30, n)), probe(A, min(30, n), scaling=apply)
        if not better.definite:
            messages.append("M A has a negative Ritz value: M or A is not positive definite")
        elif better.lambda_max / max(better.lambda_min, 1e-300) > 10 * plain.lambda_max / max(plain.lambda_min, 1e-300):
            messages.append("the probed condition of M A is ten times that of A: M makes things worse")
    return messages


def check_recurrence(recurrence: Any, *, seed: int = 0) -> list[str]:
    """Do the scalar evaluation, the application, the stated cost and the JSON form of a recurrence agree?

    Cost: one application on 17 scalars.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (4)-(5).
    """
    from nnla.polynomials.recurrence import Recurrence

    a, b = recurrence.domain
    lam = np.linspace(a, b, 17)
    count = 0

    def matvec(v: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return lam * v

    z = np.random.default_rng(seed).standard_normal(17)
    values = recurrence(lam)
    got = recurrence.apply(matvec, z)
    messages: list[str] = []
    scale = np.max(np.abs(values * z)) + 1e-300
    say(messages, np.max(np.abs(got - values * z)) > 1e-9 * scale, "apply() is not P(A) z")
    say(
        messages,
        count != recurrence.products,
        f"apply() cost {count} products, {recurrence.products} promised",
    )
    say(messages, Recurrence.from_json(recurrence.to_json()) != recurrence, "JSON does not round-trip")
    return messages


def check_model(engine: Any, *, trials: int = 20, seed: int = 0) -> list[str]:
    """Does a model give finite, scale-free, repeatable answers, and what else its task asks?

    Of polynomials for linear systems, that they are positive; of filters, that they are at the wanted end; of initial
    guesses, that they do not depend on the order of rows. The model's own answers are judged, before any of the
    guards that `nnla.solve` puts after it. What is checked for which task: `nnla.tasks.TASKS`.

    Parameters
    ----------
    engine : what `nnla.load` returns
    trials : problems that it is tried on
    seed : of the problems

    Raises
    ------
    OptionError
        The model names no task, or one that nothing checks yet.

    Notes
    -----
    Cost: ``trials`` problems of milliseconds each, small frames for initial guesses.

    Examples
    --------
    >>> import nnla
    >>> check_model(nnla.load("autospec-cg"), trials=3)
    []
    """
    task = task_of(engine)
    if task.check is None:
        raise OptionError(f"models for {task.field} cannot be checked yet; name a check for them in nnla.tasks")
    return resolve(task.check)(engine, trials, seed)


def say(messages: list[str], wrong: bool | np.bool_, text: str) -> None:
    if wrong and text not in messages:
        messages.append(text)
