// One pass over a CSR matrix: is it sound, and what does it look like.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "interruption.hpp"
#include "prefetch.hpp"

namespace nnla {

constexpr std::int64_t kBlock = 1024;  // rows between two ticks

// What later stages ask about a matrix, gathered while its entries pass by anyway.
struct CsrFacts {
    std::int64_t nnz = 0;
    std::int64_t bandwidth = 0;     // largest |i - j| of a stored entry
    std::int64_t shortest_row = 0;  // stored entries
    std::int64_t longest_row = 0;
    std::int64_t slots = 0;             // entries of 16-row slices padded to their longest row
    bool constant_diagonal = true;
    bool nonpositive_off_diagonal = true;
    bool exactly_symmetric = false;
};

template <class Index> struct CsrArrays {
    std::int64_t n, capacity;  // rows; entries that `indices` and `data` have room for
    const Index *indptr, *indices;
    const double* data;
};

// indptr starts at 0, never decreases and ends within the arrays; fills in what it tells.
template <class Index> bool sound_rows(const CsrArrays<Index>& A, CsrFacts& facts) {
    if (A.indptr[0] != 0) return false;
    Index shortest = A.n > 0 ? A.indptr[1] : 0, longest = 0;
    std::int64_t slots = 0;
    for (std::int64_t top = 0; top < A.n; top += 16) {
        const std::int64_t end = std::min(A.n, top + 16);
        Index width = 0;
        if (top % kBlock == 0) tick(2 * kBlock);
        for (std::int64_t i = top; i < end; ++i) {
            // compared, not subtracted: garbage must not overflow
            if (A.indptr[i + 1] < A.indptr[i] || A.indptr[i + 1] > A.capacity) return false;
            const Index length = A.indptr[i + 1] - A.indptr[i];
            width = std::max(width, length);
            shortest = std::min(shortest, length);
        }
        longest = std::max(longest, width);
        slots += 16 * static_cast<std::int64_t>(width);
    }
    facts.nnz = A.indptr[A.n];
    facts.shortest_row = shortest;
    facts.longest_row = longest;
    facts.slots = slots;
    return true;
}

// |a_ij - a_ji| <= rtol max(sqrt(a_ii a_jj), |a_ij|, |a_ji|), where the two differ at all. The roots are made
// when the first difference turns up: most matrices have none.
template <class Index> class Rounding {
  public:
    Rounding(const CsrArrays<Index>& A, double rtol) : A_(A), rtol_(rtol) {}

    bool explains(std::int64_t i, std::int64_t j, double upper, double lower) {
        if (!std::isfinite(lower)) return false;
        if (!root_) prepare();
        const double scale = std::max(root_[i] * root_[j], std::max(std::fabs(upper), std::fabs(lower)));
        return std::fabs(upper - lower) <= rtol_ * scale;
    }

  private:
    void prepare() {
        root_.reset(new double[static_cast<std::size_t>(A_.n)]());
        for (std::int64_t i = 0; i < A_.n; ++i)
            for (Index k = A_.indptr[i]; k < A_.indptr[i + 1]; ++k)
                if (A_.indices[k] == i) root_[i] = std::sqrt(std::fabs(A_.data[k]));
    }

    const CsrArrays<Index>& A_;
    double rtol_;
    std::unique_ptr<double[]> root_;
};

// Whether the rows' entries are far from one another, beyond what a second-level cache holds of their mirrors.
template <class Index> bool scattered(const CsrArrays<Index>& A) {
    constexpr std::int64_t kFar = 1 << 16;
    if (A.n <= 2 * kFar) return false;
    std::int64_t sampled = 0, far = 0;
    for (std::int64_t i = 0; i < A.n; i += A.n / 64, ++sampled) {
        std::int64_t distance = 0;
        for (Index k = A.indptr[i]; k < A.indptr[i + 1]; ++k)  // indices are not checked yet: any value is possible
            if (A.indices[k] >= 0 && A.indices[k] < A.n)
                distance = std::max<std::int64_t>(distance, std::abs(static_cast<std::int64_t>(A.indices[k]) - i));
        far += distance > kFar;
    }
    return 2 * far > sampled;
}

// True where the matrix is canonical, finite, symmetric up to rounding and of positive diagonal, which is
// written to `diagonal`. False means "look closer", not "wrong": one-sided stored zeros end here, too.
//
// Every stored entry is touched once. Rows are visited in order, and row j's cursor stands at its first lower
// entry that has not met its mirror: the upper entry (i, j) must find column i there. So when row i's turn
// comes, its lower entries have all been seen, in increasing order, and its cursor stands at the diagonal.
template <class Index> bool check_spd(const CsrArrays<Index>& A, double rtol, double* diagonal, CsrFacts& facts) {
    if (!sound_rows(A, facts)) return false;
    constexpr std::int64_t kAhead = 8;
    const std::int64_t n = A.n;
    const Index end_of_all = A.indptr[n];
    std::unique_ptr<Index[]> cursor(new Index[static_cast<std::size_t>(n)]);
    std::copy(A.indptr, A.indptr + n, cursor.get());
    Rounding<Index> rounding(A, rtol);
    const bool far = scattered(A);
    bool exact = true, constant = true, nonpositive = true;
    std::int64_t bandwidth = 0;
    for (std::int64_t top = 0; top < n; top += kBlock) {
        const std::int64_t last_row = std::min(n, top + kBlock);
        tick(2 * (static_cast<std::int64_t>(A.indptr[last_row]) - A.indptr[top]) + 8 * kBlock);
        for (std::int64_t i = top; i < last_row; ++i) {
            Index k = cursor[i];
            const Index end = A.indptr[i + 1];
            if (k >= end || A.indices[k] != i) return false;
            const double pivot = A.data[k];
            if (!(pivot > 0) || !std::isfinite(pivot)) return false;
            diagonal[i] = pivot;
            constant &= pivot == diagonal[0];
            std::int64_t last = i;
            if (far && i + 2 * kAhead < n) {
                // Without branches on the columns, which nobody could predict: what is no upper entry asks for row i,
                // which is at hand.
                for (Index q = A.indptr[i + 2 * kAhead]; q < A.indptr[i + 2 * kAhead + 1]; ++q) {
                    const std::int64_t j = A.indices[q];
                    NNLA_PREFETCH(&cursor[j > i && j < n ? j : i]);
                }
                for (Index q = A.indptr[i + kAhead]; q < A.indptr[i + kAhead + 1]; ++q) {
                    const std::int64_t j = A.indices[q];
                    const Index mirror = cursor[j > i && j < n ? j : i];
                    NNLA_PREFETCH(A.indices + mirror);
                    NNLA_PREFETCH(A.data + mirror);
                }
            }
            for (++k; k < end; ++k) {
                const std::int64_t j = A.indices[k];
                if (j <= last || j >= n) return false;
                last = j;
                const Index mirror = cursor[j];
                // A cursor that runs past its own row is found out when that row's turn comes.
                if (mirror >= end_of_all || A.indices[mirror] != i) return false;
                cursor[j] = mirror + 1;
                const double upper = A.data[k], lower = A.data[mirror];
                if (!std::isfinite(upper)) return false;
                if (upper != lower) {
                    if (!rounding.explains(i, j, upper, lower)) return false;
                    exact = false;
                }
                nonpositive &= (upper <= 0) & (lower <= 0);
            }
            bandwidth = std::max(bandwidth, last - i);
        }
    }
    facts.bandwidth = bandwidth;
    facts.constant_diagonal = constant;
    facts.nonpositive_off_diagonal = nonpositive;
    facts.exactly_symmetric = exact;
    return true;
}

// The same facts without a verdict on values or symmetry; false where the matrix is not canonical.
template <class Index> bool describe(const CsrArrays<Index>& A, double* diagonal, CsrFacts& facts) {
    if (!sound_rows(A, facts)) return false;
    for (std::int64_t i = 0; i < A.n; ++i) {
        if (i % kBlock == 0)
            tick(8 * kBlock + static_cast<std::int64_t>(A.indptr[std::min(A.n, i + kBlock)]) - A.indptr[i]);
        double pivot = 0;
        std::int64_t last = -1;
        bool nonpositive = true;
        for (Index k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int64_t j = A.indices[k];
            if (j <= last || j >= A.n) return false;
            last = j;
            if (j == i)
                pivot = A.data[k];
            else
                nonpositive &= A.data[k] <= 0;
        }
        diagonal[i] = pivot;
        facts.constant_diagonal &= pivot == diagonal[0];
        facts.nonpositive_off_diagonal &= nonpositive;
        if (last >= 0) {
            const std::int64_t first = A.indices[A.indptr[i]];
            facts.bandwidth = std::max(facts.bandwidth, std::max(last - i, i - first));
        }
    }
    return true;
}

}  // namespace nnla
