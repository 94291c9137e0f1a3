// Products of a CSR matrix with several vectors side by side: entry i of vector j lies at i * columns + j, so that an
// entry of the matrix meets a whole row of the block, and nothing is gathered. Compiled once for each instruction set.
#pragma once
#include <cstdint>

namespace nnla {

// A view of rows with int32 indices and values of the type of the arithmetic.
template <class T> struct BlockRows {
    const std::int32_t* indptr;
    const std::int32_t* indices;
    const T* values;
};

// out <- alpha c + beta (A c) - old + gamma r on some rows, one gamma a column; `old` (may be `out`) and `r` may be
// null, and are zero then.
template <class T> struct BlockStep {
    T alpha, beta;
    const T* c;
    const T* old;
    const T* r;
    const T* gamma;
    T* out;
};

struct BlockKernels {
    // Rows lo ... hi - 1 of blocks of 4, 8 or 16 columns.
    void (*single)(const BlockRows<float>&, std::int64_t lo, std::int64_t hi, int columns, const BlockStep<float>&);
    void (*full)(const BlockRows<double>&, std::int64_t lo, std::int64_t hi, int columns, const BlockStep<double>&);
};

}  // namespace nnla
