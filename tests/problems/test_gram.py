"""FASTA -> pieces -> k-mer counts -> Gram operator."""

import gzip

import numpy as np
import pytest

import nnla
from nnla.errors import FileFormatError, OptionError
from nnla.problems.gram import cut_pieces, kmer_counts, read_fasta, spectrum_gram


def write(path, text):
    path.write_bytes(text.encode())
    return path


def test_fasta_is_read(tmp_path):
    text = ">chr1 first\r\nACGT\r\nacgtN\r\n>chr2\nUU\n"
    for path in (write(tmp_path / "x.fna", text), tmp_path / "x.fna.gz"):
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        records = read_fasta(path)
        assert {k: v.tolist() for k, v in records.items()} == {"chr1": [0, 1, 2, 3, 0, 1, 2, 3, 4], "chr2": [3, 3]}


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "first line"), ("ACGT\n", "first line"), (">a\n", "no sequence"), (">a\nACGT!\n", "'!' at base 4"),
     (">p\nMKLE\n", "protein"), (">a\nAC\n>a\nGT\n", "two records")],
)  # fmt: skip
def test_bad_fasta_is_refused(tmp_path, text, word):
    with pytest.raises(FileFormatError, match=word):
        read_fasta(write(tmp_path / "x.fa", text))


def test_damaged_gzip_and_missing_file(tmp_path):
    whole = gzip.compress(b">a\n" + b"ACGT" * 5000)
    for data in (whole[: len(whole) // 2], whole[:20] + b"\0\0\0" + whole[23:]):
        (tmp_path / "x.fna.gz").write_bytes(data)
        with pytest.raises(FileFormatError):
            read_fasta(tmp_path / "x.fna.gz")
    with pytest.raises(FileFormatError, match="nothing"):
        read_fasta(tmp_path / "nothing.fna")


def test_pieces(rng):
    sequence = np.arange(100) % 4
    pieces = cut_pieces(sequence, 5, 20)
    assert pieces.shape == (5, 20)
    assert np.array_equal(pieces[-1], sequence[80:])
    assert np.array_equal(cut_pieces(sequence, 3, 20, stride=10)[1], sequence[10:30])
    for bad in ((3, 200, None), (0, 5, None), (20, 20, 5), (3, 5, 0)):
        with pytest.raises(OptionError):
            cut_pieces(sequence, bad[0], bad[1], stride=bad[2])


def test_counts_against_a_dictionary(rng):
    pieces = rng.integers(0, 5, (4, 60)).astype(np.uint8)
    pieces[pieces == 4] = np.where(rng.random((pieces == 4).sum()) < 0.2, 4, 0)
    counts = kmer_counts(pieces, 3).toarray()
    assert counts.shape == (4, 64)
    for row, piece in zip(counts, pieces, strict=True):
        expected = np.zeros(64)
        for i in range(58):
            word = piece[i : i + 3]
            if (word < 4).all():
                expected[16 * int(word[0]) + 4 * int(word[1]) + int(word[2])] += 1
        assert np.array_equal(row, expected)
    with pytest.raises(OptionError, match="k must be"):
        kmer_counts(pieces, 0)


@pytest.mark.parametrize("centred", [False, True])
def test_the_operator_is_the_matrix_and_normalised(rng, centred):
    F = kmer_counts(rng.integers(0, 4, (30, 400)).astype(np.uint8), 5)
    X = spectrum_gram(F, 1e-3, centred=centred)
    A = F.toarray() - (F.toarray().mean(axis=0) if centred else 0)
    w = np.linalg.eigvalsh(A @ A.T)
    dense = X.toarray()
    assert np.allclose(dense, A @ A.T / w[-1] + 1e-3 * np.eye(30), atol=1e-10)
    assert np.isclose(np.linalg.eigvalsh(dense)[-1], 1.001)
    if centred:
        assert np.isclose(np.linalg.eigvalsh(dense)[0], 1e-3)
    V = rng.standard_normal((30, 20))
    assert np.allclose(X @ V, dense @ V)
    assert nnla.probe(X, 5).definite
    with pytest.raises(OptionError, match="ridge"):
        spectrum_gram(F, 0.0)
