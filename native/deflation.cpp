#include "deflation.hpp"

#include <cstring>

#include "interruption.hpp"

namespace nnla {

void DeflatedPreconditioner::apply(const double* r, double* z) {
    basis_products(W_, Rows{r, 1, W_.n}, along_.data());  // before z, which may be r
    tick(W_.n / 4);
    if (M_ != nullptr) M_->apply(r, z);
    else if (inverse_ != nullptr)
        for (std::int64_t i = 0; i < W_.n; ++i) z[i] = inverse_[i] * r[i];
    else if (z != r) std::memcpy(z, r, sizeof(double) * static_cast<std::size_t>(W_.n));
    basis_products(AW_, Rows{z, 1, W_.n}, back_.data());
    for (std::size_t k = 0; k < back_.size(); ++k) back_[k] -= along_[k];
    basis_subtract(W_, back_.data(), z, 1);
}

}  // namespace nnla
