// Python functions of reordering.hpp. Callers hand in valid canonical CSR arrays (see nnla.kernels.reordering).
#include <nanobind/stl/tuple.h>

#include <tuple>
#include <vector>

#include "bind.hpp"
#include "reordering.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

CsrPattern pattern(const Indices& indptr, const Indices& indices, Columns order = Columns::any) {
    require_square(indptr, indices, order);
    return CsrPattern{rows_of(indptr), indptr.data(), indices.data()};
}

void require_permutation(const Indices& order, std::int64_t n) {
    require(static_cast<std::int64_t>(order.size()) == n, "order has another length than the matrix");
    std::vector<bool> seen(static_cast<std::size_t>(n), false);
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int32_t row = order.data()[i];
        require(row >= 0 && row < n && !seen[static_cast<std::size_t>(row)], "order is not a permutation of the rows");
        seen[static_cast<std::size_t>(row)] = true;
    }
}

template <class V> void bind_permute(nb::module_& m, const char* name) {
    m.def(
        name,
        [](Indices indptr, Indices indices, Values data, Indices order) {
            const CsrPattern A = pattern(indptr, indices);
            require(A.indptr[A.n] <= static_cast<std::int64_t>(data.size()), "indptr goes beyond the data");
            require_permutation(order, A.n);
            std::int32_t *new_indptr, *new_indices;
            V* new_data;
            const std::size_t nnz = static_cast<std::size_t>(A.indptr[A.n]);
            auto pointers = new_vector<std::int32_t>(indptr.size(), &new_indptr);
            auto columns = new_vector<std::int32_t>(nnz, &new_indices);
            auto values = new_vector<V>(nnz, &new_data);
            {
                LongCall call;
                permute_symmetric(A, data.data(), order.data(), new_indptr, new_indices, new_data);
            }
            return nb::make_tuple(values, columns, pointers);
        },
        "indptr"_a, "indices"_a, "data"_a, "order"_a,
        "(data, indices, indptr) of A[order][:, order], columns sorted.");
}

}  // namespace

void bind_reordering(nb::module_& m) {
    m.def(
        "reverse_cuthill_mckee",
        [](Indices indptr, Indices indices) {
            const CsrPattern A = pattern(indptr, indices);
            std::int32_t* order;
            auto result = new_vector<std::int32_t>(static_cast<std::size_t>(A.n), &order);
            {
                LongCall call;
                reverse_cuthill_mckee(A, order);
            }
            return result;
        },
        "indptr"_a, "indices"_a, "Old numbers in the new order.");
    bind_permute<double>(m, "permute64");
    bind_permute<float>(m, "permute32");
    m.def(
        "locality",
        [](Indices indptr, Indices indices, int per_line) {
            require(per_line > 0, "a line has one entry at least");
            const CsrPattern A = pattern(indptr, indices, Columns::ascending);
            LongCall call;
            const Locality found = locality(A, per_line);
            return std::make_tuple(found.span, found.lines, found.bandwidth);
        },
        "indptr"_a, "indices"_a, "per_line"_a,
        "Mean column span and cache lines of slices of 16 rows, and the bandwidth.");
}

}  // namespace nnla
