"""Gram matrices of DNA: FASTA file -> pieces -> k-mer counts -> X = A A' + lambda I, never formed.

The spectrum embedding of a sequence is the vector of its k-mer counts: 4^k features, of which a piece of a thousand
bases fills a thousand at most. The Gram matrix measures the similarity of the pieces; whitening by its inverse square
root is the matrix function of AutoSpec's section 5.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import OptionError, ShapeError
from nnla.problems.fasta import UNKNOWN as _UNKNOWN
from nnla.problems.fasta import read_fasta

__all__ = ["GramOperator", "cut_pieces", "kmer_counts", "read_fasta", "spectrum_gram"]

_LARGEST_K = 15
_TOGETHER = 8  # columns of a product at a time


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
