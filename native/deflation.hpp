// A preconditioner corrected in a subspace that is known, as deflated CG needs it ("A-DEF2").
#pragma once
#include <cstdint>
#include <vector>

#include "basis.hpp"
#include "memory.hpp"
#include "preconditioner.hpp"

namespace nnla {

// Rows in float32, in units of their own, column by column in blocks: what is read in every iteration is read in order.
class PackedRows {
  public:
    PackedRows(std::int64_t count, std::int64_t n);
    void set(std::int64_t row, const double* values);
    // out = rows . x, and z += sum of c[i] row i
    void dots(const double* x, double* out) const;
    void add(const double* c, double* z) const;

  private:
    float* block(std::int64_t b, std::int64_t row);

    std::int64_t count_, n_;
    Array<float> values_;
    std::vector<double> units_;
    mutable std::vector<double> scaled_;  // one call at a time
};

// z = P' M r + W' W r with P' = I - W' (A W')', for rows W with W A W' = 1: on residuals orthogonal to W, which CG's are
// from a start in which Galerkin's method has solved, it is symmetric. W' W r takes back what rounding brings into them;
// also that of W in float32, which deflates as well as W does.
// Tang, Nabben, Vuik, Erlangga, J. Sci. Comput. 39 (2009), section 2.3.
class DeflatedPreconditioner : public Preconditioner {
  public:
    // M may be null; `inverse` (n entries, or null) is Jacobi's; not both. M and `inverse` must outlive it.
    DeflatedPreconditioner(const Rows& W, const Rows& AW, Preconditioner* M, const double* inverse);

    std::int64_t size() const override { return n_; }
    void apply(const double* r, double* z) override;

  private:
    std::int64_t n_;
    Preconditioner* M_;
    const double* inverse_;
    PackedRows W_, back_;  // A W, or for a diagonal M at once W - M A W: z = M r + W' (W - M A W) r
    std::vector<double> along_, other_;
};

}  // namespace nnla
