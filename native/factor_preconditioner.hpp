// A kept factor as a preconditioner: of the matrix of CG itself, or of an earlier one like it.
#pragma once
#include <memory>
#include <utility>

#include "band.hpp"
#include "cholesky.hpp"
#include "preconditioner.hpp"
#include "spare.hpp"

namespace nnla {

// Work spaces of one length.
class WorkSpaces {
  public:
    using Work = Array<double>;
    explicit WorkSpaces(std::size_t size) : size_(size) {}
    Spare<Work>::Lease lease() {
        return {spare_, [](const Work&) { return true; }, [&] { return std::make_unique<Work>(size_); }};
    }

  private:
    std::size_t size_;
    Spare<Work> spare_;
};

class FrontsPreconditioner : public Preconditioner {
  public:
    FrontsPreconditioner(std::shared_ptr<const Cholesky> analysis, std::shared_ptr<const Cholesky::Factor> factor)
        : analysis_(std::move(analysis)), factor_(std::move(factor)), work_(analysis_->work_size()) {}
    std::int64_t size() const override { return analysis_->size(); }
    void apply(const double* r, double* z) override { analysis_->solve(*factor_, r, z, work_.lease()->data()); }

  private:
    std::shared_ptr<const Cholesky> analysis_;
    std::shared_ptr<const Cholesky::Factor> factor_;
    WorkSpaces work_;
};

class BandPreconditioner : public Preconditioner {
  public:
    explicit BandPreconditioner(std::shared_ptr<const BandCholesky> factor)
        : factor_(std::move(factor)), work_(factor_->work_size()) {}
    std::int64_t size() const override { return factor_->size(); }
    void apply(const double* r, double* z) override { factor_->solve(r, z, work_.lease()->data()); }

  private:
    std::shared_ptr<const BandCholesky> factor_;
    WorkSpaces work_;
};

}  // namespace nnla
