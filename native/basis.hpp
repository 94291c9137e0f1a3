// The vector work of Lanczos: a basis of rows V (m, n), a block of rows W (b, n) of few vectors.
//
// Everything goes over the columns chunk by chunk, so that a chunk of V that has been read from memory serves all that
// is to be done with it. Sums are over chunks in one fixed order: results are bitwise the same in every run.
#pragma once
#include <cstdint>

namespace nnla {

constexpr std::int64_t kBasisBlock = 8;      // vectors of the widest block
constexpr std::int64_t kBasisChunk = 512;    // columns: a chunk of W stays in the first-level cache, of V in the second

// Rows with n entries each, one behind the other.
struct Rows {
    const double* data;
    std::int64_t count, n;
};

// The kernels on `columns` columns, one set for each instruction set.
struct BasisKernels {
    int lanes;
    int tile;  // columns that combine() treats together

    // sums[(r * b + c) * lanes + l]: parts of V[r] . W[c], added up
    void (*dots)(const double* V, std::int64_t ldv, std::int64_t m, const double* W, std::int64_t ldw, int b,
                 std::int64_t columns, double* sums);

    // W[c] -= sum over r of H[r * b + c] V[r]
    void (*subtract)(const double* V, std::int64_t ldv, std::int64_t m, const double* H, double* W, std::int64_t ldw,
                     int b, std::int64_t columns);

    // out[i] = sum over r of C[r][i] V[r], i < p, with C in groups of four columns: C[((i / 4) * m + r) * 4 + i % 4].
    // V is read before anything is written. work: m * (columns + tile) numbers.
    void (*combine)(const double* V, std::int64_t ldv, std::int64_t m, const double* C, std::int64_t p, double* out,
                    std::int64_t ldo, std::int64_t columns, double* work);
};

const BasisKernels& basis_kernels();  // the best for this processor

// H (m, b) = V W'
void basis_products(const Rows& V, const Rows& W, double* H);

// W (b, n) -= H' V
void basis_subtract(const Rows& V, const double* H, double* W, int b);

// The rows `out` (p, n) = C' V, C (m, p). `out` may be rows of V, or of what V is a part of.
void basis_combine(const Rows& V, const double* C, std::int64_t p, double* out);

// out[i] = |x_i - f_i y_i|^2 for the rows of X and Y; Y is not read where f_i = 0
void basis_squares(const Rows& X, const double* f, const Rows& Y, double* out);

// out (columns, rows) = in' for in (rows, columns)
void transpose(const double* in, std::int64_t rows, std::int64_t columns, double* out);

enum class Extended { done, dependent, not_finite };

// One step of block Lanczos: makes the rows W orthogonal to the orthonormal rows V, first to those from `low` on and
// then to all, and adds an orthonormal basis of what is left behind the rows of V (there must be room for it):
//   W = H' V + L Q,   L lower triangular.
// before[c]: the norms of the rows of W. Where what is left is (nearly) dependent, or shorter than `negligible` times
// the larger of `scale` and before, nothing is added, and W is what is left.
// The rows are taken from the columns X (n, b) at first, if that is given.
Extended basis_extend(const Rows& V, std::int64_t low, const double* X, double* W, int b, double scale,
                      double negligible, double* added, double* H, double* L, double* before);

}  // namespace nnla
