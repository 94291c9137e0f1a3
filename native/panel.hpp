// Dense kernels on column-major panels of a Cholesky factor, one set for each instruction set.
#pragma once
#include <cstdint>

namespace nnla {

// tick() for files that are compiled for one instruction set: they must not bring inline functions of their own, which
// the linker could take for everyone's.
void tick_from_panel(std::int64_t operations);
constexpr std::int64_t kPanelColumns = 96;  // of a panel that are factored before the others are updated

constexpr int kBlockColumns = 8;  // right-hand sides of the widest block

struct PanelKernels {
    // Factors the columns j0 ... j1 - 1 of the panel (column-major, leading dimension rows) in place, from which
    // the contributions of the columns before j0 have been taken away: L, with the reciprocals of its diagonal on
    // the diagonal and nothing of meaning above it. Returns the column whose pivot is not positive, or -1.
    // With `signs` (one for each column of the panel) pivots may be negative: L D L^T, D = diag(signs), which are
    // written; then it fails at a pivot of zero only. j1 - j0 is at most kPanelColumns.
    int (*factor)(double* panel, std::int64_t rows, std::int64_t j0, std::int64_t j1, double* signs);

    // C -= A D A^T, or C = -A D A^T, in the rows begin ... end - 1 and the first `columns` columns of the lower part
    // of C: C has `rows` rows and leading dimension ldc, A has k columns, D = diag(signs) of +1 and -1 or, without
    // signs, 1. begin is a multiple of strip; every entry is the same whichever rows are computed together. work:
    // panel_work(rows) numbers.
    void (*update)(double* C, std::int64_t ldc, const double* A, std::int64_t lda, std::int64_t rows,
                   std::int64_t columns, std::int64_t k, std::int64_t begin, std::int64_t end, bool assign,
                   const double* signs, double* work);

    // t := L^-1 t in its first k entries, and the rest less what those contribute.
    void (*forward)(const double* panel, std::int64_t rows, std::int64_t k, double* t);

    // The first k entries of t := L^-T (those less what the rest contributes).
    void (*backward)(const double* panel, std::int64_t rows, std::int64_t k, double* t);

    // The same for `columns` right-hand sides, entry i of column j at t[i * columns + j]: `lanes` or kBlockColumns of
    // them. A column comes out as it would alone.
    void (*forward_block)(const double* panel, std::int64_t rows, std::int64_t k, int columns, double* t);
    void (*backward_block)(const double* panel, std::int64_t rows, std::int64_t k, int columns, double* t);

    int strip;  // rows that update() treats together
    int lanes;  // of a vector
};

const PanelKernels& panel_kernels();  // the best for this processor

// Numbers that `work` must hold for panels of so many rows.
inline std::int64_t panel_work(std::int64_t rows) { return (rows + 48) * 256 + 64; }

}  // namespace nnla
