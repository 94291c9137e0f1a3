// A copy of a CSR matrix whose columns ascend in every row, as those of a product of SciPy's do not.
#pragma once
#include <cstdint>
#include <vector>

#include "checks.hpp"

namespace nnla {

class SortedRows {
  public:
    // Copies the matrix; false where its arrays are not sound, or its rows ascend as they are. Cost: two transpositions,
    // after which the columns of a row have come out in their order.
    bool take(const CsrArrays<std::int32_t>& A) {
        CsrFacts facts;
        if (!sound_rows(A, facts)) return false;
        bool ascend = true;
        for (std::int64_t i = 0; i < A.n; ++i)
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
                if (A.indices[k] < 0 || A.indices[k] >= A.n) return false;
                ascend &= k == A.indptr[i] || A.indices[k - 1] < A.indices[k];
            }
        if (ascend) return false;
        n_ = A.n;
        turned_.transpose(A);
        rows_.transpose(turned_.arrays(n_));
        return true;
    }

    CsrArrays<std::int32_t> arrays() const { return rows_.arrays(n_); }

  private:
    struct Rows {
        std::vector<std::int32_t> indptr, indices;
        std::vector<double> data;

        CsrArrays<std::int32_t> arrays(std::int64_t n) const {
            return {n, static_cast<std::int64_t>(indices.size()), indptr.data(), indices.data(), data.data()};
        }

        void transpose(const CsrArrays<std::int32_t>& A) {
            const std::int32_t nnz = A.indptr[A.n], n = static_cast<std::int32_t>(A.n);
            indptr.assign(A.n + 1, 0);
            indices.resize(nnz);
            data.resize(nnz);
            for (std::int32_t k = 0; k < nnz; ++k) ++indptr[A.indices[k] + 1];
            for (std::int32_t i = 0; i < n; ++i) indptr[i + 1] += indptr[i];
            std::vector<std::int32_t> next(indptr.begin(), indptr.end() - 1);
            for (std::int32_t i = 0; i < n; ++i)
                for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
                    const std::int32_t to = next[A.indices[k]]++;
                    indices[to] = i;
                    data[to] = A.data[k];
                }
        }
    };

    std::int64_t n_ = 0;
    Rows turned_, rows_;
};

}  // namespace nnla
