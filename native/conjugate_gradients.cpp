#include "conjugate_gradients.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "interruption.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

constexpr std::size_t kEntriesPerPart = 65536;  // of a matrix, a thread at a time
constexpr std::size_t kRowsPerPart = 16384;

// job(part, first row, last row) for all parts.
template <class F> void over_rows(std::size_t n, F job) {
    const std::size_t parts = (n + kRowsPerPart - 1) / kRowsPerPart;
    parallel(static_cast<int>(parts), [&](int index) {
        const std::size_t p = static_cast<std::size_t>(index), lo = p * kRowsPerPart, hi = std::min(n, lo + kRowsPerPart);
        tick(static_cast<std::int64_t>(hi - lo));
        job(p, lo, hi);
    });
}

}  // namespace

double dot(std::size_t n, const double* a, const double* b) {
    if (n <= kRowsPerPart) return isa().vectors.dot(0, n, a, b);
    std::vector<double> sums((n + kRowsPerPart - 1) / kRowsPerPart, 0.0);
    over_rows(n, [&](std::size_t p, std::size_t lo, std::size_t hi) { sums[p] = isa().vectors.dot(lo, hi, a, b); });
    double sum = 0;
    for (double s : sums) sum += s;
    return sum;
}

CsrProduct::CsrProduct(const Csr& A) : A_(A) {
    borders_.push_back(0);
    std::size_t taken = 0;
    for (std::int64_t row = 0; row < A.n; ++row) {
        taken += static_cast<std::size_t>(A.indptr[row + 1] - A.indptr[row]) + 4;
        if (taken >= kEntriesPerPart || row + 1 == A.n) {
            borders_.push_back(row + 1);
            taken = 0;
        }
    }
}

double CsrProduct::multiply(const double* x, double* y) const {
    const auto& rows = isa().vectors.csr_product;
    const std::size_t parts = borders_.size() - 1;
    std::vector<double> sums(parts, 0.0);
    parallel(static_cast<int>(parts), [&](int index) {
        const std::size_t p = static_cast<std::size_t>(index);
        tick(A_.indptr[borders_[p + 1]] - A_.indptr[borders_[p]]);
        sums[p] = rows(A_, borders_[p], borders_[p + 1], x, y);
    });
    double sum = 0;
    for (double s : sums) sum += s;
    return sum;
}

double SlicedProduct::multiply(const double* x, double* y) const {
    const std::size_t slices = A_->slices(), each = kRowsPerPart / kLanes;
    const std::size_t parts = (slices + each - 1) / each;
    std::vector<double> sums(parts, 0.0);
    parallel(static_cast<int>(parts), [&](int index) {
        const std::size_t p = static_cast<std::size_t>(index), lo = p * each, hi = std::min(slices, lo + each);
        tick(static_cast<std::int64_t>((hi - lo) * static_cast<std::size_t>(kLanes) * 8));
        sums[p] = kernels<double>().product(*A_, lo, hi, x, y);
    });
    double sum = 0;
    for (double s : sums) sum += s;
    return sum;
}

ConjugateGradients::ConjugateGradients(const Product& A, Preconditioner* M, const double* inverse)
    : A_(&A), M_(M), n_(static_cast<std::size_t>(A.size())), p_(n_), s_(n_), r_(n_) {
    if (inverse != nullptr) inverse_.assign(inverse, inverse + n_);
    if (M != nullptr || inverse != nullptr) u_ = PaddedVector<double>(n_);
}

template <class F> void ConjugateGradients::over(F job) const {
    over_rows(n_, job);
}

// u = M r, with r'u in ru_.
const double* ConjugateGradients::preconditioned() {
    if (M_ != nullptr) {
        M_->apply(r_.data(), u_.data());
        ++applies;
        ru_ = dot(n_, r_.data(), u_.data());
        return u_.data();
    }
    if (inverse_.empty()) {
        ru_ = rr_;
        return r_.data();
    }
    if (!known_) {
        over([&](std::size_t, std::size_t lo, std::size_t hi) {
            for (std::size_t i = lo; i < hi; ++i) u_.data()[i] = inverse_[i] * r_.data()[i];
        });
        ru_ = dot(n_, r_.data(), u_.data());
    }
    return u_.data();
}

double ConjugateGradients::next_beta() {
    preconditioned();
    return ru_ / gamma_;
}

Ending ConjugateGradients::run(double* x, double* r, double target, std::int64_t iterations, std::int64_t stall,
                               bool one_reduction, bool restart, double* best) {
    std::memcpy(r_.data(), r, n_ * sizeof(double));
    try {
        const Ending how = iterate(x, target, iterations, stall, one_reduction, restart, best);
        std::memcpy(r, r_.data(), n_ * sizeof(double));
        return how;
    } catch (...) {
        // Ended from outside, between two changes of x and r. The direction may be half made: start again from there.
        std::memcpy(r, r_.data(), n_ * sizeof(double));
        fresh_ = true;
        throw;
    }
}

Ending ConjugateGradients::iterate(double* x, double target, std::int64_t iterations, std::int64_t stall,
                                   bool one_reduction, bool restart, double* best) {
    const VectorKernels& vectors = isa().vectors;
    const double* inverse = inverse_.empty() ? nullptr : inverse_.data();
    if (restart || fresh_) {
        if (recorded_) rows_left_ = 0;
        recorded_ = false;
        fresh_ = true;
        known_ = false;
        p_.zero();
        if (one_reduction) {
            if (w_.size() == 0) w_ = PaddedVector<double>(n_);
            s_.zero();
        }
        rr_ = dot(n_, r_.data(), r_.data());
        if (best_ == 0) best_ = HUGE_VAL;
    }
    std::vector<double> sums(2 * ((n_ + kRowsPerPart - 1) / kRowsPerPart), 0.0);
    for (std::int64_t k = 0;; ++k) {
        const double norm = std::sqrt(rr_);
        if (norm <= target) return Ending::reached;
        if (!std::isfinite(norm)) return Ending::not_finite;
        if (norm < 0.9 * best_) {
            best_ = norm;
            since_best_ = 0;
        } else if (stall > 0 && since_best_ > stall) {
            return Ending::stalled;
        }
        if (k == iterations) return Ending::iterations;

        const double* u = preconditioned();
        const double gamma = ru_;
        if (!(gamma > 0)) {
            failed_value = gamma;
            return Ending::preconditioner;
        }
        if (rows_left_ > 0) {
            const double scale = 1 / std::sqrt(gamma);
            over([&](std::size_t, std::size_t lo, std::size_t hi) {
                for (std::size_t i = lo; i < hi; ++i) rows_[i] = scale * u[i];
            });
            rows_ += n_;
            --rows_left_;
            recorded_ = true;
        }
        const double beta = fresh_ ? 0.0 : gamma / gamma_;
        double curvature;
        bool asked = false;
        const auto ask = [&] {  // p and s = A p themselves
            over([&](std::size_t, std::size_t lo, std::size_t hi) { vectors.direction(lo, hi, beta, u, p_.data()); });
            curvature = A_->multiply(p_.data(), s_.data());
            ++products;
            asked = true;
        };
        if (one_reduction) {
            const double uw = A_->multiply(u, w_.data());
            ++products;
            curvature = fresh_ ? uw : uw - beta * gamma / alpha_;
            if (!(curvature > 0) && !fresh_) {  // cancellation, or an indefinite A: ask directly
                ask();
                ++reductions;
            }
            ++reductions;
        } else {
            ask();
            reductions += 2;
        }
        if (!(curvature > 0)) {
            failed_value = curvature;
            return Ending::curvature;
        }
        const double alpha = gamma / curvature;
        const Shield together;  // x and r are of one iteration, whatever ends the call
        over([&](std::size_t p, std::size_t lo, std::size_t hi) {
            double* u_target = u_.size() == 0 ? nullptr : u_.data();
            if (!asked)
                vectors.both(lo, hi, beta, alpha, w_.data(), p_.data(), s_.data(), x, r_.data(), inverse, u_target,
                             &sums[2 * p]);
            else
                vectors.update(lo, hi, alpha, p_.data(), s_.data(), x, r_.data(), inverse, u_target, &sums[2 * p]);
        });
        rr_ = ru_ = 0;
        for (std::size_t i = 0; i < sums.size(); i += 2) {
            rr_ += sums[i];
            ru_ += sums[i + 1];
        }
        known_ = inverse != nullptr;
        gamma_ = gamma;
        alpha_ = alpha;
        alphas.push_back(alpha);
        betas.push_back(beta);
        norms.push_back(std::sqrt(rr_));
        if (best != nullptr && norm < best_norm && norms.back() > norm) {  // step back, for the record
            best_norm = norm;
            const double* p = p_.data();
            over([&](std::size_t, std::size_t lo, std::size_t hi) {
                for (std::size_t i = lo; i < hi; ++i) best[i] = x[i] - alpha * p[i];
            });
        }
        fresh_ = false;
        ++since_best_;
    }
}

}  // namespace nnla
