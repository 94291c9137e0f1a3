// Incomplete Cholesky as a preconditioner: z = (A + shift diag A)^-1 r, nearly, by two triangular solves.
#pragma once
#include <cstdint>
#include <memory>

#include "incomplete_factor.hpp"
#include "preconditioner.hpp"

namespace nnla {

class IncompleteCholesky : public Preconditioner {
  public:
    double shift() const { return shift_; }
    double modified() const { return modified_; }
    std::int64_t nnz() const { return nnz_; }  // of L, the diagonal included
    virtual int value_size() const = 0;        // 4: the factor is held in float32, 8: in float64

    // k vectors at once, row-major (size(), k).
    virtual void apply_block(const double* r, double* z, std::int64_t k) = 0;

    // L by rows (columns ascend, the diagonal last), with L L^T ~ A + shift diag A.
    virtual void export_lower(std::int32_t* start, std::int32_t* column, double* value) const = 0;

  protected:
    double shift_ = 0.0, modified_ = 0.0;
    std::int64_t nnz_ = 0;
};

// Stores the factor in float32 (`single`) or float64, and releases it.
std::unique_ptr<IncompleteCholesky> make_incomplete_cholesky(IncompleteFactor&& factor, bool single);

}  // namespace nnla
