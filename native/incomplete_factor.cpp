#include "incomplete_factor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "interruption.hpp"

namespace nnla {
namespace {

// Pivots of the matrix scaled to unit diagonal; below this nothing but rounding error is left of them.
constexpr double kSmallestPivot = std::numeric_limits<double>::epsilon();
constexpr double kFirstShift = 1e-3, kLastShift = 1.0;

// What a modified factor of M-matrices keeps of the row sums: iterations fall up to this value or beyond, and some
// of the matrices tried (jumps, lognormal coefficients) do not like 1.
constexpr double kRelaxation = 0.98;
// Share of positive entries, by size, in what is off the diagonal of S, up to which that pays.
constexpr double kPositive = 0.15;

// Work space, all of length n.
struct Work {
    explicit Work(std::int32_t n)
        : cursor(new std::int32_t[n]), root(new double[n]), inverse_root(new double[n]), pivot(new double[n]),
          column(new double[n]()) {}
    std::unique_ptr<std::int32_t[]> cursor;
    std::unique_ptr<double[]> root, inverse_root, pivot, column, sum;
};

// Square roots of the diagonal into w.root, and the lengths of the columns of the factor into f.start[1 ...].
// Returns the first row whose diagonal entry (left in w.root) is not positive and finite, else -1. Where the upper
// triangle is read, w.cursor is left where it begins in every row.
std::int32_t count_columns(const SymmetricRows& A, IncompleteFactor& f, Work& w) {
    std::int32_t *length = f.start.get() + 1, *cursor = w.cursor.get();
    double *root = w.root.get(), *inverse_root = w.inverse_root.get();
    Ticker ticker;
    for (std::int32_t i = 0; i < A.n; ++i) {
        ticker(16);
        const std::int32_t end = A.start[i + 1];
        std::int32_t p = A.start[i];
        if (A.upper)
            p = static_cast<std::int32_t>(std::lower_bound(A.column + p, A.column + end, i) - A.column);
        else
            for (; p < end && A.column[p] < i; ++p) ++length[A.column[p]];
        const double d = p < end && A.column[p] == i ? A.value[p++] : 0.0;
        if (A.upper) {
            cursor[i] = p;
            length[i] = end - p;
        }
        if (!(d > 0.0 && d < std::numeric_limits<double>::infinity())) {
            root[i] = d;
            return i;
        }
        root[i] = std::sqrt(d);
        inverse_root[i] = 1.0 / root[i];
    }
    return -1;
}

// The columns of S below the diagonal; returns the share of positive entries.
double fill_columns(const SymmetricRows& A, IncompleteFactor& f, Work& w) {
    std::int32_t *cursor = w.cursor.get(), *row = f.row.get();
    const std::int32_t* start = f.start.get();
    const double* inverse_root = w.inverse_root.get();
    double *value = f.value.get(), total = 0.0, size = 0.0;
    Ticker ticker;
    if (A.upper) {
        for (std::int32_t k = 0; k < A.n; ++k) {
            ticker(start[k + 1] - start[k] + 8);
            const double s = inverse_root[k];
            for (std::int32_t q = start[k], p = cursor[k]; q < start[k + 1]; ++q, ++p) {
                const double v = A.value[p] * s * inverse_root[A.column[p]];
                row[q] = A.column[p];
                value[q] = v;
                total += v;
                size += std::fabs(v);
            }
        }
    } else {
        std::copy(start, start + A.n, cursor);
        for (std::int32_t i = 0; i < A.n; ++i) {
            ticker(A.start[i + 1] - A.start[i] + 8);
            const double s = inverse_root[i];
            for (std::int32_t p = A.start[i]; p < A.start[i + 1] && A.column[p] < i; ++p) {
                const std::int32_t j = A.column[p], q = cursor[j]++;
                const double v = A.value[p] * s * inverse_root[j];
                row[q] = i;
                value[q] = v;
                total += v;
                size += std::fabs(v);
            }
        }
    }
    return size > 0.0 ? 0.5 * (1.0 + total / size) : 0.0;
}

// Row sums of A (with the shift on the diagonal), each in units of its own root(a_ii): sum over j of s_ij v_j.
void row_sums(const IncompleteFactor& f, const double* root, double shift, double* sum) {
    for (std::int32_t k = 0; k < f.n; ++k) sum[k] = (1.0 + shift) * root[k];
    Ticker ticker;
    for (std::int32_t k = 0; k < f.n; ++k) {
        ticker(f.start[k + 1] - f.start[k] + 8);
        double own = 0.0;
        for (std::int32_t p = f.start[k]; p < f.start[k + 1]; ++p) {
            own += f.value[p] * root[f.row[p]];
            sum[f.row[p]] += f.value[p] * root[k];
        }
        sum[k] += own;
    }
}

// Right-looking, one column at a time, in place, as S + shift I = (I + M) P (I + M)^T with pivots P: no square root
// in the chain from pivot to pivot. Leaves the columns of M P. Returns the row of the first bad pivot, or -1.
template <bool Modified> std::int32_t eliminate(IncompleteFactor& f, double modified, double shift, Work& w) {
    const std::int32_t n = f.n;
    const std::int32_t *start = f.start.get(), *row = f.row.get();
    double *value = f.value.get(), *pivot = w.pivot.get(), *column = w.column.get();
    const double* root = w.root.get();
    double* sum = w.sum.get();
    std::fill(pivot, pivot + n, 1.0 + shift);
    if (Modified) row_sums(f, root, shift, sum);
    std::int64_t work = 0;  // counted without a call, which would cost the loops their registers
    for (std::int32_t top = 0; top < n;) {
        tick(work);
        work = 0;
        std::int32_t k = top;
        for (; k < n && work < kTicks / 4; ++k) {
            const std::int32_t begin = start[k], end = start[k + 1];
            work += 8 + 2 * static_cast<std::int64_t>(end - begin);
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
                work += stop - start[j] + 4;
                for (std::int32_t q = start[j]; q < stop && row[q] <= last; ++q) value[q] -= v * column[row[q]];
            }
            for (std::int32_t p = begin + 1; p < end; ++p) column[row[p]] = 0.0;
        }
        top = k;
    }
    return -1;
}

}  // namespace

FactorOutcome factor_incomplete(const SymmetricRows& A, double modified, double shift, bool automatic, IncompleteFactor& f) {
    FactorOutcome outcome;
    const std::int32_t n = f.n = A.n;
    Work w(n);
    f.start.reset(new std::int32_t[n + 1]());
    outcome.shift = shift;
    outcome.bad_row = count_columns(A, f, w);
    if (outcome.bad_row >= 0) {
        outcome.bad_diagonal = true;
        outcome.pivot = w.root[outcome.bad_row];
        return outcome;
    }
    for (std::int32_t k = 0; k < n; ++k) f.start[k + 1] += f.start[k];
    f.row.reset(new std::int32_t[f.start[n]]);
    f.value.reset(new double[f.start[n]]);
    const bool choose = modified < 0.0;
    for (bool first = true;; first = false) {
        const double positive = fill_columns(A, f, w);
        if (choose) modified = first && positive <= kPositive ? kRelaxation : 0.0;
        if (modified > 0.0 && w.sum == nullptr) w.sum.reset(new double[n]);
        outcome.shift = shift;
        outcome.bad_row = modified > 0.0 ? eliminate<true>(f, modified, shift, w) : eliminate<false>(f, 0.0, shift, w);
        if (outcome.bad_row < 0) break;
        outcome.pivot = w.pivot[outcome.bad_row];
        if (choose && modified > 0.0) continue;
        if (!automatic || shift >= kLastShift) return outcome;
        shift = shift > 0.0 ? std::min(2.0 * shift, kLastShift) : kFirstShift;
    }
    f.shift = shift;
    f.modified = modified;
    double *pivot = w.pivot.get(), *inverse_root = w.inverse_root.get();
    for (std::int32_t k = 0; k < n; ++k) {
        pivot[k] = 1.0 / std::sqrt(pivot[k]);
        inverse_root[k] *= pivot[k];
    }
    f.inverse_root = std::move(w.pivot);
    f.scale = std::move(w.inverse_root);
    return outcome;
}

}  // namespace nnla
