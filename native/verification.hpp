// Whether x solves A x = b to its tolerance: the true residual in float64 against the target, in the norms that b calls for.
// What the quick and the repeated solution of a system have in common.
#pragma once
#include <cstdint>
#include <vector>

#include "sliced.hpp"

namespace nnla {

// Why a system is left to the ordinary way; in the order in which it is asked.
enum class Declined {
    no = 0,
    entries = 1,          // more than the quick way is for, or no rows
    matrix = 2,           // not finite, symmetric, of positive diagonal, or with an entry twice
    range = 3,            // numbers so large or small that powers of two have to be put between
    null_vectors = 4,     // that can be read off the entries, perhaps, where CG was asked for
    right_hand_side = 5,  // zero or not finite
    target = 6,           // zero, or met by x = 0
    heavy_rows = 7,       // on which b lies, so that light rows have to be looked at while CG runs
    dear = 8,             // neither way is short
    pivots = 9,           // not positive definite, or not so beyond rounding
    accuracy = 10,        // the target was not reached
    pattern = 11,         // not the one that was kept
};

struct Figures {
    double relative_residual = 0, backward_error = 0;
    double equilibrated_residual = -1;  // negative where the rows are of about one weight
};

class Verification {
  public:
    std::vector<double> diagonal;     // of A: to be filled in before take_matrix()
    std::vector<double> b, residual;  // in units in which the norm of b lies in [1, 2)
    double size = 0, target = 0;      // norm of b, and that of the residual to reach
    bool heavy = false;               // b lies on rows heavier than others

    Declined take_matrix();
    // A decline, or b, size, target and heavy.
    Declined take_right_hand_side(const double* given, double rtol, double atol);

    // residual = b - A x, and its norm.
    double true_residual(const Csr& A, const double* x);
    // Whether the residual at hand is small enough, `norm` being its 2-norm. Where b lies on heavy rows, its 2-norm says
    // little of the light ones: it has to be small in the other norms of nnla.linear.criterion, too.
    bool met(double norm);
    // The figures of the residual at hand, whose 2-norm is `norm`, and x in the caller's units.
    Declined finish(double norm, double* x);
    const Figures& figures() const { return figures_; }

    // Whether pivots are not positive beyond rounding; as nnla.linear.inertia.lost_pivots.
    bool lost(const std::vector<double>& pivots) const;

  private:
    void look_for_heavy_rows();
    void equilibrated(const std::vector<double>& r, double parts[2]);

    std::vector<double> image_;
    double low_ = 0, high_ = 0;  // of the diagonal
    double parts_[2] = {0, 0};   // norms of b that those of the residual are relative to
    int unit_ = 0;
    Figures figures_;
};

}  // namespace nnla
