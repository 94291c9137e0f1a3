#include "quick_solve.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "band.hpp"
#include "cholesky.hpp"
#include "conjugate_gradients.hpp"
#include "null_vectors.hpp"
#include "reordering.hpp"
#include "sorted_rows.hpp"

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
constexpr Long kFirstSteps = 8;         // of CG that show its rate
constexpr double kShown = 0.1;          // of the time of a factorisation: what is spent before CG is left for it
constexpr double kFaster = 0.6;         // what CG takes in the end, by what its rate so far promises
constexpr double kFactored = 7;         // times the ordering: all of a factorisation whose band is wide, in the median
constexpr double kShare = 6;            // times that a factorisation has to take what they do
constexpr double kBehind = 1.5;         // CG is left when it has taken so many times what a factorisation would
constexpr Long kPatience = 16;          // iterations after which slices are made, as in nnla.krylov.native_cg
constexpr double kRuns = 0.5;           // share of entries in runs from which they are faster
constexpr double kWide = 3;             // a band is taken as it is up to so many times what narrowing it takes
constexpr double kDoubt = 2;            // and is preferred to an order not yet known up to so many times what that takes
constexpr double kDear = 0.05;          // seconds of a factorisation that are left to the ordinary way
constexpr double kFlopsLimit = 3e8;     // likewise

// Seconds that the parts take on the machine of the constants: what is compared is of one machine. The
// last table of benchmarks/small_systems.py says by how much they are off.
double product_seconds(Int n, Long nnz) { return 2.5e-7 + 1.1e-9 * static_cast<double>(nnz) + 4e-9 * n; }
double order_seconds(Long nnz) { return 2e-6 + 4e-8 * static_cast<double>(nnz); }
double factor_seconds(Int n, double flops, double entries) { return 2e-6 + 6e-8 * n + 3e-9 * entries + 1.5e-10 * flops; }
double narrow_seconds(Long nnz) { return 1e-6 + 1.2e-8 * static_cast<double>(nnz); }
double band_seconds(const BandCholesky& band) {
    return 5e-7 + 5e-8 * band.blocks() + 1.4e-9 * band.stored() + 3.6e-9 * band.products();
}

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
        CsrArrays<Int>& A = system_.A;
        if (A.n < 1 || A.n > kQuickEntries || A.indptr[A.n] > kQuickEntries) return Declined::entries;
        n_ = static_cast<Int>(A.n);
        diagonal_.resize(n_);
        if (!check_spd(A, system_.asymmetry, diagonal_.data(), facts_)) {
            if (!sorted_.take(A)) return Declined::matrix;
            A = sorted_.arrays();
            facts_ = CsrFacts{};
            if (!check_spd(A, system_.asymmetry, diagonal_.data(), facts_)) return Declined::matrix;
        }
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
        suspect_ = may_have_null_vectors(A);  // then the pivots of a factorisation have to tell
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
        look_for_heavy_rows();
        return Declined::no;
    }

    // Whether b lies on rows heavier than others, so that its 2-norm says little of the light ones: the residual has to
    // be small in the other norms of nnla.linear.criterion, too.
    void look_for_heavy_rows() {
        const double uniform = kUniform * std::sqrt(static_cast<double>(n_));
        if (high_ <= uniform * low_) return;
        equilibrated(b_, parts_);
        heavy_ = size_ > uniform * parts_[1];
    }

    // ||D^-1/2 r|| and ||D^-1 r|| for the diagonal in units of its smallest entry.
    void equilibrated(const std::vector<double>& r, double parts[2]) {
        for (Int i = 0; i < n_; ++i) image_[i] = std::sqrt(low_ / diagonal_[i]) * r[i];
        parts[0] = std::sqrt(dot(n_, image_.data(), image_.data()));
        for (Int i = 0; i < n_; ++i) image_[i] = low_ / diagonal_[i] * r[i];
        parts[1] = std::sqrt(dot(n_, image_.data(), image_.data()));
    }

    // Whether the residual at hand is small enough, `norm` being its 2-norm.
    bool met(double norm) {
        if (!(norm <= target_)) return false;
        if (!heavy_) return true;
        double parts[2], worst = 0;
        equilibrated(residual_, parts);
        for (int k = 0; k < 2; ++k)
            if (parts_[k] > 0) worst = std::max(worst, parts[k] / parts_[k]);
        answer_.equilibrated_residual = worst;
        return worst * size_ <= target_;
    }

    // -- which way -----------------------------------------------------------------------------------------

    // What a factorisation takes at least is known beforehand, CG where a bound says so, a band when it is there: the
    // cheapest of these runs. The others are bought where they are worth it: a narrower band, an order of little fill.
    Declined choose_and_run() {
        began_ = Clock::now();
        step_ = product_seconds(n_, facts_.nnz);
        const double ordering = order_seconds(facts_.nnz), narrowing = narrow_seconds(facts_.nnz);
        if (system_.method == QuickMethod::jacobi && heavy_) return Declined::heavy_rows;
        if (system_.method == QuickMethod::jacobi && suspect_) return Declined::null_vectors;
        if (system_.method == QuickMethod::jacobi) return iterate(10.0 * n_ + 100) ? verify() : Declined::accuracy;
        BandCholesky band(pattern(), {});
        double by_band = band_seconds(band);
        const double least = ordering + factor_seconds(n_, 0.0, 0.0);
        may_iterate_ = system_.method == QuickMethod::automatic && n_ > kTiny && !heavy_ && !suspect_;
        const double bound = may_iterate_ ? iterations_bound() * step_ : HUGE_VAL;
        if (bound < std::min(by_band, least)) {
            answer_.predicted_jacobi = bound;
            answer_.predicted_direct = std::min(by_band, least);
            if (iterate(kBehind * std::max(bound, answer_.predicted_direct) / step_)) return verify();
        }
        if (by_band > std::min(kWide * narrowing, least)) {
            std::vector<Int> order(n_);
            reverse_cuthill_mckee(CsrPattern{n_, system_.A.indptr, system_.A.indices}, order.data());
            BandCholesky narrow(pattern(), std::move(order));
            if (band_seconds(narrow) < by_band) band = std::move(narrow);
            by_band = band_seconds(band);
        }
        if (bound < HUGE_VAL) answer_.predicted_jacobi = bound;
        if (by_band < std::max(kDoubt * ordering, least)) {
            answer_.predicted_direct = by_band;
            if (worth_a_try(by_band, bound) && iterate(kBehind * by_band / step_, by_band)) return verify();
            return by_band < kDear ? factor(&band, nullptr) : Declined::dear;
        }
        // Too wide for a band: half of such systems are solved by CG before an order would be found.
        const double fronts = std::min(by_band, kFactored * ordering);
        answer_.predicted_direct = fronts;
        if (may_iterate_ && answer_.phases.empty() && iterate(kBehind * fronts / step_, fronts)) return verify();
        const Cholesky cholesky(pattern(), kFlopsLimit, Cholesky::Rows::checked);
        const double by_fronts =
            cholesky.complete() ? factor_seconds(n_, cholesky.flops(), cholesky.nnz()) : HUGE_VAL;
        if (std::min(by_band, by_fronts) >= kDear) return Declined::dear;
        answer_.predicted_direct = std::min(by_band, ordering + by_fronts);
        return by_band <= by_fronts ? factor(&band, nullptr) : factor(nullptr, &cholesky);
    }

    // Whether CG may take less than a factorisation of so many seconds: by its bound, or if its first steps cost little
    // beside that.
    bool worth_a_try(double seconds, double bound) const {
        return may_iterate_ && answer_.phases.empty() &&
               (bound < seconds || seconds > kShare * kFirstSteps * step_);
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
        std::unique_ptr<SlicedProduct> sliced;
        ConjugateGradients cg;
        bool settled = false;  // in which form
    };

    void begin() {
        std::vector<double> inverse(n_);
        for (Int i = 0; i < n_; ++i) inverse[i] = 1 / diagonal_[i];
        iteration_ = std::make_unique<Iteration>(matrix(), inverse);
        std::fill(x_, x_ + n_, 0.0);
        residual_ = b_;
        answer_.phases.push_back({});
        answer_.phases.back().method = QuickMethod::jacobi;
    }

    // Goes on until there were so many iterations in all. A matrix of runs is brought into slices once that pays, as in
    // nnla.krylov.native_cg.
    Ending run(Long limit, bool restart) {
        const Long stall = std::max(300, std::min(2 * n_, 20000));
        Iteration& it = *iteration_;
        for (;;) {
            const Long done = static_cast<Long>(it.cg.norms.size());
            const Long left = it.settled ? limit - done : std::min(limit - done, std::max<Long>(kPatience - done, 1));
            const Ending how =
                it.cg.run(x_, residual_.data(), target_, std::max<Long>(left, 0), stall, false, restart);
            restart = false;
            if (how != Ending::iterations || static_cast<Long>(it.cg.norms.size()) >= limit) return how;
            it.settled = true;
            if (run_share(matrix()) <= kRuns) continue;
            it.sliced = std::make_unique<SlicedProduct>(std::make_shared<const Sliced<double>>(matrix(), nullptr));
            it.cg.use(*it.sliced);
        }
    }

    Csr matrix() const { return Csr{n_, system_.A.indptr, system_.A.indices, system_.A.data}; }

    // Jacobi-CG of at most so many iterations, and as long as the rest promises to take less than so many seconds;
    // whether the true residual is small enough in the end.
    bool iterate(double limit, double seconds = HUGE_VAL) {
        const Clock::time_point start = Clock::now();
        const Long most = static_cast<Long>(std::min(limit, 1e6));
        begin();
        Long next = most;
        if (seconds < HUGE_VAL) next = std::max<Long>(kFirstSteps, std::llround(kShown * seconds / step_));
        Ending how = run(std::min(most, next), true);
        const std::vector<double>& norms = iteration_->cg.norms;
        while (how == Ending::iterations && next < most && iterations_left() * step_ < seconds) {
            next += std::max<Long>(kFirstSteps, next / 2);
            how = run(std::min(most, next), false);
        }
        bool reached = how == Ending::reached;
        for (double last = HUGE_VAL; reached;) {
            ++checks_;
            const double norm = true_residual();
            if (norm <= target_) break;
            reached = norm < 0.5 * last && run(most, true) == Ending::reached;
            last = norm;
        }
        QuickPhase& phase = answer_.phases.back();
        const ConjugateGradients& cg = iteration_->cg;
        phase.seconds = since(start);
        phase.ended_well = reached;
        phase.iterations = static_cast<Long>(norms.size());
        phase.products = cg.products + checks_ + !reached;
        phase.reductions = cg.reductions + checks_;
        for (const double norm : norms) answer_.history.push_back(norm / size_);
        if (!reached) true_residual();
        return reached;
    }

    // At the rate of the second half of those done; CG gets faster.
    double iterations_left() const {
        const std::vector<double>& norms = iteration_->cg.norms;
        const std::size_t half = norms.size() / 2;
        if (half < 1) return HUGE_VAL;
        const double before = *std::min_element(norms.begin(), norms.begin() + static_cast<Long>(half));
        const double now = std::min(before, *std::min_element(norms.begin() + static_cast<Long>(half), norms.end()));
        const double gain = std::log(before / now) / static_cast<double>(norms.size() - half);
        return gain > 0 ? kFaster * std::log(now / target_) / gain : HUGE_VAL;
    }

    // -- factorisation ---------------------------------------------------------------------------------------

    Declined factor(BandCholesky* band, const Cholesky* cholesky) {
        if (answer_.phases.empty()) {
            std::fill(x_, x_ + n_, 0.0);
            residual_ = b_;
        }
        Cholesky::Factor fronts;
        const Long failed = band ? band->factor(system_.A.data) : cholesky->factor(system_.A.data, false, fronts);
        if (failed >= 0) return Declined::pivots;
        std::vector<double> work(n_);
        if (band) band->pivots(work.data());
        else cholesky->pivots(fronts, work.data());
        if (lost(work)) return Declined::pivots;
        QuickPhase phase;
        phase.band = band != nullptr;
        double last = HUGE_VAL;
        for (;; ++phase.iterations) {
            if (band) band->solve(residual_.data(), work.data());
            else cholesky->solve(fronts, residual_.data(), work.data(), 1);
            for (Int i = 0; i < n_; ++i) x_[i] += work[i];
            ++phase.products;
            const double norm = true_residual();
            if (met(norm)) break;
            if (phase.iterations == kRefinements || !(norm < 0.5 * last)) return Declined::accuracy;
            last = norm;
        }
        phase.seconds = since(began_);
        for (const QuickPhase& before : answer_.phases) phase.seconds -= before.seconds;
        answer_.phases.push_back(phase);
        return verify();
    }

    // As nnla.linear.inertia.lost_pivots.
    bool lost(const std::vector<double>& pivots) const {
        double least = HUGE_VAL;
        for (Int i = 0; i < n_; ++i) {
            const double share = pivots[i] / diagonal_[i];
            if (!(share >= least)) least = share;
        }
        return !(least > 4 * n_ * kEps);
    }

    // -- the end ---------------------------------------------------------------------------------------------

    double true_residual() {
        isa().vectors.csr_product(matrix(), 0, n_, x_, image_.data());
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

    QuickSystem system_;
    SortedRows sorted_;
    Int n_ = 0;
    double* x_;
    QuickAnswer answer_;
    CsrFacts facts_;
    std::vector<double> diagonal_, b_, residual_, image_;
    std::unique_ptr<Iteration> iteration_;
    Long checks_ = 0;
    Clock::time_point began_;
    double step_ = 0, low_ = 0, high_ = 0, size_ = 0, target_ = 0;
    double parts_[2] = {0, 0};  // norms of b that those of the residual are relative to
    bool suspect_ = false, heavy_ = false, may_iterate_ = false;
    int unit_ = 0;
};

}  // namespace

QuickAnswer solve_quickly(const QuickSystem& system, double* x) { return Quick(system, x).solve(); }

}  // namespace nnla
