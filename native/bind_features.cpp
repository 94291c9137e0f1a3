// Python function of features.hpp; see nnla.operators.features.
#include "bind.hpp"
#include "features.hpp"

using namespace nb::literals;

namespace nnla {

void bind_features(nb::module_& m) {
    m.attr("FEATURES") = static_cast<int>(kFeatures);
    m.attr("VALUE_FEATURES") = static_cast<int>(kValueFeatures);
    m.def(
        "structure_features",
        [](Indices indptr, Indices indices, Values data, Values diagonal, bool graph) {
            if (graph) require_square(indptr, indices, data, Columns::ascending);
            else require_pointers(indptr, indices, data);
            const std::int64_t n = rows_of(indptr);
            require(n > 0, "a matrix without rows has no features");
            require(static_cast<std::int64_t>(diagonal.size()) == n, "the diagonal has another length");
            double* out;
            auto result = new_vector<double>(kFeatures, &out);
            const FeatureMatrix A{n, indptr.data(), indices.data(), data.data(), diagonal.data()};
            bool inside;
            {
                LongCall call;
                inside = structure_features(A, out, graph);
            }
            require(inside, "a column index is out of range");
            return result;
        },
        "indptr"_a, "indices"_a, "data"_a, "diagonal"_a, "graph"_a = true,
        "Numbers on the rows, values and graph of a symmetric CSR matrix of positive diagonal.");
}

}  // namespace nnla
