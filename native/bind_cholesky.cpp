// Cholesky in Python; nnla.kernels.cholesky checks what it hands over.
#include <limits>
#include <memory>
#include <stdexcept>

#include "bind.hpp"
#include "cholesky.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

using Indices = Input<std::int32_t>;

Pattern sound(const Indices& p, const Indices& i) {
    if (p.size() == 0 || p.data()[0] != 0) throw std::invalid_argument("indptr must start with 0");
    for (std::size_t k = 1; k < p.size(); ++k)
        if (p.data()[k] < p.data()[k - 1]) throw std::invalid_argument("indptr must not decrease");
    if (p.data()[p.size() - 1] != static_cast<std::int64_t>(i.size()))
        throw std::invalid_argument("indptr does not fit the indices");
    return Pattern{static_cast<std::int32_t>(p.size() - 1), p.data(), i.data()};
}

// The factorisation and the arrays of the pattern that it reads.
struct Held {
    Indices indptr, indices;
    std::unique_ptr<Cholesky> factor;

    Held(Indices p, Indices i, double max_flops) : indptr(p), indices(i) {
        const Pattern pattern = sound(p, i);
        LongCall call;
        factor = std::make_unique<Cholesky>(pattern, max_flops);
    }

    std::int64_t run(Input<double> data) {
        if (data.size() != indices.size()) throw std::invalid_argument("data does not fit the indices");
        if (!factor->complete()) throw std::runtime_error("the analysis was given up");
        LongCall call;
        return factor->factor(data.data());
    }

    auto solve(Input<double> b, std::int64_t columns) {
        if (columns < 1 || b.size() != static_cast<std::size_t>(factor->size()) * static_cast<std::size_t>(columns))
            throw std::invalid_argument("b has another length");
        if (!factor->factored()) throw std::runtime_error("not factored");
        double* x;
        auto out = new_vector<double>(b.size(), &x);
        {
            LongCall call;
            factor->solve_block(b.data(), x, columns);
        }
        return out;
    }
};

}  // namespace

void bind_cholesky(nb::module_& m) {
    nb::class_<Held>(m, "Cholesky", "Sparse Cholesky factorisation; see nnla.kernels.cholesky.")
        .def(nb::init<Indices, Indices, double>(), "indptr"_a, "indices"_a,
             "max_flops"_a = std::numeric_limits<double>::infinity())
        .def_prop_ro("complete", [](const Held& h) { return h.factor->complete(); })
        .def_prop_ro("factored", [](const Held& h) { return h.factor->factored(); })
        .def_prop_ro("flops", [](const Held& h) { return h.factor->flops(); })
        .def_prop_ro("nnz", [](const Held& h) { return h.factor->nnz(); })
        .def_prop_ro("bytes", [](const Held& h) { return h.factor->bytes(); })
        .def("order",
             [](const Held& h) {
                 const auto& order = h.factor->symbolic().order;
                 std::int32_t* out;
                 auto array = new_vector<std::int32_t>(order.size(), &out);
                 for (std::size_t i = 0; i < order.size(); ++i) out[i] = order[i];
                 return array;
             })
        .def("pivots",
             [](const Held& h) {
                 if (!h.factor->factored()) throw std::runtime_error("not factored");
                 double* out;
                 auto array = new_vector<double>(static_cast<std::size_t>(h.factor->size()), &out);
                 h.factor->pivots(out);
                 return array;
             })
        .def("factor", &Held::run, "data"_a)
        .def("solve", &Held::solve, "b"_a, "columns"_a = 1);
}

}  // namespace nnla
