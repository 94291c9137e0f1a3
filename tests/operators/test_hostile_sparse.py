"""Sparse matrices whose arrays lie, and unusual ones that do not: nothing compiled follows an index unseen."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import DTypeError, NNLAError, ShapeError
from nnla.kernels.sparse import sound
from nnla.preconditioners.incomplete_cholesky import ic0
from nnla.preconditioners.multigrid import multigrid

N = 64
WILD = [2**30, -(2**28), N, -1]


def changed(A, name, where, value):
    part = getattr(A, name).copy()
    part[where] = value
    setattr(A, name, part)
    return A


def compressed(format, dtype):
    def make(name, where, value):
        A = nnla.problems.poisson2d(8)
        A = A.tobsr(blocksize=(2, 2)) if format == "bsr" else A.asformat(format)
        A.data = A.data.astype(dtype)
        return changed(A, name, where, value)

    return make


HOSTILE = {}
for _format in ("csr", "csc", "bsr"):
    for _dtype in ("<f8", "<f4", ">f8", "<i4"):
        _make = compressed(_format, _dtype)
        for _wild in WILD:
            HOSTILE[f"{_format} {_dtype} index {_wild}"] = lambda m=_make, w=_wild: m("indices", 5, w)
            if _wild != N:
                HOSTILE[f"{_format} {_dtype} indptr {_wild}"] = lambda m=_make, w=_wild: m("indptr", 9, w)
        HOSTILE[f"{_format} {_dtype} indptr end"] = lambda m=_make: m("indptr", -1, 2**28)
        HOSTILE[f"{_format} {_dtype} indptr begin"] = lambda m=_make: m("indptr", 0, -5)


def _coo(axis, value):
    A = nnla.problems.poisson2d(8).tocoo()
    part = A.coords[axis].copy()
    part[5] = value
    A.coords = (part, A.coords[1]) if axis == 0 else (A.coords[0], part)
    return A


def _short(format, name):
    A = nnla.problems.poisson2d(8).asformat(format)
    setattr(A, name, getattr(A, name)[:-1].copy())
    return A


def _lil(kind):
    A = nnla.problems.poisson2d(8).tolil()
    if kind == "index":
        A.rows[3][0] = 2**20
    elif kind == "more values":
        A.data[3].append(1.0)
    else:
        A.rows[3] = None
    return A


def _dia(**parts):
    A = nnla.problems.poisson2d(8).todia()
    for name, part in parts.items():
        setattr(A, name, part(getattr(A, name)))
    return A


def _dok(key):
    A = nnla.problems.poisson2d(8).todok()
    A._dict[key] = 1.0
    return A


for _wild in WILD:
    for _axis in (0, 1):
        HOSTILE[f"coo axis {_axis} {_wild}"] = lambda a=_axis, w=_wild: _coo(a, w)
    HOSTILE[f"dok {_wild}"] = lambda w=_wild: _dok((3, w))
HOSTILE["dok huge"] = lambda: _dok((3, 2**70))
for _format, _name in (
    ("csr", "data"),
    ("csr", "indices"),
    ("csr", "indptr"),
    ("csc", "data"),
    ("coo", "data"),
    ("bsr", "data"),
):
    HOSTILE[f"{_format} short {_name}"] = lambda f=_format, m=_name: _short(f, m)
for _kind in ("index", "more values", "no list"):
    HOSTILE[f"lil {_kind}"] = lambda k=_kind: _lil(k)
HOSTILE["dia fewer rows of data"] = lambda: _dia(data=lambda d: d[:-1])
HOSTILE["dia an offset twice"] = lambda: _dia(offsets=lambda o: np.full_like(o, o[0]))
HOSTILE["csr indptr of floats"] = lambda: (A := nnla.problems.poisson2d(8), setattr(A, "indptr", A.indptr * 1.0))[0]
HOSTILE["csr indices of two dimensions"] = lambda: (
    A := nnla.problems.poisson2d(8),
    setattr(A, "indices", A.indices[:, None]),
)[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_door_refuses_by_name(name):
    for door in (
        nnla.as_operator,
        lambda A: nnla.as_operator(A, check=False),
        lambda A: nnla.solve(nnla.problems.poisson2d(8), A),  # as a block of right-hand sides
        ic0,
    ):
        with pytest.raises((ShapeError, DTypeError)):
            door(HOSTILE[name]())


@pytest.mark.parametrize("name", ["csr <f8 index 1073741824", "csr <f8 indptr -268435456", "csr short indices"])
def test_multigrid_refuses_too(name):
    pytest.importorskip("pyamg")
    with pytest.raises(NNLAError):
        multigrid(HOSTILE[name]())


@pytest.mark.parametrize("value", WILD)
def test_sparse_right_hand_sides_are_looked_at(value):
    b = changed(sp.csc_array(np.ones((N, 1))), "indices", 3, value)
    with pytest.raises(ShapeError, match="b is not a valid CSC"):
        nnla.solve(nnla.problems.poisson2d(8), b)


# --------------------------------------------------------------------------------------------------------
# Valid ones, laid out unusually


def strided(a):
    pairs = np.zeros((len(a), 2), a.dtype)
    pairs[:, 0] = a
    return pairs[:, 0]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw[1:].view(a.dtype)


LAYOUTS = {
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "misaligned": misaligned,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype),
    "wide": lambda a: a.astype(np.int64) if a.dtype.kind == "i" else a.astype(np.longdouble),
    "unsigned": lambda a: a.astype(np.uint32) if a.dtype.kind == "i" else a,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", ["indptr", "indices", "data"])
@pytest.mark.parametrize("format", ["csr", "csc"])
def test_valid_matrices_in_any_layout_give_the_same(format, part, layout):
    A = nnla.problems.poisson2d(30)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    B = A.asformat(format, copy=True)
    setattr(B, part, LAYOUTS[layout](getattr(B, part)))
    for method in ("cg", "jacobi", "ic", "direct"):
        x, report = nnla.solve(B, b, method=method)
        assert report.converged
        assert np.array_equal(x, nnla.solve(A, b, method=method).x)
    assert np.array_equal(ic0(B).solve(b), ic0(A).solve(b))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_in_any_layout_give_the_same(layout):
    A = nnla.problems.poisson2d(30)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    alone = nnla.solve(A, b, method="jacobi").x
    assert np.array_equal(nnla.solve(A, LAYOUTS[layout](b), method="jacobi").x, alone)


def test_sound_leaves_good_matrices_alone():
    A = nnla.problems.poisson2d(6)
    for format in ("csr", "csc", "coo", "dia", "lil"):
        B = A.asformat(format)
        assert sound(B) is B
    assert abs(sound(A.tobsr(blocksize=(2, 2))) - A).max() == 0
    assert abs(sound(A.todok()) - A).max() == 0
    for made in (sp.csr_matrix, sp.coo_matrix, sp.csc_matrix):
        assert abs(sound(made(A)) - A).max() == 0


def test_diagonals_outside_of_the_matrix_are_empty():
    A = sp.dia_array((np.ones((3, 4)), [0, 9, -(2**31)]), shape=(4, 4))
    assert np.array_equal(sound(A).toarray(), np.eye(4))
    assert nnla.as_operator(A).nnz == 4


def test_an_array_outlives_everyone_else_who_holds_it():
    """The index array of the native product is a copy that nobody but the product may keep."""
    A = nnla.problems.poisson2d(60)
    B = sp.csr_array((A.data, strided(A.indices), A.indptr), shape=A.shape)
    b = np.ones(A.shape[0])
    op = nnla.as_operator(B)
    del B
    junk = [np.full(A.nnz, 2**30, np.int32) for _ in range(20)]  # takes the place of what was freed
    assert np.array_equal(nnla.solve(op, b, method="cg").x, nnla.solve(A, b, method="cg").x)
    assert len(junk) == 20
