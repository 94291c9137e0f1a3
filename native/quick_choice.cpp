#include "quick_choice.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace nnla {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr int kTold = 2;                   // inputs that say whether the graph and its fill are known
constexpr int kTerms = 7;                  // of what is known after an analysis
constexpr std::int64_t kCoarsened = 4000;  // as in nnla.linear.estimates.ways_of
constexpr double kHub = 100;               // likewise
constexpr double kWorth = 0.8;             // of the others' seconds: what counting operations must lead to (auto_native.py)

struct Lognormal {
    double mean, std;
    double expected() const { return std::exp(mean + 0.5 * std * std); }
    double median(double sigmas) const { return std::exp(mean + sigmas * std); }
    Lognormal times(const Lognormal& other) const { return {mean + other.mean, std::hypot(std, other.std)}; }
    // E min(X, limit), as nnla.linear.decision.Lognormal.least_of.
    double least_of(double limit, double widest) const {
        const double z = (std::log(limit) - mean) / std::max(std, 1e-9);
        const double below = 0.5 * std::erfc((std - z) * std::sqrt(0.5)), above = 0.5 * std::erfc(z * std::sqrt(0.5));
        return std::min((below > 0 ? below * expected() : 0.0) + limit * above, std::exp(mean + 0.5 * widest * widest));
    }
};

}  // namespace

void QuickCosts::check() const {
    const bool fits = network->targets() == kCostTargets && network->features() == kFeatures + kTold + 1 &&
                      shifts.size() == kCostTargets && factor.size() == kTerms && substitution.size() == kTerms;
    if (!fits) throw std::invalid_argument("these are no costs of the ways of a quick solve");
}

QuickChoice QuickCosts::choose(const double* features, std::int64_t n, bool entries, double rtol) const {
    std::array<double, kFeatures + kTold + 1> x{};
    std::copy(features, features + kFeatures, x.begin());
    QuickChoice choice;
    choice.seconds.fill(kInfinite);
    choice.spread.fill(1.0);
    x[kFeatures + kTold] = std::log(std::log(2.0 / std::clamp(rtol, 1e-15, 0.5)));
    const CostAnswer answer = (*network)(x.data());
    const auto of = [&](CostTarget target) {
        const double std = std::min(answer.std[target], widest);
        return Lognormal{answer.mean[target] + shifts[target], target < kFlops ? std::max(std, narrowest) : std};
    };
    const Lognormal product = of(kProduct);
    double badly = kInfinite;
    const auto add = [&](QuickWay way, const Lognormal& setup, const Lognormal& solve) {
        badly = std::min(badly, setup.expected() + solve.median(surely));
        const double seconds = setup.expected() + solve.expected();
        choice.seconds[way] = seconds;
        choice.spread[way] = std::exp(solve.std * solve.expected() / seconds);
    };
    add(kJacobiWay, Lognormal{-kInfinite, 0}, of(kJacobiIterations).times(product));
    if (entries) add(kIcWay, of(kIcSetup), of(kIcIterations).times(of(kIcStep)));
    const bool coarsens = amg && n >= kCoarsened && x[kLongestRow] <= std::log(kHub);
    if (coarsens) add(kAmgWay, of(kAmgSetup), of(kAmgIterations).times(of(kAmgStep)));
    add(kAutospecWay, of(kAutospecSetup), of(kAutospecIterations).times(of(kAutospecStep)));
    const auto best = std::min_element(choice.seconds.begin() + kJacobiWay, choice.seconds.end());
    choice.best = static_cast<QuickWay>(best - choice.seconds.begin());
    choice.step = (choice.best == kIcWay ? of(kIcStep) : product).expected();

    const double ordering = of(kOrder).expected(), rest = of(kSubstitution).expected() + 2 * product.expected();
    const Lognormal factor_seconds = of(kFactor);
    const double direct = ordering + factor_seconds.expected() + rest;
    choice.seconds[kDirectWay] = direct;
    choice.spread[kDirectWay] = std::exp(factor_seconds.std * factor_seconds.expected() / direct);
    // all of the spread counts where a bad outcome costs the ordering alone
    const Lognormal open{factor_seconds.mean, answer.std[kFactor]};
    const double open_std = factor_seconds.std;
    choice.order = ordering + open.least_of(std::max(*best - rest, 0.0), open_std) + rest < kWorth * *best;
    choice.flops = badly * std::exp(of(kFlops).mean - factor_seconds.mean);
    choice.otherwise = ordering + open.least_of(*best, open_std) + rest;
    for (int way = kJacobiWay; way < kQuickWays; ++way)
        if (way != choice.best) choice.otherwise = std::min(choice.otherwise, choice.seconds[way]);
    return choice;
}

double QuickCosts::factoring(double flops, double entries, double n) const {
    const double f = std::log(std::max(flops, 1.0)), e = std::log(std::max(entries, 1.0)), m = std::log(n);
    const double terms[kTerms] = {1, f / 10, e / 10, m / 10, f * f / 100, (f - e) * (f - e) / 100, m * m / 100};
    double logs[2] = {shifts[kFactor], shifts[kSubstitution]};
    for (int k = 0; k < kTerms; ++k) logs[0] += factor[k] * terms[k], logs[1] += substitution[k] * terms[k];
    return std::exp(logs[0]) + std::exp(logs[1]);
}

}  // namespace nnla
