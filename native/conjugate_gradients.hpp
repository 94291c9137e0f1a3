// Preconditioned conjugate gradients for one right-hand side, in float64.
#pragma once
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "preconditioner.hpp"
#include "steps.hpp"

namespace nnla {

// y = A x in float64 with x'y, on padded vectors. Sums are over parts that depend on the matrix only and are added
// in their order: results do not depend on the number of threads.
class Product {
  public:
    virtual ~Product() = default;
    virtual std::int64_t size() const = 0;
    virtual double multiply(const double* x, double* y) const = 0;
};

class CsrProduct : public Product {
  public:
    explicit CsrProduct(const Csr& A);  // a view: the arrays must outlive it
    std::int64_t size() const override { return A_.n; }
    double multiply(const double* x, double* y) const override;

  private:
    Csr A_;
    std::vector<std::int64_t> borders_;
};

class SlicedProduct : public Product {
  public:
    explicit SlicedProduct(std::shared_ptr<const Sliced<double>> A) : A_(std::move(A)) {}
    std::int64_t size() const override { return A_->n(); }
    double multiply(const double* x, double* y) const override;

  private:
    std::shared_ptr<const Sliced<double>> A_;
};

// a'b of length n, summed part by part.
double dot(std::size_t n, const double* a, const double* b);

enum class Ending { reached = 0, iterations = 1, not_finite = 2, curvature = 3, preconditioner = 4, stalled = 5 };

class ConjugateGradients {
  public:
    // M may be null; `inverse` (n entries, copied) is Jacobi's preconditioner, null for none; not both.
    ConjugateGradients(const Product& A, Preconditioner* M, const double* inverse);

    // From the next iteration on its Lanczos vectors, z = M r by the root of r'z, go into the rows of `rows`, (count, n),
    // one an iteration until they are full; with 0 no more. Where CG restarts, it ends: what follows is another sequence.
    void record(double* rows, std::int64_t count) {
        rows_ = rows;
        rows_left_ = count;
    }
    std::int64_t rows_left() const { return rows_left_; }

    // The same matrix in another form, from the next iteration on.
    void use(const Product& A) { A_ = &A; }

    // Iterations from x and its residual r (both overwritten) until ||r|| <= target, or `iterations` are done, or
    // ||r|| has not fallen by a tenth in `stall` iterations (0: never). A new call goes on where the last one
    // ended unless `restart`. one_reduction: Chronopoulos and Gear's form. Where a signal or the limit of time ends it,
    // x and r are those of the last whole iteration, and the next call restarts. `best` (n entries, or null) is given
    // the iterate before a step that makes a residual grow which was smaller than best_norm, and all before it.
    Ending run(double* x, double* r, double target, std::int64_t iterations, std::int64_t stall, bool one_reduction,
               bool restart, double* best = nullptr);

    // What the run adds: step lengths, direction coefficients (0 at a restart), residual norms.
    std::vector<double> alphas, betas, norms;
    std::int64_t products = 0, applies = 0, reductions = 0;
    double best_norm = HUGE_VAL;  // of the iterate in `best`: to be set before the first run to that of the start
    double failed_value = 0;  // the inner product that should have been positive
    // r'Mr / (r'Mr before) after the last step; one application of M unless it is diagonal.
    double next_beta();

  private:
    Ending iterate(double* x, double target, std::int64_t iterations, std::int64_t stall, bool one_reduction,
                   bool restart, double* best);
    const double* preconditioned();
    template <class F> void over(F job) const;

    const Product* A_;
    Preconditioner* M_;
    std::size_t n_;
    std::vector<double> inverse_;
    PaddedVector<double> p_, s_, w_, u_, r_;
    double* rows_ = nullptr;  // where the next Lanczos vector goes
    std::int64_t rows_left_ = 0;
    bool recorded_ = false;  // some, since the last restart
    double gamma_ = 1, alpha_ = 1, rr_ = 0, ru_ = 0;
    double best_ = 0;
    std::int64_t since_best_ = 0;
    bool fresh_ = true, known_ = false;
};

}  // namespace nnla
