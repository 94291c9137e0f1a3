// Sparse Cholesky factorisation A = P^T L L^T P by fronts (multifrontal), and solution with it.
#pragma once
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "ordering.hpp"
#include "symbolic.hpp"

namespace nnla {

// Throws std::invalid_argument where rows are not sorted, or the pattern is not symmetric.
void require_symmetric(const Pattern& a);

// The analysis, which does not change: any number of calls may factor and solve with it at a time.
class Cholesky {
  public:
    // Orders and analyses the pattern, whose arrays must outlive the object. Gives up (complete() is false) once
    // the factorisation would take more than max_flops. Throws std::invalid_argument where the pattern is not
    // symmetric or its rows are not sorted.
    enum class Rows { unchecked, checked };  // whether that has been looked at before
    Cholesky(const Pattern& a, double max_flops, Rows rows = Rows::unchecked);

    bool complete() const { return complete_; }
    double flops() const { return flops_; }  // sum of the squared column counts of L; a lower bound if given up
    double nnz() const { return nnz_; }      // entries of L; likewise
    double bytes() const { return symbolic_.bytes; }  // memory that factor() will take
    const Symbolic& symbolic() const { return symbolic_; }
    std::int32_t size() const { return a_.n; }

    // L by panels, and D: empty if all its entries are +1.
    struct Factor {
        Array<double> panels;
        std::vector<double> signs;
        double largest = 0;  // |entry| of the matrix
        std::int64_t negative() const;  // pivots
    };

    // Factors the matrix with these entries of the pattern into `factor`, new or one of before. Returns the row of a
    // pivot that is not positive, or -1. Of the entries (i, j) and (j, i) it reads only one.
    // With `indefinite` pivots may have any sign but zero: P A P^T = L D L^T with D of +1 and -1, whose signs are
    // those of the eigenvalues of A (Sylvester). Nothing is exchanged for stability: the caller checks what it got.
    std::int64_t factor(const double* data, bool indefinite, Factor& factor) const;

    // X = A^-1 B for the columns of n x count row-major blocks; x may be b. A column comes out as it would alone.
    void solve(const Factor& factor, const double* b, double* x, std::int64_t count) const;
    // The same for one column, with a work space of work_size() numbers.
    void solve(const Factor& factor, const double* b, double* x, double* work) const;
    std::size_t work_size() const { return static_cast<std::size_t>(a_.n) + static_cast<std::size_t>(symbolic_.longest); }

    // The pivots, at the rows of A that they are of.
    void pivots(const Factor& factor, double* out) const;

    // The largest diagonal entry of |L| |D| |L|^T by the largest entry of the matrix: 1 where that is definite.
    double growth(const Factor& factor) const;

  private:
    Pattern a_;
    Symbolic symbolic_;
    double nnz_ = 0, flops_ = 0;
    bool complete_ = false;
};

}  // namespace nnla
