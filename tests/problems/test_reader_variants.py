"""Files as people have them: what programs other than SciPy write, and what servers and editors make of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from nnla.errors import DTypeError, FileFormatError, NNLAError, ShapeError
from nnla.problems.files import read_matrix, read_vector

A = np.array([[4.0, -1, 0], [-1, 4, -1], [0, -1, 4]])
GRAPH = (A != 0).astype(float)
HEAD = b"%%MatrixMarket matrix coordinate real symmetric\n"
BODY = b"3 3 5\n1 1 4\n2 1 -1\n2 2 4\n3 2 -1\n3 3 4\n"
TEXT = HEAD + BODY


def put(folder: Path, content: bytes, name: str = "a.mtx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def written(write, *args, **options) -> bytes:
    stream = io.BytesIO()
    write(stream, *args, **options)
    return stream.getvalue()


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members: dict[str, bytes], **options) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


NUMBERS = [
    "4.0D+00",
    "4.0d0",
    "0.4D+01",
    "4.0+000",
    "0.4+001",
    ".4+001",
    "40-1",
    "+4.0E0",
    "4.",
    "4.0Q+00",
    "400.0-002",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("layout", ["coordinate", "array"])
def test_numbers_as_fortran_writes_them(tmp_path, number, layout):
    body = BODY if layout == "coordinate" else b"3 3\n 4\n-1\n0\n 4\n-1\n 4\n"
    text = HEAD.replace(b"coordinate", layout.encode()) + body.replace(b" 4\n", b" " + number.encode() + b"\n")
    assert np.array_equal(read_matrix(put(tmp_path, text)).toarray(), A)


@pytest.mark.parametrize(
    "number", ["4.0D", "D0", "4.0+", "4..0", "4,0", "4.0D+0D", "1_0", "0x4", "4.0-1-1", "4;", "*****"]
)
def test_what_is_no_number_is_not_read_as_two(tmp_path, number):
    lines = BODY.replace(b" 4\n", b" " + number.encode() + b"\n")
    for body in (lines, lines.replace(b"3 3 5", b"3 3 8"), lines.replace(b"3 3 5", b"3 3 6")):
        with pytest.raises(FileFormatError, match=r"number|expected"):
            read_matrix(put(tmp_path, HEAD + body))


def test_an_exponent_without_letter_is_no_index(tmp_path):
    with pytest.raises(FileFormatError, match="no number"):
        read_matrix(put(tmp_path, HEAD + BODY.replace(b"1 1 4", b"10-1 1 4")))


BANNERS = [
    b"%MatrixMarket matrix coordinate real symmetric\n",
    b"%% MatrixMarket matrix coordinate real symmetric\n",
    b"  %%MatrixMarket\tmatrix  coordinate real symmetric \n",
    b"\n\n%%MATRIXMARKET MATRIX COORDINATE REAL SYMMETRIC\n",
    b"% written by me\n%%matrixmarket matrix coordinate double hermitian\n",
    HEAD + b"% comment\n%\n\n   \n\t% another\n",
]


@pytest.mark.parametrize("banner", BANNERS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_banners_and_line_ends(tmp_path, banner, end):
    got = read_matrix(put(tmp_path, (banner + BODY).replace(b"\n", end)))
    assert np.array_equal(got.toarray(), A)


BODIES = {
    "tabs": BODY.replace(b" ", b"\t"),
    "leading blanks": BODY.replace(b"\n", b"\n   "),
    "empty lines": BODY.replace(b"\n", b"\n\n \t\n"),
    "comments between": BODY.replace(b"\n", b"\n% a 1 2 3\n"),
    "comments behind": BODY.replace(b"\n", b" % diagonal 5\n"),
    "no last newline": BODY[:-1],
    "indices as reals": BODY.replace(b"1 1", b"1.0 1e0"),
    "spaces at the end": BODY + b"  \n\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(tmp_path, name):
    assert np.array_equal(read_matrix(put(tmp_path, HEAD + BODIES[name])).toarray(), A)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [True, False])
def test_byte_order_marks(tmp_path, encoding, mark):
    text = TEXT.decode().replace("\n", "\r\n")
    content = ("\ufeff" if mark and encoding[-2:] in ("le", "be") else "") + text
    path = put(tmp_path, content.encode(encoding))
    assert np.array_equal(read_matrix(path).toarray(), A)
    path = put(tmp_path, gzip.compress(path.read_bytes()))
    assert np.array_equal(read_matrix(path).toarray(), A)


def test_line_ends_across_blocks(tmp_path, monkeypatch):
    from nnla.problems import number_text

    for size in (1, 2, 3, 7):
        monkeypatch.setattr(number_text, "_BLOCK", size)
        for end in (b"\n", b"\r\n", b"\r"):
            assert np.array_equal(read_matrix(put(tmp_path, TEXT.replace(b"\n", end))).toarray(), A)


def test_patterns_are_graphs(tmp_path):
    head = b"%%MatrixMarket matrix coordinate pattern "
    path = put(tmp_path, head + b"symmetric\n3 3 5\n1 1\n2 1\n2 2\n3 2\n3 3\n")
    assert np.array_equal(read_matrix(path).toarray(), GRAPH)
    path = put(tmp_path, head + b"general\n2 2 3\n1 1\n1 2\n2 1")
    assert read_matrix(path).toarray().tolist() == [[1, 1], [1, 0]]
    # weights that the header denies, a pattern that the header denies: neither is guessed
    for text in (head + b"symmetric\n3 3 2\n1 1 4\n2 2 4\n", HEAD + b"3 3 2\n1 1\n2 1\n"):
        with pytest.raises(FileFormatError, match="a line of"):
            read_matrix(put(tmp_path, text))


def test_lines_are_entries(tmp_path):
    # six numbers are two entries, however the lines break; not so for whoever wrote them
    with pytest.raises(FileFormatError, match="a line of 4 numbers where 3"):
        read_matrix(put(tmp_path, HEAD + b"3 3 2\n1 1 4 2\n2 4\n"))


@pytest.mark.parametrize("symmetry", ["skew-symmetric", "antisymmetric"])
def test_other_symmetries_are_named(tmp_path, symmetry):
    with pytest.raises(FileFormatError, match=symmetry):
        read_matrix(put(tmp_path, TEXT.replace(b"symmetric", symmetry.encode())))


CONTAINERS = {
    "gz": gzip.compress(TEXT),
    "two gz": gzip.compress(HEAD) + gzip.compress(BODY),
    "bz2": bz2.compress(TEXT),
    "two bz2": bz2.compress(HEAD) + bz2.compress(BODY),
    "xz": lzma.compress(TEXT),
    "two xz": lzma.compress(HEAD) + bytes(8) + lzma.compress(BODY),
    "zip": zipped({"a.mtx": TEXT, "readme.html": b"x"}),
    "stored zip": zipped({"folder/a.MTX": TEXT, "__MACOSX/._a.mtx": b"x"}, zipfile.ZIP_STORED),
    "zip of bzip2": zipped({"a.mtx": TEXT}, zipfile.ZIP_BZIP2),
    "tar": tarred({"a.mtx": TEXT}),
    "tar.gz": gzip.compress(tarred({"a/a.mtx": TEXT, "a/a_b.mtx": b"%%MatrixMarket", "a/README": b"x"})),
    "tar.bz2": bz2.compress(tarred({"./a.mtx": TEXT}, format=tarfile.GNU_FORMAT)),
    "tar.xz": lzma.compress(tarred({"x" * 150 + "/a.mtx": TEXT}, format=tarfile.PAX_FORMAT)),
    "gnu names": tarred({"y" * 90 + "/" + "x" * 150 + ".mtx": TEXT}, format=tarfile.GNU_FORMAT),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(tmp_path, name):
    for content in (CONTAINERS[name], CONTAINERS[name] + bytes(512) if "tar" in name and name[-1] == "r" else None):
        if content is not None:
            assert np.array_equal(read_matrix(put(tmp_path, content, "file")).toarray(), A)


@pytest.mark.parametrize("name", ["bz2", "xz", "zip", "tar.bz2", "tar.xz", "tar"])
def test_containers_that_are_cut_or_damaged(tmp_path, name):
    content = CONTAINERS[name]
    for length in range(1, len(content), max(1, len(content) // 40)):
        try:
            got = read_matrix(put(tmp_path, content[:length]))
        except NNLAError:
            continue
        assert name == "tar"  # its end is zeros
        assert np.array_equal(got.toarray(), A)
    if name != "tar":
        damaged = bytearray(content)
        damaged[len(content) // 4] ^= 255
        with pytest.raises(NNLAError):
            read_matrix(put(tmp_path, bytes(damaged)))


REFUSED = {
    "several in a zip": (zipped({"a.mtx": TEXT, "b.mtx": TEXT}), "a.mtx, b.mtx"),
    "several in a tar": (gzip.compress(tarred({"a/b.mtx": TEXT, "a/c.mtx": TEXT})), "a/b.mtx, a/c.mtx"),
    "none in a zip": (zipped({"a.txt": TEXT}), "without a matrix"),
    "none in a tar": (tarred({"a.txt": TEXT}), "without a matrix"),
    "twice": (gzip.compress(gzip.compress(TEXT)), "another compressed file"),
    "gz in a zip": (zipped({"a.mtx": gzip.compress(TEXT)}), "another compressed file"),
    "LZMA in a zip": (zipped({"a.mtx": TEXT}, zipfile.ZIP_LZMA), "another compression"),
    "tar in a zip": (zipped({"a.mtx": tarred({"a.mtx": TEXT})}), "zip archive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_containers_that_are_refused_say_what_to_do(tmp_path, name):
    content, word = REFUSED[name]
    with pytest.raises(FileFormatError, match="unpack it") as error:
        read_matrix(put(tmp_path, content))
    assert word in str(error.value)


def test_the_collection_s_archive_has_right_hand_sides(tmp_path):
    b = b"%%MatrixMarket matrix array real general\n3 1\n1\n2\n3\n"
    path = put(tmp_path, gzip.compress(tarred({"a/a.mtx": TEXT, "a/a_b.mtx": b})))
    assert np.array_equal(read_matrix(path).toarray(), A)
    assert read_vector(path).tolist() == [1, 2, 3]


# --- MATLAB


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", [0, 10, 20, 30, 50])
def test_mat_4_in_both_byte_orders(tmp_path, order, code):
    kind = {0: "f8", 10: "f4", 20: "i4", 30: "i2", 50: "u1"}[code]
    M = A if code != 50 else GRAPH
    machine = 1000 if order == ">" else 0
    head = struct.pack(order + "5i", machine + code, 3, 3, 0, 2) + b"A\0"
    text = struct.pack(order + "5i", machine + 51, 1, 2, 0, 2) + b"t\0hi"
    dense = text + head + M.astype(order + kind).tobytes(order="F")
    assert np.array_equal(read_matrix(put(tmp_path, dense, "dense")).toarray(), M)
    i, j = np.nonzero(M)
    triplets = np.vstack([np.column_stack([i + 1, j + 1, M[i, j]]), [3, 3, 0]])
    head = struct.pack(order + "5i", machine + code + 2, len(triplets), 3, 0, 2) + b"A\0"
    sparse = head + triplets.astype(order + kind).tobytes(order="F")
    assert np.array_equal(read_matrix(put(tmp_path, sparse, "sparse")).toarray(), M)
    for content in (dense, sparse):
        for length in range(len(content) - 1, 0, -7):
            with pytest.raises(NNLAError):
                read_matrix(put(tmp_path, content[:length], "cut.mat"))
    for row, value in ((0, 4), (0, 0), (1, -1), (1, 1.5) if kind[0] == "f" else (1, 9)):
        hostile = triplets.astype(order + "f8")
        hostile[row, 0] = value
        head = struct.pack(order + "5i", machine + 2, len(triplets), 3, 0, 2) + b"A\0"
        with pytest.raises(FileFormatError, match="ind"):
            read_matrix(put(tmp_path, head + hostile.tobytes(order="F"), "hostile"))


@pytest.mark.parametrize("options", [{"format": "4"}, {}, {"do_compression": True}])
def test_mat_of_every_class_as_scipy_reads_them(tmp_path, options):
    kinds = ["f8", "f4", "i4", "i2", "u2", "u1"] + ([] if options.get("format") else ["i1", "u4", "i8", "u8", "?"])
    for kind in kinds:
        M = np.abs(A).astype(kind)
        for value in (M, sp.csc_array(M.astype("f8" if kind != "?" else "?"))):
            path = put(tmp_path, written(scipy.io.savemat, {"K": value}, **options), "k.mat")
            expected = scipy.io.loadmat(path)["K"]
            got = read_matrix(path).toarray()
            assert np.array_equal(got, expected.toarray() if sp.issparse(expected) else expected)


@pytest.mark.parametrize("options", [{"format": "4"}, {}, {"do_compression": True}])
def test_one_by_one(tmp_path, options):
    one = put(tmp_path, written(scipy.io.savemat, {"A": np.array([[5.0]])}, **options), "one.mat")
    assert read_matrix(one).toarray().tolist() == [[5.0]]
    both = put(tmp_path, written(scipy.io.savemat, {"A": A, "s": 3.0}, **options), "both.mat")
    assert np.array_equal(read_matrix(both).toarray(), A)  # a number beside the matrix is none
    two = put(tmp_path, written(scipy.io.savemat, {"s": 1.0, "t": 3.0}, **options), "two.mat")
    with pytest.raises(FileFormatError, match="s, t"):
        read_matrix(two)


def test_structs_and_cells_are_named_with_a_remedy(tmp_path):
    for value in ({"K": A}, np.array([[A, "a"]], dtype=object)):
        with pytest.raises(FileFormatError, match="-struct") as error:
            read_matrix(put(tmp_path, written(scipy.io.savemat, {"S": value}), "s.mat"))
        assert "S: a " in str(error.value)


def test_mat_7_3_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = put(tmp_path, b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100), "a.mat")
    with pytest.raises(FileFormatError, match=r"pip install h5py.*-v7"):
        read_matrix(path)


def test_mat_7_3(tmp_path):
    h5py = pytest.importorskip("h5py")
    S, path = sp.csc_array(A), tmp_path / "a.mat"

    def sparse(file, name, **parts):
        group = file.create_group(name)
        for key, value in ({"data": S.data, "ir": S.indices.astype("u8"), "jc": S.indptr.astype("u8")} | parts).items():
            group[key] = value
        group.attrs["MATLAB_sparse"], group.attrs["MATLAB_class"] = np.uint64(3), np.bytes_("double")

    def saved(fill):
        with h5py.File(path, "w", userblock_size=512) as file:
            fill(file)
        return path

    def dense(file):
        file["B"] = (A + np.triu(A)).T
        file["B"].attrs["MATLAB_class"] = np.bytes_("double")
        file["raw"] = np.ones((2, 2))  # not MATLAB's

    assert np.array_equal(read_matrix(saved(lambda file: sparse(file, "A"))).toarray(), A)
    assert np.array_equal(read_matrix(saved(lambda file: sparse(file, "Problem/A"))).toarray(), A)
    assert np.array_equal(read_matrix(saved(dense)).toarray(), A + np.triu(A))
    for hostile in ({"ir": S.indices.astype("u8") + 2**40}, {"jc": S.indptr.astype("u8")[::-1].copy()}):
        with pytest.raises(FileFormatError):
            read_matrix(saved(lambda file, hostile=hostile: sparse(file, "A", **hostile)))

    def elsewhere(file):
        file["A"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/A")
        file.create_dataset("E", (3, 3), "f8", external=[(str(tmp_path / "secret"), 0, 72)])
        file["E"].attrs["MATLAB_class"] = np.bytes_("double")

    (tmp_path / "secret").write_bytes(A.tobytes())
    with pytest.raises(FileFormatError, match="another file"):
        read_matrix(saved(elsewhere))

    def claim(file):
        file.create_dataset("A", (10**5, 10**5), "f8", chunks=(1000, 1000), compression="gzip")
        file["A"].attrs["MATLAB_class"] = np.bytes_("double")

    with pytest.raises(FileFormatError, match="far more"):
        read_matrix(saved(claim))


# --- Harwell-Boeing

RB = (
    "title                                                                   key     \n"
    "             4             1             1             2\n"
    "rsa                        3             3             5             0\n"
    "(16I5)          (16I3)          ({})\n"
    "    1    3    5    6\n  1  2  2  3  3\n{}"
)


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("5E8.1", " 4.0D+00-1.0D+00 4.0D+00-1.0D+00 4.0D+00\n"),  # they touch
        ("2E9.2", "0.40E+001-.10E+001\n 4.00E+00-1.00E+00\n    4.   \n"),
        ("20F5.1", "   40  -10   40  -10   40\n"),  # the format has the decimal point
        ("1P,5E8.1", " 4.0E+00-1.0E+00 4.0E+00-1.0E+00 4.0E+00\n"),
        ("1P5F6.1", "  40.0 -10.0  40.0 -10.0  40.0\n"),  # and a scale, where there is no exponent
        ("8I3", "  4 -1  4 -1  4\n"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_harwell_boeing(tmp_path, form, values, end):
    text = RB.format(form, values).replace("\n", end).encode()
    for content in (text, gzip.compress(text), zipped({"a.rsa": text})):
        assert np.array_equal(read_matrix(put(tmp_path, content, "a.rsa")).toarray(), A)


def test_harwell_boeing_as_scipy_writes_it(tmp_path, rng):
    M = sp.random_array((30, 30), density=0.1, rng=rng).tocsc()
    stream = io.StringIO()
    scipy.io.hb_write(stream, M)
    path = put(tmp_path, stream.getvalue().encode(), "m.rua")
    assert np.array_equal(read_matrix(path).toarray(), M.toarray())
    text = path.read_bytes()
    for kind, error in ((b"CUA", DTypeError), (b"RZA", FileFormatError), (b"RUE", FileFormatError)):
        with pytest.raises(error):
            read_matrix(put(tmp_path, text.replace(b"RUA", kind)))
    for length in range(300, len(text), 97):
        with pytest.raises(NNLAError):
            read_matrix(put(tmp_path, text[:length]))


def test_a_pattern_in_rutherford_boeing(tmp_path):
    text = RB.format("", "").replace("rsa", "psa").replace("()", "").encode()
    assert np.array_equal(read_matrix(put(tmp_path, text)).toarray(), GRAPH)


# --- .npz


def test_npz_of_every_format_out_of_range(tmp_path):
    for M in (sp.csr_array(A), sp.csc_array(A), sp.bsr_array(A, blocksize=(1, 1)), sp.coo_array(A), sp.dia_array(A)):
        with np.load(io.BytesIO(written(sp.save_npz, M))) as archive:
            parts = {name: archive[name] for name in archive.files}
        indices = [name for name in parts if name in ("indices", "indptr", "row", "col", "coords", "offsets")]
        assert indices
        for name in indices:
            for kind in ("i1", "i4", "i8", "u1", "u4", "u8", ">i4", "f8"):
                for value in (-1, 3, 100, 2**30, -(2**30), 2**62, np.nan):
                    if kind != "f8" and not (value == value and np.can_cast(np.min_scalar_type(int(value)), kind)):
                        continue
                    changed = np.abs(parts[name]).astype(kind)
                    changed.flat[1 % changed.size] = value
                    path = tmp_path / "h.npz"
                    np.savez(path, **(parts | {name: changed}))
                    try:
                        got = read_matrix(path)
                    except (FileFormatError, ShapeError):
                        continue
                    got.check_format(full_check=True)
                    assert name in ("offsets", "indptr") or value in (0, 1, 2)


def test_npz_dia_beyond_the_matrix(tmp_path):
    M = sp.dia_array((np.arange(1.0, 11).reshape(2, 5), [-1, 2]), shape=(3, 3))
    path = put(tmp_path, written(sp.save_npz, M), "d.npz")
    assert np.array_equal(read_matrix(path).toarray(), M.toarray())


def test_what_is_read_is_one_s_own(tmp_path):
    for write in (lambda f: np.save(f, A), lambda f: sp.save_npz(f, sp.csr_array(A)), lambda f: scipy.io.mmwrite(f, A)):
        got = read_matrix(put(tmp_path, written(write), "own"))
        got.data *= 2  # writable, sorted
        assert got.indices.flags.writeable
        assert np.array_equal(got.toarray(), 2 * A)
    b = read_vector(put(tmp_path, written(np.save, A[0]), "own"))
    b *= 2
    assert b.tolist() == [8, -2, 0]
