#include "repeated_solve.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "factor_costs.hpp"
#include "factor_preconditioner.hpp"
#include "fingerprint.hpp"
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

}  // namespace

RepeatedCholesky::RepeatedCholesky(const Pattern& given, double max_flops, std::shared_ptr<const Cholesky> made)
    : indptr_(given.indptr, given.indptr + given.n + 1), indices_(given.indices, given.indices + given.indptr[given.n]) {
    const Pattern pattern{given.n, indptr_.data(), indices_.data()};
    correction_.resize(given.n);
    if (made) fronts_ = std::move(made);
    else if (!choose_band(pattern, max_flops)) fronts_ = std::make_shared<const Cholesky>(pattern, max_flops);
    if (banded_) return;
    flops_ = fronts_->flops();
    entries_ = fronts_->nnz();
}

// The rules of the quick solution of a small system: no order of little fill is looked for where a band may do.
bool RepeatedCholesky::choose_band(const Pattern& pattern, double max_flops) {
    if (pattern.n == 0) return false;
    require_symmetric(pattern);
    const Long nnz = indptr_.back();
    const double ordering = order_seconds(nnz), least = ordering + factor_seconds(pattern.n, 0.0, 0.0);
    auto band = std::make_shared<BandCholesky>(pattern, std::vector<Int>());
    if (band_seconds(*band) > std::min(kWideBand * narrow_seconds(nnz), least)) {
        std::vector<Int> order(pattern.n);
        reverse_cuthill_mckee(CsrPattern{pattern.n, indptr_.data(), indices_.data()}, order.data());
        auto narrow = std::make_shared<BandCholesky>(pattern, order);
        if (band_seconds(*narrow) < band_seconds(*band)) {
            band = std::move(narrow);
            order_ = std::move(order);
        }
    }
    flops_ = kFlopsOfProduct * band->products();
    banded_ = band_seconds(*band) < std::min(std::max(kBandDoubt * ordering, least), kShort) && flops_ <= max_flops;
    if (!banded_) return false;
    entries_ = band->stored();
    band_ = std::move(band);
    return true;
}

double RepeatedCholesky::bytes() const {
    const double arrays = 4.0 * static_cast<double>(indptr_.size() + indices_.size()) +
                          8.0 * static_cast<double>(values_.size() + work_.size() + 10 * correction_.size());
    return arrays + (banded_ ? 8.0 * entries_ : fronts_->bytes());
}

bool RepeatedCholesky::fits(const CsrArrays<Int>& A) const {
    return A.n == size() && A.capacity >= indptr_.back() &&
           same_bytes(A.indptr, indptr_.data(), sizeof(Int) * indptr_.size()) &&
           same_bytes(A.indices, indices_.data(), sizeof(Int) * indices_.size());
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
    if (same_values(A, asymmetry)) {
        const RepeatedAnswer again = solve_again(b, rtol, atol, x);
        if (again.declined != Declined::accuracy || !adopted_) return again;
    }
    const Clock::time_point start = Clock::now();
    if (const Declined why = look(A, asymmetry); why != Declined::no) return decline(why);
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
    factored_ = adopted_ = false;
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
    return failed >= 0 ? Declined::pivots : take(A, asymmetry);
}

// The factor that has been made of a matrix that has been looked at.
Declined RepeatedCholesky::take(const CsrArrays<Int>& A, double asymmetry) {
    if (banded_) band_->pivots(correction_.data());
    else fronts_->pivots(*factor_, correction_.data());
    if (next_.lost(correction_)) return Declined::pivots;
    values_.assign(A.data, A.data + indptr_.back());
    asymmetry_ = asymmetry;
    std::swap(now_, next_);
    factored_ = true;
    return Declined::no;
}

Declined RepeatedCholesky::look(const CsrArrays<Int>& A, double asymmetry) {
    CsrFacts facts;
    next_.diagonal.resize(size());
    return check_spd(A, asymmetry, next_.diagonal.data(), facts) ? next_.take_matrix() : Declined::matrix;
}

Declined RepeatedCholesky::adopt(const CsrArrays<Int>& A, double asymmetry, std::shared_ptr<Cholesky::Factor> made) {
    if (banded_ || !made || !made->signs.empty()) return Declined::dear;
    if (A.n < 1 || !fits(A)) return Declined::pattern;
    if (const Declined why = look(A, asymmetry); why != Declined::no) return why;
    factored_ = false;
    factor_ = std::move(made);
    work_.resize(std::max(fronts_->work_size(), static_cast<std::size_t>(size())));
    adopted_ = true;
    return take(A, asymmetry);
}

bool RepeatedCholesky::same_values(const CsrArrays<Int>& A, double asymmetry) const {
    return factored_ && asymmetry >= asymmetry_ && same_bytes(A.data, values_.data(), sizeof(double) * values_.size());
}

RepeatedCholesky::Change RepeatedCholesky::change(const CsrArrays<Int>& A, double asymmetry) const {
    if (!fits(A)) return Change::pattern;
    return same_values(A, asymmetry) ? Change::none : Change::values;
}

bool RepeatedCholesky::apply(const double* b, double* x, Long columns) {
    if (!factored_) return false;
    if (!banded_) {
        fronts_->solve(*factor_, b, x, columns);
        return true;
    }
    for (Long j = 0; j < columns; ++j) {
        for (Int i = 0; i < size(); ++i) correction_[i] = b[i * columns + j];
        band_->solve(correction_.data(), correction_.data(), work_.data());
        for (Int i = 0; i < size(); ++i) x[i * columns + j] = correction_[i];
    }
    return true;
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
