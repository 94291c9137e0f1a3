"""The ten operations of Theorem 2.1: prompts, layers and heads of the paper, and the bars on their errors."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import OPERATIONS, SCHEMES, operation
from nnla.errors import NNLAError, NonFiniteError, OptionError, ShapeError

N = 20
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 100, N, N))
a, b = RNG.standard_normal((2, 100, N))
X = RNG.standard_normal((100, N, 2))
VALUES = {"A": A, "B": B, "a": a, "b": b, "X": X}
EXACT = {
    "add": {"d": a + b},
    "subtract": {"d": a - b},
    "multiply": {"d": a * b},
    "divide": {"d": a / b},
    "column_shift": {"X": X[..., ::-1]},
    "row_shift": {"a": b, "b": a},
    "vector_transpose": {"y": a},
    "inner": {"y": (a * b).sum(axis=-1)},
    "outer": {"y": a[:, :, None] * b[:, None, :]},
    "transpose": {"A": A.swapaxes(-1, -2)},
    "AtB": {"Y": A.swapaxes(-1, -2) @ B},
    "AB": {"Y": A @ B},
    "Ab": {"y": (A @ b[..., None])[..., 0]},
}
EXACT |= {"AB_one_layer": EXACT["AB"], "Ab_one_layer": EXACT["Ab"]}
LOCAL = ("add", "subtract", "multiply", "divide", "row_shift")


def results(name, **options):
    program = operation(name, N, **options)
    return program.run(**{key: VALUES[key] for key in program.inputs})


def error(name, **options):
    """Largest relative error; of inner products relative to ||a|| ||b||."""
    worst = 0.0
    for key, exact in EXACT[name].items():
        got = results(name, **options)[key]
        axes = tuple(range(1, exact.ndim))
        size = (exact**2).sum(axis=axes) if axes else (a**2).sum(-1) * (b**2).sum(-1)
        worst = max(worst, float(np.sqrt(((got - exact) ** 2).sum(axis=axes) / size).max()))
    return worst


def test_every_operation_is_tested():
    assert EXACT.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("name", [name for name in EXACT if name not in LOCAL])
def test_bars(name):
    bars = {"central": 1e-9, "four": 1e-11, "eight": 1e-12}
    errors = {scheme: error(name, heads=scheme) for scheme in SCHEMES}
    assert all(errors[scheme] <= bar for scheme, bar in bars.items()), errors
    assert bars["central"] < errors["paper"] < 2e-6  # the paper's heads are worse, and must be seen to be


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_local_is_exact(name):
    assert error(name) < 1e-15


@pytest.mark.parametrize("name", EXACT)
def test_float32(name):
    assert error(name, heads="eight", dtype=np.float32) < 1e-4


@pytest.mark.parametrize("name", EXACT)
def test_layers_and_heads_are_the_papers(name):
    size = operation(name, N).size()
    layers = {"AB": 2, "Ab": 2}.get(name, 1)
    assert size.layers == {"pre": layers, "loop": 0, "post": 0}
    assert size.heads["pre"] == [0 if name in LOCAL else 2] * layers
    assert operation(name, N, heads="eight").size().heads["pre"] == [0 if name in LOCAL else 8] * layers


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("add", 3, N),
        ("row_shift", 2, N),
        ("column_shift", 2 * N + 3, 3),
        ("vector_transpose", 2 * N + 2, N + 1),
        ("inner", N + 4, N + 1),
        ("outer", 2 * N + 3, N + 1),
        ("transpose", 3 * N + 1, N + 1),
        ("AtB", 4 * N + 1, N + 1),
    ],
)
def test_prompts_are_the_papers(name, rows, columns):
    layout = operation(name, N).layout
    assert (layout.rows, layout.columns) == (rows, columns)


def test_working_rows_are_zero_again():
    program = operation("transpose", N)
    P, _ = program.encode(A=A)
    out = program.layers[0](P)
    np.testing.assert_array_equal(out[:, program.layout["work1"].slice], 0)
    np.testing.assert_array_equal(out[:, program.layout["positions"].slice], P[:, program.layout["positions"].slice])
    assert np.abs(out[..., 0])[:, :N].max() == 0  # the sink holds nothing


@pytest.mark.parametrize("power", [-800, -30, 31, 800])
def test_units_do_not_matter(power):
    scale = 2.0**power
    for name, key, own in (("transpose", "A", 1), ("AtB", "Y", 0), ("outer", "y", 0)):
        program = operation(name, N)
        values = {key: VALUES[key] for key in program.inputs}
        first = next(iter(values))
        other = {**values, first: values[first] * scale}
        if len(values) == 2:
            second = next(k for k in values if k != first)
            other[second] = values[second] / scale
        expected = program.run(**values)[key] * (scale if own else 1)
        np.testing.assert_array_equal(program.run(**other)[key], expected)


def test_zero_is_zero():
    np.testing.assert_array_equal(operation("AtB", 3).run(A=np.zeros((3, 3)), B=np.eye(3))["Y"], 0)


def test_bad_input_is_refused():
    program = operation("AtB", 3)
    with pytest.raises(OptionError, match="missing B"):
        program.run(A=np.eye(3))
    with pytest.raises(OptionError, match="unknown c"):
        program.run(A=np.eye(3), B=np.eye(3), c=1)
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        program.run(A=np.eye(4), B=np.eye(3))
    with pytest.raises(ShapeError, match="batches"):
        program.run(A=np.zeros((2, 3, 3)), B=np.zeros((4, 3, 3)))
    with pytest.raises(NonFiniteError, match="NaN"):
        program.run(A=np.full((3, 3), np.nan), B=np.eye(3))
    with pytest.raises(OptionError, match="no loop"):
        program.run(2, A=np.eye(3), B=np.eye(3))
    with pytest.raises(OptionError, match="no operation"):
        operation("AtBt", 3)
    with pytest.raises(OptionError, match="too large"):
        operation("AtB", 3, C=800.0)
    for c in (0.0, -1.0, float("nan"), float("inf"), "small"):
        with pytest.raises(OptionError, match="c="):
            operation("AtB", 3, c=c)


def test_a_step_or_a_sink_that_leaves_no_digits_is_refused():
    for options in ({"c": 1e-15}, {"C": 3.0}, {"c": 1e3}, {"c": 1e-13, "shift": True}):
        with pytest.raises(OptionError, match="defaults"):
            operation("AtB", 3, **options).run(A=np.eye(3), B=np.eye(3))


ODD = [None, "text", b"ab", True, 0, -1, 0.5, float("nan"), 10**400, 1j, [], {}, object(), [[1, 2], [3]], np.array("x")]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_arguments_are_refused_or_answered(odd):
    for call in (
        lambda: operation(odd, 3),
        lambda: operation("AtB", odd),
        lambda: operation("AtB", 3, heads=odd),
        lambda: operation("AtB", 3, dtype=odd),
        lambda: operation("AtB", 3, C=odd),
        lambda: operation("transpose", 2).run(A=odd),
        lambda: operation("transpose", 2).run(odd, A=np.eye(2)),
    ):
        message = ""
        try:
            call()
        except NNLAError as error:
            message = str(error)
        assert "\n" not in message
