// nnla.kernels._native: products and Chebyshev filters of blocks of vectors.
#include "bind.hpp"
#include "block_filter.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// The matrix with the arrays that it reads.
struct HeldBlockMatrix {
    HeldBlockMatrix(Indices rows, Indices columns, Values values)
        : indptr(rows), indices(columns), data(values),
          matrix(rows_of(rows), rows.data(), columns.data(), values.data()) {}
    Indices indptr, indices;
    Values data;
    BlockMatrix matrix;
};

}  // namespace

void bind_block_filter(nb::module_& m) {
    using Matrix = HeldBlockMatrix;
    nb::class_<Matrix>(m, "BlockMatrix", "A CSR matrix for blocks of vectors, one vector a row.")
        .def("__init__",
             [](Matrix* self, Indices indptr, Indices indices, Values data) {
                 require_square(indptr, indices, data, Columns::any);
                 LongCall call;
                 new (self) Matrix(indptr, indices, data);
             },
             "indptr"_a, "indices"_a, "data"_a)
        .def_prop_ro("n", [](const Matrix& self) { return self.matrix.size(); })
        .def("product",
             [](Matrix& self, InputBlock<double> X, OutputBlock<double> Y) {
                 const auto n = static_cast<std::size_t>(self.matrix.size());
                 require(X.shape(1) == n && Y.shape(1) == n, "vectors of another length than the matrix");
                 require(X.shape(0) == Y.shape(0), "blocks of different shapes");
                 LongCall call;
                 self.matrix.product(X.data(), Y.data(), X.shape(0));
             },
             "X"_a, "Y"_a, "Y = A X, one vector a row.")
        .def("filter",
             [](Matrix& self, InputBlock<double> R, Values scale, InputBlock<double> gamma, double centre, double half,
                OutputBlock<double> W, bool single) {
                 const auto n = static_cast<std::size_t>(self.matrix.size());
                 require(R.shape(1) == n && W.shape(1) == n, "vectors of another length than the matrix");
                 require(R.shape(0) == W.shape(0) && scale.size() == R.shape(0) && gamma.shape(1) == R.shape(0),
                         "blocks of different shapes");
                 require(gamma.shape(0) > 0, "a filter needs coefficients");
                 require(half != 0, "an interval of length zero");
                 LongCall call;
                 self.matrix.filter(R.data(), scale.data(), gamma.data(), centre, half, W.data(), R.shape(0),
                                    gamma.shape(0), single);
             },
             "R"_a, "scale"_a, "gamma"_a, "centre"_a, "half"_a, "W"_a, "single"_a,
             "W = sum of gamma_j U_(d-1-j)(S) scale R with S = (centre - A) / half.");
}

}  // namespace nnla
