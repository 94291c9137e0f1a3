// nnla.kernels._native: the vector work of Lanczos; see nnla.kernels.basis.
#include "basis.hpp"
#include "bind.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

template <class Block> Rows rows(const Block& V) {
    return {V.data(), static_cast<std::int64_t>(V.shape(0)), static_cast<std::int64_t>(V.shape(1))};
}

int width_of(std::int64_t vectors) {
    require(vectors >= 1 && vectors <= kBasisBlock, "a block has 1 to 8 vectors");
    return static_cast<int>(vectors);
}

// The rows of one array of rows, or of two that have nothing in common.
bool apart_or_alike(const Rows& V, const Rows& W) {
    const auto v = reinterpret_cast<std::uintptr_t>(V.data), w = reinterpret_cast<std::uintptr_t>(W.data);
    const std::uintptr_t row = static_cast<std::uintptr_t>(V.n) * sizeof(double);
    const bool apart = v + static_cast<std::uintptr_t>(V.count) * row <= w ||
                       w + static_cast<std::uintptr_t>(W.count) * row <= v;
    return apart || row == 0 || (v > w ? v - w : w - v) % row == 0;
}

}  // namespace

void bind_basis(nb::module_& m) {
    m.def(
        "basis_products",
        [](InputBlock<double> V, InputBlock<double> W, OutputBlock<double> H) {
            require(V.shape(1) == W.shape(1), "rows of different lengths");
            require(H.shape(0) == V.shape(0) && H.shape(1) == W.shape(0), "H has another shape than V W'");
            require(rows(W).count <= 0x7fffffff, "too many rows");
            LongCall call;
            basis_products(rows(V), rows(W), H.data());
        },
        "V"_a, "W"_a, "H"_a, "H = V W'.");
    m.def(
        "basis_subtract",
        [](InputBlock<double> V, InputBlock<double> H, OutputBlock<double> W) {
            require(V.shape(1) == W.shape(1), "rows of different lengths");
            require(H.shape(0) == V.shape(0) && H.shape(1) == W.shape(0), "H has another shape than V W'");
            require(rows(W).count <= 0x7fffffff, "too many rows");
            LongCall call;
            basis_subtract(rows(V), H.data(), W.data(), static_cast<int>(W.shape(0)));
        },
        "V"_a, "H"_a, "W"_a, "W -= H' V.");
    m.def(
        "basis_combine",
        [](InputBlock<double> V, InputBlock<double> C, OutputBlock<double> out) {
            require(V.shape(1) == out.shape(1), "rows of different lengths");
            require(C.shape(0) == V.shape(0) && C.shape(1) == out.shape(0), "C does not fit V and the result");
            require(apart_or_alike(rows(V), rows(out)), "the result overlaps V, and not row by row");
            LongCall call;
            basis_combine(rows(V), C.data(), rows(out).count, out.data());
        },
        "V"_a, "C"_a, "out"_a, "out = C' V; rows of V may be written to.");
    m.def(
        "basis_extend",
        [](OutputBlock<double> V, std::int64_t end, std::int64_t low, InputBlock<double> X, OutputBlock<double> W,
           double scale, double negligible, OutputBlock<double> H, OutputBlock<double> L, Output<double> before) {
            const int b = width_of(rows(W).count);
            require(V.shape(1) == W.shape(1), "rows of different lengths");
            require(X.shape(0) == W.shape(1) && X.shape(1) == W.shape(0), "the columns do not fit the rows");
            require(0 <= low && low <= end && end <= rows(V).count - b, "no room behind the basis");
            require(rows(H).count == end && H.shape(1) == W.shape(0), "H has another shape than V W'");
            require(rows(L).count == b && L.shape(1) == W.shape(0), "L is not square");
            require(before.size() == W.shape(0), "a norm for each vector");
            LongCall call;
            const Rows basis{V.data(), end, rows(V).n};
            return static_cast<int>(basis_extend(basis, low, X.data(), W.data(), b, scale, negligible,
                                                 V.data() + end * basis.n, H.data(), L.data(), before.data()));
        },
        "V"_a, "end"_a, "low"_a, "X"_a, "W"_a, "scale"_a, "negligible"_a, "H"_a, "L"_a, "before"_a,
        "X' = H' V[:end] + L Q, Q behind V[:end]: 0 for done, 1 where W has no such basis, 2 for NaN or Inf.");
    m.def(
        "basis_squares",
        [](InputBlock<double> X, Values f, InputBlock<double> Y, Output<double> out) {
            require(X.shape(0) == Y.shape(0) && X.shape(1) == Y.shape(1), "blocks of different shapes");
            require(f.size() == X.shape(0) && out.size() == X.shape(0), "a number for each row");
            LongCall call;
            basis_squares(rows(X), f.data(), rows(Y), out.data());
        },
        "X"_a, "f"_a, "Y"_a, "out"_a, "out[i] = |x_i - f_i y_i|^2.");
    m.def(
        "transpose",
        [](InputBlock<double> x, OutputBlock<double> out) {
            require(x.shape(0) == out.shape(1) && x.shape(1) == out.shape(0), "the result has another shape");
            LongCall call;
            transpose(x.data(), rows(x).count, rows(x).n, out.data());
        },
        "x"_a, "out"_a, "out = x'.");
}

}  // namespace nnla
