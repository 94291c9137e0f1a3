// The network that predicts what solvers cost (nnla.models.solver_costs), for one system at a time.
#pragma once
#include <cstdint>
#include <vector>

namespace nnla {

// Weights as nnla.models.solver_costs.SolverCostEngine.arrays has them, with all members beside one another: w1 (inputs,
// members x hidden), w2 (members, hidden, hidden), w3 (members, hidden, outputs), b3 (members, outputs), skip (inputs,
// outputs), where inputs are features, and those of the structure once more.
struct CostWeights {
    std::int64_t features = 0, structure = 0, members = 0, hidden = 0, targets = 0, failures = 0;
    std::vector<double> mean, scale, low, high, temperature;
    std::vector<float> w1, b1, w2, b2, w3, b3, skip;

    std::int64_t inputs() const { return features + structure; }
    std::int64_t outputs() const { return 2 * targets + failures; }
};

struct CostAnswer {
    std::vector<double> mean, std, failure;
    double outside = 0;
};

class CostNetwork {
  public:
    // Throws std::invalid_argument where the sizes do not fit together.
    explicit CostNetwork(CostWeights weights);

    // `x` holds all features; those that are not finite are read as their means.
    CostAnswer operator()(const double* x) const;

    std::int64_t features() const { return weights_.features; }
    std::int64_t targets() const { return weights_.targets; }

  private:
    CostWeights weights_;
};

}  // namespace nnla
