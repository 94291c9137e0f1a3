// nnla.kernels._native: sparse Cholesky factorisation; see nnla.kernels.cholesky.
#include <limits>
#include <memory>
#include <stdexcept>
#include <nanobind/stl/unique_ptr.h>

#include "bind.hpp"
#include "cholesky.hpp"
#include "factor_preconditioner.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

Pattern sound(const Indices& indptr, const Indices& indices) {
    const std::int64_t nnz = require_rows(indptr, indices, rows_of(indptr), Columns::any);
    require(nnz == static_cast<std::int64_t>(indices.size()), "indptr does not fit the indices");
    return Pattern{static_cast<std::int32_t>(rows_of(indptr)), indptr.data(), indices.data()};
}

// The analysis, the arrays of the pattern that it reads, and the factor. A factor that is there is replaced by a new
// one under the interpreter's lock, and lives until the last call that solves with it has ended: threads may factor
// and solve with one object.
struct Held {
    using Factor = Cholesky::Factor;
    Indices indptr, indices;
    std::shared_ptr<const Cholesky> analysis;
    std::shared_ptr<Factor> current;

    Held(Indices p, Indices i, double max_flops) : indptr(p), indices(i) {
        const Pattern pattern = sound(p, i);
        LongCall call;
        analysis = std::make_shared<const Cholesky>(pattern, max_flops);
    }

    std::int64_t factor(Values data, bool indefinite, bool in_place) {
        require(data.size() == indices.size(), "data does not fit the indices");
        if (!analysis->complete()) throw std::runtime_error("the analysis was given up");
        std::shared_ptr<Factor> mine;
        if (in_place && current.use_count() == 1) mine = std::move(current);
        if (!mine) mine = std::make_shared<Factor>();
        std::int64_t row;
        {
            LongCall call;
            row = analysis->factor(data.data(), indefinite, *mine);
        }
        current = row < 0 ? std::move(mine) : nullptr;
        return row;
    }

    auto solve(Values b, std::int64_t columns) {
        const std::int64_t n = analysis->size();
        require(columns >= 1 && columns <= static_cast<std::int64_t>(b.size()) + 1 &&
                    static_cast<std::int64_t>(b.size()) == n * columns,
                "b has another length");
        const std::shared_ptr<Factor> mine = current;
        if (!mine) throw std::runtime_error("not factored");
        double* x;
        auto out = new_vector<double>(b.size(), &x);
        {
            LongCall call;
            analysis->solve(*mine, b.data(), x, columns);
        }
        return out;
    }
};

}  // namespace

void bind_cholesky(nb::module_& m) {
    nb::class_<Held>(m, "Cholesky", "Sparse Cholesky factorisation; see nnla.kernels.cholesky.")
        .def(nb::init<Indices, Indices, double>(), "indptr"_a, "indices"_a,
             "max_flops"_a = std::numeric_limits<double>::infinity())
        .def_prop_ro("complete", [](const Held& h) { return h.analysis->complete(); })
        .def_prop_ro("factored", [](const Held& h) { return h.current != nullptr; })
        .def_prop_ro("flops", [](const Held& h) { return h.analysis->flops(); })
        .def_prop_ro("nnz", [](const Held& h) { return h.analysis->nnz(); })
        .def_prop_ro("bytes", [](const Held& h) { return h.analysis->bytes(); })
        .def("order",
             [](const Held& h) {
                 const auto& order = h.analysis->symbolic().order;
                 std::int32_t* out;
                 auto array = new_vector<std::int32_t>(order.size(), &out);
                 for (std::size_t i = 0; i < order.size(); ++i) out[i] = order[i];
                 return array;
             })
        .def_prop_ro("negative", [](const Held& h) { return h.current ? h.current->negative() : 0; })
        .def("pivots",
             [](const Held& h) {
                 const std::shared_ptr<Cholesky::Factor> mine = h.current;
                 if (!mine) throw std::runtime_error("not factored");
                 double* out;
                 auto array = new_vector<double>(static_cast<std::size_t>(h.analysis->size()), &out);
                 h.analysis->pivots(*mine, out);
                 return array;
             })
        .def("growth",
             [](const Held& h) {
                 const std::shared_ptr<Cholesky::Factor> mine = h.current;
                 if (!mine) throw std::runtime_error("not factored");
                 LongCall call;
                 return h.analysis->growth(*mine);
             })
        .def("factor", &Held::factor, "data"_a, "indefinite"_a = false, "in_place"_a = false)
        .def("preconditioner",
             [](const Held& h) -> std::unique_ptr<Preconditioner> {
                 if (!h.current) throw std::runtime_error("not factored");
                 return std::make_unique<FrontsPreconditioner>(h.analysis, h.current);
             },
             "A^-1 of the matrix that was factored last, whatever is factored afterwards.")
        .def("solve", &Held::solve, "b"_a, "columns"_a = 1);
}

}  // namespace nnla
