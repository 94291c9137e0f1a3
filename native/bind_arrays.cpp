// The checks of bind.hpp.
#include <algorithm>
#include <limits>

#include "bind.hpp"

namespace nnla {
namespace {

constexpr std::int64_t kIndexMax = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kBlock = 65536;  // entries between two ticks

// Without branches: the compiler makes vector code of both.
std::uint32_t largest(const std::int32_t* begin, std::int64_t count) {
    std::uint32_t found = 0;  // negative ones are the largest of all
    for (std::int64_t k = 0; k < count; ++k) found = std::max(found, static_cast<std::uint32_t>(begin[k]));
    return found;
}

std::int64_t descents(const std::int32_t* begin, std::int64_t count) {
    std::int32_t found = 0;
    for (std::int64_t k = 1; k < count; ++k) found += begin[k] <= begin[k - 1];
    return found;
}

}  // namespace

void require(bool holds, const char* what) {
    if (!holds) throw BadArrays(what);
}

std::int64_t rows_of(const Indices& indptr) {
    require(indptr.size() > 0, "indptr needs an entry more than there are rows");
    require(static_cast<std::int64_t>(indptr.size()) - 1 <= kIndexMax, "too many rows for 32-bit indices");
    return static_cast<std::int64_t>(indptr.size()) - 1;
}

namespace {

std::int64_t require_pointers(const Indices& indptr, const Indices& indices) {
    const std::int64_t n = rows_of(indptr);
    const std::int32_t* start = indptr.data();
    require(start[0] == 0, "indptr must start with 0");
    std::int32_t falls = 0;
    for (std::int64_t i = 0; i < n; ++i) falls |= start[i + 1] < start[i];
    require(falls == 0, "indptr must not decrease");
    require(start[n] <= static_cast<std::int64_t>(indices.size()), "indptr goes beyond the indices");
    return start[n];
}

}  // namespace

void require_pointers(const Indices& indptr, const Indices& indices, const Values& data) {
    require(require_pointers(indptr, indices) <= static_cast<std::int64_t>(data.size()), "indptr goes beyond the data");
}

std::int64_t require_rows(const Indices& indptr, const Indices& indices, std::int64_t columns, Columns order) {
    const std::int64_t n = rows_of(indptr);
    require(columns >= 0 && columns <= kIndexMax, "the number of columns does not fit 32-bit indices");
    const std::int32_t *start = indptr.data(), *column = indices.data();
    const std::int64_t nnz = require_pointers(indptr, indices);
    std::int64_t down = 0;
    for (std::int64_t k = 0; k < nnz; k += kBlock) {
        const std::int64_t count = std::min(kBlock, nnz - k);
        require(largest(column + k, count) < static_cast<std::uint32_t>(columns), "a column index is out of range");
        if (order == Columns::ascending) down += descents(column + k, std::min(kBlock + 1, nnz - k));
    }
    if (order == Columns::ascending) {
        // Columns may fall where a new row starts, and only there.
        std::int64_t allowed = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int32_t k = start[i];
            if (k > 0 && k < nnz && k != start[i + 1]) allowed += column[k] <= column[k - 1];
        }
        require(down == allowed, "column indices must ascend in every row");
    }
    return nnz;
}

void require_square(const Indices& indptr, const Indices& indices, Columns order) {
    require_rows(indptr, indices, rows_of(indptr), order);
}

void require_square(const Indices& indptr, const Indices& indices, const Values& data, Columns order) {
    const std::int64_t nnz = require_rows(indptr, indices, rows_of(indptr), order);
    require(nnz <= static_cast<std::int64_t>(data.size()), "indptr goes beyond the data");
}

}  // namespace nnla
