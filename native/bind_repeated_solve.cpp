// nnla.kernels._native: systems of one pattern, one after the other; see nnla.kernels.repeated.
#include <algorithm>
#include <limits>
#include <vector>
#include <nanobind/stl/unique_ptr.h>

#include "bind_cholesky.hpp"
#include "fingerprint.hpp"
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
    std::vector<double> b, x;  // columns of a block
    std::shared_ptr<const Cholesky> adopted;  // an analysis from elsewhere
    bool running = false;
};

// A matrix with indices of any width, for the time of a call.
template <class Index> class Given {
  public:
    Given(const Input<Index>& indptr, const Input<Index>& indices, const Values& data)
        : A{static_cast<std::int64_t>(indptr.size()) - 1, static_cast<std::int64_t>(std::min(indices.size(), data.size())),
            starts_.data(indptr), columns_.data(indices), data.data()} {}
    bool fits(const HeldRepeated& self) const {
        return A.n == self.cholesky->size() && A.indptr != nullptr && A.indices != nullptr;
    }

  private:
    Narrow starts_, columns_;

  public:
    const CsrArrays<std::int32_t> A;
};

// solve(b, x) for each column of row-major blocks; the worst figures of all.
template <class Solve>
RepeatedAnswer by_columns(HeldRepeated& self, const double* B, double* X, std::size_t n, std::size_t columns,
                          const Solve& solve) {
    if (columns == 1) return solve(B, X);
    self.b.resize(n);
    self.x.resize(n);
    RepeatedAnswer all;
    for (std::size_t j = 0; j < columns; ++j) {
        for (std::size_t i = 0; i < n; ++i) self.b[i] = B[i * columns + j];
        const RepeatedAnswer one = solve(self.b.data(), self.x.data());
        if (one.declined != Declined::no) return one;
        for (std::size_t i = 0; i < n; ++i) X[i * columns + j] = self.x[i];
        all.figures.relative_residual = std::max(all.figures.relative_residual, one.figures.relative_residual);
        all.figures.backward_error = std::max(all.figures.backward_error, one.figures.backward_error);
        all.figures.equilibrated_residual =
            std::max(all.figures.equilibrated_residual, one.figures.equilibrated_residual);
        all.factored |= one.factored;
        all.products += one.products;
        all.seconds_factor += one.seconds_factor;
        all.seconds_solve += one.seconds_solve;
    }
    return all;
}

constexpr auto kAnotherPattern = static_cast<int>(Declined::pattern);

// Columns of n numbers each in a flat array; 0 where that does not come out even.
std::size_t columns_of(const Values& b, std::size_t n) { return n == 0 || b.size() % n != 0 ? 0 : b.size() / n; }

template <class Solve> nb::object answered(HeldRepeated& self, const Values& b, const Solve& solve) {
    const std::size_t n = static_cast<std::size_t>(self.cholesky->size()), columns = columns_of(b, n);
    if (n == 0 && b.size() == 0) return nb::int_(static_cast<int>(Declined::entries));
    if (columns == 0) return nb::int_(kAnotherPattern);
    double* values;
    auto x = new_vector<double>(b.size(), &values);
    RepeatedAnswer answer;
    {
        LongCall call;
        answer = by_columns(self, b.data(), values, n, columns, solve);
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
    const Given<Index> given(indptr, indices, data);
    if (!given.fits(self)) return nb::int_(kAnotherPattern);
    bool looked = false;
    return answered(self, b, [&](const double* column, double* x) {
        if (looked) return self.cholesky->solve_again(column, rtol, atol, x);
        looked = true;
        return self.cholesky->solve(given.A, column, rtol, atol, asymmetry, x);
    });
}

nb::object solve_again(HeldRepeated& self, Values b, double rtol, double atol) {
    const HeldRepeated::Turn turn(self);
    return answered(self, b,
                    [&](const double* column, double* x) { return self.cholesky->solve_again(column, rtol, atol, x); });
}

// 0 for the matrix that is factored, 1 for other values, 2 for another pattern.
template <class Index>
int change(HeldRepeated& self, Input<Index> indptr, Input<Index> indices, Values data, double asymmetry) {
    const HeldRepeated::Turn turn(self);
    const Given<Index> given(indptr, indices, data);
    if (!given.fits(self)) return static_cast<int>(RepeatedCholesky::Change::pattern);
    LongCall call;
    return static_cast<int>(self.cholesky->change(given.A, asymmetry));
}

int adopt(HeldRepeated& self, const HeldCholesky& made, Indices indptr, Indices indices, Values data, double asymmetry) {
    const HeldRepeated::Turn turn(self);
    const Given<std::int32_t> given(indptr, indices, data);
    if (!given.fits(self) || made.analysis->size() != self.cholesky->size()) return kAnotherPattern;
    const std::shared_ptr<Cholesky::Factor> factor = made.current;
    require(self.adopted == made.analysis, "the factor is of another analysis");
    LongCall call;
    return static_cast<int>(self.cholesky->adopt(given.A, asymmetry, factor));
}

nb::object apply(HeldRepeated& self, Values b) {
    const HeldRepeated::Turn turn(self);
    const std::size_t columns = columns_of(b, static_cast<std::size_t>(self.cholesky->size()));
    require(columns > 0 && columns <= 0x7fffffff, "b has another length");
    if (!self.cholesky->factored()) throw std::runtime_error("not factored");
    double* values;
    auto x = new_vector<double>(b.size(), &values);
    {
        LongCall call;
        self.cholesky->apply(b.data(), values, static_cast<std::int64_t>(columns));
    }
    return nb::cast(x);
}

}  // namespace

void bind_repeated_solve(nb::module_& m) {
    using Held = HeldRepeated;
    nb::class_<Held>(m, "RepeatedCholesky", "Systems of one pattern, one after the other; see nnla.kernels.repeated.")
        .def("__init__",
             [](Held* self, Indices indptr, Indices indices, double max_flops, const HeldCholesky* made) {
                 const std::int64_t n = rows_of(indptr), nnz = require_rows(indptr, indices, n, Columns::any);
                 require(nnz == static_cast<std::int64_t>(indices.size()), "indptr does not fit the indices");
                 const bool same = made != nullptr && made->analysis->complete() && made->indptr.size() == indptr.size() &&
                                   made->indices.size() == indices.size() &&
                                   same_bytes(made->indptr.data(), indptr.data(), 4 * indptr.size()) &&
                                   same_bytes(made->indices.data(), indices.data(), 4 * indices.size());
                 const std::shared_ptr<const Cholesky> analysis = same ? made->analysis : nullptr;
                 const Pattern pattern{static_cast<std::int32_t>(n), indptr.data(), indices.data()};
                 std::unique_ptr<RepeatedCholesky> repeated;
                 {
                     LongCall call;
                     repeated = std::make_unique<RepeatedCholesky>(pattern, max_flops, analysis);
                 }
                 new (self) Held(std::move(repeated));
                 self->adopted = analysis;
             },
             "indptr"_a, "indices"_a, "max_flops"_a = std::numeric_limits<double>::infinity(),
             "analysed"_a.none() = nb::none(), nb::keep_alive<1, 5>())
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
        .def("change", &change<std::int32_t>, "indptr"_a, "indices"_a, "data"_a, "asymmetry"_a)
        .def("change", &change<std::int64_t>, "indptr"_a, "indices"_a, "data"_a, "asymmetry"_a)
        .def("adopt", &adopt, "analysed"_a, "indptr"_a, "indices"_a, "data"_a, "asymmetry"_a)
        .def("apply", &apply, "b"_a, "A^-1 b by the factor, for columns of a flat row-major block.")
        .def("preconditioner",
             [](Held& self) {
                 const Held::Turn turn(self);
                 return self.cholesky->preconditioner();
             },
             "A^-1 of the matrix that was factored last, or None.");
}

}  // namespace nnla
