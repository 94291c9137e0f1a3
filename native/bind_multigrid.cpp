#include <nanobind/stl/pair.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "multigrid.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

CsrView view(const Indices& indptr, const Indices& indices, const Values& data, std::int64_t columns) {
    const std::int64_t nnz = require_rows(indptr, indices, columns, Columns::any);
    require(nnz == static_cast<std::int64_t>(indices.size()) && indices.size() == data.size(),
            "the arrays of a CSR matrix do not fit together");
    return {rows_of(indptr), columns, indptr.data(), indices.data(), data.data()};
}

CsrView square(const Indices& indptr, const Indices& indices, const Values& data) {
    return view(indptr, indices, data, rows_of(indptr));
}

template <class T> nb::ndarray<nb::numpy, T, nb::ndim<1>> give(std::vector<T>&& values) {
    auto* memory = new std::vector<T>(std::move(values));
    nb::capsule owner(memory, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T, nb::ndim<1>>(memory->data(), {memory->size()}, owner);
}

nb::tuple give(CsrArrays&& A, bool values = true) {
    if (!values) return nb::make_tuple(give(std::move(A.indptr)), give(std::move(A.indices)));
    return nb::make_tuple(give(std::move(A.indptr)), give(std::move(A.indices)), give(std::move(A.data)));
}

template <class F> CsrArrays unlocked(const F& f) {
    LongCall call;
    return f();
}

CsrView pattern(const Indices& indptr, const Indices& indices, std::int64_t columns) {
    const std::int64_t nnz = require_rows(indptr, indices, columns, Columns::any);
    require(nnz == static_cast<std::int64_t>(indices.size()), "the arrays of a pattern do not fit together");
    return {rows_of(indptr), columns, indptr.data(), indices.data(), nullptr};
}

}  // namespace

void bind_multigrid(nb::module_& m) {
    nb::class_<Multigrid, Preconditioner>(m, "Multigrid", "A symmetric V-cycle with polynomial smoothers.")
        .def("add_level",
             [](Multigrid& mg, Indices indptr, Indices indices, Values data, Values scale, Indices P_indptr, Indices P_indices,
                Values P_data, Values coarse_scale) {
                 const auto columns = static_cast<std::int64_t>(coarse_scale.size());
                 const CsrView A = view(indptr, indices, data, static_cast<std::int64_t>(scale.size()));
                 const CsrView P = view(P_indptr, P_indices, P_data, columns);
                 require(A.rows == A.columns && P.rows == A.rows, "the matrices of a level do not fit together");
                 require(mg.levels() == 0 || mg.coarse_size() == A.rows, "the levels do not fit together");
                 LongCall call;
                 mg.add_level(A, scale.data(), P, coarse_scale.data());
             })
        .def("add_coarsest",
             [](Multigrid& mg, Indices indptr, Indices indices, Values data, Values scale) {
                 const CsrView A = view(indptr, indices, data, static_cast<std::int64_t>(scale.size()));
                 require(A.rows == A.columns, "the scale of a level does not fit its matrix");
                 require(mg.levels() == 0 || mg.coarse_size() == A.rows, "the levels do not fit together");
                 LongCall call;
                 mg.add_coarsest(A, scale.data());
             })
        .def("invert",
             [](Multigrid& mg) {
                 require(mg.levels() > 0, "there is no level");
                 LongCall call;
                 mg.invert();
             })
        .def("gershgorin",
             [](const Multigrid& mg, int level) {
                 require(level >= 0 && level < mg.levels(), "there is no such level");
                 return mg.gershgorin(level);
             })
        .def("set_smoother",
             [](Multigrid& mg, int level, Values rho, Values gamma, Values eta, Values alpha, Values beta, double shift,
                double scale) {
                 const std::size_t depth = rho.size();
                 require(level >= 0 && level < mg.levels(), "there is no such level");
                 require(depth > 0 && gamma.size() == depth && eta.size() == depth && alpha.size() == depth &&
                             beta.size() == depth,
                         "the coefficients of a recurrence have one length");
                 Layers c;
                 c.x0 = -shift / scale;
                 c.x1 = 1.0 / scale;
                 for (std::size_t k = 0; k < depth; ++k) {
                     c.rho.push_back(rho.data()[k]);
                     c.gamma.push_back(gamma.data()[k]);
                     c.eta.push_back(eta.data()[k]);
                     c.alpha.push_back(alpha.data()[k] + beta.data()[k] * c.x0);
                     c.beta.push_back(beta.data()[k] * c.x1);
                 }
                 mg.set_smoother(level, c);
             })
        .def("lanczos",
             [](const Multigrid& mg, int level, int steps) {
                 require(level >= 0 && level < mg.levels() && steps > 0, "there is no such level");
                 std::vector<double> alpha(static_cast<std::size_t>(steps)), beta(static_cast<std::size_t>(steps));
                 int done;
                 {
                     LongCall call;
                     done = mg.lanczos(level, steps, alpha.data(), beta.data());
                 }
                 double *a, *b;
                 auto first = new_vector<double>(static_cast<std::size_t>(done), &a);
                 auto second = new_vector<double>(static_cast<std::size_t>(done), &b);
                 std::copy(alpha.begin(), alpha.begin() + done, a);
                 std::copy(beta.begin(), beta.begin() + done, b);
                 return std::make_pair(first, second);
             })
        .def("apply", [](Multigrid& mg, Values r, Output<double> z) {
            require(mg.complete(), "the hierarchy is not complete");
            require(static_cast<std::int64_t>(r.size()) == mg.size() && z.size() == r.size(), "vectors of the wrong size");
            const double* from = r.data();
            double* to = z.data();
            LongCall call;
            mg.apply(from, to);
        });
    m.def("coarsening_traits", [](Indices indptr, Indices indices, Values data, double theta) {
        const CsrView A = square(indptr, indices, data);
        Traits t;
        {
            LongCall call;
            t = traits(A, theta);
        }
        return nb::make_tuple(t.positive, t.weak, t.uniform);
    });
    m.def("balancing_signs", [](Indices indptr, Indices indices, Values data, double theta) {
        const CsrView A = square(indptr, indices, data);
        double* signs;
        auto out = new_vector<double>(static_cast<std::size_t>(A.rows), &signs);
        double positive;
        {
            LongCall call;
            positive = balancing_signs(A, theta, signs);
        }
        return nb::make_tuple(out, positive);
    });
    m.def("transpose_pattern", [](Indices indptr, Indices indices, std::int64_t columns) {
        const CsrView A = pattern(indptr, indices, columns);
        return give(unlocked([&] { return transpose(A); }), false);
    });
    m.def("symmetric_strength", [](Indices indptr, Indices indices, Values data, double theta, int block) {
        const CsrView A = square(indptr, indices, data);
        require(block > 0 && A.rows % block == 0, "the block size does not divide the matrix");
        return give(unlocked([&] { return symmetric_strength(A, theta, block); }), false);
    });
    m.def("classical_strength", [](Indices indptr, Indices indices, Values data, double theta) {
        const CsrView A = square(indptr, indices, data);
        return give(unlocked([&] { return classical_strength(A, theta); }), false);
    });
    m.def("smoothed_prolongator", [](Indices indptr, Indices indices, Values data, Indices C_indptr, Indices C_indices, int block,
                                     Indices aggregate, Values candidate) {
        const CsrView A = square(indptr, indices, data);
        require(block > 0 && A.rows % block == 0, "the block size does not divide the matrix");
        const CsrView C = pattern(C_indptr, C_indices, A.rows / block);
        require(C.rows == C.columns && static_cast<std::int64_t>(aggregate.size()) == A.rows &&
                    static_cast<std::int64_t>(candidate.size()) == A.rows,
                "the parts of a prolongator do not fit together");
        for (std::int64_t i = 0; i < A.rows; ++i)
            require(aggregate.data()[i] >= -1 && aggregate.data()[i] < A.rows, "an aggregate is out of range");
        return give(unlocked([&] { return smoothed_prolongator(A, C, block, aggregate.data(), candidate.data()); }));
    });
    m.def("classical_prolongator",
          [](Indices indptr, Indices indices, Values data, Indices C_indptr, Indices C_indices, Indices splitting) {
              const CsrView A = square(indptr, indices, data);
              const CsrView C = pattern(C_indptr, C_indices, A.rows);
              require(C.rows == A.rows && static_cast<std::int64_t>(splitting.size()) == A.rows,
                      "the parts of a prolongator do not fit together");
              return give(unlocked([&] { return classical_prolongator(A, C, splitting.data()); }));
          });
    m.def("galerkin", [](Indices indptr, Indices indices, Values data, Indices P_indptr, Indices P_indices, Values P_data,
                         std::int64_t columns) {
        const CsrView A = square(indptr, indices, data);
        const CsrView P = view(P_indptr, P_indices, P_data, columns);
        require(A.rows == P.rows, "the prolongator does not fit the matrix");
        return give(unlocked([&] { return galerkin(A, P); }));
    });
    m.def("make_multigrid", &make_multigrid, "single"_a);
}

}  // namespace nnla
