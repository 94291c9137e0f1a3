// Sparse Cholesky factorisation A = P^T L L^T P by fronts (multifrontal), and solution with it.
#pragma once
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "ordering.hpp"
#include "symbolic.hpp"

namespace nnla {

class Cholesky {
  public:
    // Orders and analyses the pattern, whose arrays must outlive the object. Gives up (complete() is false) once
    // the factorisation would take more than max_flops. Throws std::invalid_argument where the pattern is not
    // symmetric or its rows are not sorted.
    Cholesky(const Pattern& a, double max_flops);

    bool complete() const { return complete_; }
    double flops() const { return flops_; }  // sum of the squared column counts of L; a lower bound if given up
    double nnz() const { return nnz_; }      // entries of L; likewise
    double bytes() const { return symbolic_.bytes; }  // memory that factor() will take
    const Symbolic& symbolic() const { return symbolic_; }
    bool factored() const { return factored_; }
    std::int32_t size() const { return a_.n; }

    // Factors the matrix with these entries of the pattern. Returns the row of a pivot that is not positive, or
    // -1. Of the entries (i, j) and (j, i) it reads only one.
    std::int64_t factor(const double* data);

    // The pivots, at the rows of A that they are of. Needs factored().
    void pivots(double* out) const;

    // x = A^-1 b; x may be b. Needs factored(). Reentrant.
    void solve(const double* b, double* x) const;

    // The same for the columns of n x count row-major blocks.
    void solve_block(const double* b, double* x, std::int64_t count) const;

  private:
    // Entries are `stride` apart; work holds the order of A and `longest` of the analysis together.
    void solve_with(double* work, const double* b, double* x, std::int64_t stride) const;

    Pattern a_;
    Symbolic symbolic_;
    double nnz_ = 0, flops_ = 0;
    bool complete_ = false, factored_ = false;
    Array<double> panels_;
};

}  // namespace nnla
