// A sparse matrix in slices of 16 rows, each column of a slice in the cheapest of five forms.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.hpp"

namespace nnla {

constexpr int kLanes = 16;  // rows of a slice: one AVX-512 register of float

// The upper half of a float32: 8 bits of precision, for the values of a preconditioner.
struct bfloat16 {
    std::uint16_t bits;
};

// Storage type of the values -> type of the vectors and of the arithmetic.
template <class V> struct arithmetic {
    using type = V;
};
template <> struct arithmetic<bfloat16> {
    using type = float;
};

// A view of the caller's CSR matrix: int32 indices, sorted rows.
struct Csr {
    std::int64_t n = 0;
    const std::int32_t* indptr = nullptr;
    const std::int32_t* indices = nullptr;
    const double* data = nullptr;
};

// What a slice consists of. Entry columns come in the order constants, runs, shorts, wides; then the tail.
//   constant  one value and one offset column - row for all 16 rows
//   run       16 values, one offset: the 16 entries of x are contiguous
//   short     16 values, 16 offsets of 16 bits
//   wide      16 values, 16 offsets of 32 bits
//   tail      single entries (row, column, value): what sticks out of a slice of uneven rows
// Rows that lack an entry of a column have the value 0 there.
struct Slice {
    std::uint32_t scalar, delta, value, shorts, wide, tail;  // where each form starts, in its own unit
    std::uint32_t constants, runs, short_count, wide_count, tails;
};

// The share of the entries that would lie in constants and runs, from a sample of the slices.
double run_share(const Csr& A);

// The same from about so many slices.
double sampled_run_share(const Csr& A, std::int64_t most);

template <class V> class Sliced {
  public:
    // D A D for the diagonal matrix D of the entries of `scale` (null: A). Entries that overflow V are the
    // caller's concern.
    Sliced(const Csr& A, const double* scale);

    std::int64_t n() const { return n_; }
    std::size_t slices() const { return heads_.size(); }
    std::size_t bytes() const;

    // For the cache-blocked traversal: the last slice that has to be at most one step behind when slice s and
    // all before it take a step (nondecreasing in s).
    const std::vector<std::uint32_t>& reach() const { return reach_; }

    // Stored entries by form: constants, runs, shorts, wides, tail (zeros of the padding included).
    struct Census {
        std::size_t constants, runs, shorts, wides, tail;
    };
    Census census() const;

    const Slice* heads() const { return heads_.data(); }
    const V* scalars() const { return scalars_.data(); }
    const V* values() const { return values_.data(); }
    const std::int32_t* deltas() const { return deltas_.data(); }
    const std::int16_t* shorts() const { return shorts_.data(); }
    const std::int32_t* wides() const { return wides_.data(); }
    const std::int32_t* tail_columns() const { return tail_columns_.data(); }
    const std::uint8_t* tail_lanes() const { return tail_lanes_.data(); }
    const V* tail_values() const { return tail_values_.data(); }

  private:
    std::int64_t n_ = 0;
    std::vector<Slice> heads_;
    Array<V> scalars_, values_, tail_values_;
    Array<std::int32_t> deltas_, wides_, tail_columns_;
    Array<std::int16_t> shorts_;
    Array<std::uint8_t> tail_lanes_;
    std::vector<std::uint32_t> reach_;
};

}  // namespace nnla
