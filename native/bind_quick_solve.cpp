// nnla.kernels._native.solve_quickly; see nnla.linear.quick.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <utility>

#include "bind.hpp"
#include "narrow.hpp"
#include "quick_solve.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// The number of Declined, or as a float the operations that a factorisation takes more of, or (x, nnz, relative residual, backward error, equilibrated residual, predicted seconds of
// a factorisation and of Jacobi-CG, history, phases, learned), learned being (seconds, spread) of every way and a phase (method, ended well, band, iterations, products, reductions, seconds,
// seconds of the set-up).
template <class Index>
nb::object solve(Input<Index> indptr, Input<Index> indices, Values data, Values b, double rtol, double atol,
                 double asymmetry, int method, const QuickCosts* costs) {
    require(method >= 0 && method <= 2, "there is no such method");
    const std::size_t n = b.size(), capacity = std::min(indices.size(), data.size());
    if (indptr.size() != n + 1 || n > kMostEntries || indices.size() > 2 * kMostEntries)
        return nb::int_(static_cast<int>(Declined::entries));
    Narrow starts, columns;
    const std::int32_t *p = starts.data(indptr), *i = columns.data(indices);
    if (p == nullptr || i == nullptr) return nb::int_(static_cast<int>(Declined::matrix));
    const QuickSystem system{{static_cast<std::int64_t>(n), static_cast<std::int64_t>(capacity), p, i, data.data()},
                             b.data(), rtol, atol, static_cast<QuickMethod>(method), asymmetry, costs};
    double* values;
    auto x = new_vector<double>(n, &values);
    QuickAnswer answer;
    {
        LongCall call;
        answer = solve_quickly(system, values);
    }
    if (answer.more_flops > 0 && answer.declined != Declined::no) return nb::float_(answer.more_flops);
    if (answer.declined != Declined::no) return nb::int_(static_cast<int>(answer.declined));
    nb::list history, phases;
    for (const double norm : answer.history) history.append(norm);
    for (const QuickPhase& phase : answer.phases)
        phases.append(nb::make_tuple(static_cast<int>(phase.method), phase.ended_well, phase.band, phase.iterations, phase.products,
                                     phase.reductions, phase.seconds, phase.setup));
    return nb::make_tuple(x, answer.nnz, answer.figures.relative_residual, answer.figures.backward_error,
                          answer.figures.equilibrated_residual, answer.predicted_direct,
                          answer.predicted_jacobi, history, phases, answer.learned);
}

template <class Index> void bind_for(nb::module_& m) {
    m.def("solve_quickly", &solve<Index>, "indptr"_a, "indices"_a, "data"_a, "b"_a, "rtol"_a, "atol"_a,
          "asymmetry"_a, "method"_a = 2, "costs"_a = nb::none(),
          "A small system solved and verified, or the number of why it is left to the ordinary way.");
}

}  // namespace

void bind_quick_solve(nb::module_& m) {
    m.attr("QUICK_ENTRIES") = kQuickEntries;
    m.attr("MOST_QUICK_ENTRIES") = kMostEntries;
    nb::class_<QuickCosts>(m, "QuickCosts", "What solves cost on this machine, as learned.")
        .def(
            "__init__",
            [](QuickCosts* self, const CostNetwork& network, Values shifts, Values factor, Values substitution,
               double widest, double narrowest, double surely, bool amg) {
                const auto copied = [](const Values& v) { return std::vector<double>(v.data(), v.data() + v.size()); };
                QuickCosts costs{&network, copied(shifts), copied(factor), copied(substitution),
                                 widest, narrowest, surely, amg};
                costs.check();
                new (self) QuickCosts(std::move(costs));
            },
            nb::keep_alive<1, 2>(), "network"_a, "shifts"_a, "factor"_a, "substitution"_a, "widest"_a, "narrowest"_a,
            "surely"_a, "amg"_a)
        .def(
            "choose",
            [](const QuickCosts& self, Values features, std::int64_t n, bool entries, double rtol) {
                require(features.size() == kFeatures, "features of another number");
                const QuickChoice found = self.choose(features.data(), n, entries, rtol);
                const std::vector<double> seconds(found.seconds.begin(), found.seconds.end());
                return nb::make_tuple(seconds, found.order, static_cast<int>(found.best), found.flops, found.otherwise,
                                      found.step);
            },
            "features"_a, "n"_a, "entries"_a, "rtol"_a,
            "Seconds of all ways; whether to order; the best that iterates; operations to give up at; seconds of the "
            "best but for it; seconds of an iteration of it.")
        .def("factoring", &QuickCosts::factoring, "flops"_a, "entries"_a, "n"_a,
             "Seconds of a factorisation and a solution whose operations and entries have been counted.");
    bind_for<std::int32_t>(m);
    bind_for<std::int64_t>(m);
}

}  // namespace nnla
