"""Gram matrices of DNA: FASTA file -> pieces -> k-mer counts -> X = A A' + lambda I, never formed.

The spectrum embedding of a sequence is the vector of its k-mer counts: 4^k features, of which a piece of a thousand
bases fills a thousand at most. The Gram matrix measures the similarity of the pieces; whitening by its inverse square
root is the matrix function of AutoSpec's section 5.4.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import FileFormatError, OptionError, ShapeError

__all__ = ["GramOperator", "cut_pieces", "kmer_counts", "read_fasta", "spectrum_gram"]

_LETTERS = b"ACGTUNRYSWKMBDHV-"  # IUPAC; what is not A, C, G, T (or U) breaks a k-mer
_UNKNOWN = 4
_LARGEST_K = 15
_TOGETHER = 8  # columns of a product at a time


def read_fasta(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Sequences of a FASTA file (.fna, .fa, .fasta, also .gz) as codes 0-3 for A, C, G, T and 4 for anything else.

    Parameters
    ----------
    path : file

    Returns
    -------
    dict : first word of the header -> (length,) uint8, in the file's order

    Raises
    ------
    FileFormatError
        Not FASTA: no header first, a character that is no nucleotide code, an empty record, a name that occurs twice,
        a damaged gzip file.
    OSError
        The file cannot be read.

    Notes
    -----
    Cost: one pass over the file; a byte a base.

    References
    ----------
    Pearson, Lipman, Improved tools for biological sequence comparison, Proc. Natl. Acad. Sci. USA 85 (1988) 2444-2448.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "x.fna"
    >>> _ = file.write_text(">one two\\nACGT\\nNN\\n")
    >>> read_fasta(file)["one"].tolist()
    [0, 1, 2, 3, 4, 4]
    """
    data = _bytes(Path(path))
    if not data.lstrip().startswith(b">"):
        raise FileFormatError(f"{path}: not a FASTA file (the first line must start with '>')")
    table = np.full(256, 255, dtype=np.uint8)
    for letter in _LETTERS + _LETTERS.lower():
        table[letter] = _UNKNOWN
    for code, letters in enumerate((b"Aa", b"Cc", b"Gg", b"TtUu")):
        table[list(letters)] = code
    records: dict[str, np.ndarray] = {}
    for record in data.lstrip()[1:].split(b"\n>"):
        header, _, body = record.partition(b"\n")
        words = header.decode("latin-1").split()
        name = words[0] if words else f"record{len(records) + 1}"
        raw = np.frombuffer(body, dtype=np.uint8)
        raw = raw[(raw != 10) & (raw != 13) & (raw != 32) & (raw != 9)]
        codes = table[raw]
        if codes.size == 0:
            raise FileFormatError(f"{path}: the record {name!r} has no sequence")
        bad = np.flatnonzero(codes == 255)
        if bad.size:
            raise FileFormatError(
                f"{path}: the record {name!r} has the character {chr(raw[bad[0]])!r} at base {int(bad[0])} (from 0), "
                "which is no nucleotide code; this may be a protein file"
            )
        if name in records:
            raise FileFormatError(f"{path}: there are two records named {name!r}; rename one")
        records[name] = codes
    return records


def _bytes(path: Path) -> bytes:
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: not a readable gzip file ({error})") from error


def cut_pieces(sequence: np.ndarray, count: int, length: int, *, stride: int | None = None) -> np.ndarray:
    """Pieces of one length, evenly spread over a sequence.

    Parameters
    ----------
    sequence : (L,) codes
    count, length : pieces, and bases of each
    stride : bases from one start to the next; by default so that the pieces cover the sequence from end to end

    Returns
    -------
    (count, length) codes

    Raises
    ------
    OptionError
        The sequence is too short.

    Notes
    -----
    Cost: one copy of the pieces.
    """
    if count < 1 or length < 1 or (stride is not None and stride < 1):
        raise OptionError(f"count, length and stride must be positive, got {count}, {length}, {stride}")
    free = len(sequence) - length
    if stride is None:
        stride = free // (count - 1) if count > 1 else 1
    if free < 0 or stride < 1 or stride * (count - 1) > free:
        raise OptionError(
            f"{count} pieces of {length} bases, {stride} apart, do not fit into {len(sequence)} bases; ask for less"
        )
    return np.stack([sequence[i * stride : i * stride + length] for i in range(count)])


def kmer_counts(pieces: np.ndarray, k: int = 9) -> sp.csr_array:
    """Counts of the k-mers of every piece: the spectrum embedding.

    Parameters
    ----------
    pieces : (count, length) codes, see `cut_pieces`
    k : length of a word; 4^k features

    Returns
    -------
    csr_array (count, 4^k) of float64; the column of a k-mer is its number in base four. Windows with a letter other
    than A, C, G, T are not counted.

    Notes
    -----
    Cost: k passes over the pieces and a sort of their words; memory of some three numbers a base.

    References
    ----------
    Leslie, Eskin, Noble, The spectrum kernel, Pacific Symposium on Biocomputing (2002) 564-575. AutoSpec
    (arXiv:2602.09530), sections 5.1 and 5.4.

    Examples
    --------
    >>> kmer_counts(np.array([[0, 1, 0, 1]]), k=2).toarray()[0].nonzero()[0].tolist()  # AC twice, CA
    [1, 4]
    """
    pieces = np.asarray(pieces)
    if pieces.ndim != 2:
        raise ShapeError(f"pieces must have shape (count, length), got {pieces.shape}")
    if not 1 <= k <= _LARGEST_K or k > pieces.shape[1]:
        raise OptionError(f"k must be from 1 to {_LARGEST_K} and at most the length {pieces.shape[1]}, got {k}")
    n, width = int(pieces.shape[0]), int(pieces.shape[1]) - k + 1
    words, whole = np.zeros((n, width), dtype=np.int64), np.ones((n, width), dtype=bool)
    for j in range(k):
        letters = pieces[:, j : j + width]
        words = 4 * words + letters
        whole &= letters < _UNKNOWN
    rows, whole = np.repeat(np.arange(n), width), whole.ravel()
    shape = (n, 4**k)
    counts = sp.coo_array((np.ones(int(whole.sum())), (rows[whole], words.ravel()[whole])), shape=shape).tocsr()
    counts.sum_duplicates()
    return counts


class GramOperator(LinearOperator):
    """X = H A A' H / s + ridge I by products with A and A'; made by `spectrum_gram`.

    Attributes
    ----------
    features : csr_array (n, p), A
    ridge : lambda, relative to the largest eigenvalue s of H A A' H
    scale : s
    centred : whether H takes off the mean over the samples (H = I - 1 1' / n), or is the identity
    """

    def __init__(self, features: sp.csr_array, ridge: float, scale: float, centred: bool) -> None:
        self.features, self.ridge, self.scale, self.centred = features, ridge, scale, centred
        self._transposed: Any = features.T.tocsr()
        n = _rows(features)
        super().__init__(dtype=np.dtype(np.float64), shape=(n, n))

    def _centre(self, x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=0) if self.centred else x

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        if X.ndim == 2 and X.shape[1] > _TOGETHER:  # there are far more features than samples: A' X is large
            parts = [self._matmat(X[:, i : i + _TOGETHER]) for i in range(0, X.shape[1], _TOGETHER)]
            return np.concatenate(parts, axis=1)
        Y = self._centre(self.features @ (self._transposed @ self._centre(X)))
        return Y / self.scale + self.ridge * X

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(x.reshape(-1))

    def _adjoint(self) -> GramOperator:
        return self

    def toarray(self) -> np.ndarray:
        """X as a dense array (n, n), exactly symmetric."""
        dense = self._matmat(np.eye(self.shape[0]))
        return (dense + dense.T) / 2


def spectrum_gram(features: sp.csr_array, ridge: float, *, centred: bool = False) -> GramOperator:
    """The Gram matrix of rows of features with a ridge, scaled so that its largest eigenvalue is 1 + ridge.

    Parameters
    ----------
    features : csr_array (n, p)
    ridge : lambda > 0, relative: the normalisation is lambda_max(A A') = 1
    centred : take off the mean of the samples first (implicitly: the product stays sparse); the Gram matrix of centred
        samples is singular, its smallest eigenvalue is the ridge

    Returns
    -------
    GramOperator, symmetric positive definite, of cost 2 nnz(A) a product

    Notes
    -----
    Cost: some tens of products to find the largest eigenvalue; X is never formed.

    References
    ----------
    AutoSpec (arXiv:2602.09530), sections 5.1 and 5.4.
    """
    if not ridge > 0:
        raise OptionError(f"the ridge must be positive, got {ridge}")
    raw = GramOperator(features, 0.0, 1.0, centred)
    n = _rows(features)
    if n < 3:
        largest = float(np.linalg.eigvalsh(raw.toarray())[-1])
    else:
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(0).standard_normal(n)
        largest = float(eigsh(raw, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
    if not largest > 0:
        raise OptionError("the features are all zero: the Gram matrix has no scale")
    return GramOperator(features, ridge, largest, centred)


def _rows(features: Any) -> int:
    return len(features.indptr) - 1
