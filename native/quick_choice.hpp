// Which way a system of some 10^4 to 10^5 entries goes that is solved in one native call, by the learned costs; where that is
// no factorisation, complete or not, nor CG over the diagonal, it is left to nnla.linear.auto, which has the others.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "cost_network.hpp"
#include "features.hpp"

namespace nnla {

// The targets of nnla.models.solver_costs, in its order.
enum CostTarget : int {
    kJacobiIterations, kIcIterations, kAmgIterations, kAutospecIterations, kFlops, kEntries, kComplexity, kProduct,
    kOrder, kFactor, kSubstitution, kIcSetup, kIcStep, kAmgSetup, kAmgStep, kAutospecSetup, kAutospecStep, kCostTargets
};

enum QuickWay : int { kDirectWay, kJacobiWay, kIcWay, kAmgWay, kAutospecWay, kQuickWays };

// What is expected of every way.
struct QuickChoice {
    std::array<double, kQuickWays> seconds{}, spread{};  // and the factor of a standard deviation, to first order
    bool order = false;     // to count what a factorisation takes is expected to pay
    QuickWay best = kJacobiWay;  // of what iterates
    double flops = 0;       // operations that the time of what iterates buys, if that turns out badly
    double otherwise = 0;   // expected seconds of the best but for `best`
    double step = 0;        // seconds of an iteration of `best`
};

// The learned costs on this machine; as nnla.linear.estimates reads them.
struct QuickCosts {
    const CostNetwork* network = nullptr;
    std::vector<double> shifts;           // kCostTargets, logarithms of this machine's seconds by the reference's
    std::vector<double> factor, substitution;  // coefficients of the logarithms of seconds once an analysis has counted
    double widest = 0, narrowest = 0, surely = 0;  // as in nnla.linear.estimates
    bool amg = false;                     // whether there is one

    // Throws std::invalid_argument where the sizes do not fit together.
    void check() const;
    // `features` are the kFeatures of a look at values alone; `entries` says whether there are any off the diagonal.
    QuickChoice choose(const double* features, std::int64_t n, bool entries, double rtol) const;
    // Seconds of a factorisation and a solution whose operations and entries are known.
    double factoring(double flops, double entries, double n) const;
};

}  // namespace nnla
