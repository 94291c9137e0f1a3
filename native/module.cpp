// The extension module nnla.kernels._native: every part binds its own functions.
#include "bind.hpp"
#include "preconditioner.hpp"
#include "threads.hpp"

using namespace nb::literals;

namespace nnla {
void bind_bandwidth(nb::module_& m);
void bind_basis(nb::module_& m);
void bind_block_filter(nb::module_& m);
void bind_checks(nb::module_& m);
void bind_cholesky(nb::module_& m);
void bind_cost_network(nb::module_& m);
void bind_deflation(nb::module_& m);
void bind_features(nb::module_& m);
void bind_fingerprint(nb::module_& m);
void bind_incomplete_cholesky(nb::module_& m);
void bind_interruption(nb::module_& m);
void bind_kernels(nb::module_& m);
void bind_multigrid(nb::module_& m);
void bind_quick_solve(nb::module_& m);
void bind_reordering(nb::module_& m);
void bind_repeated_solve(nb::module_& m);
}  // namespace nnla

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of nnla; use them through nnla.kernels.";
    nb::set_leak_warnings(false);
    nb::class_<nnla::Preconditioner>(m, "Preconditioner", "What native CG can be preconditioned by.")
        .def_prop_ro("size", &nnla::Preconditioner::size)
        .def("multiply",
             [](nnla::Preconditioner& self, nnla::Values r, nnla::Output<double> z) {
                 nnla::require(static_cast<std::int64_t>(r.size()) == self.size() && r.size() == z.size(),
                               "a vector of another length than the preconditioner");
                 nnla::LongCall call;
                 self.apply(r.data(), z.data());
             },
             "r"_a, "z"_a, "z = M r.");
    nnla::prepare_threads();
    nnla::bind_interruption(m);
    nnla::bind_kernels(m);
    m.def("max_threads", &nnla::max_threads, "Threads that kernels use at most.");
    m.def("set_threads", &nnla::set_threads, "count"_a, "Set the number of threads; 0 for the default.");
    nnla::bind_bandwidth(m);
    nnla::bind_basis(m);
    nnla::bind_block_filter(m);
    nnla::bind_checks(m);
    nnla::bind_cholesky(m);
    nnla::bind_cost_network(m);
    nnla::bind_deflation(m);
    nnla::bind_features(m);
    nnla::bind_fingerprint(m);
    nnla::bind_incomplete_cholesky(m);
    nnla::bind_multigrid(m);
    nnla::bind_quick_solve(m);
    nnla::bind_reordering(m);
    nnla::bind_repeated_solve(m);
}
