#include "repeated_solve.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "factor_costs.hpp"
#include "factor_preconditioner.hpp"
#include "interruption.hpp"
#include "reordering.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;
using Clock = std::chrono::steady_clock;

constexpr int kRefinements = 3;
constexpr double kFlopsOfProduct = 64;  // of 4 x 4 blocks
constexpr double kShort = 0.002;        // seconds of a factorisation up to which a band is thought of: its factor is large

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// In pieces between which a signal is heard.
bool same(const void* a, const void* b, std::size_t bytes) {
    constexpr std::size_t kPiece = std::size_t{1} << 20;
    const char *p = static_cast<const char*>(a), *q = static_cast<const char*>(b);
    for (std::size_t i = 0; i < bytes; i += kPiece) {
        const std::size_t count = std::min(kPiece, bytes - i);
        tick(static_cast<Long>(count / 8));
        if (std::memcmp(p + i, q + i, count) != 0) return false;
    }
    return true;
}

}  // namespace

RepeatedCholesky::RepeatedCholesky(const Pattern& given, double max_flops)
    : indptr_(given.indptr, given.indptr + given.n + 1), indices_(given.indices, given.indices + given.indptr[given.n]) {
    const Pattern pattern{given.n, indptr_.data(), indices_.data()};
    fronts_ = std::make_shared<const Cholesky>(pattern, max_flops);  // which looks at the rows, too
    double least = fronts_->complete() ? factor_seconds(given.n, fronts_->flops(), fronts_->nnz()) : HUGE_VAL;
    flops_ = fronts_->flops();
    entries_ = fronts_->nnz();
    if (given.n == 0) return;
    std::vector<Int> narrow(given.n);
    reverse_cuthill_mckee(CsrPattern{given.n, indptr_.data(), indices_.data()}, narrow.data());
    for (const std::vector<Int>& order : {std::vector<Int>(), narrow}) {
        const BandCholesky band(pattern, order);
        const double flops = kFlopsOfProduct * band.products();
        if (band_seconds(band) >= std::min(least, kShort) || flops > max_flops) continue;
        least = band_seconds(band);
        banded_ = true;
        order_ = order;
        flops_ = flops;
        entries_ = band.stored();
    }
    correction_.resize(given.n);
}

double RepeatedCholesky::bytes() const {
    const double arrays = 4.0 * static_cast<double>(indptr_.size() + indices_.size()) +
                          8.0 * static_cast<double>(values_.size() + work_.size() + 10 * correction_.size());
    return arrays + (banded_ ? 8.0 * entries_ : fronts_->bytes());
}

bool RepeatedCholesky::fits(const CsrArrays<Int>& A) const {
    return A.n == size() && A.capacity >= indptr_.back() &&
           same(A.indptr, indptr_.data(), sizeof(Int) * indptr_.size()) &&
           same(A.indices, indices_.data(), sizeof(Int) * indices_.size());
}

RepeatedAnswer RepeatedCholesky::solve(const CsrArrays<Int>& A, const double* b, double rtol, double atol,
                                       double asymmetry, double* x) {
    RepeatedAnswer answer;
    const auto decline = [&](Declined why) {
        answer.declined = why;
        return answer;
    };
    if (A.n < 1) return decline(Declined::entries);
    if (!complete()) return decline(Declined::dear);
    if (!fits(A)) return decline(Declined::pattern);
    if (factored_ && asymmetry >= asymmetry_ && same(A.data, values_.data(), sizeof(double) * values_.size()))
        return solve_again(b, rtol, atol, x);
    const Clock::time_point start = Clock::now();
    CsrFacts facts;
    next_.diagonal.resize(size());
    if (!check_spd(A, asymmetry, next_.diagonal.data(), facts)) return decline(Declined::matrix);
    if (const Declined why = next_.take_matrix(); why != Declined::no) return decline(why);
    if (const Declined why = next_.take_right_hand_side(b, rtol, atol); why != Declined::no) return decline(why);
    if (const Declined why = factor(A, asymmetry); why != Declined::no) return decline(why);
    answer.factored = true;
    answer.seconds_factor = since(start);
    finish(answer, x);
    answer.seconds_solve = since(start) - answer.seconds_factor;
    return answer;
}

RepeatedAnswer RepeatedCholesky::solve_again(const double* b, double rtol, double atol, double* x) {
    const Clock::time_point start = Clock::now();
    RepeatedAnswer answer;
    answer.declined = factored_ ? now_.take_right_hand_side(b, rtol, atol) : Declined::pattern;
    if (answer.declined != Declined::no) return answer;
    finish(answer, x);
    answer.seconds_solve = since(start);
    return answer;
}

// A matrix that has been looked at. A factor that a preconditioner holds is left to it.
Declined RepeatedCholesky::factor(const CsrArrays<Int>& A, double asymmetry) {
    factored_ = false;
    Long failed;
    const std::size_t n = static_cast<std::size_t>(size());
    if (banded_) {
        if (!band_ || band_.use_count() > 1)
            band_ = std::make_shared<BandCholesky>(Pattern{size(), indptr_.data(), indices_.data()}, order_);
        failed = band_->factor(A.data);
        work_.resize(std::max(band_->work_size(), n));
    } else {
        if (!factor_ || factor_.use_count() > 1) factor_ = std::make_shared<Cholesky::Factor>();
        failed = fronts_->factor(A.data, false, *factor_);
        work_.resize(std::max(fronts_->work_size(), n));
    }
    if (failed >= 0) return Declined::pivots;
    if (banded_) band_->pivots(correction_.data());
    else fronts_->pivots(*factor_, correction_.data());
    if (next_.lost(correction_)) return Declined::pivots;
    values_.assign(A.data, A.data + indptr_.back());
    asymmetry_ = asymmetry;
    std::swap(now_, next_);
    factored_ = true;
    return Declined::no;
}

// x by the factor, refined until the true residual is small enough.
void RepeatedCholesky::finish(RepeatedAnswer& answer, double* x) {
    const Csr A{size(), indptr_.data(), indices_.data(), values_.data()};
    const auto apply = [&](const double* r, double* z) {
        if (banded_) band_->solve(r, z, work_.data());
        else fronts_->solve(*factor_, r, z, work_.data());
    };
    apply(now_.b.data(), x);
    double last = HUGE_VAL;
    for (;;) {
        const double norm = now_.true_residual(A, x);
        ++answer.products;
        if (now_.met(norm)) {
            answer.declined = now_.finish(norm, x);
            answer.figures = now_.figures();
            return;
        }
        if (answer.products > kRefinements || !(norm < 0.5 * last)) break;
        last = norm;
        apply(now_.residual.data(), correction_.data());
        for (Int i = 0; i < size(); ++i) x[i] += correction_[i];
    }
    answer.declined = Declined::accuracy;
}

std::unique_ptr<Preconditioner> RepeatedCholesky::preconditioner() const {
    if (!factored_) return nullptr;
    if (banded_) return std::make_unique<BandPreconditioner>(band_);
    return std::make_unique<FrontsPreconditioner>(fronts_, factor_);
}

}  // namespace nnla
