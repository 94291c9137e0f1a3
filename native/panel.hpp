// Dense kernels on column-major panels of a Cholesky factor, one set for each instruction set.
#pragma once
#include <cstdint>

namespace nnla {

struct PanelKernels {
    // Factors the leading k columns of the panel (rows x k, leading dimension rows) in place: L with the
    // reciprocals of its diagonal on the diagonal; what is above it is not touched meaningfully. work: see
    // panel_work. Returns the column whose pivot is not positive, or -1.
    int (*factor)(double* panel, std::int64_t rows, std::int64_t k, double* work);

    // C -= A A^T, or C = -A A^T, in its lower part: C is rows x rows (leading dimension ldc), A rows x k.
    void (*update)(double* C, std::int64_t ldc, const double* A, std::int64_t lda, std::int64_t rows, std::int64_t k,
                   bool assign, double* work);

    // t := L^-1 t in its first k entries, and the rest less what those contribute.
    void (*forward)(const double* panel, std::int64_t rows, std::int64_t k, double* t);

    // The first k entries of t := L^-T (those less what the rest contributes).
    void (*backward)(const double* panel, std::int64_t rows, std::int64_t k, double* t);
};

const PanelKernels& panel_kernels();  // the best for this processor

// Numbers that `work` must hold for panels of so many rows.
inline std::int64_t panel_work(std::int64_t rows) { return (rows + 32) * 256 + 64; }

}  // namespace nnla
