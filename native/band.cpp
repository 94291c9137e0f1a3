#include "band.hpp"

#include <algorithm>
#include <cstring>

#include "interruption.hpp"
#include "steps.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;

}  // namespace

BandCholesky::BandCholesky(const Pattern& a, std::vector<Int> order)
    : a_(a), blocks_((a.n + 3) / 4), order_(std::move(order)), reach_(blocks_), first_(blocks_), start_(blocks_ + 1) {
    if (!order_.empty()) {
        inverse_.resize(a.n);
        for (Int k = 0; k < a.n; ++k) inverse_[order_[k]] = k;
    }
    for (Int j = 0; j < blocks_; ++j) reach_[j] = j;
    for (Int i = 0; i < a.n; ++i) {
        const Int own = at(i) / 4;
        Int far = reach_[own];
        for (Int k = a.indptr[i]; k < a.indptr[i + 1]; ++k) far = std::max(far, at(a.indices[k]) / 4);
        reach_[own] = far;
    }
    Int row = 0;
    for (Int j = 0; j < blocks_; ++j) {
        if (j > 0) reach_[j] = std::max(reach_[j], reach_[j - 1]);
        const Int height = reach_[j] - j + 1;
        start_[j + 1] = start_[j] + 16 * static_cast<Long>(height);
        products_ += 0.5 * height * (height + 1.0);
        while (row <= reach_[j]) first_[row++] = j;
    }
}

Long BandCholesky::factor(const double* data) {
    if (values_.size() == 0) values_ = Array<double>(start_.back());
    double* values = values_.data();
    tick(start_.back() / 4 + a_.indptr[a_.n]);
    std::memset(values, 0, values_.bytes());
    for (Int i = 0; i < a_.n; ++i) {
        const Int r = at(i);
        for (Int k = a_.indptr[i]; k < a_.indptr[i + 1]; ++k) {
            const Int c = at(a_.indices[k]);
            if (c <= r) values[place(r, c)] = data[k];
        }
    }
    for (Int k = a_.n; k < 4 * blocks_; ++k) values[place(k, k)] = 1.0;
    const Long failed = isa().band->factor(skyline(), values);
    return failed < 0 ? -1 : row(failed);
}

void BandCholesky::solve(const double* b, double* x, double* work) const {
    double* y = work;
    for (Int k = 0; k < a_.n; ++k) y[k] = b[row(k)];
    for (Int k = a_.n; k < 4 * blocks_; ++k) y[k] = 0.0;
    isa().band->solve(skyline(), values_.data(), y);
    for (Int k = 0; k < a_.n; ++k) x[row(k)] = y[k];
}

void BandCholesky::pivots(double* out) const {
    for (Int k = 0; k < a_.n; ++k) {
        const double root = 1 / values_[place(k, k)];
        out[row(k)] = root * root;
    }
}

}  // namespace nnla
