"""Odd arguments at every public entry: an error of `nnla.errors` that says what to do, or an answer; nothing else.

What Python itself says of a call that does not fit a signature is left out: only values are odd here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.errors import FileFormatError, NNLAError, WeightsError
from nnla.extensions import inverse_root, minimise, polar, rational_function
from nnla.linear import regularisation
from nnla.problems import inverse_problem

A = nnla.problems.poisson2d(5)
N = A.shape[0]
b = np.ones(N)
PROBE = nnla.probe(A, 10)
CHEBYSHEV = nnla.Recurrence.chebyshev(0.1, 8.0, 4)


class Odd:
    """An object that nothing can be made of."""

    def __init__(self, *_: Any) -> None:
        """Called with anything."""

    def __repr__(self) -> str:
        return "odd"


def _read_only() -> np.ndarray:
    x = np.ones(N)
    x.flags.writeable = False
    return x


ODD: dict[str, Any] = {
    "None": None,
    "text": "nonsense",
    "empty text": "",
    "bytes": b"ab",
    "True": True,
    "zero": 0,
    "minus one": -1,
    "half": 0.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus inf": -np.inf,
    "huge integer": 10**400,
    "complex": 1j,
    "object": Odd(),
    "class": Odd,
    "function": lambda *_: None,
    "list": [],
    "ragged": [[1.0, 2.0], [3.0]],
    "texts": ["a", "b"],
    "dict": {"a": 1},
    "set": {1, 2},
    "0-d": np.array(1.0),
    "0-d nan": np.array(np.nan),
    "empty": np.zeros(0),
    "empty matrix": np.zeros((0, 0)),
    "wrong length": np.ones(N + 1),
    "right length": np.ones(N),
    "3-d": np.ones((2, 2, 2)),
    "nan vector": np.full(N, np.nan),
    "inf matrix": np.full((N, N), np.inf),
    "object array": np.array([None] * N, dtype=object),
    "text array": np.full(N, "a"),
    "complex array": np.full(N, 1j),
    "bool array": np.ones(N, dtype=bool),
    "integer array": np.ones(N, dtype=np.int8),
    "big-endian": np.ones(N, dtype=">f8"),
    "read-only": _read_only(),
    "masked": np.ma.masked_array(np.ones(N), mask=[True] + [False] * (N - 1)),
    "datetime": np.full(N, np.datetime64("2020-01-01")),
    "sparse": sp.csr_array(np.eye(N)),
    "sparse vector": sp.csr_array(np.ones((N, 1))),
    "rectangular": sp.csr_array(np.ones((N, 3))),
    "asymmetric": np.triu(np.ones((N, N))),
    "indefinite": np.diag(np.arange(N) - 3.0),
    "zero matrix": np.zeros((N, N)),
    "operator": aslinearoperator(A),
    "huge": np.full(N, 1e308),
    "tiny": np.full(N, 5e-324),
    "pair": (1.0, 2.0),
    "wrong pair": (2.0, 1.0),
    "Recurrence": CHEBYSHEV,
    "probe": PROBE,
}


def square(x: Any) -> Any:
    return 0.5 * float(x @ x), x


# one odd argument at a time, the others as they should be
ENTRIES: dict[str, Callable[[Any], Any]] = {
    "as_operator A": lambda x: nnla.as_operator(x),
    "solve A": lambda x: nnla.solve(x, b),
    "solve b": lambda x: nnla.solve(A, x),
    "prepare A": lambda x: nnla.prepare(x),
    "prepare.solve b": lambda x: nnla.prepare(A, "cg").solve(x),
    "preconditioner A": lambda x: nnla.preconditioner(x),
    "eigsh A": lambda x: nnla.eigsh(x, 1),
    "eigsh k": lambda x: nnla.eigsh(A, x),
    "funm A": lambda x: nnla.funm_multiply(x, b),
    "funm V": lambda x: nnla.funm_multiply(A, x),
    "funm f": lambda x: nnla.funm_multiply(A, b, x),
    "matfun A": lambda x: nnla.matfun(x),
    "matfun f": lambda x: nnla.matfun(A, x),
    "expm A": lambda x: nnla.matfun.expm(x),
    "sqrtm A": lambda x: nnla.matfun.sqrtm(x),
    "expm method": lambda x: nnla.matfun.expm(A, method=x),
    "expm rtol": lambda x: nnla.matfun.expm(A, rtol=x),
    "expm engine": lambda x: nnla.matfun.expm(A, method="equivariant", engine=x),
    "matrix_function A": lambda x: nnla.matrix_function(x),
    "matrix_function f": lambda x: nnla.matrix_function(A, x),
    "probe A": lambda x: nnla.probe(x),
    "probe steps": lambda x: nnla.probe(A, x),
    "probe start": lambda x: nnla.probe(A, 5, start=x),
    "load": lambda x: nnla.load(x),
    "initial_guess A": lambda x: nnla.initial_guess(x, b),
    "initial_guess b": lambda x: nnla.initial_guess(A, x),
    "initial_guess model": lambda x: nnla.initial_guess(A, b, model=x),
    "DeflationSpace": lambda x: nnla.DeflationSpace(A, x),
    "SpectralProbe": lambda x: nnla.SpectralProbe(x, x, 3),
    "SpectralProbe n": lambda x: nnla.SpectralProbe([1.0], [0.0], x),
    "probe from_json": lambda x: nnla.SpectralProbe.from_json(x),
    "Report from_json": lambda x: nnla.Report.from_json(x),
    "EigenReport from_json": lambda x: nnla.EigenReport.from_json(x),
    "Recurrence": lambda x: nnla.Recurrence(x, x, x, x, x),
    "Recurrence domain": lambda x: nnla.Recurrence([1], [1], [1], [1], [1], domain=x),
    "Recurrence shift": lambda x: nnla.Recurrence([1], [1], [1], [1], [1], shift=x),
    "Recurrence from_json": lambda x: nnla.Recurrence.from_json(x),
    "chebyshev a": lambda x: nnla.Recurrence.chebyshev(x, 8.0, 4),
    "chebyshev b": lambda x: nnla.Recurrence.chebyshev(0.1, x, 4),
    "chebyshev degree": lambda x: nnla.Recurrence.chebyshev(0.1, 8.0, x),
    "from_chebyshev": lambda x: nnla.Recurrence.from_chebyshev(x, 0.1, 8.0),
    "from_function f": lambda x: nnla.Recurrence.from_function(x, 0.1, 8.0, 4),
    "from_roots": lambda x: nnla.Recurrence.from_roots(x),
    "polar A": lambda x: polar(x),
    "polar interval": lambda x: polar(np.eye(3), interval=x),
    "polar rtol": lambda x: polar(np.eye(3), rtol=x),
    "polar maxsteps": lambda x: polar(np.eye(3), maxsteps=x),
    "polar method": lambda x: polar(np.eye(3), method=x),
    "polar seed": lambda x: polar(np.eye(3), seed=x),
    "inverse_root A": lambda x: inverse_root(x),
    "inverse_root p": lambda x: inverse_root(np.eye(3), x),
    "inverse_root rtol": lambda x: inverse_root(np.eye(3), rtol=x),
    "rational A": lambda x: rational_function(x, "inv"),
    "rational f": lambda x: rational_function(A, x),
    "rational poles": lambda x: rational_function(A, "inv", poles=x),
    "rational degree": lambda x: rational_function(A, "inv_sqrt", degree=x),
    "rational interval": lambda x: rational_function(A, "inv_sqrt", interval=x),
    "rational rtol": lambda x: rational_function(A, "inv_sqrt", rtol=x),
    "rational solve": lambda x: rational_function(A, "inv_sqrt", solve=x),
    "rational probe": lambda x: rational_function(A, "inv_sqrt", probe=x),
    "minimise f": lambda x: minimise(x, np.ones(3)),
    "minimise x0": lambda x: minimise(square, x),
    "minimise gtol": lambda x: minimise(square, np.ones(3), gtol=x),
    "minimise interval": lambda x: minimise(square, np.ones(3), interval=x),
    "minimise method": lambda x: minimise(square, np.ones(3), method=x),
    "minimise value": lambda x: minimise(lambda _: (x, np.ones(3)), np.ones(3), maxiter=3),
    "minimise gradient": lambda x: minimise(lambda _: (1.0, x), np.ones(3), maxiter=3),
    "inverse_problem name": lambda x: inverse_problem(x, 8),
    "inverse_problem n": lambda x: inverse_problem("shaw", x),
    "inverse_problem example": lambda x: inverse_problem("deriv2", 8, example=x),
    "inverse_problem depth": lambda x: inverse_problem("gravity", 8, depth=x),
    "inverse_problem kappa": lambda x: inverse_problem("heat", 8, kappa=x),
    "total_least_squares weight": lambda x: regularisation.total_least_squares(A.toarray(), b, weight=x),
    "truncated weight": lambda x: regularisation.truncated_total_least_squares(A.toarray(), b, 3, weight=x),
}
for _name in ("tikhonov", "truncated_svd", "truncated_total_least_squares"):
    _method = getattr(regularisation, _name)
    ENTRIES[f"{_name} A"] = lambda x, _method=_method: _method(x, b, 0)
    ENTRIES[f"{_name} b"] = lambda x, _method=_method: _method(A.toarray(), x, 0)
    ENTRIES[f"{_name} parameter"] = lambda x, _method=_method: _method(A.toarray(), b, x)
    ENTRIES[f"{_name} noise_norm"] = lambda x, _method=_method: _method(A.toarray(), b, "discrepancy", noise_norm=x)
    ENTRIES[f"{_name} x_true"] = lambda x, _method=_method: _method(A.toarray(), b, "hindsight", x_true=x)
for _name in ("x0", "rtol", "atol", "maxiter", "method", "M", "degree", "scaling", "probe_steps", "engine", "dtype"):
    ENTRIES[f"solve {_name}"] = lambda x, _name=_name: nnla.solve(A, b, **{_name: x})
for _name in ("degree", "scaling", "probe_steps", "engine", "dtype"):
    ENTRIES[f"autospec {_name}"] = lambda x, _name=_name: nnla.solve(A, b, **{"method": "autospec", _name: x})
for _name in ("warm_start",):
    ENTRIES[f"solve {_name}"] = lambda x, _name=_name: nnla.solve(A, b, **{_name: x})
for _name in (
    "which", "tol", "ncv", "v0", "maxiter", "method", "M", "sigma", "mode", "return_eigenvectors", "return_report",
    "verify", "seed", "degree", "cut", "probe_restarts", "engine", "on_failure", "Minv", "OPinv",
):  # fmt: skip
    ENTRIES[f"eigsh {_name}"] = lambda x, _name=_name: nnla.eigsh(A, 1, **{_name: x})
for _name in ("M", "OPinv", "mode", "which", "ncv", "v0", "method"):
    ENTRIES[f"eigsh beside sigma {_name}"] = lambda x, _name=_name: nnla.eigsh(A, 1, **{"sigma": 0.3, _name: x})
for _name in ("Minv", "which", "sigma", "v0"):
    ENTRIES[f"eigsh with M {_name}"] = lambda x, _name=_name: nnla.eigsh(A, 1, **{"M": np.eye(N), _name: x})
ENTRIES["eigsh buckling M"] = lambda x: nnla.eigsh(A, 1, M=x, sigma=0.3, mode="buckling")
for _name in ("rtol", "method", "degree", "probe_steps", "seed", "maxiter", "engine"):
    ENTRIES[f"funm {_name}"] = lambda x, _name=_name: nnla.funm_multiply(A, b, **{_name: x})
for _name in ("degree", "probe", "dtype", "method"):
    ENTRIES[f"preconditioner {_name}"] = lambda x, _name=_name: nnla.preconditioner(A, **{_name: x})
for _name in ("method", "M", "degree", "rtol", "seed", "solves", "probe_steps"):
    ENTRIES[f"prepare {_name}"] = lambda x, _name=_name: nnla.prepare(A, **{_name: x})

# callables of the user's own, whose exceptions are theirs
CALLED = ("matrix_function f", "rational f", "minimise f", "rational solve")
THEIRS = {(entry, name) for entry in CALLED for name in ("operator", "Recurrence")} | {("from_function f", "operator")}


@pytest.mark.parametrize("entry", list(ENTRIES))
def test_only_named_errors(entry):
    raw: list[str] = []
    for name, value in ODD.items():
        if (entry, name) in THEIRS:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ENTRIES[entry](value)
        except NNLAError as error:
            if not str(error).strip() or "\n" in str(error):
                raw.append(f"{name}: not one line: {error}")
        except Exception as error:
            raw.append(f"{name}: {type(error).__name__}: {str(error)[:90]}")
    assert not raw, "\n" + "\n".join(raw)


BIG = "1" + "0" * 400
TABLES = {
    "Recurrence": (nnla.Recurrence, json.loads(CHEBYSHEV.to_json())),
    "SpectralProbe": (nnla.SpectralProbe, json.loads(PROBE.to_json())),
    "Report": (nnla.Report, json.loads(nnla.solve(A, b).report.to_json())),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(
    "odd", ["[" * 100_000, '{"a":' * 50_000, BIG, "NaN", "null", "[1]", "3", '"x"', "", "{}", "\x00"]
)
def test_texts_that_are_no_table(kind, odd):
    with pytest.raises(FileFormatError):
        TABLES[kind][0].from_json(odd)


@pytest.mark.parametrize("kind", ["Recurrence", "SpectralProbe"])
def test_every_field_of_a_table_is_checked(kind):
    reader, table = TABLES[kind]
    read = set(table) - {"degree", "steps", "upper_bound", "definite", "ritz_values", "ritz_weights", "ritz_residuals"}
    assert reader.from_json(json.dumps(table)).to_json() == json.dumps(table)
    for field in read:
        for odd in ('"x"', "true", "[]", "{}", BIG, "NaN", "Infinity", "1e999", f"[{BIG}]", '["1"]', "[[1]]", "[true]"):
            text = json.dumps(table | {field: "@"}).replace('"@"', odd)
            try:
                reader.from_json(text)
            except FileFormatError:
                continue
            assert (field, odd) == ("scaling", '"x"'), (field, odd)
    for field in read - {"seed", "reductions"}:
        with pytest.raises(FileFormatError):
            reader.from_json(json.dumps({key: value for key, value in table.items() if key != field}))


def test_fields_of_a_report_are_of_their_types():
    _, table = TABLES["Report"]
    for field in ("n", "rtol", "relative_residual", "converged", "method", "seconds", "phases", "residual_history"):
        for odd in ("[1, [2]]", '{"a": []}', BIG):
            text = json.dumps(table | {field: "@"}).replace('"@"', odd)
            with pytest.raises(FileFormatError):
                nnla.Report.from_json(text)


ODD_JSON = [None, True, -1, 0, 1e308, "x", [], [1], {}, {"a": []}, 10**400, [[]], 5000, float("nan")]


@pytest.mark.parametrize("name", sorted(nnla.weights()))
def test_weights_with_odd_cards(name, tmp_path):
    from nnla.registry import read_safetensors, write_safetensors

    engine = nnla.load(name)
    path = tmp_path / "w.safetensors"
    engine.save(path)
    tensors, metadata = read_safetensors(path, kind=None)
    if sum(value.size for value in tensors.values()) > 300_000:
        return
    for part in ("card", "config"):
        table = json.loads(metadata[part])
        fields = sorted(set(table) & {"name", "envelope_limit", "envelope", "matrices"}) if part == "card" else table
        texts = [json.dumps(value) for value in ODD_JSON] + ["[" * 10_000]
        texts += [json.dumps(table | {field: value}) for field in fields for value in ODD_JSON]
        for text in texts:
            write_safetensors(path, tensors, metadata | {part: text})
            try:
                again = nnla.load(path)
                repr(again), again.envelope
            except WeightsError:
                continue
