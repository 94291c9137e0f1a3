#include "verification.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "conjugate_gradients.hpp"
#include "interruption.hpp"

namespace nnla {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kSlack = 1 - 1e-12;    // the norms of the caller may be summed in another order
constexpr int kComfort = 90;            // exponents of the diagonal, as in nnla.linear.units
constexpr double kSmallest = 1e-100, kLargest = 1e100;  // norms of b whose solution and residual stay in range
constexpr double kUniform = 10;         // as in nnla.linear.criterion
constexpr std::int64_t kRows = 2048;    // of a residual that is made, subtracted and summed while it is at hand

}  // namespace

Declined Verification::take_matrix() {
    low_ = high_ = diagonal[0];
    for (const double d : diagonal) {
        low_ = std::min(low_, d);
        high_ = std::max(high_, d);
    }
    int lowest, highest;
    std::frexp(low_, &lowest);
    std::frexp(high_, &highest);
    return lowest < -kComfort || highest > kComfort ? Declined::range : Declined::no;
}

Declined Verification::take_right_hand_side(const double* given, double rtol, double atol) {
    const std::size_t n = diagonal.size();
    figures_ = Figures();
    heavy = false;
    const double norm = std::sqrt(dot(n, given, given));
    if (!(norm > 0) || !std::isfinite(norm)) return Declined::right_hand_side;
    if (norm < kSmallest || norm > kLargest) return Declined::range;
    int exponent;
    size = 2 * std::frexp(norm, &exponent);
    unit_ = exponent - 1;
    const double power = std::ldexp(1.0, -unit_);
    b.resize(n);
    residual.resize(n);
    image_.resize(n);
    for (std::size_t i = 0; i < n; ++i) b[i] = given[i] * power;
    target = std::max(rtol * size, std::min(atol * power, 1e300)) * kSlack;
    if (!(target > 0 && size > target)) return Declined::target;
    look_for_heavy_rows();
    return Declined::no;
}

void Verification::look_for_heavy_rows() {
    const double uniform = kUniform * std::sqrt(static_cast<double>(diagonal.size()));
    if (high_ <= uniform * low_) return;
    equilibrated(b, parts_);
    heavy = size > uniform * parts_[1];
}

// ||D^-1/2 r|| and ||D^-1 r|| for the diagonal in units of its smallest entry.
void Verification::equilibrated(const std::vector<double>& r, double parts[2]) {
    const std::size_t n = diagonal.size();
    for (std::size_t i = 0; i < n; ++i) image_[i] = std::sqrt(low_ / diagonal[i]) * r[i];
    parts[0] = std::sqrt(dot(n, image_.data(), image_.data()));
    for (std::size_t i = 0; i < n; ++i) image_[i] = low_ / diagonal[i] * r[i];
    parts[1] = std::sqrt(dot(n, image_.data(), image_.data()));
}

double Verification::true_residual(const Csr& A, const double* x) {
    const VectorKernels& vectors = isa().vectors;
    double sum = 0;
    for (std::int64_t top = 0; top < A.n; top += kRows) {
        const std::int64_t end = std::min<std::int64_t>(A.n, top + kRows);
        tick(A.indptr[end] - A.indptr[top] + kRows);
        vectors.csr_product(A, top, end, x, image_.data());
        for (std::int64_t i = top; i < end; ++i) residual[i] = b[i] - image_[i];
        sum += vectors.dot(top, end, residual.data(), residual.data());
    }
    return std::sqrt(sum);
}

bool Verification::met(double norm) {
    if (!(norm <= target)) return false;
    if (!heavy) return true;
    double parts[2], worst = 0;
    equilibrated(residual, parts);
    for (int k = 0; k < 2; ++k)
        if (parts_[k] > 0) worst = std::max(worst, parts[k] / parts_[k]);
    figures_.equilibrated_residual = worst;
    return worst * size <= target;
}

Declined Verification::finish(double norm, double* x) {
    const std::size_t n = diagonal.size();
    const double length = std::sqrt(dot(n, x, x));
    if (!(norm <= target) || !(length > 0) || !std::isfinite(length)) return Declined::accuracy;
    figures_.relative_residual = norm / size;
    for (std::size_t i = 0; i < n; ++i) image_[i] = b[i] - residual[i];
    const double image = std::sqrt(dot(n, image_.data(), image_.data()));
    const double norm_of_matrix = std::max(high_, image / length);  // at least
    figures_.backward_error = norm > 0 ? 1 / (norm_of_matrix * (length / norm) + size / norm) : 0;
    const double power = std::ldexp(1.0, unit_);
    for (std::size_t i = 0; i < n; ++i) x[i] *= power;
    return Declined::no;
}

bool Verification::lost(const std::vector<double>& pivots) const {
    double least = HUGE_VAL;
    for (std::size_t i = 0; i < pivots.size(); ++i) {
        const double share = pivots[i] / diagonal[i];
        if (!(share >= least)) least = share;
    }
    return !(least > 4 * static_cast<double>(pivots.size()) * kEps);
}

}  // namespace nnla
