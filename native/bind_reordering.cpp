// Python functions of reordering.hpp. Callers hand in valid canonical CSR arrays (see nnla.kernels.reordering).
#include <nanobind/stl/tuple.h>

#include <tuple>

#include "bind.hpp"
#include "reordering.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

using Ints = Input<std::int32_t>;

CsrPattern pattern(const Ints& indptr, const Ints& indices) {
    return CsrPattern{static_cast<std::int64_t>(indptr.size()) - 1, indptr.data(), indices.data()};
}

template <class V> void bind_permute(nb::module_& m, const char* name) {
    m.def(
        name,
        [](Ints indptr, Ints indices, Input<double> data, Ints order) {
            const CsrPattern A = pattern(indptr, indices);
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
        "indptr"_a.noconvert(), "indices"_a.noconvert(), "data"_a.noconvert(), "order"_a.noconvert(),
        "(data, indices, indptr) of A[order][:, order], columns sorted.");
}

}  // namespace

void bind_reordering(nb::module_& m) {
    m.def(
        "reverse_cuthill_mckee",
        [](Ints indptr, Ints indices) {
            std::int32_t* order;
            auto result = new_vector<std::int32_t>(indptr.size() - 1, &order);
            {
                LongCall call;
                reverse_cuthill_mckee(pattern(indptr, indices), order);
            }
            return result;
        },
        "indptr"_a.noconvert(), "indices"_a.noconvert(), "Old numbers in the new order.");
    bind_permute<double>(m, "permute64");
    bind_permute<float>(m, "permute32");
    m.def(
        "locality",
        [](Ints indptr, Ints indices, int per_line) {
            LongCall call;
            const Locality found = locality(pattern(indptr, indices), per_line);
            return std::make_tuple(found.span, found.lines, found.bandwidth);
        },
        "indptr"_a.noconvert(), "indices"_a.noconvert(), "per_line"_a,
        "Mean column span and cache lines of slices of 16 rows, and the bandwidth.");
}

}  // namespace nnla
