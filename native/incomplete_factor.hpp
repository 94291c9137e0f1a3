// Incomplete Cholesky factors without fill, IC(0) and modified IC(0): the factorisation.
#pragma once
#include <cstdint>
#include <memory>

namespace nnla {

// A symmetric matrix by rows, indices ascending in every row. Only one triangle is read.
struct SymmetricRows {
    std::int32_t n;
    const std::int32_t* start;  // n + 1
    const std::int32_t* column;
    const double* value;
    bool upper;  // read the upper triangle, which spares a transposition; else the lower
};

// A without its scaling is S = V^-1 A V^-1 with V = diag(A)^1/2, and S + shift I ~ (I + M) P (I + M)^T on the pattern,
// M strictly lower triangular. Solves use  N = P^-1/2 M P^1/2,  so that they neither divide nor leave the range of
// float32:  (A + shift diag A)^-1 ~ T (I + N)^-T (I + N)^-1 T  with  T = V^-1 P^-1/2.
struct IncompleteFactor {
    std::int32_t n = 0;
    double shift = 0.0, modified = 0.0;  // as used
    // M P by columns, row indices ascending.
    std::unique_ptr<std::int32_t[]> start, row;
    std::unique_ptr<double[]> value;
    std::unique_ptr<double[]> inverse_root;  // P^-1/2:  n_ij = value * inverse_root[i] * inverse_root[j]
    std::unique_ptr<double[]> scale;         // T
};

// Why there is no factor. bad_row < 0: there is one.
struct FactorOutcome {
    std::int32_t bad_row = -1;
    bool bad_diagonal = false;  // the entry of A is not positive and finite (else: the pivot is not)
    double pivot = 0.0;         // in units of the diagonal entry; the entry itself for a bad diagonal
    double shift = 0.0;         // tried last
};

// Factors A + shift diag(A) with the pattern of A. Of every dropped entry (i, j) the share `modified` (in 0 .. 1) is
// taken off the diagonal entries of rows i and j, so that 1 keeps the row sums of A (modified IC), 0 forgets it (IC);
// negative: kRelaxation for matrices with few positive entries off the diagonal if the factor exists, else 0. With
// `automatic` the first of shift, 1e-3, 2e-3, 4e-3, ... 1 for which all pivots are positive is taken.
FactorOutcome factor_incomplete(const SymmetricRows& A, double modified, double shift, bool automatic, IncompleteFactor& factor);

}  // namespace nnla
