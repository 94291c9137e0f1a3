// Python functions of checks.hpp: None where a closer look is needed, else the diagonal and the facts.
#include "bind.hpp"
#include "checks.hpp"
#include "null_vectors.hpp"

#include <stdexcept>

using namespace nb::literals;

namespace nnla {
namespace {

template <class Index, class Look>
nb::object look_at(Input<Index> indptr, Input<Index> indices, Values data, Look look) {
    if (indptr.size() == 0) throw std::invalid_argument("indptr needs n + 1 entries");
    const auto n = static_cast<std::int64_t>(indptr.size()) - 1;
    const CsrArrays<Index> A{n, static_cast<std::int64_t>(std::min(indices.size(), data.size())), indptr.data(),
                       indices.data(), data.data()};
    CsrFacts facts;
    double* values;
    auto diagonal = new_vector<double>(static_cast<std::size_t>(n), &values);
    bool sound;
    {
        LongCall call;
        sound = look(A, values, facts);
    }
    if (!sound) return nb::none();
    return nb::make_tuple(diagonal, facts.nnz, facts.bandwidth, facts.shortest_row, facts.longest_row, facts.slots,
                          facts.constant_diagonal, facts.nonpositive_off_diagonal, facts.exactly_symmetric);
}

template <class Index> void bind_for(nb::module_& m) {
    m.def(
        "check_spd",
        [](Input<Index> indptr, Input<Index> indices, Values data, double rtol) {
            return look_at<Index>(indptr, indices, data, [rtol](const CsrArrays<Index>& A, double* d, CsrFacts& facts) {
                return check_spd(A, rtol, d, facts);
            });
        },
        "indptr"_a, "indices"_a, "data"_a, "rtol"_a,
        "Facts on a CSR matrix that is canonical, finite, symmetric up to rounding, of positive diagonal; else None.");
    m.def(
        "describe_csr",
        [](Input<Index> indptr, Input<Index> indices, Values data) {
            return look_at<Index>(indptr, indices, data, [](const CsrArrays<Index>& A, double* d, CsrFacts& facts) {
                return describe(A, d, facts);
            });
        },
        "indptr"_a, "indices"_a, "data"_a,
        "Facts on a canonical CSR matrix, whatever its values; None where it is not canonical.");
}

}  // namespace

void bind_checks(nb::module_& m) {
    bind_for<std::int32_t>(m);
    bind_for<std::int64_t>(m);
    m.def(
        "may_have_null_vectors",
        [](Indices indptr, Indices indices, Values data) {
            require_square(indptr, indices, data, Columns::ascending);
            const CsrArrays<std::int32_t> A{rows_of(indptr), static_cast<std::int64_t>(data.size()), indptr.data(),
                                            indices.data(), data.data()};
            LongCall call;
            return may_have_null_vectors(A);
        },
        "indptr"_a, "indices"_a, "data"_a,
        "False: none of the vectors that nnla.operators.null_vectors tries can cancel in all rows of a component.");
}

}  // namespace nnla
