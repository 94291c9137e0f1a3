// nnla.kernels._native.solve_quickly; see nnla.linear.quick.
#include <algorithm>

#include "bind.hpp"
#include "narrow.hpp"
#include "quick_solve.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// The number of Declined, or (x, nnz, relative residual, backward error, equilibrated residual, predicted seconds of
// a factorisation and of Jacobi-CG, history, phases), a phase being (method, ended well, band, iterations, products, reductions, seconds).
template <class Index>
nb::object solve(Input<Index> indptr, Input<Index> indices, Values data, Values b, double rtol, double atol,
                 double asymmetry, int method) {
    require(method >= 0 && method <= 2, "there is no such method");
    const std::size_t n = b.size(), capacity = std::min(indices.size(), data.size());
    if (indptr.size() != n + 1 || n > kQuickEntries || indices.size() > 2 * kQuickEntries)
        return nb::int_(static_cast<int>(Declined::entries));
    Narrow starts, columns;
    const std::int32_t *p = starts.data(indptr), *i = columns.data(indices);
    if (p == nullptr || i == nullptr) return nb::int_(static_cast<int>(Declined::matrix));
    const QuickSystem system{{static_cast<std::int64_t>(n), static_cast<std::int64_t>(capacity), p, i, data.data()},
                             b.data(), rtol, atol, static_cast<QuickMethod>(method), asymmetry};
    double* values;
    auto x = new_vector<double>(n, &values);
    QuickAnswer answer;
    {
        LongCall call;
        answer = solve_quickly(system, values);
    }
    if (answer.declined != Declined::no) return nb::int_(static_cast<int>(answer.declined));
    nb::list history, phases;
    for (const double norm : answer.history) history.append(norm);
    for (const QuickPhase& phase : answer.phases)
        phases.append(nb::make_tuple(static_cast<int>(phase.method), phase.ended_well, phase.band, phase.iterations, phase.products,
                                     phase.reductions, phase.seconds));
    return nb::make_tuple(x, answer.nnz, answer.figures.relative_residual, answer.figures.backward_error,
                          answer.figures.equilibrated_residual, answer.predicted_direct,
                          answer.predicted_jacobi, history, phases);
}

template <class Index> void bind_for(nb::module_& m) {
    m.def("solve_quickly", &solve<Index>, "indptr"_a, "indices"_a, "data"_a, "b"_a, "rtol"_a, "atol"_a,
          "asymmetry"_a, "method"_a = 2,
          "A small system solved and verified, or the number of why it is left to the ordinary way.");
}

}  // namespace

void bind_quick_solve(nb::module_& m) {
    bind_for<std::int32_t>(m);
    bind_for<std::int64_t>(m);
}

}  // namespace nnla
