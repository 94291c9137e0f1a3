// Systems one after the other whose matrices share their pattern: analysed once, factored where the values are new,
// solved and verified, in one call each. Whatever is unusual is declined, for the ordinary way to deal with.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "band.hpp"
#include "checks.hpp"
#include "cholesky.hpp"
#include "preconditioner.hpp"
#include "verification.hpp"

namespace nnla {

struct RepeatedAnswer {
    Declined declined = Declined::no;
    Figures figures;
    bool factored = false;  // anew, as the values were not those of the call before
    std::int64_t products = 0;
    double seconds_factor = 0, seconds_solve = 0;
};

// One call at a time.
class RepeatedCholesky {
  public:
    // Analyses a pattern, which is copied: rows sorted, both triangles. Throws std::invalid_argument where it is not so.
    // Gives up (complete() is false) where a factorisation would take more than max_flops.
    // The analysis of this very pattern may have been made before: then it must live as long as this object.
    RepeatedCholesky(const Pattern& pattern, double max_flops, std::shared_ptr<const Cholesky> made = nullptr);

    // Takes over the factor of A that `made` has factored. Declines as solve() does. Where it turns out not to solve with
    // A, the next call factors anew.
    Declined adopt(const CsrArrays<std::int32_t>& A, double asymmetry, std::shared_ptr<Cholesky::Factor> factor);

    // Solves A x = b into x, or declines with x undefined. What is kept is the factor of the last matrix that had one.
    RepeatedAnswer solve(const CsrArrays<std::int32_t>& A, const double* b, double rtol, double atol, double asymmetry,
                         double* x);
    // The same with the matrix of the call before.
    RepeatedAnswer solve_again(const double* b, double rtol, double atol, double* x);

    enum class Change { none = 0, values = 1, pattern = 2 };
    // Against the matrix that is factored; without one, the values count as changed.
    Change change(const CsrArrays<std::int32_t>& A, double asymmetry) const;
    // X = A^-1 B by the factor, for row-major blocks of `columns`; not refined, not verified. False without a factor.
    bool apply(const double* b, double* x, std::int64_t columns);

    bool complete() const { return banded_ || fronts_->complete(); }
    bool factored() const { return factored_; }
    bool banded() const { return banded_; }
    std::int32_t size() const { return static_cast<std::int32_t>(indptr_.size()) - 1; }
    double flops() const { return flops_; }  // of a factorisation, roughly
    double nnz() const { return entries_; }  // that are stored of L
    double bytes() const;                    // of all that is kept

    // A^-1 of the last matrix; lives on with its factor when another one is factored here. Null without a factor.
    std::unique_ptr<Preconditioner> preconditioner() const;

  private:
    bool choose_band(const Pattern& pattern, double max_flops);
    bool fits(const CsrArrays<std::int32_t>& A) const;
    bool same_values(const CsrArrays<std::int32_t>& A, double asymmetry) const;
    Declined look(const CsrArrays<std::int32_t>& A, double asymmetry);
    Declined factor(const CsrArrays<std::int32_t>& A, double asymmetry);
    Declined take(const CsrArrays<std::int32_t>& A, double asymmetry);
    void finish(RepeatedAnswer& answer, double* x);

    std::vector<std::int32_t> indptr_, indices_;
    std::shared_ptr<const Cholesky> fronts_;
    std::vector<std::int32_t> order_;  // within the band: new to old, empty for that of the rows
    bool banded_ = false, factored_ = false, adopted_ = false;
    double flops_ = 0, entries_ = 0;

    std::vector<double> values_;  // that were factored
    double asymmetry_ = 0;        // that was accepted in them
    std::shared_ptr<Cholesky::Factor> factor_;
    std::shared_ptr<BandCholesky> band_;
    Verification now_, next_;  // of the matrix that is factored, and of the one that is looked at
    std::vector<double> work_, correction_;
};

}  // namespace nnla
