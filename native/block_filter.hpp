// Chebyshev corrections of a block of Ritz vectors, in float32 or float64, and products of blocks in float64.
#pragma once
#include <cstdint>

#include "block_rows.hpp"
#include "memory.hpp"
#include "spare.hpp"

namespace nnla {

// A CSR matrix for blocks of vectors; the arrays must live as long as it. Calls at the same time are fine.
class BlockMatrix {
  public:
    BlockMatrix(std::int64_t n, const std::int32_t* indptr, const std::int32_t* indices, const double* values);
    std::int64_t size() const { return n_; }

    // Y = A X for `vectors` vectors, one a row of X and Y.
    void product(const double* X, double* Y, std::size_t vectors);

    // w = sum over j of gamma_j U_(degree - 1 - j)(S) (scale r) for each vector r, S = (centre - A) / half and U the
    // Chebyshev polynomials of the second kind, by the recurrence z <- 2 S z - z' + gamma_j scale r.
    //
    // R, W: one vector a row; scale: one number a vector; gamma: `degree` rows of one coefficient a vector.
    // degree - 1 products of every vector. `single`: in float32.
    void filter(const double* R, const double* scale, const double* gamma, double centre, double half, double* W,
                std::size_t vectors, std::size_t degree, bool single);

  private:
    template <class T> struct Work {
        Array<T> r, z[2];
    };
    template <class T> Spare<Work<T>>& spare();
    template <class T> BlockRows<T> rows() const;
    template <class T> std::unique_ptr<Work<T>> work(int columns) const;
    template <class T>
    void filter_as(const double* R, const double* scale, const double* gamma, double centre, double half, double* W,
                   std::size_t vectors, std::size_t degree);

    std::int64_t n_;
    BlockRows<double> rows_;
    Array<float> single_;  // the values in float32
    Spare<Work<float>> spare32_;
    Spare<Work<double>> spare64_;
};

}  // namespace nnla
