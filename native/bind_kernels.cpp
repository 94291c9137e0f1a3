// nnla.kernels._native: the sliced matrix, its products, and polynomials of it.
#include <optional>
#include <stdexcept>
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

Csr view(const Indices& indptr, const Indices& indices, const Values& data, Columns order) {
    require_square(indptr, indices, data, order);
    Csr A;
    A.n = rows_of(indptr);
    A.indptr = indptr.data();
    A.indices = indices.data();
    A.data = data.data();
    return A;
}

void require_length(std::size_t length, std::int64_t n) {
    require(static_cast<std::int64_t>(length) == n, "a vector of another length than the matrix");
}

// A matrix of one value type, with the buffers of its products. Shared by the preconditioners made from it.
template <class V> struct Holder {
    std::shared_ptr<const Sliced<V>> matrix;
};

template <class V> void bind_matrix(nb::module_& m, const char* name, const char* polynomial) {
    using Matrix = Holder<V>;
    nb::class_<Matrix>(m, name)
        .def("__init__",
             [](Matrix* self, Indices indptr, Indices indices, Values data, std::optional<Values> scale) {
                 const Csr A = view(indptr, indices, data, Columns::ascending);
                 if (scale) require_length(scale->size(), A.n);
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
                double start_beta, std::optional<Values> scale, std::size_t near, std::size_t far) {
                 if (scale) require_length(scale->size(), M.matrix->n());
                 require(layers.size() == 5, "a recurrence has five rows of coefficients");
                 Coefficients c{layers.at(0), layers.at(1), layers.at(2), layers.at(3), layers.at(4), start_alpha,
                                start_beta};
                 new (self) P(M.matrix, c, scale ? scale->data() : nullptr, CacheBudget{near, far});
             },
             "matrix"_a, "layers"_a, "start_alpha"_a, "start_beta"_a, "scale"_a.none(), "near"_a, "far"_a)
        .def("apply", [](P& self, Values r, Output<double> z) {
                 require_length(r.size(), self.size());
                 require_length(z.size(), self.size());
                 LongCall call;
                 self.apply(r.data(), z.data());
             })
        .def("apply_block", [](P& self, InputBlock<double> r, OutputBlock<double> z) {
                 require_length(r.shape(0), self.size());
                 require(r.shape(0) == z.shape(0) && r.shape(1) == z.shape(1), "blocks of different shapes");
                 require(r.shape(1) <= 0x7fffffff, "too many columns");
                 const int columns = static_cast<int>(r.shape(1));
                 LongCall call;
                 self.apply_block(r.data(), z.data(), columns);
             })
        .def_prop_ro("traversal", [](const P& self) {
            const Traversal& t = self.traversal();
            return std::make_tuple(t.ends.size(), t.steps, t.window);
        });
}

// A product with the arrays that it reads.
struct HeldProduct {
    Indices indptr, indices;
    Values data;
    std::unique_ptr<Product> product;
};

// One iteration at a time: the object is its state.
struct HeldIteration {
    HeldIteration(const HeldProduct& A, Preconditioner* M, const double* inverse) : cg(*A.product, M, inverse) {}

    class Turn {
      public:
        explicit Turn(HeldIteration& held) : held_(held) {
            if (held.running) throw std::runtime_error("the iteration is running already");
            held.running = true;
        }
        ~Turn() { held_.running = false; }  // once the interpreter's lock is back

      private:
        HeldIteration& held_;
    };

    ConjugateGradients cg;
    std::int64_t n = 0;
    std::optional<OutputBlock<double>> rows;  // that Lanczos vectors go into
    bool running = false;
};

void bind_conjugate_gradients(nb::module_& m) {
    nb::class_<HeldProduct>(m, "Product")
        .def_static("csr",
                    [](Indices indptr, Indices indices, Values data) {
                        const Csr A = view(indptr, indices, data, Columns::any);
                        return HeldProduct{indptr, indices, data, std::make_unique<CsrProduct>(A)};
                    },
                    "indptr"_a, "indices"_a, "data"_a)
        .def_static("sliced", [](const Holder<double>& M) {
            return HeldProduct{{}, {}, {}, std::make_unique<SlicedProduct>(M.matrix)};
        });
    using CG = HeldIteration;
    nb::class_<CG>(m, "ConjugateGradients")
        .def("__init__",
             [](CG* self, const HeldProduct& A, Preconditioner* M, std::optional<Values> inverse) {
                 if (inverse) require_length(inverse->size(), A.product->size());
                 if (M != nullptr) require_length(static_cast<std::size_t>(M->size()), A.product->size());
                 require(M == nullptr || !inverse, "a preconditioner or an inverse diagonal, not both");
                 new (self) CG(A, M, inverse ? inverse->data() : nullptr);
                 self->n = A.product->size();
             },
             "product"_a, "M"_a.none(), "inverse"_a.none(), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
        .def("use",
             [](CG& self, const HeldProduct& A) {
                 const CG::Turn turn(self);
                 require_length(static_cast<std::size_t>(self.n), A.product->size());
                 self.cg.use(*A.product);
             },
             nb::keep_alive<1, 2>())
        .def("record",
             [](CG& self, std::optional<OutputBlock<double>> rows, std::int64_t first) {
                 const CG::Turn turn(self);
                 const std::int64_t count = rows ? static_cast<std::int64_t>(rows->shape(0)) : 0;
                 if (rows) require_length(rows->shape(1), self.n);
                 require(first >= 0 && first <= count, "no such row");
                 self.rows = rows;
                 self.cg.record(rows ? rows->data() + first * self.n : nullptr, count - first);
             },
             "rows"_a.none(), "first"_a = 0, "Lanczos vectors of the next iterations go into rows[first:].")
        .def_prop_ro("rows_left", [](CG& self) { const CG::Turn turn(self); return self.cg.rows_left(); })
        .def("run",
             [](CG& self, Output<double> x, Output<double> r, double target, std::int64_t iterations, std::int64_t stall,
                bool one_reduction, bool restart, std::optional<Output<double>> best) {
                 const CG::Turn turn(self);
                 require_length(x.size(), self.n);
                 require_length(r.size(), self.n);
                 if (best) require_length(best->size(), self.n);
                 LongCall call;
                 return static_cast<int>(self.cg.run(x.data(), r.data(), target, iterations, stall, one_reduction,
                                                     restart, best ? best->data() : nullptr));
             },
             "x"_a, "r"_a, "target"_a, "iterations"_a, "stall"_a, "one_reduction"_a, "restart"_a,
             "best"_a.none() = nb::none())
        .def_prop_rw(
            "best_norm", [](CG& self) { const CG::Turn turn(self); return self.cg.best_norm; },
            [](CG& self, double norm) { const CG::Turn turn(self); self.cg.best_norm = norm; })
        .def("next_beta",
             [](CG& self) {
                 const CG::Turn turn(self);
                 LongCall call;
                 return self.cg.next_beta();
             })
        .def_prop_ro("iterations", [](const CG& self) { return self.cg.alphas.size(); })
        .def_prop_ro("alphas", [](CG& self) { const CG::Turn turn(self); return self.cg.alphas; })
        .def_prop_ro("betas", [](CG& self) { const CG::Turn turn(self); return self.cg.betas; })
        .def_prop_ro("norms", [](CG& self) { const CG::Turn turn(self); return self.cg.norms; })
        .def_prop_ro("products", [](const CG& self) { return self.cg.products; })
        .def_prop_ro("applies", [](const CG& self) { return self.cg.applies; })
        .def_prop_ro("reductions", [](const CG& self) { return self.cg.reductions; })
        .def_prop_ro("failed_value", [](const CG& self) { return self.cg.failed_value; });
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
        [](Values x, Values y) {
            require(x.size() == y.size(), "vectors of different lengths");
            LongCall call;
            return dot(x.size(), x.data(), y.data());
        },
        "x"_a, "y"_a, "x'y, summed in an order that does not depend on the threads.");
    m.def(
        "run_share",
        [](Indices indptr, Indices indices) {
            require_square(indptr, indices, Columns::any);
            Csr A;
            A.n = rows_of(indptr);
            A.indptr = indptr.data();
            A.indices = indices.data();
            LongCall call;
            return run_share(A);
        },
        "indptr"_a, "indices"_a, "Share of the entries that slices would keep in runs.");
    m.def(
        "level_structure",
        [](Indices indptr, Indices indices) {
            require_square(indptr, indices, Columns::any);
            LongCall call;
            const Levels l = level_structure(rows_of(indptr), indptr.data(), indices.data());
            return std::make_tuple(l.components, l.longest, l.cubed_width);
        },
        "indptr"_a, "indices"_a, "(components, levels of the longest, sum of (rows / levels)^3) of the graph.");
}

}  // namespace nnla
