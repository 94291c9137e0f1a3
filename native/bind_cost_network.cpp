// Python class of cost_network.hpp; see nnla.models.solver_costs.
#include <nanobind/stl/vector.h>

#include "bind.hpp"
#include "cost_network.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

template <class T> std::vector<T> copied(const Input<T>& array) { return {array.data(), array.data() + array.size()}; }

}  // namespace

void bind_cost_network(nb::module_& m) {
    using Doubles = Input<double>;
    using Floats = Input<float>;
    nb::class_<CostNetwork>(m, "CostNetwork", "Predicts what solvers cost, for one system.")
        .def(
            "__init__",
            [](CostNetwork* self, std::int64_t structure, std::int64_t members, std::int64_t hidden,
               std::int64_t failures, Doubles mean, Doubles scale, Doubles low, Doubles high, Doubles temperature,
               Floats w1, Floats b1, Floats w2, Floats b2, Floats w3, Floats b3, Floats skip) {
                CostWeights weights;
                weights.features = static_cast<std::int64_t>(mean.size());
                weights.structure = structure, weights.members = members, weights.hidden = hidden;
                weights.targets = static_cast<std::int64_t>(temperature.size()), weights.failures = failures;
                weights.mean = copied(mean), weights.scale = copied(scale);
                weights.low = copied(low), weights.high = copied(high), weights.temperature = copied(temperature);
                weights.w1 = copied(w1), weights.b1 = copied(b1), weights.w2 = copied(w2), weights.b2 = copied(b2);
                weights.w3 = copied(w3), weights.b3 = copied(b3), weights.skip = copied(skip);
                new (self) CostNetwork(std::move(weights));
            },
            "structure"_a, "members"_a, "hidden"_a, "failures"_a, "mean"_a, "scale"_a, "low"_a, "high"_a,
            "temperature"_a, "w1"_a, "b1"_a, "w2"_a, "b2"_a, "w3"_a, "b3"_a, "skip"_a)
        .def(
            "__call__",
            [](const CostNetwork& self, Doubles x) {
                require(static_cast<std::int64_t>(x.size()) == self.features(), "features of another number");
                CostAnswer found = self(x.data());
                return nb::make_tuple(std::move(found.mean), std::move(found.std), std::move(found.failure),
                                      found.outside);
            },
            "x"_a, "Mean and standard deviation of every target, probabilities of failures, and how far outside.");
}

}  // namespace nnla
