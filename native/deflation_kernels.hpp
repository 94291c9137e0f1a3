// The loops of deflation on vectors held in float32, one set for each instruction set.
#pragma once
#include <cstdint>

namespace nnla {

constexpr std::int64_t kDeflationBlock = 128;  // columns of all rows that lie together

struct DeflationKernels {
    // sums[i] += row i . x, for `count` rows of kDeflationBlock numbers behind one another, in their first `columns`
    void (*dots)(const float* rows, std::int64_t count, const double* x, std::int64_t columns, double* sums);
    // z += sum over i of c[i] row i, likewise
    void (*add)(const float* rows, std::int64_t count, const double* c, double* z, std::int64_t columns);
};

}  // namespace nnla
