#include "quick_solve.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "cholesky.hpp"
#include "conjugate_gradients.hpp"
#include "null_vectors.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;
using Clock = std::chrono::steady_clock;

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kSlack = 1 - 1e-12;    // the norms of the caller may be summed in another order
constexpr int kComfort = 90;            // exponents of the diagonal, as in nnla.linear.units
constexpr double kSmallest = 1e-100, kLargest = 1e100;  // norms of b whose solution and residual stay in range
constexpr double kUniform = 10;         // as in nnla.linear.criterion
constexpr int kRefinements = 3;
constexpr Int kTiny = 100;              // unknowns up to which a factorisation takes less time than choosing
constexpr int kFirstSteps = 8;          // of CG that show its rate
constexpr double kShare = 10;           // times that the factorisation has to take what they do
constexpr double kBehind = 1.5;         // CG is left when it has taken so many times what a factorisation would
constexpr double kFlopsLimit = 3e8;     // a tenth of a second

// Seconds that the parts take on the machine of the constants, roughly: what is compared is of one machine.
double product_seconds(Int n, Long nnz) { return 2.5e-7 + 1.1e-9 * static_cast<double>(nnz) + 4e-9 * n; }
double order_seconds(Int n, Long nnz) { return 2e-6 + 4e-8 * static_cast<double>(nnz) + 5e-8 * n; }
double factor_seconds(double flops, double entries) { return 2e-6 + 1.6e-8 * entries + 1.2e-10 * flops; }

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Quick {
  public:
    Quick(const QuickSystem& system, double* x) : system_(system), x_(x) {}

    QuickAnswer solve() {
        answer_.declined = look();
        if (answer_.declined == Declined::no) answer_.declined = choose_and_run();
        return std::move(answer_);
    }

  private:
    // -- what has to hold ----------------------------------------------------------------------------------

    Declined look() {
        const CsrArrays<Int>& A = system_.A;
        if (A.n < 1 || A.n > kQuickEntries || A.indptr[A.n] > kQuickEntries) return Declined::entries;
        n_ = static_cast<Int>(A.n);
        diagonal_.resize(n_);
        if (!check_spd(A, system_.asymmetry, diagonal_.data(), facts_)) return Declined::matrix;
        answer_.nnz = facts_.nnz;
        double low = diagonal_[0];
        high_ = low;
        for (const double d : diagonal_) {
            low = std::min(low, d);
            high_ = std::max(high_, d);
        }
        int lowest, highest;
        std::frexp(low, &lowest);
        std::frexp(high_, &highest);
        if (lowest < -kComfort || highest > kComfort) return Declined::range;
        low_ = low;
        if (may_have_null_vectors(A)) return Declined::null_vectors;
        return take_right_hand_side();
    }

    // b in units in which its norm lies in [1, 2).
    Declined take_right_hand_side() {
        const double norm = std::sqrt(dot(n_, system_.b, system_.b));
        if (!(norm > 0) || !std::isfinite(norm)) return Declined::right_hand_side;
        if (norm < kSmallest || norm > kLargest) return Declined::range;
        int exponent;
        size_ = 2 * std::frexp(norm, &exponent);
        unit_ = exponent - 1;
        const double power = std::ldexp(1.0, -unit_);
        b_.resize(n_);
        residual_.resize(n_);
        image_.resize(n_);
        for (Int i = 0; i < n_; ++i) b_[i] = system_.b[i] * power;
        target_ = std::max(system_.rtol * size_, std::min(system_.atol * power, 1e300)) * kSlack;
        if (!(target_ > 0 && size_ > target_)) return Declined::target;
        return heavy_rows_matter() ? Declined::heavy_rows : Declined::no;
    }

    // Whether b may lie on rows heavier than others, as nnla.linear.criterion has it.
    bool heavy_rows_matter() {
        const double uniform = kUniform * std::sqrt(static_cast<double>(n_));
        if (high_ <= uniform * low_) return false;
        for (Int i = 0; i < n_; ++i) image_[i] = low_ / diagonal_[i] * b_[i];
        return size_ > uniform * std::sqrt(dot(n_, image_.data(), image_.data()));
    }

    // -- which way -----------------------------------------------------------------------------------------

    Declined choose_and_run() {
        const double step = product_seconds(n_, facts_.nnz);
        double jacobi = HUGE_VAL;
        if (n_ > kTiny) {
            const double bound = iterations_bound();
            if (bound < HUGE_VAL) jacobi = answer_.predicted_jacobi = bound * step;
        }
        const double ordering = order_seconds(n_, facts_.nnz);
        if (jacobi < ordering) {
            answer_.predicted_direct = ordering;
            if (iterate(kBehind * std::max(jacobi, ordering) / step)) return verify();
        }
        const Clock::time_point start = Clock::now();
        const Cholesky cholesky(pattern(), kFlopsLimit, Cholesky::Rows::checked);
        const double ordered = since(start);
        const double direct = cholesky.complete() ? factor_seconds(cholesky.flops(), cholesky.nnz()) : HUGE_VAL;
        if (direct < HUGE_VAL) answer_.predicted_direct = direct;
        const bool tried = !answer_.phases.empty();
        if (!tried && n_ > kTiny) {
            double most = jacobi < direct ? kBehind * direct / step : 0;
            if (jacobi == HUGE_VAL && direct > kShare * kFirstSteps * step)
                most = promising_iterations(std::min(direct, kFlopsLimit * 1e-10) / step);
            if (most > 0 && iterate(most)) return verify();
        }
        if (!cholesky.complete()) return Declined::dear;
        return factor(cholesky, ordered);
    }

    Pattern pattern() const { return Pattern{n_, system_.A.indptr, system_.A.indices}; }

    // Iterations of Jacobi-CG that suffice, by Gershgorin's circles of D^-1 A; infinite where zero lies in one.
    double iterations_bound() const {
        double radius = 0;
        for (Int i = 0; i < n_; ++i) {
            double sum = 0;
            for (Int k = system_.A.indptr[i]; k < system_.A.indptr[i + 1]; ++k) sum += std::fabs(system_.A.data[k]);
            radius = std::max(radius, sum / diagonal_[i] - 1);
        }
        if (!(radius < 1 - 1e-3)) return HUGE_VAL;
        const double condition = (1 + radius) / (1 - radius);
        return 1 + std::ceil(0.5 * std::sqrt(condition) * std::log(2 * std::sqrt(condition) * size_ / target_));
    }

    // -- conjugate gradients -------------------------------------------------------------------------------

    struct Iteration {
        Iteration(const Csr& A, const std::vector<double>& inverse) : product(A), cg(product, nullptr, inverse.data()) {}
        CsrProduct product;
        ConjugateGradients cg;
    };

    void begin() {
        if (iteration_) return;
        std::vector<double> inverse(n_);
        for (Int i = 0; i < n_; ++i) inverse[i] = 1 / diagonal_[i];
        const Csr A{n_, system_.A.indptr, system_.A.indices, system_.A.data};
        iteration_ = std::make_unique<Iteration>(A, inverse);
        std::fill(x_, x_ + n_, 0.0);
        residual_ = b_;
        answer_.phases.push_back({});
        answer_.phases.back().method = QuickMethod::jacobi;
    }

    // The first steps, and how many there may be in all: as many as the time allows, if their rate promises to be done
    // by then, else 0.
    double promising_iterations(double allowed) {
        const Clock::time_point start = Clock::now();
        begin();
        const Ending how = run(kFirstSteps, true);
        answer_.phases.back().seconds += since(start);
        if (how == Ending::reached) return allowed;
        const std::vector<double>& norms = iteration_->cg.norms;
        if (how != Ending::iterations || norms.size() < kFirstSteps) return 0;
        const double gain = std::log(norms[kFirstSteps / 2 - 1] / norms[kFirstSteps - 1]) / (kFirstSteps / 2);
        const double left = std::log(norms.back() / target_);
        return gain > 0 && kFirstSteps + left / gain < allowed ? allowed : 0;
    }

    Ending run(double most, bool restart) {
        const Long left = static_cast<Long>(std::min(most, 1e6)) - static_cast<Long>(iteration_->cg.norms.size());
        return iteration_->cg.run(x_, residual_.data(), target_, std::max<Long>(left, 0), 0, false, restart);
    }

    // Jacobi-CG, of which there may be so many iterations; whether the true residual is small enough in the end.
    bool iterate(double most) {
        const Clock::time_point start = Clock::now();
        const bool fresh = !iteration_;
        begin();
        bool reached = run(most, fresh) == Ending::reached;
        for (double last = HUGE_VAL; reached;) {
            ++checks_;
            const double norm = true_residual();
            if (norm <= target_) break;
            reached = norm < 0.5 * last && run(most, true) == Ending::reached;
            last = norm;
        }
        QuickPhase& phase = answer_.phases.back();
        const ConjugateGradients& cg = iteration_->cg;
        phase.seconds += since(start);
        phase.ended_well = reached;
        phase.iterations = static_cast<Long>(cg.norms.size());
        phase.products = cg.products + checks_ + !reached;
        phase.reductions = cg.reductions + checks_;
        for (const double norm : cg.norms) answer_.history.push_back(norm / size_);
        if (!reached) true_residual();
        return reached;
    }

    // -- factorisation ---------------------------------------------------------------------------------------

    Declined factor(const Cholesky& cholesky, double ordered) {
        const Clock::time_point start = Clock::now();
        if (iteration_ && answer_.phases.back().iterations == 0) leave_first_steps();
        const bool warm = !answer_.phases.empty();
        Cholesky::Factor factor;
        if (cholesky.factor(system_.A.data, false, factor) >= 0 || lost_pivots(cholesky, factor))
            return Declined::pivots;
        QuickPhase phase;
        if (!warm) {
            std::fill(x_, x_ + n_, 0.0);
            residual_ = b_;
        }
        double last = HUGE_VAL;
        std::vector<double> correction(n_);
        for (phase.iterations = 0;; ++phase.iterations) {
            cholesky.solve(factor, residual_.data(), correction.data(), 1);
            for (Int i = 0; i < n_; ++i) x_[i] += correction[i];
            ++phase.products;
            const double norm = true_residual();
            if (norm <= target_) break;
            if (phase.iterations == kRefinements || !(norm < 0.5 * last)) return Declined::accuracy;
            last = norm;
        }
        phase.seconds = ordered + since(start);
        answer_.phases.push_back(phase);
        return verify();
    }

    // CG that has only shown that it would take too long.
    void leave_first_steps() {
        QuickPhase& phase = answer_.phases.back();
        const ConjugateGradients& cg = iteration_->cg;
        phase.ended_well = false;
        phase.iterations = static_cast<Long>(cg.norms.size());
        phase.products = cg.products + 1;
        phase.reductions = cg.reductions;
        for (const double norm : cg.norms) answer_.history.push_back(norm / size_);
        true_residual();
    }

    // As nnla.linear.inertia.lost_pivots.
    bool lost_pivots(const Cholesky& cholesky, const Cholesky::Factor& factor) const {
        std::vector<double> pivots(n_);
        cholesky.pivots(factor, pivots.data());
        double least = HUGE_VAL;
        for (Int i = 0; i < n_; ++i) {
            const double share = pivots[i] / diagonal_[i];
            if (!(share >= least)) least = share;
        }
        return !(least > 4 * n_ * kEps);
    }

    // -- the end ---------------------------------------------------------------------------------------------

    double true_residual() {
        const Csr A{n_, system_.A.indptr, system_.A.indices, system_.A.data};
        isa().vectors.csr_product(A, 0, n_, x_, image_.data());
        for (Int i = 0; i < n_; ++i) residual_[i] = b_[i] - image_[i];
        return std::sqrt(dot(n_, residual_.data(), residual_.data()));
    }

    // The figures of the residual at hand, and x in the caller's units.
    Declined verify() {
        const double left = std::sqrt(dot(n_, residual_.data(), residual_.data()));
        const double length = std::sqrt(dot(n_, x_, x_));
        if (!(left <= target_) || !(length > 0) || !std::isfinite(length)) return Declined::accuracy;
        answer_.relative_residual = left / size_;
        for (Int i = 0; i < n_; ++i) image_[i] = b_[i] - residual_[i];
        const double image = std::sqrt(dot(n_, image_.data(), image_.data()));
        const double size = std::max(high_, image / length);
        answer_.backward_error = left > 0 ? 1 / (size * (length / left) + size_ / left) : 0;
        const double power = std::ldexp(1.0, unit_);
        for (Int i = 0; i < n_; ++i) x_[i] *= power;
        return Declined::no;
    }

    const QuickSystem& system_;
    Int n_ = 0;
    double* x_;
    QuickAnswer answer_;
    CsrFacts facts_;
    std::vector<double> diagonal_, b_, residual_, image_;
    std::unique_ptr<Iteration> iteration_;
    Long checks_ = 0;
    double low_ = 0, high_ = 0, size_ = 0, target_ = 0;
    int unit_ = 0;
};

}  // namespace

QuickAnswer solve_quickly(const QuickSystem& system, double* x) { return Quick(system, x).solve(); }

}  // namespace nnla
