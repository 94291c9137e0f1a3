// nnla.kernels._native: incomplete Cholesky; see nnla.preconditioners.incomplete_cholesky.
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>

#include <tuple>

#include "bind.hpp"
#include "incomplete_cholesky.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

using Made = std::tuple<std::unique_ptr<IncompleteCholesky>, std::int32_t, bool, double, double>;

Made factor(Indices start, Indices column, Values value, double modified, double shift, bool automatic, bool single,
            bool upper) {
    require_square(start, column, value, Columns::ascending);
    const SymmetricRows A{static_cast<std::int32_t>(start.shape(0) - 1), start.data(), column.data(), value.data(),
                          upper};
    LongCall call;
    IncompleteFactor f;
    const FactorOutcome o = factor_incomplete(A, modified, shift, automatic, f);
    std::unique_ptr<IncompleteCholesky> made;
    if (o.bad_row < 0) made = make_incomplete_cholesky(std::move(f), single);
    return {std::move(made), o.bad_row, o.bad_diagonal, o.pivot, o.shift};
}

inline void check(const IncompleteCholesky& self, std::size_t r, std::size_t z) {
    require(static_cast<std::int64_t>(r) == self.size() && r == z, "a vector of another length than the matrix");
}

void solve(IncompleteCholesky& self, Values r, Output<double> z) {
    check(self, r.shape(0), z.shape(0));
    const double* in = r.data();
    double* out = z.data();
    LongCall call;
    self.apply(in, out);
}

void solve_block(IncompleteCholesky& self, InputBlock<double> r, OutputBlock<double> z) {
    check(self, r.shape(0), z.shape(0));
    require(r.shape(1) == z.shape(1), "blocks of different shapes");
    const double* in = r.data();
    double* out = z.data();
    const std::int64_t k = static_cast<std::int64_t>(r.shape(1));
    LongCall call;
    self.apply_block(in, out, k);
}

// (indptr, indices, data) of L.
nb::tuple lower(const IncompleteCholesky& self) {
    std::int32_t *start, *column;
    double* value;
    auto starts = new_vector<std::int32_t>(self.size() + 1, &start);
    auto columns = new_vector<std::int32_t>(self.nnz(), &column);
    auto values = new_vector<double>(self.nnz(), &value);
    self.export_lower(start, column, value);
    return nb::make_tuple(starts, columns, values);
}

}  // namespace

void bind_incomplete_cholesky(nb::module_& m) {
    nb::class_<IncompleteCholesky, Preconditioner>(m, "IncompleteCholesky", "Incomplete Cholesky and its solves.")
        .def_prop_ro("shift", &IncompleteCholesky::shift)
        .def_prop_ro("modified", &IncompleteCholesky::modified)
        .def_prop_ro("nnz", &IncompleteCholesky::nnz)
        .def_prop_ro("itemsize", &IncompleteCholesky::value_size)
        .def("lower", &lower, "L as (indptr, indices, data).")
        .def("solve", &solve, "r"_a, "z"_a, "z = (L L^T)^-1 r; z may be r.")
        .def("solve_block", &solve_block, "r"_a, "z"_a, "The same for (n, k).");
    m.def("factor_incomplete", &factor, "indptr"_a, "indices"_a, "data"_a, "modified"_a, "shift"_a, "automatic"_a,
          "single"_a, "upper"_a,
          "(factor or None, bad row or -1, whether its diagonal entry is bad, pivot, shift tried last).");
}

}  // namespace nnla
