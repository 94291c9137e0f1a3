// The pieces of a multigrid set-up that pay in native code: strength, prolongation, Galerkin product.
#pragma once
#include <cstdint>
#include <vector>

namespace nnla {

// A CSR matrix of somebody else; without data, a pattern.
struct CsrView {
    std::int64_t rows, columns;
    const std::int32_t* indptr;
    const std::int32_t* indices;
    const double* data;
    std::int64_t nnz() const { return indptr[rows]; }
};

struct CsrArrays {
    std::vector<std::int32_t> indptr, indices;
    std::vector<double> data;
};

CsrArrays transpose(const CsrView& A);

// What the choice between aggregation and classical coarsening looks at.
struct Traits {
    double positive = 0;  // share of positive off-diagonal entries in the absolute off-diagonal sum, diagonal scaled
    double weak = 0;      // share of off-diagonal entries with a_ij^2 < theta^2 a_ii a_jj
    double uniform = 0;   // share of the rows whose off-diagonal entries differ by less than 10 %
};
Traits traits(const CsrView& A, double theta);

// Nodes of `block` consecutive unknowns: I and J are strongly connected where
// |A_IJ|^2 >= theta^2 |A_II| |A_JJ| in Frobenius norms. The diagonal is left out.
CsrArrays symmetric_strength(const CsrView& A, double theta, int block);

// Signs s such that, along a spanning forest of the strong connections (theta as in classical_strength),
// s_i a_ij s_j < 0. Returns the share of positive entries in the absolute off-diagonal sum of S A S.
double balancing_signs(const CsrView& A, double theta, double* signs);

// i depends strongly on j where |a_ij| >= theta max_k |a_ik|. The diagonal is left out.
CsrArrays classical_strength(const CsrView& A, double theta);

// P = (I - W F) T, T the piecewise multiple of the candidate over aggregates (-1: none), F the matrix without its
// weak entries, which are lumped such that F candidate = A candidate, and W = 4/3 / (absolute row sum of F).
CsrArrays smoothed_prolongator(const CsrView& A, const CsrView& strength, int block, const std::int32_t* aggregate,
                               const double* candidate);

// Modified classical (Ruge-Stueben) interpolation to the points with splitting 1: strong F-F connections without a
// common C-point count as weak.
CsrArrays classical_prolongator(const CsrView& A, const CsrView& strength, const std::int32_t* splitting);

// P' A P for symmetric A, columns sorted.
CsrArrays galerkin(const CsrView& A, const CsrView& P);

}  // namespace nnla
