#include "quick_solve.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "band.hpp"
#include "cholesky.hpp"
#include "conjugate_gradients.hpp"
#include "factor_costs.hpp"
#include "incomplete_cholesky.hpp"
#include "null_vectors.hpp"
#include "reordering.hpp"
#include "sorted_rows.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;
using Clock = std::chrono::steady_clock;

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
constexpr double kDear = 0.05;          // seconds of a factorisation that are left to the ordinary way
constexpr double kFlopsLimit = 3e8;     // likewise
constexpr double kLongFlops = 2e9;      // likewise, of a system whose costs are learned: half a second
constexpr double kCertain = 0.7;        // as in nnla.linear.decision
constexpr double kKnown = 1.16;         // factor of a standard deviation of seconds whose operations have been counted
constexpr double kWorthReordering = 60; // as in nnla.linear.auto
constexpr double kScattered = 0.35;     // as in nnla.kernels.reordering
constexpr Int kScatteredRows = 16'000;  // whose vector fills much of a second-level cache
constexpr Long kThreaded = 200'000;     // entries from which products are shared by threads, as they are not here
constexpr double kMostBytes = 1e9;      // of a factor that is made without asking what memory there is

// Seconds on the machine of the constants of factor_costs.hpp.
double product_seconds(Int n, Long nnz) { return 2.5e-7 + 1.1e-9 * static_cast<double>(nnz) + 4e-9 * n; }

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Quick {
  public:
    Quick(const QuickSystem& system, double* x) : system_(system), x_(x) {}

    QuickAnswer solve() {
        answer_.declined = look();
        if (answer_.declined == Declined::no) answer_.declined = large_ ? run_as_learned() : choose_and_run();
        return std::move(answer_);
    }

  private:
    // -- what has to hold ----------------------------------------------------------------------------------

    Declined look() {
        CsrArrays<Int>& A = system_.A;
        large_ = A.n > kQuickEntries || A.indptr[A.n] > kQuickEntries;
        if (A.n < 1 || A.n > kMostEntries || A.indptr[A.n] > kMostEntries) return Declined::entries;
        if (large_ && (system_.method == QuickMethod::jacobi || (system_.method == QuickMethod::automatic && !system_.costs)))
            return Declined::entries;
        n_ = static_cast<Int>(A.n);
        v_.diagonal.resize(n_);
        if (!check_spd(A, system_.asymmetry, v_.diagonal.data(), facts_)) {
            if (!sorted_.take(A)) return Declined::matrix;
            A = sorted_.arrays();
            facts_ = CsrFacts{};
            if (!check_spd(A, system_.asymmetry, v_.diagonal.data(), facts_)) return Declined::matrix;
        }
        answer_.nnz = facts_.nnz;
        const Declined found = v_.take_matrix();
        if (found != Declined::no) return found;
        suspect_ = may_have_null_vectors(A);  // then the pivots of a factorisation have to tell
        return v_.take_right_hand_side(system_.b, system_.rtol, system_.atol);
    }

    // -- which way -----------------------------------------------------------------------------------------

    // What a factorisation takes at least is known beforehand, CG where a bound says so, a band when it is there: the
    // cheapest of these runs. The others are bought where they are worth it: a narrower band, an order of little fill.
    Declined choose_and_run() {
        began_ = Clock::now();
        step_ = product_seconds(n_, facts_.nnz);
        const double ordering = order_seconds(facts_.nnz), narrowing = narrow_seconds(facts_.nnz);
        if (system_.method == QuickMethod::jacobi && v_.heavy) return Declined::heavy_rows;
        if (system_.method == QuickMethod::jacobi && suspect_) return Declined::null_vectors;
        if (system_.method == QuickMethod::jacobi) return iterate(10.0 * n_ + 100) ? verify() : Declined::accuracy;
        BandCholesky band(pattern(), {});
        double by_band = band_seconds(band);
        const double least = ordering + factor_seconds(n_, 0.0, 0.0);
        may_iterate_ = system_.method == QuickMethod::automatic && n_ > kTiny && !v_.heavy && !suspect_;
        const double bound = may_iterate_ ? iterations_bound() * step_ : HUGE_VAL;
        if (bound < std::min(by_band, least)) {
            answer_.predicted_jacobi = bound;
            answer_.predicted_direct = std::min(by_band, least);
            if (iterate(kBehind * std::max(bound, answer_.predicted_direct) / step_)) return verify();
        }
        if (by_band > std::min(kWideBand * narrowing, least)) {
            std::vector<Int> order(n_);
            reverse_cuthill_mckee(CsrPattern{n_, system_.A.indptr, system_.A.indices}, order.data());
            BandCholesky narrow(pattern(), std::move(order));
            if (band_seconds(narrow) < by_band) band = std::move(narrow);
            by_band = band_seconds(band);
        }
        if (bound < HUGE_VAL) answer_.predicted_jacobi = bound;
        if (by_band < std::max(kBandDoubt * ordering, least)) {
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

    // By the learned costs: operations are counted where that is expected to pay, as nnla.linear.decision has it; what is
    // for no factorisation, complete or not, nor for CG over the diagonal is left to the ordinary way.
    Declined run_as_learned() {
        began_ = Clock::now();
        BandCholesky band(pattern(), {});
        const double by_band = band_seconds(band);
        if (by_band < order_seconds(facts_.nnz)) {
            answer_.predicted_direct = by_band;
            return factor(&band, nullptr);
        }
        if (system_.method == QuickMethod::direct) {
            const Cholesky cholesky(pattern(), kLongFlops, Cholesky::Rows::checked);
            return fits(cholesky) ? factor(nullptr, &cholesky) : Declined::dear;
        }
        const CsrArrays<Int>& A = system_.A;
        const QuickCosts& costs = *system_.costs;
        double features[kFeatures];
        if (!structure_features({A.n, A.indptr, A.indices, A.data, v_.diagonal.data()}, features, false))
            return Declined::matrix;
        const QuickChoice choice = costs.choose(features, n_, facts_.nnz > n_, v_.target / v_.size);
        for (int way = 0; way < kQuickWays; ++way) answer_.learned.emplace_back(choice.seconds[way], choice.spread[way]);
        step_ = choice.step;
        may_iterate_ = (choice.best == kJacobiWay || choice.best == kIcWay) && !v_.heavy && !suspect_;
        may_iterate_ = may_iterate_ && !(choice.seconds[choice.best] > kWorthReordering * step_ && scattered());
        may_iterate_ = may_iterate_ && (facts_.nnz <= kThreaded || max_threads() == 1);
        const bool at_once = !choice.order && may_iterate_;
        if (at_once && iterate_over(choice.best, choice.otherwise)) return verify();
        if (!choice.order && !at_once) return Declined::dear;  // else the others that iterate fall behind as well
        const Cholesky cholesky(pattern(), std::min(kLongFlops, choice.flops), Cholesky::Rows::checked);
        if (!cholesky.complete()) answer_.more_flops = cholesky.flops();
        if (!fits(cholesky)) return Declined::dear;
        const double fronts = costs.factoring(cholesky.flops(), cholesky.nnz(), n_) + 2 * product_seconds(n_, facts_.nnz);
        answer_.learned[kDirectWay] = {fronts, kKnown};
        if (kCertain * fronts < choice.seconds[choice.best]) return factor(nullptr, &cholesky);
        if (may_iterate_ && !at_once && iterate_over(choice.best, fronts)) return verify();
        return may_iterate_ ? factor(nullptr, &cholesky) : Declined::dear;
    }

    // Whether an order may be found in which products, and incomplete factors, are better: the ordinary way looks for it.
    bool scattered() const {
        if (n_ < kScatteredRows) return false;
        const double lines = locality(CsrPattern{n_, system_.A.indptr, system_.A.indices}, 8).lines;
        return lines >= kScattered * static_cast<double>(facts_.nnz) / n_ * kLanes;
    }

    // CG over the diagonal or an incomplete factor, as long as the rest promises to take less than so many seconds.
    bool iterate_over(QuickWay way, double seconds) {
        if (way == kIcWay) {
            const Clock::time_point start = Clock::now();
            const CsrArrays<Int>& A = system_.A;
            IncompleteFactor factor;  // as nnla.preconditioners.scalings.bind_scaling has it
            if (factor_incomplete({n_, A.indptr, A.indices, A.data, true}, -1.0, 0.0, true, factor).bad_row >= 0) return false;
            incomplete_ = make_incomplete_cholesky(std::move(factor), true);
            setup_ = since(start);
        }
        return iterate(kBehind * seconds / step_, seconds);
    }

    static bool fits(const Cholesky& cholesky) { return cholesky.complete() && cholesky.bytes() < kMostBytes; }

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
            radius = std::max(radius, sum / v_.diagonal[i] - 1);
        }
        if (!(radius < 1 - 1e-3)) return HUGE_VAL;
        const double condition = (1 + radius) / (1 - radius);
        return 1 + std::ceil(0.5 * std::sqrt(condition) * std::log(2 * std::sqrt(condition) * v_.size / v_.target));
    }

    // -- conjugate gradients -------------------------------------------------------------------------------

    struct Iteration {
        Iteration(const Csr& A, Preconditioner* M, const double* inverse) : product(A), cg(product, M, inverse) {}
        CsrProduct product;
        std::unique_ptr<SlicedProduct> sliced;
        ConjugateGradients cg;
        bool settled = false;  // in which form
    };

    void begin() {
        std::vector<double> inverse(incomplete_ ? 0 : n_);
        for (Int i = 0; i < static_cast<Int>(inverse.size()); ++i) inverse[i] = 1 / v_.diagonal[i];
        iteration_ = std::make_unique<Iteration>(matrix(), incomplete_.get(), incomplete_ ? nullptr : inverse.data());
        std::fill(x_, x_ + n_, 0.0);
        v_.residual = v_.b;
        answer_.phases.push_back({});
        QuickPhase& phase = answer_.phases.back();
        phase.method = incomplete_ ? QuickMethod::ic : QuickMethod::jacobi;
        phase.setup = setup_;
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
                it.cg.run(x_, v_.residual.data(), v_.target, std::max<Long>(left, 0), stall, false, restart);
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
            if (norm <= v_.target) break;
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
        for (const double norm : norms) answer_.history.push_back(norm / v_.size);
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
        return gain > 0 ? kFaster * std::log(now / v_.target) / gain : HUGE_VAL;
    }

    // -- factorisation ---------------------------------------------------------------------------------------

    Declined factor(BandCholesky* band, const Cholesky* cholesky) {
        if (answer_.phases.empty()) {
            std::fill(x_, x_ + n_, 0.0);
            v_.residual = v_.b;
        }
        Cholesky::Factor fronts;
        const Long failed = band ? band->factor(system_.A.data) : cholesky->factor(system_.A.data, false, fronts);
        if (failed >= 0) return Declined::pivots;
        std::vector<double> work(n_), space(band ? band->work_size() : 0);
        if (band) band->pivots(work.data());
        else cholesky->pivots(fronts, work.data());
        if (v_.lost(work)) return Declined::pivots;
        QuickPhase phase;
        phase.band = band != nullptr;
        double last = HUGE_VAL;
        for (;; ++phase.iterations) {
            if (band) band->solve(v_.residual.data(), work.data(), space.data());
            else cholesky->solve(fronts, v_.residual.data(), work.data(), 1);
            for (Int i = 0; i < n_; ++i) x_[i] += work[i];
            ++phase.products;
            const double norm = true_residual();
            if (v_.met(norm)) break;
            if (phase.iterations == kRefinements || !(norm < 0.5 * last)) return Declined::accuracy;
            last = norm;
        }
        phase.seconds = since(began_);
        for (const QuickPhase& before : answer_.phases) phase.seconds -= before.seconds + before.setup;
        answer_.phases.push_back(phase);
        return verify();
    }

    // -- the end ---------------------------------------------------------------------------------------------

    double true_residual() { return v_.true_residual(matrix(), x_); }

    Declined verify() {
        const double left = std::sqrt(dot(n_, v_.residual.data(), v_.residual.data()));
        const Declined found = v_.finish(left, x_);
        answer_.figures = v_.figures();
        return found;
    }

    QuickSystem system_;
    SortedRows sorted_;
    Int n_ = 0;
    double* x_;
    QuickAnswer answer_;
    CsrFacts facts_;
    Verification v_;
    std::unique_ptr<IncompleteCholesky> incomplete_;  // outlives what iterates over it
    std::unique_ptr<Iteration> iteration_;
    double setup_ = 0;
    Long checks_ = 0;
    Clock::time_point began_;
    double step_ = 0;
    bool suspect_ = false, may_iterate_ = false, large_ = false;
};

}  // namespace

QuickAnswer solve_quickly(const QuickSystem& system, double* x) { return Quick(system, x).solve(); }

}  // namespace nnla
