// nnla.kernels._native: systems of one pattern, one after the other; see nnla.kernels.repeated.
#include <algorithm>
#include <limits>
#include <nanobind/stl/unique_ptr.h>

#include "bind.hpp"
#include "narrow.hpp"
#include "repeated_solve.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// One call at a time: the object is its state.
struct HeldRepeated {
    explicit HeldRepeated(std::unique_ptr<RepeatedCholesky> made) : cholesky(std::move(made)) {}

    class Turn {
      public:
        explicit Turn(HeldRepeated& held) : held_(held) {
            if (held.running) throw std::runtime_error("the solver is running already");
            held.running = true;
        }
        ~Turn() { held_.running = false; }  // once the interpreter's lock is back

      private:
        HeldRepeated& held_;
    };

    std::unique_ptr<RepeatedCholesky> cholesky;
    bool running = false;
};

template <class Solve> nb::object answered(std::size_t n, const Solve& solve) {
    double* values;
    auto x = new_vector<double>(n, &values);
    RepeatedAnswer answer;
    {
        LongCall call;
        answer = solve(values);
    }
    if (answer.declined != Declined::no) return nb::int_(static_cast<int>(answer.declined));
    const Figures& f = answer.figures;
    return nb::make_tuple(x, f.relative_residual, f.backward_error, f.equilibrated_residual, answer.factored,
                          answer.products, answer.seconds_factor, answer.seconds_solve);
}

// The number of Declined, or (x, relative residual, backward error, equilibrated residual or a negative number, whether
// it was factored anew, products, seconds of factoring, seconds of solving).
template <class Index>
nb::object solve(HeldRepeated& self, Input<Index> indptr, Input<Index> indices, Values data, Values b, double rtol,
                 double atol, double asymmetry) {
    const HeldRepeated::Turn turn(self);
    const std::size_t n = b.size(), capacity = std::min(indices.size(), data.size());
    if (indptr.size() != n + 1 || n != static_cast<std::size_t>(self.cholesky->size()))
        return nb::int_(static_cast<int>(Declined::pattern));
    Narrow starts, columns;
    const std::int32_t *p = starts.data(indptr), *i = columns.data(indices);
    if (p == nullptr || i == nullptr) return nb::int_(static_cast<int>(Declined::pattern));
    const CsrArrays<std::int32_t> A{static_cast<std::int64_t>(n), static_cast<std::int64_t>(capacity), p, i, data.data()};
    return answered(n, [&](double* x) { return self.cholesky->solve(A, b.data(), rtol, atol, asymmetry, x); });
}

nb::object solve_again(HeldRepeated& self, Values b, double rtol, double atol) {
    const HeldRepeated::Turn turn(self);
    if (b.size() != static_cast<std::size_t>(self.cholesky->size())) return nb::int_(static_cast<int>(Declined::pattern));
    return answered(b.size(), [&](double* x) { return self.cholesky->solve_again(b.data(), rtol, atol, x); });
}

}  // namespace

void bind_repeated_solve(nb::module_& m) {
    using Held = HeldRepeated;
    nb::class_<Held>(m, "RepeatedCholesky", "Systems of one pattern, one after the other; see nnla.kernels.repeated.")
        .def("__init__",
             [](Held* self, Indices indptr, Indices indices, double max_flops) {
                 const std::int64_t n = rows_of(indptr), nnz = require_rows(indptr, indices, n, Columns::any);
                 require(nnz == static_cast<std::int64_t>(indices.size()), "indptr does not fit the indices");
                 const Pattern pattern{static_cast<std::int32_t>(n), indptr.data(), indices.data()};
                 std::unique_ptr<RepeatedCholesky> made;
                 {
                     LongCall call;
                     made = std::make_unique<RepeatedCholesky>(pattern, max_flops);
                 }
                 new (self) Held(std::move(made));
             },
             "indptr"_a, "indices"_a, "max_flops"_a = std::numeric_limits<double>::infinity())
        .def_prop_ro("n", [](const Held& h) { return h.cholesky->size(); })
        .def_prop_ro("complete", [](const Held& h) { return h.cholesky->complete(); })
        .def_prop_ro("factored", [](const Held& h) { return h.cholesky->factored(); })
        .def_prop_ro("banded", [](const Held& h) { return h.cholesky->banded(); })
        .def_prop_ro("flops", [](const Held& h) { return h.cholesky->flops(); })
        .def_prop_ro("nnz", [](const Held& h) { return h.cholesky->nnz(); })
        .def_prop_ro("bytes", [](const Held& h) { return h.cholesky->bytes(); })
        .def("solve", &solve<std::int32_t>, "indptr"_a, "indices"_a, "data"_a, "b"_a, "rtol"_a, "atol"_a, "asymmetry"_a)
        .def("solve", &solve<std::int64_t>, "indptr"_a, "indices"_a, "data"_a, "b"_a, "rtol"_a, "atol"_a, "asymmetry"_a)
        .def("solve_again", &solve_again, "b"_a, "rtol"_a, "atol"_a)
        .def("preconditioner",
             [](Held& self) {
                 const Held::Turn turn(self);
                 return self.cholesky->preconditioner();
             },
             "A^-1 of the matrix that was factored last, or None.");
}

}  // namespace nnla
