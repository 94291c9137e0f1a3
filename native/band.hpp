// Cholesky factorisation of a small matrix within its skyline: no ordering beyond that of the rows, no analysis beyond
// how far each column reaches, dense blocks of 4 x 4. For small matrices less work than finding an order of little fill.
#pragma once
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "ordering.hpp"

namespace nnla {

// Block column J has the blocks (J, J) ... (reach[J], J), 4 x 4 and column-major, behind one another from start[J] on.
// Reaches never decrease, so that all fill lies inside. Rows are padded to a multiple of 4 with an identity.
// Plain pointers: the kernels are compiled for one instruction set each, and share no inline function with others.
struct Skyline {
    std::int32_t blocks = 0;
    const std::int32_t* reach = nullptr;
    const std::int32_t* first = nullptr;  // of each block row the first block column that reaches it
    const std::int64_t* start = nullptr;  // in numbers; blocks + 1 entries
};

// Compiled for each instruction set.
struct BandKernels {
    // L in the place of A, the diagonal as its reciprocals. Returns a row whose pivot is not positive, or -1.
    std::int64_t (*factor)(const Skyline& s, double* values);
    // x = (L L^T)^-1 x for 4 * blocks numbers.
    void (*solve)(const Skyline& s, const double* values, double* x);
};

class BandCholesky {
  public:
    // The skyline of the pattern with its rows in this order (new to old); in their own where it is empty.
    BandCholesky(const Pattern& a, std::vector<std::int32_t> order);

    double products() const { return products_; }  // of blocks, that a factorisation takes
    std::int32_t blocks() const { return blocks_; }  // of rows
    double stored() const { return static_cast<double>(start_.back()); }

    // Returns the row (of A) of a pivot that is not positive, or -1; reads one of (i, j) and (j, i).
    std::int64_t factor(const double* data);
    // x = A^-1 b; x may be b. Any number of calls at a time, each with its work space of work_size() numbers.
    void solve(const double* b, double* x, double* work) const;
    std::size_t work_size() const { return 4 * static_cast<std::size_t>(blocks_); }
    std::int32_t size() const { return a_.n; }
    // At the rows of A.
    void pivots(double* out) const;

  private:
    std::int32_t at(std::int32_t i) const { return inverse_.empty() ? i : inverse_[i]; }
    Skyline skyline() const { return {blocks_, reach_.data(), first_.data(), start_.data()}; }
    std::int64_t place(std::int32_t i, std::int32_t j) const {  // of an entry on or below the diagonal
        return start_[j / 4] + 16 * static_cast<std::int64_t>(i / 4 - j / 4) + j % 4 * 4 + i % 4;
    }
    std::int32_t row(std::int64_t k) const { return order_.empty() ? static_cast<std::int32_t>(k) : order_[k]; }

    Pattern a_;
    std::int32_t blocks_ = 0;
    std::vector<std::int32_t> order_, inverse_, reach_, first_;
    std::vector<std::int64_t> start_;
    double products_ = 0;
    Array<double> values_;
};

}  // namespace nnla
