// nnla.kernels._native: the sliced matrix, its products, and polynomials of it.
#include <cstring>
#include <optional>
#include <string>
#include <vector>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <nanobind/stl/tuple.h>

#include "bind.hpp"
#include "conjugate_gradients.hpp"
#include "levels.hpp"
#include "recurrence.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

Csr view(const Input<std::int32_t>& indptr, const Input<std::int32_t>& indices, const Input<double>& data) {
    Csr A;
    A.n = static_cast<std::int64_t>(indptr.size()) - 1;
    A.indptr = indptr.data();
    A.indices = indices.data();
    A.data = data.data();
    return A;
}

// A matrix of one value type, with the buffers of its products. Shared by the preconditioners made from it.
template <class V> struct Holder {
    std::shared_ptr<const Sliced<V>> matrix;
};

template <class V> void bind_matrix(nb::module_& m, const char* name, const char* polynomial) {
    using Matrix = Holder<V>;
    nb::class_<Matrix>(m, name)
        .def("__init__",
             [](Matrix* self, Input<std::int32_t> indptr, Input<std::int32_t> indices, Input<double> data,
                std::optional<Input<double>> scale) {
                 const Csr A = view(indptr, indices, data);
                 const double* s = scale ? scale->data() : nullptr;
                 LongCall call;
                 new (self) Matrix{std::make_shared<const Sliced<V>>(A, s)};
             },
             "indptr"_a, "indices"_a, "data"_a, "scale"_a.none())
        .def_prop_ro("n", [](const Matrix& self) { return self.matrix->n(); })
        .def_prop_ro("bytes", [](const Matrix& self) { return self.matrix->bytes(); })
        .def_prop_ro("census",
                     [](const Matrix& self) {
                         const auto c = self.matrix->census();
                         return std::make_tuple(c.constants, c.runs, c.shorts, c.wides, c.tail);
                     });
    using P = PolynomialPreconditioner<V>;
    nb::class_<P, Preconditioner>(m, polynomial)
        .def("__init__",
             [](P* self, const Matrix& M, const std::vector<std::vector<double>>& layers, double start_alpha,
                double start_beta, std::optional<Input<double>> scale, std::size_t near, std::size_t far) {
                 Coefficients c{layers.at(0), layers.at(1), layers.at(2), layers.at(3), layers.at(4), start_alpha,
                                start_beta};
                 new (self) P(M.matrix, c, scale ? scale->data() : nullptr, CacheBudget{near, far});
             },
             "matrix"_a, "layers"_a, "start_alpha"_a, "start_beta"_a, "scale"_a.none(), "near"_a, "far"_a)
        .def("apply", [](P& self, Input<double> r, Output<double> z) {
                 LongCall call;
                 self.apply(r.data(), z.data());
             })
        .def("apply_block", [](P& self, nb::ndarray<const double, nb::ndim<2>, nb::c_contig> r,
                               nb::ndarray<double, nb::ndim<2>, nb::c_contig> z) {
                 const int columns = static_cast<int>(r.shape(1));
                 LongCall call;
                 self.apply_block(r.data(), z.data(), columns);
             })
        .def_prop_ro("traversal", [](const P& self) {
            const Traversal& t = self.runner().traversal();
            return std::make_tuple(t.ends.size(), t.steps, t.window);
        });
}

// A product with what it needs to stay valid.
struct HeldProduct {
    nb::object arrays;  // the CSR arrays, for a view
    std::unique_ptr<Product> product;
};

void bind_conjugate_gradients(nb::module_& m) {
    nb::class_<HeldProduct>(m, "Product")
        .def_static("csr",
                    [](nb::tuple arrays) {
                        const auto indptr = nb::cast<Input<std::int32_t>>(arrays[0]);
                        const auto indices = nb::cast<Input<std::int32_t>>(arrays[1]);
                        const auto data = nb::cast<Input<double>>(arrays[2]);
                        return HeldProduct{arrays, std::make_unique<CsrProduct>(view(indptr, indices, data))};
                    })
        .def_static("sliced", [](const Holder<double>& M) {
            return HeldProduct{nb::none(), std::make_unique<SlicedProduct>(M.matrix)};
        });
    nb::class_<ConjugateGradients>(m, "ConjugateGradients")
        .def("__init__",
             [](ConjugateGradients* self, const HeldProduct& A, Preconditioner* M,
                std::optional<Input<double>> inverse) {
                 new (self) ConjugateGradients(*A.product, M, inverse ? inverse->data() : nullptr);
             },
             "product"_a, "M"_a.none(), "inverse"_a.none(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
        .def("use", [](ConjugateGradients& self, const HeldProduct& A) { self.use(*A.product); }, nb::keep_alive<1, 2>())
        .def("run",
             [](ConjugateGradients& self, Output<double> x, Output<double> r, double target, std::int64_t iterations,
                std::int64_t stall, bool one_reduction, bool restart, std::optional<Output<double>> best) {
                 if (best && best->size() != x.size()) throw nb::value_error("best and x are of different lengths");
                 LongCall call;
                 return static_cast<int>(self.run(x.data(), r.data(), target, iterations, stall, one_reduction, restart,
                                                  best ? best->data() : nullptr));
             },
             "x"_a, "r"_a, "target"_a, "iterations"_a, "stall"_a, "one_reduction"_a, "restart"_a, "best"_a.none() = nb::none())
        .def_rw("best_norm", &ConjugateGradients::best_norm)
        .def("next_beta", &ConjugateGradients::next_beta, nb::call_guard<LongCall>())
        .def_prop_ro("iterations", [](const ConjugateGradients& self) { return self.alphas.size(); })
        .def_ro("alphas", &ConjugateGradients::alphas)
        .def_ro("betas", &ConjugateGradients::betas)
        .def_ro("norms", &ConjugateGradients::norms)
        .def_ro("products", &ConjugateGradients::products)
        .def_ro("applies", &ConjugateGradients::applies)
        .def_ro("reductions", &ConjugateGradients::reductions)
        .def_ro("failed_value", &ConjugateGradients::failed_value);
}

}  // namespace

void bind_kernels(nb::module_& m) {
    m.def("isa", [] { return std::string(isa().name); }, "The instruction set in use.");
    bind_matrix<double>(m, "Matrix64", "Polynomial64");
    bind_matrix<float>(m, "Matrix32", "Polynomial32");
    bind_matrix<bfloat16>(m, "Matrix16", "Polynomial16");
    bind_conjugate_gradients(m);
    m.def(
        "dot",
        [](Input<double> x, Input<double> y) {
            if (x.size() != y.size()) throw nb::value_error("vectors of different lengths");
            LongCall call;
            return dot(x.size(), x.data(), y.data());
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "x'y, summed in an order that does not depend on the threads.");
    m.def(
        "run_share",
        [](Input<std::int32_t> indptr, Input<std::int32_t> indices) {
            Csr A;
            A.n = static_cast<std::int64_t>(indptr.size()) - 1;
            A.indptr = indptr.data();
            A.indices = indices.data();
            LongCall call;
            return run_share(A);
        },
        "indptr"_a, "indices"_a, "Share of the entries that slices would keep in runs.");
    m.def(
        "level_structure",
        [](Input<std::int32_t> indptr, Input<std::int32_t> indices) {
            LongCall call;
            const Levels l = level_structure(static_cast<std::int64_t>(indptr.size()) - 1, indptr.data(), indices.data());
            return std::make_tuple(l.components, l.longest, l.cubed_width);
        },
        "indptr"_a, "indices"_a, "(components, levels of the longest, sum of (rows / levels)^3) of the graph.");
}

}  // namespace nnla
