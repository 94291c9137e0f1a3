// nnla.kernels._native: sparse Cholesky factorisation; see nnla.kernels.cholesky.
#include <limits>
#include <stdexcept>
#include <nanobind/stl/unique_ptr.h>

#include "bind_cholesky.hpp"
#include "factor_preconditioner.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

using Held = HeldCholesky;

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
