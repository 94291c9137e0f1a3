// A symmetric V-cycle over a given hierarchy, smoothed by polynomials in recurrence form.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "coarsening.hpp"
#include "preconditioner.hpp"

namespace nnla {

// The layers of a Recurrence (src/nnla/polynomials/recurrence.py) with X = x0 + x1 A folded into the start and into alpha, beta.
struct Layers {
    std::vector<double> rho, gamma, eta, alpha, beta;
    double x0 = 0.0, x1 = 1.0;

    bool starts_with_product() const {
        if (alpha[0] != 0 || beta[0] != 0) return true;
        return rho.size() > 1 && (rho[0] != 0 || eta[1] != 0);
    }
};

// z = M r, one V-cycle. Each level works with its operator scaled to a diagonal of ones, and the input of the cycle
// is scaled by a power of two, so that single precision never leaves its range.
class Multigrid : public Preconditioner {
  public:
    // From the finest level on. scale is 1 / sqrt(diagonal), coarse_scale that of the next level.
    virtual void add_level(const CsrView& A, const double* scale, const CsrView& P, const double* coarse_scale) = 0;
    // The last level: its operator, then either invert or, where that would be too large, set_smoother.
    virtual void add_coarsest(const CsrView& A, const double* scale) = 0;
    // Solve the last level by its inverse; what is singular in it is left out. Cost: n^3.
    virtual void invert() = 0;
    virtual void set_smoother(int level, const Layers& layers) = 0;
    virtual int levels() const = 0;
    virtual std::int64_t coarse_size() const = 0;  // rows that the next level has to have; 0 after the coarsest
    // Whether every level has what the cycle needs of it.
    virtual bool complete() const = 0;
    // An upper bound of the scaled operator's spectrum from its row sums.
    virtual double gershgorin(int level) const = 0;
    // Lanczos coefficients of a level's scaled operator from a fixed start; returns the steps done.
    virtual int lanczos(int level, int steps, double* alpha, double* beta) const = 0;
};

std::unique_ptr<Multigrid> make_multigrid(bool single);

}  // namespace nnla
