#include "incomplete_factor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace nnla {
namespace {

// Pivots of the matrix scaled to unit diagonal; below this nothing but rounding error is left of them.
constexpr double kSmallestPivot = std::numeric_limits<double>::epsilon();
constexpr double kFirstShift = 1e-3, kLastShift = 1.0;

// The diagonal of A into `diagonal`; the first row where it is not positive and finite, else -1.
std::int32_t read_diagonal(const SymmetricRows& A, double* diagonal) {
    for (std::int32_t i = 0; i < A.n; ++i) {
        diagonal[i] = 0.0;
        for (std::int32_t p = A.start[i]; p < A.start[i + 1]; ++p)
            if (A.column[p] == i) diagonal[i] += A.value[p];
    }
    for (std::int32_t i = 0; i < A.n; ++i)
        if (!(diagonal[i] > 0.0 && diagonal[i] < std::numeric_limits<double>::infinity())) return i;
    return -1;
}

// Transposes the strictly lower triangle, scaled to unit diagonal: rows ascend in every column of the result.
// `cursor` is work space of n numbers.
void scaled_columns(const SymmetricRows& A, const double* inverse_root, UnitFactor& f, std::int32_t* cursor) {
    std::copy(f.start.get(), f.start.get() + A.n, cursor);
    for (std::int32_t i = 0; i < A.n; ++i) {
        const double s = inverse_root[i];
        for (std::int32_t p = A.start[i]; p < A.start[i + 1]; ++p) {
            const std::int32_t j = A.column[p];
            if (j >= i) continue;
            const std::int32_t q = cursor[j]++;
            f.row[q] = i;
            f.value[q] = A.value[p] * s * inverse_root[j];
        }
    }
}

// Row sums of A (with the shift on the diagonal), each in units of its own root(a_ii): sum over j of s_ij v_j.
void row_sums(const UnitFactor& f, const double* root, double shift, double* sum) {
    for (std::int32_t k = 0; k < f.n; ++k) sum[k] = (1.0 + shift) * root[k];
    for (std::int32_t k = 0; k < f.n; ++k) {
        double own = 0.0;
        for (std::int32_t p = f.start[k]; p < f.start[k + 1]; ++p) {
            own += f.value[p] * root[f.row[p]];
            sum[f.row[p]] += f.value[p] * root[k];
        }
        sum[k] += own;
    }
}

// Work space, all of length n.
struct Work {
    explicit Work(std::int32_t n)
        : cursor(new std::int32_t[n]), root(new double[n]), inverse_root(new double[n]), pivot(new double[n]),
          column(new double[n]()) {}
    std::unique_ptr<std::int32_t[]> cursor;
    std::unique_ptr<double[]> root, inverse_root, pivot, column, sum;
};

// Right-looking, one column at a time, in place, as S + shift I = (I + M) P (I + M)^T with pivots P: no square root
// in the chain from pivot to pivot. Leaves the columns of M P. Returns the row of the first bad pivot, or -1.
template <bool Modified> std::int32_t eliminate(UnitFactor& f, double modified, double shift, Work& w) {
    const std::int32_t n = f.n;
    const std::int32_t *start = f.start.get(), *row = f.row.get();
    double *value = f.value.get(), *pivot = w.pivot.get(), *column = w.column.get();
    const double* root = w.root.get();
    double* sum = w.sum.get();
    std::fill(pivot, pivot + n, 1.0 + shift);
    if (Modified) row_sums(f, root, shift, sum);
    for (std::int32_t k = 0; k < n; ++k) {
        const std::int32_t begin = start[k], end = start[k + 1];
        double d = pivot[k], rest = 0.0;
        if (Modified) {
            // What is left of the row sum holds the dropped entries of row k with the opposite sign.
            for (std::int32_t p = begin; p < end; ++p) rest += value[p] * root[row[p]];
            d -= modified * (d + (rest - sum[k]) / root[k]);
        }
        pivot[k] = d;
        if (!(d > kSmallestPivot && d < std::numeric_limits<double>::infinity())) return k;
        const double inverse = 1.0 / d, total = Modified ? root[k] + rest * inverse : 0.0;
        for (std::int32_t p = begin; p < end; ++p) {
            const double v = value[p];
            pivot[row[p]] -= v * v * inverse;
            if (Modified) sum[row[p]] -= v * total;
        }
        if (end - begin < 2) continue;
        // Entry (i, j), i > j, is updated where both are in column k. Where i is not, zero is subtracted.
        for (std::int32_t p = begin + 1; p < end; ++p) column[row[p]] = value[p] * inverse;
        const std::int32_t last = row[end - 1];
        for (std::int32_t p = begin; p < end - 1; ++p) {
            const std::int32_t j = row[p], stop = start[j + 1];
            const double v = value[p];
            for (std::int32_t q = start[j]; q < stop && row[q] <= last; ++q) value[q] -= v * column[row[q]];
        }
        for (std::int32_t p = begin + 1; p < end; ++p) column[row[p]] = 0.0;
    }
    return -1;
}

// From M P to N = P^-1/2 M P^1/2.
void to_unit_form(UnitFactor& f, const Work& w) {
    for (std::int32_t k = 0; k < f.n; ++k) {
        w.column[k] = 1.0 / std::sqrt(w.pivot[k]);
        f.scale[k] = w.column[k] * w.inverse_root[k];
    }
    for (std::int32_t k = 0; k < f.n; ++k)
        for (std::int32_t p = f.start[k]; p < f.start[k + 1]; ++p) f.value[p] *= w.column[k] * w.column[f.row[p]];
}

}  // namespace

FactorOutcome factor_incomplete(const SymmetricRows& A, double modified, double shift, bool automatic,
                                UnitFactor& f) {
    FactorOutcome outcome;
    const std::int32_t n = A.n;
    Work w(n);
    outcome.bad_row = read_diagonal(A, w.root.get());
    if (outcome.bad_row >= 0) {
        outcome.bad_diagonal = true;
        outcome.pivot = w.root[outcome.bad_row];
        return outcome;
    }
    for (std::int32_t i = 0; i < n; ++i) {
        w.root[i] = std::sqrt(w.root[i]);
        w.inverse_root[i] = 1.0 / w.root[i];
    }
    if (modified > 0.0) w.sum.reset(new double[n]);
    f.n = n;
    f.start.reset(new std::int32_t[n + 1]());
    for (std::int32_t i = 0; i < n; ++i)
        for (std::int32_t p = A.start[i]; p < A.start[i + 1]; ++p)
            if (A.column[p] < i) ++f.start[A.column[p] + 1];
    for (std::int32_t k = 0; k < n; ++k) f.start[k + 1] += f.start[k];
    const std::int32_t nnz = f.start[n];
    f.row.reset(new std::int32_t[nnz]);
    f.value.reset(new double[nnz]);
    f.scale.reset(new double[n]);
    for (;;) {
        scaled_columns(A, w.inverse_root.get(), f, w.cursor.get());
        outcome.shift = f.shift = shift;
        outcome.bad_row = modified > 0.0 ? eliminate<true>(f, modified, shift, w) : eliminate<false>(f, 0.0, shift, w);
        if (outcome.bad_row < 0) break;
        outcome.pivot = w.pivot[outcome.bad_row];
        if (!automatic || shift >= kLastShift) return outcome;
        shift = shift > 0.0 ? std::min(2.0 * shift, kLastShift) : kFirstShift;
    }
    to_unit_form(f, w);
    return outcome;
}

}  // namespace nnla
