#include "deflation.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "deflation_kernels.hpp"
#include "interruption.hpp"
#include "prefetch.hpp"
#include "steps.hpp"

namespace nnla {
namespace {

using Long = std::int64_t;

constexpr Long kLine = 16;  // numbers in a cache line

Long blocks_of(Long n) { return (n + kDeflationBlock - 1) / kDeflationBlock; }

}  // namespace

PackedRows::PackedRows(Long count, Long n)
    : count_(count), n_(n), values_(static_cast<std::size_t>(count * blocks_of(n) * kDeflationBlock)),
      units_(static_cast<std::size_t>(count)), scaled_(units_) {
    std::fill(values_.data(), values_.data() + values_.size(), 0.0f);
}

float* PackedRows::block(Long b, Long row) { return values_.data() + (b * count_ + row) * kDeflationBlock; }

void PackedRows::set(Long row, const double* values) {
    tick(n_);
    double largest = 0;
    for (Long j = 0; j < n_; ++j) largest = std::max(largest, std::fabs(values[j]));
    const double unit = largest > 0 && std::isfinite(largest) ? largest : 1.0;
    units_[static_cast<std::size_t>(row)] = unit;
    for (Long b = 0; b < blocks_of(n_); ++b) {
        float* to = block(b, row);
        const Long first = b * kDeflationBlock, count = std::min(kDeflationBlock, n_ - first);
        for (Long j = 0; j < count; ++j) to[j] = static_cast<float>(values[first + j] / unit);
    }
}

void PackedRows::dots(const double* x, double* out) const {
    const DeflationKernels& kernels = *isa().deflation;
    const Long size = count_ * kDeflationBlock;
    std::fill(out, out + count_, 0.0);
    for (Long first = 0; first < n_; first += kDeflationBlock) {
        tick(count_ * kDeflationBlock / 8);
        const float* rows = values_.data() + first * count_;
        for (Long i = 0; i < size; i += kLine) NNLA_PREFETCH(rows + size + i);  // what comes next
        kernels.dots(rows, count_, x + first, std::min(kDeflationBlock, n_ - first), out);
    }
    for (Long i = 0; i < count_; ++i) out[i] *= units_[static_cast<std::size_t>(i)];
}

void PackedRows::add(const double* c, double* z) const {
    const DeflationKernels& kernels = *isa().deflation;
    const Long size = count_ * kDeflationBlock;
    for (std::size_t i = 0; i < units_.size(); ++i) scaled_[i] = units_[i] * c[i];
    for (Long first = 0; first < n_; first += kDeflationBlock) {
        tick(count_ * kDeflationBlock / 8);
        const float* rows = values_.data() + first * count_;
        for (Long i = 0; i < size; i += kLine) NNLA_PREFETCH(rows + size + i);  // what comes next
        kernels.add(rows, count_, scaled_.data(), z + first,
                    std::min(kDeflationBlock, n_ - first));
    }
}

DeflatedPreconditioner::DeflatedPreconditioner(const Rows& W, const Rows& AW, Preconditioner* M, const double* inverse)
    : n_(W.n), M_(M), inverse_(inverse), W_(W.count, W.n), back_(W.count, W.n),
      along_(static_cast<std::size_t>(W.count)), other_(along_) {
    std::vector<double> row(M == nullptr ? static_cast<std::size_t>(n_) : 0);
    for (Long i = 0; i < W.count; ++i) {
        const double *w = W.data + i * n_, *image = AW.data + i * n_;
        W_.set(i, w);
        if (M == nullptr) {
            for (Long j = 0; j < n_; ++j) row[j] = w[j] - (inverse == nullptr ? image[j] : inverse[j] * image[j]);
            image = row.data();
        }
        back_.set(i, image);
    }
}

void DeflatedPreconditioner::apply(const double* r, double* z) {
    (M_ == nullptr ? back_ : W_).dots(r, along_.data());  // before z, which may be r
    tick(n_ / 4);
    if (M_ != nullptr) {
        M_->apply(r, z);
        back_.dots(z, other_.data());
        for (std::size_t i = 0; i < along_.size(); ++i) along_[i] -= other_[i];
    } else if (inverse_ != nullptr) {
        for (Long j = 0; j < n_; ++j) z[j] = inverse_[j] * r[j];
    } else if (z != r) {
        std::memcpy(z, r, sizeof(double) * static_cast<std::size_t>(n_));
    }
    W_.add(along_.data(), z);
}

}  // namespace nnla
