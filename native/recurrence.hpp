// The whole recurrence P(X) z in as few passes over memory as the caches allow.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "preconditioner.hpp"
#include "spare.hpp"
#include "steps.hpp"

namespace nnla {

// The coefficients of a Recurrence, in terms of the matrix itself (shift and scale are absorbed). The first step
// makes C_0 = X z.
struct Coefficients {
    std::vector<double> rho, gamma, eta, alpha, beta;  // one entry per layer
    double start_alpha = 0, start_beta = 1;            // C_0 = start_alpha z + start_beta M z
};

// How the recurrence walks over the matrix.
struct Traversal {
    std::vector<std::uint32_t> ends;  // of the chunks, in slices: a chunk's rows touch the chunks beside it only
    int steps = 0;                    // that a sweep advances every chunk by; 0: one step over all rows at a time
    std::size_t window = 0;           // bytes that a sweep keeps in the cache
};

// What a sweep may keep in the cache: preferably the fast one's `near`, else `far` bytes. 0 and 0 forbid blocking.
struct CacheBudget {
    std::size_t near = 0, far = 0;
};

template <class V> Traversal plan_traversal(const Sliced<V>& M, int steps, CacheBudget budget, int columns);

// P(X) z. All vectors are padded; z is not changed; the result is in the returned one of the work vectors.
// One run at a time: an object owns its work vectors.
template <class V> class RecurrenceRunner {
  public:
    using T = typename arithmetic<V>::type;
    RecurrenceRunner(std::shared_ptr<const Sliced<V>> M, Coefficients coefficients, CacheBudget budget,
                     int columns = 1);
    T* input() { return z_.data(); }
    const T* run();
    const Sliced<V>& matrix() const { return *M_; }
    const Traversal& traversal() const { return traversal_; }
    int products() const;
    int columns() const { return columns_; }

  private:
    Step<T> step(int k);
    void execute(const Step<T>& s, std::size_t lo, std::size_t hi) const;
    void whole(int k);
    void sweep(int first, int last);
    void advance(std::size_t chunk, int k);

    std::shared_ptr<const Sliced<V>> M_;
    std::vector<Step<double>> steps_;
    bool accumulates_ = false;
    int columns_;
    Traversal traversal_;
    PaddedVector<T> z_, work_[2], acc_;
};

// M = S P(S A S) S, a preconditioner for float64 CG whose inside is in V's arithmetic. Calls at the same time work in
// vectors of their own.
template <class V> class PolynomialPreconditioner : public Preconditioner {
  public:
    using T = typename arithmetic<V>::type;
    // scale: S, n entries; null for none.
    PolynomialPreconditioner(std::shared_ptr<const Sliced<V>> M, Coefficients coefficients, const double* scale,
                             CacheBudget budget);
    std::int64_t size() const override { return M_->n(); }
    void apply(const double* r, double* z) override;
    const Traversal& traversal() const { return traversal_; }
    // Z = M R for k columns, row-major.
    void apply_block(const double* r, double* z, int columns);

  private:
    std::shared_ptr<const Sliced<V>> M_;
    Coefficients coefficients_;
    CacheBudget budget_;
    Traversal traversal_;
    Spare<RecurrenceRunner<V>> runners_, block_runners_;
    std::vector<double> scale_;
    double unit_ = 1;  // a power of two that brings the largest entry of S to about 1: float32 keeps its range
};

}  // namespace nnla
