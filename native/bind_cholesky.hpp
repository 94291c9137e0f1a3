// The Cholesky object of Python; shared by what solves with it.
#pragma once
#include <memory>
#include <stdexcept>

#include "bind.hpp"
#include "cholesky.hpp"

namespace nnla {

// The analysis, the arrays of the pattern that it reads, and the factor. A factor that is there is replaced by a new
// one under the interpreter's lock, and lives until the last call that solves with it has ended: threads may factor
// and solve with one object.
struct HeldCholesky {
    using Factor = Cholesky::Factor;
    Indices indptr, indices;
    std::shared_ptr<const Cholesky> analysis;
    std::shared_ptr<Factor> current;

    HeldCholesky(Indices p, Indices i, double max_flops) : indptr(p), indices(i) {
        const std::int64_t n = rows_of(p), nnz = require_rows(p, i, n, Columns::any);
        require(nnz == static_cast<std::int64_t>(i.size()), "indptr does not fit the indices");
        const Pattern pattern{static_cast<std::int32_t>(n), p.data(), i.data()};
        LongCall call;
        analysis = std::make_shared<const Cholesky>(pattern, max_flops);
    }

    std::int64_t factor(Values data, bool indefinite, bool in_place) {
        require(data.size() == indices.size(), "data does not fit the indices");
        if (!analysis->complete()) throw std::runtime_error("the analysis was given up");
        std::shared_ptr<Factor> mine;
        if (in_place && current.use_count() == 1) mine = std::move(current);
        if (!mine) mine = std::make_shared<Factor>();
        std::int64_t row;
        {
            LongCall call;
            row = analysis->factor(data.data(), indefinite, *mine);
        }
        current = row < 0 ? std::move(mine) : nullptr;
        return row;
    }

    auto solve(Values b, std::int64_t columns) {
        const std::int64_t n = analysis->size();
        require(columns >= 1 && columns <= static_cast<std::int64_t>(b.size()) + 1 &&
                    static_cast<std::int64_t>(b.size()) == n * columns,
                "b has another length");
        const std::shared_ptr<Factor> mine = current;
        if (!mine) throw std::runtime_error("not factored");
        double* x;
        auto out = new_vector<double>(b.size(), &x);
        {
            LongCall call;
            analysis->solve(*mine, b.data(), x, columns);
        }
        return out;
    }
};

}  // namespace nnla
