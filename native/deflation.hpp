// A preconditioner corrected in a subspace that is known, as deflated CG needs it ("A-DEF2").
#pragma once
#include <cstdint>
#include <vector>

#include "basis.hpp"
#include "preconditioner.hpp"

namespace nnla {

// z = P' M r + W' W r with P' = I - W' (A W')', for rows W with W A W' = 1: on residuals orthogonal to W, which CG's are
// from a start in which Galerkin's method has solved, it is symmetric. W' W r takes back what rounding brings into them.
// Tang, Nabben, Vuik, Erlangga, J. Sci. Comput. 39 (2009), section 2.3.
class DeflatedPreconditioner : public Preconditioner {
  public:
    // M may be null; `inverse` (n entries, or null) is Jacobi's; not both. The arrays must outlive it.
    DeflatedPreconditioner(const Rows& W, const Rows& AW, Preconditioner* M, const double* inverse)
        : W_(W), AW_(AW), M_(M), inverse_(inverse), along_(static_cast<std::size_t>(W.count)), back_(along_) {}

    std::int64_t size() const override { return W_.n; }
    void apply(const double* r, double* z) override;

  private:
    Rows W_, AW_;
    Preconditioner* M_;
    const double* inverse_;
    std::vector<double> along_, back_;
};

}  // namespace nnla
